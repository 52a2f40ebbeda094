//! Subscriptions: one a trigger and environment, with an address that stays the same over all deployments.

use hookwright_core::status::SubscriptionStatus;
use hookwright_core::{EnvironmentName, HookAddress, SecretValue, Subscription, SubscriptionId, TriggerPlace, WebhookName};

use crate::event::place;
use crate::sql::{Row, args};
use crate::{Error, Result, Store, Tx};

macro_rules! columns {
    () => {
        "id, webhook, environment, trigger_name, source, address, status, status_reason, provider_id, applied, expires_at, created_at,
            updated_at, last_event_at"
    };
}

impl Tx {
    /// The subscription of a place, made with a status if there is none. One whose source has changed begins anew, with a new address.
    pub async fn subscription_ensure(&mut self, place: &TriggerPlace, source: &str, status: SubscriptionStatus) -> Result<Subscription> {
        const FETCH: &str =
            concat!("SELECT ", columns!(), " FROM subscriptions WHERE webhook = $1 AND environment = $2 AND trigger_name = $3");
        const INSERT: &str = concat!(
            "INSERT INTO subscriptions (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            ON CONFLICT (webhook, environment, trigger_name) DO UPDATE SET id = excluded.id, source = excluded.source,
                address = excluded.address, status = excluded.status, status_reason = NULL, provider_id = NULL, applied = NULL,
                secret = NULL, expires_at = NULL, created_at = excluded.created_at, updated_at = excluded.updated_at, last_event_at = NULL"
        );
        let known = self.fetch_optional(FETCH, args![place.webhook, place.environment, place.trigger]).await?;
        if let Some(known) = known.map(|row| read(&row)).transpose()?
            && known.source == source
        {
            return Ok(known);
        }
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| Error::Key { message: format!("the system gives no randomness: {error}") })?;
        let now = self.clock.now();
        let made = Subscription {
            id: SubscriptionId::new(&*self.ids),
            place: place.clone(),
            source: source.to_owned(),
            address: HookAddress::from_bytes(bytes),
            status,
            status_reason: None,
            provider_id: None,
            applied: None,
            expires_at: None,
            created_at: now,
            updated_at: now,
            last_event_at: None,
        };
        let values = args![
            made.id,
            place.webhook,
            place.environment,
            place.trigger,
            made.source,
            made.address,
            made.status,
            made.status_reason,
            made.provider_id,
            made.applied,
            made.expires_at,
            made.created_at,
            made.updated_at,
            made.last_event_at
        ];
        self.execute(INSERT, values).await?;
        Ok(made)
    }

    /// Writes how a subscription stands with its provider.
    pub async fn subscription_update(&mut self, subscription: &Subscription) -> Result<()> {
        const UPDATE: &str = "UPDATE subscriptions SET status = $1, status_reason = $2, provider_id = $3, applied = $4, expires_at = $5,
            updated_at = $6 WHERE id = $7";
        let Subscription { status, status_reason, provider_id, applied, expires_at, id, .. } = subscription;
        let now = self.clock.now();
        let values = args![status, status_reason.clone(), provider_id.clone(), applied.clone(), *expires_at, now, id];
        self.execute(UPDATE, values).await.map(drop)
    }
}

impl Store {
    /// The subscriptions of a webhook, by environment and trigger; of one environment or of all.
    pub async fn subscription_list(&self, webhook: &WebhookName, environment: Option<&EnvironmentName>) -> Result<Vec<Subscription>> {
        const LIST: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM subscriptions WHERE webhook = $1 AND ($2 = '' OR environment = $2) ORDER BY environment, trigger_name"
        );
        let environment = environment.map(ToString::to_string).unwrap_or_default();
        self.fetch_all(LIST, args![webhook, environment]).await?.iter().map(read).collect()
    }

    /// Every subscription.
    pub async fn subscription_list_all(&self) -> Result<Vec<Subscription>> {
        const LIST: &str = concat!("SELECT ", columns!(), " FROM subscriptions ORDER BY webhook, environment, trigger_name");
        self.fetch_all(LIST, Vec::new()).await?.iter().map(read).collect()
    }

    /// A subscription.
    pub async fn subscription_fetch(&self, id: SubscriptionId) -> Result<Option<Subscription>> {
        const FETCH: &str = concat!("SELECT ", columns!(), " FROM subscriptions WHERE id = $1");
        self.fetch_optional(FETCH, args![id]).await?.map(|row| read(&row)).transpose()
    }

    /// Whether events are received at an address, for a trigger or for a watched repository: a daemon that does not know it yet is to learn it.
    pub async fn subscription_receives(&self, address: &str) -> Result<bool> {
        const FETCH: &str = "SELECT id FROM subscriptions WHERE address = $1 AND status <> 'off'
            UNION ALL SELECT id FROM repository_hooks WHERE address = $1 AND status <> 'off'";
        Ok(self.fetch_optional(FETCH, args![address]).await?.is_some())
    }

    /// Keeps the secret that a provider handed out, sealed.
    pub async fn subscription_secret_set(&self, tx: &mut Tx, id: SubscriptionId, secret: &SecretValue) -> Result<()> {
        const UPDATE: &str = "UPDATE subscriptions SET secret = $1, updated_at = $2 WHERE id = $3";
        let sealed = self.inner.key.seal(&format!("subscription/{id}"), secret)?;
        let now = tx.clock.now();
        tx.execute(UPDATE, args![sealed, now, id]).await.map(drop)
    }

    /// The secret that a provider handed out.
    pub async fn subscription_secret(&self, id: SubscriptionId) -> Result<Option<SecretValue>> {
        const FETCH: &str = "SELECT secret FROM subscriptions WHERE id = $1";
        let Some(row) = self.fetch_optional(FETCH, args![id]).await? else { return Ok(None) };
        row.optional_text("secret")?.map(|sealed| self.inner.key.open(&format!("subscription/{id}"), &sealed)).transpose()
    }
}

fn read(row: &Row) -> Result<Subscription> {
    Ok(Subscription {
        id: row.parse("id")?,
        place: place(row)?,
        source: row.text("source")?,
        address: row.parse("address")?,
        status: row.parse("status")?,
        status_reason: row.optional_text("status_reason")?,
        provider_id: row.optional_text("provider_id")?,
        applied: row.optional_text("applied")?,
        expires_at: row.optional_instant("expires_at")?,
        created_at: row.instant("created_at")?,
        updated_at: row.instant("updated_at")?,
        last_event_at: row.optional_instant("last_event_at")?,
    })
}
