//! Filling a daemon's store while no daemon runs, by the store's own functions: copies of what real runs left there.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hookwright_core::{Clock, IdSource, RunId, StageRunId, Timestamp, WebhookName};
use hookwright_store::{NewRunRecord, RunFilter, RunRecord, SecretKey, StageRecord, Store, StoreOptions};
use uuid::Uuid;

/// How many runs are stored in one transaction.
const AT_ONCE: usize = 500;

/// A daemon's store, and what makes ids.
pub(crate) struct Stock {
    pub(crate) store: Store,
    pub(crate) ids: Arc<dyn IdSource>,
}

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct UuidV7;

impl IdSource for UuidV7 {
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

impl Stock {
    /// Opens the store of a daemon that does not run; SQLite in the data folder when no database is named.
    pub(crate) async fn open(data: &Path, database: Option<String>) -> Result<Self> {
        let ids: Arc<dyn IdSource> = Arc::new(UuidV7);
        let key = SecretKey::load_or_create(&data.join("key"))?;
        let url = database.unwrap_or_else(|| format!("sqlite://{}", data.join("hookwright.db").display()));
        let clock = Arc::new(SystemClock(Instant::now()));
        let store = Store::open(StoreOptions { url, clock, ids: ids.clone(), key, failpoint: None }).await?;
        Ok(Self { store, ids })
    }

    /// Stores copies of the runs that are there, stages and all, until there are `runs`; in turn of each of `webhooks`, or of their own.
    pub(crate) async fn fill_runs(&self, runs: usize, webhooks: &[WebhookName]) -> Result<()> {
        let mut models = Vec::new();
        for run in self.store.run_list(&RunFilter { limit: 500, ..RunFilter::default() }).await? {
            let record = self.store.run_load(run.id).await?.context("a listed run is gone")?;
            models.push((record, self.store.stage_run_list(run.id).await?));
        }
        let mut copies = models.iter().cycle().take(runs.saturating_sub(models.len())).enumerate().peekable();
        while copies.peek().is_some() {
            let mut tx = self.store.begin().await?;
            for (number, (model, stages)) in copies.by_ref().take(AT_ONCE) {
                let webhook = webhooks.get(number % webhooks.len().max(1));
                self.copy_in(&mut tx, (number, webhook), (model, stages)).await?;
            }
            tx.commit("bench.filled").await?;
        }
        Ok(())
    }

    async fn copy_in(
        &self,
        tx: &mut hookwright_store::Tx,
        (number, webhook): (usize, Option<&WebhookName>),
        (model, stages): (&RunRecord, &[StageRecord]),
    ) -> Result<()> {
        let mut record = model.clone();
        record.run.id = RunId::new(self.ids.as_ref());
        if let Some(webhook) = webhook {
            record.run.webhook = webhook.clone();
        }
        self.store.run_create_in(tx, &NewRunRecord { record: &record, occasion: &format!("copy:{number}") }).await?;
        for stage in stages {
            let mut stage = stage.clone();
            stage.stage_run.id = StageRunId::new(self.ids.as_ref());
            stage.stage_run.run = record.run.id;
            self.store.stage_run_insert_in(tx, &stage).await?;
        }
        Ok(())
    }
}
