//! The tasks that talk to the engine: one sends batches and renews the member's entry, the other reads its stream. Both
//! connect again when a connection breaks. Nothing waits for them: what they cannot take is lost, and the protocol repeats
//! what matters.

mod pauses;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};

use self::pauses::Pauses;
use super::engine::{Connection, Engine, EngineError, Entry, MEMBER_TTL, READ_BYTES_MAX, RECEIVED_BYTES_MAX, Refused};
use crate::export::sink::cut;
use spansieve_core::fleet::{MemberFacts, MemberId};
use spansieve_core::sampling::ConfigMark;

/// The interval at which a member renews its entry and reads the list.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause between attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// The longest pause between attempts to read. With the longest wait of a read, it is shorter than [`UNREAD_MAX`].
const READ_PAUSE_MAX: Duration = Duration::from_secs(1);
/// The age of a connection from which a break is not one of a row.
const STEADY_AGE: Duration = Duration::from_secs(10);
/// The time for which the stream cannot be read before the member counts as cut off.
const UNREAD_MAX: Duration = Duration::from_secs(3);
/// The longest time between two renewals of the entry: it is about to expire then, so the member counts as cut off.
const UNRENEWED_MAX: Duration = MEMBER_TTL.saturating_sub(Duration::from_secs(1));
/// The least time between two lines of the log about batches that the engine refuses.
const REFUSED_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// The most batches that wait to be sent, and the most that were received and wait to be read.
pub const BATCHES_MAX: usize = 32;
/// The most batches in one call, and the bytes from which on it takes no more.
const CALL_BATCHES_MAX: usize = 16;
const CALL_BYTES: usize = 256 << 10;
/// The copies of the batches of a call: themselves, their commands, these as bytes, and the buffer of the connection.
const CALL_COPIES: usize = 4;
/// The most bytes of memory of a link: the batches that wait on both sides, those of a call with their copies, and an answer,
/// which the client reads and takes apart.
pub const BYTES_MAX: usize =
    2 * BATCHES_MAX * RECEIVED_BYTES_MAX + CALL_COPIES * (CALL_BYTES + RECEIVED_BYTES_MAX) + 2 * READ_BYTES_MAX;
/// The time that the last batches have when the member leaves.
const LEAVE_TIME: Duration = Duration::from_millis(800);

/// News from the engine.
#[derive(Debug)]
pub enum News {
    /// The members.
    Members(Vec<MemberFacts>),
    /// The engine cannot be reached.
    Down(String),
    /// A batch for this member.
    Batch(Bytes),
}

/// The state that both tasks share.
#[derive(Debug)]
struct Shared {
    own: MemberId,
    config: AtomicU64,
    /// The place in the stream up to which all batches have been passed on.
    read: Mutex<String>,
    /// The time since which the stream cannot be read, and the reason.
    unread: Mutex<Option<(Instant, String)>>,
    /// Batches that the engine has refused since they were counted.
    refused: AtomicU64,
    /// Batches of calls that broke off, since they were counted.
    broken: AtomicU64,
}

impl Shared {
    /// Notes that the stream cannot be read. Returns true if it could be before.
    fn cannot_read(&self, reason: &EngineError) -> bool {
        let mut unread = self.unread.lock();
        let is_first = unread.is_none();
        unread.get_or_insert_with(|| (Instant::now(), reason.to_string()));
        is_first
    }

    /// Returns the reason why the stream cannot be read, if that has been so for long. `since` is the time from which it
    /// could be expected.
    fn why_unread(&self, since: Instant) -> Option<String> {
        let unread = self.unread.lock();
        let (failed_at, reason) = unread.as_ref()?;
        let is_long = since.max(*failed_at).elapsed() >= UNREAD_MAX;
        is_long.then(|| format!("the stream of this member cannot be read: {reason}"))
    }
}

/// The link of a member to the others.
#[derive(Debug)]
pub struct Link {
    /// News from the engine.
    pub news: mpsc::Receiver<News>,
    batches: mpsc::Sender<(MemberId, Bytes)>,
    leave: Option<oneshot::Sender<oneshot::Sender<()>>>,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Link {
    /// Starts the tasks of the member `own`. Needs a tokio runtime.
    #[must_use]
    pub fn start(engine: Engine, own: MemberId, config: ConfigMark) -> Self {
        let (news_in, news) = mpsc::channel(BATCHES_MAX);
        let (batches, batches_out) = mpsc::channel(BATCHES_MAX);
        let (leave, leaves) = oneshot::channel();
        let shared = Arc::new(Shared {
            own,
            config: AtomicU64::new(config.0),
            read: Mutex::new(BEGINNING.to_owned()),
            unread: Mutex::default(),
            refused: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        });
        let sender = Sender {
            shared: Arc::clone(&shared),
            news: news_in.clone(),
            batches: batches_out,
            leaves,
            members: 1,
            entry: None,
            refused_at: None,
            reached_at: None,
            renew_by: Instant::now(),
        };
        let tasks = [
            tokio::spawn(send_and_beat(engine.clone(), sender)),
            tokio::spawn(read(engine, Arc::clone(&shared), news_in)),
        ];
        Link { news, batches, leave: Some(leave), shared, tasks }
    }

    /// Sets the mark of the policies in force.
    pub fn set_config(&self, config: ConfigMark) {
        self.shared.config.store(config.0, Ordering::Relaxed);
    }

    /// Returns true if there is room for a batch.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.batches.capacity() > 0
    }

    /// Returns the number of batches that the engine has refused since the last call.
    #[must_use]
    pub fn take_refused(&self) -> u64 {
        self.shared.refused.swap(0, Ordering::Relaxed)
    }

    /// Returns the number of batches since the last call whose connection broke before the engine answered. Some may have
    /// arrived.
    #[must_use]
    pub fn take_broken(&self) -> u64 {
        self.shared.broken.swap(0, Ordering::Relaxed)
    }

    /// Sends a batch as soon as there is room for it. Returns false if the member has left.
    pub async fn send_later(&self, to: MemberId, batch: Bytes) -> bool {
        self.batches.send((to, batch)).await.is_ok()
    }

    /// Sends a batch. Returns false if there is no room for it.
    pub fn send(&self, to: MemberId, batch: Bytes) -> bool {
        self.batches.try_send((to, batch)).is_ok()
    }

    /// Sends what waits, and removes the member from the list. Takes less than a second, whatever the engine does.
    pub async fn leave(&mut self) {
        // The task that sends may wait for room for news, which nobody takes any more.
        self.news.close();
        let (done, is_done) = oneshot::channel();
        if let Some(leave) = self.leave.take()
            && leave.send(done).is_ok()
        {
            let _ = timeout(LEAVE_TIME, is_done).await;
        }
    }
}

/// The task that sends batches and renews the entry of the member.
struct Sender {
    shared: Arc<Shared>,
    news: mpsc::Sender<News>,
    batches: mpsc::Receiver<(MemberId, Bytes)>,
    /// Says that the member leaves, and wants to know when it has left.
    leaves: oneshot::Receiver<oneshot::Sender<()>>,
    members: usize,
    /// The entry that the engine may have.
    entry: Option<Entry>,
    /// The time of the last line of the log about refused batches.
    refused_at: Option<Instant>,
    /// The time from which on the engine could be reached; `None` if it cannot. A session that fails does not change it, so
    /// that a member whose sessions all fail counts as cut off.
    reached_at: Option<Instant>,
    /// The time by which the entry is to be renewed. All that the task does delays that, so it is the one deadline of a session.
    renew_by: Instant,
}

async fn send_and_beat(engine: Engine, mut sender: Sender) {
    let mut pauses = Pauses::new(PAUSE_MAX);
    loop {
        match sender.session(&engine, &mut pauses).await {
            Ok(()) => return,
            Err(error) => {
                if sender.news.send(News::Down(error.to_string())).await.is_err() {
                    return;
                }
                sleep(pauses.next(fastrand::f64())).await;
            }
        }
    }
}

impl Sender {
    /// Works with one connection until it breaks, or the member leaves, or the link is gone.
    async fn session(&mut self, engine: &Engine, pauses: &mut Pauses) -> Result<(), EngineError> {
        let connected = tokio::select! {
            connected = engine.connect() => connected,
            _ = &mut self.leaves => return Ok(()),
        };
        let since = Instant::now();
        self.reached_at = connected.is_ok().then(|| self.reached_at.unwrap_or(since));
        let mut connection = connected?;
        self.renew_by = Instant::now() + UNRENEWED_MAX;
        let mut beats = interval(BEAT_INTERVAL);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = beats.tick() => {
                    let news = in_time(self.renew_by, self.beat_or_hide(&mut connection)).await?;
                    self.tell(news).await?;
                    if since.elapsed() >= STEADY_AGE {
                        pauses.restart();
                    }
                }
                done = &mut self.leaves => {
                    self.leave(&mut connection).await?;
                    // An error means that the caller does not wait for it.
                    let _ = done.map(|done| done.send(()));
                    return Ok(());
                }
                Some(first) = self.batches.recv() => self.send(&mut connection, first).await?,
            }
        }
    }

    /// Renews the entry of the member. If it cannot read what the others send, lets the entry expire, because they would wait
    /// for its verdicts in vain.
    async fn beat_or_hide(&mut self, connection: &mut Connection<'_>) -> Result<News, EngineError> {
        connection.renew().await?;
        match self.reached_at.and_then(|since| self.shared.why_unread(since)) {
            Some(reason) => {
                self.renew_by = Instant::now() + UNRENEWED_MAX;
                Ok(News::Down(reason))
            }
            None => self.beat(connection).await.map(News::Members),
        }
    }

    /// Tells the fleet's task the news. A task that does not take them in time does not work as a member either.
    async fn tell(&self, news: News) -> Result<(), EngineError> {
        match timeout_at(self.renew_by, self.news.send(news)).await {
            // An error means that the fleet's task has ended.
            Ok(_) => Ok(()),
            Err(_) => Err(EngineError::Unheard),
        }
    }

    async fn beat(&mut self, connection: &mut Connection<'_>) -> Result<Vec<MemberFacts>, EngineError> {
        let own = self.shared.own;
        let entry = Entry::new(MemberFacts { id: own, config: ConfigMark(self.shared.config.load(Ordering::Relaxed)) });
        let read = self.shared.read.lock().clone();
        connection.tidy(own, &read).await?;
        // The entry cannot expire before this time and its TTL, however late the answer comes.
        let renew_by = Instant::now() + UNRENEWED_MAX;
        let members = connection.beat(&entry, self.entry.as_ref()).await?;
        self.renew_by = renew_by;
        self.entry = Some(entry);
        self.members = members.len();
        Ok(members)
    }

    async fn send(&mut self, connection: &mut Connection<'_>, first: (MemberId, Bytes)) -> Result<(), EngineError> {
        let (mut bytes, mut batches) = (first.1.len(), vec![first]);
        while batches.len() < CALL_BATCHES_MAX
            && bytes < CALL_BYTES
            && let Ok(next) = self.batches.try_recv()
        {
            bytes += next.1.len();
            batches.push(next);
        }
        match in_time(self.renew_by, connection.send(&batches, self.members)).await {
            Ok(refused) => refused.iter().for_each(|refused| self.note_refused(refused)),
            Err(error) => {
                self.shared.broken.fetch_add(batches.len() as u64, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }

    fn note_refused(&mut self, refused: &Refused) {
        self.shared.refused.fetch_add(refused.batches as u64, Ordering::Relaxed);
        if self.refused_at.is_none_or(|at| at.elapsed() >= REFUSED_LOG_INTERVAL) {
            self.refused_at = Some(Instant::now());
            let error = refused.reason.to_string();
            tracing::warn!(error = cut(&error), "The engine of the fleet refuses messages to other members.");
        }
    }

    /// Sends what waits, and removes the entry.
    async fn leave(&mut self, connection: &mut Connection<'_>) -> Result<(), EngineError> {
        while let Ok(first) = self.batches.try_recv() {
            self.send(connection, first).await?;
        }
        match self.entry.take() {
            Some(entry) => connection.leave(self.shared.own, &entry).await,
            None => Ok(()),
        }
    }
}

/// Returns the result of `work`, or an error at the deadline.
async fn in_time<T>(deadline: Instant, work: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    timeout_at(deadline, work).await.unwrap_or(Err(EngineError::Slow))
}

/// Reads the stream of the member for ever.
async fn read(engine: Engine, shared: Arc<Shared>, news: mpsc::Sender<News>) {
    let (mut pauses, mut clears) = (Pauses::new(READ_PAUSE_MAX), false);
    loop {
        let ended = read_session(&engine, &shared, &news, &mut pauses, clears).await;
        clears = ended.as_ref().is_err_and(EngineError::is_of_the_stream);
        // The first error of a row. The other task may work, if only reading is not allowed.
        if let Err(error) = ended
            && shared.cannot_read(&error)
        {
            tracing::warn!(error = cut(&error.to_string()), "The stream of this member of the fleet cannot be read.");
        }
        // It counts as a batch that is not valid.
        if news.is_closed() || clears && news.send(News::Batch(Bytes::new())).await.is_err() {
            return;
        }
        sleep(pauses.next(fastrand::f64())).await;
    }
}

/// Reads with one connection until it breaks. `clears` is true if the stream has something that no member sends, or is none: it
/// is deleted with all else in it, which the protocol repeats.
async fn read_session(
    engine: &Engine,
    shared: &Shared,
    news: &mpsc::Sender<News>,
    pauses: &mut Pauses,
    clears: bool,
) -> Result<(), EngineError> {
    let mut connection = engine.connect().await?;
    if clears {
        connection.clear(shared.own).await?;
    }
    // From the beginning: what was read before is deleted or harmless, and an engine that has lost its data may count anew.
    let mut place = String::from(BEGINNING);
    loop {
        let batches = connection.read(shared.own, &place).await?;
        *shared.unread.lock() = None;
        let is_ahead = connection.is_ahead(&batches).await?;
        for received in batches {
            if news.send(News::Batch(received.batch)).await.is_err() {
                return Ok(());
            }
            place = received.place;
        }
        pauses.restart();
        if is_ahead {
            tracing::warn!(
                "The stream of this member of the fleet has places of the future, by another program or by a wrong clock. \
                 It is made anew."
            );
            connection.clear(shared.own).await?;
            place = String::from(BEGINNING);
        }
        shared.read.lock().clone_from(&place);
        connection.renew().await?;
    }
}

/// The place before all others of a stream.
const BEGINNING: &str = "0";

#[cfg(test)]
mod tests;
