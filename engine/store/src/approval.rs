//! What people decided about promotions; kept for ever, bound to the release.

use hookwright_core::{Approval, Decision, EnvironmentName, PromotionId, ReleaseId, WebhookName};

use crate::sql::{Row, args, json_text};
use crate::{Error, Result, Store, Tx};

impl Store {
    /// Records a decision.
    pub async fn approval_add_in(&self, tx: &mut Tx, approval: &Approval) -> Result<()> {
        const ADD: &str = "INSERT INTO approvals
             (id, promotion, release_id, environment, webhook, user_name, teams, decision, reason, decided_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let values = args![
            approval.id,
            approval.promotion,
            approval.release,
            approval.environment,
            approval.webhook,
            approval.user,
            json_text(&approval.teams),
            text(approval.decision),
            approval.reason.clone(),
            approval.at
        ];
        tx.execute(ADD, values).await.map(drop)
    }

    /// The promotions that wait and about whose release this user has decided already.
    pub async fn promotion_decided_by(&self, user: &str) -> Result<Vec<PromotionId>> {
        const DECIDED: &str = "SELECT DISTINCT promotions.id AS id FROM promotions JOIN approvals ON approvals.webhook = promotions.webhook
             AND approvals.environment = promotions.environment AND approvals.release_id = promotions.release_id
             WHERE promotions.status IN ('waiting', 'deploying') AND promotions.status = 'waiting' AND approvals.user_name = $1";
        self.fetch_all(DECIDED, args![user]).await?.iter().map(|row| row.parse("id")).collect()
    }

    /// All decisions about a release on its way into an environment, in their order.
    pub async fn approval_list(&self, webhook: &WebhookName, environment: &EnvironmentName, release: &ReleaseId) -> Result<Vec<Approval>> {
        const LIST: &str = "SELECT id, promotion, release_id, environment, webhook, user_name, teams, decision, reason, decided_at
             FROM approvals WHERE webhook = $1 AND environment = $2 AND release_id = $3 ORDER BY id";
        self.fetch_all(LIST, args![webhook, environment, release]).await?.iter().map(read).collect()
    }
}

const fn text(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approve",
        Decision::Reject => "reject",
        Decision::Override => "override",
    }
}

fn read(row: &Row) -> Result<Approval> {
    let decision = match row.text("decision")?.as_str() {
        "approve" => Decision::Approve,
        "reject" => Decision::Reject,
        "override" => Decision::Override,
        other => return Err(Error::Corrupt { column: "decision", message: format!("`{other}` is no decision") }),
    };
    Ok(Approval {
        id: row.parse("id")?,
        promotion: row.parse("promotion")?,
        release: row.parse("release_id")?,
        environment: row.parse("environment")?,
        webhook: row.parse("webhook")?,
        user: row.text("user_name")?,
        teams: row.json("teams")?,
        decision,
        reason: row.optional_text("reason")?,
        at: row.instant("decided_at")?,
    })
}
