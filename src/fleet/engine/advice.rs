//! What the operator can do about an error of the engine.

use std::borrow::Cow;
use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::CertificateError;

use super::{COMMAND_IN_CLUSTER, COMMAND_WITH_DATABASE, commands_in_words};

/// Returns what can be done about a connection that failed.
pub(super) fn of_connection(cause: &io::Error) -> &'static str {
    let tls = cause.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "; write the authority of the server's certificate as fleet.tls.ca_file"
        }
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => "; write the name that the server's certificate has in fleet.url",
        Some(rustls::Error::InvalidMessage(_)) => {
            "; the server has no TLS at this port: write its port for TLS, or a fleet.url that begins with `redis://`"
        }
        _ => "",
    }
}

/// Returns an error of a command with what can be done about it.
pub(super) fn of_command(error: &RedisError) -> String {
    let advice: Cow<'static, str> = match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "; check fleet.username and fleet.password, or with fleet.iam, if the service account may connect (roles/memorystore.dbConnectionUser)".into()
        }
        _ if is_forbidden(error) => {
            let commands = commands_in_words();
            format!(
                "; the user needs the commands {commands} on the keys of fleet.name, {COMMAND_WITH_DATABASE} if fleet.url has a database, and {COMMAND_IN_CLUSTER} for a cluster"
            )
            .into()
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => "; the address in it is not one".into(),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "; fleet.url leads to a replica: write the address of the primary".into()
        }
        ErrorKind::Parse => "; is it a Valkey or Redis?".into(),
        _ if error.code() == Some("NOAUTH") => "; set fleet.password".into(),
        _ => "".into(),
    };
    let text = error.to_string();
    format!("{}{advice}", text.chars().take(300).collect::<String>())
}

/// Returns true if the user may not do it. Redis 7 says so of a command in a script without a code.
fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || error.detail().is_some_and(|detail| detail.contains("can't run this command"))
}
