//! A stage with a command: looked up in the cache, started as a job, and its outputs and reports stored when it ends.
//! Invariant: an untrusted run is given no secret and writes no cache entry.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt;
use hookwright_core::port::{CacheMount, Isolation, Job, JobEnd, JobOutcome};
use hookwright_core::status::StageStatus;
use hookwright_core::{Artifact, ArtifactId, ArtifactKind, Digest, EnvironmentName, RunReason, SecretValue, Sha256};

use super::context::remove_workspace;
use super::report::{self, TestCounts};
use super::{Context, Finished, Prepared};
use crate::scheduler::Ending;
use crate::{Error, Result};

impl Context {
    pub(super) async fn start(&self, script: &str) -> Result<Prepared> {
        // What a stage made with secrets in its reach is not for strangers either.
        let may_reuse = self.run.run.trusted || self.stage().secrets.is_empty();
        let cache_key = if self.stage().cacheable && may_reuse { Some(self.cache_key().await?) } else { None };
        let is_done_again = matches!(self.run.run.reason, RunReason::Retry { all: true, .. });
        if let Some(cache_key) = cache_key
            && !is_done_again
            && let Some(entry) = self.deps.store.cache_fetch(&cache_key).await?
        {
            let from =
                self.deps.store.run_fetch(entry.run).await?.map_or_else(|| entry.run.to_string(), |run| format!("run {}", run.number));
            self.deps.executor.note(&self.id, &format!("nothing it depends on changed: outputs come from {from}")).await?;
            return Ok(Prepared::Hit { cache_key, entry });
        }
        let workspace = self.fill_workspace().await?;
        let (secrets, masks) = self.secrets().await?;
        let settings = &self.deps.settings;
        let job = Job {
            id: self.id,
            script: script.to_owned(),
            workspace,
            environment: self.environment(),
            secrets,
            masks,
            caches: self.caches().await?,
            timeout: self.stage().timeout,
            log_limit: settings.log_limit,
            limits: settings.limits,
            isolation: if self.run.run.trusted { settings.isolation } else { Isolation::Required },
            network: settings.network,
        };
        self.deps.executor.start(&job).await?;
        Ok(Prepared::Started { cache_key })
    }

    /// The key over everything that the outcome depends on.
    async fn cache_key(&self) -> Result<Digest> {
        let stage = self.stage();
        let mut key = Sha256::default();
        // Raised whenever what was kept before is not believed any more: since 2, outputs that are declared were there.
        key.part("stage 2").part(stage.cache_material.to_string()).part(self.deps.executor.platform());
        for archive in &self.upstream {
            key.part("upstream").part(archive.to_string());
        }
        for (tool, command) in &stage.tools {
            let version = self.deps.executor.tool_version(command).await?;
            key.part(tool).part(version.unwrap_or_else(|| "missing".to_owned()));
        }
        Ok(key.finish())
    }

    async fn secrets(&self) -> Result<(BTreeMap<String, SecretValue>, Vec<SecretValue>)> {
        let webhook = &self.run.spec.name;
        let masks = self.deps.store.secret_masks(webhook).await?;
        let wanted = &self.stage().secrets;
        if wanted.is_empty() || !self.run.run.trusted {
            return Ok((BTreeMap::new(), masks));
        }
        let build = EnvironmentName::new(EnvironmentName::BUILD)
            .map_err(|cause| Error::internal("name the environment of build secrets", cause))?;
        let values = self.deps.store.secret_values(webhook, &build).await?;
        let mut secrets = BTreeMap::new();
        for name in wanted {
            let value = values.get(name).ok_or_else(|| {
                Error::Invalid(format!(
                    "the build secret `{name}` is not set; set it with `hookwright secret set {webhook} {build} {name}`"
                ))
            })?;
            secrets.insert(name.to_string(), value.clone());
        }
        Ok((secrets, masks))
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let revision = &self.run.revision;
        let mut environment = self.stage().env.clone();
        let own = [
            ("CI", "true".to_owned()),
            ("HOOKWRIGHT_RUN", self.run.run.id.to_string()),
            ("HOOKWRIGHT_STAGE", self.stage().name.to_string()),
            ("HOOKWRIGHT_WEBHOOK", self.run.spec.name.to_string()),
            ("HOOKWRIGHT_COMMIT", revision.commit.to_string()),
            ("HOOKWRIGHT_REF", revision.reference.to_string()),
            ("HOOKWRIGHT_BRANCH", revision.reference.branch().unwrap_or_default().to_owned()),
            ("HOOKWRIGHT_TAG", revision.reference.tag().unwrap_or_default().to_owned()),
            ("HOOKWRIGHT_EVENT", revision.event.as_str().to_owned()),
        ];
        if let Some(number) = revision.reference.pull_request() {
            environment.insert("HOOKWRIGHT_PULL_REQUEST".to_owned(), number.to_string());
        }
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        environment
    }

    /// Folders kept between the runs of a webhook; an untrusted run gets folders of its own, which end with it.
    async fn caches(&self) -> Result<Vec<CacheMount>> {
        if !self.run.run.trusted {
            return Ok(Vec::new());
        }
        let mut mounts = Vec::new();
        for path in &self.stage().cache {
            let name = Digest::of(path).short();
            let directory = self.deps.settings.data.join("caches").join(self.run.spec.name.as_str()).join(name);
            tokio::fs::create_dir_all(&directory).await.map_err(|cause| Error::internal("create a cache folder", cause))?;
            mounts.push(CacheMount { path: path.clone(), directory });
        }
        Ok(mounts)
    }
}

/// Stores what an ended job left behind, and says how the stage ended.
pub(crate) async fn collect(stage: &Context, end: JobEnd) -> Result<Finished> {
    let finished = stage.store_leavings(end).await;
    if let Err(cause) = remove_workspace(&stage.deps, stage.id).await {
        tracing::warn!(stage.id = %stage.id, error = %cause, "a workspace cannot be removed; retention tries again");
    }
    finished
}

impl Context {
    async fn store_leavings(&self, end: JobEnd) -> Result<Finished> {
        let mut finished = Finished::new(self.ending(end.outcome));
        finished.cache_key = self.cache_key;
        if let JobOutcome::Exited(code) = end.outcome {
            finished.exit_code = Some(code);
            self.store_reports(&mut finished).await?;
        }
        if finished.ending.status == StageStatus::Succeeded
            && let Some(missing) = self.missing_outputs().await?
        {
            self.remark(&missing).await;
            finished.ending = Ending::new(StageStatus::Failed, missing);
        }
        if finished.ending.status == StageStatus::Succeeded && !self.stage().outputs.is_empty() {
            let blob = self.deps.artifacts.pack(&self.workspace(), &self.stage().outputs).await?;
            finished.outputs = Some(blob.digest);
            finished.artifacts.push(self.artifact(ArtifactKind::Outputs, format!("{}.tar.gz", self.stage().name), blob));
        }
        Ok(finished)
    }

    fn ending(&self, outcome: JobOutcome) -> Ending {
        match outcome {
            JobOutcome::Exited(0) => Ending::new(StageStatus::Succeeded, None),
            JobOutcome::Exited(code) => Ending::new(StageStatus::Failed, format!("its command ended with exit code {code}")),
            JobOutcome::Signaled(signal) => Ending::new(StageStatus::Failed, format!("its command was ended by signal {signal}")),
            JobOutcome::TimedOut => Ending::new(StageStatus::Failed, format!("timed out after {} s", self.stage().timeout.as_secs())),
            JobOutcome::OverLimit(passed) => Ending::new(StageStatus::Failed, format!("its command was ended: {passed}")),
            JobOutcome::Stopped => Ending::new(StageStatus::Canceled, "it was stopped".to_owned()),
            JobOutcome::NotStarted => Ending::new(StageStatus::Errored, "its command could not be started; its log says why".to_owned()),
            JobOutcome::Lost => Ending::new(StageStatus::Errored, "its supervisor was lost".to_owned()),
        }
    }

    async fn store_reports(&self, finished: &mut Finished) -> Result<()> {
        if self.stage().reports.is_empty() {
            return Ok(());
        }
        let root = self.workspace();
        let mut counts: Option<TestCounts> = None;
        let mut unread = Vec::new();
        for path in self.deps.artifacts.list(&root, &self.stage().reports).await? {
            let Some(blob) = self.deps.artifacts.store_file(&root, &path, self.deps.settings.report_limit).await? else { continue };
            match self.read_report(&blob.digest).await? {
                Some(more) => counts = Some(counts.unwrap_or_default().plus(more)),
                None => unread.push(format!("`{path}`")),
            }
            finished.artifacts.push(self.artifact(ArtifactKind::Report, path, blob));
        }
        // A stage that failed has said why; that its tests went unreported is part of it.
        if finished.ending.status == StageStatus::Succeeded {
            let missing = self.missing_reports().await?;
            let unread = (!unread.is_empty()).then(|| format!("no JUnit report: {}", unread.join(", ")));
            let said: Vec<String> = missing.into_iter().chain(unread).collect();
            if !said.is_empty() {
                let said = format!("its tests are not all counted: {}", said.join("; "));
                self.remark(&said).await;
                finished.ending.reason = Some(said);
            }
        }
        if let Some(counts) = counts {
            finished.tests = serde_json::to_string(&counts).ok();
            if finished.ending.status == StageStatus::Failed && counts.failures + counts.errors > 0 {
                finished.ending.reason = Some(format!("{} of {} tests failed", counts.failures + counts.errors, counts.tests));
            }
        }
        Ok(())
    }

    /// Says something in the stage's log. The word is stored with the stage too, so that it may be lost here.
    async fn remark(&self, text: &str) {
        if let Err(cause) = self.deps.executor.note(&self.id, text).await {
            tracing::warn!(stage.id = %self.id, error = %cause, "a remark could not be written into the log of a stage");
        }
    }

    async fn read_report(&self, blob: &Digest) -> Result<Option<TestCounts>> {
        let Some((_, mut stream)) = self.deps.artifacts.open(blob).await? else { return Ok(None) };
        let mut content = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk: Bytes = chunk.map_err(|cause| Error::internal("read a report", cause))?;
            content.extend_from_slice(&chunk);
        }
        Ok(report::count(&String::from_utf8_lossy(&content)))
    }

    fn artifact(&self, kind: ArtifactKind, name: String, blob: hookwright_core::port::StoredBlob) -> Artifact {
        let id = ArtifactId::new(self.deps.ids.as_ref());
        Artifact { id, stage_run: self.id, kind, name, digest: blob.digest, size: blob.size, created_at: self.deps.clock.now() }
    }
}
