//! A real engine.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;

use crate::support::eventually;

/// A `redis-server` or `valkey-server`. It is killed when it is dropped.
pub(super) struct Engine {
    program: &'static str,
    child: Child,
    port: u16,
    more: Vec<String>,
}

impl Engine {
    /// Starts a server on a free port. Returns `None` if there is none on this machine.
    pub(super) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Does the same with more arguments.
    pub(super) fn start_with(more: &[&str]) -> Option<Self> {
        let works = |program: &&&str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
        let Some(program) = ["redis-server", "valkey-server"].iter().find(works) else {
            let is_required = std::env::var_os("SPANSIEVE_FLEET_TESTS").is_some_and(|value| value == "required");
            assert!(!is_required, "neither redis-server nor valkey-server is on the PATH");
            eprintln!("skipped: neither redis-server nor valkey-server is on the PATH");
            return None;
        };
        let port = free_port();
        let more: Vec<String> = more.iter().map(|&text| text.to_owned()).collect();
        Some(Engine { program, child: spawn(program, port, &more), port, more })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the server again. It has lost its data.
    pub(super) fn start_again(&mut self) {
        self.child = spawn(self.program, self.port, &self.more);
    }

    /// Waits until the server answers. Returns a connection.
    pub(super) async fn client(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        let port = self.port;
        eventually("the server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

/// Creates a user of the access list that is on, or changes it.
pub(super) async fn set_user(client: &mut MultiplexedConnection, name: &str, rules: &[impl AsRef<str>]) {
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg(name).arg("on");
    rules.iter().for_each(|rule| _ = user.arg(rule.as_ref()));
    let () = user.query_async(client).await.unwrap();
}

/// Creates a user with the password `secret` that may do all but one command.
pub(super) async fn set_user_without(client: &mut MultiplexedConnection, name: &str, command: &str) {
    set_user(client, name, &[">secret", "~*", "+@all", &format!("-{command}")]).await;
}

/// The list of the members.
pub(super) const MEMBERS: &str = "{spansieve}:members";

/// Returns the entries of all members.
pub(super) async fn entries(client: &mut MultiplexedConnection) -> Vec<String> {
    redis::cmd("ZRANGE").arg(MEMBERS).arg(0).arg(-1).query_async(client).await.unwrap()
}

/// Returns a port that is free, also 10,000 above, which a node of a cluster takes.
pub(super) fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 50_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

fn spawn(program: &str, port: u16, more: &[String]) -> Child {
    let port = port.to_string();
    let args = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/"];
    // The last value of an argument counts.
    Command::new(program).args(args).args(more).stdout(Stdio::null()).spawn().unwrap()
}

impl Drop for Engine {
    fn drop(&mut self) {
        // An error means that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
