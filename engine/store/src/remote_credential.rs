//! Credentials of watched remotes at rest: sealed like secrets; which kind there is can be listed, the value only be used.

use std::collections::BTreeMap;

use hookwright_core::{RemoteCredential, RepositoryId};

use crate::sql::args;
use crate::{Result, Store, Tx};

const UPSERT: &str = "INSERT INTO remote_credentials (repository, kind, username, sealed, updated_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (repository)
    DO UPDATE SET kind = excluded.kind, username = excluded.username, sealed = excluded.sealed, updated_at = excluded.updated_at";
const DELETE: &str = "DELETE FROM remote_credentials WHERE repository = $1";
const FETCH: &str = "SELECT kind, username, sealed FROM remote_credentials WHERE repository = $1";
const KINDS: &str = "SELECT repository, kind FROM remote_credentials";

/// A sealed value opens only for its own repository and as what it was given.
fn place(repository: &RepositoryId, kind: &str) -> String {
    format!("repository/{repository}/{kind}")
}

impl Tx {
    /// Forgets the credential of a repository; `false` when there was none.
    pub async fn remote_credential_delete(&mut self, repository: &RepositoryId) -> Result<bool> {
        Ok(self.execute(DELETE, args![repository]).await? > 0)
    }
}

impl Store {
    /// Sets the credential of a repository, in the caller's transaction; the one before is gone.
    pub async fn remote_credential_set_in(&self, tx: &mut Tx, repository: &RepositoryId, credential: &RemoteCredential) -> Result<()> {
        let kind = credential.kind();
        let (username, value) = match credential {
            RemoteCredential::Password { username, password } => (Some(username.clone()), password),
            RemoteCredential::SshKey(key) => (None, key),
        };
        let sealed = self.inner.key.seal(&place(repository, kind), value)?;
        let now = tx.clock.now();
        tx.execute(UPSERT, args![repository, kind, username, sealed, now]).await?;
        Ok(())
    }

    /// The credential of a repository, to be used.
    pub async fn remote_credential_fetch(&self, repository: &RepositoryId) -> Result<Option<RemoteCredential>> {
        let Some(row) = self.fetch_optional(FETCH, args![repository]).await? else { return Ok(None) };
        let kind = row.text("kind")?;
        let value = self.inner.key.open(&place(repository, &kind), &row.text("sealed")?)?;
        Ok(Some(match row.optional_text("username")? {
            Some(username) => RemoteCredential::Password { username, password: value },
            None => RemoteCredential::SshKey(value),
        }))
    }

    /// Which repositories have one, and of which kind.
    pub async fn remote_credential_kinds(&self) -> Result<BTreeMap<RepositoryId, String>> {
        let rows = self.fetch_all(KINDS, Vec::new()).await?;
        rows.iter().map(|row| Ok((row.parse("repository")?, row.text("kind")?))).collect()
    }
}
