//! The default branch of a repository: which it is, how an admin names another one, and what follows.

use std::path::Path;
use std::process::{Command, Output};

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::Method;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn hookwright(daemon: &Daemon, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(BINARY);
    command.args(arguments).env("HOOKWRIGHT_SERVER", daemon.address()).env("HOOKWRIGHT_TOKEN", daemon.token());
    let output = command.current_dir(daemon.data()).output().expect("the client runs");
    (output.status.code().unwrap_or(-1), said(&output))
}

/// The branch that a clone checks out.
fn checked_out(daemon: &Daemon, repository: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let address = daemon.address().replacen("http://", &format!("http://git:{}@", daemon.token()), 1);
    let git = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.output().expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    git(folder.path(), &["clone", "--quiet", &format!("{address}/git/{repository}.git"), "clone"]);
    git(&folder.path().join("clone"), &["branch", "--show-current"])
}

fn spec(approvals: u32) -> String {
    format!(
        "version: 1\nname: shop\ntitle: Asks for {approvals}\nhandler: {{ command: [sh, -c, exec python3 -m http.server $PORT] }}\npipeline:\n  stages:\n    compile:\n      \
         needs: [checkout]\n      run: test {approvals} = 1\nenvironments:\n  development: {{ promote: automatic }}\n  production:\n    after: \
         [development]\n    gates: {{ approvals: {{ count: {approvals} }} }}\n"
    )
}

#[tokio::test]
async fn another_default_branch_is_checked_out_built_and_decides() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    let pushed = |branch: &str| {
        let output = copy.try_push(&daemon, "shop", daemon.token(), branch);
        assert!(output.status.success(), "{}", said(&output));
    };
    let waits_with = async |text: &str| {
        daemon
            .until(text, async |daemon: &Daemon| {
                let list = daemon.get("/api/v1/promotions?webhook=shop&environment=production&open=true").await;
                list["items"][0]["verdicts"].to_string().contains(text).then_some(())
            })
            .await;
    };
    copy.write("webhook.yaml", &spec(1)).commit("Begin");
    pushed("main:first");
    waits_with("0 of 1 approvals").await;
    // Its own build fails, so that the release which waits stays the newest.
    copy.write("webhook.yaml", &spec(2)).commit("Ask for more");
    pushed("main:release/2");
    assert_eq!(checked_out(&daemon, "shop"), "first");

    let (code, text) = hookwright(&daemon, &["repo", "default-branch", "shop", "relase"]);
    assert!(code == 2 && text.contains("no branch `relase`") && text.contains("`first`, `release/2`"), "{code} {text}");
    assert_eq!(checked_out(&daemon, "shop"), "first");

    let (code, text) = hookwright(&daemon, &["repo", "default-branch", "shop", "release/2"]);
    assert!(code == 0 && text.contains("`release/2` is the default branch of shop"), "{code} {text}");
    assert!(text.contains("run 2 of `shop` has begun"), "{text}");
    assert_eq!(checked_out(&daemon, "shop"), "release/2");
    let (_, list) = hookwright(&daemon, &["repo", "list"]);
    assert!(list.contains("release/2"), "{list}");
    waits_with("0 of 2 approvals").await;
    assert_eq!(daemon.run_ended("shop", 2).await["status"], "failed");
    assert_eq!(daemon.get("/api/v1/webhooks/shop").await["title"], "Asks for 2");

    // From now on pushes to it are built, and pushes to the one before are not.
    copy.write("webhook.yaml", &spec(1)).commit("Ask for less");
    pushed("main:release/2");
    assert_eq!(daemon.run_ended("shop", 3).await["status"], "succeeded");
    copy.write("more", "more").commit("More");
    let output = copy.try_push(&daemon, "shop", daemon.token(), "main:first");
    assert!(said(&output).contains("`first` is not the default branch, which is `release/2`"), "{}", said(&output));

    let again = daemon.request(Method::PUT, "/api/v1/repositories/shop/default-branch", Some(json!({ "branch": "release/2" }))).await;
    assert_eq!((again.0, &again.1["news"]), (200, &json!([])), "what it is already changes nothing");
    let audit = daemon.get("/api/v1/audit?action=repository.default_branch").await;
    let details: Vec<_> = audit["items"].as_array().expect("lines").iter().map(|line| line["detail"].clone()).collect();
    assert_eq!(details, [json!("shop: first → release/2")]);
}

#[tokio::test]
async fn head_follows_the_default_branch_where_a_crash_came_between() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    copy.write("file", "one").commit("One");
    copy.push(&daemon, "shop");
    copy.git(&["branch", "other"]);
    assert!(copy.try_push(&daemon, "shop", daemon.token(), "other").status.success());
    let head = daemon.data().join("git/shop.git/HEAD");
    std::fs::write(&head, "ref: refs/heads/other\n").expect("a written HEAD");
    copy.write("file", "two").commit("Two");
    copy.push(&daemon, "shop");
    assert_eq!(std::fs::read_to_string(&head).expect("a HEAD"), "ref: refs/heads/main\n");
}

#[tokio::test]
async fn the_default_branch_of_a_watched_remote_is_changed_there() {
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_GIT_POLL_INTERVAL", "1s").variable("HOOKWRIGHT_GIT_QUIET_INTERVAL", "1s");
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::new();
    copy.write("file", "one").commit("One");
    copy.git(&["branch", "other"]);
    let url = format!("file://{}", copy.path().display());
    daemon.post("/api/v1/repositories", json!({ "name": "shop", "url": url })).await;
    let (code, text) = hookwright(&daemon, &["repo", "default-branch", "shop", "other"]);
    assert!(code == 2 && text.contains("the one that `HEAD` names there; change it there"), "{code} {text}");

    copy.git(&["checkout", "--quiet", "other"]);
    copy.write("file", "two").commit("Two");
    daemon
        .until("the remote's HEAD to be followed", async |daemon: &Daemon| {
            (daemon.get("/api/v1/repositories").await["items"][0]["default_branch"] == "other").then_some(())
        })
        .await;
}
