//! Deployments: the intent is written before anything is started, and each is written only from the status the writer knows.

use hookwright_core::status::DeploymentStatus;
use hookwright_core::{Deployment, DeploymentId, EnvironmentName, WebhookName};

use crate::sql::{Row, args, json_text};
use crate::{Result, Store, Tx};

macro_rules! columns {
    () => {
        "id, webhook, environment, generation, release_id, image, promotion, config, instances, status, status_reason, created_at, live_at, ended_at"
    };
}

/// What has or may have instances of a webhook and is not on its way out, in one environment or in any.
pub(crate) const IN_SERVICE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM deployments WHERE webhook = $1 AND ($2 = '' OR environment = $2) AND status IN ('pending', 'starting', 'live')
        ORDER BY environment, generation"
);

impl Store {
    /// Writes the intent. Its generation is the next one of the place, whatever the given value says; returns it as written.
    pub async fn deployment_add_in(&self, tx: &mut Tx, deployment: &Deployment) -> Result<Deployment> {
        const LAST: &str = "SELECT COALESCE(MAX(generation), 0) AS generation FROM deployments WHERE webhook = $1 AND environment = $2";
        const ADD: &str =
            concat!("INSERT INTO deployments (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)");
        let last = tx.fetch_optional(LAST, args![deployment.webhook, deployment.environment]).await?;
        let last: u64 = last.map_or(Ok(0), |row| row.number("generation"))?;
        let added = Deployment { generation: last + 1, ..deployment.clone() };
        let values = args![
            added.id,
            added.webhook,
            added.environment,
            added.generation,
            added.release,
            added.image,
            added.promotion,
            json_text(&added.config),
            added.instances,
            added.status,
            added.status_reason.clone(),
            added.created_at,
            added.live_at,
            added.ended_at
        ];
        tx.execute(ADD, values).await?;
        Ok(added)
    }

    /// Writes status, reason and times, if it is still in the status `from`; whether it was.
    pub async fn deployment_update_in(&self, tx: &mut Tx, from: DeploymentStatus, deployment: &Deployment) -> Result<bool> {
        const UPDATE: &str =
            "UPDATE deployments SET status = $1, status_reason = $2, live_at = $3, ended_at = $4 WHERE id = $5 AND status = $6";
        let values =
            args![deployment.status, deployment.status_reason.clone(), deployment.live_at, deployment.ended_at, deployment.id, from];
        Ok(tx.execute(UPDATE, values).await? > 0)
    }

    /// The deployment with that id.
    pub async fn deployment_fetch(&self, id: DeploymentId) -> Result<Option<Deployment>> {
        const FETCH: &str = concat!("SELECT ", columns!(), " FROM deployments WHERE id = $1");
        self.fetch_optional(FETCH, args![id]).await?.map(|row| read(&row)).transpose()
    }

    /// Deployments of a webhook, newest generation first; of one environment or of all.
    pub async fn deployment_list(
        &self,
        webhook: &WebhookName,
        environment: Option<&EnvironmentName>,
        limit: u32,
    ) -> Result<Vec<Deployment>> {
        const LIST: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deployments WHERE webhook = $1 AND ($2 IS NULL OR environment = $2) ORDER BY created_at DESC, id DESC LIMIT $3"
        );
        self.fetch_all(LIST, args![webhook, environment.cloned(), limit]).await?.iter().map(read).collect()
    }

    /// The live deployment of a place: the one with the route.
    pub async fn deployment_current(&self, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Option<Deployment>> {
        const CURRENT: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deployments WHERE webhook = $1 AND environment = $2 AND status = 'live' ORDER BY generation DESC LIMIT 1"
        );
        self.fetch_optional(CURRENT, args![webhook, environment]).await?.map(|row| read(&row)).transpose()
    }

    /// What is live of a webhook, in whichever environment.
    pub async fn deployment_list_live(&self, webhook: &WebhookName) -> Result<Vec<Deployment>> {
        const LIVE: &str = concat!("SELECT ", columns!(), " FROM deployments WHERE webhook = $1 AND status = 'live' ORDER BY environment");
        self.fetch_all(LIVE, args![webhook]).await?.iter().map(read).collect()
    }

    /// Everything that has or may have instances, older generations first.
    pub async fn deployment_list_active(&self) -> Result<Vec<Deployment>> {
        const ACTIVE: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deployments WHERE status IN ('pending', 'starting', 'live', 'draining') ORDER BY webhook, environment, generation"
        );
        self.fetch_all(ACTIVE, args![]).await?.iter().map(read).collect()
    }
}

pub(crate) fn read(row: &Row) -> Result<Deployment> {
    Ok(Deployment {
        id: row.parse("id")?,
        webhook: row.parse("webhook")?,
        environment: row.parse("environment")?,
        generation: row.number("generation")?,
        release: row.parse("release_id")?,
        image: row.parse("image")?,
        promotion: row.parse("promotion")?,
        config: row.json("config")?,
        instances: row.number("instances")?,
        status: row.parse("status")?,
        status_reason: row.optional_text("status_reason")?,
        created_at: row.instant("created_at")?,
        live_at: row.optional_instant("live_at")?,
        ended_at: row.optional_instant("ended_at")?,
    })
}
