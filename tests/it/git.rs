//! Git against the real daemon with the stock client: what it is used for every day, what goes wrong, and remotes with credentials.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python")
}

fn url(daemon: &Daemon, token: &str, repository: &str) -> String {
    format!("{}/git/{repository}.git", daemon.address().replacen("http://", &format!("http://git:{token}@"), 1))
}

/// Git in a folder, as a user without settings.
fn git(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("git")
        .args(["-c", "user.name=Rosa", "-c", "user.email=rosa@acme.example", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .expect("git runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Git that must succeed; what it printed.
fn ok(folder: &Path, arguments: &[&str]) -> String {
    let output = git(folder, arguments);
    assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A client command with something on its standard input.
fn hookwright(daemon: &Daemon, input: &str, arguments: &[&str]) -> (i32, String) {
    let mut child = Command::new(BINARY)
        .args(arguments)
        .env("HOOKWRIGHT_SERVER", daemon.address())
        .env("HOOKWRIGHT_TOKEN", daemon.token())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the client reads");
    let output = child.wait_with_output().expect("the client ends");
    (output.status.code().unwrap_or(-1), said(&output))
}

async fn repositories(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/api/v1/repositories").await["items"].as_array().expect("a list").clone()
}

async fn token(daemon: &Daemon, user: &str, role: &str) -> String {
    let grants = json!([{ "role": role, "scope": {} }]);
    let made = daemon.post("/api/v1/tokens", json!({ "user": user, "grants": grants })).await;
    made["token"].as_str().expect("a token").to_owned()
}

/// A working copy of three commits, without a webhook.
fn plain() -> WorkingCopy {
    let copy = WorkingCopy::new();
    for text in ["one", "two", "three"] {
        copy.write("file", text).commit(text);
    }
    copy
}

#[tokio::test]
async fn everyday_git_works_with_the_stock_client() {
    let daemon = Daemon::start(BINARY).await;
    let copy = plain();
    let (at, work) = (url(&daemon, daemon.token(), "shop"), TempDir::new().expect("a folder"));
    let (mine, work) = (copy.path(), work.path());
    copy.push(&daemon, "shop");

    ok(work, &["clone", "--quiet", &at, "whole"]);
    let whole = work.join("whole");
    assert_eq!(ok(&whole, &["rev-list", "--count", "HEAD"]), "3");
    ok(work, &["clone", "--quiet", "--depth", "1", &at, "shallow"]);
    let shallow = work.join("shallow");
    assert_eq!(ok(&shallow, &["rev-list", "--count", "HEAD"]), "1");
    ok(&shallow, &["fetch", "--quiet", "--unshallow"]);
    assert_eq!(ok(&shallow, &["rev-list", "--count", "HEAD"]), "3");

    ok(&mine, &["tag", "-a", "-m", "First", "v1"]);
    ok(&mine, &["tag", "light"]);
    ok(&mine, &["push", "--quiet", &at, "v1", "light"]);
    let tags = ok(work, &["ls-remote", "--tags", &at]);
    assert!(tags.contains("refs/tags/v1^{}") && tags.contains("refs/tags/light"), "{tags}");

    ok(&mine, &["branch", "left"]);
    ok(&mine, &["branch", "right", "HEAD~1"]);
    ok(&mine, &["push", "--quiet", &at, "left", "right"]);
    ok(&whole, &["fetch", "--quiet", "--tags"]);
    assert_eq!(ok(&whole, &["rev-parse", "origin/right"]), ok(&mine, &["rev-parse", "right"]));

    ok(&mine, &["commit", "--quiet", "--amend", "-m", "Three again"]);
    assert!(!git(&mine, &["push", "--quiet", &at, "main"]).status.success(), "without force it is refused");
    ok(&mine, &["push", "--quiet", "--force", &at, "main"]);
    ok(&whole, &["fetch", "--quiet"]);
    assert_eq!(ok(&whole, &["rev-parse", "origin/main"]), ok(&mine, &["rev-parse", "main"]));

    ok(&mine, &["push", "--quiet", &at, "--delete", "left", "light"]);
    let refs = ok(work, &["ls-remote", &at]);
    assert!(!refs.contains("left") && !refs.contains("light") && refs.contains("right"), "{refs}");
    assert_eq!(repositories(&daemon).await[0]["default_branch"], "main");
}

#[tokio::test]
async fn whoever_pushes_is_told_what_becomes_of_it() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example());
    let push = |repository: &str, refspec: &str| {
        let output = copy.try_push(&daemon, repository, daemon.token(), refspec);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let first = push("hello-python", "main");
    assert!(first.contains("remote: run 1 of `hello-python` has begun"), "{first}");
    let page = first.split_whitespace().find(|word| word.contains("/runs/run_")).expect("the address of its page");
    let answer = reqwest::Client::new().get(page).bearer_auth(daemon.token()).send().await.expect("an answer");
    assert!(page.starts_with(daemon.address()) && answer.status().as_u16() < 400, "{page}: {}", answer.status());
    assert_eq!(daemon.run_ended("hello-python", 1).await["status"], "succeeded");

    copy.git(&["branch", "feature"]);
    let branch = push("hello-python", "feature");
    assert!(branch.contains("`feature` is not the default branch, which is `main`"), "{branch}");
    copy.commit("Nothing");
    let empty = push("hello-python", "main");
    assert!(empty.contains("nothing that `hello-python` is built from changed since its last success"), "{empty}");
    copy.write("webhook.yaml", "version: 1\nname: hello-python\nhandlr: {}\n").commit("Mistype");
    let mistyped = push("hello-python", "main");
    assert!(mistyped.contains("failed before it began: webhook.yaml:3:1") && mistyped.contains("handler"), "{mistyped}");

    let copy = WorkingCopy::new();
    copy.write("README.md", "Nothing here\n").commit("Begin");
    let other = said(&copy.try_push(&daemon, "other", daemon.token(), "main"));
    assert!(other.contains("`main` holds no `webhook.yaml`"), "{other}");
}

#[tokio::test]
async fn pushes_at_the_same_time_are_both_taken() {
    let daemon = Daemon::start(BINARY).await;
    let copy = plain();
    let at = url(&daemon, daemon.token(), "shop");
    let branches: Vec<String> = (0..6).map(|number| format!("branch-{number}")).collect();
    for branch in &branches {
        ok(&copy.path(), &["branch", branch]);
    }
    std::thread::scope(|scope| {
        let pushes: Vec<_> = branches.iter().map(|branch| scope.spawn(|| git(&copy.path(), &["push", "--quiet", &at, branch]))).collect();
        for push in pushes {
            let output = push.join().expect("a push");
            assert!(output.status.success(), "{}", said(&output));
        }
    });
    let refs = ok(&copy.path(), &["ls-remote", "--heads", &at]);
    assert_eq!(refs.lines().count(), branches.len(), "{refs}");
    assert_eq!(repositories(&daemon).await.len(), 1, "the repository is known");
}

#[tokio::test]
async fn a_push_of_a_hundred_megabytes_takes_little_memory() {
    let daemon = Daemon::start(BINARY).await;
    let copy = plain();
    copy.git(&["config", "core.compression", "0"]);
    // Noise, so that nothing of it is compressed away.
    let (mut noise, mut state) = (Vec::with_capacity(25 << 20), 1_u64);
    for part in 0..4 {
        noise.clear();
        while noise.len() < 25 << 20 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        std::fs::write(copy.path().join(format!("noise-{part}")), &noise).expect("a file");
    }
    copy.commit("Much noise");
    let before = peak_memory(daemon.pid());
    copy.push(&daemon, "shop");
    let grown = peak_memory(daemon.pid()) - before;
    println!("the daemon grew by {} MiB", grown >> 20);
    assert!(grown < 48 << 20, "the daemon grew by {} MiB", grown >> 20);

    let work = TempDir::new().expect("a folder");
    ok(work.path(), &["clone", "--quiet", &url(&daemon, daemon.token(), "shop"), "clone"]);
    assert_eq!(std::fs::metadata(work.path().join("clone/noise-3")).expect("a file").len(), 25 << 20);
    let grown = peak_memory(daemon.pid()) - before;
    assert!(grown < 48 << 20, "the daemon grew by {} MiB", grown >> 20);
}

/// The most memory that a process ever held, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[tokio::test]
async fn who_may_not_push_leaves_nothing_behind() {
    let daemon = Daemon::start(BINARY).await;
    let copy = plain();
    let viewer = token(&daemon, "vera", "viewer").await;
    for bad in ["wrong", &viewer] {
        let output = copy.try_push(&daemon, "shop", bad, "main");
        assert!(!output.status.success(), "{}", said(&output));
    }
    let dry = git(&copy.path(), &["push", "--dry-run", &url(&daemon, daemon.token(), "shop"), "main"]);
    assert!(dry.status.success(), "{}", said(&dry));
    let nothing = git(&copy.path(), &["push", &url(&daemon, daemon.token(), "shop"), "--delete", "never"]);
    assert!(!nothing.status.success(), "{}", said(&nothing));
    assert_eq!(repositories(&daemon).await, Vec::<Value>::new());

    copy.push(&daemon, "shop");
    assert!(git(&copy.path(), &["ls-remote", &url(&daemon, &viewer, "shop")]).status.success(), "a viewer may read");
    assert!(!git(&copy.path(), &["ls-remote", &url(&daemon, "wrong", "shop")]).status.success());
}

#[tokio::test]
async fn a_hostile_push_is_refused_in_words_and_creates_nothing() {
    let daemon = Daemon::start(BINARY).await;
    let copy = plain();
    let path = copy.path();
    let blob = ok(&path, &["hash-object", "-w", "file"]);
    let raw: Vec<u8> = (0..blob.len()).step_by(2).map(|at| u8::from_str_radix(&blob[at..at + 2], 16).expect("hexadecimal")).collect();
    for entry in [".git", ".GIT", "git~1", ".git "] {
        let tree = [format!("100644 {entry}\0").as_bytes(), &raw].concat();
        std::fs::write(path.join(".git/evil"), tree).expect("a file");
        let tree = ok(&path, &["hash-object", "-t", "tree", "-w", "--literally", ".git/evil"]);
        let commit = ok(&path, &["commit-tree", "-m", "Hostile", &tree]);
        let output = copy.try_push(&daemon, "evil", daemon.token(), &format!("{commit}:refs/heads/main"));
        assert!(!output.status.success());
        assert!(said(&output).contains("hasDotgit"), "{entry}: {}", said(&output));
    }
    assert_eq!(repositories(&daemon).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_same_push_delivered_twice_makes_one_run() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example());
    let path = copy.path();
    let at = url(&daemon, daemon.token(), "hello-python");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| git(&path, &["push", "--quiet", &at, "main"]));
        }
    });
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    let runs = daemon.get("/api/v1/runs?webhook=hello-python").await;
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(1), "{runs}");
}

#[tokio::test]
async fn a_hosted_repository_that_vanished_from_disk_is_said_so_and_disturbs_no_other() {
    let daemon = Daemon::start_with(DaemonOptions::new(BINARY).variable("HOOKWRIGHT_GIT_POLL_INTERVAL", "1s")).await;
    let copy = plain();
    copy.push(&daemon, "gone");
    copy.push(&daemon, "stays");
    let (folder, away) = (daemon.data().join("git/gone.git"), daemon.data().join("away"));
    std::fs::rename(&folder, &away).expect("it vanishes");
    for output in
        [git(&copy.path(), &["ls-remote", &url(&daemon, daemon.token(), "gone")]), copy.try_push(&daemon, "gone", daemon.token(), "main")]
    {
        assert!(!output.status.success(), "{}", said(&output));
    }
    assert!(!folder.exists(), "no empty one takes its place");
    copy.write("file", "four").commit("four");
    copy.push(&daemon, "stays");
    std::fs::rename(&away, &folder).expect("it comes back");
    copy.push(&daemon, "gone");
}

#[tokio::test]
async fn a_watched_folder_that_vanished_is_said_so_and_disturbs_no_other() {
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_GIT_POLL_INTERVAL", "1s").variable("HOOKWRIGHT_GIT_QUIET_INTERVAL", "1s");
    let daemon = Daemon::start_with(options).await;
    let (gone, stays) = (plain(), WorkingCopy::of(&example()));
    for (name, copy) in [("gone", &gone), ("stays", &stays)] {
        daemon.post("/api/v1/repositories", json!({ "name": name, "url": format!("file://{}", copy.path().display()) })).await;
    }
    daemon.run_ended("hello-python", 1).await;
    drop(gone);
    daemon
        .until("the vanished folder to be told", async |daemon: &Daemon| {
            let list = repositories(daemon).await;
            list[0]["poll_error"].as_str()?.contains("does not appear to be a git repository").then_some(())
        })
        .await;
    assert_eq!(repositories(&daemon).await[1]["poll_error"], Value::Null);
    stays.edit("README.md", "A whole webhook", "One whole webhook").commit("Reword");
    daemon.run_ended("hello-python", 2).await;
}

#[tokio::test]
async fn many_watched_remotes_keep_no_call_waiting_for_the_database_and_are_all_read() {
    const REMOTES: usize = 120;
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_GIT_POLL_INTERVAL", "1s").variable("HOOKWRIGHT_GIT_QUIET_INTERVAL", "1s");
    let daemon = Daemon::start_with(options).await;
    let copy = plain();
    for number in 0..REMOTES {
        let url = format!("file://{}", copy.path().display());
        daemon.post("/api/v1/repositories", json!({ "name": format!("remote-{number}"), "url": url })).await;
    }
    daemon
        .until("every remote to be read", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/repositories?limit=200").await;
            let read = list["items"].as_array()?.iter().filter(|one| one["default_branch"].is_string()).count();
            (read == REMOTES).then_some(())
        })
        .await;
    assert!(!daemon.log().contains("repositories cannot be listed"), "{}", daemon.log());
}

/// Whether a text stands in any file of the data folder or in the log.
fn is_written(daemon: &Daemon, text: &str) -> bool {
    let found = Command::new("grep").args(["-r", "-a", "-l", "-F", text]).arg(daemon.data()).output().expect("grep runs");
    !found.stdout.is_empty() || daemon.log().contains(text)
}

#[tokio::test]
async fn a_private_remote_is_watched_with_a_credential_that_is_never_shown() {
    let forge = Daemon::start(BINARY).await;
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_GIT_POLL_INTERVAL", "1s").variable("HOOKWRIGHT_LOG", "debug");
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::of(&example());
    copy.push(&forge, "private");
    let (first, second) = (token(&forge, "robot", "viewer").await, token(&forge, "robot", "viewer").await);
    let remote = format!("{}/git/private.git", forge.address());

    let (code, text) = hookwright(&daemon, "", &["repo", "add", "shop", &remote]);
    assert_ne!(code, 0, "without a credential: {text}");
    let (code, text) = hookwright(&daemon, "wrong-token\n", &["repo", "add", "shop", &remote, "--credential-stdin"]);
    assert_ne!(code, 0, "with a wrong one: {text}");
    assert!(text.to_lowercase().contains("authentication failed") && !text.contains("wrong-token"), "{text}");
    assert_eq!(repositories(&daemon).await, Vec::<Value>::new());

    let (code, text) =
        hookwright(&daemon, &format!("{first}\n"), &["repo", "add", "shop", &remote, "--username", "robot", "--credential-stdin"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(daemon.run_ended("hello-python", 1).await["status"], "succeeded");
    let (_, shown) = hookwright(&daemon, "", &["repo", "list", "--json"]);
    assert!(shown.contains("\"credential\": \"password\"") && !shown.contains(&first) && !shown.contains("robot"), "{shown}");

    let (code, text) = hookwright(&daemon, "no-token-either\n", &["repo", "credential", "set", "shop", "--credential-stdin"]);
    assert_ne!(code, 0, "{text}");
    let (code, text) = hookwright(&daemon, &second, &["repo", "credential", "set", "shop", "--credential-stdin"]);
    assert_eq!(code, 0, "{text}");
    let tokens = forge.get("/api/v1/tokens").await;
    let of_robot = tokens["items"].as_array().expect("tokens").iter().filter(|token| token["user"] == "robot");
    let oldest = of_robot.min_by_key(|token| token["id"].to_string()).expect("the first token")["id"].as_str().expect("an id").to_owned();
    assert!(forge.request(Method::DELETE, &format!("/api/v1/tokens/{oldest}"), None).await.0 < 300);
    assert!(!git(&copy.path(), &["ls-remote", &url(&forge, &first, "private")]).status.success(), "the first token is worthless");

    copy.edit("README.md", "A whole webhook", "One whole webhook").commit("Reword");
    copy.push(&forge, "private");
    assert_eq!(daemon.run_ended("hello-python", 2).await["status"], "succeeded", "the second token is used");
    for secret in [&first, &second] {
        assert!(!is_written(&daemon, secret), "a token is in the data folder or in the log");
    }

    assert_eq!(hookwright(&daemon, "", &["repo", "credential", "remove", "shop"]).0, 0);
    assert_eq!(repositories(&daemon).await[0]["credential"], Value::Null);
    let (status, answer) =
        daemon.request(Method::PUT, "/api/v1/repositories/shop/credential", Some(json!({ "password": 7, "x": 1 }))).await;
    assert!((400..500).contains(&status), "{status} {answer}");
}

#[tokio::test]
async fn a_client_that_hangs_up_after_its_push_is_still_built() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example());
    let path = copy.path();
    let commit = ok(&path, &["rev-parse", "HEAD"]);
    let command = format!("{} {commit} refs/heads/main\0 report-status\n", "0".repeat(40));
    let mut body = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
    std::fs::write(path.join(".git/wanted"), format!("{commit}\n")).expect("a file");
    let packed = Command::new("git")
        .args(["pack-objects", "--revs", "--stdout", "--quiet"])
        .current_dir(&path)
        .stdin(std::fs::File::open(path.join(".git/wanted")).expect("a file"))
        .output()
        .expect("git packs");
    body.extend(packed.stdout);
    let host = daemon.address().trim_start_matches("http://").to_owned();
    let head = format!(
        "POST /git/hello-python.git/git-receive-pack HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        daemon.token(),
        body.len()
    );
    let mut connection = std::net::TcpStream::connect(&host).expect("a connection");
    connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body)).expect("sent");
    drop(connection);

    assert_eq!(daemon.run_ended("hello-python", 1).await["status"], "succeeded");
}
