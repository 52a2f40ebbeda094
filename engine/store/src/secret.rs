//! Secrets at rest: one row each, sealed; names can be listed, values only be used.

use std::collections::BTreeMap;

use hookwright_core::{ConfigName, DeploymentId, EnvironmentName, SecretValue, Timestamp, WebhookName};

use crate::sql::{Row, args};
use crate::{Result, Store, Tx};

const UPSERT: &str = "INSERT INTO secrets (webhook, environment, name, sealed, updated_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (webhook, environment, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at";
const DELETE: &str = "DELETE FROM secrets WHERE webhook = $1 AND environment = $2 AND name = $3";
const NAMES: &str = "SELECT name FROM secrets WHERE webhook = $1 AND environment = $2 ORDER BY name";
const PAGE: &str = "SELECT name FROM secrets WHERE webhook = $1 AND environment = $2 AND name > $3 ORDER BY name LIMIT $4";
const VALUES: &str = "SELECT name, sealed FROM secrets WHERE webhook = $1 AND environment = $2 ORDER BY name";
const ALL: &str = "SELECT environment, name, sealed FROM secrets WHERE webhook = $1
    UNION ALL SELECT environment, name, sealed FROM previous_secrets WHERE webhook = $1";

const EVERYWHERE: &str = "SELECT webhook, environment, name, updated_at FROM secrets ORDER BY webhook, environment, name LIMIT $1";

/// A secret that is set somewhere; its value is no part of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSecret {
    /// The webhook, which need not exist yet.
    pub webhook: WebhookName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The name.
    pub name: ConfigName,
    /// When it was set last.
    pub updated_at: Timestamp,
}

fn place(webhook: &WebhookName, environment: &str, name: &str) -> String {
    format!("{webhook}/{environment}/{name}")
}

impl Store {
    /// Sets a secret, in the caller's transaction. The webhook need not exist yet.
    pub async fn secret_set_in(
        &self,
        tx: &mut Tx,
        at: (&WebhookName, &EnvironmentName),
        name: &ConfigName,
        value: &SecretValue,
    ) -> Result<()> {
        let sealed = self.inner.key.seal(&place(at.0, at.1.as_str(), name.as_str()), value)?;
        let now = tx.clock.now();
        tx.execute(UPSERT, args![at.0, at.1, name, sealed, now]).await?;
        Ok(())
    }

    /// Sets a secret and keeps the value before it for signatures until a time: sources and receivers change over one after the other.
    pub async fn secret_rotate_in(
        &self,
        tx: &mut Tx,
        at: (&WebhookName, &EnvironmentName),
        name: &ConfigName,
        (value, until): (&SecretValue, Timestamp),
    ) -> Result<()> {
        const KEEP: &str = "INSERT INTO previous_secrets (webhook, environment, name, sealed, until)
            SELECT webhook, environment, name, sealed, $4 FROM secrets WHERE webhook = $1 AND environment = $2 AND name = $3
            ON CONFLICT (webhook, environment, name) DO UPDATE SET sealed = excluded.sealed, until = excluded.until";
        tx.execute(KEEP, args![at.0, at.1, name, until]).await?;
        self.secret_set_in(tx, at, name, value).await
    }

    /// The values of a secret that signatures are checked with: the one that is set, then the one before it while that is accepted.
    pub async fn secret_signing_values(
        &self,
        at: (&WebhookName, &EnvironmentName),
        name: &ConfigName,
        now: Timestamp,
    ) -> Result<Vec<SecretValue>> {
        const BOTH: &str = "SELECT sealed, 0 AS age FROM secrets WHERE webhook = $1 AND environment = $2 AND name = $3
            UNION ALL SELECT sealed, 1 AS age FROM previous_secrets
                WHERE webhook = $1 AND environment = $2 AND name = $3 AND until > $4 ORDER BY age";
        let place = place(at.0, at.1.as_str(), name.as_str());
        let rows = self.fetch_all(BOTH, args![at.0, at.1, name, now]).await?;
        rows.iter().map(|row| self.inner.key.open(&place, &row.text("sealed")?)).collect()
    }

    /// What deliveries to a deployment are signed with (Standard Webhooks: `whsec_` and the key in base64). Derived from the daemon's key, so
    /// that it is the same after a restart and stored nowhere.
    pub fn delivery_key(&self, deployment: DeploymentId) -> SecretValue {
        self.inner.key.derive(&format!("delivery/{deployment}"))
    }

    /// Removes a secret; `false` when it was not set.
    pub async fn secret_delete_in(&self, tx: &mut Tx, at: (&WebhookName, &EnvironmentName), name: &ConfigName) -> Result<bool> {
        const PREVIOUS: &str = "DELETE FROM previous_secrets WHERE webhook = $1 AND environment = $2 AND name = $3";
        tx.execute(PREVIOUS, args![at.0, at.1, name]).await?;
        Ok(tx.execute(DELETE, args![at.0, at.1, name]).await? > 0)
    }

    /// Whether a secret was set between two moments, as a transaction sees it.
    pub async fn secret_was_set_in(
        &self,
        tx: &mut Tx,
        at: (&WebhookName, &EnvironmentName),
        (from, to): (Timestamp, Timestamp),
    ) -> Result<bool> {
        const SET: &str =
            "SELECT name FROM secrets WHERE webhook = $1 AND environment = $2 AND updated_at >= $3 AND updated_at <= $4 LIMIT 1";
        Ok(tx.fetch_optional(SET, args![at.0, at.1, from, to]).await?.is_some())
    }

    /// The names that are set.
    pub async fn secret_names(&self, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Vec<ConfigName>> {
        self.fetch_all(NAMES, args![webhook, environment]).await?.iter().map(|row| row.parse("name")).collect()
    }

    /// What is set anywhere, by webhook, environment and name.
    pub async fn secret_list_all(&self, limit: u32) -> Result<Vec<SetSecret>> {
        let read = |row: &Row| {
            let (webhook, environment) = (row.parse("webhook")?, row.parse("environment")?);
            Ok(SetSecret { webhook, environment, name: row.parse("name")?, updated_at: row.instant("updated_at")? })
        };
        self.fetch_all(EVERYWHERE, args![limit]).await?.iter().map(read).collect()
    }

    /// The names that are set, those after `after`.
    pub async fn secret_page(
        &self,
        webhook: &WebhookName,
        environment: &EnvironmentName,
        after: Option<&ConfigName>,
        limit: u32,
    ) -> Result<Vec<ConfigName>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        self.fetch_all(PAGE, args![webhook, environment, after, limit]).await?.iter().map(|row| row.parse("name")).collect()
    }

    /// The values, for a process environment.
    pub async fn secret_values(&self, webhook: &WebhookName, environment: &EnvironmentName) -> Result<BTreeMap<ConfigName, SecretValue>> {
        let rows = self.fetch_all(VALUES, args![webhook, environment]).await?;
        rows.iter()
            .map(|row| {
                let name: ConfigName = row.parse("name")?;
                let value = self.inner.key.open(&place(webhook, environment.as_str(), name.as_str()), &row.text("sealed")?)?;
                Ok((name, value))
            })
            .collect()
    }

    /// Every secret value of a webhook, of all environments: what its logs must not show.
    pub async fn secret_masks(&self, webhook: &WebhookName) -> Result<Vec<SecretValue>> {
        let rows = self.fetch_all(ALL, args![webhook]).await?;
        rows.iter()
            .map(|row| {
                let (environment, name) = (row.text("environment")?, row.text("name")?);
                self.inner.key.open(&place(webhook, &environment, &name), &row.text("sealed")?)
            })
            .collect()
    }
}
