//! The last hour of requests of every place, for the board. Minutes that are over do not change any more and are kept in memory as the sums of the
//! stretches they belong to, so that each look reads only the newest ones from the store, however much traffic there is; and it is read once in a few
//! seconds at most, however many look.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hookwright_core::{Clock, EnvironmentName, Timestamp, WebhookName};
use hookwright_store::{Store, Strip, traffic_step};
use tokio::sync::Mutex;

use crate::error::Result;

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;
/// So many of the newest minutes may still change: the present one, and those before it, whose last seconds are counted a little later.
const OPEN: i64 = 3;
/// How long what was read is good. Counts come to the store every ten seconds, so that nothing is seen much later for it.
const FRESH: Duration = Duration::from_secs(5);

type ByPlace = HashMap<(WebhookName, EnvironmentName), Strip>;

/// Requests and errors of places by stretch.
#[derive(Clone, Default)]
pub(crate) struct Strips {
    /// Of the minutes that are over.
    over: Arc<ByPlace>,
    /// Of those that may still change, which lie in the newest stretches.
    open: Arc<ByPlace>,
}

impl Strips {
    /// Of one place alone.
    pub(crate) fn of_one(place: (WebhookName, EnvironmentName), strip: Strip) -> Self {
        Self { over: Arc::new(HashMap::from([(place, strip)])), open: Arc::default() }
    }

    /// Of a place.
    pub(crate) fn get(&self, place: &(WebhookName, EnvironmentName)) -> Strip {
        let mut strip = self.over.get(place).cloned().unwrap_or_default();
        if let Some(open) = self.open.get(place) {
            add(&mut strip, open);
        }
        strip
    }
}

fn add(strip: &mut Strip, more: &Strip) {
    for (step, (requests, errors)) in more {
        let sum = strip.entry(*step).or_default();
        *sum = (sum.0 + requests, sum.1 + errors);
    }
}

/// What is kept between looks. Whoever looks while somebody reads waits for that.
#[derive(Default)]
pub(crate) struct KeptStrips(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The newest minute that is in the sums.
    over: Option<i64>,
    /// When it was read, by the monotonic clock and by the other one.
    read: Option<(Duration, i64)>,
    strips: Strips,
}

impl KeptStrips {
    /// The `steps` newest stretches of `step_minutes` each, of every place; always asked for with the same two.
    pub(crate) async fn read(&self, store: &Store, clock: &dyn Clock, size: (i64, i64)) -> Result<Strips> {
        let mut kept = self.0.lock().await;
        let (at, minute) = (clock.monotonic(), traffic_step(clock.now(), 1));
        if kept.read.is_some_and(|(before, in_minute)| at < before + FRESH && in_minute == minute) {
            return Ok(kept.strips.clone());
        }
        let from = Timestamp::from_millis(kept.wants(minute, size) * MINUTE);
        let fresh = store.traffic_of_all(from, 1).await?;
        kept.take(minute, size, fresh);
        kept.read = Some((at, minute));
        Ok(kept.strips.clone())
    }
}

impl Kept {
    /// The first minute that is to be read. Until that is taken nothing counts as known: a failure must not leave a minute out, nor count one twice.
    fn wants(&mut self, minute: i64, (step_minutes, steps): (i64, i64)) -> i64 {
        let first = (minute / step_minutes - steps + 1) * step_minutes;
        let strips = Arc::make_mut(&mut self.strips.over);
        // A clock that was set back makes all of it unknown, and so does a long time without a look.
        let known = self.over.take().filter(|over| *over <= minute - OPEN && *over >= first - 1);
        match known {
            Some(_) => strips.values_mut().for_each(|strip| strip.retain(|step, _| step * step_minutes >= first)),
            None => strips.clear(),
        }
        strips.retain(|_, strip| !strip.is_empty());
        known.map_or(first, |over| over + 1)
    }

    /// Adds what was read, by place and minute.
    fn take(&mut self, minute: i64, (step_minutes, _): (i64, i64), fresh: ByPlace) {
        let (closed, mut open) = (minute - OPEN, ByPlace::new());
        let over = Arc::make_mut(&mut self.strips.over);
        for (place, minutes) in fresh {
            for (minute, counts) in minutes {
                let into = if minute > closed { &mut open } else { &mut *over };
                add(into.entry(place.clone()).or_default(), &Strip::from([(minute / step_minutes, counts)]));
            }
        }
        (self.strips.open, self.over) = (Arc::new(open), Some(closed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (i64, i64) = (5, 12);

    fn place() -> (WebhookName, EnvironmentName) {
        (WebhookName::new("shop").expect("a name"), EnvironmentName::new("production").expect("a name"))
    }

    /// What the store has at `now`: seven requests in each minute that is over, and what was counted so far of the present one.
    fn stored(from: i64, now: i64) -> ByPlace {
        let minutes = (from..=now).map(|minute| (minute, (if minute == now { 3 } else { 7 }, 1)));
        ByPlace::from([(place(), minutes.collect())])
    }

    /// Looks as at this minute, and checks every stretch against all that the store has.
    fn look(kept: &mut Kept, now: i64) -> i64 {
        let from = kept.wants(now, SIZE);
        kept.take(now, SIZE, stored(from, now));
        let (first, mut whole) = ((now / 5 - 11) * 5, Strip::new());
        for (minute, counts) in &stored(first, now)[&place()] {
            add(&mut whole, &Strip::from([(minute / 5, *counts)]));
        }
        assert_eq!(kept.strips.get(&place()), whole, "at minute {now}");
        now - from + 1
    }

    #[test]
    fn however_often_and_whenever_somebody_looks_each_minute_counts_once_and_few_are_read() {
        let mut kept = Kept::default();
        assert_eq!(look(&mut kept, 1_000_000), 56, "the first look reads all of it");
        for now in [1_000_000, 1_000_000, 1_000_001, 1_000_001, 1_000_004, 1_000_005, 1_000_012] {
            assert!(look(&mut kept, now) <= 12, "at minute {now}");
        }
        assert_eq!(look(&mut kept, 1_000_012), 3, "what is over is not read again");
        look(&mut kept, 1_000_400);
        assert_eq!(look(&mut kept, 1_000_100), 56, "a clock that was set back makes all of it unknown");
    }

    #[test]
    fn what_could_not_be_read_is_read_whole_the_next_time() {
        let mut kept = Kept::default();
        look(&mut kept, 1_000_000);
        // The store does not answer: nothing is taken.
        kept.wants(1_000_003, SIZE);
        look(&mut kept, 1_000_004);
    }
}
