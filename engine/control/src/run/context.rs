//! Everything about a run that does not change while it runs.

use hookwright_core::port::Location;
use hookwright_core::{RefName, Repository, RepositoryKind, Revision, Run};
use hookwright_spec::{Plan, PlannedStage, Spec, StageKind};
use hookwright_store::RunRecord;

use crate::scheduler::Node;
use crate::{Deps, Error, PullRequests, Result};

/// A run's plan, spec and revision.
pub(crate) struct RunContext {
    pub(crate) run: Run,
    pub(crate) plan: Plan,
    pub(crate) spec: Spec,
    pub(crate) revision: Revision,
    pub(crate) repository: Location,
}

impl RunContext {
    pub(crate) async fn read(deps: &Deps, record: RunRecord) -> Result<Self> {
        let unreadable =
            |what: &str, cause: serde_json::Error| Error::Invalid(format!("its stored {what} cannot be read ({cause}); start it again"));
        let plan: Plan = serde_json::from_str(&record.plan).map_err(|cause| unreadable("plan", cause))?;
        let spec: Spec = serde_json::from_str(&record.spec).map_err(|cause| unreadable("spec", cause))?;
        let revision =
            deps.store.revision_fetch(&record.run.revision).await?.ok_or_else(|| Error::NotFound("its revision is gone".to_owned()))?;
        let repository =
            deps.store.repository_fetch(&record.repository).await?.ok_or_else(|| Error::NotFound("its repository is gone".to_owned()))?;
        let repository = location(deps, &repository).await?;
        Ok(Self { run: record.run, plan, spec, revision, repository })
    }

    pub(crate) fn reference(&self) -> &RefName {
        &self.revision.reference
    }

    pub(crate) fn stage(&self, place: usize) -> &PlannedStage {
        &self.plan.stages[place]
    }

    /// Whether an executor runs the stage; the others are the engine's own work.
    pub(crate) fn is_job(&self, place: usize) -> bool {
        matches!(self.stage(place).kind, StageKind::Command { .. })
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        let node = |stage: &PlannedStage| Node {
            name: stage.name.clone(),
            needs: stage.needs.clone(),
            retries: stage.retry,
            allow_failure: stage.allow_failure,
            deploys: stage.kind == StageKind::Deploy,
        };
        self.plan.stages.iter().map(node).collect()
    }
}

/// How a repository is reached, with its credential.
pub(crate) async fn location(deps: &Deps, repository: &Repository) -> Result<Location> {
    let (url, credential) = match &repository.kind {
        RepositoryKind::Hosted => (None, None),
        RepositoryKind::Remote { url } => (Some(url.clone()), deps.store.remote_credential_fetch(&repository.id).await?),
    };
    let pull_requests = url.is_some() && deps.settings.pull_requests != PullRequests::Ignored;
    Ok(Location { id: repository.id, name: repository.name.clone(), url, credential, pull_requests })
}
