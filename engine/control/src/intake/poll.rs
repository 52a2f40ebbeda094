//! Looks at repositories nobody announced a push for: watched remotes at their interval, hosted ones as a slow safety net.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hookwright_core::port::Topic;
use hookwright_core::{Digest, Repository, RepositoryId, RepositoryKind};
use tracing::warn;

use super::{Looks, look};
use crate::{Deps, Result, Tasks};

/// Repositories that are read at the same time.
const AT_ONCE: usize = 4;
/// How much rarer than its interval a quiet or failing repository is read at most.
const RAREST: u32 = 8;

struct Next {
    at: Duration,
    pause: Duration,
}

/// Runs the loop until the engine stops.
pub(crate) async fn run(deps: Deps, looks: Looks, tasks: Tasks) {
    let mut schedule: HashMap<RepositoryId, Next> = HashMap::new();
    let stopping = tasks.stopping().clone();
    while !stopping.is_cancelled() {
        if let Err(cause) = pass(&deps, &looks, &mut schedule).await {
            warn!(error = %cause, "repositories cannot be listed");
        }
        tokio::select! {
            () = stopping.cancelled() => {}
            () = deps.wakes.wait(Topic::Intake, deps.settings.tick) => {}
        }
    }
}

async fn pass(deps: &Deps, looks: &Looks, schedule: &mut HashMap<RepositoryId, Next>) -> Result<()> {
    let repositories = deps.store.repository_list().await?;
    schedule.retain(|id, _| repositories.iter().any(|repository| repository.id == *id));
    let now = deps.clock.monotonic();
    let due: Vec<Repository> =
        repositories.into_iter().filter(|repository| schedule.get(&repository.id).is_none_or(|next| next.at <= now)).collect();
    let looked: Vec<(Repository, Result<bool>)> = stream::iter(due)
        .map(|repository| {
            let (deps, looks) = (deps.clone(), looks.clone());
            async move {
                let looked = look(&deps, &looks, &repository, None).await;
                (repository, looked)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (repository, result) in looked {
        let interval = match repository.kind {
            RepositoryKind::Hosted => deps.settings.safety_interval,
            RepositoryKind::Remote { .. } => deps.settings.poll_interval,
        };
        let before = schedule.get(&repository.id).map_or(interval, |next| next.pause);
        let (pause, error) = match &result {
            Ok(true) => (interval, None),
            Ok(false) => (before.mul_f32(1.2).min(interval * RAREST), None),
            Err(cause) => ((before * 2).min(interval * RAREST), Some(cause.to_string())),
        };
        deps.meter.git_polled(result.is_ok());
        if let Some(error) = &error
            && repository.poll_error.as_ref() != Some(error)
        {
            warn!(repository = %repository.name, error, "the refs of `{}` cannot be read", repository.name);
        }
        if repository.poll_error != error {
            deps.store.repository_polled(&repository.id, error.as_deref()).await?;
        }
        schedule.insert(repository.id, Next { at: now + jittered(pause, repository.id, now), pause });
    }
    Ok(())
}

/// Up to a tenth more, so that many repositories are not all read in the same moment.
fn jittered(pause: Duration, id: RepositoryId, now: Duration) -> Duration {
    let hex = Digest::of(format!("{id} {}", now.as_millis())).hex();
    let part = u32::from_str_radix(&hex[..4], 16).unwrap_or_default();
    pause + pause.mul_f64(f64::from(part) / f64::from(u16::MAX) / 10.0)
}
