//! Hosting: which repositories are there, how they come and go. Talking to clients is `service`.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use hookwright_core::port::{GitHost, GitRequest, GitResponse};
use hookwright_core::{PortError, RepositoryName};

use crate::GitSource;
use crate::command::Git;
use crate::service::{Service, serve};

#[async_trait]
impl GitHost for GitSource {
    async fn exists(&self, name: &RepositoryName) -> Result<bool, PortError> {
        Ok(self.hosted_folder(name).join("HEAD").is_file())
    }

    async fn create(&self, name: &RepositoryName) -> Result<(), PortError> {
        let folder = self.hosted_folder(name);
        if folder.join("HEAD").is_file() {
            return Ok(());
        }
        let lock = self.lock(&folder);
        let _guard = lock.write().await;
        self.make(&folder).await
    }

    async fn serve(&self, request: GitRequest) -> Result<GitResponse, PortError> {
        let mut folder = self.hosted_folder(&request.repository);
        let mut guard = None;
        if request.service_path == "git-receive-pack" {
            let lock = self.lock(&folder);
            // Between its creation and the shared lock somebody may have removed it again.
            loop {
                let shared = lock.clone().read_owned().await;
                if folder.join("HEAD").is_file() {
                    guard = Some(shared);
                    break;
                }
                drop(shared);
                self.create(&request.repository).await?;
            }
        } else if !folder.join("HEAD").is_file() {
            folder = self.empty().await?;
        }
        serve(Service { folder, idle: self.idle, longest: self.longest, guard }, request).await
    }

    async fn set_default_branch(&self, name: &RepositoryName, branch: &str) -> Result<(), PortError> {
        let git = Git::at(&self.hosted_folder(name)).args(["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")]);
        git.output("set the default branch").await.map(drop)
    }

    async fn remove_if_empty(&self, name: &RepositoryName) -> Result<bool, PortError> {
        let folder = self.hosted_folder(name);
        let lock = self.lock(&folder);
        let Ok(_guard) = lock.try_write() else { return Ok(false) };
        if !folder.join("HEAD").is_file() {
            return Ok(true);
        }
        let refs = Git::at(&folder).args(["for-each-ref", "--count=1"]).output("look for refs").await?;
        if !refs.is_empty() {
            return Ok(false);
        }
        self.discard(&folder).await.map_err(|error| PortError::errored(format!("cannot remove the repository `{name}`")).because(error))?;
        Ok(true)
    }

    async fn remove(&self, name: &RepositoryName) -> Result<(), PortError> {
        let folder = self.hosted_folder(name);
        let lock = self.lock(&folder);
        let _guard = lock.write().await;
        self.discard(&folder).await.map_err(|error| PortError::errored(format!("cannot remove the repository `{name}`")).because(error))
    }
}

impl GitSource {
    /// Makes a bare repository aside and moves it to its place, so that nobody meets half of one.
    async fn make(&self, folder: &Path) -> Result<(), PortError> {
        if folder.join("HEAD").is_file() {
            return Ok(());
        }
        let aside = self.scratch()?;
        let made = aside.path().join("made.git");
        Git::at(&made).args(["init", "--quiet", "--bare", "--initial-branch=main", "--template="]).output("create a repository").await?;
        tokio::fs::rename(&made, folder).await.map_err(|error| PortError::errored("cannot create a repository").because(error))
    }

    /// An empty repository, which those look like that are not there yet.
    async fn empty(&self) -> Result<PathBuf, PortError> {
        let folder = self.scratch.join("empty.git");
        let lock = self.lock(&folder);
        let _guard = lock.write().await;
        self.make(&folder).await?;
        Ok(folder)
    }

    /// Removes a folder: it is gone at once, or stays whole.
    pub(crate) async fn discard(&self, folder: &Path) -> std::io::Result<()> {
        self.warm.forget(folder);
        let aside = tempfile::TempDir::new_in(&self.scratch)?;
        match tokio::fs::rename(folder, aside.path().join("removed")).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            moved => moved?,
        }
        tokio::task::spawn_blocking(move || aside.close()).await?
    }
}
