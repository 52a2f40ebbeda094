//! Hosting, watching and reading with the real git client, without a daemon.

mod hosting;
mod ssh;
mod trees;
mod watching;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hookwright_core::port::Location;
use hookwright_core::{IdSource, RepositoryId, RepositoryName};
use hookwright_source::{GitSource, GitSourceOptions};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

struct Random;

impl IdSource for Random {
    fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::now_v7()
    }
}

/// A source on an empty data folder.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) source: GitSource,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with_idle(PATIENCE)
    }

    pub(crate) fn with_idle(idle: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = GitSourceOptions { idle, ..GitSourceOptions::new(folder.path()) };
        let source = GitSource::new(options).expect("a source");
        Self { folder, source }
    }

    pub(crate) fn hosted(&self, name: &str) -> PathBuf {
        self.folder.path().join("git").join(format!("{name}.git"))
    }
}

pub(crate) fn name(text: &str) -> RepositoryName {
    RepositoryName::new(text).expect("a name")
}

pub(crate) fn location(text: &str, url: Option<&str>) -> Location {
    Location { id: RepositoryId::new(&Random), name: name(text), url: url.map(str::to_owned), credential: None, pull_requests: true }
}

pub(crate) fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// A repository driven with the stock client; bare or with files.
pub(crate) struct Repo(pub(crate) PathBuf);

impl Repo {
    pub(crate) fn bare(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).expect("a folder");
        let repo = Self(path);
        repo.git(&["init", "--quiet", "--bare", "--initial-branch=main"]);
        repo
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.run(arguments, b"")).trim().to_owned()
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("git")
            .args(["-c", "user.name=Rosa", "-c", "user.email=rosa@acme.example", "-c", "safe.directory=*"])
            .args(arguments)
            .current_dir(&self.0)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git starts");
        child.stdin.take().expect("a pipe").write_all(input).expect("git reads");
        let output = child.wait_with_output().expect("git ends");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(crate) fn blob(&self, content: &[u8]) -> String {
        String::from_utf8_lossy(&self.run(&["hash-object", "-w", "--stdin"], content)).trim().to_owned()
    }

    /// A tree of raw entries, as an attacker writes it: no name is checked.
    pub(crate) fn tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut raw = Vec::new();
        for (mode, name, object) in entries {
            raw.extend_from_slice(mode.as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(name);
            raw.push(0);
            raw.extend((0..object.len()).step_by(2).map(|at| u8::from_str_radix(&object[at..at + 2], 16).expect("hexadecimal")));
        }
        let made = self.run(&["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &raw);
        String::from_utf8_lossy(&made).trim().to_owned()
    }

    /// A commit of a tree, on top of nothing.
    pub(crate) fn commit_tree(&self, tree: &str, message: &str) -> String {
        self.git(&["commit-tree", "-m", message, tree])
    }

    /// A commit with one file, on a branch.
    pub(crate) fn commit(&self, branch: &str, content: &str) -> String {
        let blob = self.blob(content.as_bytes());
        let tree = self.tree(&[("100644", b"file", &blob)]);
        let commit = self.commit_tree(&tree, content);
        self.git(&["update-ref", &format!("refs/heads/{branch}"), &commit]);
        commit
    }
}
