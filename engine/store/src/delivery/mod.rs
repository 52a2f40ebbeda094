//! Deliveries: what is due, what there has been, and the attempts. `inbox` writes them.

use hookwright_core::status::DeliveryStatus;
use hookwright_core::{Attempt, AttemptAnswer, Delivery, DeliveryId, EnvironmentName, EventId, SubscriptionId, Timestamp, WebhookName};

use crate::event::place;
use crate::sql::{Row, args};
use crate::{Result, Store};

macro_rules! columns {
    () => {
        "id, event, sequence, subscription, webhook, environment, trigger_name, kind, status, status_reason, attempts, replay, order_key,
            created_at, due_at, ended_at"
    };
}

mod list;

/// Which deliveries are listed; `None` is any.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Of a webhook.
    pub webhook: Option<WebhookName>,
    /// Of an environment.
    pub environment: Option<EnvironmentName>,
    /// Of a trigger, by its name.
    pub trigger: Option<String>,
    /// Of events of a type; what ends in `.*` is all below it.
    pub kind: Option<String>,
    /// In a status.
    pub status: Option<DeliveryStatus>,
    /// Accepted at that time or later.
    pub since: Option<Timestamp>,
    /// Accepted before that time.
    pub until: Option<Timestamp>,
}

impl Store {
    /// What may be sent now through a subscription, the longest due first. Of deliveries with the same order key it is the oldest alone.
    pub async fn delivery_due(&self, subscription: SubscriptionId, now: Timestamp, limit: u32) -> Result<Vec<Delivery>> {
        const DUE: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deliveries WHERE subscription = $1 AND status IN ('queued', 'waiting') AND due_at <= $2
            AND (order_key IS NULL OR NOT EXISTS (SELECT 1 FROM deliveries AS earlier WHERE earlier.subscription = deliveries.subscription
                AND earlier.order_key = deliveries.order_key AND earlier.sequence < deliveries.sequence
                AND earlier.status IN ('queued', 'waiting')))
            ORDER BY due_at, sequence LIMIT $3"
        );
        self.fetch_all(DUE, args![subscription, now, limit]).await?.iter().map(read).collect()
    }

    /// When the next delivery of a subscription is due, if one waits.
    pub async fn delivery_next_due(&self, subscription: SubscriptionId, after: Timestamp) -> Result<Option<Timestamp>> {
        const NEXT: &str =
            "SELECT MIN(due_at) AS due_at FROM deliveries WHERE subscription = $1 AND status IN ('queued', 'waiting') AND due_at > $2";
        self.fetch_optional(NEXT, args![subscription, after]).await?.map_or(Ok(None), |row| row.optional_instant("due_at"))
    }

    /// Makes due now what a clock that was ahead has put off: what was stored, or tried last, at a time that is not yet. Returns how many.
    pub async fn delivery_recall(&self, subscription: SubscriptionId, (now, ahead): (Timestamp, Timestamp)) -> Result<u64> {
        const RECALL: &str = "UPDATE deliveries SET due_at = $2
            WHERE subscription = $1 AND status IN ('queued', 'waiting') AND due_at > $3
            AND ((attempts = 0 AND created_at > $3)
                OR EXISTS (SELECT 1 FROM attempts
                    WHERE attempts.delivery = deliveries.id AND attempts.number = deliveries.attempts AND attempts.started_at > $3))";
        self.execute("delivery.recalled", RECALL, args![subscription, now, ahead]).await
    }

    /// Subscriptions with something to deliver.
    pub async fn delivery_open_subscriptions(&self) -> Result<Vec<SubscriptionId>> {
        const OPEN: &str = "SELECT DISTINCT subscription FROM deliveries WHERE status IN ('queued', 'waiting')";
        self.fetch_all(OPEN, Vec::new()).await?.iter().map(|row| row.parse("subscription")).collect()
    }

    /// Subscriptions with something to deliver that was stored after a sequence.
    pub async fn delivery_open_subscriptions_after(&self, sequence: u64) -> Result<Vec<SubscriptionId>> {
        const OPEN: &str = "SELECT DISTINCT subscription FROM deliveries WHERE sequence > $1 AND status IN ('queued', 'waiting')";
        self.fetch_all(OPEN, args![sequence]).await?.iter().map(|row| row.parse("subscription")).collect()
    }

    /// How many deliveries of a subscription wait to be made.
    pub async fn delivery_open_count(&self, subscription: SubscriptionId) -> Result<u64> {
        const COUNT: &str = "SELECT COUNT(*) AS open FROM deliveries WHERE subscription = $1 AND status IN ('queued', 'waiting')";
        self.fetch_optional(COUNT, args![subscription]).await?.map_or(Ok(0), |row| row.number("open"))
    }

    /// When the newest event of a type came in through a subscription, whatever became of it.
    pub async fn delivery_newest(&self, (subscription, webhook): (SubscriptionId, &WebhookName), kind: &str) -> Result<Option<Timestamp>> {
        const FETCH: &str = "SELECT created_at FROM deliveries WHERE webhook = $1 AND kind = $2 AND subscription = $3 AND replay = 0
            ORDER BY sequence DESC LIMIT 1";
        self.fetch_optional(FETCH, args![webhook, kind, subscription]).await?.map(|row| row.instant("created_at")).transpose()
    }

    /// A delivery.
    pub async fn delivery_fetch(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        const FETCH: &str = concat!("SELECT ", columns!(), " FROM deliveries WHERE id = $1");
        self.fetch_optional(FETCH, args![id]).await?.map(|row| read(&row)).transpose()
    }

    /// Every delivery of an event, oldest first.
    pub async fn delivery_list_of_event(&self, event: EventId) -> Result<Vec<Delivery>> {
        const LIST: &str = concat!("SELECT ", columns!(), " FROM deliveries WHERE event = $1 ORDER BY sequence LIMIT 500");
        self.fetch_all(LIST, args![event]).await?.iter().map(read).collect()
    }

    /// The attempts of a delivery, in order.
    pub async fn attempt_list(&self, delivery: DeliveryId) -> Result<Vec<Attempt>> {
        const LIST: &str = "SELECT delivery, number, started_at, duration_ms, status_code, error, headers, body FROM attempts
            WHERE delivery = $1 ORDER BY number LIMIT 500";
        self.fetch_all(LIST, args![delivery]).await?.iter().map(read_attempt).collect()
    }
}

fn read(row: &Row) -> Result<Delivery> {
    Ok(Delivery {
        id: row.parse("id")?,
        event: row.parse("event")?,
        sequence: row.number("sequence")?,
        subscription: row.parse("subscription")?,
        place: place(row)?,
        kind: row.text("kind")?,
        status: row.parse("status")?,
        status_reason: row.optional_text("status_reason")?,
        attempts: row.number("attempts")?,
        replay: row.flag("replay")?,
        order_key: row.optional_text("order_key")?,
        created_at: row.instant("created_at")?,
        due_at: row.instant("due_at")?,
        ended_at: row.optional_instant("ended_at")?,
    })
}

fn read_attempt(row: &Row) -> Result<Attempt> {
    let answer = match row.optional_integer("status_code")? {
        None => None,
        Some(_) => Some(AttemptAnswer { status: row.number("status_code")?, headers: row.json("headers")?, body: row.text("body")? }),
    };
    Ok(Attempt {
        delivery: row.parse("delivery")?,
        number: row.number("number")?,
        started_at: row.instant("started_at")?,
        duration_ms: row.number("duration_ms")?,
        answer,
        error: row.optional_text("error")?,
    })
}
