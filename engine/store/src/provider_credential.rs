//! What providers handed out in exchange for credentials of the settings: one a provider, sealed.

use async_trait::async_trait;
use hookwright_core::port::KeptCredentials;
use hookwright_core::{PortError, SecretValue};

use crate::sql::args;
use crate::{Result, Store};

fn place(provider: &str) -> String {
    format!("provider/{provider}")
}

impl Store {
    async fn provider_credential_fetch(&self, provider: &str, basis: &str) -> Result<Option<SecretValue>> {
        const FETCH: &str = "SELECT sealed FROM provider_credentials WHERE provider = $1 AND basis = $2";
        let Some(row) = self.fetch_optional(FETCH, args![provider, basis]).await? else { return Ok(None) };
        self.inner.key.open(&place(provider), &row.text("sealed")?).map(Some)
    }

    async fn provider_credential_set(&self, provider: &str, basis: &str, value: &SecretValue) -> Result<()> {
        const UPSERT: &str = "INSERT INTO provider_credentials (provider, basis, sealed, updated_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (provider) DO UPDATE SET basis = excluded.basis, sealed = excluded.sealed, updated_at = excluded.updated_at";
        let sealed = self.inner.key.seal(&place(provider), value)?;
        let mut tx = self.begin().await?;
        let now = tx.clock.now();
        tx.execute(UPSERT, args![provider, basis, sealed, now]).await?;
        tx.commit("provider.kept").await
    }
}

#[async_trait]
impl KeptCredentials for Store {
    async fn kept(&self, provider: &str, basis: &str) -> std::result::Result<Option<SecretValue>, PortError> {
        let unread = |error| PortError::errored("what a provider handed out cannot be read").because(error);
        self.provider_credential_fetch(provider, basis).await.map_err(unread)
    }

    async fn keep(&self, provider: &str, basis: &str, value: &SecretValue) -> std::result::Result<(), PortError> {
        let unkept = |error| PortError::errored("what a provider handed out cannot be kept").because(error);
        self.provider_credential_set(provider, basis, value).await.map_err(unkept)
    }
}
