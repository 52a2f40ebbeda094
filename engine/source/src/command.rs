//! The git client with everything of its surroundings shut out: no system or user configuration, no prompts, no hooks, no
//! transport but the one that is meant. Every command has a deadline, a limit on what it may print, and ends with all it started.

use std::ffi::OsStr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hookwright_core::{Blame, PortError, SecretValue};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use crate::blame::blame;

/// No single git command may take longer; a clone of a large repository is the longest.
pub(crate) const DEADLINE: Duration = Duration::from_secs(600);

/// How long git may take to end by itself once it was told to; it removes its lock files then.
const GRACE: Duration = Duration::from_secs(5);

/// The most that a command may print that is read as a whole, in bytes: the refs of a very large repository.
const LIMIT: usize = 64 << 20;

/// Longest part of git's own words that is passed on, in characters.
const WORDS: usize = 400;

/// As much of git's own words as is read, in bytes.
const WORDS_READ: u64 = 64 << 10;

/// Where git is: looked up once, and started without the detour over `fork` that a search in `PATH` with another environment takes, which
/// copies the page tables of the whole daemon.
fn program() -> &'static Path {
    static GIT: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let found = std::env::split_paths(&path).map(|folder| folder.join("git")).find(|file| file.is_file());
        // A git that is installed while the daemon runs is found by its name.
        found.unwrap_or_else(|| PathBuf::from("git"))
    });
    &GIT
}

/// Git in a repository, with a cleared environment.
pub(crate) struct Git {
    command: Command,
    deadline: Duration,
    limit: usize,
    /// Whose fault a failure is that says nothing about it.
    otherwise: Blame,
    hidden: Vec<SecretValue>,
    /// Files that git reads, removed when it has ended.
    files: Option<tempfile::TempDir>,
}

impl Git {
    /// Git on a repository of ours. What it cannot do is ours too, until `remote` says otherwise.
    pub(crate) fn at(repository: &Path) -> Self {
        let mut command = Command::new(program());
        let mut ours = std::ffi::OsString::from("safe.directory=");
        ours.push(repository.canonicalize().unwrap_or_else(|_| repository.to_owned()));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_ALLOW_PROTOCOL", "")
            .env("LC_ALL", "C")
            .args(["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false"])
            .args(["-c", "http.followRedirects=false", "-c", "receive.fsckObjects=true", "-c", "fetch.fsckObjects=true"])
            // Large files are streamed instead of held in memory, and packing takes a bounded part of it.
            .args(["-c", "core.bigFileThreshold=8m", "-c", "pack.windowMemory=32m", "-c", "pack.threads=2"])
            .arg("-c")
            .arg(ours)
            .arg("--git-dir")
            .arg(repository)
            .stdin(Stdio::null())
            .process_group(0);
        Self { command, deadline: DEADLINE, limit: LIMIT, otherwise: Blame::Errored, hidden: Vec::new(), files: None }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The most that it may print, in bytes.
    pub(crate) fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// A failure that says nothing about it is the fault of whoever named the remote or wrote what is read.
    pub(crate) fn blaming_the_owner(mut self) -> Self {
        self.otherwise = Blame::Failed;
        self
    }

    /// Never passes this on, even if the other side repeats it.
    pub(crate) fn hiding(mut self, secret: &SecretValue) -> Self {
        self.hidden.push(secret.clone());
        self
    }

    /// Keeps a folder until git has ended.
    pub(crate) fn keeping(mut self, files: tempfile::TempDir) -> Self {
        self.files = Some(files);
        self
    }

    /// Starts it with its input closed, or open when `asks`.
    pub(crate) fn start(mut self, doing: &str, asks: bool) -> Result<Running, PortError> {
        if asks {
            self.command.stdin(Stdio::piped());
        }
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(self.command);
        let mut child = command.spawn().map_err(|error| unstartable(doing, error))?;
        let words = child.stderr.take().map(|stderr| tokio::spawn(words(stderr)));
        Ok(Running {
            child: Some(child),
            words,
            otherwise: self.otherwise,
            hidden: self.hidden,
            files: self.files,
            doing: doing.to_owned(),
            deadline: self.deadline,
        })
    }

    /// Starts it for a thread that blocks: with pipes for questions and answers, its own words dropped.
    pub(crate) fn start_blocking(mut self, doing: &str) -> Result<(std::process::Child, Arc<Group>), PortError> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = self.command.spawn().map_err(|error| unstartable(doing, error))?;
        let group = Group { id: child.id(), over: AtomicBool::new(false) };
        Ok((child, Arc::new(group)))
    }

    /// Runs it to its end and returns what it printed.
    pub(crate) async fn output(self, doing: &str) -> Result<Vec<u8>, PortError> {
        let (deadline, limit) = (self.deadline, self.limit);
        let mut running = self.start(doing, false)?;
        let work = async {
            let mut printed = Vec::new();
            if let Some(stdout) = running.stdout() {
                let broken = |error| PortError::errored(format!("cannot {doing}: git stopped answering")).because(error);
                stdout.take(limit as u64 + 1).read_to_end(&mut printed).await.map_err(broken)?;
            }
            if printed.len() > limit {
                return Err(PortError::failed(format!("cannot {doing}: it is more than {limit} bytes long")));
            }
            running.end().await?;
            Ok(printed)
        };
        match tokio::time::timeout(deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(late(doing, deadline)),
        }
    }

    /// Runs it to its end and says whether it succeeded; for questions whose answer is the exit code.
    pub(crate) async fn says_yes(self, doing: &str) -> Result<bool, PortError> {
        let (deadline, mut running) = (self.deadline, self.start(doing, false)?);
        let status = tokio::time::timeout(deadline, running.wait()).await.map_err(|_| late(doing, deadline))??;
        Ok(status.success())
    }
}

fn unstartable(doing: &str, error: std::io::Error) -> PortError {
    PortError::errored(format!("cannot {doing}: git cannot be started; `hookwright doctor` says more")).because(error)
}

/// A command that took longer than it may.
pub(crate) fn late(doing: &str, deadline: Duration) -> PortError {
    PortError::errored(format!("cannot {doing}: git took longer than {} s", deadline.as_secs_f32()))
}

/// Reads the start of what git says about itself, and the rest to nowhere, so that git never waits for a reader.
async fn words(mut stderr: ChildStderr) -> Vec<u8> {
    let mut kept = Vec::new();
    // What cannot be read is not said.
    let _ = (&mut stderr).take(WORDS_READ).read_to_end(&mut kept).await;
    let _ = drain(stderr).await;
    kept
}

/// Reads to the end, to nowhere.
pub(crate) async fn drain(mut reader: impl AsyncRead + Unpin) -> std::io::Result<u64> {
    tokio::io::copy(&mut reader, &mut tokio::io::sink()).await
}

/// A started git. Dropping it ends it and all it started.
pub(crate) struct Running {
    child: Option<Child>,
    words: Option<JoinHandle<Vec<u8>>>,
    otherwise: Blame,
    hidden: Vec<SecretValue>,
    files: Option<tempfile::TempDir>,
    doing: String,
    deadline: Duration,
}

impl Running {
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.as_mut()?.stdout.take()
    }

    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.as_mut()?.stdin.take()
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Waits for the end.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus, PortError> {
        let gone = || PortError::errored(format!("cannot {}: git is gone", self.doing));
        let Some(child) = self.child.as_mut() else { return Err(gone()) };
        let waited = child.wait().await;
        waited.map_err(|error| PortError::errored(format!("cannot {}: git is gone", self.doing)).because(error))
    }

    /// Ends it if it runs still, and returns when it has ended: first asked, so that it removes its lock files, then forced.
    pub(crate) async fn stop(mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(id) = child.id() {
            end_group(&mut child, id).await;
        }
    }

    /// Waits for the end; a bad one is an error with git's own words.
    pub(crate) async fn end(&mut self) -> Result<(), PortError> {
        let status = self.wait().await?;
        if status.success() {
            return Ok(());
        }
        let words = match self.words.take() {
            Some(words) => words.await.unwrap_or_default(),
            None => Vec::new(),
        };
        let mut words = sentence(&words);
        for secret in &self.hidden {
            words = words.replace(secret.expose(), "[secret]");
        }
        let doing = &self.doing;
        if let Some(signal) = status.signal() {
            return Err(PortError::errored(format!("cannot {doing}: git was ended by signal {signal}")));
        }
        let message = format!("cannot {doing}: {words}");
        Err(PortError { blame: blame(&words, self.otherwise), message, after: None, cause: None })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let Some(id) = child.id() else { return };
        let files = self.files.take();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            signal(id, Signal::SIGKILL);
            return;
        };
        runtime.spawn(async move {
            end_group(&mut child, id).await;
            drop(files);
        });
    }
}

async fn end_group(child: &mut Child, id: u32) {
    signal(id, Signal::SIGTERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        signal(id, Signal::SIGKILL);
        // It was killed: whatever the answer, it is over.
        let _ = child.wait().await;
    }
}

/// A git that a blocking thread talks to, so that somebody else can end it.
pub(crate) struct Group {
    id: u32,
    over: AtomicBool,
}

impl Group {
    /// The thread is about to wait for it: from now on the number may become somebody else's.
    pub(crate) fn is_over(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Ends it, if it is still there.
    pub(crate) fn kill(&self) {
        if !self.over.load(Ordering::Acquire) {
            signal(self.id, Signal::SIGKILL);
        }
    }
}

fn signal(id: u32, signal: Signal) {
    if let Ok(id) = i32::try_from(id) {
        // That it has ended meanwhile is as good.
        let _ = killpg(Pid::from_raw(id), signal);
    }
}

/// Git's words in one line, without what a terminal would obey.
fn sentence(words: &[u8]) -> String {
    let words = String::from_utf8_lossy(words);
    let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join("; ");
    let text: String = text.chars().filter(|c| !c.is_control()).take(WORDS).collect();
    if text.is_empty() { "git gave no reason".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_git_prints_beyond_the_limit_is_not_held_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let asked = Git::at(folder.path()).args(["help", "-a"]).limit(10).output("read the help").await;
        assert!(asked.expect_err("too long").message.contains("more than 10 bytes"));
    }

    #[tokio::test]
    async fn a_git_that_is_too_slow_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = folder.path().join("pid");
        let script = format!("!echo $$ > '{}'; sleep 600", mark.display());
        let slow = Git::at(folder.path()).arg("-c").arg(format!("alias.slow={script}")).arg("slow").deadline(Duration::from_millis(400));
        let error = slow.output("wait").await.expect_err("too slow");
        assert_eq!(error.blame, Blame::Errored);
        let pid = std::fs::read_to_string(&mark).expect("the shell wrote its id");
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
        for _ in 0..500 {
            if !is_alive() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the shell that git started lives on");
    }

    #[test]
    fn words_of_a_remote_cannot_steer_the_terminal() {
        assert_eq!(sentence(b"remote: \x1b[2Jno\n\nfatal: x\n"), "remote: [2Jno; fatal: x");
    }
}
