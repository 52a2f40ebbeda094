//! What people may ask of repositories: add one, renew or remove its credential, forget it, and look at it now.
//! Invariant: an address or a credential that does not work is never stored.

use hookwright_core::port::{Location, Notifier, PushNews, Topic};
use hookwright_core::{Action, Actor, RemoteCredential, Repository, RepositoryId, RepositoryKind, RepositoryName};
use hookwright_store::NewAudit;

use super::look_and_tell;
use crate::{Control, Error, Result, rights};

impl Control {
    /// Adds a repository; whether it is new: the same one again is no mistake. A remote's refs are read first: an address that is refused or does not answer is never stored, nor is
    /// its credential.
    ///
    /// # Errors
    /// `Forbidden`, `Conflict` when the name is taken, `Invalid` when the address is refused or cannot be read.
    pub async fn repository_add(
        &self,
        actor: &Actor,
        name: &RepositoryName,
        kind: &RepositoryKind,
        credential: Option<&RemoteCredential>,
    ) -> Result<(Repository, bool)> {
        check_rights(actor, kind)?;
        let deps = self.deps();
        match (kind, credential) {
            (RepositoryKind::Remote { url }, _) => self.try_out(name, url, credential).await?,
            (RepositoryKind::Hosted, None) => {}
            (RepositoryKind::Hosted, Some(_)) => {
                return Err(Error::Invalid("a hosted repository needs no credential; give the address of a remote".to_owned()));
            }
        }
        let mut tx = deps.store.begin().await?;
        let (repository, is_new) = tx.repository_create(name, kind).await.map_err(|error| match error {
            hookwright_store::Error::Taken { message } => Error::Conflict(message),
            error => error.into(),
        })?;
        if let Some(credential) = credential {
            deps.store.remote_credential_set_in(&mut tx, &repository.id, credential).await?;
        }
        if is_new {
            tx.audit_append(line(actor, "repository.added", name)).await?;
        } else if credential.is_some() {
            tx.audit_append(line(actor, "repository.credential.set", name)).await?;
        }
        tx.commit("repository.created").await?;
        self.looks().hurry(repository.id);
        deps.wakes.wake(Topic::Intake);
        deps.wakes.wake(Topic::RepositoryHooks);
        Ok((repository, is_new))
    }

    /// Gives a watched remote another credential. It is tried out first; the one before stays when it does not work.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Invalid` when it is hosted or the credential does not open it.
    pub async fn repository_credential_set(&self, actor: &Actor, name: &RepositoryName, credential: &RemoteCredential) -> Result<()> {
        let deps = self.deps();
        let repository = self.repository(name).await?;
        check_rights(actor, &repository.kind)?;
        let RepositoryKind::Remote { url } = &repository.kind else {
            return Err(Error::Invalid(format!("`{name}` is hosted here and needs no credential")));
        };
        self.try_out(name, url, Some(credential)).await?;
        let mut tx = deps.store.begin().await?;
        deps.store.remote_credential_set_in(&mut tx, &repository.id, credential).await?;
        tx.audit_append(line(actor, "repository.credential.set", name)).await?;
        tx.commit("repository.credential").await?;
        self.looks().hurry(repository.id);
        deps.wakes.wake(Topic::Intake);
        Ok(())
    }

    /// Removes the credential of a watched remote.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound` when there is no such repository or it has none.
    pub async fn repository_credential_remove(&self, actor: &Actor, name: &RepositoryName) -> Result<()> {
        let deps = self.deps();
        let repository = self.repository(name).await?;
        check_rights(actor, &repository.kind)?;
        let mut tx = deps.store.begin().await?;
        if !tx.remote_credential_delete(&repository.id).await? {
            return Err(Error::NotFound(format!("`{name}` has no credential")));
        }
        tx.audit_append(line(actor, "repository.credential.removed", name)).await?;
        tx.commit("repository.credential").await.map_err(Error::from)
    }

    /// Forgets a repository with its credential and, of a watched one, its mirror. What it deployed stays, and so do its webhooks and the folder
    /// of a hosted one, which may hold the only copy. Returns whose they were.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn repository_remove(&self, actor: &Actor, name: &RepositoryName) -> Result<RepositoryId> {
        rights::allow(actor, Action::Administer, "remove a repository", None, None)?;
        let deps = self.deps();
        let repository = self.repository(name).await?;
        let mut tx = deps.store.begin().await?;
        if !tx.repository_delete(&repository.id).await? {
            return Err(Error::NotFound(format!("there is no repository `{name}`")));
        }
        tx.audit_append(line(actor, "repository.removed", name)).await?;
        tx.commit("repository.removed").await?;
        deps.wakes.wake(Topic::RepositoryHooks);
        if let RepositoryKind::Remote { url } = repository.kind {
            let place = Location { id: repository.id, name: name.clone(), url: Some(url), credential: None, pull_requests: false };
            deps.revisions.forget(&place).await?;
        }
        Ok(repository.id)
    }

    /// The refs of a repository moved, for example because `actor` pushed. Returns once the runs are created, with what there is to say of each ref
    /// that moved. A look that fails is taken again soon.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` when the repository cannot be read through its owner's fault.
    pub async fn repository_changed(&self, name: &RepositoryName, actor: Option<&str>) -> Result<Vec<PushNews>> {
        let repository = self.repository(name).await?;
        let looked = look_and_tell(self.deps(), self.looks(), &repository, actor).await;
        if looked.is_err() {
            self.looks().hurry(repository.id);
        }
        looked.map(|(_, news)| news)
    }

    pub(super) async fn repository(&self, name: &RepositoryName) -> Result<Repository> {
        let missing = || Error::NotFound(format!("there is no repository `{name}`"));
        self.deps().store.repository_fetch_by_name(name).await?.ok_or_else(missing)
    }

    /// Reads the refs of a remote that is not stored yet. Whatever goes wrong is told to whoever named it.
    async fn try_out(&self, name: &RepositoryName, url: &str, credential: Option<&RemoteCredential>) -> Result<()> {
        let deps = self.deps();
        let id = RepositoryId::new(deps.ids.as_ref());
        let place = Location { id, name: name.clone(), url: Some(url.to_owned()), credential: credential.cloned(), pull_requests: false };
        let tried = deps.revisions.tips(&place).await.map_err(|error| Error::Invalid(error.message))?;
        // Nothing is kept under an id that was only made for this.
        deps.revisions.forget(&place).await?;
        drop(tried);
        Ok(())
    }
}

fn line<'a>(actor: &'a Actor, action: &'a str, name: &'a RepositoryName) -> NewAudit<'a> {
    NewAudit { user: &actor.user, action, webhook: None, environment: None, detail: name.as_str() }
}

/// Refuses what the actor may not watch: an address on this machine (`file://`) is an admin's to name.
fn check_rights(actor: &Actor, kind: &RepositoryKind) -> Result<()> {
    let local = matches!(kind, RepositoryKind::Remote { url } if url.trim_start().to_ascii_lowercase().starts_with("file:"));
    let action = if local { Action::Administer } else { Action::Develop };
    rights::allow(actor, action, "do this to the repository", None, None)
}
