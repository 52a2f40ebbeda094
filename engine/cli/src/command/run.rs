//! `hookwright run`: the engine without listeners, on a folder of its own beside the webhook, fed with a snapshot of the working tree.
//! The snapshot is a commit in a repository of ours: the user's index, branches and objects are never touched.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use hookwright_control::{Control, LogRequest};
use hookwright_core::status::{RunStatus, StageStatus};
use hookwright_core::{
    Actor, CommitSha, ConfigName, EnvironmentName, Grant, LogCursor, RepositoryKind, RepositoryName, Role, Run, RunId, Scope, SecretValue,
    StageName, WebhookName,
};
use hookwright_spec::{Plan, StageKind};
use hookwright_store::{RunFilter, StageRecord, Store};
use tokio::process::Command;

use super::{local, serve};
use crate::configuration::Configuration;
use crate::output::{mention, warn_of};
use crate::wiring::Engine;
use crate::{exit, output};

/// Everything of local runs, beside the webhook.
const FOLDER: &str = ".hookwright";

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the pipeline; the exit code says how the run ended.
pub(crate) async fn run(mut configuration: Configuration, folder: &Path, json: bool) -> Result<ExitCode> {
    let source = local::read(folder)?;
    let spec = match local::parse(&source) {
        Ok(spec) => spec,
        Err(problems) => return local::refuse(&problems, json),
    };
    let plan = match local::planned(&source, &spec)? {
        Ok(plan) => plan,
        Err(problems) => return local::refuse(&problems, json),
    };
    let secrets = build_secrets(&plan)?;
    let folder = std::path::absolute(local::folder_of(&source)).context("cannot resolve the folder")?;
    let own = own_folder(&folder)?;
    configuration.data = own.join("run");
    configuration.database = String::new();
    let engine = Engine::start(&configuration, false).await.context("cannot start the engine")?;
    let result = LocalRun { engine: &engine, webhook: spec.name.clone(), json }.play(&folder, &own, secrets).await;
    engine.control.shutdown().await;
    result
}

/// Makes the folder and keeps it out of the user's commits.
fn own_folder(folder: &Path) -> Result<PathBuf> {
    let own = folder.join(FOLDER);
    std::fs::create_dir_all(&own).with_context(|| format!("cannot create `{}`", own.display()))?;
    std::fs::write(own.join(".gitignore"), "*\n").with_context(|| format!("cannot write into `{}`", own.display()))?;
    Ok(own)
}

/// Build secrets come from the environment: nothing is kept that the user did not keep.
fn build_secrets(plan: &Plan) -> Result<HashMap<ConfigName, SecretValue>> {
    let mut values = HashMap::new();
    for stage in plan.stages.iter().filter(|stage| stage.kind != StageKind::Deploy) {
        for name in &stage.secrets {
            let Ok(value) = std::env::var(name.as_str()) else {
                bail!("stage `{}` uses the build secret `{name}`, which is not set; run `{name}=… hookwright run`", stage.name);
            };
            values.insert(name.clone(), SecretValue::new(value));
        }
    }
    Ok(values)
}

struct LocalRun<'a> {
    engine: &'a Engine,
    webhook: WebhookName,
    json: bool,
}

impl LocalRun<'_> {
    async fn play(&self, folder: &Path, own: &Path, secrets: HashMap<ConfigName, SecretValue>) -> Result<ExitCode> {
        let (store, control) = (&self.engine.store, &self.engine.control);
        let build = EnvironmentName::new("build")?;
        let me = actor();
        for (name, value) in &secrets {
            control.secret_set(&me, (&self.webhook, &build), name, (value, None)).await?;
        }
        let snapshot = Snapshot { repository: own.join("snapshot.git"), index: own.join("snapshot.index") };
        let commit = snapshot.take(folder).await?;
        let name = RepositoryName::new(self.webhook.as_str())?;
        if store.repository_fetch_by_name(&name).await?.is_none() {
            let url = url::Url::from_file_path(&snapshot.repository)
                .map_err(|()| anyhow!("the folder's path cannot be written as an address"))?;
            control.repository_add(&me, &name, &RepositoryKind::Remote { url: url.to_string() }, None).await?;
        }
        control.repository_changed(&name, Some(&me.user)).await?;
        let id = match newest(store, &self.webhook, &commit).await? {
            Some(id) => id,
            None => control.run_start(&me, &self.webhook, None).await?,
        };
        let ended = tokio::select! {
            ended = self.follow(id, &me) => ended?,
            () = serve::stopped() => {
                warn_of!("stopping");
                control.run_cancel(&me, id).await?;
                self.follow(id, &me).await?
            }
        };
        if self.json {
            output::json(&serde_json::to_value(&ended)?);
        } else {
            let reason = ended.status_reason.as_deref().map(|reason| format!(": {}", output::plain(reason))).unwrap_or_default();
            mention!("{} {}{reason}", self.webhook, ended.status);
        }
        Ok(if ended.status == RunStatus::Succeeded { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
    }

    /// Prints what happens until the run has ended.
    async fn follow(&self, id: RunId, me: &Actor) -> Result<Run> {
        let mut shown =
            Shown { control: &self.engine.control, me, run: id, json: self.json, cursors: HashMap::new(), ends: HashMap::new() };
        loop {
            let run = self.engine.store.run_fetch(id).await?.ok_or_else(|| anyhow!("the run is gone"))?;
            for record in self.engine.store.stage_run_list(id).await? {
                shown.stage(&record).await?;
            }
            if run.status.is_end() {
                return Ok(run);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What was printed of a run.
struct Shown<'a> {
    control: &'a Control,
    me: &'a Actor,
    run: RunId,
    json: bool,
    cursors: HashMap<(StageName, u32), LogCursor>,
    ends: HashMap<(StageName, u32), StageStatus>,
}

impl Shown<'_> {
    async fn stage(&mut self, record: &StageRecord) -> Result<()> {
        let stage = &record.stage_run;
        let key = (stage.stage.clone(), stage.attempt);
        let begun = stage.started_at.is_some() || stage.status.is_end();
        if self.json || !begun || self.ends.contains_key(&key) {
            return Ok(());
        }
        loop {
            let from = self.cursors.get(&key).copied().unwrap_or_default();
            let request = LogRequest { run: self.run, stage: stage.stage.clone(), attempt: Some(stage.attempt), from };
            let chunk = self.control.logs(self.me, &request).await?;
            for line in &chunk.lines {
                mention!("{:>12} | {}", stage.stage.as_str(), output::plain(&line.text));
            }
            self.cursors.insert(key.clone(), chunk.next);
            if chunk.lines.is_empty() {
                break;
            }
        }
        if stage.status.is_end() {
            let reason = stage.status_reason.as_deref().map(|reason| format!(": {}", output::plain(reason))).unwrap_or_default();
            let time = stage
                .started_at
                .zip(stage.ended_at)
                .map(|(from, to)| format!(" ({:.1} s)", to.since(from).as_secs_f64()))
                .unwrap_or_default();
            mention!("{:>12} {}{time}{reason}", stage.stage.as_str(), stage.status);
            self.ends.insert(key, stage.status);
        }
        Ok(())
    }
}

/// Whoever owns the folder may do everything with it.
fn actor() -> Actor {
    let grants = vec![Grant { role: Role::Admin, scope: Scope::default() }];
    Actor { user: "local".to_owned(), teams: Vec::new(), grants }
}

/// The newest run of the webhook, if it is of this commit.
async fn newest(store: &Store, webhook: &WebhookName, commit: &CommitSha) -> Result<Option<RunId>> {
    let filter = RunFilter { webhook: Some(webhook.clone()), status: None, before: None, limit: 1 };
    let Some(run) = store.run_list(&filter).await?.into_iter().next() else { return Ok(None) };
    Ok(store.run_load(run.id).await?.filter(|record| record.commit == *commit).map(|record| record.run.id))
}

/// A repository of ours that holds the working tree as one commit on `main`.
struct Snapshot {
    repository: PathBuf,
    index: PathBuf,
}

impl Snapshot {
    /// Commits the files of the folder as they are now.
    async fn take(&self, folder: &Path) -> Result<CommitSha> {
        if !self.repository.join("HEAD").is_file() {
            let made = Command::new("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&self.repository).output();
            let made = made.await.context("cannot start git; install it")?;
            if !made.status.success() {
                bail!("git init failed: {}", String::from_utf8_lossy(&made.stderr).trim());
            }
        }
        match std::fs::remove_file(&self.index) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context("cannot clear the snapshot's index"),
            _ => {}
        }
        let mut names = Vec::new();
        for name in local::file_names(folder)? {
            write!(names, "{name}\0")?;
        }
        self.git(folder, &["update-index", "--add", "-z", "--stdin"], &names).await?;
        let tree = self.git(folder, &["write-tree"], b"").await?;
        let identity = ["-c", "user.name=hookwright run", "-c", "user.email=run@localhost", "-c", "commit.gpgsign=false"];
        // Each snapshot is a commit of its own: the same tree within the same second would else be the run before.
        let message = format!("The working tree, {}", uuid::Uuid::now_v7());
        let commit = self.git(folder, &[&identity[..], &["commit-tree", "-m", &message, &tree]].concat(), b"").await?;
        self.git(folder, &["update-ref", "refs/heads/main", &commit], b"").await?;
        commit.parse::<CommitSha>().with_context(|| format!("git named a commit `{commit}`"))
    }

    async fn git(&self, folder: &Path, arguments: &[&str], input: &[u8]) -> Result<String> {
        let mut command = Command::new("git");
        command
            .args(["-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false"])
            .args(arguments)
            .current_dir(folder)
            .env("GIT_DIR", &self.repository)
            .env("GIT_WORK_TREE", folder)
            .env("GIT_INDEX_FILE", &self.index)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start git; install it")?;
        let mut pipe = child.stdin.take().context("git has no standard input")?;
        let (written, output) = tokio::join!(
            async move {
                let done = tokio::io::AsyncWriteExt::write_all(&mut pipe, input).await;
                drop(pipe);
                done
            },
            child.wait_with_output()
        );
        let output = output.context("cannot wait for git")?;
        if !output.status.success() {
            bail!("git {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        written.context("cannot write to git")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
