//! The branch whose spec decides: which it is, and what follows when an admin names another one.
//! Invariant: the store says which; `HEAD` of a hosted repository, by which clients check out, follows it.

use hookwright_core::port::{Notifier, PushNews, Tip, Tips, Topic};
use hookwright_core::{Action, Actor, RefName, Repository, RepositoryKind, RepositoryName, RunReason};
use hookwright_store::NewAudit;

use super::survey::survey;
use super::{look, news, record_in};
use crate::run::location;
use crate::{Control, Deps, Error, Result, rights};

/// So many branches are named to whoever asks for one that is not there.
const NAMED: usize = 20;

/// The default branch of a remote is what its `HEAD` says; of a hosted repository it is the first branch pushed, until an admin says otherwise.
pub(super) fn of(repository: &Repository, head: Option<&str>, tips: &[Tip]) -> Option<String> {
    let exists = |branch: &str| tips.iter().any(|tip| tip.reference.branch() == Some(branch));
    let settled = repository.default_branch.as_deref();
    let first = match repository.kind {
        RepositoryKind::Hosted => settled.or(head.filter(|branch| exists(branch))),
        RepositoryKind::Remote { .. } => head.or(settled),
    };
    let first = first.or_else(|| ["main", "master"].into_iter().find(|branch| exists(branch)));
    first.or_else(|| tips.iter().find_map(|tip| tip.reference.branch())).map(str::to_owned)
}

/// A hosted repository as it is now: whoever waited for a look has read it before another default branch was named.
pub(super) async fn current(deps: &Deps, repository: &Repository) -> Result<Option<Repository>> {
    match repository.kind {
        RepositoryKind::Hosted => Ok(deps.store.repository_fetch(&repository.id).await?),
        RepositoryKind::Remote { .. } => Ok(None),
    }
}

/// Has `HEAD` follow the store, where a crash came between the two.
pub(super) async fn mend(deps: &Deps, repository: &Repository, there: &Tips) -> Result<()> {
    if let (RepositoryKind::Hosted, Some(branch)) = (&repository.kind, repository.default_branch.as_deref())
        && there.default_branch.as_deref() != Some(branch)
        && there.tips.iter().any(|tip| tip.reference.branch() == Some(branch))
    {
        deps.git_host.set_default_branch(&repository.name, branch).await?;
    }
    Ok(())
}

impl Control {
    /// Makes another branch of a hosted repository its default branch: the one that clones check out and whose spec decides gates and what is
    /// deployed. Its tip is built as if it had just been pushed. Returns what there is to say of that. The branch that it is already is no mistake.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict` before anything was pushed, `Invalid` when it is a watched remote or has no such branch.
    pub async fn repository_default_branch_set(&self, actor: &Actor, name: &RepositoryName, branch: &str) -> Result<Vec<PushNews>> {
        rights::allow(actor, Action::Administer, "choose the default branch of a repository", None, None)?;
        let (deps, looks) = (self.deps(), self.looks());
        let repository = self.repository(name).await?;
        if let RepositoryKind::Remote { url } = &repository.kind {
            return Err(Error::Invalid(format!(
                "`{name}` is watched at {url}, and its default branch is the one that `HEAD` names there; change it there, and it is followed here"
            )));
        }
        // What was pushed just now counts.
        look(deps, looks, &repository, Some(&actor.user)).await?;
        let lock = looks.of(repository.id);
        let _one_at_a_time = lock.lock().await;
        let repository = self.repository(name).await?;
        let Some(before) = repository.default_branch.clone() else {
            return Err(Error::Conflict(format!(
                "nothing was pushed to `{name}` yet; the first branch that is pushed becomes the default branch"
            )));
        };
        let tips = deps.store.ref_tips(&repository.id).await?;
        let found = tips.iter().find(|(reference, _)| reference.branch() == Some(branch));
        let Some((reference, commit)) = found else {
            return Err(Error::Invalid(format!("`{name}` has no branch `{branch}`; {}", named(tips.keys()))));
        };
        if before == branch {
            return Ok(Vec::new());
        }
        let missing = || Error::Conflict(format!("`{branch}` of `{name}` was not read yet; try again"));
        let revision = deps.store.revision_latest(repository.id, reference, commit).await?.ok_or_else(missing)?;
        let revision = deps.store.revision_fetch(&revision).await?.ok_or_else(missing)?;
        let place = location(deps, &repository).await?;
        let surveys = [survey(deps, &place, &repository, revision, Some(branch), None).await?];
        let mut tx = deps.store.begin().await?;
        tx.repository_set_default_branch(&repository.id, branch).await?;
        let mut created = Vec::new();
        for survey in &surveys {
            created.extend(record_in(deps, &mut tx, &repository, survey, true, RunReason::Revision).await?);
        }
        let detail = format!("{name}: {before} → {branch}");
        tx.audit_append(NewAudit {
            user: &actor.user,
            action: "repository.default_branch",
            webhook: None,
            environment: None,
            detail: &detail,
        })
        .await?;
        tx.commit("repository.default_branch").await?;
        deps.git_host.set_default_branch(name, branch).await?;
        deps.wakes.wake(Topic::Scheduler);
        deps.wakes.wake(Topic::Promotion);
        for run in &created {
            deps.wakes.run_changed(*run);
        }
        news::of(deps, &surveys, &created, Some(branch)).await
    }
}

/// The branches among refs, in words.
fn named<'a>(references: impl Iterator<Item = &'a RefName>) -> String {
    let names: Vec<String> = references.filter_map(RefName::branch).map(|branch| format!("`{branch}`")).collect();
    match names.len().saturating_sub(NAMED) {
        0 => format!("there are {}", names.join(", ")),
        left => format!("there are {} and {left} more", names.get(..NAMED).unwrap_or_default().join(", ")),
    }
}
