//! The deliveries of one subscription, at most so many at a time as its trigger says.
//!
//! What was just stored may be handed over in memory. As soon as that is more than a head start, or an attempt failed, or order matters, the lane
//! is *behind*: it reads what is due from the store, and nothing is handed over until it has caught up.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookwright_core::{Delivery, DeliveryId, Event, EventId, SubscriptionId, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Inner;
use super::send::Towards;
use crate::load::Load;
use crate::table::TriggerRoute;

/// Deliveries that are handed over in memory, and the bytes of their events.
const HEAD_START: usize = 512;
const HEAD_START_BYTES: usize = 1 << 20;

/// Attempts whose end is being written, besides those that are with the handler: writing takes its time and none of the handler's.
const ENDING: usize = 256;

/// Deliveries that are read from the store at a time.
const PORTION: usize = 128;

/// How long a lane that waits for its handler or for the database looks away.
const PAUSE: Duration = Duration::from_secs(5);

/// A longer wait is looked at again meanwhile, because the clock may be put forward or back.
const LONGEST_SLEEP: Duration = Duration::from_secs(20);

/// What was written by a clock that is so much ahead was written before the clock was put back. Less is how clocks are kept right.
const AHEAD: Duration = Duration::from_secs(30);

/// A lane as others see it.
pub(crate) struct Lane {
    pub(super) subscription: SubscriptionId,
    news: Notify,
    handed: Mutex<Handed>,
}

#[derive(Default)]
struct Handed {
    queue: VecDeque<(Delivery, Arc<Event>)>,
    bytes: usize,
    /// Whether the store has deliveries that were not handed over.
    behind: bool,
    /// The newest sequence that was read from the store: what is handed over later with an older one has been read already.
    read: u64,
}

impl Lane {
    pub(super) fn new(subscription: SubscriptionId) -> Self {
        // What an earlier process left is in the store alone.
        Self { subscription, news: Notify::new(), handed: Mutex::new(Handed { behind: true, ..Handed::default() }) }
    }

    /// Has the store looked at.
    pub(super) fn look(&self) {
        self.lock().behind = true;
        self.news.notify_one();
    }

    /// Has the store looked at when the lane's own pause is over: it must not wake itself.
    fn look_later(&self) {
        self.lock().behind = true;
    }

    /// Takes what was just stored, if there is room; otherwise the store is looked at.
    pub(super) fn offer(&self, delivery: Delivery, event: Arc<Event>) {
        let mut handed = self.lock();
        let bytes = handed.bytes + event.body.len();
        if delivery.sequence <= handed.read {
            return;
        }
        if handed.behind || delivery.order_key.is_some() || handed.queue.len() >= HEAD_START || bytes > HEAD_START_BYTES {
            handed.behind = true;
        } else {
            handed.bytes = bytes;
            handed.queue.push_back((delivery, event));
        }
        drop(handed);
        self.news.notify_one();
    }

    /// Nothing was handed over, and nobody asked to look.
    pub(super) fn is_idle(&self) -> bool {
        let handed = self.lock();
        !handed.behind && handed.queue.is_empty()
    }

    fn take(&self) -> Option<(Delivery, Arc<Event>)> {
        let mut handed = self.lock();
        if handed.behind {
            return None;
        }
        let (delivery, event) = handed.queue.pop_front()?;
        handed.bytes -= event.body.len();
        Some((delivery, event))
    }

    /// Whether the store is to be looked at. What was handed over is there too, and is dropped here so that it is not sent twice.
    fn begin_look(&self) -> bool {
        let mut handed = self.lock();
        if handed.behind {
            handed.queue.clear();
            handed.bytes = 0;
        }
        handed.behind
    }

    /// Notes what was read, and drops what was handed over of it meanwhile.
    fn has_read(&self, due: &[Delivery]) {
        let mut handed = self.lock();
        let newest = due.iter().map(|delivery| delivery.sequence).max().unwrap_or(0);
        handed.read = handed.read.max(newest);
        let read = handed.read;
        handed.queue.retain(|(delivery, _)| delivery.sequence > read);
        handed.bytes = handed.queue.iter().map(|(_, event)| event.body.len()).sum();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Handed> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delivers until there is nothing left.
pub(super) async fn run(inner: Arc<Inner>, lane: Arc<Lane>) {
    let mut state = State {
        inner: inner.clone(),
        lane: lane.clone(),
        ready: VecDeque::new(),
        flying: HashSet::new(),
        sending: Arc::default(),
        next_due: None,
        recalled: None,
    };
    let mut attempts = JoinSet::new();
    let mut changes = inner.table.changes();
    loop {
        changes.mark_unchanged();
        let mut sleep = state.fill(&mut attempts).await;
        if sleep.is_none() && attempts.is_empty() && state.next_due.is_none() && inner.close(&lane) {
            return;
        }
        if let Some(due) = state.next_due {
            let wait = due.since(inner.clock.now()).max(Duration::from_millis(1)).min(LONGEST_SLEEP);
            sleep = Some(sleep.map_or(wait, |sleep| sleep.min(wait)));
        }
        let sleep_for = sleep.unwrap_or(LONGEST_SLEEP);
        tokio::select! {
            Some(ended) = attempts.join_next() => state.ended(ended.ok()),
            () = lane.news.notified() => {}
            _ = changes.changed(), if sleep.is_some() => {}
            () = tokio::time::sleep(sleep_for) => {
                if sleep_for == LONGEST_SLEEP && state.next_due.take().is_some() {
                    lane.look_later();
                }
            }
            () = inner.stopping.cancelled() => return,
        }
    }
}

/// An attempt that has ended: of which delivery, and when the next one is due.
type Ended = (DeliveryId, Option<Timestamp>);

struct State {
    inner: Arc<Inner>,
    lane: Arc<Lane>,
    /// Read from the store and not begun, small events with it.
    ready: VecDeque<(Delivery, Option<Arc<Event>>)>,
    /// Being sent, or their end being written.
    flying: HashSet<DeliveryId>,
    /// How many of them are with the handler.
    sending: Arc<AtomicUsize>,
    /// When something that waits is due.
    next_due: Option<Timestamp>,
    /// When it was last looked for what a clock that was ahead has put off.
    recalled: Option<tokio::time::Instant>,
}

impl State {
    fn ended(&mut self, ended: Option<Ended>) {
        match ended {
            Some((delivery, due)) => {
                self.flying.remove(&delivery);
                if let Some(due) = due {
                    self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
                }
            }
            // An attempt that broke stays due in the store.
            None => {
                self.flying.clear();
                self.lane.look();
            }
        }
    }

    /// Begins as many attempts as may be made. Returns how long to look away when something is there that cannot be sent.
    async fn fill(&mut self, attempts: &mut JoinSet<Ended>) -> Option<Duration> {
        if self.next_due.is_some_and(|due| due <= self.inner.clock.now()) {
            self.next_due = None;
            self.lane.look();
        }
        loop {
            if !self.inner.leadership.may_act() {
                return self.unsendable();
            }
            let Some(route) = self.inner.table.trigger(self.lane.subscription) else { return self.unsendable() };
            let room = route.trigger.deliver.concurrency.max(1) as usize;
            if self.sending.load(Ordering::Acquire) >= room || self.flying.len() >= room + ENDING {
                return None;
            }
            let (delivery, event) = match self.next(&route).await {
                Ok(Some(next)) => next,
                Ok(None) => return None,
                Err(error) => {
                    self.inner.complain(&error);
                    self.lane.look_later();
                    return Some(PAUSE);
                }
            };
            let Some((entered, in_flight)) = self.inner.table.enter(route.webhook.as_str(), route.environment.as_str()) else {
                return self.unsendable();
            };
            let Some(backend) = entered.backend() else { return self.unsendable() };
            self.flying.insert(delivery.id);
            let (inner, key) = (self.inner.clone(), entered.target.signing_key.clone());
            let turn = Turn::begin(&self.sending, &self.lane);
            attempts.spawn(async move {
                let due = attempt(&inner, (delivery.clone(), event), (&route, backend, &key, in_flight.load()), turn).await;
                drop(in_flight);
                (delivery.id, due)
            });
        }
    }

    /// There is no handler to send to; what was taken stays due in the store.
    fn unsendable(&mut self) -> Option<Duration> {
        self.ready.clear();
        self.lane.look_later();
        Some(PAUSE)
    }

    /// Notes when something that waits is due. What a clock has put off that has been put back since is due now: it would wait for as long as the clock
    /// was ahead.
    async fn look_ahead(&mut self, now: Timestamp) -> Result<(), hookwright_store::Error> {
        let Some(due) = self.inner.store.delivery_next_due(self.lane.subscription, now).await? else { return Ok(()) };
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        if self.recalled.is_none_or(|recalled| recalled.elapsed() >= LONGEST_SLEEP) {
            let recalled = self.inner.store.delivery_recall(self.lane.subscription, (now, now.plus(AHEAD))).await?;
            self.recalled = Some(tokio::time::Instant::now());
            if recalled > 0 {
                self.lane.lock().behind = true;
            }
        }
        Ok(())
    }

    /// The next delivery to begin, with its event where it was handed over.
    async fn next(&mut self, route: &TriggerRoute) -> Result<Option<(Delivery, Option<Arc<Event>>)>, hookwright_store::Error> {
        loop {
            if let Some(next) = self.ready.pop_front() {
                return Ok(Some(next));
            }
            if !self.lane.begin_look() {
                return Ok(self.lane.take().map(|(delivery, event)| (delivery, Some(event))));
            }
            // Cleared before the look, so that what is stored meanwhile is not missed.
            self.lane.lock().behind = false;
            let ordered = route.trigger.deliver.order_by.is_some();
            let limit = PORTION + self.flying.len();
            let now = self.inner.clock.now();
            let due = self.inner.store.delivery_due(self.lane.subscription, now, u32::try_from(limit).unwrap_or(u32::MAX)).await;
            let mut due = due.inspect_err(|_| self.lane.lock().behind = true)?;
            self.lane.has_read(&due);
            let whole = due.len() < limit;
            if whole {
                // Also when something is due: what waits for later is thought of by nobody else.
                self.look_ahead(now).await.inspect_err(|_| self.lane.lock().behind = true)?;
            }
            due.retain(|delivery| !self.flying.contains(&delivery.id));
            let ids: Vec<EventId> = due.iter().map(|delivery| delivery.event).collect::<HashSet<_>>().into_iter().collect();
            let events = self.inner.store.event_list_small(&ids).await.inspect_err(|_| self.lane.lock().behind = true)?;
            let events: HashMap<EventId, Arc<Event>> = events.into_iter().map(|event| (event.id, Arc::new(event))).collect();
            self.ready.extend(due.into_iter().map(|delivery| {
                let event = events.get(&delivery.event).cloned();
                (delivery, event)
            }));
            if !whole || (ordered && !(self.ready.is_empty() && self.flying.is_empty())) {
                self.lane.lock().behind = true;
            }
            if self.ready.is_empty() {
                if !self.lane.lock().behind {
                    continue;
                }
                return Ok(None);
            }
        }
    }
}

/// One of the requests that may be with the handler at a time, until this is dropped.
struct Turn {
    sending: Arc<AtomicUsize>,
    lane: Arc<Lane>,
}

impl Turn {
    fn begin(sending: &Arc<AtomicUsize>, lane: &Arc<Lane>) -> Self {
        sending.fetch_add(1, Ordering::AcqRel);
        Self { sending: sending.clone(), lane: lane.clone() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.sending.fetch_sub(1, Ordering::AcqRel);
        self.lane.news.notify_one();
    }
}

/// Sends once and writes what came of it. Returns when the next attempt is due.
async fn attempt(
    inner: &Inner,
    (delivery, event): (Delivery, Option<Arc<Event>>),
    (route, backend, key, load): (&TriggerRoute, std::net::SocketAddr, &hookwright_core::SecretValue, &Load),
    turn: Turn,
) -> Option<Timestamp> {
    let event = match event {
        Some(event) => event,
        None => match inner.store.event_fetch_whole(delivery.event).await {
            Ok(Some(event)) => Arc::new(event),
            Ok(None) => {
                inner.sender.record(gone(inner, delivery)).await;
                return None;
            }
            Err(error) => {
                inner.complain(&error);
                return Some(inner.clock.now().plus(PAUSE));
            }
        },
    };
    let policy = &route.trigger.deliver;
    let towards = Towards { backend, policy, key, load, timeout: policy.timeout };
    let (attempt, _) = inner.sender.send(&delivery, &event, &towards).await;
    drop(turn);
    let end = inner.sender.judge(&delivery, attempt, policy);
    let due = end.delivery.ended_at.is_none().then_some(end.delivery.due_at);
    inner.sender.record(end).await;
    due
}

/// The end of a delivery whose event is not there any more.
fn gone(inner: &Inner, delivery: Delivery) -> hookwright_store::AttemptEnd {
    let from = delivery.status;
    let delivery = Delivery {
        status: hookwright_core::status::DeliveryStatus::Canceled,
        status_reason: Some("the event is gone".to_owned()),
        ended_at: Some(inner.clock.now()),
        ..delivery
    };
    hookwright_store::AttemptEnd { attempt: None, delivery, from }
}
