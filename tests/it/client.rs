//! The command-line client: how it ends, which scripts rely on, and following a log while the daemon is replaced.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// The client in a folder, as somebody with this token, with this on standard input and its output where it is to go.
fn output(folder: &std::path::Path, (server, token): (&str, &str), arguments: &[&str], (input, stdout): (&str, Stdio)) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(folder).env("HOOKWRIGHT_SERVER", server).env("HOOKWRIGHT_TOKEN", token);
    let mut child = command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped()).spawn().expect("the client runs");
    // Most commands end without reading it.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the client ends")
}

/// The client's exit code and what it said.
fn client(folder: &std::path::Path, server: &str, token: &str, arguments: &[&str]) -> (i32, String) {
    let output = output(folder, (server, token), arguments, ("", Stdio::piped()));
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
        (4, &server, "", &["status"], "HOOKWRIGHT_TOKEN"),
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

/// A client of this daemon as its admin, in the folder of a working copy.
fn admin_of(daemon: &Daemon, copy: &WorkingCopy) -> impl Fn(&[&str]) -> (i32, String) {
    let (folder, server, token) = (copy.path(), daemon.address().to_owned(), daemon.token().to_owned());
    move |arguments| client(&folder, &server, &token, arguments)
}

#[tokio::test]
async fn status_waits_for_what_was_pushed_and_approved_and_says_how_it_ended() {
    let daemon = Daemon::start(BINARY).await;
    let copy = shop("true");
    let hookwright = admin_of(&daemon, &copy);
    copy.push(&daemon, "shop");
    let (code, said) = hookwright(&["status", "shop", "--wait"]);
    assert_eq!(code, 0, "{said}");
    for line in
        ["run #1 work succeeded", "run #1 succeeded", "is live in development", "waits for production (approvals): 0 of 1 approvals"]
    {
        assert!(said.contains(line), "`{line}`: {said}");
    }
    assert_eq!(daemon.call("shop", "development", "/").await.0, 200, "what is live answers");
    let (code, said) = hookwright(&["approve", "shop", "production"]);
    assert!(code == 0 && said.starts_with("approved by admin; rel-"), "what happens next is said: {said}");
    let (code, said) = hookwright(&["status", "shop", "--wait"]);
    assert!(code == 0 && said.contains("is live in production"), "{said}");
    assert_eq!(daemon.call("shop", "production", "/").await.0, 200);

    copy.edit("webhook.yaml", "run: \"true\"", "run: echo no luck today; exit 7").commit("Break");
    copy.push(&daemon, "shop");
    let (code, said) = hookwright(&["status", "shop", "--wait"]);
    assert!(code == 1 && said.contains("run #2 failed") && said.contains("exit code 7"), "{code}: {said}");
    assert_eq!(hookwright(&["status", "shop", "--wait"]).0, 1, "also when it had ended before");
}

#[tokio::test]
async fn a_deployment_that_fails_is_waited_for_and_explained() {
    let daemon = Daemon::start(BINARY).await;
    let copy = shop("true");
    copy.edit("webhook.yaml", "server.py] }", "server.py], health: { startup: 2s } }");
    copy.write("server.py", "import sys\nsys.exit('the till is locked')\n").commit("Lock");
    let hookwright = admin_of(&daemon, &copy);
    copy.push(&daemon, "shop");
    let (code, said) = hookwright(&["status", "shop", "--wait"]);
    assert!(code == 1 && said.contains("not ready after 2 s"), "{code}: {said}");
    let (_, said) = hookwright(&["status", "shop"]);
    assert!(said.contains("failed in development") && said.contains("not ready after 2 s"), "{said}");
}

#[tokio::test]
async fn a_run_is_named_by_its_webhook_and_number_or_by_its_whole_id() {
    let daemon = Daemon::start(BINARY).await;
    let copy = shop("echo the first; exit 1");
    let hookwright = admin_of(&daemon, &copy);
    copy.push(&daemon, "shop");
    let first = daemon.run_ended("shop", 1).await;
    let first = first["id"].as_str().expect("an id");
    copy.edit("webhook.yaml", "the first", "the second").commit("Try again");
    copy.push(&daemon, "shop");
    daemon.run_ended("shop", 2).await;
    for (arguments, needle) in [
        (&["logs", "shop"][..], "the second"),
        (&["logs", "shop", "work"], "the second"),
        (&["logs", "shop", "1"], "the first"),
        (&["logs", "shop", "#1", "work"], "the first"),
        (&["logs", first], "the first"),
        (&["logs", first, "work"], "the first"),
        (&["retry", "shop", "#2"], "run #3 of shop does #2 again"),
    ] {
        let (code, said) = hookwright(arguments);
        assert!(code == 0 && said.contains(needle), "{arguments:?} says `{needle}`: {said}");
    }
    daemon.run_ended("shop", 3).await;
    for (code, arguments, needle) in [
        (2, &["logs", "No Name"][..], "WEBHOOK NUMBER"),
        (2, &["logs", &first[..13]], "36 characters"),
        (2, &["cancel", "shop"], "cancel shop NUMBER"),
        (2, &["retry", "shop", "last"], "retry shop 2"),
        (1, &["cancel", "shop", "9"], "no run #9 of `shop`"),
        (1, &["cancel", "shop", "3"], "ended"),
        (1, &["logs", "shop", "3", "wrk"], "work"),
    ] {
        let (ended, said) = hookwright(arguments);
        assert!(ended == code && said.contains(needle), "{arguments:?} says `{needle}`: {ended}, {said}");
    }
}

#[tokio::test]
async fn the_whole_reason_of_a_run_that_never_began_is_said() {
    let daemon = Daemon::start(BINARY).await;
    let copy = shop("true");
    let hookwright = admin_of(&daemon, &copy);
    copy.push(&daemon, "shop");
    daemon.run_ended("shop", 1).await;
    copy.edit(
        "webhook.yaml",
        "needs: [checkout]",
        "needs: [checkout]\n      secrets: [A_SECRET_THAT_IS_CALLED_SOMETHING_RATHER_LONG_INDEED]",
    );
    copy.edit("webhook.yaml", "handler: { command", "handler: { comand").commit("Mistype");
    copy.push(&daemon, "shop");
    let run = daemon.run_ended("shop", 2).await;
    let reason = run["status_reason"].as_str().expect("a reason").to_owned();
    assert!(reason.chars().count() > 80 && reason.contains("command"), "it is longer than a line: {reason}");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    for arguments in [&["runs", "shop"][..], &["logs", "shop"], &["status", "shop"]] {
        let (code, said) = hookwright(arguments);
        assert!(code == 0 && words(&said).contains(&words(&reason)), "{arguments:?} says `{reason}`: {said}");
    }
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let daemon = Daemon::start(BINARY).await;
    let copy = shop("echo hello");
    copy.push(&daemon, "shop");
    daemon.run_ended("shop", 1).await;
    for arguments in [
        &["plan"][..],
        &["validate"],
        &["status"],
        &["runs", "shop"],
        &["runs", "shop", "--json"],
        &["logs", "shop"],
        &["schema", "openapi"],
        &["completions", "bash"],
        &["token", "list"],
        &["help"],
        &["run"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ended = output(&copy.path(), (daemon.address(), daemon.token()), arguments, ("", writer.into()));
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            ended.status.success() && !said.contains("panicked") && !said.contains("error:"),
            "{arguments:?}: {}, {said}",
            ended.status
        );
    }
}

#[tokio::test]
async fn a_secret_that_nothing_asks_for_is_set_and_said() {
    let daemon = Daemon::start(BINARY).await;
    let copy = shop("true");
    copy.edit("webhook.yaml", "handler:", "config:\n  GITHUB_SECRET: { type: string, secret: true }\nhandler:").commit("Ask");
    copy.push(&daemon, "shop");
    daemon.run_ended("shop", 1).await;
    let set = |arguments: &[&str]| {
        let arguments = [&["secret", "set"], arguments].concat();
        let output = output(&copy.path(), (daemon.address(), daemon.token()), &arguments, ("a long value", Stdio::piped()));
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let mistyped = set(&["shop", "production", "GITHUB_SECRT"]);
    assert!(mistyped.contains("nothing of `shop` asks for `GITHUB_SECRT`; did you mean `GITHUB_SECRET`?"), "{mistyped}");
    let elsewhere = set(&["shop", "prodution", "GITHUB_SECRET"]);
    assert!(elsewhere.contains("no environment `prodution`; did you mean `production`?"), "{elsewhere}");
    let unknown = set(&["shp", "production", "GITHUB_SECRET"]);
    assert!(unknown.contains("no webhook `shp` yet; did you mean `shop`?"), "{unknown}");
    let build = set(&["shop", "build", "NPM_TOKEN"]);
    assert!(build.contains("no stage of `shop` asks for `NPM_TOKEN`"), "{build}");
    assert_eq!(set(&["shop", "production", "GITHUB_SECRET"]), "", "there is nothing to say of one that is asked for");
    let names = daemon.get("/api/v1/webhooks/shop/environments/production/secrets").await;
    assert_eq!(names["items"].as_array().map(Vec::len), Some(2), "both are set: {names}");
}
