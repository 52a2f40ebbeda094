//! What stands in a cell of the board, and on the pages about one environment: what runs there, what waits and what came to nothing.

use std::collections::BTreeMap;

use hookwright_core::status::{DeploymentStatus, PromotionStatus};
use hookwright_core::{Deployment, InstanceState, Promotion, ReleaseId, Timestamp, VerdictKind};
use hookwright_store::ReleaseInfo;
use serde::Serialize;

use crate::error::Result;
use crate::pages::release::ReleaseShown;
use crate::show::{Badge, Drawing, Moment, visible};
use crate::{WebState, urls};

/// What runs in an environment, and what waits there.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) environment: String,
    pub(crate) url: String,
    pub(crate) badge: Badge,
    pub(crate) release: Option<ReleaseShown>,
    /// `2/2`.
    pub(crate) instances: Option<String>,
    /// Requests of the last hour, of what is live.
    pub(crate) traffic: Option<Drawing>,
    pub(crate) waits: Vec<Waits>,
    pub(crate) held: Option<String>,
    /// The command that ends it, where `webhook.yaml` does not declare the environment any more.
    pub(crate) undeclared: Option<String>,
    /// The newest deployment here, when it came to nothing.
    pub(crate) failure: Option<Failure>,
    /// Where the instances and the log of what is live are.
    pub(crate) log: Option<String>,
}

/// A deployment that came to nothing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) url: String,
    pub(crate) short: String,
    pub(crate) reason: String,
    pub(crate) at: Moment,
}

/// A promotion that has not ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Waits {
    pub(crate) url: String,
    pub(crate) badge: Badge,
    pub(crate) short: String,
    pub(crate) title: String,
    /// For what or whom.
    pub(crate) reason: String,
    /// Whether whoever looks may decide it.
    pub(crate) mine: bool,
    /// Whether whoever looks has decided, and others are to.
    pub(crate) decided: bool,
    pub(crate) since: Moment,
}

impl Cell {
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let waits = Waits {
            url: "/promotions/1".into(),
            badge: Badge::new("wait", "pause", "waiting"),
            short: "0123456".into(),
            title: "<b>hostile".into(),
            reason: "<b>hostile".into(),
            mine: true,
            decided: false,
            since: Moment::sample(),
        };
        let failure = Failure { url: "/x".into(), short: "0123456".into(), reason: "<b>hostile".into(), at: Moment::sample() };
        Self {
            environment: "production".into(),
            url: "/x".into(),
            badge: Badge::new("good", "check", "live"),
            release: Some(ReleaseShown::sample()),
            instances: Some("1/1".into()),
            traffic: Some(Drawing::sample()),
            waits: vec![waits],
            held: Some("<b>hostile".into()),
            undeclared: Some("hookwright undeploy shop production".into()),
            failure: Some(failure),
            log: Some("/x".into()),
        }
    }
}

/// Whether a promotion waits for people to approve it.
pub(super) fn is_decidable(promotion: &Promotion) -> bool {
    promotion.verdicts.iter().any(|gate| gate.gate == "approvals" && gate.verdict.kind == VerdictKind::Wait)
}

/// A promotion that has not ended, in a line.
pub(super) fn waits(
    promotion: &Promotion,
    releases: &BTreeMap<ReleaseId, ReleaseInfo>,
    (may, decided): (bool, bool),
    now: Timestamp,
) -> Waits {
    let release = releases.get(&promotion.release).map(|release| ReleaseShown::new(release, now));
    let asks = is_decidable(promotion);
    let reason = promotion.status_reason.clone().unwrap_or_else(|| match promotion.status {
        PromotionStatus::Waiting => "its gates are being asked".to_owned(),
        _ => "it is being deployed".to_owned(),
    });
    Waits {
        url: urls::promotion(promotion.id),
        badge: promotion.status.into(),
        short: release.as_ref().map_or_else(|| promotion.release.to_string(), |release| release.short.clone()),
        title: release.map(|release| release.title).unwrap_or_default(),
        reason: visible(&reason),
        mine: may && asks && !decided,
        decided: asks && decided,
        since: Moment::new(promotion.created_at, now),
    }
}

/// How a deployment is, by its status and by its instances, and how many of them are ready.
pub(crate) async fn health(state: &WebState, deployment: &Deployment) -> Result<(Badge, Option<String>)> {
    let observed = state.runtime.observe(&deployment.id).await?.unwrap_or_default();
    let ready = observed.instances.iter().filter(|one| one.state == InstanceState::Ready).count();
    let wanted = deployment.instances as usize;
    let badge = match deployment.status {
        DeploymentStatus::Live if observed.given_up.is_some() => Badge::new("bad", "cross", "failing"),
        DeploymentStatus::Live if ready < wanted => Badge::new("warn", "alert", "degraded"),
        status => status.into(),
    };
    Ok((badge, Some(format!("{ready}/{wanted}"))))
}
