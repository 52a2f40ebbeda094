//! Makes what runs equal to what is wanted: applies, watches, switches the route, drains and retires. Level-triggered: every look
//! starts from the store and asks the runtime. What is remembered between two looks is when a drain began, and of what is live what its
//! route was made of: while nothing of that changes, a look costs two statements, however much is deployed.

mod step;
mod trigger;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hookwright_core::port::Topic;
use hookwright_core::status::DeploymentStatus;
use hookwright_core::{Deployment, DeploymentId, EnvironmentName, Timestamp, WebhookName};
use hookwright_store::BindingStamp;
use tracing::warn;

use crate::{Deps, Result, Tasks};

/// How long the start waits for handlers that ran on to be found well again.
const ADOPTION: Duration = Duration::from_secs(2);

/// So many deployments are adopted at the same time.
const AT_ONCE: usize = 16;

/// How often it looks.
const ADOPTION_LOOK: Duration = Duration::from_millis(10);

/// How often every route is made anew although nothing of it seems to have changed.
const ALL_ANEW: Duration = Duration::from_secs(300);

/// Adopts what ran on and fills the route table; called before the daemon is ready, so that an upgrade answers nothing with 503.
/// Returns what the loop goes on with.
pub(crate) async fn fill_routes(deps: &Deps) -> Result<State> {
    let mut state = State::default();
    state.look_at_bindings(deps).await?;
    let live: Vec<_> =
        deps.store.deployment_list_active().await?.into_iter().filter(|deployment| deployment.status == DeploymentStatus::Live).collect();
    let adopted: Vec<Option<Deployment>> =
        stream::iter(live.clone()).map(|deployment| adopt(deps, deployment)).buffer_unordered(AT_ONCE).collect().await;
    let mut waited_for: Vec<Deployment> = adopted.into_iter().flatten().collect();
    let adopted = waited_for.iter().map(|deployment| deployment.id).collect();
    let begun = deps.clock.monotonic();
    while !waited_for.is_empty() && deps.clock.monotonic().saturating_sub(begun) < ADOPTION {
        let mut missing = Vec::new();
        for deployment in waited_for {
            if !step::is_well(deps, &deployment).await? {
                missing.push(deployment);
            }
        }
        waited_for = missing;
        if !waited_for.is_empty() {
            tokio::time::sleep(ADOPTION_LOOK).await;
        }
    }
    for deployment in &live {
        step::keep_routed(deps, &mut state, deployment).await?;
    }
    state.applied = adopted;
    Ok(state)
}

async fn adopt(deps: &Deps, deployment: Deployment) -> Option<Deployment> {
    match step::adopt(deps, &deployment).await {
        Ok(()) => Some(deployment),
        // The loop tries again and says why.
        Err(error) => {
            warn!(deployment.id = %deployment.id, error = &error as &dyn std::error::Error, "a deployment could not be adopted");
            None
        }
    }
}

/// Tells the gateway what receives events for everything that is live, and adopts nothing: for a daemon that follows. What is in `known`
/// and live no more loses its route.
pub(crate) async fn learn_routes(deps: &Deps, known: &mut HashSet<(WebhookName, EnvironmentName)>) -> Result<()> {
    let mut live = HashSet::new();
    for deployment in deps.store.deployment_list_active().await? {
        if deployment.status == DeploymentStatus::Live {
            // Nothing is remembered: what receives events may have changed without a change of instances.
            step::keep_routed(deps, &mut State::default(), &deployment).await?;
            live.insert((deployment.webhook, deployment.environment));
        }
    }
    for (webhook, environment) in known.difference(&live) {
        deps.routes.remove(webhook, environment);
    }
    *known = live;
    Ok(())
}

/// Reconciles until the engine shuts down.
pub(crate) async fn run(deps: Deps, tasks: Tasks, mut state: State) {
    while !tasks.stopping().is_cancelled() {
        if let Err(error) = pass(&deps, &mut state).await {
            warn!(error = &error as &dyn std::error::Error, "deployments could not be looked at; trying again");
        }
        tokio::select! {
            () = deps.wakes.wait(Topic::Reconcile, deps.settings.tick) => {}
            () = tasks.stopping().cancelled() => {}
        }
    }
}

/// What is remembered between two looks.
#[derive(Default)]
pub(crate) struct State {
    /// Applied since this process started: the others are applied once more, which adopts them.
    applied: HashSet<DeploymentId>,
    /// Since when the route has left a deployment, as far as this process knows.
    draining: HashMap<DeploymentId, Timestamp>,
    /// Ended, and without an instance: nothing is to be done about them any more.
    gone: HashSet<DeploymentId>,
    /// What the runtime showed of each live deployment when its route was made.
    routed: HashMap<DeploymentId, step::Shown>,
    /// What all these routes are bound with.
    bindings: BindingStamp,
    /// When all are made anew.
    anew_at: Duration,
}

impl State {
    /// Has every route made anew when one of them may be bound with something else now.
    async fn look_at_bindings(&mut self, deps: &Deps) -> Result<()> {
        let (bindings, now) = (deps.store.binding_stamp(deps.clock.now()).await?, deps.clock.monotonic());
        if bindings != self.bindings || now >= self.anew_at {
            self.routed.clear();
            self.bindings = bindings;
            self.anew_at = now + ALL_ANEW;
        }
        Ok(())
    }
}

async fn pass(deps: &Deps, state: &mut State) -> Result<()> {
    // Before anything is read that routes are made of: what changes meanwhile is seen by the next look.
    state.look_at_bindings(deps).await?;
    let active = deps.store.deployment_list_active().await?;
    for deployment in &active {
        if let Err(error) = step::step(deps, state, deployment).await {
            warn!(deployment.id = %deployment.id, error = &error as &dyn std::error::Error, "a deployment could not be reconciled; trying again");
        }
    }
    let wanted: HashSet<DeploymentId> = active.iter().map(|deployment| deployment.id).collect();
    state.routed.retain(|id, _| wanted.contains(id));
    let listed = deps.runtime.list().await?;
    state.gone.retain(|id| listed.contains(id));
    for id in listed {
        if wanted.contains(&id) || state.gone.contains(&id) {
            continue;
        }
        // Read again: it may have been created after the look at the store.
        let status = deps.store.deployment_fetch(id).await?.map(|deployment| deployment.status);
        if status.is_none_or(DeploymentStatus::is_end) && deps.runtime.retire(&id, deps.settings.stop_grace).await? {
            state.gone.insert(id);
        }
    }
    Ok(())
}
