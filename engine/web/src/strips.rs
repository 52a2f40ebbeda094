//! The last hour of requests of every place, for the board. Stretches of time that are over do not change any more and are kept in memory, so
//! that each look reads only the newest ones from the store, however much traffic there is.

use std::collections::HashMap;
use std::sync::Arc;

use hookwright_core::{EnvironmentName, Timestamp, WebhookName};
use hookwright_store::{Store, Strip, traffic_step};
use tokio::sync::Mutex;

use crate::error::Result;

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;
/// So many of the newest stretches may still change: the present one, and the one before, whose last seconds are counted a little later.
const OPEN: i64 = 2;

/// Requests and errors of places by stretch.
pub(crate) type Strips = Arc<HashMap<(WebhookName, EnvironmentName), Strip>>;

/// What is kept between looks. Whoever looks while somebody reads waits for that.
#[derive(Default)]
pub(crate) struct KeptStrips(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The newest stretch that is known and over.
    over: Option<i64>,
    strips: Strips,
}

impl KeptStrips {
    /// The `steps` newest stretches of `step_minutes` each, of every place; always asked for with the same two.
    pub(crate) async fn read(&self, store: &Store, now: Timestamp, (step_minutes, steps): (i64, i64)) -> Result<Strips> {
        let mut kept = self.0.lock().await;
        let newest = traffic_step(now, step_minutes);
        let first = newest - steps + 1;
        // A clock that was set back makes all of it unknown.
        let over = kept.over.filter(|over| *over <= newest - OPEN);
        let from = over.map_or(first, |over| (over + 1).max(first));
        let fresh = store.traffic_of_all(Timestamp::from_millis(from * step_minutes * MINUTE), step_minutes).await?;
        let strips = Arc::make_mut(&mut kept.strips);
        for strip in strips.values_mut() {
            strip.retain(|step, _| (first..from).contains(step));
        }
        strips.retain(|_, strip| !strip.is_empty());
        for (place, strip) in fresh {
            strips.entry(place).or_default().extend(strip);
        }
        kept.over = Some(newest - OPEN);
        Ok(kept.strips.clone())
    }
}
