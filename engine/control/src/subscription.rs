//! Makes event sources know what is deployed: wanted (the spec of what is live) against applied (our record) against observed (what the source lists).
//! Level-triggered; nothing but when to look next is remembered between two looks. Sources without credentials are left to people.

use std::collections::HashMap;
use std::time::Duration;

use hookwright_core::port::{Notifier as _, Registered, RegisteredHook, Topic, WantedSubscription};
use hookwright_core::status::{DeploymentStatus, SubscriptionStatus};
use hookwright_core::{Blame, PortError, SecretValue, Subscription, SubscriptionId, Timestamp};
use hookwright_spec::{Spec, Verify};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use crate::left_hook::LeftHook;
use crate::promotion::spec_of;
use crate::{Deps, Result, Tasks, changes, channel, left_hook};

/// How often the loop looks when nothing changes.
const TICK: Duration = Duration::from_secs(30);

/// How often a source is asked whether it still has what it was told: hooks are switched off or deleted there.
const DRIFT: Duration = Duration::from_secs(600);

/// The first pause after a source could not be asked; it doubles up to [`DRIFT`].
pub(crate) const PAUSE: Duration = Duration::from_secs(15);

/// What a source was told last.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) digest: String,
    pub(crate) repository: String,
    pub(crate) url: String,
    /// What sources have that the trigger had before. It is no part of what this one was told: see [`left_hook::read`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<LeftHook>,
}

impl Applied {
    pub(crate) fn of(wanted: &WantedSubscription) -> Self {
        Self { digest: digest(wanted), repository: wanted.repository.clone(), url: wanted.url.clone(), left: Vec::new() }
    }
}

/// What is remembered of a source that was told.
struct Told {
    id: String,
    applied: Applied,
    expires_at: Option<Timestamp>,
    secret: Option<SecretValue>,
}

/// When to look at a subscription again.
#[derive(Default)]
pub(crate) struct Look {
    /// By the monotonic clock.
    pub(crate) next: Duration,
    pub(crate) failures: u32,
    /// When to ask sources again that the trigger had before.
    pub(crate) left: Duration,
    /// When to ask for what it could not deliver.
    catch_up: Duration,
}

/// Runs until the engine stops.
pub(crate) async fn run(deps: Deps, tasks: Tasks) {
    let mut looks = HashMap::new();
    while !tasks.stopping().is_cancelled() {
        if let Err(error) = pass(&deps, &mut looks).await {
            warn!(error = &error as &dyn std::error::Error, "subscriptions could not be looked at; trying again");
        }
        tokio::select! {
            () = deps.wakes.wait(Topic::Subscriptions, TICK.min(deps.settings.tick * 6)) => {}
            () = tasks.stopping().cancelled() => {}
        }
    }
}

async fn pass(deps: &Deps, looks: &mut HashMap<SubscriptionId, Look>) -> Result<()> {
    let subscriptions = deps.store.subscription_list_all().await?;
    looks.retain(|id, _| subscriptions.iter().any(|subscription| subscription.id == *id));
    let tells = !deps.settings.public_url.is_empty();
    // Read after the subscriptions: one that is made meanwhile, for what has just gone live, is looked at the next time.
    let active = deps.store.deployment_list_active().await?.into_iter().filter(|deployment| deployment.status == DeploymentStatus::Live);
    let live: HashMap<_, _> = active.map(|live| ((live.webhook, live.environment), live.release)).collect();
    let mut specs: HashMap<_, Spec> = HashMap::new();
    for subscription in subscriptions {
        let look = looks.entry(subscription.id).or_default();
        let subscription = if tells { left_hook::remove(deps, subscription, look).await? } else { subscription };
        let place = (subscription.place.webhook.clone(), subscription.place.environment.clone());
        let registers = tells && deps.subscriber.registers(&subscription.source);
        let Some(release) = live.get(&place) else {
            wind_up(deps, (subscription, look), registers).await?;
            continue;
        };
        if registers && !specs.contains_key(&place) {
            let Some(release) = deps.store.release_fetch(release).await? else { continue };
            specs.insert(place.clone(), spec_of(&release)?);
        }
        if registers && let Some(spec) = specs.get(&place) {
            let id = subscription.id;
            let events = spec.triggers.get(&subscription.place.trigger).map(|trigger| trigger.events.clone()).unwrap_or_default();
            step(deps, (subscription, look), spec).await?;
            catch_up(deps, (id, look), &events).await?;
        }
    }
    Ok(())
}

/// Nothing is deployed where it would send to: it is switched off, its source is told, and of a removed webhook it is forgotten then.
async fn wind_up(deps: &Deps, (subscription, look): (Subscription, &mut Look), registers: bool) -> Result<()> {
    if subscription.status != SubscriptionStatus::Off {
        let off = Subscription { status: subscription.status.to(SubscriptionStatus::Off)?, status_reason: None, ..subscription };
        let mut tx = deps.store.begin().await?;
        tx.subscription_update(&off).await?;
        tx.commit("subscription.off").await?;
        deps.wakes.wake(Topic::Subscriptions);
        return Ok(());
    }
    let (applied, left) = left_hook::read(&subscription);
    let (id, is_over) = (subscription.id, hookwright_store::is_detached(&subscription) && left.is_empty());
    if registers {
        if look.failures > 0 && !is_due(deps, look) {
            return Ok(());
        }
        take_away(deps, (subscription, look), applied.as_ref()).await?;
        if look.failures > 0 {
            return Ok(());
        }
    }
    if is_over {
        let mut tx = deps.store.begin().await?;
        tx.subscription_forget(id).await?;
        tx.commit("subscription.forgotten").await?;
    }
    Ok(())
}

async fn step(deps: &Deps, (subscription, look): (Subscription, &mut Look), spec: &Spec) -> Result<()> {
    let (applied, _) = left_hook::read(&subscription);
    if subscription.status == SubscriptionStatus::Off {
        return if look.failures == 0 || is_due(deps, look) {
            take_away(deps, (subscription, look), applied.as_ref()).await
        } else {
            Ok(())
        };
    }
    let wanted = match wanted(deps, &subscription, spec).await? {
        Ok(wanted) => wanted,
        Err(reason) => return write(deps, &subscription, (SubscriptionStatus::Manual, Some(reason), None)).await,
    };
    if deps.subscriber.opens_channels(&subscription.source) {
        return keep_channel(deps, (&subscription, look), &wanted).await;
    }
    let now = Applied::of(&wanted);
    let changed = applied.as_ref() != Some(&now);
    if !(is_due(deps, look) || changed && look.failures == 0) {
        return Ok(());
    }
    match tell(deps, &wanted, (applied.as_ref(), changed)).await {
        Ok(registered) => {
            (look.failures, look.next) = (0, deps.clock.monotonic() + DRIFT);
            if registered.is_some() {
                look.catch_up = Duration::ZERO;
            }
            if changed {
                info!(subscription = %subscription.place, "`{}` knows where to send", wanted.source);
            }
            let secret = registered.as_ref().and_then(|registered| registered.secret.clone());
            let id = registered.map(|registered| registered.id).or_else(|| subscription.provider_id.clone());
            let applied = secret.as_ref().map_or(now, |secret| Applied::of(&WantedSubscription { secret: Some(secret.clone()), ..wanted }));
            let told = id.map(|id| Told { id, applied, expires_at: None, secret });
            write(deps, &subscription, (SubscriptionStatus::Active, None, told)).await
        }
        Err(error) => {
            postpone(deps, look, &error);
            write(deps, &subscription, (SubscriptionStatus::Failing, Some(error.message), None)).await
        }
    }
}

/// The same for a source that sends through channels.
async fn keep_channel(deps: &Deps, (subscription, look): (&Subscription, &mut Look), wanted: &WantedSubscription) -> Result<()> {
    let applied = Applied::of(wanted);
    let channels = deps.store.channel_list(subscription.id).await?;
    let is_open = channel::current(&channels, &applied.digest, deps.clock.now()).is_some();
    if !(is_due(deps, look) || !is_open && look.failures == 0) {
        return Ok(());
    }
    match channel::keep(deps, subscription, (wanted, &applied.digest)).await? {
        Ok(open) => {
            (look.failures, look.next) = (0, deps.clock.monotonic() + DRIFT);
            let told = Told { id: open.id, applied, expires_at: open.expires_at, secret: None };
            write(deps, subscription, (SubscriptionStatus::Active, None, Some(told))).await
        }
        Err(error) => {
            postpone(deps, look, &error);
            write(deps, subscription, (SubscriptionStatus::Failing, Some(error.message), None)).await
        }
    }
}

/// Has what it could not deliver sent again, once the source knows the address and somebody answers there.
async fn catch_up(deps: &Deps, (id, look): (SubscriptionId, &mut Look), events: &[String]) -> Result<()> {
    if deps.clock.monotonic() < look.catch_up || look.failures > 0 || deps.deliverer.kinds(id).is_empty() {
        return Ok(());
    }
    let Some(subscription) = deps.store.subscription_fetch(id).await? else { return Ok(()) };
    let (applied, _) = left_hook::read(&subscription);
    let (SubscriptionStatus::Active, Some(applied), Some(hook)) = (subscription.status, applied, &subscription.provider_id) else {
        return Ok(());
    };
    let hook = RegisteredHook { source: &subscription.source, repository: &applied.repository, id: hook, events };
    let again = if deps.subscriber.opens_channels(&subscription.source) {
        changes::look(deps, &subscription, hook).await?
    } else {
        crate::catch_up::look(deps, &subscription, hook).await?
    };
    look.catch_up = deps.clock.monotonic() + again.unwrap_or(DRIFT);
    Ok(())
}

/// Tells the source what is wanted, if it does not have it; returns what it says when it was told.
async fn tell(
    deps: &Deps,
    wanted: &WantedSubscription,
    (applied, changed): (Option<&Applied>, bool),
) -> std::result::Result<Option<Registered>, PortError> {
    if !changed && deps.subscriber.is_intact(wanted).await? {
        return Ok(None);
    }
    if let Some(before) = applied.filter(|before| before.repository != wanted.repository || before.url != wanted.url) {
        deps.subscriber.remove(&wanted.source, &before.repository, &before.url).await?;
    }
    deps.subscriber.ensure(wanted).await.map(Some)
}

async fn take_away(deps: &Deps, (subscription, look): (Subscription, &mut Look), applied: Option<&Applied>) -> Result<()> {
    let taken = match applied {
        _ if deps.subscriber.opens_channels(&subscription.source) => channel::close_all(deps, &subscription).await?,
        Some(applied) => deps.subscriber.remove(&subscription.source, &applied.repository, &applied.url).await,
        None => return Ok(()),
    };
    if let Err(error) = taken {
        postpone(deps, look, &error);
        warn!(subscription = %subscription.place, "a source could not be told to stop sending: {}", error.message);
        return Ok(());
    }
    look.failures = 0;
    let applied = left_hook::written(None, left_hook::read(&subscription).1);
    let after = Subscription { applied, provider_id: None, status_reason: None, expires_at: None, ..subscription.clone() };
    if after == subscription {
        return Ok(());
    }
    let mut tx = deps.store.begin().await?;
    tx.subscription_update(&after).await?;
    tx.commit("subscription.removed").await?;
    Ok(())
}

pub(crate) fn is_due(deps: &Deps, look: &Look) -> bool {
    deps.clock.monotonic() >= look.next
}

pub(crate) fn postpone(deps: &Deps, look: &mut Look, error: &PortError) {
    look.failures += 1;
    let pause = PAUSE.saturating_mul(2_u32.saturating_pow(look.failures.min(10) - 1)).min(DRIFT);
    // What a person has to mend is not mended by asking often.
    let pause = if error.blame == Blame::Failed { pause.max(Duration::from_secs(60)) } else { pause };
    look.next = deps.clock.monotonic() + error.after.map_or(pause, |wait| wait.max(pause));
}

/// What the source is to know, or why it cannot be told.
async fn wanted(deps: &Deps, subscription: &Subscription, spec: &Spec) -> Result<std::result::Result<WantedSubscription, String>> {
    let place = &subscription.place;
    let Some(trigger) = spec.triggers.get(&place.trigger) else { return Ok(Err("the trigger is gone".to_owned())) };
    if trigger.verify == Verify::None {
        return Ok(Err("it is not registered, because its events are not verified".to_owned()));
    }
    let source = &subscription.source;
    let whose = hookwright_spec::whose(source);
    let repository = match (whose, trigger.repository.clone()) {
        (None, _) => String::new(),
        (Some(_), Some(repository)) => repository,
        (Some(whose), None) => {
            let example = if whose == "repository" { "owner/name" } else { "its id" };
            return Ok(Err(format!("it cannot be registered: name the {whose}, `{whose}: {example}`")));
        }
    };
    let url = format!("{}/hooks/{}", deps.settings.public_url, subscription.address);
    let wanted = WantedSubscription { source: source.clone(), repository, url, events: trigger.events.clone(), secret: None };
    if deps.subscriber.opens_channels(source) {
        // Messages of channels are of few types and cannot be chosen from.
        return Ok(Ok(WantedSubscription { events: Vec::new(), ..wanted }));
    }
    let mut secrets = match &trigger.secret {
        Some(name) => deps.store.secret_signing_values((&place.webhook, &place.environment), name, deps.clock.now()).await?,
        None => Vec::new(),
    };
    if deps.subscriber.hands_out_secrets(source) {
        let handed_out = deps.store.subscription_secret(subscription.id).await?;
        return Ok(Ok(WantedSubscription { secret: handed_out.or(secrets.into_iter().next()), ..wanted }));
    }
    match (&trigger.secret, secrets.is_empty()) {
        (None, _) => Ok(Err("it cannot be registered without a secret: name one in the trigger".to_owned())),
        (Some(name), true) => Ok(Err(format!("it cannot be registered: `{name}` is not set"))),
        (Some(_), false) => Ok(Ok(WantedSubscription { secret: Some(secrets.swap_remove(0)), ..wanted })),
    }
}

fn digest(wanted: &WantedSubscription) -> String {
    let mut digest = Sha256::new();
    let secret = wanted.secret.as_ref().map_or("", |secret| secret.expose());
    for part in [&wanted.repository, &wanted.url, &wanted.events.join(" "), secret] {
        digest.update(part);
        digest.update([0]);
    }
    hex::encode(digest.finalize())
}

/// Writes how it stands, if that has changed.
async fn write(
    deps: &Deps,
    subscription: &Subscription,
    (status, reason, told): (SubscriptionStatus, Option<String>, Option<Told>),
) -> Result<()> {
    let mut after = Subscription { status_reason: reason, ..subscription.clone() };
    if status != subscription.status {
        after.status = subscription.status.to(status)?;
    }
    let mut handed_out = None;
    if let Some(Told { id, applied, expires_at, secret }) = told {
        after.provider_id = Some(id);
        after.applied = left_hook::written(Some(applied), left_hook::read(subscription).1);
        after.expires_at = expires_at;
        handed_out = secret;
    }
    if after == *subscription && handed_out.is_none() {
        return Ok(());
    }
    let mut tx = deps.store.begin().await?;
    tx.subscription_update(&after).await?;
    if let Some(secret) = &handed_out {
        deps.store.subscription_secret_set(&mut tx, subscription.id, secret).await?;
    }
    tx.commit("subscription.written").await?;
    if handed_out.is_some() {
        // Routes verify with it from now on.
        deps.wakes.wake(Topic::Reconcile);
    }
    Ok(())
}
