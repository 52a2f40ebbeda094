//! Taking out of service: in one environment, also in one that `webhook.yaml` has lost, and for good, so that a name is free for another repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::Method;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");
const TWO: &str = "environments:\n  development: { promote: automatic }\n  staging: { after: development, promote: automatic }\n";
const TRIGGER: &str = "triggers:\n  any: { source: github, verify: none, deliver: { path: /events } }\n";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python")
}

/// The example with more in its `webhook.yaml`.
fn with(more: &str) -> WorkingCopy {
    let copy = WorkingCopy::of(&example());
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    copy.write("webhook.yaml", &format!("{spec}{more}")).commit("Declare more");
    copy
}

/// The exit code and the output of a command.
fn hookwright(daemon: &Daemon, token: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(BINARY);
    command.args(arguments).env("HOOKWRIGHT_SERVER", daemon.address()).env("HOOKWRIGHT_TOKEN", token);
    let output = command.current_dir(daemon.data()).output().expect("the client runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

async fn token(daemon: &Daemon, user: &str, grant: Value) -> String {
    daemon.post("/api/v1/tokens", json!({ "user": user, "grants": [grant] })).await["token"].as_str().expect("a token").to_owned()
}

/// What an event is answered at an address.
async fn send(daemon: &Daemon, address: &str) -> (u16, String) {
    let request = reqwest::Client::new().post(format!("{}/hooks/{address}", daemon.address())).header("x-github-event", "issues");
    let request = request.header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    let answer = request.json(&json!({ "action": "opened", "issue": { "number": 7 } })).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.unwrap_or_default())
}

/// The address of the trigger once it is not the one of before.
async fn address(daemon: &Daemon, before: Option<&str>) -> String {
    daemon
        .until("an address", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/triggers?webhook=hello-python").await;
            let found = list["items"].as_array()?.iter().find(|item| item["environment"] == "development" && item["status"] != "off")?;
            found["address"].as_str()?.rsplit('/').next().filter(|address| Some(*address) != before).map(str::to_owned)
        })
        .await
}

#[tokio::test]
async fn what_is_undeployed_answers_nobody_and_its_process_is_gone_also_where_the_spec_declares_it_no_more() {
    let daemon = Daemon::start_with(DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off")).await;
    let copy = with(TWO);
    copy.edit("server.py", "return f\"Hello from Python in", "return f\"process {os.getpid()} in").commit("Say which process it is");
    copy.push(&daemon, "hello-python");
    let answer = daemon.answers("hello-python", "staging", "process ").await;
    let process = answer.split(' ').nth(1).expect("a process").to_owned();
    assert!(Path::new("/proc").join(&process).exists(), "{answer}");

    copy.edit("webhook.yaml", "  staging: { after: development, promote: automatic }\n", "").commit("Give staging up");
    copy.push(&daemon, "hello-python");
    let left = daemon
        .until("staging to be marked", async |daemon: &Daemon| {
            let webhook = daemon.get("/api/v1/webhooks/hello-python").await;
            webhook["environments"].as_array()?.iter().find(|place| place["declared"] == false).cloned()
        })
        .await;
    assert_eq!((&left["name"], &left["status"]), (&json!("staging"), &json!("live")));
    let (_, text) = hookwright(&daemon, daemon.token(), &["status"]);
    assert!(text.contains("not in webhook.yaml any more") && text.contains("hookwright undeploy hello-python staging"), "{text}");

    let undeploy = ["undeploy", "hello-python", "staging", "--reason", "nobody needs it"];
    let vera = token(&daemon, "vera", json!({ "role": "viewer", "scope": {} })).await;
    let paul = token(&daemon, "paul", json!({ "role": "developer", "scope": { "environment": "development" } })).await;
    for refused in [&vera, &paul] {
        assert_eq!(hookwright(&daemon, refused, &undeploy).0, 4, "neither viewers nor developers of another environment undeploy");
    }
    daemon.answers("hello-python", "staging", "process ").await;
    let dora = token(&daemon, "dora", json!({ "role": "developer", "scope": {} })).await;
    let (code, text) = hookwright(&daemon, &dora, &undeploy);
    assert!(code == 0 && text.contains("goes out of service in staging"), "{text}");
    let silent = async |daemon: &Daemon| matches!(daemon.call("hello-python", "staging", "/").await.0, 404 | 503).then_some(());
    daemon.until("staging to answer nobody", silent).await;
    let ended = async |_: &Daemon| (!Path::new("/proc").join(&process).exists()).then_some(());
    daemon.until("its process to be gone", ended).await;
    assert_eq!(daemon.call("hello-python", "staging", "/").await.0, 404);
    let (code, text) = hookwright(&daemon, &dora, &undeploy);
    assert!(code == 1 && text.contains("nothing of `hello-python` is deployed in `staging`"), "{text}");
    let webhook = daemon.get("/api/v1/webhooks/hello-python").await;
    assert_eq!(webhook["environments"].as_array().map(Vec::len), Some(1), "{webhook}");
    let line = daemon.get("/api/v1/audit?limit=500").await["items"][0].clone();
    assert_eq!((&line["user"], &line["action"], &line["environment"]), (&json!("dora"), &json!("webhook.undeployed"), &json!("staging")));
    assert!(line["detail"].as_str().is_some_and(|detail| detail.ends_with("nobody needs it")), "{line}");

    // What is declared still comes back with the next release.
    assert_eq!(hookwright(&daemon, &dora, &["undeploy", "hello-python", "development"]).0, 0);
    daemon
        .until("development to answer nobody", async |daemon: &Daemon| {
            (daemon.call("hello-python", "development", "/").await.0 == 404).then_some(())
        })
        .await;
    copy.edit("server.py", "process {os.getpid()}", "again").commit("Come back");
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "again").await;
}

#[tokio::test]
async fn the_name_of_a_removed_webhook_is_another_repository_s_to_take_and_nothing_of_the_old_one_counts_there() {
    let daemon = Daemon::start(BINARY).await;
    let first = with(TRIGGER);
    first.push(&daemon, "first");
    daemon.answers("hello-python", "development", "Hello").await;
    let old_address = address(&daemon, None).await;
    let (status, answer) = send(&daemon, &old_address).await;
    assert_eq!(status, 200, "{answer}");
    let secrets = "/api/v1/webhooks/hello-python/environments/production/secrets";
    assert_eq!(daemon.request(Method::PUT, &format!("{secrets}/TOKEN"), Some(json!({ "value": "of the old one" }))).await.0, 204);
    let old_release = daemon.get("/api/v1/releases?webhook=hello-python").await["items"][0]["id"].as_str().expect("a release").to_owned();

    let second = with(TRIGGER);
    second.edit("server.py", "Hello from Python", "Good evening from another repository").commit("Greet");
    second.push(&daemon, "second");
    let refused = daemon.run_ended("second", 1).await;
    let reason = refused["status_reason"].as_str().unwrap_or_default();
    assert!(reason.contains("belongs to another repository") && reason.contains("hookwright webhook remove hello-python"), "{reason}");

    let (code, text) = hookwright(&daemon, daemon.token(), &["repo", "remove", "first"]);
    assert!(code == 0 && text.contains("runs on in development"), "{text}");
    assert!(
        text.contains("hookwright undeploy hello-python development") && text.contains("hookwright webhook remove hello-python"),
        "{text}"
    );
    let dora = token(&daemon, "dora", json!({ "role": "developer", "scope": {} })).await;
    let remove = ["webhook", "remove", "hello-python"];
    assert_eq!(hookwright(&daemon, &dora, &remove).0, 4, "developers remove no webhook");
    let (code, text) = hookwright(&daemon, daemon.token(), &remove);
    assert!(code == 0 && text.contains("its name is free") && text.contains("deleted: 1 secret"), "{text}");
    assert_eq!(hookwright(&daemon, daemon.token(), &remove).0, 1, "it is removed once");
    daemon
        .until("the old one to answer nobody", async |daemon: &Daemon| {
            (daemon.call("hello-python", "development", "/").await.0 == 404).then_some(())
        })
        .await;
    assert_eq!(daemon.request(Method::GET, "/api/v1/webhooks/hello-python", None).await.0, 404);

    second.edit("server.py", "Good evening", "Good night").commit("Greet later");
    second.push(&daemon, "second");
    daemon.answers("hello-python", "development", "Good night from another repository").await;
    assert_eq!(daemon.get(secrets).await["items"], json!([]), "the old secrets are gone");
    let new_address = address(&daemon, Some(&old_address)).await;
    assert_eq!((send(&daemon, &old_address).await.0, send(&daemon, &new_address).await.0), (404, 200));
    let (code, text) = hookwright(&daemon, daemon.token(), &["rollback", "hello-python", "development"]);
    assert!(code == 1 && text.contains("before what is there now"), "{text}");
    let (code, text) = hookwright(&daemon, daemon.token(), &["promote", "hello-python", "development", &old_release]);
    assert!(code == 1 && text.contains("has no release"), "{text}");
    let old_event = daemon.get("/api/v1/events?webhook=hello-python").await["items"].as_array().and_then(|all| all.last().cloned());
    let old_event = old_event.expect("an event")["event"].as_str().expect("an id").to_owned();
    let (status, answer) = daemon.request(Method::POST, &format!("/api/v1/events/{old_event}/replay"), Some(json!({}))).await;
    assert_eq!(status, 409, "{answer}");
}
