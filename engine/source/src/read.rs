//! The `Revisions` port over bare repositories.

use std::path::Path;

use async_trait::async_trait;
use hookwright_core::port::{Location, Revisions, Selection, Tip, Tips, TreeEntry};
use hookwright_core::{CommitInfo, CommitSha, PortError, RepoPath, Timestamp};

use crate::checkout::Blobs;
use crate::command::{git, output};
use crate::{GitSource, checkout, remote, tree};

/// Longest commit title that is kept, in characters.
const TITLE: usize = 200;

#[async_trait]
impl Revisions for GitSource {
    async fn tips(&self, repository: &Location) -> Result<Tips, PortError> {
        if let Some(url) = &repository.url {
            return remote::tips(url, repository).await;
        }
        let folder = self.folder(repository);
        if !folder.is_dir() {
            return Err(PortError::failed(format!("the repository `{}` does not exist; push to it first", repository.name)));
        }
        let mut command = git(&folder);
        command.args(["for-each-ref", "--format=%(objectname)%09%(refname)%0a%(*objectname)%09%(refname)^{}", "refs/heads", "refs/tags"]);
        let listing = output(command, "list the refs").await?;
        let head = std::fs::read_to_string(folder.join("HEAD")).unwrap_or_default();
        let head = head.trim().strip_prefix("ref: ").map(|target| format!("ref: {target}\tHEAD\n")).unwrap_or_default();
        Ok(remote::parse(&format!("{head}{}", String::from_utf8_lossy(&listing))))
    }

    async fn fetch(&self, repository: &Location, tip: &Tip) -> Result<(), PortError> {
        let Some(url) = &repository.url else { return Ok(()) };
        let folder = self.folder(repository);
        let lock = self.lock(&folder);
        let _guard = lock.lock().await;
        remote::fetch(&folder, url, repository, tip).await
    }

    async fn commit_info(&self, repository: &Location, commit: &CommitSha) -> Result<CommitInfo, PortError> {
        let mut command = git(&self.folder(repository));
        command.args(["show", "-s", "--no-show-signature", "--format=%an%x00%ae%x00%at%x00%s", commit.as_str()]);
        let text = output(command, &format!("read the commit {}", commit.short())).await?;
        let text = String::from_utf8_lossy(&text);
        let mut parts = text.trim_end_matches('\n').split('\0');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (author, email, seconds, title) = (part(), part(), part(), part());
        let authored_at = Timestamp::from_millis(seconds.parse::<i64>().unwrap_or(0).saturating_mul(1000));
        Ok(CommitInfo { author, email, title: title.chars().take(TITLE).collect(), authored_at })
    }

    async fn tree(&self, repository: &Location, commit: &CommitSha) -> Result<Vec<TreeEntry>, PortError> {
        tree::list(&self.folder(repository), commit).await
    }

    async fn read(&self, repository: &Location, commit: &CommitSha, path: &RepoPath, limit: u64) -> Result<Option<Vec<u8>>, PortError> {
        let folder = self.folder(repository);
        let mut command = git(&folder);
        command.args(["ls-tree", "-z", "--full-tree", commit.as_str(), "--", path.as_str()]);
        let listing = output(command, &format!("look for `{path}`")).await?;
        let listing = String::from_utf8_lossy(&listing);
        let Some((meta, _)) = listing.split_once('\t') else { return Ok(None) };
        let mut words = meta.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("100644" | "100755"), Some("blob"), Some(object)) => Blobs::open(&folder)?.read(object, limit).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn changed(&self, repository: &Location, from: &CommitSha, to: &CommitSha) -> Result<Option<Vec<RepoPath>>, PortError> {
        let folder = self.folder(repository);
        let mut command = git(&folder);
        command.args(["cat-file", "-e", &format!("{from}^{{commit}}")]);
        if output(command, "find a commit").await.is_err() {
            return Ok(None);
        }
        let mut command = git(&folder);
        command.args(["diff-tree", "-r", "-z", "--name-only", "--no-renames", from.as_str(), to.as_str()]);
        let listing = output(command, "compare two commits").await?;
        let paths = listing.split(|byte| *byte == 0).filter_map(|path| std::str::from_utf8(path).ok());
        Ok(Some(paths.filter_map(|path| RepoPath::new(path).ok()).collect()))
    }

    async fn checkout(&self, repository: &Location, commit: &CommitSha, selection: &Selection, into: &Path) -> Result<(), PortError> {
        checkout::write(&self.folder(repository), commit, selection, into).await
    }

    async fn forget(&self, repository: &Location) -> Result<(), PortError> {
        if repository.url.is_none() {
            return Ok(());
        }
        match tokio::fs::remove_dir_all(self.folder(repository)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(PortError::errored(format!("cannot remove the mirror of `{}`", repository.name)).because(error))
            }
            _ => Ok(()),
        }
    }
}
