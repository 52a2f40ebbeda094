//! What was sent to the addresses of triggers and not taken: counted by hour and status, with the last of each.

use hookwright_core::{SubscriptionId, Timestamp};

use crate::sql::args;
use crate::{Result, Store, Tx};

/// Milliseconds of an hour.
const HOUR: i64 = 3_600_000;

const ADD: &str =
    "INSERT INTO refusals (subscription, hour, status, refused, last_at, last_reason, last_from) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (subscription, hour, status) DO UPDATE SET refused = refusals.refused + excluded.refused,
        last_at = excluded.last_at, last_reason = excluded.last_reason, last_from = excluded.last_from";
const COUNT: &str = "SELECT status, CAST(SUM(refused) AS BIGINT) AS refused FROM refusals WHERE subscription = $1 AND hour >= $2
    GROUP BY status ORDER BY status";
const LAST: &str =
    "SELECT status, last_at, last_reason, last_from FROM refusals WHERE subscription = $1 ORDER BY hour DESC, last_at DESC LIMIT 1";
const EXPIRE: &str = "DELETE FROM refusals WHERE hour < $1";

/// What was not taken at one address, with one answer, and the last of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whose address.
    pub subscription: SubscriptionId,
    /// What was answered.
    pub status: u16,
    /// How many.
    pub count: u64,
    /// When the last one came.
    pub last_at: Timestamp,
    /// Why it was not taken.
    pub last_reason: String,
    /// Where it came from.
    pub last_from: Option<String>,
}

/// The last thing that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRefused {
    /// What was answered.
    pub status: u16,
    /// When it came.
    pub at: Timestamp,
    /// Why it was not taken.
    pub reason: String,
    /// Where it came from.
    pub from: Option<String>,
}

/// What was not taken at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// How many since the time that was asked about, by what was answered.
    pub counts: Vec<(u16, u64)>,
    /// The last one that is known of, whenever it was.
    pub last: LastRefused,
}

fn hour(at: Timestamp) -> i64 {
    at.as_millis() / HOUR
}

impl Store {
    /// Adds what was refused, in one transaction, whoever leads.
    pub async fn refusal_add(&self, refused: &[Refused]) -> Result<()> {
        let mut tx = self.begin_beside().await?;
        for one in refused {
            let Refused { subscription, status, count, last_at, last_reason, last_from } = one;
            let values = args![subscription, hour(*last_at), i64::from(*status), *count, *last_at, last_reason.as_str(), last_from.clone()];
            tx.execute(ADD, values).await?;
        }
        tx.commit("refusals.added").await
    }

    /// What was refused at a subscription's address, counted since a time (by whole hours); `None` when nothing is known of.
    pub async fn refusals_of(&self, subscription: SubscriptionId, since: Timestamp) -> Result<Option<Refusals>> {
        let Some(row) = self.fetch_optional(LAST, args![subscription]).await? else { return Ok(None) };
        let last = LastRefused {
            status: row.number("status")?,
            at: row.instant("last_at")?,
            reason: row.text("last_reason")?,
            from: row.optional_text("last_from")?,
        };
        let rows = self.fetch_all(COUNT, args![subscription, hour(since)]).await?;
        let counts = rows.iter().map(|row| Ok((row.number("status")?, row.number("refused")?))).collect::<Result<_>>()?;
        Ok(Some(Refusals { counts, last }))
    }
}

impl Tx {
    /// Forgets what is older.
    pub async fn refusals_expire(&mut self, before: Timestamp) -> Result<u64> {
        self.execute(EXPIRE, args![hour(before)]).await
    }
}
