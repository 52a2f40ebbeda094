//! Looks at repositories nobody announced a push for: watched remotes at their interval, hosted ones as a slow safety net.
//! One that was quiet for long is read ever more rarely, down to the quiet interval; one that fails is tried again soon and then
//! ever more rarely too. Invariant: a remote that does not answer keeps no other one waiting.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hookwright_core::port::Topic;
use hookwright_core::{Digest, Repository, RepositoryId, RepositoryKind};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::warn;

use super::hook::Announced;
use super::{Looks, look};
use crate::{Deps, Result, Tasks};

/// Repositories of this machine that are read at the same time.
const NEAR: usize = 4;
/// Repositories of other machines that are read at the same time: most of that time is waiting.
const FAR: usize = 16;
/// Looks that follow an event whose word the refs did not bear out: one soon, one after the usual interval.
const ECHOES: u32 = 2;
/// How much longer the pause is after each look that found nothing new.
const SLOWER: f64 = 1.1;

/// When a repository is read next.
#[derive(Clone, Copy, Debug)]
struct Next {
    at: Duration,
    pause: Duration,
    failed: bool,
    /// Looks that follow sooner, because a forge's event may be faster than its refs.
    echoes: u32,
}

/// Runs the loop until the engine stops.
pub(crate) async fn run(deps: Deps, looks: Looks, tasks: Tasks) {
    let mut schedule: HashMap<RepositoryId, Next> = HashMap::new();
    let mut under_way = HashSet::new();
    // Each is a task: one that is given a connection of the database goes on also while this loop waits for one.
    let mut reading = JoinSet::new();
    let (near, far) = (Arc::new(Semaphore::new(NEAR)), Arc::new(Semaphore::new(FAR)));
    let stopping = tasks.stopping().clone();
    while !stopping.is_cancelled() {
        match due(&deps, &looks, &mut schedule, &under_way).await {
            Ok(repositories) => {
                for repository in repositories {
                    under_way.insert(repository.id);
                    let slots = if is_far(&repository) { &far } else { &near };
                    let is_echo = schedule.get(&repository.id).is_some_and(|next| next.echoes > 0);
                    reading.spawn(read(deps.clone(), looks.clone(), (repository, is_echo), Arc::clone(slots)));
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
                Some(looked) = reading.join_next() => {
                    let Ok(looked) = looked else { continue };
                    let repository = &looked.repository;
                    under_way.remove(&repository.id);
                    if let Err(cause) = settle(&deps, &mut schedule, &looked).await {
                        warn!(error = %cause, "a look at `{}` cannot be recorded", repository.name);
                    }
                    if looks.is_hurried(repository.id) {
                        break;
                    }
                }
            }
        }
    }
}

fn is_far(repository: &Repository) -> bool {
    matches!(&repository.kind, RepositoryKind::Remote { url } if !url.starts_with("file:"))
}

/// A look, and what it came to.
struct Looked {
    repository: Repository,
    found: Result<bool>,
    /// Whether an event of the repository's own hook had said that refs moved.
    is_announced: bool,
    /// Whether that hook is relied on.
    is_hooked: bool,
}

async fn read(deps: Deps, looks: Looks, (repository, is_echo): (Repository, bool), slots: Arc<Semaphore>) -> Looked {
    // The slots are never closed; without one it is read all the same.
    let _slot = slots.acquire_owned().await;
    let unread = |cause: &crate::Error| warn!(error = %cause, "what the hook of `{}` announced cannot be read", repository.name);
    let announced = Announced::read(&deps, &repository).await.inspect_err(unread).ok().flatten();
    // A panic while one repository is read must not end the poll of all.
    let found = std::panic::AssertUnwindSafe(look(&deps, &looks, &repository, None)).catch_unwind().await;
    let found = found.unwrap_or_else(|_| Err(crate::Error::internal("look at the refs", "the engine panicked")));
    let (is_announced, mut is_hooked) = (announced.as_ref().is_some_and(Announced::is_of_refs), false);
    if let Some(announced) = announced {
        match announced.settle(&deps, &found, is_echo).await {
            Ok(answered) => {
                is_hooked = answered.is_alive;
                if answered.is_more {
                    looks.hurry(repository.id);
                }
            }
            Err(cause) => unread(&cause),
        }
    }
    Looked { repository, found, is_announced, is_hooked }
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
    let announced: HashSet<RepositoryId> = deps.store.repository_hook_waiting().await?.into_iter().collect();
    let asked: HashSet<RepositoryId> = hurried.union(&announced).copied().collect();
    for id in asked.intersection(under_way) {
        // Its look began before: another one follows.
        looks.hurry(*id);
    }
    let now = deps.clock.monotonic();
    let is_due = |id: &RepositoryId| !under_way.contains(id) && (asked.contains(id) || schedule.get(id).is_none_or(|next| next.at <= now));
    Ok(repositories.into_iter().filter(|repository| is_due(&repository.id)).collect())
}

/// Writes down how a look ended, and when the next one is.
async fn settle(deps: &Deps, schedule: &mut HashMap<RepositoryId, Next>, looked: &Looked) -> Result<()> {
    let Looked { repository, found, is_announced, is_hooked } = looked;
    let interval = match repository.kind {
        RepositoryKind::Hosted => deps.settings.safety_interval,
        RepositoryKind::Remote { .. } => deps.settings.poll_interval,
    };
    let quiet = deps.settings.quiet_interval.max(interval);
    let hooked = is_hooked.then(|| deps.settings.hooked_interval.max(quiet));
    let pace = Pace { interval, quiet, hooked, soon: deps.settings.tick.min(interval) };
    let next = pace.next(schedule.get(&repository.id), found.as_ref().ok().copied(), *is_announced);
    let now = deps.clock.monotonic();
    schedule.insert(repository.id, Next { at: now + jittered(next.pause, repository.id, now), ..next });
    deps.meter.git_polled(found.is_ok());
    let error = found.as_ref().err().map(ToString::to_string);
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
    /// While its hook is relied on.
    hooked: Option<Duration>,
    /// After a first failure, and after an event whose word the refs do not bear out yet.
    soon: Duration,
}

impl Pace {
    /// The next pause, after a look that found something (`Some(true)`), nothing (`Some(false)`) or failed (`None`).
    fn next(&self, before: Option<&Next>, found: Option<bool>, is_announced: bool) -> Next {
        let echoes = match (found, before) {
            (Some(false), _) if is_announced => ECHOES,
            (Some(false), Some(before)) => before.echoes.saturating_sub(1),
            _ => 0,
        };
        let pause = match (found, before) {
            (Some(false), _) if echoes == ECHOES => self.soon,
            (Some(false), _) if echoes > 0 => self.interval,
            (Some(_), _) if self.hooked.is_some() => self.hooked.unwrap_or(self.interval),
            (Some(true), _) | (Some(false), None) => self.interval,
            (Some(false), Some(before)) if before.failed || before.echoes > 0 => self.interval,
            (Some(false), Some(before)) => before.pause.mul_f64(SLOWER).clamp(self.interval, self.quiet),
            (None, Some(before)) if before.failed => (before.pause * 2).min(self.quiet),
            (None, _) => self.soon,
        };
        Next { at: Duration::ZERO, pause, failed: found.is_none(), echoes }
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

    const PACE: Pace =
        Pace { interval: Duration::from_secs(30), quiet: Duration::from_secs(240), hooked: None, soon: Duration::from_secs(5) };

    fn after(looks: &[Option<bool>]) -> Duration {
        let next = looks.iter().fold(None, |before: Option<Next>, found| Some(PACE.next(before.as_ref(), *found, false)));
        next.expect("at least one look").pause
    }

    #[test]
    fn a_remote_whose_hook_is_relied_on_is_read_rarely_and_twice_more_when_its_refs_are_slower_than_its_word() {
        let hooked = Pace { hooked: Some(Duration::from_secs(900)), ..PACE };
        let mut next = hooked.next(None, Some(false), false);
        assert_eq!(next.pause, Duration::from_secs(900));
        let mut pauses = Vec::new();
        for is_announced in [true, false, false, false] {
            next = hooked.next(Some(&next), Some(false), is_announced);
            pauses.push(next.pause);
        }
        assert_eq!(pauses, [PACE.soon, PACE.interval, Duration::from_secs(900), Duration::from_secs(900)]);
        assert_eq!(hooked.next(Some(&next), Some(true), true).pause, Duration::from_secs(900), "its word was true at once");
        assert_eq!(hooked.next(Some(&next), None, false).pause, PACE.soon, "a failure is tried again soon");
        assert_eq!(PACE.next(Some(&next), Some(true), false).pause, PACE.interval, "a hook that failed is relied on no longer");
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
