//! What a gate says: pass, wait or block, and everything a waiting person wants to know.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The three answers of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictKind {
    /// The condition holds.
    Pass,
    /// It may hold later by itself or by somebody's doing.
    Wait,
    /// It does not hold, and will not without a change or an admin's override.
    Block,
}

/// A gate's answer with its reason, who or what can change it, and when it is looked at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Pass, wait or block.
    pub kind: VerdictKind,
    /// Why, as a sentence.
    pub reason: String,
    /// What moves it: a command, a person, a time. Empty for a pass.
    pub unblock: String,
    /// When it is asked again at the latest; `None` when only an event changes it.
    pub next_look: Option<Timestamp>,
}

impl Verdict {
    /// The condition holds.
    pub fn pass(reason: impl Into<String>) -> Self {
        Self { kind: VerdictKind::Pass, reason: reason.into(), unblock: String::new(), next_look: None }
    }

    /// Wait for `unblock`.
    pub fn wait(reason: impl Into<String>, unblock: impl Into<String>) -> Self {
        Self { kind: VerdictKind::Wait, reason: reason.into(), unblock: unblock.into(), next_look: None }
    }

    /// Blocked until `unblock`.
    pub fn block(reason: impl Into<String>, unblock: impl Into<String>) -> Self {
        Self { kind: VerdictKind::Block, reason: reason.into(), unblock: unblock.into(), next_look: None }
    }
}
