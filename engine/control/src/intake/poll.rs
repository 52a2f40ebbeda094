//! Looks at repositories nobody announced a push for: watched remotes at their interval, hosted ones as a slow safety net.
//! One that was quiet for long is read ever more rarely, down to the quiet interval; one that fails is tried again soon and then
//! ever more rarely too. Invariant: a remote that does not answer keeps no other one waiting.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hookwright_core::port::Topic;
use hookwright_core::{Digest, Repository, RepositoryId, RepositoryKind};
use tokio::sync::Semaphore;
use tracing::warn;

use super::{Looks, look};
use crate::{Deps, Result, Tasks};

/// Repositories of this machine that are read at the same time.
const NEAR: usize = 4;
/// Repositories of other machines that are read at the same time: most of that time is waiting.
const FAR: usize = 16;
/// How much longer the pause is after each look that found nothing new.
const SLOWER: f64 = 1.1;

/// When a repository is read next.
#[derive(Clone, Copy, Debug)]
struct Next {
    at: Duration,
    pause: Duration,
    failed: bool,
}

/// Runs the loop until the engine stops.
pub(crate) async fn run(deps: Deps, looks: Looks, tasks: Tasks) {
    let mut schedule: HashMap<RepositoryId, Next> = HashMap::new();
    let mut under_way = HashSet::new();
    let mut reading = FuturesUnordered::new();
    let (near, far) = (Arc::new(Semaphore::new(NEAR)), Arc::new(Semaphore::new(FAR)));
    let stopping = tasks.stopping().clone();
    while !stopping.is_cancelled() {
        match due(&deps, &looks, &mut schedule, &under_way).await {
            Ok(repositories) => {
                for repository in repositories {
                    under_way.insert(repository.id);
                    let slots = if is_far(&repository) { &far } else { &near };
                    reading.push(read(deps.clone(), looks.clone(), repository, Arc::clone(slots)));
                }
            }
            Err(cause) => warn!(error = %cause, "repositories cannot be listed"),
        }
        let wake = deps.wakes.wait(Topic::Intake, deps.settings.tick);
        let mut wake = std::pin::pin!(wake);
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                () = &mut wake => break,
                Some((repository, looked)) = reading.next() => {
                    under_way.remove(&repository.id);
                    if let Err(cause) = settle(&deps, &mut schedule, &repository, &looked).await {
                        warn!(error = %cause, "a look at `{}` cannot be recorded", repository.name);
                    }
                }
            }
        }
    }
}

fn is_far(repository: &Repository) -> bool {
    matches!(&repository.kind, RepositoryKind::Remote { url } if !url.starts_with("file:"))
}

async fn read(deps: Deps, looks: Looks, repository: Repository, slots: Arc<Semaphore>) -> (Repository, Result<bool>) {
    // The slots are never closed; without one it is read all the same.
    let _slot = slots.acquire_owned().await;
    // A panic while one repository is read must not end the poll of all.
    let looked = std::panic::AssertUnwindSafe(look(&deps, &looks, &repository, None)).catch_unwind().await;
    let looked = looked.unwrap_or_else(|_| Err(crate::Error::internal("look at the refs", "the engine panicked")));
    (repository, looked)
}

/// The repositories whose time has come and that are not being read yet.
async fn due(
    deps: &Deps,
    looks: &Looks,
    schedule: &mut HashMap<RepositoryId, Next>,
    under_way: &HashSet<RepositoryId>,
) -> Result<Vec<Repository>> {
    let repositories = deps.store.repository_list().await?;
    let known: HashSet<RepositoryId> = repositories.iter().map(|repository| repository.id).collect();
    schedule.retain(|id, _| known.contains(id));
    let hurried = looks.take_hurried();
    for id in hurried.intersection(under_way) {
        // Its look began before: another one follows.
        looks.hurry(*id);
    }
    let now = deps.clock.monotonic();
    let is_due =
        |id: &RepositoryId| !under_way.contains(id) && (hurried.contains(id) || schedule.get(id).is_none_or(|next| next.at <= now));
    Ok(repositories.into_iter().filter(|repository| is_due(&repository.id)).collect())
}

/// Writes down how a look ended, and when the next one is.
async fn settle(deps: &Deps, schedule: &mut HashMap<RepositoryId, Next>, repository: &Repository, looked: &Result<bool>) -> Result<()> {
    let interval = match repository.kind {
        RepositoryKind::Hosted => deps.settings.safety_interval,
        RepositoryKind::Remote { .. } => deps.settings.poll_interval,
    };
    let pace = Pace { interval, quiet: deps.settings.quiet_interval.max(interval), soon: deps.settings.tick.min(interval) };
    let next = pace.next(schedule.get(&repository.id), looked.as_ref().ok().copied());
    let now = deps.clock.monotonic();
    schedule.insert(repository.id, Next { at: now + jittered(next.pause, repository.id, now), ..next });
    deps.meter.git_polled(looked.is_ok());
    let error = looked.as_ref().err().map(ToString::to_string);
    if let Some(error) = &error
        && repository.poll_error.as_ref() != Some(error)
    {
        warn!(repository = %repository.name, error, "the refs of `{}` cannot be read", repository.name);
    }
    if repository.poll_error != error {
        deps.store.repository_polled(&repository.id, error.as_deref()).await?;
    }
    Ok(())
}

/// How often one repository is read.
struct Pace {
    interval: Duration,
    quiet: Duration,
    /// After a first failure.
    soon: Duration,
}

impl Pace {
    /// The next pause, after a look that found something (`Some(true)`), nothing (`Some(false)`) or failed (`None`).
    fn next(&self, before: Option<&Next>, looked: Option<bool>) -> Next {
        let pause = match (looked, before) {
            (Some(true), _) | (Some(false), None) => self.interval,
            (Some(false), Some(before)) if before.failed => self.interval,
            (Some(false), Some(before)) => before.pause.mul_f64(SLOWER).clamp(self.interval, self.quiet),
            (None, Some(before)) if before.failed => (before.pause * 2).min(self.quiet),
            (None, _) => self.soon,
        };
        Next { at: Duration::ZERO, pause, failed: looked.is_none() }
    }
}

/// Up to a tenth more, so that many repositories are not all read in the same moment.
fn jittered(pause: Duration, id: RepositoryId, now: Duration) -> Duration {
    let hex = Digest::of(format!("{id} {}", now.as_millis())).hex();
    let part = u32::from_str_radix(&hex[..4], 16).unwrap_or_default();
    pause + pause.mul_f64(f64::from(part) / f64::from(u16::MAX) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { interval: Duration::from_secs(30), quiet: Duration::from_secs(240), soon: Duration::from_secs(5) };

    fn after(looks: &[Option<bool>]) -> Duration {
        let next = looks.iter().fold(None, |before: Option<Next>, looked| Some(PACE.next(before.as_ref(), *looked)));
        next.expect("at least one look").pause
    }

    #[test]
    fn a_remote_that_was_quiet_for_long_is_read_rarely_and_one_push_makes_it_quick_again() {
        assert_eq!(after(&[Some(false)]), PACE.interval);
        assert!(after(&[Some(false); 4]) < Duration::from_secs(45), "a short silence changes little");
        assert_eq!(after(&[Some(false); 60]), PACE.quiet);
        let mut looks = vec![Some(false); 60];
        looks.push(Some(true));
        assert_eq!(after(&looks), PACE.interval);
    }

    #[test]
    fn a_remote_that_fails_is_tried_again_soon_and_then_ever_more_rarely() {
        assert_eq!(after(&[Some(false), None]), PACE.soon);
        assert_eq!(after(&[Some(false), None, None, None]), PACE.soon * 4);
        assert_eq!(after(&[None; 20]), PACE.quiet);
        assert_eq!(after(&[None, None, Some(false)]), PACE.interval);
    }
}
