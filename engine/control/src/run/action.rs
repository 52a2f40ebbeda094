//! What people may ask of runs: start one, cancel one, try one again. Rights are checked here and the audit line is written with the deed.

use std::collections::HashMap;

use hookwright_core::port::{Notifier, Topic};
use hookwright_core::status::{RunStatus, StageStatus};
use hookwright_core::{Action, Actor, RefName, RunId, RunReason, WebhookName};
use hookwright_spec::{Plan, Spec, StageKind};
use hookwright_store::{RunRecord, RunStop};

use super::{NewRun, create_in};
use crate::{Control, Error, Result, intake, rights};

impl Control {
    /// Stops a run: what has not begun never does, jobs are asked to end. The run ends when they have.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Conflict` when it has ended already.
    pub async fn run_cancel(&self, actor: &Actor, id: RunId) -> Result<()> {
        let deps = self.deps();
        let record = self.run_of(actor, id, "cancel").await?;
        let conflict = || Error::Conflict(format!("run {} of `{}` has ended already", record.run.number, record.run.webhook));
        if record.run.status.is_end() {
            return Err(conflict());
        }
        let mut tx = deps.store.begin().await?;
        let stop = RunStop { status: StageStatus::Canceled, reason: format!("canceled by {}", actor.user) };
        if !deps.store.run_stop_in(&mut tx, id, &stop).await? {
            return Err(conflict());
        }
        intake::audit_in(&mut tx, actor, "run.cancel", &record.run.webhook, &id.to_string()).await?;
        tx.commit("run.stopping").await?;
        deps.wakes.wake(Topic::Scheduler);
        Ok(())
    }

    /// Does an ended run again as a new run of the same plan: `all` of it, whatever the cache has, or only what did not succeed.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Conflict` when it runs still, never had a plan, or, without `all`, succeeded.
    pub async fn run_retry(&self, actor: &Actor, id: RunId, all: bool) -> Result<RunId> {
        let deps = self.deps();
        let record = self.run_of(actor, id, "retry").await?;
        let name = format!("run {} of `{}`", record.run.number, record.run.webhook);
        if !record.run.status.is_end() {
            return Err(Error::Conflict(format!("{name} has not ended; cancel it first")));
        }
        if record.run.status == RunStatus::Succeeded && !all {
            let text = format!(
                "{name} succeeded, so that there is no failed stage to begin at; `hookwright retry {} {} --all` does all of it again",
                record.run.webhook, record.run.number
            );
            return Err(Error::Conflict(text));
        }
        let (Ok(plan), Ok(spec)) = (serde_json::from_str::<Plan>(&record.plan), serde_json::from_str::<Spec>(&record.spec)) else {
            return Err(Error::Conflict(format!("{name} has no plan: mend `webhook.yaml` and push")));
        };
        let missing = || Error::NotFound("its revision is gone".to_owned());
        let revision = deps.store.revision_fetch(&record.run.revision).await?.ok_or_else(missing)?;
        let mut reuse = HashMap::new();
        for done in deps.store.stage_run_list(id).await? {
            let repeatable = plan.stage(&done.stage_run.stage).is_some_and(|stage| stage.kind != StageKind::Deploy);
            if repeatable && !all && done.stage_run.status.is_success() {
                reuse.insert(done.stage_run.stage.clone(), done);
            }
        }
        let reason = RunReason::Retry { of: id, actor: actor.user.clone(), all };
        let webhook = record.run.webhook.clone();
        let mut tx = deps.store.begin().await?;
        // What was removed is not built again under a name that may be another repository's by now. Pull requests of strangers hold no name.
        let owner = tx.webhook_hold(&webhook).await?;
        if owner.map_or(record.run.trusted, |owner| owner != record.repository) {
            return Err(Error::Conflict(format!("{name} was made before that webhook was removed; push its `webhook.yaml` again")));
        }
        let new = NewRun { webhook: webhook.clone(), revision: &revision, reason, planned: Ok((&spec, &plan)), reuse };
        let created = create_in(deps, &mut tx, new)
            .await?
            .ok_or_else(|| Error::Conflict(format!("{name} was retried already; retry the newer run")))?;
        intake::audit_in(&mut tx, actor, "run.retry", &webhook, &id.to_string()).await?;
        tx.commit("run.created").await?;
        deps.wakes.wake(Topic::Scheduler);
        deps.wakes.run_changed(created);
        Ok(created)
    }

    /// Starts a run of the commit that a ref points to now; without a ref, of the default branch.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Invalid` when the spec there cannot be planned.
    pub async fn run_start(&self, actor: &Actor, webhook: &WebhookName, reference: Option<&RefName>) -> Result<RunId> {
        rights::allow(actor, Action::Develop, "start runs of", Some(webhook), None)?;
        let id = intake::start(self.deps(), self.looks(), actor, webhook, reference).await?;
        self.deps().wakes.wake(Topic::Scheduler);
        self.deps().wakes.run_changed(id);
        Ok(id)
    }

    async fn run_of(&self, actor: &Actor, id: RunId, verb: &str) -> Result<RunRecord> {
        let record = self.deps().store.run_load(id).await?.ok_or_else(|| Error::NotFound(format!("there is no run {id}")))?;
        rights::allow(actor, Action::Develop, &format!("{verb} runs of"), Some(&record.run.webhook), None)?;
        Ok(record)
    }
}
