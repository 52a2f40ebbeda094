//! Repositories, and the ref tips recorded for each.

use std::collections::BTreeMap;

use hookwright_core::{CommitSha, RefName, Repository, RepositoryId, RepositoryKind, RepositoryName};

use crate::sql::{Row, args};
use crate::{Error, Result, Store, Tx};

const FETCH: &str =
    "SELECT id, name, url, default_branch, created_at, polled_at, poll_error, pull_requests_known FROM repositories WHERE id = $1";
const FETCH_BY_NAME: &str =
    "SELECT id, name, url, default_branch, created_at, polled_at, poll_error, pull_requests_known FROM repositories WHERE name = $1";
const LIST: &str =
    "SELECT id, name, url, default_branch, created_at, polled_at, poll_error, pull_requests_known FROM repositories ORDER BY name";
const PAGE: &str = "SELECT id, name, url, default_branch, created_at, polled_at, poll_error, pull_requests_known FROM repositories
    WHERE name > $1 ORDER BY name LIMIT $2";
const INSERT: &str = "INSERT INTO repositories (id, name, url, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
const DELETE: &str = "DELETE FROM repositories WHERE id = $1";
const POLLED: &str = "UPDATE repositories SET polled_at = $1, poll_error = $2 WHERE id = $3";
const DEFAULT_BRANCH: &str = "UPDATE repositories SET default_branch = $1 WHERE id = $2";
const PULL_REQUESTS_KNOWN: &str = "UPDATE repositories SET pull_requests_known = $1 WHERE id = $2";
const TIPS: &str = "SELECT reference, commit_sha FROM ref_tips WHERE repository = $1 AND commit_sha <> ''";
const TIP_SET: &str = "INSERT INTO ref_tips (repository, reference, commit_sha, sequence, updated_at) VALUES ($1, $2, $3, 1, $4)
    ON CONFLICT (repository, reference)
    DO UPDATE SET commit_sha = excluded.commit_sha, sequence = ref_tips.sequence + 1, updated_at = excluded.updated_at
    RETURNING sequence";

fn repository(row: &Row) -> Result<Repository> {
    Ok(Repository {
        id: row.parse("id")?,
        name: row.parse("name")?,
        kind: row.optional_text("url")?.map_or(RepositoryKind::Hosted, |url| RepositoryKind::Remote { url }),
        default_branch: row.optional_text("default_branch")?,
        created_at: row.instant("created_at")?,
        polled_at: row.optional_instant("polled_at")?,
        poll_error: row.optional_text("poll_error")?,
        pull_requests_known: row.flag("pull_requests_known")?,
    })
}

impl Store {
    /// Adds a repository in a transaction of its own; see [`Tx::repository_create`].
    ///
    /// # Errors
    /// [`Error::Taken`] when the name belongs to a repository of another kind or address.
    pub async fn repository_create(&self, name: &RepositoryName, kind: &RepositoryKind) -> Result<Repository> {
        let mut tx = self.begin().await?;
        let (repository, _) = tx.repository_create(name, kind).await?;
        tx.commit("repository.created").await?;
        Ok(repository)
    }

    /// A repository.
    pub async fn repository_fetch(&self, id: &RepositoryId) -> Result<Option<Repository>> {
        self.fetch_optional(FETCH, args![id]).await?.as_ref().map(repository).transpose()
    }

    /// The repository of that name.
    pub async fn repository_fetch_by_name(&self, name: &RepositoryName) -> Result<Option<Repository>> {
        self.fetch_optional(FETCH_BY_NAME, args![name]).await?.as_ref().map(repository).transpose()
    }

    /// All repositories by name.
    pub async fn repository_list(&self) -> Result<Vec<Repository>> {
        self.fetch_all(LIST, Vec::new()).await?.iter().map(repository).collect()
    }

    /// Repositories by name, those after `after`.
    pub async fn repository_page(&self, after: Option<&RepositoryName>, limit: u32) -> Result<Vec<Repository>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.fetch_all(PAGE, args![after, limit]).await?.iter().map(repository).collect()
    }

    /// Writes down when the refs were last read, and what went wrong.
    pub async fn repository_polled(&self, id: &RepositoryId, error: Option<&str>) -> Result<()> {
        let now = self.inner.clock.now();
        self.execute("repository.polled", POLLED, args![now, error.map(str::to_owned), id]).await.map(drop)
    }

    /// The tips as they were last recorded.
    pub async fn ref_tips(&self, repository: &RepositoryId) -> Result<BTreeMap<RefName, CommitSha>> {
        let rows = self.fetch_all(TIPS, args![repository]).await?;
        rows.iter().map(|row| Ok((row.parse("reference")?, row.parse("commit_sha")?))).collect()
    }
}

impl Tx {
    /// Adds a repository; whether it is new. One of that name and kind that exists is returned as it is.
    ///
    /// # Errors
    /// [`Error::Taken`] when the name belongs to a repository of another kind or address.
    pub async fn repository_create(&mut self, name: &RepositoryName, kind: &RepositoryKind) -> Result<(Repository, bool)> {
        let url = match kind {
            RepositoryKind::Hosted => None,
            RepositoryKind::Remote { url } => Some(url.clone()),
        };
        let id = RepositoryId::new(&*self.ids);
        let now = self.clock.now();
        let is_new = self.execute(INSERT, args![id, name, url, now]).await? > 0;
        let found = self.fetch_optional(FETCH_BY_NAME, args![name]).await?.as_ref().map(repository).transpose()?;
        match found {
            Some(found) if found.kind == *kind => Ok((found, is_new)),
            _ => Err(Error::Taken { message: format!("the repository `{name}` exists already with another address") }),
        }
    }

    /// Forgets a repository and its recorded tips; runs and releases stay. `false` when it is gone already.
    pub async fn repository_delete(&mut self, id: &RepositoryId) -> Result<bool> {
        Ok(self.execute(DELETE, args![id]).await? > 0)
    }

    /// Writes down the default branch.
    pub async fn repository_set_default_branch(&mut self, id: &RepositoryId, branch: &str) -> Result<()> {
        self.execute(DEFAULT_BRANCH, args![branch, id]).await.map(drop)
    }

    /// Writes down whether the repository's pull requests are recorded among its tips.
    pub async fn repository_set_pull_requests_known(&mut self, id: &RepositoryId, known: bool) -> Result<()> {
        self.execute(PULL_REQUESTS_KNOWN, args![known, id]).await.map(drop)
    }

    /// Records where a ref points to now, `None` when it is gone; returns the sequence number of this update of the ref.
    pub async fn ref_tip_set(&mut self, repository: &RepositoryId, reference: &RefName, commit: Option<&CommitSha>) -> Result<u64> {
        let now = self.clock.now();
        let commit = commit.map(ToString::to_string).unwrap_or_default();
        let row = self.fetch_optional(TIP_SET, args![repository, reference, commit, now]).await?;
        row.map_or(Ok(0), |row| row.number("sequence"))
    }
}
