//! Google's current keys. They are fetched again before they grow old, and when a token names an unknown key.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::AccessError;
use crate::google::certs::Certs;
use crate::trust::id_token::{IdTokenError, PublicKeys};

/// Time that fetched keys stay fresh if the answer does not say, and its bounds if it does. Google says a few hours,
/// and publishes a key a day before it signs with it.
const MAX_AGE: Duration = Duration::from_secs(3600);
const MAX_AGE_MIN: Duration = Duration::from_secs(60);
const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Shortest time between two fetches after a failure or for an unknown key name. A client that makes up names causes at
/// most two fetches a minute.
const ASK_INTERVAL: Duration = Duration::from_secs(30);

/// Shortest time between two fetches while there are no keys at all. It is short because every ID token is denied
/// meanwhile, and senders retry for only a few seconds.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);

/// Time that keys stay in use if they cannot be renewed. A day is enough for an outage of a night. It also limits the
/// time for which an attacker can hide that a key was withdrawn.
const KEEP_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
pub(super) struct Keyring {
    certs: Certs,
    current: RwLock<CachedKeys>,
    /// The last fetch. The lock is held during a fetch, so that every request that needs the answer waits for it.
    asked: Mutex<Option<Asked>>,
}

#[derive(Debug, Default)]
struct CachedKeys {
    keys: Option<Arc<PublicKeys>>,
    /// Number of times that the keys have changed.
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

    /// Returns a number that changes whenever the keys change.
    pub(super) fn generation(&self) -> u64 {
        self.current.read().generation
    }

    /// Returns the current keys and their generation if they include the key `id`. Fetches the keys if they do not
    /// include it.
    ///
    /// # Errors
    /// There is no such key, or Google cannot be asked at present.
    pub(super) async fn keys_for(&self, id: &str) -> Result<(Arc<PublicKeys>, u64), AccessError> {
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
            // The fetch failed, so it is unknown whether Google has such a key.
            (None, Some(Asked { failed: true, .. })) => Err(AccessError::NoKeys),
            (None, _) => Err(IdTokenError::UnknownKey.into()),
        }
    }

    /// Fetches the keys now, and again before they grow old. Never returns.
    pub(super) async fn renew(&self) {
        loop {
            let mut asked = self.asked.lock().await;
            let next = self.ask(&mut asked).await;
            drop(asked);
            sleep(next).await;
        }
    }

    /// Fetches the keys. Returns the time until the next fetch.
    async fn ask(&self, asked: &mut Option<Asked>) -> Duration {
        let fetched = self.certs.fetch().await.map_err(|error| error.to_string());
        let renewed = fetched.and_then(|fetched| {
            let keys = PublicKeys::parse(&fetched.json).map_err(|error| error.to_string())?;
            Ok((keys, fetched.max_age))
        });
        *asked = Some(Asked { at: Instant::now(), failed: renewed.is_err() });
        match renewed {
            Ok((keys, max_age)) => {
                self.current.write().replace(keys);
                max_age.unwrap_or(MAX_AGE).clamp(MAX_AGE_MIN, MAX_AGE_MAX)
            }
            Err(error) => {
                tracing::warn!("Cannot renew the keys for ID tokens. Known keys stay in use for a day: {error}.");
                self.pause()
            }
        }
    }

    fn pause(&self) -> Duration {
        if self.current.read().keys.is_some() { ASK_INTERVAL } else { FIRST_INTERVAL }
    }
}

impl CachedKeys {
    /// Returns the keys if they include the key `id` and are not too old.
    fn usable(&self, id: &str) -> Option<(Arc<PublicKeys>, u64)> {
        let keys = self.keys.as_ref().filter(|keys| keys.has(id))?;
        let is_fresh = self.fetched.is_some_and(|fetched| fetched.elapsed() < KEEP_TIME_MAX);
        is_fresh.then(|| (Arc::clone(keys), self.generation))
    }

    fn replace(&mut self, keys: PublicKeys) {
        self.fetched = Some(Instant::now());
        if self.keys.as_deref() != Some(&keys) {
            self.keys = Some(Arc::new(keys));
            self.generation += 1;
        }
    }
}

#[cfg(test)]
mod tests;
