//! The engine between the members of a fleet: Valkey, or Redis from 6.2 on, also as a cluster. It has a list of the members,
//! each with the time at which it expires, and one stream for each member, which the others append to.

mod advice;
mod line;
mod redirection;
mod reply;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{ErrorKind, RedisConnectionInfo, RedisError};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tonic::Status;

use self::line::{ANSWER_BYTES_MAX, Line, Node};
use self::redirection::Append;
use super::settings::Fleet;
use crate::clock;
use crate::google::credentials::{Credentials, SignIn};
use crate::trust::pem;
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
pub const RECEIVED_BYTES_MAX: usize = BATCH_BYTES_MAX + 512;
/// The most bytes of an answer with batches.
pub const READ_BYTES_MAX: usize = READ_BATCHES_MAX * (RECEIVED_BYTES_MAX + 1024);
/// The most bytes of an entry in the list of members. An entry has some 40.
const ENTRY_BYTES_MAX: usize = 64;
/// The most entries of the list that are read: more than any fleet has.
const LISTED_MAX: usize = 1024;
/// The most bytes of an answer with members: the own one comes first, in addition.
const LISTED_BYTES_MAX: usize = (LISTED_MAX + 1) * (ENTRY_BYTES_MAX + 16);
/// The field of a batch in its stream.
const BATCH_FIELD: &str = "b";
/// The least number of batches that a stream holds while its member does not read: about 30 s of three members.
const STREAM_BATCHES_MIN: usize = 1_000;
/// The batches for each member, ten in a second for half a minute.
const STREAM_BATCHES_PER_MEMBER: usize = 300;
/// The oldest version that has all commands in use.
const VERSION_MIN: (u64, u64) = (6, 2);

/// The commands that a member sends, directly or in scripts, with keys of the fleet or with none. They are what a user of an
/// access list needs, with [`COMMAND_WITH_DATABASE`] and [`COMMAND_IN_CLUSTER`].
pub const COMMANDS: [&str; 13] = [
    "AUTH",
    "INFO",
    "EVAL",
    "TIME",
    "ZADD",
    "ZREM",
    "ZRANGE",
    "ZREMRANGEBYSCORE",
    "PEXPIRE",
    "XADD",
    "XREAD",
    "XTRIM",
    "DEL",
];
/// The command of a URL with a database.
pub const COMMAND_WITH_DATABASE: &str = "SELECT";
/// The command that a cluster needs while it moves keys.
pub const COMMAND_IN_CLUSTER: &str = "ASKING";

/// Returns [`COMMANDS`] as text.
#[must_use]
pub fn commands_in_words() -> String {
    let [first @ .., last] = COMMANDS;
    format!("{} and {last}", first.join(", "))
}

/// The longest wait for a token on a connection that has one. It comes from a cache.
const TOKEN_WAIT: Duration = Duration::from_millis(200);

/// The least time between two looks for a newer token on one connection, and that after a look without one.
const TOKEN_INTERVAL: Duration = Duration::from_secs(1);
const TOKEN_PAUSE: Duration = Duration::from_secs(10);

/// The time by which the place of an entry in a stream may be ahead of the clock: the server chooses places by its clock, and
/// may have set it back a little.
const PLACE_AHEAD_MAX: Duration = Duration::from_secs(60);

/// Removes entries that have expired, and those that expire later than any member's: a clock that went back, or another
/// program, has left them.
const TIDY: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[1], '')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. (now + 2 * ARGV[1]), '+inf')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
";

/// Renews the entry of a member in place of the one before, and returns the entries, up to a number that no fleet has. All that
/// may fail comes before the entry, because an error does not undo what the script has written: a member that cannot work must
/// not be listed. The reads come first, so that a server without memory refuses the script. The time is that of the engine.
const BEAT: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local listed = {ARGV[1]}
for _, entry in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[6] - 1)) do
  if #entry <= tonumber(ARGV[5]) and entry ~= ARGV[1] and entry ~= ARGV[3] then table.insert(listed, entry) end
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if ARGV[3] ~= '' then redis.call('ZREM', KEYS[1], ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return listed
";

/// The reason why the engine cannot be used at present.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The address or the certificates cannot be used.
    #[error("fleet: {0}")]
    Settings(String),
    /// A server cannot be reached.
    #[error("no connection to {node}: {cause}{}", advice::of_connection(.cause))]
    Connect {
        /// The address.
        node: String,
        /// The error.
        cause: io::Error,
    },
    /// A connection without TLS has ended before the server answered.
    #[error(
        "the server ended the connection at once ({0}); if it has TLS, write a fleet.url that begins with `rediss://`"
    )]
    Ended(RedisError),
    /// A command has failed.
    #[error("{}", advice::of_command(.0))]
    Redis(#[from] RedisError),
    /// An answer is larger than members can make it.
    #[error("an answer of the server is larger than the fleet can make it; does another program write to its keys?")]
    TooLarge,
    /// The nodes of a cluster do not agree.
    #[error("the nodes of the cluster redirect to one another, {times} times; last {last}")]
    Redirected {
        /// The number of redirections.
        times: usize,
        /// The last one.
        last: String,
    },
    /// The server is too old.
    #[error("the server is version {0}; a fleet needs Valkey, or Redis from {min}.{minor} on", min = VERSION_MIN.0, minor = VERSION_MIN.1)]
    Version(String),
    /// The entry of the member could not be renewed in time.
    #[error("the server is too slow: the entry of this member expires")]
    Slow,
    /// The fleet's task did not take the members in time, so the entry could not be renewed.
    #[error("this instance is too slow for the news of the fleet: its entry expires")]
    Unheard,
    /// There is no token of Google for the connection.
    #[error("no token for the engine: {}", .0.message())]
    Token(Status),
}

impl EngineError {
    /// Returns true if the stream itself is the reason: it works again once it has been deleted.
    #[must_use]
    pub fn is_of_the_stream(&self) -> bool {
        match self {
            EngineError::TooLarge => true,
            EngineError::Redis(error) => is_unusable(error),
            _ => false,
        }
    }
}

/// Returns true if a key cannot be used as a stream: it has another type, or the last possible place is taken, maybe by an
/// entry that is not there any more.
fn is_unusable(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
        || error.detail().is_some_and(|detail| detail.contains("exhausted the last possible ID"))
}

/// The engine, not connected.
#[derive(Clone)]
pub struct Engine {
    node: Node,
    login: RedisConnectionInfo,
    tls: Option<TlsConnector>,
    credentials: Option<Credentials>,
    name: String,
    /// The node of a cluster that had the keys of the fleet last.
    owner: Arc<Mutex<Option<Node>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("node", &self.node).finish_non_exhaustive()
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

impl Received {
    /// Returns true if the place is far after the time `now`.
    fn is_after(&self, now: Duration) -> bool {
        let millis = self.place.split('-').next().and_then(|millis| millis.parse().ok());
        millis.is_some_and(|millis| Duration::from_millis(millis) > now + PLACE_AHEAD_MAX)
    }
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
        let invalid = || EngineError::Settings("`url` is not the URL of a server".to_owned());
        let (node, has_tls, db) = address(&settings.url).ok_or_else(invalid)?;
        let mut login = RedisConnectionInfo::default().set_db(db).set_skip_set_lib_name();
        if let Some(username) = &settings.username {
            login = login.set_username(username);
        }
        if let Some(password) = &settings.password {
            login = login.set_password(password.expose());
        }
        let tls = has_tls.then(|| connector(settings.tls.ca_pem.as_deref())).transpose()?;
        Ok(Engine { node, login, tls, credentials, name: settings.name.clone(), owner: Arc::default() })
    }

    /// Returns the address, for people.
    #[must_use]
    pub fn address(&self) -> String {
        self.node.to_string()
    }

    /// Connects, signs in, and looks at the version of the server. If the server cannot be reached, connects to the node of the
    /// cluster that had the keys last.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn connect(&self) -> Result<Connection<'_>, EngineError> {
        let line = match self.open(&self.node).await {
            Err(error @ EngineError::Connect { .. }) => {
                let owner = self.owner.lock().clone().filter(|owner| *owner != self.node);
                let Some(owner) = owner else { return Err(error) };
                self.open(&owner).await.map_err(|_| error)?
            }
            opened => opened?,
        };
        Ok(Connection { engine: self, line, asked: None, renews_at: Instant::now() })
    }

    /// Connects to a node and signs in.
    async fn open(&self, node: &Node) -> Result<Line, EngineError> {
        let token = self.token().await?;
        let login = match &token {
            Some((token, _)) => self.login.clone().set_password(token),
            None => self.login.clone(),
        };
        let mut line = match Line::open(node, self.tls.as_ref(), &login).await {
            Err(EngineError::Redis(error)) => return Err(self.not_signed_in(error, token)),
            opened => opened?,
        };
        let info = match line.query(redis::cmd("INFO").arg("server"), ANSWER_BYTES_MAX).await {
            Err(EngineError::Redis(error)) if error.is_io_error() && self.tls.is_none() => {
                return Err(EngineError::Ended(error));
            }
            answer => answer?,
        };
        check_version(&String::from_utf8_lossy(&reply::bytes(info)))?;
        Ok(line)
    }

    /// Returns the token that is the password with `fleet.iam`. It comes from a cache, which has another one minutes before it
    /// expires.
    async fn token(&self) -> Result<Option<(String, SignIn)>, EngineError> {
        let Some(credentials) = &self.credentials else { return Ok(None) };
        let signature = credentials.signature().await.map_err(EngineError::Token)?;
        let token = signature.bearer_token().map_err(EngineError::Token)?;
        Ok(Some((token.to_owned(), signature.sign_in)))
    }

    /// Returns the error of a sign-in. A token that is refused is not used again.
    fn not_signed_in(&self, error: RedisError, token: Option<(String, SignIn)>) -> EngineError {
        if let (Some(credentials), Some((_, sign_in))) = (&self.credentials, token)
            && error.kind() == ErrorKind::AuthenticationFailed
        {
            credentials.renew(sign_in);
        }
        if error.is_io_error() && self.tls.is_none() { EngineError::Ended(error) } else { error.into() }
    }

    fn members_key(&self) -> String {
        format!("{{{}}}:members", self.name)
    }

    fn stream_key(&self, member: MemberId) -> String {
        format!("{{{}}}:to:{member}", self.name)
    }
}

/// Reads a URL, which the settings have checked: the server, true if it has TLS, and the number of the database.
fn address(url: &str) -> Option<(Node, bool, i64)> {
    let (scheme, rest) = url.split_once("://")?;
    let (address, db) = rest.split_once('/').unwrap_or((rest, ""));
    let db = if db.is_empty() { 0 } else { db.parse().ok()? };
    Some((Node::read(address)?, scheme == "rediss", db))
}

/// Returns the client of TLS. Servers must have a certificate of the authorities in `ca_pem`, or else of those of the machine.
fn connector(ca_pem: Option<&str>) -> Result<TlsConnector, EngineError> {
    // An error means that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let invalid = |error: String| EngineError::Settings(format!("`tls.ca_file`: {error}"));
    let roots = match ca_pem {
        Some(pem) => pem::authorities(pem.as_bytes()).map_err(|error| invalid(error.to_string()))?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    if roots.is_empty() {
        return Err(invalid("this machine has no authorities of its own, so the server's must be given".to_owned()));
    }
    Ok(TlsConnector::from(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())))
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

/// A connection to the engine. In a cluster it follows the keys of the fleet, which have one slot: commands have one key each, so
/// that they also work while the slot moves.
#[derive(Debug)]
pub struct Connection<'e> {
    engine: &'e Engine,
    /// The node that has the keys.
    line: Line,
    /// The node that takes them over at present.
    asked: Option<Line>,
    /// The time of the next look for a newer token.
    renews_at: Instant,
}

impl Connection<'_> {
    /// Signs in again if there is a newer token than that of the connection. Without one, the connection stays as it is. Looks
    /// for it once a second, and less often while there is none: each look may be a request.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn renew(&mut self) -> Result<(), EngineError> {
        if self.engine.credentials.is_none() || Instant::now() < self.renews_at {
            return Ok(());
        }
        let token = timeout(TOKEN_WAIT, self.engine.token()).await;
        let Ok(Ok(Some((token, _)))) = token else {
            self.renews_at = Instant::now() + TOKEN_PAUSE;
            return Ok(());
        };
        self.renews_at = Instant::now() + TOKEN_INTERVAL;
        if self.line.has_password(&token) {
            return Ok(());
        }
        self.asked = None;
        let login = self.engine.login.clone().set_password(token);
        self.line.sign_in(login).await
    }

    /// Prepares the next [`Connection::beat`] of the member `own`: deletes what came before `read` in its stream, and entries
    /// that have expired. Fails if the member cannot work.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn tidy(&mut self, own: MemberId, read: &str) -> Result<(), EngineError> {
        let (ttl, stream_ttl) = (MEMBER_TTL.as_millis() as u64, STREAM_TTL.as_millis() as u64);
        let (stream, members) = (self.engine.stream_key(own), self.engine.members_key());
        self.query(redis::cmd("XTRIM").arg(&stream).arg("MINID").arg(read), ANSWER_BYTES_MAX).await?;
        self.query(redis::cmd("PEXPIRE").arg(&stream).arg(stream_ttl), ANSWER_BYTES_MAX).await?;
        self.check_append().await?;
        let mut tidy = redis::cmd("EVAL");
        tidy.arg(TIDY).arg(1).arg(&members).arg(ttl).arg(stream_ttl);
        self.query(&tidy, ANSWER_BYTES_MAX).await.map(drop)
    }

    /// Renews the entry of a member in place of `before`. Returns all members.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn beat(&mut self, entry: &Entry, before: Option<&Entry>) -> Result<Vec<MemberFacts>, EngineError> {
        let before = before.filter(|before| *before != entry).map_or("", |before| before.0.as_str());
        let (ttl, stream_ttl) = (MEMBER_TTL.as_millis() as u64, STREAM_TTL.as_millis() as u64);
        let mut beat = redis::cmd("EVAL");
        beat.arg(BEAT).arg(1).arg(self.engine.members_key());
        beat.arg(&entry.0).arg(ttl).arg(before).arg(stream_ttl).arg(ENTRY_BYTES_MAX).arg(LISTED_MAX);
        Ok(reply::listed(self.query(&beat, LISTED_BYTES_MAX).await?))
    }

    /// Fails if the user may not append to streams. Appends nothing, because no member has this stream.
    async fn check_append(&mut self) -> Result<(), EngineError> {
        let mut add = redis::cmd("XADD");
        add.arg(format!("{{{}}}:to:nobody", self.engine.name)).arg("NOMKSTREAM");
        add.arg("MAXLEN").arg(0).arg("*").arg(BATCH_FIELD).arg("");
        match self.query(&add, ANSWER_BYTES_MAX).await {
            // Another program has something at this key. The user may append, all the same.
            Err(EngineError::Redis(error)) if is_unusable(&error) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Appends batches to the streams of their receivers, of which there are `members`. Returns those that the server
    /// refused: the others are not to suffer from it. A stream that cannot take any more is deleted.
    ///
    /// # Errors
    /// See [`EngineError`]. Some of them may have been appended.
    pub async fn send(
        &mut self,
        batches: &[(MemberId, Bytes)],
        members: usize,
    ) -> Result<Option<Refused>, EngineError> {
        let batches_max = STREAM_BATCHES_MIN.max(members.min(MEMBERS_MAX) * STREAM_BATCHES_PER_MEMBER);
        let add = |(to, batch): &(MemberId, Bytes)| {
            let key = self.engine.stream_key(*to);
            let mut add = redis::cmd("XADD");
            add.arg(&key).arg("MAXLEN").arg("~").arg(batches_max).arg("*").arg(BATCH_FIELD).arg(&batch[..]);
            // A stream without a reader must not stay for ever.
            let mut expire = redis::cmd("PEXPIRE");
            expire.arg(&key).arg(STREAM_TTL.as_millis() as u64);
            Append { to: *to, add, expire }
        };
        let errors = self.append(batches.iter().map(add).collect()).await?;
        let broken: BTreeSet<MemberId> =
            errors.iter().filter(|(_, error)| is_unusable(error)).map(|(to, _)| *to).collect();
        for to in broken {
            tracing::warn!(member = %to, "Another program has closed the stream of a member of the fleet. It is made anew.");
            // An error means that the next batches are refused as well.
            let _ = self.clear(to).await;
        }
        let batches = errors.len();
        Ok(errors.into_iter().next().map(|(_, reason)| Refused { batches, reason: reason.into() }))
    }

    /// Returns the next batches after `place` in the stream of the member `own`; none if none comes for a while.
    ///
    /// # Errors
    /// See [`EngineError`]. After [`EngineError::TooLarge`], the stream has something that no member sends.
    pub async fn read(&mut self, own: MemberId, place: &str) -> Result<Vec<Received>, EngineError> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(READ_BATCHES_MAX).arg("BLOCK").arg(READ_BLOCK.as_millis() as u64);
        read.arg("STREAMS").arg(self.engine.stream_key(own)).arg(place);
        Ok(reply::received(self.query(&read, READ_BYTES_MAX).await?))
    }

    /// Returns true if a batch has a place that the server cannot have chosen by its clock: another program has, or the clock
    /// was wrong. Whoever reads from there on misses what comes once the stream has been made anew, and a place close to the
    /// last possible one closes the stream.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn is_ahead(&mut self, received: &[Received]) -> Result<bool, EngineError> {
        // The clock of this machine may be wrong as well, so it only says when to ask.
        if !received.iter().any(|received| received.is_after(clock::since_1970())) {
            return Ok(false);
        }
        let now = reply::time(self.query(&redis::cmd("TIME"), ANSWER_BYTES_MAX).await?);
        Ok(now.is_some_and(|now| received.iter().any(|received| received.is_after(now))))
    }

    /// Deletes the stream of a member with all that is in it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn clear(&mut self, member: MemberId) -> Result<(), EngineError> {
        let stream = self.engine.stream_key(member);
        self.query(redis::cmd("DEL").arg(stream), ANSWER_BYTES_MAX).await.map(drop)
    }

    /// Removes the entry and the stream of the member `own`, which leaves.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn leave(&mut self, own: MemberId, entry: &Entry) -> Result<(), EngineError> {
        let members = self.engine.members_key();
        self.query(redis::cmd("ZREM").arg(members).arg(&entry.0), ANSWER_BYTES_MAX).await?;
        self.clear(own).await
    }
}

#[cfg(test)]
mod tests;
