//! What the operator can do about an error of the engine.

use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::CertificateError;

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
    let advice = match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "; check fleet.username and fleet.password, or with fleet.iam, if the service account may connect (roles/memorystore.dbConnectionUser)"
        }
        _ if is_forbidden(error) => {
            "; the user needs the commands AUTH, INFO, EVAL, TIME, ZADD, ZREM, ZRANGE, ZREMRANGEBYSCORE, PEXPIRE, XADD, XREAD, XTRIM and DEL on the keys of fleet.name, SELECT if fleet.url has a database, and ASKING for a cluster"
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => "; the address in it is not one",
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "; fleet.url leads to a replica: write the address of the primary"
        }
        ErrorKind::Parse => "; is it a Valkey or Redis?",
        _ if error.code() == Some("NOAUTH") => "; set fleet.password",
        _ => "",
    };
    let text = error.to_string();
    format!("{}{advice}", text.chars().take(300).collect::<String>())
}

/// Returns true if the user may not do it. Redis 7 says so of a command in a script without a code.
fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || error.detail().is_some_and(|detail| detail.contains("can't run this command"))
}
