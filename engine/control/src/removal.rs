//! Takes webhooks out of service: in one environment, or everywhere and for good, which gives the name free.
//! Invariant: what is decided here is one transaction. The loops do the rest: instances end, the route goes, sources are told to stop sending.
//! Rows are locked in the order of whoever else writes them: the webhook, its runs, its deployments, their promotions.

use hookwright_core::status::{DeploymentStatus, PromotionStatus, StageStatus};
use hookwright_core::{Action, Actor, Deployment, EnvironmentName, RepositoryName, WebhookName};
use hookwright_store::{NewAudit, RunStop, Tx};

use crate::promotion::{end_in, hold, wake_all};
use crate::{Control, Deps, Error, Result, rights};

/// What was taken out of service in an environment.
#[derive(Clone, Debug)]
pub struct Undeployed {
    /// What was live there or on its way to be.
    pub deployments: Vec<Deployment>,
    /// How many promotions were canceled.
    pub promotions: usize,
    /// Whether a hold was ended.
    pub was_held: bool,
}

/// What was done when a webhook was removed.
#[derive(Clone, Debug)]
pub struct RemovedWebhook {
    /// Where something of it was live or on its way to be.
    pub environments: Vec<EnvironmentName>,
    /// How many runs are being stopped.
    pub runs: u64,
    /// How many promotions were canceled.
    pub promotions: usize,
    /// How many secrets were deleted.
    pub secrets: u64,
    /// How many deliveries were stopped that had not ended.
    pub deliveries: u64,
    /// The repository whose next push brings it back, when it is known still.
    pub repository: Option<RepositoryName>,
    /// The path of its file there.
    pub file: String,
}

impl Control {
    /// Takes what a webhook has in an environment out of service: what is live drains and ends, what is on its way there is canceled, a hold
    /// is ended. The next release that arrives there is deployed as ever.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` when there is nothing to take out of service.
    pub async fn undeploy(
        &self,
        actor: &Actor,
        webhook: &WebhookName,
        environment: &EnvironmentName,
        reason: Option<&str>,
    ) -> Result<Undeployed> {
        rights::allow(actor, Action::Develop, "undeploy", Some(webhook), Some(environment))?;
        let deps = self.deps();
        let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let mut tx = deps.store.begin().await?;
        let (deployments, promotions) =
            end_service_in(deps, &mut tx, (webhook, Some(environment)), &format!("undeployed by {}{why}", actor.user)).await?;
        tx.subscription_switch_off(webhook, Some(environment)).await?;
        let held = deps.store.hold_fetch_in(&mut tx, webhook, environment).await?;
        if let Some(hold) = &held {
            deps.store.hold_clear_in(&mut tx, webhook, environment).await?;
            hold::audit_in(&mut tx, &actor.user, "hold.ended", hold, "by undeploying").await?;
        }
        if deployments.is_empty() && promotions == 0 && held.is_none() {
            return Err(Error::NotFound(format!(
                "nothing of `{webhook}` is deployed in `{environment}`, and nothing is on its way there; `hookwright status {webhook}` shows what is"
            )));
        }
        let releases: Vec<&str> = deployments.iter().map(|deployment| deployment.release.as_str()).collect();
        let detail = format!("{} {}", releases.join(" "), reason.unwrap_or_default());
        let (of, at) = (Some(webhook), Some(environment));
        let line = NewAudit { user: &actor.user, action: "webhook.undeployed", webhook: of, environment: at, detail: detail.trim() };
        tx.audit_append(line).await?;
        tx.commit("webhook.undeployed").await?;
        wake_all(deps);
        Ok(Undeployed { deployments, promotions, was_held: held.is_some() })
    }

    /// Removes a webhook: its runs stop, it is undeployed everywhere, its secrets, releases and approvals are deleted, and the name is free.
    /// Runs, events and the audit log stay as history.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn webhook_remove(&self, actor: &Actor, name: &WebhookName) -> Result<RemovedWebhook> {
        rights::allow(actor, Action::Administer, "remove the webhook", Some(name), None)?;
        let deps = self.deps();
        let missing = || Error::NotFound(format!("there is no webhook `{name}`; `hookwright status` lists those that there are"));
        let record = deps.store.webhook_fetch(name).await?.ok_or_else(missing)?;
        let repository = deps.store.repository_fetch(&record.repository).await?.map(|repository| repository.name);
        let file = deps.store.webhook_spec_fetch(name).await?.map_or_else(
            || if record.folder.is_empty() { "webhook.yaml".to_owned() } else { format!("{}/webhook.yaml", record.folder) },
            |spec| spec.file,
        );
        let reason = format!("its webhook was removed by {}", actor.user);
        let mut tx = deps.store.begin().await?;
        // First: whoever else holds the webhook, as a push or a deploy stage, is waited for, and what they wrote is seen from here on.
        if !tx.webhook_delete(name).await? {
            return Err(missing());
        }
        let runs = tx.run_stop_all(name, &RunStop { status: StageStatus::Canceled, reason: reason.clone() }).await?;
        let (deployments, promotions) = end_service_in(deps, &mut tx, (name, None), &reason).await?;
        let deliveries = tx.delivery_cancel_all(name, &reason).await?;
        tx.subscription_detach(name).await?;
        let secrets = tx.webhook_forget(name).await?;
        let mut environments: Vec<EnvironmentName> = deployments.into_iter().map(|deployment| deployment.environment).collect();
        environments.sort();
        environments.dedup();
        let places: Vec<&str> = environments.iter().map(EnvironmentName::as_str).collect();
        let detail = format!("runs stopped: {runs}, secrets deleted: {secrets}, undeployed: {}", places.join(" "));
        let line = NewAudit { user: &actor.user, action: "webhook.removed", webhook: Some(name), environment: None, detail: detail.trim() };
        tx.audit_append(line).await?;
        tx.commit("webhook.removed").await?;
        wake_all(deps);
        Ok(RemovedWebhook { environments, runs, promotions, secrets, deliveries, repository, file })
    }
}

/// Sends deployments on their way out and cancels promotions; what was live or was to be, and how many promotions.
async fn end_service_in(
    deps: &Deps,
    tx: &mut Tx,
    (webhook, environment): (&WebhookName, Option<&EnvironmentName>),
    reason: &str,
) -> Result<(Vec<Deployment>, usize)> {
    let mut ended = end_deployments_in(deps, tx, (webhook, environment), reason).await?;
    let mut canceled = 0;
    for promotion in tx.promotion_list_open(webhook, environment).await? {
        canceled += usize::from(end_in(deps, tx, &promotion, PromotionStatus::Canceled, reason.to_owned()).await?);
    }
    // A promotion may have become a deployment before it was canceled. None does from here on.
    ended.extend(end_deployments_in(deps, tx, (webhook, environment), reason).await?);
    Ok((ended, canceled))
}

async fn end_deployments_in(
    deps: &Deps,
    tx: &mut Tx,
    (webhook, environment): (&WebhookName, Option<&EnvironmentName>),
    reason: &str,
) -> Result<Vec<Deployment>> {
    let mut ended = Vec::new();
    for deployment in tx.deployment_list_in_service(webhook, environment).await? {
        let is_live = deployment.status == DeploymentStatus::Live;
        let next = if is_live { DeploymentStatus::Draining } else { DeploymentStatus::Retired };
        let mut after = Deployment { status: deployment.status.to(next)?, status_reason: Some(reason.to_owned()), ..deployment.clone() };
        // The instances of one that was never live end without draining.
        after.ended_at = (!is_live).then(|| deps.clock.now());
        if deps.store.deployment_update_in(tx, deployment.status, &after).await? {
            ended.push(deployment);
        }
    }
    Ok(ended)
}
