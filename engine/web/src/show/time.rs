//! Times as people say them, with the exact one beside.

use std::time::Duration;

use hookwright_core::Timestamp;
use serde::Serialize;

use super::visible;
use crate::error::{Problem, Result};

/// An instant on a page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Moment {
    /// RFC 3339, for `datetime`, the tooltip and the script that keeps the words true.
    pub(crate) exact: String,
    /// `3 minutes ago`.
    pub(crate) ago: String,
}

impl Moment {
    /// `at`, seen from `now`.
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { exact: at.to_string(), ago: ago(now.since(at)) }
    }

    /// `at`, which is to come, seen from `now`: `in 3 minutes`.
    pub(crate) fn due(at: Timestamp, now: Timestamp) -> Self {
        Self { exact: at.to_string(), ago: until(at.since(now)) }
    }

    /// One for samples.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self::new(Timestamp::from_millis(1_790_000_000_000), Timestamp::from_millis(1_790_000_180_000))
    }
}

/// How long it is in one unit: `3 minutes`.
fn roughly(time: Duration) -> String {
    let seconds = time.as_secs();
    let many = |count: u64, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    match seconds {
        0..=59 => many(seconds, "second"),
        60..=3_599 => many(seconds / 60, "minute"),
        3_600..=86_399 => many(seconds / 3_600, "hour"),
        86_400..=2_591_999 => many(seconds / 86_400, "day"),
        2_592_000..=31_535_999 => many(seconds / 2_592_000, "month"),
        _ => many(seconds / 31_536_000, "year"),
    }
}

fn ago(passed: Duration) -> String {
    if passed.as_secs() < 10 { "just now".to_owned() } else { format!("{} ago", roughly(passed)) }
}

fn until(left: Duration) -> String {
    if left.as_secs() == 0 { "at any moment".to_owned() } else { format!("in {}", roughly(left)) }
}

/// How long something took: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3_599 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..=3_599 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ if seconds % 3_600 < 60 => format!("{} h", seconds / 3_600),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// A size: `512 B`, `3.4 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let power = (count.ilog2() / 10).clamp(1, 4);
    // Sizes on pages need no more digits than a float has.
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let value = count as f64 / (1_u64 << (10 * power)) as f64;
    format!("{value:.1} {}", UNITS[power as usize - 1])
}

/// A time as a browser's field gives it, in UTC, or as RFC 3339; `None` of an empty text.
pub(crate) fn given_time(text: &str) -> Result<Option<Timestamp>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let exact = text.parse::<jiff::Timestamp>().ok();
    let civil = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| at.timestamp());
    let found = exact.or_else(civil).map(|at| Timestamp::from_millis(at.as_millisecond()));
    found.map(Some).ok_or_else(|| Problem::bad_request(format!("`{}` is no time; write 2026-11-24T08:00, in UTC", visible(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_browsers_and_people_write_them() {
        for text in ["2026-11-24T08:00", "2026-11-24T08:00:00Z", "2026-11-24T09:00:00+01:00", " 2026-11-24 08:00 "] {
            assert_eq!(given_time(text).ok().flatten(), Some(Timestamp::from_millis(1_795_507_200_000)), "{text}");
        }
        assert!(given_time("yesterday").is_err() && given_time("").is_ok_and(|none| none.is_none()));
    }

    #[test]
    fn times_are_said_as_people_do() {
        assert_eq!(ago(Duration::from_secs(3)), "just now");
        assert_eq!(ago(Duration::from_secs(61)), "1 minute ago");
        assert_eq!(ago(Duration::from_secs(7_300)), "2 hours ago");
        assert_eq!((until(Duration::from_secs(8)), until(Duration::from_secs(65))), ("in 8 seconds".to_owned(), "in 1 minute".to_owned()));
        assert_eq!(until(Duration::ZERO), "at any moment");
        assert_eq!(took(Duration::from_millis(420)), "0.4 s");
        assert_eq!(took(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!((took(Duration::from_secs(1_800)), took(Duration::from_secs(7_201))), ("30 min".to_owned(), "2 h".to_owned()));
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(12), "12 B");
    }
}
