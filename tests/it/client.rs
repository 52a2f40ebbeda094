//! The command-line client: how it ends, which scripts rely on, and following a log while the daemon is replaced.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// The client in a folder, as somebody with this token; its exit code and what it said.
fn client(folder: &std::path::Path, server: &str, token: &str, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(BINARY)
        .args(arguments)
        .current_dir(folder)
        .env("HOOKWRIGHT_SERVER", server)
        .env("HOOKWRIGHT_TOKEN", token)
        .stdin(Stdio::null())
        .output()
        .expect("the client runs");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), said)
}

/// A webhook `shop` whose stage `work` is the script.
fn shop(script: &str) -> WorkingCopy {
    let copy = WorkingCopy::new();
    let stages = format!("    work:\n      needs: [checkout]\n      run: {}\n", json!(script));
    let server = "import http.server, os\nhttp.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n";
    copy.write(
        "webhook.yaml",
        &format!("version: 1\nname: shop\nhandler: {{ command: [python3, server.py] }}\npipeline:\n  stages:\n{stages}"),
    )
    .write("server.py", server)
    .commit("Begin");
    copy
}

#[tokio::test]
async fn the_exit_code_says_what_kind_of_end_it_was() {
    let daemon = Daemon::start(BINARY).await;
    let viewer = daemon.post("/api/v1/tokens", json!({ "user": "vera", "grants": [{ "role": "viewer", "scope": {} }] })).await;
    let viewer = viewer["token"].as_str().expect("a token").to_owned();
    let copy = shop("exit 1");
    let (folder, admin, server) = (copy.path(), daemon.token().to_owned(), daemon.address().to_owned());
    copy.push(&daemon, "shop");
    let failed = daemon.run_ended("shop", 1).await;
    let failed = failed["id"].as_str().expect("an id");
    copy.write("broken.yaml", "version: 1\nname: shop\nhandler: { comand: [x] }\n");

    let nobody = "http://127.0.0.1:1";
    let cases: &[(i32, &str, &str, &[&str], &str)] = &[
        (0, &server, &admin, &["status"], "shop"),
        (0, &server, &viewer, &["runs", "shop"], "failed"),
        (0, &server, &admin, &["validate"], ""),
        (1, &server, &admin, &["run"], "exit code 1"),
        (1, &server, &admin, &["status", "nothing-of-that-name"], "nothing-of-that-name"),
        (1, &server, &admin, &["approve", "shop", "development"], "development"),
        (2, &server, &admin, &["validate", "broken.yaml"], "command"),
        (2, &server, &admin, &["frobnicate"], "frobnicate"),
        (2, &server, &admin, &["logs"], "RUN"),
        (2, &server, &admin, &["status", "Not A Name"], ""),
        (3, nobody, &admin, &["status"], "127.0.0.1:1"),
        (4, &server, "wrong", &["status"], "token"),
        (4, &server, &viewer, &["retry", failed], "developer"),
        (4, &server, &viewer, &["approve", "shop", "production"], ""),
    ];
    for (code, server, token, arguments, needle) in cases {
        let (ended, said) = client(&folder, server, token, arguments);
        assert_eq!(ended, *code, "{arguments:?}: {said}");
        assert!(said.contains(needle), "{arguments:?} says `{needle}`: {said}");
    }
}

#[tokio::test]
async fn a_log_that_is_followed_goes_on_when_the_daemon_is_killed_and_started_again() {
    let mut daemon = Daemon::start(BINARY).await;
    daemon.keep_socket().await;
    let copy = shop("i=0; while [ $i -lt 120 ]; do i=$((i+1)); echo \"line $i\"; sleep 0.03; done");
    copy.push(&daemon, "shop");
    let run = daemon
        .until("the stage to run", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/runs?webhook=shop").await;
            let id = list["items"][0]["id"].as_str()?.to_owned();
            let run = daemon.get(&format!("/api/v1/runs/{id}")).await;
            run["stages"].as_array()?.iter().any(|stage| stage["stage"] == "work" && stage["status"] == "running").then_some(id)
        })
        .await;
    let mut follower = Command::new(BINARY)
        .args(["logs", &run, "work", "-f"])
        .env("HOOKWRIGHT_SERVER", daemon.address())
        .env("HOOKWRIGHT_TOKEN", daemon.token())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client runs");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let until = seen.len() + 20;
        seen.extend(lines.by_ref().take(until - seen.len()));
        daemon.kill();
        daemon.restart().await;
    }
    seen.extend(lines);
    assert!(follower.wait().expect("the client ends").success());
    let said: Vec<&str> =
        seen.iter().filter_map(|line| line.find("line ").map(|at| &line[at..])).filter(|line| !line.contains('$')).collect();
    let wanted: Vec<String> = (1..=120).map(|number| format!("line {number}")).collect();
    assert_eq!(said, wanted, "each line once and in order: {seen:?}");
}
