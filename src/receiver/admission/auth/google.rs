//! Google's ID tokens. Each token is verified once and remembered while it is valid.

use std::collections::HashMap;

use parking_lot::RwLock;

use super::AccessError;
use super::keyring::Keyring;
use crate::clock;
use crate::google::certs::{Certs, CertsError};
use crate::receiver::settings::GoogleIdTokens;
use crate::trust::id_token::{IdToken, Senders};
use crate::trust::token::TokenHash;

/// The largest number of verified tokens that are remembered, about 50 bytes each. A sender gets a new token every
/// hour, and only allowed accounts have verified tokens.
const VERIFIED_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct Google {
    senders: Senders,
    keyring: Keyring,
    verified: RwLock<Verified>,
}

/// Verified tokens with the second at which each ends. All are signed with keys of one generation: when Google
/// withdraws a key, its tokens are verified again.
#[derive(Debug, Default)]
struct Verified {
    generation: u64,
    until_s: HashMap<TokenHash, u64>,
}

impl Verified {
    fn has(&self, token: &TokenHash, generation: u64, now_s: u64) -> bool {
        self.generation == generation && self.until_s.get(token).is_some_and(|&until_s| now_s < until_s)
    }

    fn add(&mut self, token: TokenHash, until_s: u64, generation: u64, now_s: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.until_s.clear();
        }
        if self.until_s.len() >= VERIFIED_MAX {
            self.until_s.retain(|_, until_s| now_s < *until_s);
        }
        if self.until_s.len() < VERIFIED_MAX {
            self.until_s.insert(token, until_s);
        }
    }
}

impl Google {
    pub(super) fn new(settings: &GoogleIdTokens) -> Result<Self, CertsError> {
        let senders = Senders { audiences: settings.audiences.clone(), accounts: settings.service_accounts.clone() };
        let keyring = Keyring::new(Certs::at(&settings.certs_url)?);
        Ok(Google { senders, keyring, verified: RwLock::default() })
    }

    /// Keeps the keys fresh. Never returns.
    pub(super) async fn renew(&self) {
        self.keyring.renew().await;
    }

    /// Checks that `token` belongs to one of the allowed senders. `hash` is its hash.
    pub(super) async fn check(&self, token: &str, hash: TokenHash) -> Result<(), AccessError> {
        let now_s = now_s();
        if self.verified.read().has(&hash, self.keyring.generation(), now_s) {
            return Ok(());
        }
        let token = IdToken::read(token)?;
        let (keys, generation) = self.keyring.keys_for(token.key_id()).await?;
        let until_s = token.verify(&keys, &self.senders, now_s)?;
        self.verified.write().add(hash, until_s, generation, now_s);
        Ok(())
    }
}

/// Returns the seconds since 1970, the unit of the times in tokens.
fn now_s() -> u64 {
    clock::since_1970().as_secs()
}

#[cfg(test)]
mod tests;
