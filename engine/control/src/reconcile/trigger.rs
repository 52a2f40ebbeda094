//! What triggers a deployment: each trigger of its spec bound to a subscription, whose address stays the same over all deployments.

use hookwright_core::port::{Notifier, Topic};
use hookwright_core::status::SubscriptionStatus;
use hookwright_core::{BoundTrigger, DeliveryPolicy, Deployment, Schedule, SecretValue, Subscription, TriggerName, TriggerPlace};
use hookwright_spec::{Spec, Trigger, Verify};

use crate::{Deps, Result, left_hook};

/// The event source that needs nobody to be told of it.
const CLOCK: &str = "schedule";

/// The triggers of a deployment, with their secrets. Subscriptions that are missing are made.
pub(super) async fn bound(deps: &Deps, deployment: &Deployment, spec: &Spec) -> Result<Vec<BoundTrigger>> {
    let subscriptions = subscriptions(deps, deployment, spec).await?;
    let mut bound = Vec::new();
    for subscription in subscriptions {
        if let Some(trigger) = spec.triggers.get(&subscription.place.trigger) {
            let secrets = secrets(deps, deployment, (trigger, &subscription)).await?;
            let definition = spec.sources.get(&trigger.source).map(ToString::to_string);
            let trigger = BoundTrigger {
                definition,
                ..bind(trigger, &subscription, (fires(deployment, spec, &subscription.place.trigger), secrets))
            };
            bound.push(trigger);
        }
    }
    Ok(bound)
}

/// One subscription for each trigger of the spec, in the status that says whether it fires here. One whose trigger is gone is switched off.
async fn subscriptions(deps: &Deps, deployment: &Deployment, spec: &Spec) -> Result<Vec<Subscription>> {
    let known = deps.store.subscription_list(&deployment.webhook, Some(&deployment.environment)).await?;
    let fits = |name: &TriggerName, trigger: &Trigger| {
        let is_it = |known: &&Subscription| known.place.trigger == *name && known.source == trigger.source;
        known.iter().find(is_it).is_some_and(|known| (known.status != SubscriptionStatus::Off) == fires(deployment, spec, name))
    };
    let is_gone = |known: &Subscription| known.status != SubscriptionStatus::Off && !spec.triggers.contains_key(&known.place.trigger);
    let is_settled = spec.triggers.iter().all(|(name, trigger)| fits(name, trigger)) && !known.iter().any(is_gone);
    if is_settled || deps.leadership.standing().follows() {
        return Ok(known);
    }
    let mut tx = deps.store.begin().await?;
    let mut ensured = Vec::new();
    for (name, trigger) in &spec.triggers {
        let place =
            TriggerPlace { webhook: deployment.webhook.clone(), environment: deployment.environment.clone(), trigger: name.clone() };
        let wanted = match (fires(deployment, spec, name), trigger.source.as_str()) {
            (false, _) => SubscriptionStatus::Off,
            (true, CLOCK) => SubscriptionStatus::Active,
            (true, _) => SubscriptionStatus::Manual,
        };
        let mut found = tx.subscription_ensure(&place, &trigger.source, wanted).await?;
        let before = known.iter().find(|known| known.place.trigger == *name && known.id != found.id);
        if let Some(left) = before.map(left_hook::left_by).filter(|left| !left.is_empty()) {
            // The source that it had is to forget the address.
            found.applied = left_hook::written(None, left);
            tx.subscription_update(&found).await?;
        }
        ensured.push(if (found.status == SubscriptionStatus::Off) == (wanted == SubscriptionStatus::Off) {
            found
        } else {
            let moved = Subscription { status: found.status.to(wanted)?, ..found };
            tx.subscription_update(&moved).await?;
            moved
        });
    }
    for gone in known.into_iter().filter(is_gone) {
        tx.subscription_update(&Subscription { status: gone.status.to(SubscriptionStatus::Off)?, ..gone }).await?;
    }
    tx.commit("subscription.created").await?;
    deps.wakes.wake(Topic::Subscriptions);
    Ok(ensured)
}

fn fires(deployment: &Deployment, spec: &Spec, trigger: &TriggerName) -> bool {
    spec.environment(&deployment.environment).is_some_and(|environment| environment.triggers.contains(trigger))
}

/// What signatures are checked with: what the provider handed out, then the setting that the trigger names.
async fn secrets(deps: &Deps, deployment: &Deployment, (trigger, subscription): (&Trigger, &Subscription)) -> Result<Vec<SecretValue>> {
    let at = (&deployment.webhook, &deployment.environment);
    let mut secrets: Vec<SecretValue> = deps.store.subscription_secret(subscription.id).await?.into_iter().collect();
    if let Some(name) = &trigger.secret {
        secrets.extend(deps.store.secret_signing_values(at, name, deps.clock.now()).await?);
    }
    Ok(secrets)
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
        definition: None,
        options: serde_json::Value::Object(trigger.options.clone()).to_string(),
        events: trigger.events.clone(),
        filter: trigger.filter.clone(),
        redact: trigger.redact.clone(),
        schedule: cron.map(|cron| Schedule {
            cron,
            timezone: trigger.timezone.clone(),
            catch_up: trigger.catch_up,
            jitter: trigger.jitter,
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
