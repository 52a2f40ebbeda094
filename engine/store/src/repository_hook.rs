//! The engine's own hooks at the forges of watched repositories, their secrets sealed.

use hookwright_core::port::ForgeRepository;
use hookwright_core::status::SubscriptionStatus;
use hookwright_core::{HookAddress, Repository, RepositoryHook, RepositoryId, SecretValue, SubscriptionId, Timestamp};

use crate::sql::{Row, args};
use crate::{Error, Result, Store, Tx};

macro_rules! columns {
    () => {
        "id, repository, name, source, provider, address, status, status_reason, provider_id, applied, heard_at, missed_at, created_at"
    };
}

/// Bytes of a secret that the daemon makes itself.
const SECRET: usize = 32;

/// A sealed secret opens only for its own hook.
fn place(id: SubscriptionId) -> String {
    format!("repository-hook/{id}")
}

impl Tx {
    /// Writes how a hook stands with its forge.
    pub async fn repository_hook_update(&mut self, hook: &RepositoryHook) -> Result<()> {
        const UPDATE: &str = "UPDATE repository_hooks SET status = $1, status_reason = $2, provider_id = $3, applied = $4 WHERE id = $5";
        let RepositoryHook { status, status_reason, provider_id, applied, id, .. } = hook;
        self.execute(UPDATE, args![status, status_reason.clone(), provider_id.clone(), applied.clone(), id]).await.map(drop)
    }

    /// Forgets a hook; what came through it stays.
    pub async fn repository_hook_delete(&mut self, id: SubscriptionId) -> Result<()> {
        const DELETE: &str = "DELETE FROM repository_hooks WHERE id = $1";
        self.execute(DELETE, args![id]).await.map(drop)
    }
}

impl Store {
    /// Makes a repository's hook at a forge, with an address and a secret that nobody knows; one that there is already is returned as it is.
    pub async fn repository_hook_ensure(&self, tx: &mut Tx, repository: &Repository, forge: &ForgeRepository) -> Result<RepositoryHook> {
        const INSERT: &str = "INSERT INTO repository_hooks (id, repository, name, source, provider, address, secret, status, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (repository, provider) DO NOTHING";
        const FETCH: &str = concat!("SELECT ", columns!(), " FROM repository_hooks WHERE repository = $1 AND provider = $2");
        let (mut address, mut secret) = ([0; 16], [0; SECRET]);
        for bytes in [&mut address[..], &mut secret[..]] {
            getrandom::fill(bytes).map_err(|error| Error::Key { message: format!("the system gives no randomness: {error}") })?;
        }
        let id = SubscriptionId::new(&*tx.ids);
        let sealed = self.inner.key.seal(&place(id), &SecretValue::new(hex::encode(secret)))?;
        let now = tx.clock.now();
        let values = args![
            id,
            repository.id,
            repository.name,
            forge.source,
            forge.provider,
            HookAddress::from_bytes(address),
            sealed,
            SubscriptionStatus::Pending,
            now
        ];
        tx.execute(INSERT, values).await?;
        let row = tx.fetch_optional(FETCH, args![repository.id, forge.provider]).await?;
        row.map(|row| read(&row)).transpose()?.ok_or(Error::Ended)
    }

    /// Every hook, also those that forges are to forget.
    pub async fn repository_hook_list(&self) -> Result<Vec<RepositoryHook>> {
        const LIST: &str = concat!("SELECT ", columns!(), " FROM repository_hooks ORDER BY id");
        self.fetch_all(LIST, Vec::new()).await?.iter().map(read).collect()
    }

    /// The hook by which a repository is announced, if it has one that is not to go.
    pub async fn repository_hook_of(&self, repository: RepositoryId) -> Result<Option<RepositoryHook>> {
        const FETCH: &str =
            concat!("SELECT ", columns!(), " FROM repository_hooks WHERE repository = $1 AND status <> 'off' ORDER BY id DESC LIMIT 1");
        self.fetch_optional(FETCH, args![repository]).await?.map(|row| read(&row)).transpose()
    }

    /// What a forge signs with.
    pub async fn repository_hook_secret(&self, id: SubscriptionId) -> Result<Option<SecretValue>> {
        const FETCH: &str = "SELECT secret FROM repository_hooks WHERE id = $1";
        let Some(row) = self.fetch_optional(FETCH, args![id]).await? else { return Ok(None) };
        self.inner.key.open(&place(id), &row.text("secret")?).map(Some)
    }

    /// Repositories whose hooks have something to be looked at.
    pub async fn repository_hook_waiting(&self) -> Result<Vec<RepositoryId>> {
        const WAITING: &str = "SELECT repository FROM repository_hooks WHERE EXISTS (SELECT 1 FROM deliveries
            WHERE deliveries.subscription = repository_hooks.id AND deliveries.status IN ('queued', 'waiting') AND deliveries.due_at <= $1)";
        let now = self.inner.clock.now();
        self.fetch_all(WAITING, args![now]).await?.iter().map(|row| row.parse("repository")).collect()
    }

    /// The forge is told anew: it has to be heard again before it is relied on.
    pub async fn repository_hook_unheard(&self, id: SubscriptionId) -> Result<()> {
        const UPDATE: &str = "UPDATE repository_hooks SET heard_at = NULL WHERE id = $1";
        self.execute("repository_hook.unheard", UPDATE, args![id]).await.map(drop)
    }

    /// Refs moved, and no event had announced it.
    pub async fn repository_hook_missed(&self, id: SubscriptionId, at: Timestamp) -> Result<()> {
        const UPDATE: &str = "UPDATE repository_hooks SET missed_at = $1 WHERE id = $2";
        self.execute("repository_hook.missed", UPDATE, args![at, id]).await.map(drop)
    }
}

fn read(row: &Row) -> Result<RepositoryHook> {
    Ok(RepositoryHook {
        id: row.parse("id")?,
        repository: row.parse("repository")?,
        name: row.parse("name")?,
        source: row.text("source")?,
        provider: row.text("provider")?,
        address: row.parse("address")?,
        status: row.parse("status")?,
        status_reason: row.optional_text("status_reason")?,
        provider_id: row.optional_text("provider_id")?,
        applied: row.optional_text("applied")?,
        heard_at: row.optional_instant("heard_at")?,
        missed_at: row.optional_instant("missed_at")?,
        created_at: row.instant("created_at")?,
    })
}
