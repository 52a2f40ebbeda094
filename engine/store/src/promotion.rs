//! Promotions: at most one open per release and environment; written only from the status the writer knows.

use hookwright_core::status::PromotionStatus;
use hookwright_core::{EnvironmentName, Promotion, PromotionId, ReleaseId, WebhookName};

use crate::sql::{Row, args, json_text};
use crate::{Result, Store, Tx};

macro_rules! columns {
    () => {
        "id, webhook, environment, release_id, origin, status, status_reason, verdicts, deployment, created_at, ended_at"
    };
}

macro_rules! list {
    ($which:literal, $order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM promotions WHERE ",
            $which,
            " AND ($2 IS NULL OR environment = $2) AND ($3 = 0 OR status IN ('waiting', 'deploying')) AND ($4 IS NULL OR id < $4) ORDER BY ",
            $order,
            " DESC LIMIT $5"
        )
    };
}

const LIST: &str = list!("($1 IS NULL OR webhook = $1)", "id");
const OF_WEBHOOK: &str = list!("webhook = $1", "id");
/// What has not ended, by the index of that. Ordered by an expression: by the column SQLite would walk all of history along the primary key.
pub(crate) const OPEN: &str = list!("status IN ('waiting', 'deploying') AND ($1 IS NULL OR webhook = $1)", "id || ''");

/// What has not ended of a webhook, into one environment or into any, oldest first.
pub(crate) const OPEN_OF_WEBHOOK: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM promotions WHERE webhook = $1 AND ($2 = '' OR environment = $2) AND status IN ('waiting', 'deploying') ORDER BY id"
);

/// Which promotions are listed, newest first.
#[derive(Clone, Debug, Default)]
pub struct PromotionFilter {
    /// Only of this webhook.
    pub webhook: Option<WebhookName>,
    /// Only into this environment.
    pub environment: Option<EnvironmentName>,
    /// Only those that have not ended.
    pub open: bool,
    /// Only older than this one: the last of the page before.
    pub before: Option<PromotionId>,
    /// At most so many.
    pub limit: u32,
}

impl Store {
    /// Opens a promotion. A conflict error when one is open for the release and environment.
    pub async fn promotion_add_in(&self, tx: &mut Tx, promotion: &Promotion) -> Result<()> {
        const ADD: &str = concat!("INSERT INTO promotions (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
        let values = args![
            promotion.id,
            promotion.webhook,
            promotion.environment,
            promotion.release,
            json_text(&promotion.origin),
            promotion.status,
            promotion.status_reason.clone(),
            json_text(&promotion.verdicts),
            promotion.deployment,
            promotion.created_at,
            promotion.ended_at
        ];
        tx.execute(ADD, values).await.map(drop)
    }

    /// Writes what changes of a promotion, if it is still in the status `from`; whether it was.
    pub async fn promotion_update_in(&self, tx: &mut Tx, from: PromotionStatus, promotion: &Promotion) -> Result<bool> {
        const UPDATE: &str = "UPDATE promotions SET origin = $1, status = $2, status_reason = $3, verdicts = $4, deployment = $5,
             created_at = $6, ended_at = $7 WHERE id = $8 AND status = $9";
        let values = args![
            json_text(&promotion.origin),
            promotion.status,
            promotion.status_reason.clone(),
            json_text(&promotion.verdicts),
            promotion.deployment,
            promotion.created_at,
            promotion.ended_at,
            promotion.id,
            from
        ];
        Ok(tx.execute(UPDATE, values).await? > 0)
    }

    /// Writes the verdicts of a promotion that waits; whether it still did.
    pub async fn promotion_judge_in(&self, tx: &mut Tx, promotion: &Promotion) -> Result<bool> {
        const JUDGE: &str = "UPDATE promotions SET verdicts = $1, status_reason = $2 WHERE id = $3 AND status = 'waiting'";
        let values = args![json_text(&promotion.verdicts), promotion.status_reason.clone(), promotion.id];
        Ok(tx.execute(JUDGE, values).await? > 0)
    }

    /// The promotion with that id.
    pub async fn promotion_fetch(&self, id: PromotionId) -> Result<Option<Promotion>> {
        const FETCH: &str = concat!("SELECT ", columns!(), " FROM promotions WHERE id = $1");
        self.fetch_optional(FETCH, args![id]).await?.map(|row| read(&row)).transpose()
    }

    /// The open promotion of a release into an environment.
    pub async fn promotion_open_in(
        &self,
        tx: &mut Tx,
        webhook: &WebhookName,
        environment: &EnvironmentName,
        release: &ReleaseId,
    ) -> Result<Option<Promotion>> {
        const OPEN: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM promotions WHERE webhook = $1 AND environment = $2 AND release_id = $3 AND status IN ('waiting', 'deploying')"
        );
        tx.fetch_optional(OPEN, args![webhook, environment, release]).await?.map(|row| read(&row)).transpose()
    }

    /// Whether a release succeeded in an environment before.
    pub async fn promotion_has_succeeded(&self, webhook: &WebhookName, environment: &EnvironmentName, release: &ReleaseId) -> Result<bool> {
        const PAST: &str =
            "SELECT id FROM promotions WHERE webhook = $1 AND environment = $2 AND release_id = $3 AND status = 'succeeded' LIMIT 1";
        Ok(self.fetch_optional(PAST, args![webhook, environment, release]).await?.is_some())
    }

    /// Promotions, newest first.
    pub async fn promotion_list(&self, filter: &PromotionFilter) -> Result<Vec<Promotion>> {
        let (webhook, environment) = (filter.webhook.clone(), filter.environment.clone());
        let statement = match (&webhook, filter.open) {
            (Some(_), _) => OF_WEBHOOK,
            (None, true) => OPEN,
            (None, false) => LIST,
        };
        let values = args![webhook, environment, filter.open, filter.before, filter.limit];
        self.fetch_all(statement, values).await?.iter().map(read).collect()
    }
}

pub(crate) fn read(row: &Row) -> Result<Promotion> {
    Ok(Promotion {
        id: row.parse("id")?,
        webhook: row.parse("webhook")?,
        environment: row.parse("environment")?,
        release: row.parse("release_id")?,
        origin: row.json("origin")?,
        status: row.parse("status")?,
        status_reason: row.optional_text("status_reason")?,
        verdicts: row.json("verdicts")?,
        deployment: row.optional_parse("deployment")?,
        created_at: row.instant("created_at")?,
        ended_at: row.optional_instant("ended_at")?,
    })
}
