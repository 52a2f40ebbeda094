//! How long a failed delivery waits: exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so
//! that many that failed together do not come back together. A handler's `Retry-After` is the least.

use std::time::Duration;

/// The bound of the first pause.
const FIRST: Duration = Duration::from_secs(5);

/// Each bound is so many times the one before,
const FACTOR: u32 = 3;

/// up to this one: with eight attempts the last one is made about an hour and a half after the first at most.
const LONGEST: Duration = Duration::from_secs(3600);

/// The pause when pauses stay the same.
const FIXED: Duration = Duration::from_secs(30);

/// A handler may put a delivery off by so much.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// What the next pause depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    /// Attempts that have ended.
    pub(super) attempts: u32,
    /// Whether pauses grow.
    pub(super) exponential: bool,
    /// What the handler asked for.
    pub(super) asked: Option<Duration>,
}

impl Pause {
    /// How long it is; `random` is anywhere in its range.
    pub(super) fn length(self, random: u32) -> Duration {
        let own = if self.exponential {
            let bound = FIRST.saturating_mul(FACTOR.saturating_pow(self.attempts.saturating_sub(1))).min(LONGEST);
            bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
        } else {
            FIXED
        };
        own.max(self.asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

/// The value of `Retry-After`: seconds, or an HTTP date compared with `now` (RFC 9110, section 10.2.3).
pub(super) fn retry_after(value: &str, now: hookwright_core::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let until = httpdate::parse_http_date(value.trim()).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now.as_millis()).ok()?);
    Some(until.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use hookwright_core::Timestamp;

    use super::*;

    #[test]
    fn pauses_grow_up_to_their_bound_and_are_spread_from_nothing_to_it() {
        let pause = |attempts, random| Pause { attempts, exponential: true, asked: None }.length(random);
        let longest: Vec<u64> = (1..=8).map(|attempts| pause(attempts, u32::MAX).as_secs()).collect();
        assert_eq!(longest, [5, 15, 45, 135, 405, 1215, 3600, 3600]);
        assert_eq!(pause(3, 0), Duration::ZERO);
        assert_eq!(pause(u32::MAX, u32::MAX), LONGEST, "no number of attempts overflows");
    }

    #[test]
    fn what_a_handler_asks_for_is_the_least_but_not_for_ever() {
        let pause = |asked| Pause { attempts: 1, exponential: true, asked: Some(Duration::from_secs(asked)) }.length(0);
        assert_eq!(pause(60), Duration::from_secs(60));
        assert_eq!(pause(u64::from(u32::MAX)), LONGEST_ASKED);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = Timestamp::from_millis(784_111_777_000);
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
