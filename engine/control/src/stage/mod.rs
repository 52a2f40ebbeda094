//! What a slot does for one stage: prepares it and starts its job or does its engine work, and stores what a job left behind.
//! Nothing here writes statuses: results go back to the scheduler.

mod checkout;
mod command;
mod context;
mod declared;
mod deploy;
mod image;
mod report;

use hookwright_core::{Artifact, Digest, PromotionId};
use hookwright_store::CacheEntry;

use crate::Result;
use crate::scheduler::Ending;

pub(crate) use command::collect;
pub(crate) use context::{Context, remove_workspace};
pub use report::{TestCase, TestCounts, TestEnding, read_report};

/// Where a stage stands after its preparation.
pub(crate) enum Prepared {
    /// Its job was started.
    Started {
        /// Under which key its outputs will be found again.
        cache_key: Option<Digest>,
    },
    /// An earlier run did the same.
    Hit {
        /// The key.
        cache_key: Digest,
        /// What is known under it.
        entry: CacheEntry,
    },
    /// It waits for a promotion.
    Held(PromotionId),
    /// It was engine work and is over.
    Done(Finished),
}

/// How a stage ended and what it left behind.
pub(crate) struct Finished {
    pub(crate) ending: Ending,
    pub(crate) exit_code: Option<i32>,
    pub(crate) cache_key: Option<Digest>,
    pub(crate) outputs: Option<Digest>,
    pub(crate) image: Option<Digest>,
    /// Counts of its reports, as JSON of [`TestCounts`].
    pub(crate) tests: Option<String>,
    pub(crate) artifacts: Vec<Artifact>,
}

impl Finished {
    pub(crate) fn new(ending: Ending) -> Self {
        Self { ending, exit_code: None, cache_key: None, outputs: None, image: None, tests: None, artifacts: Vec::new() }
    }
}

/// Prepares a stage and starts it.
pub(crate) async fn prepare(stage: &Context) -> Result<Prepared> {
    stage.prepare().await
}
