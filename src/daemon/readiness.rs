//! Ready is who could write: with Google's endpoint, who has had a token. Spans are taken before, and wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::google::credentials::Credentials;
use crate::telemetry::Health;

/// Between two attempts to sign in: the first ones are quick, as a platform's metadata server and an account's role
/// may be seconds younger than the daemon.
const DELAY_MIN: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// The log repeats at this interval that there is still no token.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Signs in, however long that takes, and then declares the daemon ready.
pub(super) async fn sign_in(credentials: Credentials, health: Arc<Health>) {
    let mut delay = DELAY_MIN;
    let mut told: Option<Instant> = None;
    while let Err(status) = attempt(&credentials).await {
        let missing = status.message();
        if told.is_none_or(|told| told.elapsed() >= REMINDER_INTERVAL) {
            told = Some(Instant::now());
            tracing::error!("not ready: kept spans wait in memory: {missing}");
        }
        health.set_waits_for(missing.to_owned());
        sleep(delay).await;
        delay = (2 * delay).min(DELAY_MAX);
    }
    health.set_ready();
    let account = credentials.identity();
    tracing::info!(account, "signed in to Google Cloud");
}

/// One attempt, in a task of its own: whatever a token server answers, a panic is a failed attempt.
async fn attempt(credentials: &Credentials) -> Result<(), Status> {
    let credentials = credentials.clone();
    let attempt = tokio::spawn(async move { credentials.sign_in().await });
    attempt.await.unwrap_or_else(|_| Err(Status::internal("the attempt to sign in panicked")))
}

#[cfg(test)]
mod tests;
