//! The engine's own hooks: makes the forges of watched repositories tell the gateway what happens in them. Wanted (the repositories and the settings)
//! against applied (our record) against observed (what the forge lists), as subscriptions of triggers are, and level-triggered.
//! Invariant: an event changes nothing by what it says; it makes the poll look at the repository's refs now.

mod announced;
mod step;
mod watch;

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hookwright_core::port::{ForgeRepository, Notifier, Topic};
use hookwright_core::status::SubscriptionStatus;
use hookwright_core::{BoundHook, Repository, RepositoryHook, RepositoryKind, SubscriptionId, Timestamp};
use tracing::warn;

use super::Looks;
use crate::subscription::Look;
use crate::{Deps, Error, Result, Tasks};

pub(super) use announced::Announced;
pub use watch::{HookState, RepositoryWatch, RepositoryWatches};

/// How often the loop looks when nothing changes.
const TICK: Duration = Duration::from_secs(30);

/// Forges that are asked at the same time, so that one that does not answer keeps few others waiting.
const AT_ONCE: usize = 4;

/// When a hook is looked at next, and what it had missed when it was looked at last.
#[derive(Default)]
struct HookLook {
    look: Look,
    missed_at: Option<Timestamp>,
}

/// The forge of a watched repository.
fn forge_of(deps: &Deps, repository: &Repository) -> Option<ForgeRepository> {
    match &repository.kind {
        RepositoryKind::Hosted => None,
        RepositoryKind::Remote { url } => deps.subscriber.forge_of(url),
    }
}

/// What has to be set before a forge can be told.
fn missing(deps: &Deps, forge: &ForgeRepository) -> Option<String> {
    let (title, variable) = (&forge.title, format!("HOOKWRIGHT_PROVIDERS_{}_TOKEN", forge.provider.to_uppercase()));
    match (forge.has_credentials, deps.settings.public_url.is_empty()) {
        (true, false) => None,
        (true, true) => Some(format!("set `public_url`, so that {title} can be told where to send; until then the refs are read")),
        (false, _) => {
            Some(format!("set {variable} to a token with {}, so that {title} tells of pushes; until then the refs are read", forge.rights))
        }
    }
}

/// Tells the gateway where forges send; before the daemon is ready, and whenever that changed.
pub(crate) async fn fill(deps: &Deps) -> Result<()> {
    let hooks = deps.store.repository_hook_list().await?;
    bind(deps, &hooks).await
}

async fn bind(deps: &Deps, hooks: &[RepositoryHook]) -> Result<()> {
    let mut bound = Vec::new();
    for hook in hooks {
        let secret = match deps.store.repository_hook_secret(hook.id).await {
            Ok(Some(secret)) => secret,
            Ok(None) => continue,
            Err(error) => {
                warn!(repository = %hook.name, error = &error as &dyn std::error::Error, "the hook of `{}` receives nothing", hook.name);
                continue;
            }
        };
        let place = hook.place().map_err(|error| Error::internal("name a repository's hook", error))?;
        let events = deps.subscriber.forge_events(&hook.provider);
        let address = (hook.status != SubscriptionStatus::Off).then(|| hook.address.clone());
        bound.push(BoundHook { id: hook.id, place, source: hook.source.clone(), address, secret, events });
    }
    deps.hooks.set_hooks(bound);
    Ok(())
}

/// Runs until the engine stops.
pub(crate) async fn run(deps: Deps, looks: Looks, tasks: Tasks) {
    let mut asked = HashMap::new();
    while !tasks.stopping().is_cancelled() {
        if let Err(error) = pass(&deps, &looks, &mut asked).await {
            warn!(error = &error as &dyn std::error::Error, "the hooks of repositories could not be looked at; trying again");
        }
        tokio::select! {
            () = deps.wakes.wait(Topic::RepositoryHooks, TICK.min(deps.settings.tick * 6)) => {}
            () = tasks.stopping().cancelled() => {}
        }
    }
}

async fn pass(deps: &Deps, looks: &Looks, asked: &mut HashMap<SubscriptionId, HookLook>) -> Result<()> {
    let repositories: HashMap<_, Repository> = deps.store.repository_list().await?.into_iter().map(|one| (one.id, one)).collect();
    let mut wanted = HashMap::new();
    for repository in repositories.values() {
        if let Some(forge) = forge_of(deps, repository).filter(|forge| missing(deps, forge).is_none()) {
            wanted.insert(repository.id, forge);
        }
    }
    let known = deps.store.repository_hook_list().await?;
    for (id, forge) in &wanted {
        let is_it = |hook: &RepositoryHook| hook.repository == *id && hook.provider == forge.provider;
        if let (false, Some(repository)) = (known.iter().any(is_it), repositories.get(id)) {
            let mut tx = deps.store.begin().await?;
            deps.store.repository_hook_ensure(&mut tx, repository, forge).await?;
            tx.commit("repository_hook.created").await?;
        }
    }
    let mut hooks = deps.store.repository_hook_list().await?;
    for hook in &mut hooks {
        let forge = wanted.get(&hook.repository).filter(|forge| forge.provider == hook.provider);
        let status = match (forge, hook.status) {
            (None, status) if status != SubscriptionStatus::Off => SubscriptionStatus::Off,
            (Some(_), SubscriptionStatus::Off) => SubscriptionStatus::Pending,
            _ => continue,
        };
        *hook = step::write(deps, hook, RepositoryHook { status, status_reason: None, ..hook.clone() }).await?;
        asked.remove(&hook.id);
        looks.hurry(hook.repository);
        deps.wakes.wake(Topic::Intake);
    }
    // Addresses receive before forges are told of them: the first event may be faster than the answer.
    bind(deps, &hooks).await?;
    asked.retain(|id, _| hooks.iter().any(|hook| hook.id == *id));
    let steps = hooks.into_iter().map(|hook| {
        let look = asked.remove(&hook.id).unwrap_or_default();
        let forge = wanted.get(&hook.repository);
        let is_forgotten = !repositories.contains_key(&hook.repository);
        async move {
            let (id, name, mut look) = (hook.id, hook.name.clone(), look);
            let stepped = match (hook.status, forge) {
                (SubscriptionStatus::Off, _) => step::take_away(deps, (hook, &mut look), is_forgotten).await,
                (_, Some(forge)) => step::step(deps, looks, (hook, &mut look), forge).await,
                (_, None) => Ok(()),
            };
            if let Err(error) = stepped {
                warn!(repository = %name, error = &error as &dyn std::error::Error, "the hook of `{name}` could not be looked at; trying again");
            }
            (id, look)
        }
    });
    let looked: Vec<_> = stream::iter(steps).buffer_unordered(AT_ONCE).collect().await;
    asked.extend(looked);
    Ok(())
}
