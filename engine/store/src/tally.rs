//! How many of what there are in which state, for `/metrics`. Each count reads an index of what is open, never the whole history.

use hookwright_core::Timestamp;
use hookwright_core::status::{DeliveryStatus, DeploymentStatus, PromotionStatus, RunStatus, StageStatus};

use crate::{Result, Store};

/// What there is right now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that have not ended.
    pub runs: Vec<(RunStatus, u64)>,
    /// Stage runs of those runs that have not ended.
    pub stages: Vec<(StageStatus, u64)>,
    /// Promotions that have not ended.
    pub promotions: Vec<(PromotionStatus, u64)>,
    /// Deliveries that have not ended.
    pub deliveries: Vec<(DeliveryStatus, u64)>,
    /// When the delivery was due that is due first; it may be in the future.
    pub oldest_due: Option<Timestamp>,
    /// Deployments that have not ended.
    pub deployments: Vec<(DeploymentStatus, u64)>,
}

const RUNS: &str = "SELECT status, COUNT(*) AS many FROM runs WHERE ended_at IS NULL GROUP BY status";
const STAGES: &str = "SELECT status, COUNT(*) AS many FROM stage_runs
    WHERE ended_at IS NULL AND run IN (SELECT id FROM runs WHERE ended_at IS NULL) GROUP BY status";
const PROMOTIONS: &str = "SELECT status, COUNT(*) AS many FROM promotions WHERE status IN ('waiting', 'deploying') GROUP BY status";
const DELIVERIES: &str = "SELECT status, COUNT(*) AS many FROM deliveries WHERE status IN ('queued', 'waiting') GROUP BY status";
const OLDEST_DUE: &str = "SELECT MIN(due_at) AS due_at FROM deliveries WHERE status IN ('queued', 'waiting')";
pub(crate) const DEPLOYMENTS: &str = "SELECT status, COUNT(*) AS many FROM deployments
    WHERE status IN ('pending', 'starting', 'live', 'draining') GROUP BY status";

impl Store {
    /// Counts everything that is open.
    pub async fn tally(&self) -> Result<Tally> {
        Ok(Tally {
            runs: self.counts(RUNS).await?,
            stages: self.counts(STAGES).await?,
            promotions: self.counts(PROMOTIONS).await?,
            deliveries: self.counts(DELIVERIES).await?,
            oldest_due: match self.fetch_optional(OLDEST_DUE, Vec::new()).await? {
                Some(row) => row.optional_instant("due_at")?,
                None => None,
            },
            deployments: self.counts(DEPLOYMENTS).await?,
        })
    }

    async fn counts<T>(&self, statement: &'static str) -> Result<Vec<(T, u64)>>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let rows = self.fetch_all(statement, Vec::new()).await?;
        rows.iter().map(|row| Ok((row.parse("status")?, row.number("many")?))).collect()
    }
}
