//! The `Revisions` port over bare repositories.

use std::path::Path;

use async_trait::async_trait;
use hookwright_core::port::{Location, Revisions, Selection, Tip, Tips, TreeEntry};
use hookwright_core::{Blame, CommitInfo, CommitSha, PortError, RepoPath, Timestamp};

use crate::command::Git;
use crate::warm::WarmTree;
use crate::{GitSource, checkout, tree};

/// Longest commit title that is kept, in characters.
const TITLE: usize = 200;

/// Longest name or address of an author that is kept, in characters.
const AUTHOR: usize = 200;

#[async_trait]
impl Revisions for GitSource {
    async fn tips(&self, repository: &Location) -> Result<Tips, PortError> {
        match &repository.url {
            Some(url) => self.remote_tips(url, repository).await,
            None => self.own_tips(repository).await,
        }
    }

    async fn fetch(&self, repository: &Location, tip: &Tip) -> Result<(), PortError> {
        let Some(url) = &repository.url else { return Ok(()) };
        let folder = self.folder(repository);
        let lock = self.lock(&folder);
        let _guard = lock.write().await;
        self.remote_fetch(&folder, url, repository, tip).await
    }

    async fn commit_info(&self, repository: &Location, commit: &CommitSha) -> Result<CommitInfo, PortError> {
        let asked = Git::at(&self.folder(repository)).args(["log", "-1", "--no-show-signature", "--no-mailmap"]);
        let asked = asked.args(["--format=%an%x00%ae%x00%at%x00%s", &format!("{commit}^{{commit}}")]).blaming_the_owner();
        let text = asked.output(&format!("read the commit {}", commit.short())).await?;
        let text = String::from_utf8_lossy(&text);
        Ok(info(&mut text.trim_end_matches('\n').split('\0')))
    }

    async fn between(
        &self,
        repository: &Location,
        from: &CommitSha,
        to: &CommitSha,
        limit: u32,
    ) -> Result<Option<Vec<(CommitSha, CommitInfo)>>, PortError> {
        let folder = self.folder(repository);
        for commit in [from, to] {
            if !Git::at(&folder).args(["cat-file", "-e", &format!("{commit}^{{commit}}")]).says_yes("find a commit").await? {
                return Ok(None);
            }
        }
        let asked = Git::at(&folder).args(["log", "-z", "--no-show-signature", "--no-mailmap", "--format=%H%x00%an%x00%ae%x00%at%x00%s"]);
        let asked = asked.args([format!("--max-count={limit}"), format!("{from}..{to}")]).blaming_the_owner();
        let text = asked.output("list the commits between two").await?;
        let text = String::from_utf8_lossy(&text);
        let mut parts = text.split('\0');
        let mut found = Vec::new();
        while let Some(Ok(id)) = parts.next().map(str::parse::<CommitSha>) {
            found.push((id, info(&mut parts)));
        }
        Ok(Some(found))
    }

    async fn tree(&self, repository: &Location, commit: &CommitSha) -> Result<Vec<TreeEntry>, PortError> {
        let folder = self.folder(repository);
        match self.warm.find(&folder, commit) {
            Some(tree) => Ok(tree.entries.to_vec()),
            None => tree::list(&folder, commit).await,
        }
    }

    async fn read(&self, repository: &Location, commit: &CommitSha, path: &RepoPath, limit: u64) -> Result<Option<Vec<u8>>, PortError> {
        let folder = self.folder(repository);
        let asked = Git::at(&folder).args(["ls-tree", "-z", "--full-tree", commit.as_str(), "--", path.as_str()]);
        let listing = asked.output(&format!("look for `{path}`")).await?;
        let listing = String::from_utf8_lossy(&listing);
        let Some((meta, _)) = listing.split_once('\t') else { return Ok(None) };
        let mut words = meta.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("100644" | "100755"), Some("blob"), Some(object)) => {
                let asked = Git::at(&folder).args(["cat-file", "blob", object]).limit(usize::try_from(limit).unwrap_or(usize::MAX));
                asked.output(&format!("read `{path}`")).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn changed(&self, repository: &Location, from: &CommitSha, to: &CommitSha) -> Result<Option<Vec<RepoPath>>, PortError> {
        let folder = self.folder(repository);
        if !Git::at(&folder).args(["cat-file", "-e", &format!("{from}^{{commit}}")]).says_yes("find a commit").await? {
            return Ok(None);
        }
        let asked = Git::at(&folder).args(["diff-tree", "-r", "-z", "--name-only", "--no-renames", from.as_str(), to.as_str()]);
        let listing = match asked.output("compare two commits").await {
            Ok(listing) => listing,
            // So many changes that they are not worth naming: everything may have changed.
            Err(error) if error.blame == Blame::Failed => return Ok(None),
            Err(error) => return Err(error),
        };
        let paths = listing.split(|byte| *byte == 0).filter_map(|path| std::str::from_utf8(path).ok());
        Ok(Some(paths.filter_map(|path| RepoPath::new(path).ok()).collect()))
    }

    async fn checkout(&self, repository: &Location, commit: &CommitSha, selection: &Selection, into: &Path) -> Result<(), PortError> {
        let folder = self.folder(repository);
        let tree = match self.warm.find(&folder, commit) {
            Some(tree) => tree,
            None => {
                let tree = WarmTree::new(tree::list(&folder, commit).await?);
                self.warm.remember(&folder, commit, &tree);
                tree
            }
        };
        checkout::write(&folder, &tree, selection, into).await
    }

    async fn forget(&self, repository: &Location) -> Result<(), PortError> {
        self.forget_tips(repository.id);
        if repository.url.is_none() {
            return Ok(());
        }
        let folder = self.folder(repository);
        let lock = self.lock(&folder);
        let _guard = lock.write().await;
        self.discard(&folder)
            .await
            .map_err(|error| PortError::errored(format!("cannot remove the mirror of `{}`", repository.name)).because(error))
    }
}

/// A commit's author, address, time and first line, in that order, as git writes them.
fn info<'a>(parts: &mut impl Iterator<Item = &'a str>) -> CommitInfo {
    let mut part = |limit: usize| parts.next().unwrap_or_default().chars().take(limit).collect::<String>();
    let (author, email, seconds, title) = (part(AUTHOR), part(AUTHOR), part(AUTHOR), part(TITLE));
    let authored_at = Timestamp::from_millis(seconds.parse::<i64>().unwrap_or(0).saturating_mul(1000));
    CommitInfo { author, email, title, authored_at }
}
