//! Fires schedules: each time is an event like any other, stored under the time it stands for, so that no time is an event twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookwright_core::{CatchUp, Clock, Schedule, SubscriptionId, Timestamp, TriggerPlace};
use hookwright_spec::Timetable;
use hookwright_store::{Accepted, Inbox, NewEvent, Store};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::delivery::Deliveries;
use crate::table::{Table, TriggerRoute};

/// The event source's name.
const SOURCE: &str = "schedule";

/// The loop looks at least so often, because the clock may be put forward.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A time that is no older is fired although it is past: the loop is never exactly on time.
const PUNCTUAL: Duration = Duration::from_secs(90);

/// At most so many times are made up for.
const MOST: usize = 1000;

/// What schedules are fired with.
#[derive(Clone)]
pub(crate) struct Schedules {
    pub(crate) table: Arc<Table>,
    pub(crate) store: Store,
    pub(crate) inbox: Inbox,
    pub(crate) deliveries: Deliveries,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A schedule as the loop knows it.
struct Known {
    schedule: Schedule,
    timetable: Result<Timetable, String>,
    fired_until: Timestamp,
}

impl Schedules {
    /// Fires until the daemon stops.
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let mut known = HashMap::new();
        let mut changes = self.table.changes();
        while !stopping.is_cancelled() {
            changes.mark_unchanged();
            let next = match self.pass(&mut known).await {
                Ok(next) => next,
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "schedules could not be looked at; trying again");
                    None
                }
            };
            let now = self.clock.now();
            let sleep = next.map_or(LONGEST_SLEEP, |next| next.since(now).max(Duration::from_millis(1)).min(LONGEST_SLEEP));
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                _ = changes.changed() => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    /// Fires what is due; returns when the next time is.
    async fn pass(&self, known: &mut HashMap<SubscriptionId, Known>) -> Result<Option<Timestamp>, hookwright_store::Error> {
        let routes = self.table.schedules();
        known.retain(|subscription, _| routes.iter().any(|route| route.trigger.subscription == *subscription));
        let mut next: Option<Timestamp> = None;
        for route in routes {
            let subscription = route.trigger.subscription;
            let Some(schedule) = &route.trigger.schedule else { continue };
            if known.get(&subscription).is_none_or(|known| known.schedule != *schedule) {
                known.insert(subscription, self.learn(subscription, schedule).await?);
            }
            if let Some(known) = known.get_mut(&subscription)
                && let Some(at) = self.fire_due(&route, known).await?
            {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        Ok(next)
    }

    async fn learn(&self, subscription: SubscriptionId, schedule: &Schedule) -> Result<Known, hookwright_store::Error> {
        let fired_until = match self.store.schedule_fired_until(subscription).await? {
            Some(until) => until,
            // It begins now: times before it was deployed are none of its times.
            None => {
                let now = self.clock.now();
                self.store.schedule_fired(subscription, now).await?;
                now
            }
        };
        let timetable = Timetable::new(&schedule.cron, schedule.timezone.as_deref());
        if let Err(reason) = &timetable {
            warn!(subscription = %subscription, "a schedule cannot fire: {reason}");
        }
        Ok(Known { schedule: schedule.clone(), timetable, fired_until })
    }

    /// Fires the times of a schedule that are due; returns its next one.
    async fn fire_due(&self, route: &TriggerRoute, known: &mut Known) -> Result<Option<Timestamp>, hookwright_store::Error> {
        let Ok(timetable) = &known.timetable else { return Ok(None) };
        let (subscription, now) = (route.trigger.subscription, self.clock.now());
        let late = |time: Timestamp| time.plus(jitter(subscription, time, known.schedule.jitter));
        let mut due = Vec::new();
        let mut next = timetable.after(known.fired_until);
        while let Some(time) = next
            && late(time) <= now
        {
            due.push(time);
            if due.len() > MOST {
                due.remove(0);
            }
            next = timetable.after(time);
        }
        let Some(last) = due.last().copied() else { return Ok(next.map(late)) };
        let from = match known.schedule.catch_up {
            CatchUp::All => 0,
            CatchUp::One => due.len() - 1,
            CatchUp::None => due.partition_point(|time| now.since(late(*time)) > PUNCTUAL),
        };
        let missed = from;
        if missed > 0 {
            info!(subscription = %subscription, missed, "times of a schedule passed while nothing ran, and are not made up for");
        }
        for time in &due[from..] {
            self.fire(route, *time).await?;
        }
        self.store.schedule_fired(subscription, last).await?;
        known.fired_until = last;
        Ok(next.map(|time| time.plus(jitter(subscription, time, known.schedule.jitter))))
    }

    async fn fire(&self, route: &TriggerRoute, time: Timestamp) -> Result<(), hookwright_store::Error> {
        let place =
            TriggerPlace { webhook: route.webhook.clone(), environment: route.environment.clone(), trigger: route.trigger.name.clone() };
        let body = json!({ "type": SOURCE, "trigger": place.trigger, "scheduled_at": time.to_string() });
        let event = NewEvent {
            subscription: route.trigger.subscription,
            place,
            source: SOURCE.to_owned(),
            kind: SOURCE.to_owned(),
            source_id: Some(time.to_string()),
            verified: true,
            received_at: self.clock.now(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: Bytes::from(body.to_string()),
            redact: Vec::new(),
            redacted: false,
            replay_keys: [Some(format!("time/{}", time.as_millis())), None],
            skipped: None,
            order_key: route.trigger.deliver.order_by.as_ref().map(|_| String::new()),
            not_before: None,
        };
        if let Accepted::New(delivery) = self.inbox.accept(event.clone()).await? {
            let stored = event.stored(delivery.event);
            self.deliveries.offer(*delivery, Arc::new(stored));
        }
        Ok(())
    }
}

/// How much a time is put off: spread evenly, and the same whenever it is asked.
fn jitter(subscription: SubscriptionId, time: Timestamp, most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    if most == 0 {
        return Duration::ZERO;
    }
    let digest = Sha256::new().chain_update(subscription.to_string()).chain_update(time.as_millis().to_be_bytes()).finalize();
    let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Duration::from_millis(number % most)
}
