//! One step of one deployment.

use hookwright_core::port::{Access, DeploymentSpec, Notifier, Observed, RouteTarget, Topic};
use hookwright_core::status::{DeploymentStatus, PromotionStatus};
use hookwright_core::{Blame, Deployment, InstanceState, Origin, Promotion};
use hookwright_spec::Spec;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::time::Duration;
use tracing::info;

use super::{State, trigger};
use crate::promotion::{end_in, hold, open_in, reconfigure_in, spec_of, wake_all};
use crate::{Deps, Error, Result};

/// The longest wait for a handler's answer to begin.
const RESPONSE: Duration = Duration::from_secs(60);

pub(super) async fn step(deps: &Deps, state: &mut State, deployment: &Deployment) -> Result<()> {
    if deployment.status == DeploymentStatus::Draining {
        return drain(deps, state, deployment).await;
    }
    if !state.applied.contains(&deployment.id) {
        let wanted = wanted(deps, deployment).await?;
        match deps.runtime.apply(&wanted).await {
            Ok(()) => {}
            Err(error) if error.blame == Blame::Failed && deployment.status != DeploymentStatus::Live => {
                return fail(deps, deployment, error.message).await;
            }
            Err(error) => {
                // Shown to whoever waits; the next look tries again.
                trouble(deps, deployment, Some(error.message.clone())).await?;
                return Err(error.into());
            }
        }
        state.applied.insert(deployment.id);
    } else if deps.runtime.observe(&deployment.id).await?.is_none() {
        // The runtime lost it: it is applied again at the next look.
        state.applied.remove(&deployment.id);
        deps.wakes.wake(Topic::Reconcile);
        return Ok(());
    }
    match deployment.status {
        DeploymentStatus::Pending => {
            let mut tx = deps.store.begin().await?;
            let starting = Deployment { status: deployment.status.to(DeploymentStatus::Starting)?, ..deployment.clone() };
            deps.store.deployment_update_in(&mut tx, deployment.status, &starting).await?;
            tx.commit("deployment.starting").await?;
            deps.wakes.wake(Topic::Reconcile);
            Ok(())
        }
        DeploymentStatus::Starting => {
            let observed = deps.runtime.observe(&deployment.id).await?.unwrap_or_default();
            if let Some(reason) = observed.given_up {
                return fail(deps, deployment, reason).await;
            }
            if is_well(deps, deployment).await? { go_live(deps, state, deployment).await } else { Ok(()) }
        }
        _ => keep_routed(deps, state, deployment).await,
    }
}

/// Writes what is in the way of a deployment that is not live yet.
async fn trouble(deps: &Deps, deployment: &Deployment, reason: Option<String>) -> Result<()> {
    if deployment.status == DeploymentStatus::Live || deployment.status_reason == reason {
        return Ok(());
    }
    let troubled = Deployment { status_reason: reason, ..deployment.clone() };
    let mut tx = deps.store.begin().await?;
    deps.store.deployment_update_in(&mut tx, deployment.status, &troubled).await?;
    tx.commit("deployment.troubled").await.map_err(Into::into)
}

/// Takes over the instances of a live deployment from before the start.
pub(super) async fn adopt(deps: &Deps, deployment: &Deployment) -> Result<()> {
    Ok(deps.runtime.apply(&wanted(deps, deployment).await?).await?)
}

/// Whether as many instances are ready as are wanted.
pub(super) async fn is_well(deps: &Deps, deployment: &Deployment) -> Result<bool> {
    let observed = deps.runtime.observe(&deployment.id).await?.unwrap_or_default();
    let ready = observed.instances.iter().filter(|instance| instance.state == InstanceState::Ready).count();
    Ok(ready >= deployment.instances as usize || observed.given_up.is_some())
}

async fn spec(deps: &Deps, deployment: &Deployment) -> Result<(hookwright_core::Release, Spec)> {
    let missing = || Error::NotFound(format!("the release {} is gone", deployment.release));
    let release = deps.store.release_fetch(&deployment.release).await?.ok_or_else(missing)?;
    let spec = spec_of(&release)?;
    Ok((release, spec))
}

async fn wanted(deps: &Deps, deployment: &Deployment) -> Result<DeploymentSpec> {
    let (release, spec) = spec(deps, deployment).await?;
    let secrets = deps.store.secret_values(&deployment.webhook, &deployment.environment).await?;
    let declared = secrets.into_iter().filter(|(name, _)| spec.config.get(name).is_some_and(|entry| entry.secret));
    let own = [
        ("HOOKWRIGHT_WEBHOOK", deployment.webhook.to_string()),
        ("HOOKWRIGHT_ENVIRONMENT", deployment.environment.to_string()),
        ("HOOKWRIGHT_RELEASE", deployment.release.to_string()),
        ("HOOKWRIGHT_COMMIT", release.commit.to_string()),
    ];
    let signing = ("HOOKWRIGHT_SIGNING_KEY".to_owned(), deps.store.delivery_key(deployment.id));
    let config = deployment.config.iter().map(|(name, value)| (name.to_string(), value.clone()));
    Ok(DeploymentSpec {
        id: deployment.id,
        webhook: deployment.webhook.clone(),
        environment: deployment.environment.clone(),
        image: deployment.image,
        command: Some(spec.handler.command).filter(|command| !command.is_empty()),
        environment_variables: config.chain(own.map(|(name, value)| (name.to_owned(), value))).collect(),
        secrets: declared.map(|(name, value)| (name.to_string(), value)).chain([signing]).collect(),
        port: spec.handler.port,
        health: spec.handler.health,
        resources: spec.handler.resources,
        instances: deployment.instances,
    })
}

/// What of a runtime's observations a route is made of.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Shown {
    backends: Vec<SocketAddr>,
    reason: Option<String>,
}

impl Shown {
    fn of(observed: Observed) -> Self {
        let ready = observed.instances.iter().filter(|instance| instance.state == InstanceState::Ready);
        let backends = ready.filter_map(|instance| instance.address).collect();
        let reason = observed.given_up.or_else(|| observed.instances.iter().find_map(|instance| instance.reason.clone()));
        Self { backends, reason }
    }
}

/// Sends the route of a live deployment to where its ready instances are, unless it is known to be there.
pub(super) async fn keep_routed(deps: &Deps, state: &mut State, deployment: &Deployment) -> Result<()> {
    let shown = Shown::of(deps.runtime.observe(&deployment.id).await?.unwrap_or_default());
    if state.routed.get(&deployment.id) != Some(&shown) {
        state.routed.remove(&deployment.id);
        route(deps, deployment, shown.clone()).await?;
        state.routed.insert(deployment.id, shown);
    }
    Ok(())
}

/// Sends the route to the ready instances of a live deployment; without one it says why.
async fn route(deps: &Deps, deployment: &Deployment, shown: Shown) -> Result<()> {
    let (_, spec) = spec(deps, deployment).await?;
    let Shown { backends, reason } = shown;
    let target = RouteTarget {
        deployment: deployment.id,
        generation: deployment.generation,
        backends,
        unavailable_reason: Some(reason.unwrap_or_else(|| "no instance is ready; they are being started again".to_owned())),
        access: if spec.api.security.is_empty() { Access::Open } else { Access::DaemonToken },
        response_timeout: RESPONSE,
        triggers: trigger::bound(deps, deployment, &spec).await?,
        signing_key: deps.store.delivery_key(deployment.id),
    };
    deps.routes.set(&deployment.webhook, &deployment.environment, target);
    Ok(())
}

async fn promotion(deps: &Deps, deployment: &Deployment) -> Result<Promotion> {
    let missing = || Error::NotFound(format!("the promotion {} is gone", deployment.promotion));
    deps.store.promotion_fetch(deployment.promotion).await?.ok_or_else(missing)
}

async fn go_live(deps: &Deps, state: &mut State, deployment: &Deployment) -> Result<()> {
    let promotion = promotion(deps, deployment).await?;
    let (release, spec) = spec(deps, deployment).await?;
    let previous = deps.store.deployment_current(&deployment.webhook, &deployment.environment).await?;
    let mut live = Deployment { status: deployment.status.to(DeploymentStatus::Live)?, ..deployment.clone() };
    live.live_at = Some(deps.clock.now());
    live.status_reason = None;
    let word = hold::word_of(deps, &promotion).await?;
    let mut tx = deps.store.begin().await?;
    if !deps.store.deployment_update_in(&mut tx, deployment.status, &live).await? {
        return Ok(());
    }
    if let Some(previous) = previous {
        let draining = Deployment { status: previous.status.to(DeploymentStatus::Draining)?, ..previous.clone() };
        deps.store.deployment_update_in(&mut tx, previous.status, &draining).await?;
    }
    end_in(deps, &mut tx, &promotion, PromotionStatus::Succeeded, format!("{} answers", release.id)).await?;
    if !matches!(promotion.origin, Origin::Rollback { .. } | Origin::Reconfigure { .. }) {
        hold::lift_in(deps, &mut tx, &promotion, (word.as_deref(), deployment.created_at)).await?;
        for next in spec.environments_after(&deployment.environment) {
            if deps.store.promotion_open_in(&mut tx, &release.webhook, &next.name, &release.id).await?.is_none() {
                open_in(deps, &mut tx, &release, &next.name, Origin::Automation).await?;
            }
        }
    }
    // Its processes may have begun without what was set since. A time that has not come yet is a clock's that was put back, and would never be over.
    let (at, since) = ((&live.webhook, &live.environment), (deployment.created_at, deps.clock.now()));
    if deps.store.secret_was_set_in(&mut tx, at, since).await? {
        reconfigure_in(deps, &mut tx, &live, "the daemon").await?;
    }
    tx.commit("deployment.live").await?;
    keep_routed(deps, state, &live).await?;
    info!(deployment.id = %live.id, "{} of `{}` is live in `{}`", release.id, live.webhook, live.environment);
    wake_all(deps);
    Ok(())
}

async fn fail(deps: &Deps, deployment: &Deployment, reason: String) -> Result<()> {
    let promotion = promotion(deps, deployment).await?;
    let mut failed = Deployment { status: deployment.status.to(DeploymentStatus::Failed)?, ..deployment.clone() };
    failed.status_reason = Some(reason.clone());
    failed.ended_at = Some(deps.clock.now());
    let mut tx = deps.store.begin().await?;
    deps.store.deployment_update_in(&mut tx, deployment.status, &failed).await?;
    end_in(deps, &mut tx, &promotion, PromotionStatus::Failed, reason).await?;
    tx.commit("deployment.failed").await?;
    wake_all(deps);
    Ok(())
}

async fn drain(deps: &Deps, state: &mut State, deployment: &Deployment) -> Result<()> {
    let now = deps.clock.now();
    let since = match state.draining.entry(deployment.id) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(first) => {
            // Nothing took its place: it was undeployed, and the route goes before its instances do.
            if deps.store.deployment_current(&deployment.webhook, &deployment.environment).await?.is_none() {
                deps.routes.remove(&deployment.webhook, &deployment.environment);
            }
            *first.insert(now)
        }
    };
    if deps.routes.in_flight(&deployment.id) > 0 && now.since(since) < deps.settings.drain {
        return Ok(());
    }
    if !deps.runtime.retire(&deployment.id, deps.settings.stop_grace).await? {
        return Ok(());
    }
    let mut retired = Deployment { status: deployment.status.to(DeploymentStatus::Retired)?, ..deployment.clone() };
    retired.ended_at = Some(now);
    let mut tx = deps.store.begin().await?;
    deps.store.deployment_update_in(&mut tx, deployment.status, &retired).await?;
    tx.commit("deployment.retired").await?;
    state.draining.remove(&deployment.id);
    state.applied.remove(&deployment.id);
    Ok(())
}
