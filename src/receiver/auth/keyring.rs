//! Google's keys as they are known at present: fetched before they grow old, and once more for a key that is new.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::Denial;
use crate::google::certs::Certs;
use crate::trust::id_token::{Keys, Rejection};

/// How long an answer that does not say stays true, and the bounds of one that says. Google says some hours, and shows a
/// key a day before it signs with it.
const MAX_AGE: Duration = Duration::from_secs(3600);
const MAX_AGE_MIN: Duration = Duration::from_secs(60);
const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Between two questions, after a failure or for a name that nobody knows: whoever makes up names causes no more than two
/// questions a minute.
const ASK_INTERVAL: Duration = Duration::from_secs(30);

/// The same while there are no keys at all, and every request is turned away: senders repeat for some seconds only.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);

/// How long keys are used that could not be renewed: through a night, but not for as long as somebody likes who keeps us
/// from hearing that a key was taken back.
const KEEP_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct Keyring {
    certs: Certs,
    current: RwLock<Current>,
    /// The last question. Held while one is under way: who needs its answer waits for it.
    asked: Mutex<Option<Asked>>,
}

#[derive(Debug, Default)]
struct Current {
    keys: Option<Arc<Keys>>,
    /// Counts the changes of the keys.
    generation: u64,
    fetched: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    failed: bool,
}

impl Keyring {
    pub(super) fn new(certs: Certs) -> Self {
        Keyring { certs, current: RwLock::default(), asked: Mutex::default() }
    }

    /// Changes with the keys.
    pub(super) fn generation(&self) -> u64 {
        self.current.read().generation
    }

    /// Keys among which is the one of this name. An unknown one is asked for.
    ///
    /// # Errors
    /// There is no such key, or nobody can say at present.
    pub(super) async fn keys_for(&self, id: &str) -> Result<(Arc<Keys>, u64), Denial> {
        if let Some(found) = self.current.read().usable(id) {
            return Ok(found);
        }
        let mut asked = self.asked.lock().await;
        let is_due = asked.is_none_or(|asked| asked.at.elapsed() >= self.pause());
        if is_due && self.current.read().usable(id).is_none() {
            self.ask(&mut asked).await;
        }
        let current = self.current.read();
        match (current.usable(id), *asked) {
            (Some(found), _) => Ok(found),
            // Whether there is such a key was not to be found out.
            (None, Some(Asked { failed: true, .. })) => Err(Denial::NoKeys),
            (None, _) => Err(Rejection::UnknownKey.into()),
        }
    }

    /// Fetches the keys now, and again before they grow old, for ever.
    pub(super) async fn renew(&self) {
        loop {
            let mut asked = self.asked.lock().await;
            let next = self.ask(&mut asked).await;
            drop(asked);
            sleep(next).await;
        }
    }

    /// Fetches the keys; returns when to do so again.
    async fn ask(&self, asked: &mut Option<Asked>) -> Duration {
        let fetched = self.certs.fetch().await.map_err(|error| error.to_string());
        let renewed = fetched.and_then(|fetched| {
            let keys = Keys::parse(&fetched.json).map_err(|error| error.to_string())?;
            Ok((keys, fetched.max_age))
        });
        *asked = Some(Asked { at: Instant::now(), failed: renewed.is_err() });
        match renewed {
            Ok((keys, max_age)) => {
                self.current.write().replace(keys);
                max_age.unwrap_or(MAX_AGE).clamp(MAX_AGE_MIN, MAX_AGE_MAX)
            }
            Err(error) => {
                tracing::warn!("Keys that are known stay in use for a day: {error}.");
                self.pause()
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.current.read().keys.is_some() { ASK_INTERVAL } else { FIRST_INTERVAL }
    }
}

impl Current {
    /// The keys, if the one of this name is among them and they are not too old.
    fn usable(&self, id: &str) -> Option<(Arc<Keys>, u64)> {
        let keys = self.keys.as_ref().filter(|keys| keys.has(id))?;
        let is_fresh = self.fetched.is_some_and(|fetched| fetched.elapsed() < KEEP_TIME_MAX);
        is_fresh.then(|| (Arc::clone(keys), self.generation))
    }

    fn replace(&mut self, keys: Keys) {
        self.fetched = Some(Instant::now());
        if self.keys.as_deref() != Some(&keys) {
            self.keys = Some(Arc::new(keys));
            self.generation += 1;
        }
    }
}

#[cfg(test)]
mod tests;
