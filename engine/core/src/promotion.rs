//! Promotions, the decisions about them, and holds.

use serde::{Deserialize, Serialize};

use crate::status::PromotionStatus;
use crate::{ApprovalId, DeploymentId, EnvironmentName, PromotionId, ReleaseId, RunId, Timestamp, Verdict, WebhookName};

/// Who or what opened a promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// The deploy stage of a run, into the first environment.
    Run {
        /// Which run; its deploy stage ends with the promotion.
        run: RunId,
    },
    /// The release succeeded in the environment before.
    Automation,
    /// Somebody asked for it.
    Person {
        /// Who.
        actor: String,
    },
    /// Somebody went back to an older release. It skips checks and approvals when the release already succeeded there.
    Rollback {
        /// Who.
        actor: String,
    },
    /// A secret or a setting of the daemon changed: the same release again, with the new values.
    Reconfigure {
        /// Who.
        actor: String,
    },
}

/// What one gate said about a promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateVerdict {
    /// Which gate: `approvals`, `config`, `hold`, `checks.smoke`, `windows`.
    pub gate: String,
    /// What it said last.
    pub verdict: Verdict,
}

/// A release on its way into an environment. At most one is open per release and environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// Its id.
    pub id: PromotionId,
    /// Whose release.
    pub webhook: WebhookName,
    /// Where to.
    pub environment: EnvironmentName,
    /// What.
    pub release: ReleaseId,
    /// Who or what opened it.
    pub origin: Origin,
    /// Where it stands.
    pub status: PromotionStatus,
    /// Why, as a sentence.
    pub status_reason: Option<String>,
    /// The latest verdict of every gate.
    pub verdicts: Vec<GateVerdict>,
    /// The deployment made for it.
    pub deployment: Option<DeploymentId>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Yes, no, or "go on although a gate that cannot be evaluated blocks".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No: the promotion ends.
    Reject,
    /// An admin's audited override of blocking gates; never of missing config.
    Override,
}

/// A person's recorded decision, bound to the release and not to the promotion: it is worth nothing for another release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The promotion it was given on.
    pub promotion: PromotionId,
    /// The release it is bound to.
    pub release: ReleaseId,
    /// The environment it is for.
    pub environment: EnvironmentName,
    /// Whose webhook.
    pub webhook: WebhookName,
    /// Who decided.
    pub user: String,
    /// Their teams at that moment.
    pub teams: Vec<String>,
    /// What.
    pub decision: Decision,
    /// Why, in their words.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// An environment that automation leaves alone, because somebody rolled it back or set the hold by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose.
    pub webhook: WebhookName,
    /// Where.
    pub environment: EnvironmentName,
    /// What it was rolled back to; `None` of a hold that was set by hand.
    pub release: Option<ReleaseId>,
    /// Who did.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}
