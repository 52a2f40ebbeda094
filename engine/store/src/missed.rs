//! What event sources could not deliver: up to where their lists were read, and what they were asked to send again.

use hookwright_core::port::ListedDelivery;
use hookwright_core::{SubscriptionId, Timestamp};

use crate::inbox::{digest, keys};
use crate::sql::{Row, Value, args};
use crate::{Result, Store, Tx};

/// A delivery that failed at its source and was not stored when its list was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedDelivery {
    /// What the source calls it, and what its event will be known by.
    pub listed: ListedDelivery,
    /// How often the source was asked to send it again,
    pub asks: u32,
    /// and when last.
    pub asked_at: Option<Timestamp>,
}

impl Tx {
    /// Notes a delivery that failed. One that is known already is left as it stands, settled or not.
    pub async fn missed_note(&mut self, at: (SubscriptionId, &str), listed: &ListedDelivery, settled: bool) -> Result<()> {
        const INSERT: &str = "INSERT INTO missed_deliveries (subscription, replay_key, hook, delivery, found_at, asks, asked_at, settled)
            VALUES ($1, $2, $3, $4, $5, 0, NULL, $6) ON CONFLICT (subscription, replay_key) DO NOTHING";
        let now = self.clock.now();
        self.execute(INSERT, args![at.0, listed.replay_key, at.1, listed.id, now, settled]).await.map(drop)
    }

    /// Notes how often and when the source was asked, or that nothing more is to be done.
    pub async fn missed_update(&mut self, subscription: SubscriptionId, missed: &MissedDelivery, settled: bool) -> Result<()> {
        const UPDATE: &str =
            "UPDATE missed_deliveries SET asks = $1, asked_at = $2, settled = $3 WHERE subscription = $4 AND replay_key = $5";
        let values = args![missed.asks, missed.asked_at, settled, subscription, missed.listed.replay_key];
        self.execute(UPDATE, values).await.map(drop)
    }

    /// Notes up to which delivery the list of a hook was read.
    pub async fn catch_up_looked(&mut self, (subscription, hook): (SubscriptionId, &str), until: u64) -> Result<()> {
        const UPSERT: &str = "INSERT INTO catch_ups (subscription, hook, looked_until) VALUES ($1, $2, $3)
            ON CONFLICT (subscription) DO UPDATE SET hook = excluded.hook, looked_until = excluded.looked_until";
        self.execute(UPSERT, args![subscription, hook, until]).await.map(drop)
    }

    /// Forgets what was found before a time.
    pub async fn missed_forget(&mut self, before: Timestamp) -> Result<()> {
        const DELETE: &str = "DELETE FROM missed_deliveries WHERE found_at < $1";
        self.execute(DELETE, args![before]).await.map(drop)
    }
}

impl Store {
    /// Up to which delivery the list of this hook was read; 0 when it never was.
    pub async fn catch_up_until(&self, subscription: SubscriptionId, hook: &str) -> Result<u64> {
        const FETCH: &str = "SELECT looked_until FROM catch_ups WHERE subscription = $1 AND hook = $2";
        self.fetch_optional(FETCH, args![subscription, hook]).await?.map_or(Ok(0), |row| row.number("looked_until"))
    }

    /// What is not settled of a hook, the oldest first.
    pub async fn missed_open(&self, subscription: SubscriptionId, hook: &str, limit: u32) -> Result<Vec<MissedDelivery>> {
        const LIST: &str = "SELECT replay_key, delivery, asks, asked_at FROM missed_deliveries
            WHERE subscription = $1 AND hook = $2 AND settled = 0 ORDER BY found_at, replay_key LIMIT $3";
        self.fetch_all(LIST, args![subscription, hook, limit]).await?.iter().map(read).collect()
    }

    /// Whether an event with this replay key was stored.
    pub async fn event_is_stored(&self, subscription: SubscriptionId, replay_key: &str) -> Result<bool> {
        const FETCH: &str = "SELECT id FROM events WHERE replay_key = $1";
        const FETCH_KEY: &str = "SELECT key FROM event_keys WHERE key = $1";
        let digest = digest(subscription, replay_key);
        let Some(mut keys) = self.event_keys().await else {
            return Ok(self.fetch_optional(FETCH, args![digest]).await?.is_some());
        };
        let Some(key) = keys::key(0, &digest) else { return Ok(false) };
        let mut tx = self.begin_beside().await?;
        keys.read(&mut tx).await?;
        Ok(keys.holds(&key) || tx.fetch_optional(FETCH_KEY, vec![Value::Bytes(key.to_vec())]).await?.is_some())
    }
}

fn read(row: &Row) -> Result<MissedDelivery> {
    Ok(MissedDelivery {
        listed: ListedDelivery { id: row.text("delivery")?, replay_key: row.text("replay_key")? },
        asks: row.number("asks")?,
        asked_at: row.optional_instant("asked_at")?,
    })
}
