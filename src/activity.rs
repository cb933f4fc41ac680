//! Lets a periodic task sleep while nothing happens.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

/// A sign that there was work. Any task gives it, and one periodic task reads it.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    noted: AtomicBool,
    wake: Notify,
}

impl Activity {
    /// Notes that there is work. Costs one load if that is noted already.
    pub(crate) fn note(&self) {
        if !self.noted.load(Relaxed) && !self.noted.swap(true, Relaxed) {
            self.wake.notify_one();
        }
    }

    /// Returns true if work was noted since the last call.
    pub(crate) fn take(&self) -> bool {
        self.noted.swap(false, Relaxed)
    }

    /// Waits until work is noted, for `time_max` at most. May return at once if work was noted since the last wait.
    pub(crate) async fn wait(&self, time_max: Duration) {
        let _ = tokio::time::timeout(time_max, self.wake.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_is_noted_ends_the_wait() {
        let activity = Activity::default();
        let (start, hour) = (Instant::now(), Duration::from_secs(3600));
        assert!(!activity.take());
        activity.note();
        activity.note();
        activity.wait(hour).await;
        assert!(activity.take() && !activity.take());
        assert_eq!(start.elapsed(), Duration::ZERO);
        activity.wait(hour).await;
        assert!(start.elapsed() >= hour, "work wakes once");
        let noted_later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            activity.note();
        };
        tokio::join!(activity.wait(hour), noted_later);
        assert!(start.elapsed() < hour + Duration::from_secs(2));
    }
}
