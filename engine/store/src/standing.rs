//! What the verdicts on waiting promotions depend on besides the promotions themselves. Whoever judges them asks
//! with one statement which of it has changed, however many wait: most wait for a person, for days.

use hookwright_core::{PromotionId, Timestamp};

use crate::sql::args;
use crate::{Result, Store};

/// Where an open promotion stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub promotion: PromotionId,
    /// When its release was made; `None` when the release is gone.
    pub released_at: Option<Timestamp>,
    /// Another one means that a gate may say something else now.
    pub stamp: StandingStamp,
}

/// A state of the approvals, the hold, the live deployment, the secrets and the default branch's spec that a promotion is judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingStamp {
    approvals: i64,
    held: i64,
    live: i64,
    secrets: i64,
    set_at: i64,
    policy: Option<String>,
}

impl Store {
    /// The standing of every promotion that has not ended. An approval that expires changes no stamp.
    pub async fn promotion_standings(&self) -> Result<Vec<Standing>> {
        // The run of the policy is found as `release_policy_spec` finds it.
        const STANDINGS: &str = "SELECT promotions.id AS id, releases.created_at AS released_at,
            (SELECT COUNT(*) FROM approvals WHERE approvals.webhook = promotions.webhook AND approvals.environment = promotions.environment
                AND approvals.release_id = promotions.release_id) AS approvals,
            (SELECT COALESCE(MAX(since), 0) FROM holds WHERE holds.webhook = promotions.webhook
                AND holds.environment = promotions.environment) AS held,
            (SELECT COALESCE(MAX(generation), 0) FROM deployments WHERE deployments.webhook = promotions.webhook
                AND deployments.environment = promotions.environment AND deployments.status = 'live') AS live,
            (SELECT COUNT(*) FROM secrets WHERE secrets.webhook = promotions.webhook
                AND secrets.environment = promotions.environment) AS secrets,
            (SELECT CAST(COALESCE(SUM(updated_at), 0) AS BIGINT) FROM secrets WHERE secrets.webhook = promotions.webhook
                AND secrets.environment = promotions.environment) AS set_at,
            (SELECT runs.id FROM runs
                JOIN webhooks ON webhooks.name = runs.webhook AND webhooks.repository = runs.repository
                JOIN repositories ON repositories.id = runs.repository
                WHERE runs.webhook = promotions.webhook AND runs.spec <> '' AND runs.reference = 'refs/heads/' || repositories.default_branch
                ORDER BY runs.id DESC LIMIT 1) AS policy
            FROM promotions LEFT JOIN releases ON releases.id = promotions.release_id
            WHERE promotions.status IN ('waiting', 'deploying')";
        let rows = self.fetch_all(STANDINGS, args![]).await?;
        rows.iter()
            .map(|row| {
                let stamp = StandingStamp {
                    approvals: row.integer("approvals")?,
                    held: row.integer("held")?,
                    live: row.integer("live")?,
                    secrets: row.integer("secrets")?,
                    set_at: row.integer("set_at")?,
                    policy: row.optional_text("policy")?,
                };
                Ok(Standing { promotion: row.parse("id")?, released_at: row.optional_instant("released_at")?, stamp })
            })
            .collect()
    }
}
