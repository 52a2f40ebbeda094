//! Gives stored events to handlers: each subscription has a lane of its own, so that one slow or broken handler never delays another's.
//! Invariant: what is to be delivered is in the store; memory holds what is being sent and a bounded head start, never the only copy.

mod backoff;
mod lane;
mod send;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hookwright_core::port::{Leadership, Notifier, Topic};
use hookwright_core::{Clock, Delivery, Event, SubscriptionId};
use hookwright_store::Store;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::table::Table;
use lane::Lane;
pub(crate) use send::{Answered, Sender, Towards, texts};

/// The engine of deliveries. Cloning it clones a handle.
#[derive(Clone)]
pub(crate) struct Deliveries {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    table: Arc<Table>,
    sender: Sender,
    leadership: Arc<dyn Leadership>,
    lanes: Mutex<HashMap<SubscriptionId, Arc<Lane>>>,
    /// Of lanes, whoever wakes them: events come in on other ones.
    runtime: Handle,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// What deliveries are made with.
pub(crate) struct DeliveryParts {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) table: Arc<Table>,
    pub(crate) sender: Sender,
    pub(crate) leadership: Arc<dyn Leadership>,
}

impl Deliveries {
    pub(crate) fn new(parts: DeliveryParts) -> Self {
        let DeliveryParts { store, clock, table, sender, leadership } = parts;
        let (lanes, tasks, stopping) = (Mutex::default(), TaskTracker::new(), CancellationToken::new());
        let runtime = Handle::current();
        Self { inner: Arc::new(Inner { store, clock, table, sender, leadership, lanes, runtime, tasks, stopping }) }
    }

    /// Goes on with what an earlier process left.
    pub(crate) async fn resume(&self) -> Result<(), hookwright_store::Error> {
        for subscription in self.inner.store.delivery_open_subscriptions().await? {
            self.wake(subscription);
        }
        Ok(())
    }

    /// Has deliveries looked at that other daemons have stored, until the daemon stops.
    pub(crate) async fn look_for_others(self, mut others: watch::Receiver<u64>, engine: Arc<dyn Notifier>, stopping: CancellationToken) {
        let mut seen = *others.borrow();
        loop {
            tokio::select! {
                changed = others.changed() => if changed.is_err() { return },
                () = stopping.cancelled() => return,
            }
            let newest = *others.borrow_and_update();
            match self.inner.store.delivery_open_subscriptions_after(seen).await {
                Ok(subscriptions) => {
                    for subscription in subscriptions {
                        self.wake(subscription);
                        if self.inner.table.is_engines(subscription) {
                            engine.wake(Topic::Intake);
                        }
                    }
                    seen = newest;
                }
                // They are found with the next news, or by the lane's own look.
                Err(error) => self.inner.complain(&error),
            }
        }
    }

    /// Has a subscription's deliveries looked at. Those for the engine it reads itself.
    pub(crate) fn wake(&self, subscription: SubscriptionId) {
        if !self.inner.follows() && !self.inner.table.is_engines(subscription) {
            self.with_lane(subscription, Lane::look);
        }
    }

    /// Hands over what was stored a moment ago, which saves reading it again.
    pub(crate) fn offer(&self, delivery: Delivery, event: Arc<Event>) {
        if !self.inner.follows() {
            self.with_lane(delivery.subscription, |lane| lane.offer(delivery, event));
        }
    }

    /// Makes an attempt for somebody who waits for the answer, and records it.
    pub(crate) async fn deliver_now(&self, (delivery, event): (&Delivery, &Event), towards: &Towards<'_>) -> Option<Answered> {
        let sender = &self.inner.sender;
        let (attempt, answered) = sender.send(delivery, event, towards).await;
        sender.record(sender.judge(delivery, attempt, towards.policy)).await;
        answered
    }

    /// Ends the lanes; attempts under way are given up, and made again after the next start.
    pub(crate) async fn shutdown(&self) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn with_lane(&self, subscription: SubscriptionId, act: impl FnOnce(&Lane)) {
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&subscription) {
            return act(lane);
        }
        let lane = Arc::new(Lane::new(subscription));
        act(&lane);
        lanes.insert(subscription, lane.clone());
        let inner = self.inner.clone();
        let watched = async move {
            let task = tokio::spawn(lane::run(inner.clone(), lane));
            if let Err(failure) = task.await {
                error!(%failure, subscription = %subscription, "a lane of deliveries broke; it begins anew with the next event");
                inner.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&subscription);
            }
        };
        self.inner.tasks.spawn_on(watched, &self.inner.runtime);
    }
}

impl Inner {
    /// Whether another daemon delivers.
    fn follows(&self) -> bool {
        self.leadership.standing().follows()
    }

    /// Takes a lane away that has nothing to do; `false` when somebody asked it to look meanwhile.
    fn close(&self, lane: &Arc<Lane>) -> bool {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if !lane.is_idle() {
            return false;
        }
        lanes.remove(&lane.subscription);
        true
    }

    /// Says once what the database refuses a lane.
    fn complain(&self, error: &hookwright_store::Error) {
        warn!(error = error as &dyn std::error::Error, "deliveries could not be read or written; trying again");
    }
}
