//! The vocabulary of Hookwright: names, ids, digests, statuses with their transition tables, domain types and the ports.
//! No I/O, no runtime, no SQL: everything here is values and contracts, so that every other crate may depend on it.

mod access;
mod blame;
mod channel;
mod deployment;
mod digest;
mod event;
mod id;
mod log;
mod name;
pub mod port;
mod promotion;
mod redact;
mod release;
mod repository;
mod repository_hook;
mod role_map;
mod run;
mod secret;
pub mod status;
mod time;
mod traffic;
mod verdict;

pub use access::{Action, Actor, Grant, Role, Scope};
pub use blame::{Blame, PortError};
pub use channel::Channel;
pub use deployment::{Deployment, Health, InstanceState, InstanceStatus, Resources};
pub use digest::{CommitSha, Digest, InvalidDigest, Sha256};
pub use event::{
    Attempt, AttemptAnswer, BoundTrigger, CatchUp, Delivery, DeliveryPolicy, Event, HookAddress, InvalidHookAddress, Schedule,
    Subscription, TriggerPlace,
};
pub use id::{
    ApprovalId, ArtifactId, AuditId, DeliveryId, DeploymentId, EventId, IdSource, InvalidId, OutboxId, PromotionId, RepositoryId,
    RevisionId, RunId, SessionId, StageRunId, SubscriptionId, TokenId, UploadId,
};
pub use log::{LogChunk, LogCursor, LogLine, LogStream};
pub use name::{
    ConfigName, EnvironmentName, ImageTag, InvalidName, PULL_REQUESTS, RefName, RepoPath, RepositoryName, StageName, TriggerName,
    WebhookName,
};
pub use promotion::{Approval, Decision, GateVerdict, Hold, Origin, Promotion};
pub use redact::{FieldPath, InvalidFieldPath, Redacted, hide, redact};
pub use release::{Release, ReleaseId};
pub use repository::{CommitInfo, RemoteCredential, Repository, RepositoryKind, Revision, RevisionEvent};
pub use repository_hook::{BoundHook, RepositoryHook};
pub use role_map::{GroupRule, RoleMap, Standing};
pub use run::{Artifact, ArtifactKind, Run, RunReason, StageRun};
pub use secret::SecretValue;
pub use time::{Clock, Timestamp};
pub use traffic::{LATENCY_BOUNDS, Traffic};
pub use verdict::{Verdict, VerdictKind};
