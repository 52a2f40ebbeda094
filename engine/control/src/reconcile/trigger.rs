//! What triggers a deployment: each trigger of its spec bound to a subscription, whose address stays the same over all deployments.

use hookwright_core::{BoundTrigger, Deployment, DeliveryPolicy, Schedule, SecretValue, Subscription, TriggerName, TriggerPlace};
use hookwright_spec::{Spec, Trigger, Verify};

use crate::{Deps, Result};

/// The triggers of a deployment, with their secrets. Subscriptions that are missing are made.
pub(super) async fn bound(deps: &Deps, deployment: &Deployment, spec: &Spec) -> Result<Vec<BoundTrigger>> {
    if spec.triggers.is_empty() {
        return Ok(Vec::new());
    }
    let subscriptions = subscriptions(deps, deployment, spec).await?;
    let fires = |name: &TriggerName| spec.environment(&deployment.environment).is_some_and(|environment| environment.triggers.contains(name));
    let mut bound = Vec::new();
    for subscription in subscriptions {
        if let Some(trigger) = spec.triggers.get(&subscription.place.trigger) {
            let secrets = secrets(deps, deployment, (trigger, &subscription)).await?;
            bound.push(bind(trigger, &subscription, (fires(&subscription.place.trigger), secrets)));
        }
    }
    Ok(bound)
}

/// One subscription for each trigger of the spec.
async fn subscriptions(deps: &Deps, deployment: &Deployment, spec: &Spec) -> Result<Vec<Subscription>> {
    let known = deps.store.subscription_list(&deployment.webhook, Some(&deployment.environment)).await?;
    let fits = |name: &TriggerName, trigger: &Trigger| {
        known.iter().any(|subscription| subscription.place.trigger == *name && subscription.source == trigger.source)
    };
    if spec.triggers.iter().all(|(name, trigger)| fits(name, trigger)) {
        return Ok(known);
    }
    let mut tx = deps.store.begin().await?;
    let mut ensured = Vec::new();
    for (name, trigger) in &spec.triggers {
        let place =
            TriggerPlace { webhook: deployment.webhook.clone(), environment: deployment.environment.clone(), trigger: name.clone() };
        ensured.push(tx.subscription_ensure(&place, &trigger.source).await?);
    }
    tx.commit("subscription.created").await?;
    Ok(ensured)
}

/// What signatures are checked with: the setting that the trigger names, or what the provider handed out.
async fn secrets(deps: &Deps, deployment: &Deployment, (trigger, subscription): (&Trigger, &Subscription)) -> Result<Vec<SecretValue>> {
    let at = (&deployment.webhook, &deployment.environment);
    match &trigger.secret {
        Some(name) => Ok(deps.store.secret_signing_values(at, name, deps.clock.now()).await?),
        None => Ok(deps.store.subscription_secret(subscription.id).await?.into_iter().collect()),
    }
}

fn bind(trigger: &Trigger, subscription: &Subscription, (fires, secrets): (bool, Vec<SecretValue>)) -> BoundTrigger {
    let deliver = &trigger.deliver;
    let cron = trigger.cron.clone().filter(|_| fires);
    BoundTrigger {
        subscription: subscription.id,
        name: subscription.place.trigger.clone(),
        source: trigger.source.clone(),
        address: fires.then(|| subscription.address.clone()),
        verified: trigger.verify == Verify::Source,
        secrets,
        options: "{}".to_owned(),
        events: trigger.events.clone(),
        filter: trigger.filter.clone(),
        schedule: cron.map(|cron| Schedule {
            cron,
            timezone: trigger.timezone.clone(),
            catch_up: hookwright_core::CatchUp::None,
            jitter: std::time::Duration::ZERO,
        }),
        deliver: DeliveryPolicy {
            path: deliver.path.clone(),
            sync: deliver.sync,
            timeout: deliver.timeout,
            attempts: deliver.retry.attempts,
            exponential: deliver.retry.exponential,
            concurrency: deliver.concurrency,
            order_by: deliver.order_by.clone(),
        },
    }
}
