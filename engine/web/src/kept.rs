//! What the board is made of. Reading all of it takes tens of milliseconds where there are hundreds of webhooks, so it is kept in memory for as long
//! as nothing in the store changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hookwright_core::status::{DeploymentStatus, SubscriptionStatus};
use hookwright_core::{Deployment, EnvironmentName, Hold, Promotion, ReleaseId, WebhookName};
use hookwright_store::{FailedDeployment, NewestRun, PromotionFilter, ReleaseInfo, Store, WebhookRecord};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::error::Result;
use crate::show::visible;

/// So many webhooks and open promotions are read at a time; all are.
const PORTION: u32 = 2_000;

/// What the board needs of a spec: reading all of every webhook's is most of what a large board would cost.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Outline {
    title: Option<String>,
    owners: Vec<String>,
    environments: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    name: EnvironmentName,
}

/// A webhook in an environment.
pub(crate) struct KnownPlace {
    pub(crate) environment: EnvironmentName,
    /// Whether `webhook.yaml` declares it; else something is live there all the same.
    pub(crate) declared: bool,
    /// Those that have not ended, the newest last.
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) promotions: Vec<Promotion>,
    pub(crate) hold: Option<Hold>,
    pub(crate) failure: Option<FailedDeployment>,
    /// How its triggers that fire here are.
    pub(crate) triggers: Vec<SubscriptionStatus>,
}

impl KnownPlace {
    pub(crate) const fn new(environment: EnvironmentName, declared: bool) -> Self {
        Self { environment, declared, deployments: Vec::new(), promotions: Vec::new(), hold: None, failure: None, triggers: Vec::new() }
    }
}

/// A webhook with its places in the order in which `webhook.yaml` has them, those that it does not declare any more behind.
pub(crate) struct KnownWebhook {
    pub(crate) name: WebhookName,
    pub(crate) title: Option<String>,
    pub(crate) owners: Vec<String>,
    pub(crate) run: Option<NewestRun>,
    pub(crate) places: Vec<KnownPlace>,
}

/// Everything, whoever may see it.
#[derive(Default)]
pub(crate) struct Known {
    /// Every webhook, by name.
    pub(crate) webhooks: Vec<KnownWebhook>,
    pub(crate) releases: BTreeMap<ReleaseId, ReleaseInfo>,
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

/// Where in [`Known::webhooks`] and in its places something belongs.
type Index = HashMap<WebhookName, usize>;

impl Known {
    pub(crate) fn has(&self, name: &WebhookName) -> bool {
        self.webhooks.binary_search_by(|known| known.name.cmp(name)).is_ok()
    }

    async fn read(store: &Store) -> Result<Self> {
        let mut outlines = store.board_specs().await?;
        let mut runs = store.board_runs().await?;
        let mut known = Self { webhooks: Vec::new(), releases: store.board_releases().await? };
        for WebhookRecord { name, .. } in records(store).await? {
            let outline = outlines.remove(&name).and_then(|text| serde_json::from_str(&text).ok());
            let Outline { title, owners, environments } = outline.unwrap_or_default();
            let places = environments.into_iter().map(|place| KnownPlace::new(place.name, true)).collect();
            let (title, owners) = (title.as_deref().map(visible), owners.iter().map(|owner| visible(owner)).collect());
            known.webhooks.push(KnownWebhook { run: runs.remove(&name), name, title, owners, places });
        }
        known.webhooks.sort_by(|one, other| one.name.cmp(&other.name));
        let index: Index = known.webhooks.iter().enumerate().map(|(at, known)| (known.name.clone(), at)).collect();
        for deployment in store.deployment_list_active().await? {
            let Some(webhook) = index.get(&deployment.webhook).and_then(|at| known.webhooks.get_mut(*at)) else { continue };
            let is_known = webhook.places.iter().any(|place| place.environment == deployment.environment);
            if deployment.status == DeploymentStatus::Live && !is_known {
                webhook.places.push(KnownPlace::new(deployment.environment.clone(), false));
            }
            // One on its way out is in no cell of its own.
            if let Some(place) = webhook.places.iter_mut().find(|place| place.environment == deployment.environment) {
                place.deployments.push(deployment);
            }
        }
        known.fill(store, &index).await?;
        Ok(known)
    }

    fn place(&mut self, index: &Index, webhook: &WebhookName, environment: &EnvironmentName) -> Option<&mut KnownPlace> {
        let webhook = self.webhooks.get_mut(*index.get(webhook)?)?;
        webhook.places.iter_mut().find(|place| place.environment == *environment)
    }

    /// Puts in its place what waits, holds, failed and fires there.
    async fn fill(&mut self, store: &Store, index: &Index) -> Result<()> {
        let mut open = PromotionFilter { open: true, limit: PORTION, ..PromotionFilter::default() };
        loop {
            let portion = store.promotion_list(&open).await?;
            let is_last = portion.len() < PORTION as usize;
            open.before = portion.last().map(|last| last.id);
            for promotion in portion {
                if let Some(place) = self.place(index, &promotion.webhook, &promotion.environment) {
                    place.promotions.push(promotion);
                }
            }
            if is_last {
                break;
            }
        }
        for hold in store.hold_list().await? {
            if let Some(place) = self.place(index, &hold.webhook, &hold.environment) {
                place.hold = Some(hold);
            }
        }
        for failed in store.board_failures(None).await? {
            if let Some(place) = self.place(index, &failed.webhook, &failed.environment) {
                place.failure = Some(failed);
            }
        }
        for subscription in store.subscription_list_all().await? {
            let (webhook, environment) = (&subscription.place.webhook, &subscription.place.environment);
            let place = self.place(index, webhook, environment).filter(|_| subscription.status != SubscriptionStatus::Off);
            if let Some(place) = place {
                place.triggers.push(subscription.status);
            }
        }
        Ok(())
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
