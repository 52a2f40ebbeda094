//! When a schedule fires: cron patterns in a time zone, with the rules of POSIX for daylight saving (a time that does not exist fires when the clock
//! has moved on, one that exists twice fires once; patterns that name every hour or minute follow the clock).

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use hookwright_core::Timestamp;
use jiff::tz::TimeZone;

/// The longest pattern.
const MAX_LENGTH: usize = 200;

/// A pattern in a time zone.
#[derive(Clone)]
pub struct Timetable {
    cron: Cron,
    zone: TimeZone,
}

impl Timetable {
    /// Reads a pattern of five fields, or six with seconds first; `timezone` is an IANA name, UTC when left out.
    ///
    /// # Errors
    /// What is wrong, as a sentence; also when the pattern never fires.
    pub fn new(cron: &str, timezone: Option<&str>) -> Result<Self, String> {
        if !(5..=6).contains(&cron.split_whitespace().count()) || cron.len() > MAX_LENGTH {
            return Err("it does not have five fields (or six, with seconds first)".to_owned());
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).build();
        let cron = parser.parse(cron).map_err(|error| error.to_string())?;
        let zone = match timezone {
            None => TimeZone::UTC,
            Some(name) => {
                TimeZone::get(name).map_err(|_| format!("there is no time zone `{}`", name.chars().take(60).collect::<String>()))?
            }
        };
        let timetable = Self { cron, zone };
        timetable.after(Timestamp::from_millis(0)).map(|_| timetable).ok_or_else(|| "it never fires".to_owned())
    }

    /// The first time after an instant; `None` at the end of time.
    pub fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        let start = jiff::Timestamp::from_millisecond(instant.as_millis()).ok()?.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&start, false).ok()?;
        let next = Timestamp::from_millis(next.timestamp().as_millisecond());
        // A search that does not move on would fire for ever.
        (next > instant).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cron: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let timetable = Timetable::new(cron, Some(zone)).expect("a timetable");
        let mut at = Timestamp::from_millis(from.parse::<jiff::Timestamp>().expect("an instant").as_millisecond());
        let mut times = Vec::new();
        for _ in 0..count {
            at = timetable.after(at).expect("a next time");
            times.push(at.to_string());
        }
        times
    }

    #[test]
    fn a_night_in_which_the_clock_goes_back_fires_once_and_one_in_which_it_goes_forward_is_not_skipped() {
        // On 2026-10-25 03:00 CEST becomes 02:00 CET in Paris, on 2026-03-29 02:00 CET becomes 03:00 CEST.
        let back = times("30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", 2);
        assert_eq!(back, ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]);
        let forward = times("30 2 * * *", "Europe/Paris", "2026-03-28T12:00:00Z", 2);
        assert_eq!(forward[1], "2026-03-30T00:30:00.000Z");
        assert!(forward[0].starts_with("2026-03-29T01:"), "{forward:?}");
    }

    #[test]
    fn seconds_are_optional_and_come_first() {
        let times = times("*/20 * * * * *", "UTC", "2026-01-01T00:00:00Z", 3);
        assert_eq!(times, ["2026-01-01T00:00:20.000Z", "2026-01-01T00:00:40.000Z", "2026-01-01T00:01:00.000Z"]);
        for (cron, zone) in [("0 0 30 2 *", None), ("* * * *", None), ("0 2 * * *", Some("Mars/Olympus")), ("61 * * * *", None)] {
            assert!(Timetable::new(cron, zone).is_err(), "{cron}");
        }
    }
}
