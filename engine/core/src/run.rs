//! Runs, stage runs and what they leave behind.

use serde::{Deserialize, Serialize};

use crate::status::{RunStatus, StageStatus};
use crate::{ArtifactId, Digest, RevisionId, RunId, StageName, StageRunId, Timestamp, WebhookName};

/// Why a run exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RunReason {
    /// A revision arrived.
    Revision,
    /// Somebody asked for it.
    Manual {
        /// Who.
        actor: String,
    },
    /// An ended run is done again.
    Retry {
        /// The run that is retried.
        of: RunId,
        /// Who asked.
        actor: String,
        /// Whether every stage is done again, whatever the cache has, or only what did not succeed.
        #[serde(default)]
        all: bool,
    },
}

/// The execution of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Counts up per webhook from 1.
    pub number: u32,
    /// Whose pipeline it is.
    pub webhook: WebhookName,
    /// What it builds.
    pub revision: RevisionId,
    /// Why it exists.
    pub reason: RunReason,
    /// Hash of the plan; with revision and reason it makes the run unique. Empty when the spec could not be planned.
    pub plan_digest: Option<Digest>,
    /// Whether secrets may be used and the cache may be written.
    pub trusted: bool,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it ended as it did, as a sentence; also why it waits.
    pub status_reason: Option<String>,
    /// The run that overtook it.
    pub superseded_by: Option<RunId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its first stage started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// One attempt at one stage of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageRun {
    /// Its id; also the id of the job an executor is asked to run.
    pub id: StageRunId,
    /// The run it belongs to.
    pub run: RunId,
    /// The stage of the plan.
    pub stage: StageName,
    /// Counts up from 1 per stage and run; history is kept.
    pub attempt: u32,
    /// Where it stands.
    pub status: StageStatus,
    /// Why it ended as it did, or what it waits for, as a sentence.
    pub status_reason: Option<String>,
    /// The key of its cache entry, once its needs have ended.
    pub cache_key: Option<Digest>,
    /// For a cached stage: the run the outputs came from.
    pub cached_from: Option<RunId>,
    /// The command's exit code, if it ran to one.
    pub exit_code: Option<i32>,
    /// When it became ready.
    pub queued_at: Option<Timestamp>,
    /// When work on it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// The stage's `outputs`, as one deterministic `tar.gz`.
    Outputs,
    /// A file named by `reports`.
    Report,
    /// An image's manifest.
    Image,
}

/// A stored output of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// The stage run that made it.
    pub stage_run: StageRunId,
    /// What it is.
    pub kind: ArtifactKind,
    /// The file name it is downloaded under.
    pub name: String,
    /// Its content in the blob store.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// When it was stored.
    pub created_at: Timestamp,
}
