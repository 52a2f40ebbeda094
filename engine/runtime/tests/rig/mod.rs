//! What the tests of this crate share: the real supervisor, a notifier that counts, a clock that is moved.

#![expect(dead_code, reason = "every test binary uses its own part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookwright_core::port::{Executor, Isolation, Job, JobEnd, JobState, Limits, Notifier, Topic};
use hookwright_core::{Clock, IdSource, LogCursor, StageRunId, Timestamp};
use hookwright_runtime::{Bubblewrap, ExecutorOptions, Nursery, ProcessExecutor};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a test looks again.
const LOOK: Duration = Duration::from_millis(5);

/// The supervisor that cargo built beside these tests.
pub(crate) fn supervisor() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let target = own.ancestors().nth(2).expect("the folder of the profile");
    let supervisor = target.join("examples/supervise");
    // `cargo test --test NAME` alone neither builds nor renews it.
    assert!(supervisor.exists(), "there is no supervisor; run `cargo build -p hookwright-runtime --example supervise`");
    supervisor
}

/// A supervisor that begins only when the file `go` is there, and never once the folder is gone.
pub(crate) fn slow_supervisor(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("slow-supervisor");
    let text = format!(
        "#!/bin/sh\nwhile [ ! -e '{0}/go' ]; do [ -d '{0}' ] || exit 0; sleep 0.01; done\nexec '{1}' \"$@\"\n",
        folder.display(),
        supervisor().display()
    );
    std::fs::write(&path, text).expect("a written script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("a script that can be run");
    path
}

#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Notifier for Wakes {
    fn wake(&self, _: Topic) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Stands still until it is moved.
#[derive(Default)]
pub(crate) struct Hands(AtomicU64);

impl Hands {
    pub(crate) fn forward(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).expect("a short time"), Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + i64::try_from(self.0.load(Ordering::SeqCst)).expect("a short time"))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

struct Ids(AtomicU64);

impl Ids {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(1))
    }
}

impl IdSource for Ids {
    fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)))
    }
}

/// Bubblewrap of this machine; without it the test says aloud what it leaves out.
pub(crate) fn bubblewrap(left_out: &str) -> Option<Arc<Bubblewrap>> {
    Bubblewrap::find().map(Arc::new).map_err(|why| eprintln!("LEFT OUT: {left_out}: {why}")).ok()
}

/// An executor on a folder of its own.
pub(crate) struct Rig {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) executor: Arc<ProcessExecutor>,
    ids: Ids,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(tempfile::tempdir().expect("a temporary folder"), None)
    }

    pub(crate) fn on(folder: tempfile::TempDir, sandbox: Option<Arc<Bubblewrap>>) -> Self {
        let wakes = Arc::new(Wakes::default());
        let executor = executor(folder.path(), supervisor(), wakes.clone(), sandbox);
        Self { folder, wakes, executor, ids: Ids::new() }
    }

    /// Another daemon's executor on the same folder.
    pub(crate) fn another(&self, binary: PathBuf) -> (Arc<ProcessExecutor>, Arc<Wakes>) {
        let wakes = Arc::new(Wakes::default());
        (executor(self.folder.path(), binary, wakes.clone(), None), wakes)
    }

    pub(crate) fn job(&self, script: &str) -> Job {
        let id = StageRunId::new(&self.ids);
        let workspace = self.folder.path().join("workspaces").join(id.to_string());
        std::fs::create_dir_all(&workspace).expect("a workspace");
        Job {
            id,
            script: script.to_owned(),
            workspace,
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            masks: Vec::new(),
            caches: Vec::new(),
            timeout: PATIENCE,
            log_limit: 1 << 20,
            limits: Limits::default(),
            isolation: Isolation::Sandbox,
            network: false,
        }
    }

    /// Starts a job and waits for its end.
    pub(crate) async fn run(&self, job: &Job) -> JobEnd {
        self.executor.start(job).await.expect("it starts");
        self.ended(job).await
    }

    /// Waits for the end of a job.
    pub(crate) async fn ended(&self, job: &Job) -> JobEnd {
        until("the end of the job", async || match self.executor.poll(&job.id).await.expect("a state") {
            JobState::Ended(end) => Some(end),
            _ => None,
        })
        .await
    }

    /// Everything the log shows.
    pub(crate) async fn log(&self, job: &Job) -> String {
        let (mut cursor, mut text) = (LogCursor::default(), String::new());
        loop {
            let chunk = self.executor.logs(&job.id, cursor).await.expect("a log");
            if chunk.lines.is_empty() {
                return text;
            }
            text.extend(chunk.lines.iter().map(|line| format!("{}\n", line.text)));
            cursor = chunk.next;
        }
    }

    /// Waits until a file of the workspace has a text.
    pub(crate) async fn written(&self, job: &Job, name: &str) -> String {
        let path = job.workspace.join(name);
        until(name, async || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))).await
    }

    /// The folder in which the executor keeps a job.
    pub(crate) fn kept(&self, job: &Job) -> PathBuf {
        self.folder.path().join("jobs").join(job.id.to_string())
    }

    /// Who runs a job, once that is written down.
    pub(crate) fn record(&self, job: &Job) -> Option<serde_json::Value> {
        record(&self.kept(job))
    }

    /// The processes that bear the mark of a job.
    pub(crate) fn alive(&self, job: &Job) -> Vec<i32> {
        marked(&self.kept(job))
    }
}

fn executor(folder: &Path, binary: PathBuf, notifier: Arc<Wakes>, sandbox: Option<Arc<Bubblewrap>>) -> Arc<ProcessExecutor> {
    let nursery = Arc::new(Nursery::new(binary, folder.to_owned()));
    let options = ExecutorOptions { directory: folder.join("jobs"), nursery, notifier, clock: Arc::new(Hands::default()), sandbox };
    Arc::new(ProcessExecutor::new(options).expect("an executor"))
}

/// What is written down of what is kept in `folder`, by the number of the line: mark, record, exit, stop.
pub(crate) fn line(folder: &Path, number: usize) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("state")).ok()?;
    text.lines().nth(number).map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty())
}

/// Who runs what is kept in `folder`.
pub(crate) fn record(folder: &Path) -> Option<serde_json::Value> {
    serde_json::from_str(&line(folder, 1)?).ok()
}

/// The processes that bear the mark of what is kept in `folder`.
pub(crate) fn marked(folder: &Path) -> Vec<i32> {
    let mark = format!("HOOKWRIGHT_JOB={}", line(folder, 0).expect("a started job"));
    let pids = std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let text = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        text.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    })
    .collect()
}

/// Looks again until `look` gives a value.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// `kill -9`.
pub(crate) fn kill(pid: i32) {
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
    assert!(status.success());
}
