//! The checkout stage: the commit is here and its tree is harmless. Every stage takes its own clean files from it later.

use hookwright_core::port::Tip;
use hookwright_core::status::StageStatus;

use super::{Context, Finished};
use crate::Result;
use crate::scheduler::Ending;

impl Context {
    pub(super) async fn check_out(&self) -> Result<Finished> {
        let revision = &self.run.revision;
        let tip = Tip { reference: revision.reference.clone(), commit: revision.commit.clone() };
        self.deps.revisions.fetch(&self.run.repository, &tip).await?;
        let files = self.deps.revisions.tree(&self.run.repository, &revision.commit).await?.len();
        let note = format!("{} at {}: {files} files", revision.reference.short(), revision.commit.short());
        self.deps.executor.note(&self.id, &note).await?;
        Ok(Finished::new(Ending::new(StageStatus::Succeeded, None)))
    }
}
