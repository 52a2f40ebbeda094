//! What a slot knows about its stage, and its workspace on this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hookwright_core::port::Selection;
use hookwright_core::{Digest, RepoPath, StageRunId};
use hookwright_spec::{PlannedStage, StageKind};

use super::Prepared;
use crate::run::RunContext;
use crate::scheduler::LiveRun;
use crate::{Deps, Error, Result};

/// One attempt at a stage, as a slot sees it: a copy, so that the scheduler goes on meanwhile.
pub(crate) struct Context {
    pub(super) deps: Deps,
    pub(super) run: Arc<RunContext>,
    pub(super) id: StageRunId,
    pub(super) place: usize,
    /// Its cache key, when it was computed before.
    pub(super) cache_key: Option<Digest>,
    /// Archives of everything upstream, in the order of the plan.
    pub(super) upstream: Vec<Digest>,
    /// The image that a stage upstream made.
    pub(super) image: Option<Digest>,
}

impl Context {
    pub(crate) fn new(deps: &Deps, run: &Arc<RunContext>, live: &LiveRun, place: usize) -> Self {
        let upstream = live.upstream(place);
        let record = live.stage(place);
        Self {
            deps: deps.clone(),
            run: Arc::clone(run),
            id: record.stage_run.id,
            place,
            cache_key: record.stage_run.cache_key,
            upstream: upstream.iter().filter_map(|&at| live.stage(at).outputs).collect(),
            image: upstream.iter().rev().find_map(|&at| live.stage(at).image),
        }
    }

    pub(super) fn stage(&self) -> &PlannedStage {
        self.run.stage(self.place)
    }

    pub(super) async fn prepare(&self) -> Result<Prepared> {
        match &self.stage().kind {
            StageKind::Checkout => self.check_out().await.map(Prepared::Done),
            StageKind::Command { script } => self.start(script).await,
            StageKind::Image { .. } => self.build_image().await.map(Prepared::Done),
            StageKind::Deploy => self.deploy().await,
        }
    }

    pub(super) fn workspace(&self) -> PathBuf {
        workspace(&self.deps, self.id)
    }

    /// An empty workspace with the stage's inputs and everything from upstream.
    pub(super) async fn fill_workspace(&self) -> Result<PathBuf> {
        let root = self.workspace();
        remove(&root).await.and(tokio::fs::create_dir_all(&root).await).map_err(|cause| Error::internal("create the workspace", cause))?;
        let selection = Selection { folder: self.folder()?, globs: self.stage().inputs.clone() };
        self.deps.revisions.checkout(&self.run.repository, &self.run.revision.commit, &selection, &root).await?;
        for archive in &self.upstream {
            self.deps.artifacts.unpack(archive, &root).await?;
        }
        Ok(root)
    }

    pub(super) fn folder(&self) -> Result<Option<RepoPath>> {
        let folder = &self.run.plan.folder;
        if folder.is_empty() {
            return Ok(None);
        }
        RepoPath::new(folder.clone()).map(Some).map_err(|cause| Error::Invalid(cause.to_string()))
    }
}

fn workspace(deps: &Deps, id: StageRunId) -> PathBuf {
    deps.settings.data.join("workspaces").join(id.to_string())
}

/// Removes the workspace of a stage that has ended; one that is gone is fine.
pub(crate) async fn remove_workspace(deps: &Deps, id: StageRunId) -> io::Result<()> {
    remove(&workspace(deps, id)).await
}

async fn remove(folder: &Path) -> io::Result<()> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}
