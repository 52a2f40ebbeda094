//! The machine's clock and randomness, as the values the rest of the engine asks for.

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hookwright_core::{Clock, IdSource, Timestamp};
use uuid::{ContextV7, Uuid};

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

/// Time-ordered UUIDs (RFC 9562, version 7). Invariant: each is greater than those before it, also while the clock is set back.
pub(crate) struct UuidV7 {
    context: Mutex<AssertUnwindSafe<ContextV7>>,
}

impl UuidV7 {
    /// A source that has handed out nothing yet.
    pub(crate) fn new() -> Self {
        Self { context: Mutex::new(AssertUnwindSafe(ContextV7::new())) }
    }

    /// Makes every id from now on greater than `last`, which a daemon before this one handed out: lists are in the order of their ids,
    /// and the clock may have been set back in between.
    pub(crate) fn go_on_after(&self, last: &Uuid) {
        if let Some(time) = last.get_timestamp() {
            let (seconds, nanoseconds) = time.to_unix();
            let next = Duration::new(seconds, nanoseconds) + Duration::from_millis(1);
            self.draw(next);
        }
    }

    /// An id of that time since 1970, or of a later one that was seen before.
    fn draw(&self, time: Duration) -> Uuid {
        Uuid::new_v7(uuid::Timestamp::from_unix(&self.context, time.as_secs(), time.subsec_nanos()))
    }
}

impl IdSource for UuidV7 {
    fn uuid(&self) -> Uuid {
        self.draw(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_on_rising_when_the_clock_is_set_back_and_when_another_daemon_had_a_later_one() {
        let ids = UuidV7::new();
        let hour = Duration::from_secs(3600);
        let at = Duration::from_secs(1_800_000_000);
        let drawn: Vec<Uuid> = [at, at + hour, at, at - hour].into_iter().map(|time| ids.draw(time)).collect();
        assert!(drawn.is_sorted() && drawn.windows(2).all(|pair| pair[0] != pair[1]), "{drawn:?}");
        let next = UuidV7::new();
        next.go_on_after(&drawn[3]);
        assert!(next.draw(at - hour) > drawn[3]);
        assert!(next.draw(at + hour * 2) > drawn[3]);
    }
}
