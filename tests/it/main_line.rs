//! From `git push` to a webhook that answers, is approved, updated and rolled back.

use std::path::{Path, PathBuf};
use std::process::Command;

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// The exit code and the output of a client command against a daemon.
fn hookwright(daemon: &Daemon, token: &str, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(BINARY)
        .args(arguments)
        .env("HOOKWRIGHT_SERVER", daemon.address())
        .env("HOOKWRIGHT_TOKEN", token)
        .current_dir(daemon.data())
        .output()
        .expect("the client runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test]
async fn a_push_ends_in_production_after_an_approval_and_can_be_rolled_back() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example("hello-python"));

    copy.push(&daemon, "hello-python");
    let run = daemon.run_ended("hello-python", 1).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let answer = daemon.answers("hello-python", "development", "Hello from Python in development").await;
    let commit = String::from_utf8_lossy(&copy.git(&["rev-parse", "HEAD"]).stdout).trim().to_owned();
    assert!(answer.contains(&commit[..7]), "{answer}");
    assert_eq!(daemon.call("hello-python", "production", "/").await.0, 404, "production must wait for the approval");

    let (code, text) = hookwright(&daemon, daemon.token(), &["approve", "hello-python", "production"]);
    assert_eq!(code, 0, "{text}");
    daemon.answers("hello-python", "production", "Hello from Python in production").await;
    let webhook = daemon.get("/api/v1/webhooks/hello-python").await;
    let releases: Vec<_> = webhook["environments"].as_array().expect("environments").iter().map(|place| place["release"].clone()).collect();
    assert_eq!(releases[0], releases[1], "both environments run the same release");

    copy.edit("server.py", "Hello from Python", "Good evening from Python").commit("Greet later");
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 2).await;
    daemon.answers("hello-python", "development", "Good evening").await;
    let (code, text) = hookwright(&daemon, daemon.token(), &["approve", "hello-python", "production"]);
    assert_eq!(code, 0, "{text}");
    daemon.answers("hello-python", "production", "Good evening").await;

    let (code, text) = hookwright(&daemon, daemon.token(), &["rollback", "hello-python", "production"]);
    assert_eq!(code, 0, "{text}");
    daemon.answers("hello-python", "production", "Hello from Python in production").await;
    let (code, text) = hookwright(&daemon, daemon.token(), &["status", "hello-python"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("production"), "{text}");
}

#[tokio::test]
async fn a_spec_with_a_mistake_fails_the_run_and_what_was_deployed_stays() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example("hello-python"));
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    daemon.answers("hello-python", "development", "Hello").await;

    copy.edit("webhook.yaml", "handler:", "handlr:").commit("Break the spec");
    copy.push(&daemon, "hello-python");
    let run = daemon.run_ended("hello-python", 2).await;
    assert_eq!(run["status"], "failed", "{run}");
    assert!(run["status_reason"].as_str().is_some_and(|reason| reason.contains("handler")), "{run}");
    daemon.answers("hello-python", "development", "Hello").await;
}

#[tokio::test]
async fn a_missing_secret_blocks_with_the_command_that_sets_it() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example("hello-python"));
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    copy.write("webhook.yaml", &format!("{spec}config:\n  API_TOKEN: {{ type: string, secret: true, required: true }}\n"))
        .commit("Need a secret");
    copy.push(&daemon, "hello-python");
    let reason = daemon
        .until("the promotion that waits for a secret", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/promotions?webhook=hello-python&open=true").await;
            let text = list["items"][0]["verdicts"].to_string();
            text.contains("API_TOKEN").then_some(text)
        })
        .await;
    assert!(reason.contains("hookwright secret set hello-python development API_TOKEN"), "{reason}");

    let path = "/api/v1/webhooks/hello-python/environments/development/secrets/API_TOKEN";
    let (status, answer) = daemon.request(reqwest::Method::PUT, path, Some(json!({ "value": "canary-7f3a" }))).await;
    assert!(status < 300, "{status} {answer}");
    daemon.answers("hello-python", "development", "Hello").await;
}

#[tokio::test]
async fn a_promotion_that_waits_hears_what_the_default_branch_asks_for_now() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    let spec = |count: u32, compile: &str| {
        format!(
            "version: 1\nname: shop\nhandler: {{ command: [sh, -c, exec python3 -m http.server $PORT] }}\npipeline:\n  stages:\n    compile:\n      \
             needs: [checkout]\n      run: {compile}\nenvironments:\n  development: {{ promote: automatic }}\n  production:\n    after: [development]\n    \
             gates: {{ approvals: {{ count: {count} }} }}\n"
        )
    };
    let says = async |text: &str| {
        daemon
            .until(text, async |daemon: &Daemon| {
                let list = daemon.get("/api/v1/promotions?webhook=shop&open=true").await;
                list["items"][0]["verdicts"].to_string().contains(text).then_some(())
            })
            .await;
    };
    copy.write("webhook.yaml", &spec(1, "echo built")).commit("Begin");
    copy.push(&daemon, "shop");
    says("0 of 1 approvals").await;
    // It builds nothing, so the release that waits is the newest still.
    copy.write("webhook.yaml", &spec(2, "exit 1")).commit("Ask for more");
    copy.push(&daemon, "shop");
    says("0 of 2 approvals").await;
}

#[tokio::test]
async fn unchanged_inputs_come_from_the_cache_with_the_run_they_came_from() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example("hello-python"));
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let stage = "pipeline:\n  stages:\n    compile:\n      needs: [checkout]\n      run: cp input.txt made.txt\n      inputs: [input.txt]\n      outputs: [made.txt]\n";
    copy.write("input.txt", "one\n").write("webhook.yaml", &format!("{spec}{stage}")).commit("Compile");
    copy.push(&daemon, "hello-python");
    assert_eq!(daemon.run_ended("hello-python", 1).await["status"], "succeeded");

    copy.edit("README.md", "A whole webhook", "One whole webhook").commit("Reword");
    copy.push(&daemon, "hello-python");
    let second = daemon.run_ended("hello-python", 2).await;
    let id = second["id"].as_str().expect("an id");
    let run = daemon.get(&format!("/api/v1/runs/{id}")).await;
    let compile = run["stages"].as_array().expect("stages").iter().find(|stage| stage["stage"] == "compile").expect("compile").clone();
    assert_eq!(compile["status"], "cached", "{compile}");
    assert!(compile["cached_from"].is_string(), "{compile}");
}

#[tokio::test]
async fn a_viewer_can_look_and_nothing_else() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example("hello-python"));
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    let made = daemon.post("/api/v1/tokens", json!({ "user": "vera", "grants": [{ "role": "viewer", "scope": {} }] })).await;
    let token = made["token"].as_str().expect("a token");

    assert_eq!(hookwright(&daemon, token, &["status"]).0, 0);
    assert_eq!(hookwright(&daemon, token, &["approve", "hello-python", "production"]).0, 4);
    copy.edit("README.md", "A whole webhook", "Vera's webhook").commit("Sneak");
    let output = copy.try_push(&daemon, "hello-python", token, "main");
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn an_address_that_is_refused_is_not_stored() {
    let daemon = Daemon::start(BINARY).await;
    for url in ["https://u:canary-91c2@127.0.0.1:1/x.git", "ext::sh -c id", "http://10.0.0.1/x.git"] {
        let (status, answer) =
            daemon.request(reqwest::Method::POST, "/api/v1/repositories", Some(json!({ "name": "shop", "url": url }))).await;
        assert_eq!(status, 422, "{url}: {answer}");
    }
    assert_eq!(daemon.get("/api/v1/repositories").await["items"], json!([]));
    assert!(!daemon.log().contains("canary-91c2"), "{}", daemon.log());
}

#[tokio::test]
async fn a_watched_remote_is_built_and_only_an_admin_may_name_a_folder_of_this_machine() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example("hello-python"));
    let wish = json!({ "name": "shop", "url": format!("file://{}", copy.path().display()) });
    let made = daemon.post("/api/v1/tokens", json!({ "user": "dev", "grants": [{ "role": "developer", "scope": {} }] })).await;
    let developer = made["token"].as_str().expect("a token");
    let url = wish["url"].as_str().expect("an address");
    assert_eq!(hookwright(&daemon, developer, &["repo", "add", "shop", url]).0, 4);

    daemon.post("/api/v1/repositories", wish.clone()).await;
    assert_eq!(daemon.run_ended("hello-python", 1).await["status"], "succeeded");
    daemon.answers("hello-python", "development", "Hello").await;
}

#[tokio::test]
async fn a_viewer_of_development_does_not_read_the_logs_of_production() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example("hello-python"));
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "Hello").await;
    let grant = json!({ "role": "viewer", "scope": { "environment": "development" } });
    let made = daemon.post("/api/v1/tokens", json!({ "user": "vera", "grants": [grant] })).await;
    let token = made["token"].as_str().expect("a token");
    assert_eq!(hookwright(&daemon, token, &["logs", "--deployment", "hello-python", "development"]).0, 0);
    assert_eq!(hookwright(&daemon, token, &["logs", "--deployment", "hello-python", "production"]).0, 4);
}

#[tokio::test]
async fn an_admin_token_of_ones_own_choice_never_reaches_a_handler() {
    let variables = vec![("HOOKWRIGHT_ADMIN_TOKEN".to_owned(), "chosen-by-hand-5d1e".to_owned())];
    let daemon =
        Daemon::start_with(DaemonOptions { variables, token: Some("chosen-by-hand-5d1e".to_owned()), ..DaemonOptions::new(BINARY) }).await;
    let copy = WorkingCopy::of(&example("hello-python"));
    copy.edit(
        "server.py",
        "self.answer(\"ready\\n\" if self.path == \"/readyz\" else greeting(\"\"))",
        "self.answer(greeting(str(self.headers)))",
    )
    .commit("Tell what arrives");
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "Hello").await;
    let url = format!("{}/w/hello-python/development/", daemon.address());
    let client = reqwest::Client::new();
    for (sent, arrives) in [("chosen-by-hand-5d1e", false), ("the-handlers-own", true)] {
        let text = client.get(&url).bearer_auth(sent).send().await.expect("an answer").text().await.expect("a text");
        assert_eq!(text.contains(sent), arrives, "{text}");
    }
}
