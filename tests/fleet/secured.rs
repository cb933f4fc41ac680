//! TLS, passwords and users of a real engine, and what is said if they, or the server, are wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use spansieve::fleet::engine::{COMMAND_IN_CLUSTER, COMMAND_WITH_DATABASE, COMMANDS, commands_in_words};
use spansieve_core::fleet::MemberId;
use spansieve_test_support::authority::Authority;
use tempfile::{NamedTempFile, TempDir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::engine::{Engine, free_port, set_user};
use super::link::{a_batch, a_reason, link, listed, next};
use crate::support::eventually;

/// Returns a file with the certificate of an authority.
fn file(authority: &Authority) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    file
}

/// A real server with TLS and a password. It also listens without TLS.
pub(crate) struct Secured {
    engine: Engine,
    tls_port: u16,
    password: String,
    _files: TempDir,
}

impl Secured {
    /// Starts a server. Returns `None` if there is none on this machine.
    pub(crate) fn start((certificate, key): &(String, String), password: &str) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (certificate, key) = (file("cert.pem", certificate), file("key.pem", key));
        let tls_port = free_port();
        let port = tls_port.to_string();
        let tls = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let more = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no", "--requirepass", password];
        let engine = Engine::start_with(&[tls, more].concat())?;
        Some(Secured { engine, tls_port, password: password.to_owned(), _files: files })
    }

    pub(crate) fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.tls_port)
    }

    /// Another password is the right one from now on, and those who signed in with the one before are cut off.
    pub(crate) async fn expire(&self, password: &str) {
        let mut client = self.client().await;
        let _: () =
            redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(password).query_async(&mut client).await.unwrap();
        let mut kill = redis::cmd("CLIENT");
        let _: i64 = kill.arg("KILL").arg("TYPE").arg("normal").query_async(&mut client).await.unwrap();
    }

    async fn client(&self) -> redis::aio::MultiplexedConnection {
        let port = self.engine.port();
        eventually("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        // The administrator has a user of its own.
        let as_admin = redis::Client::open(format!("redis://admin:admin@127.0.0.1:{port}")).unwrap();
        if let Ok(client) = as_admin.get_multiplexed_async_connection().await {
            return client;
        }
        let client = redis::Client::open(format!("redis://:{}@127.0.0.1:{port}", self.password)).unwrap();
        let mut client = client.get_multiplexed_async_connection().await.unwrap();
        for (name, rules) in [("admin", [">admin", "+@all", "~*"]), ("fleet", [">secret", "+@all", "~{spansieve}:*"])] {
            set_user(&mut client, name, &rules).await;
        }
        client
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_tls_and_users_is_reached_and_each_fault_has_its_reason() {
    let (authority, other) = (Authority::new(), Authority::new());
    let Some(engine) = Secured::start(&authority.certificate(&["localhost"], 2100), "right") else { return };
    let Some(old) = Secured::start(&authority.certificate(&["localhost"], 2001), "right") else { return };
    engine.client().await;
    old.client().await;
    let (ca, wrong_ca) = (file(&authority), file(&other));
    let ca = format!("tls: {{ca_file: {}}}", ca.path().display());
    let wrong_ca = format!("tls: {{ca_file: {}}}", wrong_ca.path().display());
    let url = engine.url("localhost");

    for good in ["password: right", "username: fleet, password: secret"] {
        let mut link = link(&format!("url: '{url}', {ca}, {good}"), 1);
        listed(&mut link, 1).await;
        link.leave().await;
    }
    let by_address = engine.url("127.0.0.1");
    let (plain, to_tls) = (engine.engine.url(), format!("redis://localhost:{}", engine.tls_port));
    let to_plain = format!("rediss://localhost:{}", engine.engine.port());
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    for (fleet, expected) in [
        (format!("url: '{url}', {ca}, password: wrong"), "check fleet.username and fleet.password"),
        (format!("url: '{url}', {ca}, username: nobody, password: right"), "check fleet.username and fleet.password"),
        (format!("url: '{url}', {ca}"), "set fleet.password"),
        (
            format!("url: '{url}', {wrong_ca}, password: right"),
            "write the authority of the server's certificate as fleet.tls",
        ),
        (format!("url: '{url}', password: right"), "write the authority of the server's certificate as fleet.tls"),
        (format!("url: '{by_address}', {ca}, password: right"), "write the name that the server's certificate has"),
        (format!("url: '{}', {ca}, password: right", old.url("localhost")), "certificate expired"),
        (format!("url: '{to_tls}', password: right"), "begins with `rediss://`"),
        (format!("url: '{to_plain}', {ca}, password: right"), "TLS at this port"),
        (format!("url: '{nobody}'"), &format!("no connection to {}: Connection refused", &nobody[8..])),
        (format!("url: '{plain}/3', username: fleet, password: wrong"), "check fleet.username"),
    ] {
        let mut link = link(&fleet, 2);
        let reason = next(&mut link, a_reason).await;
        assert!(reason.contains(expected), "{fleet}: {reason}");
        for secret in ["right", "secret", "wrong"] {
            assert!(!reason.contains(secret), "{reason}");
        }
    }
}

/// Returns the commands that the server has obeyed, directly or in scripts, without those of a test.
async fn obeyed(client: &mut redis::aio::MultiplexedConnection) -> BTreeSet<String> {
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(client).await.unwrap();
    let names = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
    let names = names.filter(|name| !["config", "acl", "client"].contains(&name.split('|').next().unwrap_or_default()));
    names.map(str::to_uppercase).collect()
}

/// A user may use what the document lists, and that is what a member uses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_the_document_lists_are_those_in_use() {
    let text = format!(
        "It needs {} on `{{NAME}}:*`; {COMMAND_WITH_DATABASE} if the URL has a database; {COMMAND_IN_CLUSTER} for a cluster",
        commands_in_words()
    );
    assert!(include_str!("../../docs/fleet.md").contains(&text), "{text}");
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let commands: BTreeSet<String> = COMMANDS.into_iter().chain([COMMAND_WITH_DATABASE]).map(str::to_owned).collect();
    let allowed: Vec<String> = commands.iter().map(|command| format!("+{}", command.to_lowercase())).collect();
    set_user(&mut client, "fleet", &[">secret", "~{spansieve}:*"]).await;
    set_user(&mut client, "fleet", &allowed).await;
    let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut client).await.unwrap();
    let fleet = format!("url: '{}/3', username: fleet, password: secret", engine.url());
    let (mut here, mut there) = (link(&fleet, 1), link(&fleet, 2));
    listed(&mut here, 2).await;
    listed(&mut there, 2).await;
    assert!(here.send(MemberId(2), Bytes::from_static(b"hello")));
    assert_eq!(next(&mut there, a_batch).await, "hello");
    here.leave().await;
    listed(&mut there, 1).await;
    assert_eq!(here.take_refused() + there.take_refused(), 0);
    assert_eq!(obeyed(&mut client).await, commands);
}

/// A server that answers everything in one way.
async fn scripted(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut command = [0; 4096];
                while stream.read(&mut command).await.is_ok_and(|len| len > 0) {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_one_is_named() {
    for (answer, expected) in [
        ("$22\r\nredis_version:5.0.14\r\n\r\n", "the server is version 5.0.14; a fleet needs"),
        ("$0\r\n\r\n", "the server is version unknown"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "is it a Valkey or Redis?"),
        ("-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        ("-MOVED 1 x\r\n", "the address in it is not one"),
    ] {
        let mut link = link(&format!("url: '{}'", scripted(answer).await), 1);
        let reason = next(&mut link, a_reason).await;
        assert!(reason.contains(expected), "{answer}: {reason}");
    }
}

/// Two nodes that name one another are not followed for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirections_have_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let redirections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&redirections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut command = [0; 4096];
                while let Ok(len) = stream.read(&mut command).await {
                    if len == 0 {
                        return;
                    }
                    let is_info = command[..len].windows(4).any(|word| word == b"INFO");
                    let moved = format!("-MOVED 7 :{}\r\n", address.port());
                    let answer = if is_info { "$21\r\nredis_version:7.2.0\r\n\r\n" } else { moved.as_str() };
                    counted.fetch_add(usize::from(!is_info), Ordering::Relaxed);
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    let mut link = link(&format!("url: 'redis://{address}'"), 1);
    let reason = next(&mut link, a_reason).await;
    assert!(reason.contains("the nodes of the cluster redirect to one another, 5 times; last"), "{reason}");
    // Both tasks have tried.
    assert!(redirections.load(Ordering::Relaxed) <= 20);
}
