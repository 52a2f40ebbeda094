//! What repositories say about a webhook, for whoever looks: its file as it was pushed, and the commits between two of its releases.

use hookwright_core::{Action, Actor, CommitInfo, CommitSha, Release, RepoPath, Revision, WebhookName};
use hookwright_spec::{Problem, parse_beside};

use crate::intake::own_sources;
use crate::run::location;
use crate::{Control, Result, rights};

/// The largest file that is read, in bytes: as for planning.
const LIMIT: u64 = 256 << 10;

/// The most commits that are named between two releases.
const COMMITS: u32 = 100;

/// A commit with what people want to know of it. Every text is a stranger's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Which.
    pub id: CommitSha,
    /// Its first line, author and time.
    pub info: CommitInfo,
}

/// The commits between two releases, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitRange {
    /// Those of the later release that the earlier one does not have, at most a hundred.
    pub added: Vec<Commit>,
    /// Those that only the earlier one has: after a rollback, or on another branch.
    pub removed: Vec<Commit>,
    /// Whether there are more of either.
    pub more: bool,
}

impl Control {
    /// A webhook's file as it stands at a revision of its repository; `None` when there is none there.
    ///
    /// # Errors
    /// `Forbidden`, or `Internal` when the repository cannot be read.
    pub async fn spec_text(
        &self,
        actor: &Actor,
        webhook: &WebhookName,
        (revision, file): (&Revision, &RepoPath),
    ) -> Result<Option<String>> {
        may_read(actor, webhook)?;
        let deps = self.deps();
        let Some(repository) = deps.store.repository_fetch(&revision.repository).await? else { return Ok(None) };
        let place = location(deps, &repository).await?;
        let content = deps.revisions.read(&place, &revision.commit, file, LIMIT).await?;
        Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned()))
    }

    /// What is wrong with such a text, and with the event sources beside it.
    ///
    /// # Errors
    /// `Forbidden`, or `Internal` when the repository cannot be read.
    pub async fn spec_problems(
        &self,
        actor: &Actor,
        webhook: &WebhookName,
        (revision, file, text): (&Revision, &RepoPath, &str),
    ) -> Result<Vec<Problem>> {
        may_read(actor, webhook)?;
        let deps = self.deps();
        let Some(repository) = deps.store.repository_fetch(&revision.repository).await? else { return Ok(Vec::new()) };
        let place = location(deps, &repository).await?;
        let tree = deps.revisions.tree(&place, &revision.commit).await?;
        let sources = own_sources(deps, (&place, &revision.commit), (file, text), &tree).await?;
        Ok(parse_beside(text, file.as_str(), &sources).err().map(|problems| problems.0).unwrap_or_default())
    }

    /// The commits between two releases of a webhook; `None` when one of them is not in the repository any more.
    ///
    /// # Errors
    /// `Forbidden`, or `Internal` when the repository cannot be read.
    pub async fn release_commits(&self, actor: &Actor, before: &Release, after: &Release) -> Result<Option<CommitRange>> {
        may_read(actor, &after.webhook)?;
        let deps = self.deps();
        let Some(revision) = deps.store.revision_fetch(&after.revision).await? else { return Ok(None) };
        let Some(repository) = deps.store.repository_fetch(&revision.repository).await? else { return Ok(None) };
        let place = location(deps, &repository).await?;
        let mut range = CommitRange::default();
        for (from, to, into) in [(&before.commit, &after.commit, &mut range.added), (&after.commit, &before.commit, &mut range.removed)] {
            let Some(found) = deps.revisions.between(&place, from, to, COMMITS + 1).await? else { return Ok(None) };
            into.extend(found.into_iter().map(|(id, info)| Commit { id, info }));
        }
        for list in [&mut range.added, &mut range.removed] {
            range.more |= list.len() > COMMITS as usize;
            list.truncate(COMMITS as usize);
        }
        Ok(Some(range))
    }
}

fn may_read(actor: &Actor, webhook: &WebhookName) -> Result<()> {
    rights::allow(actor, Action::Read, "read", Some(webhook), None)
}
