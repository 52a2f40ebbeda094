//! One look at all open promotions: overtaken ones end, the others hear their gates, and what passes becomes a deployment.

use hookwright_core::port::{Notifier, Topic};
use hookwright_core::status::{DeploymentStatus, PromotionStatus};
use hookwright_core::{Deployment, DeploymentId, Hold, Origin, Promotion, Release};
use hookwright_spec::Spec;
use hookwright_store::PromotionFilter;
use tracing::{info, warn};

use super::{OPEN_LIMIT, end_in, spec_of, wake_all};
use crate::{Deps, Error, Result, config, gate};

pub(super) async fn pass(deps: &Deps) -> Result<()> {
    let open = deps.store.promotion_list(&PromotionFilter { open: true, limit: OPEN_LIMIT, ..PromotionFilter::default() }).await?;
    let mut known = Vec::new();
    for promotion in open.into_iter().rev() {
        match deps.store.release_fetch(&promotion.release).await? {
            Some(release) => known.push((promotion, release)),
            None => give_up(deps, &promotion).await?,
        }
    }
    for at in 0..known.len() {
        let (promotion, release) = &known[at];
        if promotion.status != PromotionStatus::Waiting {
            continue;
        }
        let same_place = |other: &Promotion| other.webhook == promotion.webhook && other.environment == promotion.environment;
        let others = || known.iter().filter(|(other, _)| other.id != promotion.id && same_place(other));
        if let Some((_, newer)) = others().find(|(other, newer)| overtakes(other, newer, promotion, release)) {
            supersede(deps, promotion, newer).await?;
            continue;
        }
        let busy = others().any(|(other, _)| other.status == PromotionStatus::Deploying);
        if let Err(error) = judge(deps, promotion, release, busy).await {
            warn!(promotion.id = %promotion.id, error = &error as &dyn std::error::Error, "a promotion could not be judged; trying again");
        }
    }
    Ok(())
}

/// Ends a promotion whose release is not there, so that it does not stand in the way for ever.
async fn give_up(deps: &Deps, promotion: &Promotion) -> Result<()> {
    warn!(promotion.id = %promotion.id, "the release of a promotion is gone");
    let mut tx = deps.store.begin().await?;
    end_in(deps, &mut tx, promotion, PromotionStatus::Errored, format!("the release {} is gone", promotion.release)).await?;
    tx.commit("promotion.errored").await?;
    wake_all(deps);
    Ok(())
}

/// Only the newest goes on; what a person asked for yields only to what was asked later.
fn overtakes(other: &Promotion, newer: &Release, promotion: &Promotion, release: &Release) -> bool {
    let automatic = matches!(promotion.origin, Origin::Run { .. } | Origin::Automation);
    let is_newer = (newer.created_at, &newer.id) > (release.created_at, &release.id);
    other.status == PromotionStatus::Waiting && is_newer && (automatic || other.id > promotion.id)
}

async fn supersede(deps: &Deps, promotion: &Promotion, newer: &Release) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    end_in(
        deps,
        &mut tx,
        promotion,
        PromotionStatus::Superseded,
        format!("the newer release of commit `{}` took its place", newer.commit.short()),
    )
    .await?;
    tx.commit("promotion.superseded").await?;
    wake_all(deps);
    Ok(())
}

async fn judge(deps: &Deps, promotion: &Promotion, release: &Release, busy: bool) -> Result<()> {
    let (webhook, environment) = (&promotion.webhook, &promotion.environment);
    let spec = spec_of(release)?;
    let deployed = deps.store.deployment_current(webhook, environment).await?;
    let mut policies = Vec::new();
    if let Some(text) = deps.store.release_policy_spec(webhook).await? {
        let policy: Spec = serde_json::from_str(&text).map_err(|cause| Error::internal("read the default branch's spec", cause))?;
        policies.extend(policy.environment(environment).cloned());
    }
    if let Some(deployed) = &deployed
        && let Some(deployed) = deps.store.release_fetch(&deployed.release).await?
    {
        policies.extend(spec_of(&deployed)?.environment(environment).cloned());
    }
    if policies.is_empty() {
        policies.extend(spec.environment(environment).cloned());
    }
    let approvals = deps.store.approval_list(webhook, environment, &release.id).await?;
    let secrets = deps.store.secret_names(webhook, environment).await?.into_iter().collect();
    let hold = deps.store.hold_fetch(webhook, environment).await?;
    let registers = |source: &str| !deps.settings.public_url.is_empty() && deps.subscriber.hands_out_secrets(source);
    let by_hand = spec.triggers.values().map(|trigger| trigger.source.clone()).filter(|source| !registers(source)).collect();
    let revision = deps.store.revision_fetch(&release.revision).await?;
    let verdicts = gate::evaluate(&gate::Facts {
        promotion,
        spec: &spec,
        policies: &policies,
        secrets: &secrets,
        by_hand: &by_hand,
        approvals: &approvals,
        hold: hold.as_ref(),
        author: revision.as_ref().and_then(|revision| revision.actor.as_deref()),
        proven: proven(deps, promotion).await?,
        now: deps.clock.now(),
    });
    let mut judged = promotion.clone();
    judged.status_reason = match gate::obstacle(&verdicts) {
        Some(obstacle) => Some(format!("`{}`: {}", obstacle.gate, obstacle.verdict.reason)),
        None if busy => Some("another release is being deployed here; this one is next".to_owned()),
        None => None,
    };
    judged.verdicts = verdicts;
    if judged.status_reason.is_none() {
        return deploy(deps, judged, release, &spec, hold.as_ref()).await;
    }
    if judged != *promotion {
        let mut tx = deps.store.begin().await?;
        deps.store.promotion_judge_in(&mut tx, &judged).await?;
        tx.commit("promotion.judged").await?;
        deps.wakes.wake(Topic::Scheduler);
    }
    Ok(())
}

/// Whether the release succeeded in this environment before.
async fn proven(deps: &Deps, promotion: &Promotion) -> Result<bool> {
    let filter = PromotionFilter {
        webhook: Some(promotion.webhook.clone()),
        environment: Some(promotion.environment.clone()),
        limit: OPEN_LIMIT,
        ..PromotionFilter::default()
    };
    let all = deps.store.promotion_list(&filter).await?;
    Ok(all.iter().any(|past| past.release == promotion.release && past.status == PromotionStatus::Succeeded))
}

/// Writes the intent to deploy. A hold that was set or lifted since the gates were asked sends the promotion back to them.
async fn deploy(deps: &Deps, mut promotion: Promotion, release: &Release, spec: &Spec, hold: Option<&Hold>) -> Result<()> {
    let from = promotion.status;
    promotion.status = from.to(PromotionStatus::Deploying)?;
    let deployment = Deployment {
        id: DeploymentId::new(&*deps.ids),
        webhook: promotion.webhook.clone(),
        environment: promotion.environment.clone(),
        generation: 0,
        release: release.id.clone(),
        image: release.image,
        promotion: promotion.id,
        config: config::resolve(spec, &promotion.environment),
        instances: spec.environment(&promotion.environment).map_or(1, |environment| environment.scale.min.max(1)),
        status: DeploymentStatus::Pending,
        status_reason: None,
        created_at: deps.clock.now(),
        live_at: None,
        ended_at: None,
    };
    promotion.deployment = Some(deployment.id);
    let mut tx = deps.store.begin().await?;
    let held = deps.store.hold_fetch_in(&mut tx, &promotion.webhook, &promotion.environment).await?;
    if held.as_ref() != hold || !deps.store.promotion_update_in(&mut tx, from, &promotion).await? {
        deps.wakes.wake(Topic::Promotion);
        return Ok(());
    }
    deps.store.deployment_add_in(&mut tx, &deployment).await?;
    tx.commit("promotion.deploying").await?;
    info!(promotion.id = %promotion.id, "{} of `{}` goes to `{}`", release.id, promotion.webhook, promotion.environment);
    deps.wakes.wake(Topic::Reconcile);
    Ok(())
}
