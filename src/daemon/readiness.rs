//! The daemon is ready once it can write. With a Google endpoint that means that it has obtained a token. It accepts
//! spans before that, and kept spans wait in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::google::credentials::Credentials;
use crate::telemetry::Health;
use crate::telemetry::log::Throttle;

/// The delay between two attempts to sign in. The first attempts are quick, because a platform's metadata server and
/// the roles of an account may become available seconds after the daemon starts.
const DELAY_MIN: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// The interval at which the log repeats that there is no token yet.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);

/// Signs in, no matter how long that takes, and then marks the daemon as ready.
pub(super) async fn sign_in(credentials: Credentials, health: Arc<Health>) {
    let mut delay = DELAY_MIN;
    let reminders = Throttle::new(1, REMINDER_INTERVAL);
    while let Err(status) = attempt(&credentials).await {
        let missing = status.message();
        if reminders.pass(Instant::now()).is_some() {
            tracing::error!("The daemon is not ready, and kept spans wait in memory: {missing}");
        }
        health.set_waits_for(missing.to_owned());
        sleep(delay).await;
        delay = (2 * delay).min(DELAY_MAX);
    }
    health.set_ready();
    let account = credentials.identity();
    tracing::info!(account, "Signed in to Google Cloud.");
}

/// Makes one attempt, in its own task, so that a panic counts as a failed attempt, no matter what the token server
/// answers.
async fn attempt(credentials: &Credentials) -> Result<(), Status> {
    let credentials = credentials.clone();
    let attempt = tokio::spawn(async move { credentials.sign_in().await });
    attempt.await.unwrap_or_else(|_| Err(Status::internal("the attempt to sign in panicked")))
}

#[cfg(test)]
mod tests;
