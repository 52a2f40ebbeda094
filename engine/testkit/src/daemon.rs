//! The real binary as a child process, on a folder and a port of its own.

use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::Database;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(240);

/// How long a test's own connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(3);
/// Stands in the log before what a process of the daemon says.
const STARTED: &str = "---- started\n";

/// How often a test looks again.
const LOOK: Duration = Duration::from_millis(25);

/// What clients of HTTP in this process need once; a daemon's start does it too.
pub fn ready_for_http() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How to start a daemon.
#[derive(Clone)]
pub struct DaemonOptions {
    /// The `hookwright` binary.
    pub binary: PathBuf,
    /// Variables it is started with.
    pub variables: Vec<(String, String)>,
    /// The admin's token, when the variables choose it; else it is read from the file that the daemon writes.
    pub token: Option<String>,
    /// Whether the variables name the database.
    pub names_database: bool,
}

impl DaemonOptions {
    /// The binary as it comes.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), variables: Vec::new(), token: None, names_database: false }
    }

    /// On a database that somebody else made.
    #[must_use]
    pub fn on_database(mut self, url: &str) -> Self {
        self.names_database = true;
        self.variable("HOOKWRIGHT_DATABASE", url)
    }

    /// With a variable more.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running daemon; it is killed when the value is dropped.
pub struct Daemon {
    options: DaemonOptions,
    folder: Arc<TempDir>,
    /// The name of its log in that folder.
    log: &'static str,
    /// Dropped after the child was ended.
    database: Option<Arc<Database>>,
    /// Held for the daemon as systemd would, and passed in at each start.
    socket: Option<TcpListener>,
    child: Child,
    address: String,
    token: String,
    client: reqwest::Client,
}

impl Daemon {
    /// Starts the binary on an empty data folder and waits until it is ready.
    pub async fn start(binary: impl Into<PathBuf>) -> Self {
        Self::start_with(DaemonOptions::new(binary)).await
    }

    /// The same with options. When `HOOKWRIGHT_TEST_POSTGRES` names a server, the daemon gets a database of its own there.
    pub async fn start_with(options: DaemonOptions) -> Self {
        Self::start_on(None, options).await
    }

    /// The same on a listening socket that was opened before, so that others can be told its address first.
    pub async fn start_on(socket: Option<TcpListener>, options: DaemonOptions) -> Self {
        Self::start_somewhere(tempfile::tempdir().expect("a temporary folder"), options, socket).await
    }

    async fn start_somewhere(folder: TempDir, mut options: DaemonOptions, socket: Option<TcpListener>) -> Self {
        ready_for_http();
        let database = if options.names_database { None } else { Database::of_the_environment().map(Arc::new) };
        if let Some(database) = &database {
            options.variables.push(("HOOKWRIGHT_DATABASE".to_owned(), database.url()));
        }
        Self::spawned(options, Arc::new(folder), ("log", database), socket).await
    }

    /// The same with a data folder that somebody else prepared: `data` in this folder.
    pub async fn start_within(folder: TempDir, options: DaemonOptions) -> Self {
        Self::start_somewhere(folder, options, None).await
    }

    /// The same with a key that another daemon made, in a data folder of its own.
    pub async fn start_with_key(options: DaemonOptions, key: &Path) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        std::fs::copy(key, data.join("key")).expect("a copied key");
        Self::spawned(options, folder, ("log", None), None).await
    }

    /// A second daemon on the same data folder and the same database, which logs under a name of its own.
    pub async fn start_beside(&self, log: &'static str, options: DaemonOptions) -> Self {
        let mut variables = self.options.variables.clone();
        variables.extend(options.variables);
        let options = DaemonOptions { variables, ..options };
        Self::spawned(options, self.folder.clone(), (log, self.database.clone()), None).await
    }

    async fn spawned(
        options: DaemonOptions,
        folder: Arc<TempDir>,
        (log, database): (&'static str, Option<Arc<Database>>),
        socket: Option<TcpListener>,
    ) -> Self {
        // The daemon closes connections that were idle for ten seconds; a request must not meet that.
        let client = reqwest::Client::builder().timeout(PATIENCE).pool_idle_timeout(IDLE).build().expect("an HTTP client");
        let child = spawn(&options, (folder.path(), log), socket.as_ref());
        let (address, token) = (String::new(), String::new());
        let mut daemon = Self { options, folder, log, database, socket, child, address, token, client };
        daemon.wait_ready(LOOK).await;
        daemon
    }

    /// The database's address; `None`: SQLite in the data folder.
    pub fn database(&self) -> Option<String> {
        self.database.as_deref().map(Database::url)
    }

    /// Opens a listening socket that outlives the daemon, as systemd's socket units do, and starts the daemon again with it passed in.
    pub async fn keep_socket(&mut self) {
        self.terminate().await;
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        self.socket = Some(socket);
        self.restart().await;
    }

    /// A variable more for the next [`restart`](Self::restart).
    pub fn set(&mut self, name: &str, value: &str) {
        self.options.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_none()
    }

    /// Takes a variable away for the next [`restart`](Self::restart).
    pub fn unset(&mut self, name: &str) {
        self.options.variables.retain(|(known, _)| known != name);
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the daemon does not end:\n{}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `http://127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The admin token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, without starting it again.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the binary again on the same data after [`kill`](Self::kill).
    pub async fn restart(&mut self) {
        let _ = std::fs::remove_file(self.data().join("address"));
        self.child = spawn(&self.options, (self.folder.path(), self.log), self.socket.as_ref());
        self.wait_ready(LOOK).await;
    }

    /// The same, looked at every millisecond; returns how long it took from the start to ready.
    pub async fn restart_timed(&mut self) -> Duration {
        let _ = std::fs::remove_file(self.data().join("address"));
        let begun = Instant::now();
        self.child = spawn(&self.options, (self.folder.path(), self.log), self.socket.as_ref());
        self.wait_ready(Duration::from_millis(1)).await;
        begun.elapsed()
    }

    /// Sends `SIGTERM` by the `kill` program and waits for the end.
    pub async fn terminate(&mut self) -> ExitStatus {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(status.success());
        self.ended().await
    }

    async fn wait_ready(&mut self, look: Duration) {
        let data = self.data();
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            let written = std::fs::read_to_string(data.join("admin-token")).ok();
            let token = self.options.token.clone().or(written);
            // Of several daemons on one folder the leader alone writes its address there; each says its own.
            let said = self.said();
            let address = said.rsplit_once("listening on ").and_then(|(_, rest)| rest.lines().next());
            if let (Some(address), Some(token)) = (address, token) {
                address.trim().clone_into(&mut self.address);
                token.trim().clone_into(&mut self.token);
                if self.client.get(format!("{}/readyz", self.address)).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
            }
            assert!(start.elapsed() < PATIENCE, "the daemon does not get ready:\n{}", self.log());
            tokio::time::sleep(look).await;
        }
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(self.log)).unwrap_or_default()
    }

    /// What it logged since it was started last.
    fn said(&self) -> String {
        let log = self.log();
        log.rsplit_once(STARTED).map(|(_, rest)| rest.to_owned()).unwrap_or_default()
    }

    /// A GET on the API with the admin token; the answer must be a success.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.request(reqwest::Method::GET, path, None).await;
        assert!(answer.0 < 300, "GET {path}: {} {}", answer.0, answer.1);
        answer.1
    }

    /// A POST on the API with the admin token; the answer must be a success.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.request(reqwest::Method::POST, path, Some(body)).await;
        assert!(answer.0 < 300, "POST {path}: {} {}", answer.0, answer.1);
        answer.1
    }

    /// Any call on the API; returns the status and the body, `null` when it is not JSON.
    pub async fn request(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.try_request(method, path, body).await.expect("the daemon answers")
    }

    /// The same of a daemon that may die over it: then `None`.
    pub async fn try_request(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let mut request = self.client.request(method, format!("{}{path}", self.address)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// Calls a webhook without any token; returns status and text.
    pub async fn call(&self, webhook: &str, environment: &str, path: &str) -> (u16, String) {
        let url = format!("{}/w/{webhook}/{environment}{path}", self.address);
        match self.client.get(url).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(error) => (0, error.to_string()),
        }
    }

    /// Looks again until `look` gives a value.
    pub async fn until<T, F: AsyncFnMut(&Self) -> Option<T>>(&self, what: &str, mut look: F) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = look(self).await {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}:\n{}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the newest run of a webhook has ended, and returns it.
    pub async fn run_ended(&self, webhook: &str, number: u64) -> Value {
        let path = format!("/api/v1/runs?webhook={webhook}");
        self.until(&format!("the end of run {number} of {webhook}"), async |daemon: &Self| {
            let (status, list) = daemon.request(reqwest::Method::GET, &path, None).await;
            if status != 200 {
                return None;
            }
            let run = list["items"].as_array()?.iter().find(|run| run["number"] == number)?.clone();
            let ended = !matches!(run["status"].as_str()?, "queued" | "running");
            ended.then_some(run)
        })
        .await
    }

    /// The logs of every stage of a run, for a test that failed.
    pub async fn stage_logs(&self, run: &str) -> String {
        let run_path = format!("/api/v1/runs/{run}");
        let mut text = String::new();
        for stage in self.get(&run_path).await["stages"].as_array().into_iter().flatten() {
            let name = stage["stage"].as_str().unwrap_or_default();
            let (_, log) = self.request(reqwest::Method::GET, &format!("{run_path}/stages/{name}/logs"), None).await;
            for line in log["lines"].as_array().into_iter().flatten() {
                text.push_str(&format!("{name} | {}\n", line["text"].as_str().unwrap_or_default()));
            }
        }
        text
    }

    /// Waits until exactly one promotion of the webhook waits for the environment, and says which release it is.
    pub async fn waits_for_approval(&self, webhook: &str, environment: &str) -> String {
        let path = format!("/api/v1/promotions?webhook={webhook}&environment={environment}&open=true");
        self.until(&format!("{webhook} to wait for {environment}"), async |daemon: &Self| {
            let list = daemon.get(&path).await;
            let items = list["items"].as_array()?;
            let waits = items.len() == 1 && items[0]["status"] == "waiting" && items[0]["status_reason"].is_string();
            waits.then(|| items[0]["release"].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    /// Waits until the webhook answers 200 in the environment with a text that contains `needle`.
    pub async fn answers(&self, webhook: &str, environment: &str, needle: &str) -> String {
        self.until(&format!("`{needle}` from {webhook} in {environment}"), async |daemon: &Self| {
            let (status, text) = daemon.call(webhook, environment, "/").await;
            (status == 200 && text.contains(needle)).then_some(text)
        })
        .await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
        if Arc::strong_count(&self.folder) == 1 {
            end_supervised(&self.data());
        }
    }
}

/// Ends what a killed daemon left running, as it is meant to survive it: supervisors, and handlers, which outlive a killed supervisor without a sandbox.
fn end_supervised(data: &Path) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    let needle = data.display().to_string();
    let mentions = |file: PathBuf, word: &str| {
        let text = std::fs::read(file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.contains(word) && text.contains(&needle)
    };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let folder = process.path();
        if mentions(folder.join("cmdline"), "supervise") || mentions(folder.join("environ"), "HOOKWRIGHT_JOB=") {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

/// Puts its standard input, a listening socket, where `LISTEN_FDS` says it is (sd_listen_fds(3)), and becomes the program it is given.
const PASS_SOCKET: &str = "import os, sys
os.dup2(0, 3, inheritable=True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])";

fn spawn(options: &DaemonOptions, (folder, log): (&Path, &str), socket: Option<&TcpListener>) -> Child {
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(log)).expect("a log file");
    log.write_all(STARTED.as_bytes()).expect("a written line");
    let mut command = match socket {
        None => Command::new(&options.binary),
        Some(_) => {
            let mut python = Command::new("python3");
            python.args(["-c", PASS_SOCKET]).arg(&options.binary);
            python
        }
    };
    let input = socket.map_or_else(Stdio::null, |socket| OwnedFd::from(socket.try_clone().expect("a second handle")).into());
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.join("data"))
        .current_dir(folder)
        .envs(options.variables.iter().cloned())
        .stdin(input)
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    command.spawn().expect("the daemon starts")
}
