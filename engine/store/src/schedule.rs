//! Up to which time each schedule has fired.

use hookwright_core::{SubscriptionId, Timestamp};

use crate::sql::args;
use crate::{Result, Store};

impl Store {
    /// The time up to which a schedule has fired; `None` when it never was looked at.
    pub async fn schedule_fired_until(&self, subscription: SubscriptionId) -> Result<Option<Timestamp>> {
        const FETCH: &str = "SELECT fired_until FROM schedules WHERE subscription = $1";
        self.fetch_optional(FETCH, args![subscription]).await?.map(|row| row.instant("fired_until")).transpose()
    }

    /// Notes that a schedule has fired up to a time. Never goes back: a clock that does fires nothing twice.
    pub async fn schedule_fired(&self, subscription: SubscriptionId, until: Timestamp) -> Result<()> {
        const UPSERT: &str = "INSERT INTO schedules (subscription, fired_until) VALUES ($1, $2)
            ON CONFLICT (subscription) DO UPDATE SET fired_until = excluded.fired_until WHERE schedules.fired_until < excluded.fired_until";
        self.execute("schedule.fired", UPSERT, args![subscription, until]).await.map(drop)
    }
}
