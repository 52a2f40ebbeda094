//! A working copy driven with the stock git client.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::Daemon;

/// A git working copy in a temporary folder.
pub struct WorkingCopy {
    folder: TempDir,
}

impl WorkingCopy {
    /// An empty repository on branch `main`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = Self { folder };
        copy.git(&["init", "--quiet", "--initial-branch", "main"]);
        copy
    }

    /// A copy of a folder, committed.
    pub fn of(folder: &Path) -> Self {
        let copy = Self::new();
        let status = Command::new("cp").arg("-R").arg(format!("{}/.", folder.display())).arg(copy.path()).status().expect("cp runs");
        assert!(status.success());
        let _ = std::fs::remove_dir_all(copy.path().join("target"));
        copy.commit("Begin");
        copy
    }

    /// Its folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Writes a file, folders included.
    pub fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(path, text).expect("a written file");
        self
    }

    /// Replaces text in a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) -> &Self {
        let text = std::fs::read_to_string(self.folder.path().join(name)).expect("a readable file");
        assert!(text.contains(from), "`{name}` does not contain `{from}`");
        self.write(name, &text.replace(from, to))
    }

    /// Commits everything and returns the commit id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        String::from_utf8_lossy(&self.git(&["rev-parse", "HEAD"]).stdout).trim().to_owned()
    }

    /// Pushes `main` to a hosted repository; the push must be accepted.
    pub fn push(&self, daemon: &Daemon, repository: &str) {
        let output = self.try_push(daemon, repository, daemon.token(), "main");
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), daemon.log());
    }

    /// Pushes a refspec with any token and returns what git said.
    pub fn try_push(&self, daemon: &Daemon, repository: &str, token: &str, refspec: &str) -> Output {
        let address = daemon.address().replacen("http://", &format!("http://git:{token}@"), 1);
        self.run(&["push", "--force", &format!("{address}/git/{repository}.git"), refspec])
    }

    /// Runs git; it must succeed.
    pub fn git(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("git")
            .args(["-c", "user.name=Rosa", "-c", "user.email=rosa@acme.example", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .expect("git runs")
    }
}

impl Default for WorkingCopy {
    fn default() -> Self {
        Self::new()
    }
}
