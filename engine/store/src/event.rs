//! Events: read as they were received. `inbox` writes them, retention removes them.

use hookwright_core::{Event, EventId, Timestamp, TriggerPlace};

use crate::sql::{Row, args};
use crate::{Result, Store};

/// Removed in one transaction at most.
const PORTION: u32 = 1000;

impl Store {
    /// An event with its body.
    pub async fn event_fetch(&self, id: EventId) -> Result<Option<Event>> {
        const FETCH: &str = "SELECT id, subscription, webhook, environment, trigger_name, source, kind, source_id, verified, received_at,
            headers, body FROM events WHERE id = $1";
        self.fetch_optional(FETCH, args![id]).await?.map(|row| read(&row)).transpose()
    }

    /// Removes events received before `until` that no delivery is still to be made of, with deliveries and attempts; a portion at a time.
    /// Returns how many there were; a full portion means that there may be more.
    pub async fn event_forget(&self, until: Timestamp) -> Result<u64> {
        const OLD: &str = "SELECT id FROM events WHERE id < $1 AND NOT EXISTS (SELECT 1 FROM deliveries
                WHERE deliveries.event = events.id AND deliveries.status IN ('queued', 'waiting')) ORDER BY id LIMIT $2";
        const ATTEMPTS: &str = "DELETE FROM attempts WHERE delivery IN (SELECT id FROM deliveries WHERE event = $1)";
        const DELIVERIES: &str = "DELETE FROM deliveries WHERE event = $1";
        const EVENT: &str = "DELETE FROM events WHERE id = $1";
        // Ids begin with the time they were made at (RFC 9562, section 5.7), so that they are in the order of time.
        let bound = format!("{}_{:012x}", EventId::PREFIX, until.as_millis().max(0));
        let old = self.fetch_all(OLD, args![bound, PORTION]).await?;
        if old.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        for row in &old {
            let id: EventId = row.parse("id")?;
            for statement in [ATTEMPTS, DELIVERIES, EVENT] {
                tx.execute(statement, args![id]).await?;
            }
        }
        tx.commit("events.forgotten").await?;
        Ok(old.len() as u64)
    }
}

fn read(row: &Row) -> Result<Event> {
    Ok(Event {
        id: row.parse("id")?,
        subscription: row.parse("subscription")?,
        place: place(row)?,
        source: row.text("source")?,
        kind: row.text("kind")?,
        source_id: row.optional_text("source_id")?,
        verified: row.flag("verified")?,
        received_at: row.instant("received_at")?,
        headers: row.json("headers")?,
        body: row.bytes("body")?.into(),
    })
}

/// The place of a trigger out of its three columns.
pub(crate) fn place(row: &Row) -> Result<TriggerPlace> {
    Ok(TriggerPlace { webhook: row.parse("webhook")?, environment: row.parse("environment")?, trigger: row.parse("trigger_name")? })
}
