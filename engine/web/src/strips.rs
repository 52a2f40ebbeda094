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
    pub(crate) async fn read(&self, store: &Store, clock: &dyn Clock, (step_minutes, steps): (i64, i64)) -> Result<Strips> {
        let mut kept = self.0.lock().await;
        let (at, minute) = (clock.monotonic(), traffic_step(clock.now(), 1));
        if kept.read.is_some_and(|(before, in_minute)| at < before + FRESH && in_minute == minute) {
            return Ok(kept.strips.clone());
        }
        let first = (minute / step_minutes - steps + 1) * step_minutes;
        let closed = minute - OPEN;
        // A clock that was set back makes all of it unknown.
        let before = kept.over.filter(|over| *over <= closed && *over >= first - 1);
        let strips = Arc::make_mut(&mut kept.strips.over);
        match before {
            Some(_) => strips.values_mut().for_each(|strip| strip.retain(|step, _| step * step_minutes >= first)),
            None => strips.clear(),
        }
        strips.retain(|_, strip| !strip.is_empty());
        let mut open = ByPlace::new();
        // Until all of it is there, nothing counts as read: a failure must not leave a minute out, nor count one twice.
        kept.over = None;
        let from = Timestamp::from_millis(before.map_or(first, |over| over + 1) * MINUTE);
        for (place, minutes) in store.traffic_of_all(from, 1).await? {
            for (minute, counts) in minutes {
                let into = if minute > closed { &mut open } else { Arc::make_mut(&mut kept.strips.over) };
                add(into.entry(place.clone()).or_default(), &Strip::from([(minute / step_minutes, counts)]));
            }
        }
        kept.strips.open = Arc::new(open);
        kept.over = Some(closed);
        kept.read = Some((at, minute));
        Ok(kept.strips.clone())
    }
}
