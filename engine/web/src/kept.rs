//! What the board is made of. Reading all of it takes tens of milliseconds where there are hundreds of webhooks, so it is kept in memory for as long
//! as nothing in the store changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hookwright_core::status::DeploymentStatus;
use hookwright_core::{Deployment, EnvironmentName, Hold, Promotion, ReleaseId, WebhookName};
use hookwright_store::{FailedDeployment, NewestRun, PromotionFilter, ReleaseInfo, Store, WebhookRecord};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::error::Result;

/// So many webhooks and open promotions are read at a time; all are.
const PORTION: u32 = 2_000;

/// What the board needs of a spec: reading all of every webhook's is most of what a large board would cost.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Outline {
    pub(crate) title: Option<String>,
    pub(crate) owners: Vec<String>,
    pub(crate) environments: Vec<Place>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Place {
    pub(crate) name: EnvironmentName,
}

/// By webhook and environment.
pub(crate) type ByPlace<T> = HashMap<(WebhookName, EnvironmentName), T>;

/// Everything, whoever may see it.
#[derive(Default)]
pub(crate) struct Known {
    /// Every webhook, by name.
    pub(crate) records: Vec<WebhookRecord>,
    pub(crate) specs: BTreeMap<WebhookName, Outline>,
    pub(crate) runs: BTreeMap<WebhookName, NewestRun>,
    pub(crate) releases: BTreeMap<ReleaseId, ReleaseInfo>,
    pub(crate) deployments: ByPlace<Vec<Deployment>>,
    /// Where something is live that the spec does not declare any more.
    pub(crate) undeclared: HashMap<WebhookName, Vec<EnvironmentName>>,
    pub(crate) promotions: ByPlace<Vec<Promotion>>,
    pub(crate) holds: ByPlace<Hold>,
    pub(crate) failures: ByPlace<FailedDeployment>,
}

/// What is kept, and how often anything had changed before it was read.
#[derive(Default)]
pub(crate) struct KeptBoard(Mutex<Option<(u64, Arc<Known>)>>);

impl KeptBoard {
    /// As the store has it now. Whoever asks while it is read waits for that.
    pub(crate) async fn read(&self, store: &Store) -> Result<Arc<Known>> {
        let mut kept = self.0.lock().await;
        let changes = store.changes();
        if let Some((before, known)) = &*kept
            && changes == Some(*before)
        {
            return Ok(known.clone());
        }
        let known = Arc::new(Known::read(store).await?);
        *kept = changes.map(|changes| (changes, known.clone()));
        Ok(known)
    }
}

impl Known {
    async fn read(store: &Store) -> Result<Self> {
        let outline = |text: &str| serde_json::from_str(text).unwrap_or_default();
        let mut known = Self {
            records: records(store).await?,
            specs: store.board_specs().await?.into_iter().map(|(name, text)| (name, outline(&text))).collect(),
            runs: store.board_runs().await?,
            releases: store.board_releases().await?,
            failures: failures(store.board_failures(None).await?),
            ..Self::default()
        };
        for deployment in store.deployment_list_active().await? {
            let (webhook, environment) = (&deployment.webhook, &deployment.environment);
            let declares = |outline: &Outline| outline.environments.iter().any(|place| place.name == *environment);
            if deployment.status == DeploymentStatus::Live && !known.specs.get(webhook).is_some_and(declares) {
                known.undeclared.entry(webhook.clone()).or_default().push(environment.clone());
            }
            known.deployments.entry((deployment.webhook.clone(), deployment.environment.clone())).or_default().push(deployment);
        }
        let mut open = PromotionFilter { open: true, limit: PORTION, ..PromotionFilter::default() };
        loop {
            let portion = store.promotion_list(&open).await?;
            let is_last = portion.len() < PORTION as usize;
            open.before = portion.last().map(|last| last.id);
            for promotion in portion {
                known.promotions.entry((promotion.webhook.clone(), promotion.environment.clone())).or_default().push(promotion);
            }
            if is_last {
                break;
            }
        }
        for hold in store.hold_list().await? {
            known.holds.insert((hold.webhook.clone(), hold.environment.clone()), hold);
        }
        Ok(known)
    }
}

async fn records(store: &Store) -> Result<Vec<WebhookRecord>> {
    let mut records: Vec<WebhookRecord> = Vec::new();
    loop {
        let portion = store.webhook_list(records.last().map(|last| &last.name), PORTION).await?;
        let is_last = portion.len() < PORTION as usize;
        records.extend(portion);
        if is_last {
            return Ok(records);
        }
    }
}

/// By their places.
pub(crate) fn failures(list: Vec<FailedDeployment>) -> ByPlace<FailedDeployment> {
    list.into_iter().map(|failed| ((failed.webhook.clone(), failed.environment.clone()), failed)).collect()
}
