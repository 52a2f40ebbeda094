//! Intake: refs that moved become revisions, and revisions become runs of the webhooks they touch.
//! Invariant: tips, revisions and runs of one look are written in one transaction, so that the same push delivered twice is one run.

mod default_branch;
mod hook;
mod news;
mod poll;
mod repository;
mod survey;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use hookwright_core::port::{Location, Notifier, PushNews, Tip, Topic};
use hookwright_core::{
    Actor, CommitSha, RefName, Repository, RepositoryId, RepositoryKind, Revision, RevisionEvent, RevisionId, RunId, RunReason, WebhookName,
};
use hookwright_store::{NewAudit, Tx, WebhookSpec};
use tracing::info;

use crate::run::{NewRun, create_in, location};
use crate::{Deps, Error, PullRequests, Result};

pub use hook::{HookState, RepositoryWatch, RepositoryWatches};
pub(crate) use hook::{fill as fill_hooks, run as run_hooks};
pub(crate) use poll::run;
pub(crate) use survey::own_sources;
use survey::{Found, Survey, survey};

/// One look at a repository at a time; looks at different repositories go on side by side.
#[derive(Clone, Default)]
pub(crate) struct Looks {
    locks: Arc<Mutex<HashMap<RepositoryId, Arc<tokio::sync::Mutex<()>>>>>,
    /// Repositories that the poll looks at next, whatever their interval.
    hurried: Arc<Mutex<HashSet<RepositoryId>>>,
}

impl Looks {
    /// Has the poll look at a repository soon: a look that was asked for could not be taken.
    pub(crate) fn hurry(&self, repository: RepositoryId) {
        self.hurried.lock().unwrap_or_else(PoisonError::into_inner).insert(repository);
    }

    fn is_hurried(&self, repository: RepositoryId) -> bool {
        self.hurried.lock().unwrap_or_else(PoisonError::into_inner).contains(&repository)
    }

    fn take_hurried(&self) -> HashSet<RepositoryId> {
        std::mem::take(&mut *self.hurried.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(&self, repository: RepositoryId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(repository).or_default())
    }
}

/// Compares a repository's refs with those recorded, and creates the runs that follow. Returns whether anything had moved.
pub(crate) async fn look(deps: &Deps, looks: &Looks, repository: &Repository, actor: Option<&str>) -> Result<bool> {
    look_and_tell(deps, looks, repository, actor).await.map(|(moved, _)| moved)
}

/// The same, with what there is to say of what moved.
pub(crate) async fn look_and_tell(
    deps: &Deps,
    looks: &Looks,
    repository: &Repository,
    actor: Option<&str>,
) -> Result<(bool, Vec<PushNews>)> {
    let lock = looks.of(repository.id);
    let _one_at_a_time = lock.lock().await;
    if repository.kind == RepositoryKind::Hosted && repository.default_branch.is_none() && !deps.git_host.exists(&repository.name).await? {
        // It was announced, and nothing was pushed yet.
        return Ok((false, Vec::new()));
    }
    let current = default_branch::current(deps, repository).await?;
    let repository = current.as_ref().unwrap_or(repository);
    let place = location(deps, repository).await?;
    let now_there = deps.revisions.tips(&place).await?;
    let recorded = deps.store.ref_tips(&repository.id).await?;
    let present: HashSet<&RefName> = now_there.tips.iter().map(|tip| &tip.reference).collect();
    let gone: Vec<&RefName> = recorded.keys().filter(|reference| !present.contains(reference)).collect();
    let moved: Vec<&Tip> = now_there.tips.iter().filter(|tip| recorded.get(&tip.reference) != Some(&tip.commit)).collect();
    let default_branch = default_branch::of(repository, now_there.default_branch.as_deref(), &now_there.tips);
    let new_default = default_branch.as_deref().filter(|branch| repository.default_branch.as_deref() != Some(*branch));
    let pull_requests_known = place.pull_requests;
    default_branch::mend(deps, repository, &now_there).await?;
    if gone.is_empty() && moved.is_empty() && new_default.is_none() && repository.pull_requests_known == pull_requests_known {
        return Ok((false, Vec::new()));
    }
    if let (Some(branch), RepositoryKind::Hosted) = (new_default, &repository.kind) {
        deps.git_host.set_default_branch(&repository.name, branch).await?;
    }
    let own: HashSet<&CommitSha> = now_there.tips.iter().filter(|tip| tip.reference.branch().is_some()).map(|tip| &tip.commit).collect();
    let (mut surveys, mut passed_over) = (Vec::new(), Vec::new());
    let mut refused = None;
    for tip in moved.iter().copied() {
        let is_trusted = tip.reference.pull_request().is_none() || own.contains(&tip.commit);
        let is_built = tip.reference.pull_request().is_none()
            || repository.pull_requests_known && (is_trusted || deps.settings.pull_requests == PullRequests::All);
        if !is_built {
            passed_over.push(tip);
            continue;
        }
        match revise(deps, &place, tip, recorded.get(&tip.reference).cloned(), is_trusted, actor).await {
            Ok(revision) => surveys.push(survey(deps, &place, repository, revision, default_branch.as_deref(), None).await?),
            // One ref that cannot be taken keeps no other from being built. It stays unrecorded and is tried again.
            Err(Error::Invalid(why)) => refused = Some(Error::Invalid(format!("`{}`: {why}", tip.reference.short()))),
            Err(cause) => return Err(cause),
        }
    }
    if surveys.is_empty()
        && passed_over.is_empty()
        && gone.is_empty()
        && new_default.is_none()
        && let Some(refused) = refused
    {
        return Err(refused);
    }
    let mut tx = deps.store.begin().await?;
    if let Some(branch) = new_default {
        tx.repository_set_default_branch(&repository.id, branch).await?;
    }
    for reference in gone {
        tx.ref_tip_set(&repository.id, reference, None).await?;
    }
    for tip in passed_over {
        tx.ref_tip_set(&repository.id, &tip.reference, Some(&tip.commit)).await?;
    }
    if repository.pull_requests_known != pull_requests_known {
        tx.repository_set_pull_requests_known(&repository.id, pull_requests_known).await?;
    }
    let mut created = Vec::new();
    for survey in &surveys {
        let revision = &survey.revision;
        let sequence = tx.ref_tip_set(&repository.id, &revision.reference, Some(&revision.commit)).await?;
        tx.revision_create(revision, sequence).await?;
        let is_default = revision.reference.branch().is_some_and(|branch| default_branch.as_deref() == Some(branch));
        created.extend(record_in(deps, &mut tx, repository, survey, is_default, RunReason::Revision).await?);
        tx.revision_planned(&revision.id).await?;
    }
    tx.commit("revision.planned").await?;
    if !created.is_empty() {
        deps.wakes.wake(Topic::Scheduler);
    }
    for run in &created {
        deps.wakes.run_changed(*run);
    }
    info!(repository = %repository.name, moved = moved.len(), runs = created.len(), "the refs of `{}` moved", repository.name);
    let news = news::of(deps, &surveys, &created, default_branch.as_deref()).await?;
    refused.map_or(Ok((true, news)), Err)
}

/// Starts a run of one webhook at the commit that a ref points to.
pub(crate) async fn start(deps: &Deps, looks: &Looks, actor: &Actor, webhook: &WebhookName, reference: Option<&RefName>) -> Result<RunId> {
    let missing = || Error::NotFound(format!("there is no webhook `{webhook}`; push a repository with its `webhook.yaml`"));
    let known = deps.store.webhook_fetch(webhook).await?.ok_or_else(missing)?;
    let repository = deps.store.repository_fetch(&known.repository).await?.ok_or_else(missing)?;
    let reference = match (reference, &repository.default_branch) {
        (Some(reference), _) => reference.clone(),
        (None, Some(branch)) => RefName::new(format!("refs/heads/{branch}")).map_err(|cause| Error::Invalid(cause.to_string()))?,
        (None, None) => return Err(Error::Conflict(format!("nothing was pushed to `{}` yet", repository.name))),
    };
    look(deps, looks, &repository, Some(&actor.user)).await?;
    let no_ref = || Error::NotFound(format!("`{}` has no ref `{reference}`", repository.name));
    let tips = deps.store.ref_tips(&repository.id).await?;
    let commit = tips.get(&reference).ok_or_else(no_ref)?;
    let revision = deps.store.revision_latest(repository.id, &reference, commit).await?.ok_or_else(no_ref)?;
    let revision = deps.store.revision_fetch(&revision).await?.ok_or_else(no_ref)?;
    let place = location(deps, &repository).await?;
    let survey = survey(deps, &place, &repository, revision, repository.default_branch.as_deref(), Some(webhook)).await?;
    let mut tx = deps.store.begin().await?;
    let reason = RunReason::Manual { actor: actor.user.clone() };
    let created = record_in(deps, &mut tx, &repository, &survey, false, reason).await?;
    let Some(run) = created.first().copied() else {
        return Err(Error::NotFound(format!("there is no `webhook.yaml` of `{webhook}` at `{reference}`")));
    };
    audit_in(&mut tx, actor, "run.start", webhook, &run.to_string()).await?;
    tx.commit("run.created").await?;
    Ok(run)
}

/// Writes a line of the audit log about a run.
pub(crate) async fn audit_in(tx: &mut Tx, actor: &Actor, action: &str, webhook: &WebhookName, subject: &str) -> Result<()> {
    let line = NewAudit { user: &actor.user, action, webhook: Some(webhook), environment: None, detail: subject };
    tx.audit_append(line).await?;
    Ok(())
}

/// Stores what a survey found and creates its runs.
async fn record_in(
    deps: &Deps,
    tx: &mut Tx,
    repository: &Repository,
    survey: &Survey,
    is_default: bool,
    reason: RunReason,
) -> Result<Vec<RunId>> {
    let mut created = Vec::new();
    for found in &survey.found {
        let new = match found {
            Found::Webhook { file, spec, plan, .. } => {
                let folder = file.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
                // A stranger's pull request takes no name.
                let owner = match survey.revision.trusted {
                    true => Some(tx.webhook_claim(&spec.name, &repository.id, folder).await?),
                    false => deps.store.webhook_fetch(&spec.name).await?,
                };
                if owner.is_none_or(|owner| owner.repository == repository.id) {
                    if is_default {
                        let text = serde_json::to_string(spec).map_err(|cause| Error::internal("write the spec as JSON", cause))?;
                        let stored = WebhookSpec { revision: survey.revision.id, file: file.to_string(), spec: text };
                        deps.store.webhook_spec_set_in(tx, &spec.name, &stored).await?;
                    }
                    let Some(plan) = plan else { continue };
                    let planned = plan.as_ref().map(|plan| (spec.as_ref(), plan)).map_err(Clone::clone);
                    NewRun {
                        webhook: spec.name.clone(),
                        revision: &survey.revision,
                        reason: reason.clone(),
                        planned,
                        reuse: HashMap::new(),
                    }
                } else {
                    let problem = format!(
                        "{file}: the name `{name}` belongs to another repository; choose another `name:`, or have an admin give it free with `hookwright webhook remove {name}`",
                        name = spec.name
                    );
                    refused(repository, survey, &reason, problem)?
                }
            }
            Found::Unreadable { webhook, problem } => {
                let mut new = refused(repository, survey, &reason, problem.clone())?;
                if let Some(name) = webhook {
                    let owner = deps.store.webhook_fetch(name).await?;
                    if owner.is_none_or(|owner| owner.repository == repository.id) {
                        new.webhook = name.clone();
                    }
                }
                new
            }
        };
        created.extend(create_in(deps, tx, new).await?);
    }
    Ok(created)
}

/// A run that failed before it began, under the repository's name.
fn refused<'a>(repository: &Repository, survey: &'a Survey, reason: &RunReason, problem: String) -> Result<NewRun<'a>> {
    let webhook = WebhookName::new(repository.name.as_str()).map_err(|cause| Error::internal("name a failed run", cause))?;
    Ok(NewRun { webhook, revision: &survey.revision, reason: reason.clone(), planned: Err(problem), reuse: HashMap::new() })
}

async fn revise(
    deps: &Deps,
    place: &Location,
    tip: &Tip,
    previous: Option<CommitSha>,
    trusted: bool,
    actor: Option<&str>,
) -> Result<Revision> {
    deps.revisions.fetch(place, tip).await?;
    Ok(Revision {
        id: RevisionId::new(deps.ids.as_ref()),
        repository: place.id,
        reference: tip.reference.clone(),
        commit: tip.commit.clone(),
        previous,
        event: match &tip.reference {
            reference if reference.pull_request().is_some() => RevisionEvent::PullRequest,
            reference if reference.tag().is_some() => RevisionEvent::Tag,
            _ => RevisionEvent::Push,
        },
        info: deps.revisions.commit_info(place, &tip.commit).await?,
        trusted,
        actor: actor.map(str::to_owned),
        seen_at: deps.clock.now(),
    })
}
