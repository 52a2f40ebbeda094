//! The machine's clock and randomness, as the values the rest of the engine asks for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hookwright_core::{Clock, IdSource, Timestamp};
use uuid::Uuid;

/// The system clock.
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Time-ordered UUIDs.
pub(crate) struct UuidV7;

impl IdSource for UuidV7 {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}
