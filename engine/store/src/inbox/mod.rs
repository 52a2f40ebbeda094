//! The writer of events: one task that takes everything that waits into one transaction, so that one `fsync` acknowledges many.
//! Invariant: nobody is told "accepted" before the commit that holds the event and its delivery has returned.

mod checkpoint;
mod end;
pub(crate) mod keys;
pub(crate) mod rows;
mod settled;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use hookwright_core::status::DeliveryStatus;
use hookwright_core::{Attempt, Delivery, DeliveryId, Event, EventId, FieldPath, SubscriptionId, Timestamp, TriggerPlace};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use crate::sql::{Value, args, json_text};
use crate::{Error, Result, Store, Tx};
use checkpoint::Checkpoints;
use keys::{Change, Key};
use rows::Statements;

/// Requests that wait for the writer; more wait at its door.
const QUEUE: usize = 4096;

/// At most so many are taken into one transaction,
const BATCH: usize = 512;

/// and after so many bytes of bodies no further one.
const BATCH_BYTES: usize = 16 << 20;

/// When keys could not be moved, that is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);

const LAST: &str = "SELECT COALESCE(MAX(sequence), 0) AS sequence FROM deliveries";

/// An event that was verified and is to be stored with its first delivery.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Which subscription it came through.
    pub subscription: SubscriptionId,
    /// Of which trigger.
    pub place: TriggerPlace,
    /// The event source.
    pub source: String,
    /// Its type.
    pub kind: String,
    /// What the source calls it.
    pub source_id: Option<String>,
    /// Whether it was verified.
    pub verified: bool,
    /// When it was received.
    pub received_at: Timestamp,
    /// The headers as they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Fields that nobody is shown.
    pub redact: Vec<FieldPath>,
    /// Whether the body has lost them already.
    pub redacted: bool,
    /// What makes it the same as an earlier one of the subscription; each is compared with those at its own place.
    pub replay_keys: [Option<String>; 2],
    /// Why it is not for the handler; `None` queues it.
    pub skipped: Option<String>,
    /// The key that its order is kept by.
    pub order_key: Option<String>,
    /// Not to be delivered before, because whoever stores it makes the first attempt; it waits meanwhile, so that a crash delays it and no more.
    pub not_before: Option<Timestamp>,
}

/// What became of an event.
#[derive(Clone, Debug)]
pub enum Accepted {
    /// It is stored; this is its delivery.
    New(Box<Delivery>),
    /// It was stored before, and nothing was written.
    Duplicate,
}

/// An attempt has ended, and what that means for its delivery.
#[derive(Clone, Debug)]
pub struct AttemptEnd {
    /// The attempt; `None` when none was made.
    pub attempt: Option<Attempt>,
    /// The delivery as it stands now.
    pub delivery: Delivery,
    /// Where it stood before.
    pub from: DeliveryStatus,
}

enum Work {
    /// An event, and how it is written; made by whoever brings it, so that the writer only writes.
    Accept(Arc<NewEvent>, Prepared, oneshot::Sender<Result<Accepted>>),
    End(Box<AttemptEnd>, oneshot::Sender<Result<bool>>),
    Replay(Box<Delivery>, oneshot::Sender<Result<Delivery>>),
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Accept(event, ..) => event.body.len(),
            Self::End(..) | Self::Replay(..) => 0,
        }
    }

    fn end(&self) -> Option<&AttemptEnd> {
        match self {
            Self::End(end, _) => Some(end),
            Self::Accept(..) | Self::Replay(..) => None,
        }
    }
}

/// How often a leader looks whether other daemons have stored anything.
const OTHERS: Duration = Duration::from_millis(500);

/// The lock that keeps sequences in the order of commits when several daemons write.
const SEQUENCE_LOCK: i64 = i64::from_be_bytes(*b"hw-event");

/// The handle on the writer. It ends when the last handle is dropped and everything taken is written.
#[derive(Clone)]
pub struct Inbox {
    work: mpsc::Sender<Work>,
    written: watch::Receiver<u64>,
    others: watch::Receiver<u64>,
}

impl Store {
    /// A handle on the writer of events, and the writer, which somebody has to run. There is one a store.
    ///
    /// # Errors
    /// When the database does not say how many deliveries there have been.
    pub async fn inbox(&self) -> Result<(Inbox, impl Future<Output = ()> + Send + use<>)> {
        let last = self.fetch_optional(LAST, Vec::new()).await?.map_or(Ok(0), |row| row.number("sequence"))?;
        let (work, queue) = mpsc::channel(QUEUE);
        let (news, written) = watch::channel(0);
        let (strange, others) = watch::channel(last);
        let writer = Writer { store: self.clone(), last, known: last, pause: Some(Duration::ZERO), news, strange };
        Ok((Inbox { work, written, others }, write(writer, queue)))
    }
}

impl Inbox {
    /// Changes whenever something was written, and says nothing of what.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }

    /// The sequence up to which other daemons are known to have stored deliveries; for the leader, who makes them.
    pub fn others(&self) -> watch::Receiver<u64> {
        self.others.clone()
    }

    /// Stores an event with its delivery; returns once both are durable.
    ///
    /// # Errors
    /// When the database refuses: then nothing of it is stored, and the source is to be told to send it again.
    pub async fn accept(&self, event: impl Into<Arc<NewEvent>>) -> Result<Accepted> {
        let event = event.into();
        let prepared = Prepared::new(&event);
        self.ask(|answer| Work::Accept(event, prepared, answer)).await
    }

    /// Writes what an attempt came to. `false` when the delivery was not in the status it is said to come from; then nothing is written.
    ///
    /// # Errors
    /// When the database refuses: nothing is written.
    pub async fn attempt_ended(&self, end: AttemptEnd) -> Result<bool> {
        self.ask(|answer| Work::End(Box::new(end), answer)).await
    }

    /// Stores a further delivery of an event; its sequence is given by the writer.
    ///
    /// # Errors
    /// When the database refuses: nothing is written.
    pub async fn replay(&self, delivery: Delivery) -> Result<Delivery> {
        self.ask(|answer| Work::Replay(Box::new(delivery), answer)).await
    }

    async fn ask<T>(&self, work: impl FnOnce(oneshot::Sender<Result<T>>) -> Work) -> Result<T> {
        let ended = || Error::Ended;
        let (sender, answer) = oneshot::channel();
        self.work.send(work(sender)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

async fn write(mut writer: Writer, mut queue: mpsc::Receiver<Work>) {
    let mut checkpoints = Checkpoints::new(writer.store.clone());
    loop {
        let first = tokio::select! {
            biased;
            first = queue.recv() => first,
            () = tokio::time::sleep(writer.pause.unwrap_or_default()), if writer.pause.is_some() => {
                let moved = writer.tidy().await;
                checkpoints.wrote(moved, 0).await;
                continue;
            }
            () = tokio::time::sleep(OTHERS), if writer.store.is_shared() => {
                // Whether this process leads changes while it waits.
                if writer.leads() {
                    writer.look_for_others().await;
                }
                continue;
            }
        };
        let Some(first) = first else { break };
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            let Ok(next) = queue.try_recv() else { break };
            bytes += next.bytes();
            batch.push(next);
        }
        let parts = batch.len();
        let moved = writer.write(batch).await;
        writer.news.send_modify(|count| *count = count.wrapping_add(1));
        checkpoints.wrote(parts + moved, bytes).await;
    }
    checkpoints.ended().await;
}

/// The one that writes.
struct Writer {
    store: Store,
    /// The newest sequence that was given out; numbers go on after it.
    last: u64,
    /// The newest sequence that is known to be stored: by this process, or told to whoever looks for others. What this process gave out and did
    /// not store is not, since another daemon may use it.
    known: u64,
    /// After how long without work keys are moved to their place, where there are any.
    pause: Option<Duration>,
    news: watch::Sender<u64>,
    /// Sequences of others.
    strange: watch::Sender<u64>,
}

/// What the parts of a batch are answered with, in its order.
enum Answer {
    Accept(Accepted),
    End(bool),
    Replay(Box<Delivery>),
}

impl Writer {
    /// Whether this process leads, so that it is the one to know of others.
    fn leads(&self) -> bool {
        matches!(self.store.inner.standing.epoch(), Ok(Some(_)))
    }

    /// Looks whether others have stored anything. What cannot be looked at now is looked at soon.
    async fn look_for_others(&mut self) {
        if let Ok(Some(row)) = self.store.fetch_optional(LAST, Vec::new()).await
            && let Ok(newest) = row.number("sequence")
        {
            self.note_others(newest);
        }
    }

    fn note_others(&mut self, newest: u64) {
        if newest > self.known {
            self.known = newest;
            self.strange.send_replace(newest);
        }
    }

    /// Where numbers go on. Other daemons wait until the commit, so that sequences become visible in their order.
    async fn go_on(&mut self, tx: &mut Tx) -> Result<()> {
        if self.store.is_shared() {
            tx.fetch_optional("SELECT pg_advisory_xact_lock($1)", args![SEQUENCE_LOCK]).await?;
            let newest = tx.fetch_optional(LAST, Vec::new()).await?.map_or(Ok(0), |row| row.number("sequence"))?;
            self.note_others(newest);
            self.last = newest;
        }
        Ok(())
    }

    /// Moves a portion of what events are known by to its place; returns how many.
    async fn tidy(&mut self) -> usize {
        let store = self.store.clone();
        let Some(mut known) = store.event_keys().await else {
            self.pause = None;
            return 0;
        };
        let now = store.inner.clock.monotonic();
        let tidied = async {
            let mut tx = store.begin_beside().await?;
            let change = known.tidy(&mut tx).await?;
            let moved = change.moved();
            known.commit(tx, "event_keys.moved", change, now).await.map(|()| moved)
        };
        let tidied = tidied.await;
        self.pause = known.pause(now);
        tidied.unwrap_or_else(|error| {
            warn!(error = &error as &dyn std::error::Error, "what events are known by stays where it is for now");
            self.pause = Some(AGAIN);
            0
        })
    }

    /// Writes a batch; when that fails each part is tried alone, so that one that the database refuses takes no other with it. A database that is
    /// gone is asked once. Returns how many keys were moved beside.
    async fn write(&mut self, mut batch: Vec<Work>) -> usize {
        match self.transact(&mut batch, true).await {
            Ok((answers, moved)) => {
                batch.into_iter().zip(answers).for_each(|(work, answer)| reply(work, Ok(answer)));
                return moved;
            }
            Err(error) if error.is_out_of_reach() => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    parts = batch.len(),
                    "events could not be written: the database is out of reach"
                );
                batch.into_iter().for_each(|work| reply(work, Err(Error::OutOfReach)));
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, parts = batch.len(), "events could not be written together");
                for mut work in batch {
                    match self.transact(std::slice::from_mut(&mut work), false).await.map(|(mut answers, _)| answers.pop()) {
                        Ok(answer) => reply(work, answer.ok_or(Error::Ended)),
                        Err(error) => reply(work, Err(error)),
                    }
                }
            }
        }
        0
    }

    /// Writes a batch in one transaction; returns what its parts are answered with, and how many keys were moved beside, if they are to be.
    async fn transact(&mut self, batch: &mut [Work], tidies: bool) -> Result<(Vec<Answer>, usize)> {
        let store = self.store.clone();
        let (now, monotonic) = (store.inner.clock.now(), store.inner.clock.monotonic());
        let mut known = store.event_keys().await;
        let mut tx = store.begin_beside().await?;
        if batch.iter().any(|work| !matches!(work, Work::End(..))) {
            self.go_on(&mut tx).await?;
        }
        let mut sequence = self.last;
        let mut events = Vec::new();
        let mut deliveries = Vec::new();
        for work in &mut *batch {
            match work {
                Work::Accept(event, prepared, _) => {
                    sequence += 1;
                    let id = EventId::new(&*self.store.inner.ids);
                    deliveries.push(self.first_delivery(event, id, sequence));
                    let keys = prepared.keys;
                    // They are gone when it is tried again.
                    let columns = Some(std::mem::take(&mut prepared.columns)).filter(|columns| !columns.is_empty());
                    let columns = columns.unwrap_or_else(|| Prepared::new(event).columns);
                    events.push(EventRow { id, keys, columns, body: event.body.clone() });
                }
                Work::Replay(delivery, _) => {
                    sequence += 1;
                    deliveries.push(Delivery { sequence, ..(**delivery).clone() });
                }
                Work::End(..) => {}
            }
        }
        // A failure leaves numbers unused; where others write too, whoever is next uses them.
        self.last = sequence;
        let (mut seen, mut change) = (HashSet::new(), Change::default());
        if let Some(known) = &mut known {
            let offered: Vec<_> = events.iter().map(|event| (event.id, event.keys)).collect();
            let (duplicates, new) = known.judge(&mut tx, &offered).await?;
            events.retain(|event| !duplicates.contains(&event.id));
            seen = duplicates;
            change = known.append(&mut tx, new).await?;
            if tidies {
                known.keep_up(&mut tx, &mut change).await?;
            }
        }
        seen.extend(insert_events(&mut tx, &mut events).await?);
        let fresh: Vec<&Delivery> = deliveries.iter().filter(|delivery| !seen.contains(&delivery.event)).collect();
        insert_deliveries(&mut tx, &fresh).await?;
        let newest = fresh.last().map_or(0, |delivery| delivery.sequence);
        for subscription in fresh.iter().filter(|delivery| !delivery.replay).map(|delivery| delivery.subscription).collect::<HashSet<_>>() {
            heard(&mut tx, subscription, now).await?;
        }
        let mut ended = end::write(&mut tx, batch.iter().filter_map(Work::end).collect()).await?.into_iter();
        let mut answers = Vec::with_capacity(batch.len());
        let mut next = deliveries.into_iter();
        for work in &*batch {
            answers.push(match work {
                Work::End(..) => Answer::End(ended.next().unwrap_or(false)),
                Work::Accept(..) => match next.next() {
                    Some(delivery) if !seen.contains(&delivery.event) => Answer::Accept(Accepted::New(Box::new(delivery))),
                    _ => Answer::Accept(Accepted::Duplicate),
                },
                Work::Replay(delivery, _) => Answer::Replay(next.next().map_or_else(|| delivery.clone(), Box::new)),
            });
        }
        settled::redact(&mut tx, batch).await?;
        let moved = change.moved();
        match &mut known {
            Some(known) => {
                known.commit(tx, "events.written", change, monotonic).await?;
                self.pause = known.pause(monotonic);
            }
            None => tx.commit("events.written").await?,
        }
        self.known = self.known.max(newest);
        Ok((answers, moved))
    }

    fn first_delivery(&self, event: &NewEvent, id: EventId, sequence: u64) -> Delivery {
        let skipped = event.skipped.is_some();
        Delivery {
            id: DeliveryId::new(&*self.store.inner.ids),
            event: id,
            sequence,
            subscription: event.subscription,
            place: event.place.clone(),
            kind: event.kind.clone(),
            status: match (skipped, event.not_before) {
                (true, _) => DeliveryStatus::Skipped,
                (false, Some(_)) => DeliveryStatus::Waiting,
                (false, None) => DeliveryStatus::Queued,
            },
            status_reason: event.skipped.clone(),
            attempts: 0,
            replay: false,
            order_key: event.order_key.clone(),
            created_at: event.received_at,
            due_at: event.not_before.unwrap_or(event.received_at),
            ended_at: skipped.then_some(event.received_at),
        }
    }
}

fn reply(work: Work, answer: Result<Answer>) {
    // Whoever asked may have gone; what is written is written.
    match (work, answer) {
        (Work::Accept(_, _, sender), Ok(Answer::Accept(accepted))) => drop(sender.send(Ok(accepted))),
        (Work::End(_, sender), Ok(Answer::End(written))) => drop(sender.send(Ok(written))),
        (Work::Replay(_, sender), Ok(Answer::Replay(delivery))) => drop(sender.send(Ok(*delivery))),
        (Work::Accept(_, _, sender), Err(error)) => drop(sender.send(Err(error))),
        (Work::End(_, sender), Err(error)) => drop(sender.send(Err(error))),
        (Work::Replay(_, sender), Err(error)) => drop(sender.send(Err(error))),
        // Answers are made in the order of the work; a wrong kind drops the sender, which says that the writer ended.
        (_, Ok(_)) => {}
    }
}

const EVENT_COLUMNS: usize = 16;
static INSERT_EVENTS: LazyLock<Statements> = LazyLock::new(|| {
    rows::statements(
        "INSERT INTO events (id, subscription, webhook, environment, trigger_name, source, kind, source_id, verified, received_at,
            replay_key, fingerprint, headers, redact, redacted, body) VALUES ",
        EVENT_COLUMNS,
        " ON CONFLICT DO NOTHING",
    )
});

static STORED: LazyLock<Statements> = LazyLock::new(|| rows::lists("SELECT id FROM events WHERE id IN", ""));

const DELIVERY_COLUMNS: usize = 16;
static INSERT_DELIVERIES: LazyLock<Statements> = LazyLock::new(|| {
    rows::statements(
        "INSERT INTO deliveries (id, event, sequence, subscription, webhook, environment, trigger_name, kind, status, status_reason,
            attempts, replay, order_key, created_at, due_at, ended_at) VALUES ",
        DELIVERY_COLUMNS,
        "",
    )
});

/// An event on its way into the database.
struct EventRow {
    id: EventId,
    keys: [Option<Key>; 2],
    columns: Vec<Value>,
    body: Bytes,
}

/// What is written of an event.
struct Prepared {
    /// What it is known by on SQLite.
    keys: [Option<Key>; 2],
    /// The columns between its id and its body.
    columns: Vec<Value>,
}

impl Prepared {
    fn new(event: &NewEvent) -> Self {
        let [id_key, signature_key] = event.replay_keys.each_ref().map(|key| key.as_ref().map(|key| digest(event.subscription, key)));
        let keys = [keys::key(0, id_key.as_deref().unwrap_or_default()), keys::key(1, signature_key.as_deref().unwrap_or_default())];
        Self { keys, columns: columns(event, [id_key, signature_key]) }
    }
}

fn columns(event: &NewEvent, [id_key, signature_key]: [Option<String>; 2]) -> Vec<Value> {
    args![
        event.subscription,
        event.place.webhook,
        event.place.environment,
        event.place.trigger,
        event.source,
        event.kind,
        event.source_id,
        event.verified,
        event.received_at,
        id_key,
        signature_key,
        json_text(&event.headers),
        (!event.redact.is_empty()).then(|| json_text(&event.redact)),
        event.redacted
    ]
}

/// Inserts what was not there yet; returns what was.
async fn insert_events(tx: &mut Tx, events: &mut [EventRow]) -> Result<HashSet<EventId>> {
    let mut seen = HashSet::new();
    let shared = tx.is_shared();
    for (statement, part) in rows::parts_mut(&INSERT_EVENTS, shared, events) {
        let mut values = Vec::with_capacity(part.len() * EVENT_COLUMNS);
        for event in &mut *part {
            values.extend(args![event.id]);
            values.append(&mut event.columns);
            values.push(Value::Bytes(event.body.to_vec()));
        }
        if tx.execute(statement, values).await? == part.len() as u64 {
            continue;
        }
        seen.extend(part.iter().map(|event| event.id));
        for (statement, part) in rows::parts(&STORED, shared, part) {
            for row in tx.fetch_all(statement, part.iter().flat_map(|event| args![event.id]).collect()).await? {
                seen.remove(&row.parse("id")?);
            }
        }
    }
    Ok(seen)
}

async fn insert_deliveries(tx: &mut Tx, deliveries: &[&Delivery]) -> Result<()> {
    for (statement, part) in rows::parts(&INSERT_DELIVERIES, tx.is_shared(), deliveries) {
        let mut values = Vec::with_capacity(part.len() * DELIVERY_COLUMNS);
        for delivery in part {
            values.extend(args![
                delivery.id,
                delivery.event,
                delivery.sequence,
                delivery.subscription,
                delivery.place.webhook,
                delivery.place.environment,
                delivery.place.trigger,
                delivery.kind,
                delivery.status,
                delivery.status_reason,
                delivery.attempts,
                delivery.replay,
                delivery.order_key,
                delivery.created_at,
                delivery.due_at,
                delivery.ended_at
            ]);
        }
        tx.execute(statement, values).await?;
    }
    Ok(())
}

/// A key of 128 bits: two events of different subscriptions never share one.
pub(crate) fn digest(subscription: SubscriptionId, key: &str) -> String {
    let digest = Sha256::new().chain_update(subscription.to_string()).chain_update([0]).chain_update(key).finalize();
    hex::encode(&digest[..16])
}

/// Notes that the source speaks; what a person had to register is active with the first event.
async fn heard(tx: &mut Tx, subscription: SubscriptionId, now: Timestamp) -> Result<()> {
    const HEARD: &str = "UPDATE subscriptions SET last_event_at = $1,
            status_reason = CASE WHEN status = 'manual' THEN NULL ELSE status_reason END,
            status = CASE WHEN status = 'manual' THEN 'active' ELSE status END
        WHERE id = $2";
    // The engine's own hooks are no triggers' subscriptions.
    const HEARD_HOOK: &str = "UPDATE repository_hooks SET heard_at = $1 WHERE id = $2";
    if tx.execute(HEARD, args![now, subscription]).await? == 0 {
        tx.execute(HEARD_HOOK, args![now, subscription]).await?;
    }
    Ok(())
}

/// The event as it will be read back; for whoever delivers it at once.
impl NewEvent {
    /// The stored form under an id.
    pub fn stored(self, id: EventId) -> Event {
        Event {
            id,
            subscription: self.subscription,
            place: self.place,
            source: self.source,
            kind: self.kind,
            source_id: self.source_id,
            verified: self.verified,
            received_at: self.received_at,
            headers: self.headers,
            body: self.body,
            redact: self.redact,
            redacted: self.redacted,
        }
    }
}
