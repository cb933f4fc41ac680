//! The engine between the members of a fleet: Valkey, or Redis from 6.2 on. It has a list of the members, each with the time
//! at which it expires, and one stream for each member, which the others append to.

use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError};
use redis::{RedisResult, ServerErrorKind, TlsCertificates, Value};
use thiserror::Error;
use tonic::Status;

use super::settings::Fleet;
use crate::google::credentials::Credentials;
use spansieve_core::fleet::{MEMBERS_MAX, MemberFacts, MemberId};
use spansieve_core::sampling::ConfigMark;

/// The time after which a member that has not renewed its entry is not listed any more.
pub const MEMBER_TTL: Duration = Duration::from_secs(5);
/// The time after which the stream of a member that has gone is deleted.
const STREAM_TTL: Duration = Duration::from_secs(60);
/// The longest wait for a connection, and for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for the next batches. The answer takes so long if there are none.
const READ_BLOCK: Duration = Duration::from_secs(1);
/// The most batches that one read takes. They are few, because other programs may have written large ones.
const READ_BATCHES_MAX: usize = 4;
/// The most bytes of a batch that a member sends; the last message may exceed it.
pub const BATCH_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a batch that is read.
const RECEIVED_BYTES_MAX: usize = BATCH_BYTES_MAX + 512;
/// The field of a batch in its stream.
const BATCH_FIELD: &str = "b";
/// The least number of batches that a stream holds while its member does not read: about 30 s of three members.
const STREAM_BATCHES_MIN: usize = 1_000;
/// The batches for each member, ten in a second for half a minute.
const STREAM_BATCHES_PER_MEMBER: usize = 300;
/// The oldest version that has all commands in use.
const VERSION_MIN: (u64, u64) = (6, 2);

/// Renews the entry of a member, removes expired ones, deletes what the member has read, and returns the entries, up to a
/// number that no fleet has. One step, so that the time is that of the engine.
const BEAT: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '' then redis.call('ZREM', KEYS[1], ARGV[3]) end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if ARGV[4] ~= '' then redis.call('XTRIM', KEYS[2], 'MINID', ARGV[4]) end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return redis.call('ZRANGE', KEYS[1], 0, 1023)
";

/// The reason why the engine cannot be used at present.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The address or the certificates cannot be used.
    #[error("fleet.url: {0}")]
    Settings(RedisError),
    /// The connection or a command has failed.
    #[error("{}", explained(.0))]
    Redis(#[from] RedisError),
    /// The server is too old.
    #[error("the server is version {0}; a fleet needs Valkey, or Redis from {min}.{minor} on", min = VERSION_MIN.0, minor = VERSION_MIN.1)]
    Version(String),
    /// There is no token of Google for the connection.
    #[error("no token for the engine: {}", .0.message())]
    Token(Status),
}

/// Returns an error with what the operator can do about it.
fn explained(error: &RedisError) -> String {
    let advice = match error.kind() {
        ErrorKind::AuthenticationFailed => "; check fleet.username and fleet.password",
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            "; the user needs the commands AUTH, INFO, EVAL, TIME, ZADD, ZREM, ZRANGE, ZREMRANGEBYSCORE, PEXPIRE, XADD, XREAD, XTRIM and DEL on the keys of fleet.name"
        }
        ErrorKind::Server(ServerErrorKind::Moved) => {
            "; fleet.url leads to another part of a cluster: write the address of the part that has the keys of fleet.name"
        }
        _ if error.code() == Some("NOAUTH") => "; set fleet.password",
        _ => "",
    };
    let text = error.to_string();
    format!("{}{advice}", text.chars().take(300).collect::<String>())
}

/// The engine, not connected.
#[derive(Clone)]
pub struct Engine {
    info: ConnectionInfo,
    tls: TlsCertificates,
    credentials: Option<Credentials>,
    address: String,
    name: String,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A batch as the stream has it.
#[derive(Debug)]
pub struct Received {
    /// The place in the stream.
    pub place: String,
    /// The batch.
    pub batch: Bytes,
}

/// Batches that the server did not append.
#[derive(Debug)]
pub struct Refused {
    /// The number of them.
    pub batches: usize,
    /// The reason for the first one.
    pub reason: EngineError,
}

/// The entry of a member in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(String);

impl Entry {
    /// Creates the entry of a member.
    #[must_use]
    pub fn new(facts: MemberFacts) -> Self {
        Entry(format!("{} {:016x} {}", facts.id, facts.config.0, env!("CARGO_PKG_VERSION")))
    }

    /// Reads an entry. Other programs may have written it.
    #[must_use]
    pub fn read(text: &str) -> Option<MemberFacts> {
        let mut parts = text.split(' ');
        let id = MemberId::parse(parts.next()?)?;
        let config = u64::from_str_radix(parts.next()?, 16).ok()?;
        Some(MemberFacts { id, config: ConfigMark(config) })
    }
}

impl Engine {
    /// Reads the settings. `credentials` sign in to the engine, if `fleet.iam` is set.
    ///
    /// # Errors
    /// [`EngineError::Settings`].
    pub fn new(settings: &Fleet, credentials: Option<Credentials>) -> Result<Self, EngineError> {
        // The client takes the default provider of the process. An error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let info = settings.url.as_str().into_connection_info().map_err(EngineError::Settings)?;
        let mut login = info.redis_settings().clone().set_skip_set_lib_name();
        if let Some(username) = &settings.username {
            login = login.set_username(username);
        }
        if let Some(password) = &settings.password {
            login = login.set_password(password.expose());
        }
        let address = address(info.addr());
        let root_cert = settings.tls.ca_pem.as_ref().map(|pem| pem.clone().into_bytes());
        let tls = TlsCertificates { client_tls: None, root_cert };
        let engine =
            Engine { info: info.set_redis_settings(login), tls, credentials, address, name: settings.name.clone() };
        engine.client(engine.info.clone()).map_err(EngineError::Settings)?;
        Ok(engine)
    }

    /// Returns the address, for people.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns true if connections are opened anew from time to time, because the token that opened them expires.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.credentials.is_some()
    }

    fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        match info.addr() {
            ConnectionAddr::TcpTls { .. } => Client::build_with_tls(info, self.tls.clone()),
            _ => Client::open(info),
        }
    }

    /// Connects, signs in, and looks at the version of the server.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn connect(&self) -> Result<Connection<'_>, EngineError> {
        let mut info = self.info.clone();
        if let Some(credentials) = &self.credentials {
            let token = credentials.bearer_token().await.map_err(EngineError::Token)?;
            info = info.clone().set_redis_settings(info.redis_settings().clone().set_password(token));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT + READ_BLOCK));
        let mut redis = self.client(info)?.get_multiplexed_async_connection_with_config(&config).await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await?;
        check_version(&info)?;
        Ok(Connection { redis, engine: self })
    }

    fn members_key(&self) -> String {
        format!("{{{}}}:members", self.name)
    }

    fn stream_key(&self, member: MemberId) -> String {
        format!("{{{}}}:to:{member}", self.name)
    }
}

fn address(addr: &ConnectionAddr) -> String {
    match addr {
        ConnectionAddr::Tcp(host, port) => format!("{host}:{port}"),
        ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port}"),
        other => other.to_string(),
    }
}

/// Refuses a server that lacks commands. `info` is the answer to `INFO server`.
fn check_version(info: &str) -> Result<(), EngineError> {
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    let found = (parts.next().flatten(), parts.next().flatten());
    match found {
        (Some(major), Some(minor)) if (major, minor) >= VERSION_MIN => Ok(()),
        _ => Err(EngineError::Version(version.chars().take(40).collect())),
    }
}

/// A connection to the engine.
#[derive(Debug)]
pub struct Connection<'e> {
    redis: MultiplexedConnection,
    engine: &'e Engine,
}

impl Connection<'_> {
    /// Renews the entry of the member `own` in place of `before`. Deletes what came before `read` in its stream. Returns
    /// all members.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn beat(
        &mut self,
        own: MemberId,
        entry: &Entry,
        before: Option<&Entry>,
        read: &str,
    ) -> Result<Vec<MemberFacts>, EngineError> {
        let before = before.filter(|before| *before != entry).map_or("", |before| before.0.as_str());
        let reply: Value = redis::cmd("EVAL")
            .arg(BEAT)
            .arg(2)
            .arg(self.engine.members_key())
            .arg(self.engine.stream_key(own))
            .arg(&entry.0)
            .arg(MEMBER_TTL.as_millis() as u64)
            .arg(before)
            .arg(read)
            .arg(STREAM_TTL.as_millis() as u64)
            .query_async(&mut self.redis)
            .await?;
        Ok(listed(reply))
    }

    /// Appends batches to the streams of their receivers, of which there are `members`. Returns those that the server
    /// refused: the others are not to suffer from it.
    ///
    /// # Errors
    /// See [`EngineError`]. Some of them may have been appended.
    pub async fn send(
        &mut self,
        batches: &[(MemberId, Bytes)],
        members: usize,
    ) -> Result<Option<Refused>, EngineError> {
        let batches_max = STREAM_BATCHES_MIN.max(members.min(MEMBERS_MAX) * STREAM_BATCHES_PER_MEMBER);
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for (to, batch) in batches {
            let key = self.engine.stream_key(*to);
            let add = pipe.cmd("XADD").arg(&key).arg("MAXLEN").arg("~").arg(batches_max);
            add.arg("*").arg(BATCH_FIELD).arg(&batch[..]);
            // A stream without a reader must not stay for ever.
            pipe.cmd("PEXPIRE").arg(&key).arg(STREAM_TTL.as_millis() as u64).ignore();
        }
        let appended: Vec<RedisResult<Value>> = pipe.query_async(&mut self.redis).await?;
        let mut errors = appended.into_iter().filter_map(Result::err);
        Ok(errors.next().map(|reason| Refused { batches: 1 + errors.count(), reason: reason.into() }))
    }

    /// Returns the next batches after `place` in the stream of the member `own`; none if none comes for a while.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn read(&mut self, own: MemberId, place: &str) -> Result<Vec<Received>, EngineError> {
        let reply: Value = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(READ_BATCHES_MAX)
            .arg("BLOCK")
            .arg(READ_BLOCK.as_millis() as u64)
            .arg("STREAMS")
            .arg(self.engine.stream_key(own))
            .arg(place)
            .query_async(&mut self.redis)
            .await?;
        Ok(received(reply))
    }

    /// Removes the entry and the stream of the member `own`, which leaves.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn leave(&mut self, own: MemberId, entry: &Entry) -> Result<(), EngineError> {
        let mut pipe = redis::pipe();
        pipe.cmd("ZREM").arg(self.engine.members_key()).arg(&entry.0).ignore();
        pipe.cmd("DEL").arg(self.engine.stream_key(own)).ignore();
        let () = pipe.query_async(&mut self.redis).await?;
        Ok(())
    }
}

// Replies are read as bytes: other programs may have written to the keys, and one value that is not text must not hide the
// others.

/// Returns the members of a list, without entries that are not valid.
fn listed(reply: Value) -> Vec<MemberFacts> {
    let entries = items(reply).into_iter().map(bytes);
    entries.filter_map(|entry| Entry::read(std::str::from_utf8(&entry).ok()?)).collect()
}

/// Returns the entries of a stream: the reply is nil, or has one stream with its key and its entries. An entry has its place,
/// and fields with their values.
fn received(reply: Value) -> Vec<Received> {
    let entries = items(reply).into_iter().filter_map(|stream| items(stream).into_iter().nth(1)).flat_map(items);
    let received = entries.filter_map(|entry| {
        let mut entry = items(entry).into_iter();
        // The server makes the place, so it is text.
        let place = String::from_utf8(bytes(entry.next()?)).ok()?;
        Some(Received { place, batch: batch(entry.next().map(items).unwrap_or_default()) })
    });
    received.collect()
}

/// Returns the batch of an entry; an empty one, which is not valid, if there is none, or one that no member sends.
fn batch(fields: Vec<Value>) -> Bytes {
    let mut fields = fields.into_iter().map(bytes);
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        if field == BATCH_FIELD.as_bytes() {
            return if value.len() <= RECEIVED_BYTES_MAX { value.into() } else { Bytes::new() };
        }
    }
    Bytes::new()
}

fn items(value: Value) -> Vec<Value> {
    if let Value::Array(items) = value { items } else { Vec::new() }
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes,
        Value::SimpleString(text) => text.into_bytes(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
