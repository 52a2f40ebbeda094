//! The engine proper: intake of revisions, the scheduler of runs, releases, promotions and the reconciling of deployments.
//! It decides and writes decisions down; it touches no socket and no SQL text. Everything outside is behind the ports of `core`.

mod catch_up;
mod changes;
mod channel;
mod config;
mod deps;
mod error;
mod event;
mod follow;
mod gate;
mod handle;
mod history;
mod intake;
mod left_hook;
mod logs;
mod promotion;
mod reconcile;
mod release;
mod removal;
mod retention;
mod rights;
mod run;
mod scheduler;
mod stage;
mod subscription;
mod task;
mod wakes;

pub use deps::{Deps, PullRequests, Settings};
pub use error::{Error, Result};
pub use event::IsSought;
pub use handle::Control;
pub use history::{Commit, CommitRange};
pub use intake::{HookState, RepositoryWatch, RepositoryWatches};
pub use logs::LogRequest;
pub use promotion::Approved;
pub use removal::{RemovedWebhook, Undeployed};
pub use stage::{TestCase, TestCounts, TestEnding, read_report};
pub use task::Tasks;
pub use wakes::{RunChanged, Wakes};
