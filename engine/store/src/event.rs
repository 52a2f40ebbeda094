//! Events: read as they are shown or as they are delivered. `inbox` writes them, retention cuts out what nobody is to see any more and removes them.
//! Invariant: an event that is still to be delivered is whole, whatever its age and the room it takes.

use std::sync::LazyLock;

use hookwright_core::{Event, EventId, FieldPath, Timestamp, TriggerPlace, redact};
use tokio::sync::MutexGuard;

use crate::inbox::keys::{self, Keys};
use crate::inbox::rows::{self, Statements};
use crate::sql::{Row, Value, args};
use crate::{Result, Store, Tx};

/// Changed in one transaction at most, so that the writer of events never waits long.
const PORTION: u32 = 100;

/// Which events are forgotten.
#[derive(Clone, Copy, Debug)]
pub enum Forgotten {
    /// Those received before.
    Before(Timestamp),
    /// Those older than this one.
    OlderThan(EventId),
}

impl Store {
    /// An event as anybody is shown it: without the fields that its trigger hides.
    pub async fn event_fetch(&self, id: EventId) -> Result<Option<Event>> {
        Ok(self.event_fetch_whole(id).await?.map(Event::shown))
    }

    /// An event as it is delivered.
    pub async fn event_fetch_whole(&self, id: EventId) -> Result<Option<Event>> {
        const FETCH: &str = "SELECT id, subscription, webhook, environment, trigger_name, source, kind, source_id, verified, received_at,
            headers, body, redact, redacted FROM events WHERE id = $1 AND forgotten_at IS NULL";
        self.fetch_optional(FETCH, args![id]).await?.map(|row| read(&row)).transpose()
    }

    /// Those of some events whose bodies have at most 8 KiB, as they are delivered: so many at a time do not fill the memory.
    pub async fn event_list_small(&self, ids: &[EventId]) -> Result<Vec<Event>> {
        static LIST: LazyLock<Statements> = LazyLock::new(|| {
            rows::lists(
                "SELECT id, subscription, webhook, environment, trigger_name, source, kind, source_id, verified, received_at,
                    headers, body, redact, redacted FROM events WHERE id IN",
                "AND forgotten_at IS NULL AND LENGTH(body) <= 8192",
            )
        });
        let mut events = Vec::with_capacity(ids.len());
        for (statement, part) in rows::parts(&LIST, self.is_shared(), ids) {
            for row in self.fetch_all(statement, part.iter().flat_map(|id| args![id]).collect()).await? {
                events.push(read(&row)?);
            }
        }
        Ok(events)
    }

    /// Forgets a portion of events that no delivery is still to be made of, the oldest first, with deliveries and attempts. What they are known by
    /// when they come again is kept of those received since `keys_since`. Returns where to go on; `None` when there was nothing more.
    pub async fn event_forget(&self, which: Forgotten, keys_since: Timestamp, after: Option<EventId>) -> Result<Option<EventId>> {
        const OLD: &str =
            "SELECT id, received_at, CAST(CASE WHEN replay_key IS NULL AND fingerprint IS NULL THEN 0 ELSE 1 END AS BIGINT) AS has_keys
            FROM events WHERE id > $1 AND id < $2 AND forgotten_at IS NULL AND NOT EXISTS (SELECT 1 FROM deliveries
                WHERE deliveries.event = events.id AND deliveries.status IN ('queued', 'waiting')) ORDER BY id LIMIT $3";
        const ATTEMPTS: &str = "DELETE FROM attempts WHERE delivery IN (SELECT id FROM deliveries WHERE event = $1)";
        const DELIVERIES: &str = "DELETE FROM deliveries WHERE event = $1";
        const EVENT: &str = "DELETE FROM events WHERE id = $1 RETURNING replay_key, fingerprint";
        const ALL_BUT_KEYS: &str =
            "UPDATE events SET headers = '[]', body = $1, source_id = NULL, redact = NULL, redacted = 0, forgotten_at = $2 WHERE id = $3";
        let bound = match which {
            // Ids begin with the time they were made at (RFC 9562, section 5.7), so that they are in the order of time.
            Forgotten::Before(until) => format!("{}_{:012x}", EventId::PREFIX, until.as_millis().max(0)),
            Forgotten::OlderThan(id) => id.to_string(),
        };
        let after = after.map_or_else(String::new, |id| id.to_string());
        let old = self.fetch_all(OLD, args![after, bound, PORTION]).await?;
        let Some(last) = old.last().map(|row| row.parse("id")).transpose()? else { return Ok(None) };
        let now = self.inner.clock.now();
        let keys = self.event_keys().await;
        let mut tx = self.begin().await?;
        let mut gone = Vec::new();
        for row in &old {
            let id: EventId = row.parse("id")?;
            tx.execute(ATTEMPTS, args![id]).await?;
            tx.execute(DELIVERIES, args![id]).await?;
            if row.flag("has_keys")? && row.instant("received_at")? >= keys_since {
                let mut values = vec![Value::Bytes(Vec::new())];
                values.extend(args![now, id]);
                tx.execute(ALL_BUT_KEYS, values).await?;
            } else {
                gone.extend(tx.fetch_optional(EVENT, args![id]).await?);
            }
        }
        self.commit_without(tx, "events.forgotten", (keys, &gone)).await?;
        Ok(Some(last))
    }

    /// Removes a portion of what forgotten events received before `until` are known by. Returns how many there were.
    pub async fn event_forget_keys(&self, until: Timestamp) -> Result<u64> {
        const KEYS: &str = "DELETE FROM events WHERE id IN
            (SELECT id FROM events WHERE forgotten_at IS NOT NULL AND received_at < $1 ORDER BY received_at LIMIT $2)
            RETURNING replay_key, fingerprint";
        let keys = self.event_keys().await;
        let mut tx = self.begin().await?;
        let gone = tx.fetch_all(KEYS, args![until, PORTION]).await?;
        self.commit_without(tx, "event_keys.removed", (keys, &gone)).await?;
        Ok(gone.len() as u64)
    }

    /// Commits that events, of which these are the rows, are gone with what they are known by. PostgreSQL knows them by their rows alone.
    async fn commit_without(
        &self,
        mut tx: Tx,
        transition: &'static str,
        (keys, gone): (Option<MutexGuard<'_, Keys>>, &[Row]),
    ) -> Result<()> {
        let Some(mut keys) = keys else { return tx.commit(transition).await };
        let mut forgotten = Vec::new();
        for row in gone {
            forgotten.extend(keys::of_row(row)?);
        }
        keys.read(&mut tx).await?;
        let change = keys.forget(&mut tx, &forgotten).await?;
        keys.commit(tx, transition, change, self.inner.clock.monotonic()).await
    }

    /// The room that events take, the newest first, older than `before`: bodies, headers, and what handlers answered.
    pub async fn event_sizes(&self, before: Option<EventId>, many: u32) -> Result<Vec<(EventId, u64)>> {
        const SIZES: &str = "SELECT id, CAST(LENGTH(body) + LENGTH(headers) + COALESCE((SELECT SUM(LENGTH(attempts.body) + LENGTH(attempts.headers))
                FROM deliveries JOIN attempts ON attempts.delivery = deliveries.id WHERE deliveries.event = events.id), 0) AS BIGINT) AS bytes
            FROM events WHERE id < $1 AND forgotten_at IS NULL ORDER BY id DESC LIMIT $2";
        // What follows every id: they are hexadecimal.
        let bound = before.map_or_else(|| format!("{}_g", EventId::PREFIX), |id| id.to_string());
        let rows = self.fetch_all(SIZES, args![bound, many]).await?;
        rows.iter().map(|row| Ok((row.parse("id")?, row.number("bytes")?))).collect()
    }

    /// Cuts out of a portion of events received before `until` what nobody is to see, although they were never delivered: they were given up.
    /// Returns how many there were.
    pub async fn event_redact_given_up(&self, until: Timestamp) -> Result<u64> {
        const GIVEN_UP: &str = "SELECT id, headers, redact, body FROM events WHERE redact IS NOT NULL AND redacted = 0 AND received_at < $1
            AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event = events.id AND deliveries.status IN ('queued', 'waiting'))
            ORDER BY received_at LIMIT $2";
        let mut tx = self.begin().await?;
        let rows = tx.fetch_all(GIVEN_UP, args![until, PORTION]).await?;
        for row in &rows {
            redact_in(&mut tx, row).await?;
        }
        tx.commit("events.redacted").await?;
        Ok(rows.len() as u64)
    }
}

/// Cuts the fields that nobody is to see out of a stored body; the row has `id`, `headers`, `redact` and `body`.
pub(crate) async fn redact_in(tx: &mut Tx, row: &Row) -> Result<()> {
    const REDACT: &str = "UPDATE events SET body = $1, redacted = 1 WHERE id = $2";
    let (id, paths): (EventId, Vec<FieldPath>) = (row.parse("id")?, row.json("redact")?);
    let headers: Vec<(String, String)> = row.json("headers")?;
    let content_type = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value.as_str());
    let body = redact(&paths, content_type, &row.bytes("body")?.into()).body;
    let mut values = vec![Value::Bytes(body.to_vec())];
    values.extend(args![id]);
    tx.execute(REDACT, values).await?;
    Ok(())
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
        redact: match row.optional_text("redact")? {
            Some(_) => row.json("redact")?,
            None => Vec::new(),
        },
        redacted: row.flag("redacted")?,
    })
}

/// The place of a trigger out of its three columns.
pub(crate) fn place(row: &Row) -> Result<TriggerPlace> {
    Ok(TriggerPlace { webhook: row.parse("webhook")?, environment: row.parse("environment")?, trigger: row.parse("trigger_name")? })
}
