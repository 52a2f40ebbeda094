//! Holds: an environment takes nothing by itself while somebody holds it, and goes on without a promotion once the hold is ended.

use std::path::{Path, PathBuf};
use std::process::Command;

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");
const HOLD: &str = "/api/v1/webhooks/hello-python/environments/development/hold";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python")
}

/// The exit code and the output of `hookwright hold …`.
fn hold(daemon: &Daemon, token: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(BINARY);
    command.arg("hold").args(arguments).env("HOOKWRIGHT_SERVER", daemon.address()).env("HOOKWRIGHT_TOKEN", token);
    let output = command.current_dir(daemon.data()).output().expect("the client runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

async fn token(daemon: &Daemon, user: &str, grant: Value) -> String {
    daemon.post("/api/v1/tokens", json!({ "user": user, "grants": [grant] })).await["token"].as_str().expect("a token").to_owned()
}

/// The newest lines of the audit log about holds: who did what, and the rest.
async fn audited(daemon: &Daemon) -> Vec<(String, String, String)> {
    let audit = daemon.get("/api/v1/audit?limit=500").await;
    let text = |line: &Value, field: &str| line[field].as_str().expect("a text").to_owned();
    let lines = audit["items"].as_array().expect("lines").iter();
    lines
        .filter(|line| line["action"].as_str().is_some_and(|action| action.starts_with("hold.")))
        .map(|line| (text(line, "user"), text(line, "action"), text(line, "detail")))
        .collect()
}

#[tokio::test]
async fn what_arrives_in_a_held_environment_waits_until_the_hold_is_ended_and_nothing_is_promoted_for_it() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example());
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "Hello").await;
    let vera = token(&daemon, "vera", json!({ "role": "viewer", "scope": {} })).await;
    let elsewhere = json!({ "role": "developer", "scope": { "environment": "production" } });
    let paul = token(&daemon, "paul", elsewhere).await;
    let dora = token(&daemon, "dora", json!({ "role": "developer", "scope": {} })).await;
    let (set, end) = (["set", "hello-python", "development", "--reason", "fair week"], ["end", "hello-python", "development"]);

    for refused in [&vera, &paul] {
        assert_eq!(hold(&daemon, refused, &set).0, 4, "neither viewers nor developers of another environment hold it");
    }
    assert_eq!(hold(&daemon, &dora, &end).0, 1, "there is nothing to end");
    assert_eq!(hold(&daemon, &dora, &["set", "hello-python", "development", "--reason", " "]).0, 2, "a hold has a reason");
    let (code, text) = hold(&daemon, &dora, &["set", "hello-python", "developmnt", "--reason", "x"]);
    assert!(code == 1 && text.contains("declares no environment `developmnt`"), "{text}");
    let (code, text) = hold(&daemon, &dora, &set);
    assert_eq!(code, 0, "{text}");
    let (code, text) = hold(&daemon, &dora, &set);
    assert!(code == 1 && text.contains("dora holds `development` already") && text.contains("hookwright hold end"), "{text}");

    copy.edit("server.py", "Hello from Python", "Good evening from Python").commit("Greet later");
    copy.push(&daemon, "hello-python");
    let waits = daemon
        .until("the release to wait for the hold", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/promotions?webhook=hello-python&environment=development&open=true").await;
            list["items"][0]["status_reason"].as_str().filter(|reason| reason.contains("`hold`")).map(str::to_owned)
        })
        .await;
    assert!(waits.contains("dora holds `development`") && waits.contains("fair week"), "{waits}");
    let (_, body) = daemon.call("hello-python", "development", "/").await;
    assert!(body.contains("Hello from Python"), "{body}");

    for refused in [&vera, &paul] {
        assert_eq!(hold(&daemon, refused, &end).0, 4, "neither viewers nor developers of another environment end it");
    }
    let (code, text) = hold(&daemon, &dora, &end);
    assert_eq!(code, 0, "{text}");
    daemon.answers("hello-python", "development", "Good evening").await;
    let lines = audited(&daemon).await;
    assert_eq!(
        lines,
        [
            ("dora".to_owned(), "hold.ended".to_owned(), "set by dora: fair week".to_owned()),
            ("dora".to_owned(), "hold.set".to_owned(), "fair week".to_owned())
        ]
    );
}

#[tokio::test]
async fn a_hold_that_was_set_while_something_was_being_deployed_outlives_it_and_a_promotion_ends_it_by_name() {
    let gate = tempfile::tempdir().expect("a temporary folder");
    let daemon = Daemon::start_with(DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off")).await;
    let copy = WorkingCopy::of(&example());
    let wait =
        format!("    import time\n    while not os.path.exists({:?}):\n        time.sleep(0.02)\n    port = int(", gate.path().join("go"));
    copy.edit("server.py", "    port = int(", &wait).commit("Begin late");
    copy.push(&daemon, "hello-python");
    daemon
        .until("the deployment to be under way", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/promotions?webhook=hello-python&environment=development&open=true").await;
            (list["items"][0]["status"] == "deploying").then_some(())
        })
        .await;
    let (status, answer) = daemon.request(reqwest::Method::PUT, HOLD, Some(json!({ "reason": "wait for the data" }))).await;
    assert_eq!((status, answer["release"].is_null()), (200, true), "{answer}");
    std::fs::write(gate.path().join("go"), "").expect("a writable folder");
    daemon.answers("hello-python", "development", "Hello").await;
    let held = daemon.get("/api/v1/webhooks/hello-python").await["environments"][0]["hold"].clone();
    assert_eq!(held["reason"], "wait for the data", "the deployment was under way before the hold, and is not its end");

    copy.edit("server.py", "Hello from Python", "Good evening from Python").commit("Greet later");
    copy.push(&daemon, "hello-python");
    let release = daemon
        .until("the release to wait for the hold", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/promotions?webhook=hello-python&environment=development&open=true").await;
            list["items"][0]["release"].as_str().map(str::to_owned)
        })
        .await;
    daemon.post("/api/v1/webhooks/hello-python/environments/development/promote", json!({ "release": release })).await;
    daemon.answers("hello-python", "development", "Good evening").await;
    assert_eq!(daemon.get("/api/v1/webhooks/hello-python").await["environments"][0]["hold"], Value::Null);
    let (user, action, detail) = audited(&daemon).await.remove(0);
    assert_eq!((user.as_str(), action.as_str(), detail), ("admin", "hold.ended", format!("by promoting {release}")));
}
