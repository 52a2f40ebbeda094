//! States as a word, a colour and a shape: never by colour alone.

use hookwright_core::status::{DeliveryStatus, DeploymentStatus, PromotionStatus, RunStatus, StageStatus, SubscriptionStatus};
use hookwright_core::{InstanceState, VerdictKind};
use serde::Serialize;

/// A state on a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Badge {
    /// Which colour: `good`, `bad`, `busy`, `wait`, `warn`, `off`.
    pub(crate) tone: &'static str,
    /// Which shape: the name of an icon.
    pub(crate) icon: &'static str,
    /// The word.
    pub(crate) word: String,
}

impl Badge {
    pub(crate) fn new(tone: &'static str, icon: &'static str, word: impl Into<String>) -> Self {
        Self { tone, icon, word: word.into() }
    }

    /// Nothing is there.
    pub(crate) fn none(word: &str) -> Self {
        Self::new("off", "none", word)
    }
}

impl From<RunStatus> for Badge {
    fn from(status: RunStatus) -> Self {
        let (tone, icon) = match status {
            RunStatus::Queued => ("off", "clock"),
            RunStatus::Running => ("busy", "running"),
            RunStatus::Succeeded => ("good", "check"),
            RunStatus::Failed => ("bad", "cross"),
            RunStatus::Errored => ("bad", "alert"),
            RunStatus::Canceled => ("off", "stop"),
            RunStatus::Superseded => ("off", "skip"),
            RunStatus::Skipped => ("off", "skip"),
        };
        Self::new(tone, icon, status.as_str())
    }
}

impl From<StageStatus> for Badge {
    fn from(status: StageStatus) -> Self {
        let (tone, icon, word) = match status {
            StageStatus::Waiting => ("off", "none", "waiting"),
            StageStatus::Queued => ("off", "clock", "queued"),
            StageStatus::Leased => ("busy", "running", "preparing"),
            StageStatus::Running => ("busy", "running", "running"),
            StageStatus::Held => ("wait", "pause", "held"),
            StageStatus::Unknown => ("warn", "alert", "unknown"),
            StageStatus::Succeeded => ("good", "check", "succeeded"),
            StageStatus::Cached => ("good", "cached", "cached"),
            StageStatus::Failed => ("bad", "cross", "failed"),
            StageStatus::Errored => ("bad", "alert", "errored"),
            StageStatus::Canceled => ("off", "stop", "canceled"),
            StageStatus::Superseded => ("off", "skip", "superseded"),
            StageStatus::Skipped => ("off", "skip", "skipped"),
        };
        Self::new(tone, icon, word)
    }
}

impl From<PromotionStatus> for Badge {
    fn from(status: PromotionStatus) -> Self {
        let (tone, icon) = match status {
            PromotionStatus::Waiting => ("wait", "pause"),
            PromotionStatus::Deploying => ("busy", "running"),
            PromotionStatus::Succeeded => ("good", "check"),
            PromotionStatus::Failed => ("bad", "cross"),
            PromotionStatus::Errored => ("bad", "alert"),
            PromotionStatus::Canceled => ("off", "stop"),
            PromotionStatus::Superseded => ("off", "skip"),
        };
        Self::new(tone, icon, status.as_str())
    }
}

impl From<DeploymentStatus> for Badge {
    fn from(status: DeploymentStatus) -> Self {
        let (tone, icon) = match status {
            DeploymentStatus::Pending => ("off", "clock"),
            DeploymentStatus::Starting => ("busy", "running"),
            DeploymentStatus::Live => ("good", "check"),
            DeploymentStatus::Draining => ("off", "skip"),
            DeploymentStatus::Retired => ("off", "stop"),
            DeploymentStatus::Failed => ("bad", "cross"),
            DeploymentStatus::Errored => ("bad", "alert"),
        };
        Self::new(tone, icon, status.as_str())
    }
}

impl From<DeliveryStatus> for Badge {
    fn from(status: DeliveryStatus) -> Self {
        let (tone, icon) = match status {
            DeliveryStatus::Queued => ("busy", "clock"),
            DeliveryStatus::Waiting => ("wait", "pause"),
            DeliveryStatus::Delivered => ("good", "check"),
            DeliveryStatus::Dead => ("bad", "cross"),
            DeliveryStatus::Skipped => ("off", "skip"),
            DeliveryStatus::Canceled => ("off", "stop"),
        };
        Self::new(tone, icon, status.as_str())
    }
}

impl From<SubscriptionStatus> for Badge {
    fn from(status: SubscriptionStatus) -> Self {
        let (tone, icon, word) = match status {
            SubscriptionStatus::Pending => ("off", "clock", "pending"),
            SubscriptionStatus::Manual => ("wait", "person", "by hand"),
            SubscriptionStatus::Active => ("good", "check", "active"),
            SubscriptionStatus::Failing => ("bad", "alert", "failing"),
            SubscriptionStatus::Off => ("off", "stop", "off"),
        };
        Self::new(tone, icon, word)
    }
}

impl From<InstanceState> for Badge {
    fn from(state: InstanceState) -> Self {
        let (tone, icon, word) = match state {
            InstanceState::Starting => ("busy", "running", "starting"),
            InstanceState::Ready => ("good", "check", "ready"),
            InstanceState::Unhealthy => ("bad", "alert", "unhealthy"),
            InstanceState::BackingOff => ("warn", "alert", "backing off"),
            InstanceState::Ended => ("off", "stop", "ended"),
        };
        Self::new(tone, icon, word)
    }
}

impl From<VerdictKind> for Badge {
    fn from(kind: VerdictKind) -> Self {
        let (tone, icon, word) = match kind {
            VerdictKind::Pass => ("good", "check", "passes"),
            VerdictKind::Wait => ("wait", "pause", "waits"),
            VerdictKind::Block => ("bad", "alert", "blocks"),
        };
        Self::new(tone, icon, word)
    }
}
