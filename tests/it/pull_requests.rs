//! Pull requests of watched repositories, as forges publish them: refs such as `refs/pull/7/head`. Those of forks are strangers' code.

use std::process::{Command, Stdio};

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::Method;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// A secret that the stage `compile` of [`forge`] asks for.
const SECRET: &str = "a-build-secret-of-the-team";

/// A repository that stands for one on a forge: its pipeline says what it was given, and deploys.
fn forge() -> WorkingCopy {
    let copy = WorkingCopy::new();
    let stages = "    compile:\n      needs: [checkout]\n      secrets: [NPM_TOKEN]\n      outputs: [out]\n      run: |\n        \
                  echo \"token=$(printf %s \"$NPM_TOKEN\" | wc -c) pull=$HOOKWRIGHT_PULL_REQUEST event=$HOOKWRIGHT_EVENT $(test ! -e proposed || cat proposed)\"\n        echo made > out\n    \
                  plain:\n      needs: [checkout]\n      outputs: [plain]\n      inputs: [server.py, \"propose*\"]\n      run: echo plain > plain\n";
    copy.write("webhook.yaml", &format!("version: 1\nname: shop\nhandler: {{ command: [python3, server.py] }}\npipeline:\n  stages:\n{stages}"))
        .write("server.py", "import http.server, os\nhttp.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n")
        .commit("Begin");
    copy
}

/// Commits a change on no branch, as a fork would, and makes it the head of a pull request.
fn open_pull_request(forge: &WorkingCopy, number: u32, file: &str, text: &str) -> String {
    forge.git(&["checkout", "--quiet", "--detach", "main"]);
    let commit = forge.write(file, text).commit(&format!("Propose {file}"));
    forge.git(&["update-ref", &format!("refs/pull/{number}/head"), &commit]);
    forge.git(&["checkout", "--quiet", "main"]);
    commit
}

/// A daemon that watches the forge, with the build secret set.
async fn watching(forge: &WorkingCopy, more: &[(&str, &str)]) -> Daemon {
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_GIT_POLL_INTERVAL", "1s").variable("HOOKWRIGHT_GIT_QUIET_INTERVAL", "1s");
    let options = more.iter().fold(options, |options, (name, value)| options.variable(name, value));
    let daemon = Daemon::start_with(options).await;
    set_secret(&daemon);
    daemon.post("/api/v1/repositories", json!({ "name": "shop", "url": format!("file://{}", forge.path().display()) })).await;
    daemon
}

fn set_secret(daemon: &Daemon) {
    let mut child = Command::new(BINARY)
        .args(["secret", "set", "shop", "build", "NPM_TOKEN"])
        .env("HOOKWRIGHT_SERVER", daemon.address())
        .env("HOOKWRIGHT_TOKEN", daemon.token())
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), SECRET.as_bytes()).expect("the client reads");
    assert!(child.wait().expect("the client ends").success());
}

/// Waits until a run has ended whose log contains `text`.
async fn run_that_says(daemon: &Daemon, text: &str) -> Value {
    daemon
        .until(&format!("a run that says `{text}`"), async |daemon: &Daemon| {
            for run in daemon.get("/api/v1/runs").await["items"].as_array()? {
                if run["ended_at"].is_number() && log(daemon, run).await.contains(text) {
                    return Some(run.clone());
                }
            }
            None
        })
        .await
}

/// The release that is live in development.
async fn live(daemon: &Daemon) -> Value {
    let webhook = daemon.get("/api/v1/webhooks/shop").await;
    webhook["environments"][0].clone()
}

/// Each stage of a run with its state.
async fn stages(daemon: &Daemon, run: &Value) -> Vec<(String, String)> {
    let run = daemon.get(&format!("/api/v1/runs/{}", run["id"].as_str().expect("an id"))).await;
    let text = |stage: &Value, field: &str| stage[field].as_str().unwrap_or_default().to_owned();
    run["stages"].as_array().expect("stages").iter().map(|stage| (text(stage, "stage"), text(stage, "status"))).collect()
}

async fn status(daemon: &Daemon, run: &Value, stage: &str) -> String {
    stages(daemon, run).await.into_iter().find(|(name, _)| name == stage).map(|(_, status)| status).unwrap_or_default()
}

async fn log(daemon: &Daemon, run: &Value) -> String {
    daemon.stage_logs(run["id"].as_str().expect("an id")).await
}

#[tokio::test]
async fn a_pull_request_from_a_fork_is_built_without_secrets_and_leaves_nothing_behind() {
    let forge = forge();
    let daemon = watching(&forge, &[]).await;
    let first = daemon.run_ended("shop", 1).await;
    assert_eq!((&first["status"], &first["trusted"]), (&json!("succeeded"), &json!(true)), "{}", log(&daemon, &first).await);
    assert!(log(&daemon, &first).await.contains(&format!("token={} pull= event=push", SECRET.len())));
    let deployed = live(&daemon).await;

    let commit = open_pull_request(&forge, 7, "proposed", "proposed");
    let proposed = daemon.run_ended("shop", 2).await;
    assert_eq!((&proposed["status"], &proposed["trusted"]), (&json!("succeeded"), &json!(false)), "{}", log(&daemon, &proposed).await);
    let said = log(&daemon, &proposed).await;
    assert!(said.contains("token=0 pull=7 event=pull_request"), "{said}");
    assert_eq!(status(&daemon, &proposed, "deploy").await, "skipped");
    assert!(deployed["release"].is_string(), "{deployed}");
    assert_eq!(live(&daemon).await["release"], deployed["release"]);
    let (_, tags) = daemon.request(Method::GET, "/v2/shop/tags/list", None).await;
    assert!(!tags.to_string().contains(&commit[..7]), "a stranger's image has no tag: {tags}");

    // A retry is no way around, and a merge finds nothing of the stranger's in the cache.
    let (code, retried) =
        daemon.request(Method::POST, &format!("/api/v1/runs/{}/retry", proposed["id"].as_str().expect("an id")), None).await;
    if code < 300 {
        assert_ne!(retried["trusted"], json!(true), "{retried}");
        daemon.run_ended("shop", 3).await;
    }
    forge.git(&["merge", "--quiet", "--ff-only", &commit]);
    let merged = run_that_says(&daemon, &format!("token={} pull= event=push proposed", SECRET.len())).await;
    assert_eq!(status(&daemon, &merged, "plain").await, "succeeded", "not cached: {merged}");
}

#[tokio::test]
async fn a_pull_request_from_a_branch_of_the_repository_has_its_secrets() {
    let forge = forge();
    let daemon = watching(&forge, &[]).await;
    daemon.run_ended("shop", 1).await;
    let commit = open_pull_request(&forge, 8, "notes", "ours");
    // Its branch is there as well: nobody without the right to push could have put it there.
    forge.git(&["update-ref", "refs/heads/feature", &commit]);
    forge.git(&["update-ref", "-d", "refs/pull/8/head"]);
    forge.git(&["update-ref", "refs/merge-requests/9/head", &commit]);
    let proposed = run_that_says(&daemon, "pull=9").await;
    assert_eq!(proposed["trusted"], true, "{proposed}");
    let said = log(&daemon, &proposed).await;
    assert!(said.contains(&format!("token={} pull=9", SECRET.len())), "{said}");
    assert_eq!(status(&daemon, &proposed, "deploy").await, "skipped");
}

#[tokio::test]
async fn pull_requests_that_were_there_before_are_built_when_they_move_and_forks_only_where_they_are_wanted() {
    let forge = forge();
    open_pull_request(&forge, 1, "old", "old");
    let daemon = watching(&forge, &[]).await;
    let careful = watching(&forge, &[("HOOKWRIGHT_GIT_PULL_REQUESTS", "own")]).await;
    for daemon in [&daemon, &careful] {
        daemon.run_ended("shop", 1).await;
    }
    open_pull_request(&forge, 2, "new", "new");
    let second = daemon.run_ended("shop", 2).await;
    assert!(log(&daemon, &second).await.contains("pull=2"), "{second}");
    open_pull_request(&forge, 1, "old", "moved");
    run_that_says(&daemon, "pull=1").await;
    forge.write("later", "later").commit("Later");
    let next = careful.run_ended("shop", 2).await;
    assert!(log(&careful, &next).await.contains("event=push"), "{next}");
}

#[tokio::test]
async fn a_fork_takes_no_name_and_runs_nowhere_but_in_the_sandbox() {
    let forge = forge();
    let daemon = watching(&forge, &[("HOOKWRIGHT_SANDBOX", "off")]).await;
    daemon.run_ended("shop", 1).await;
    open_pull_request(&forge, 3, "payments/webhook.yaml", "version: 1\nname: payments\nhandler: { command: [python3, x.py] }\n");
    let proposed = daemon.run_ended("shop", 2).await;
    assert_eq!(proposed["status"], "failed", "{proposed}");
    let said = log(&daemon, &proposed).await;
    assert!(said.contains("it comes from a fork") && said.contains("install bubblewrap"), "{said}");
    daemon.run_ended("payments", 1).await;
    let (code, _) = daemon.request(Method::GET, "/api/v1/webhooks/payments", None).await;
    assert_eq!(code, 404);
    let other = WorkingCopy::new();
    other.write("webhook.yaml", "version: 1\nname: payments\nhandler: { command: [python3, x.py] }\n").write("x.py", "").commit("Begin");
    other.push(&daemon, "payments");
    let own = daemon.run_ended("payments", 2).await;
    assert_eq!(daemon.get("/api/v1/webhooks/payments").await["name"], "payments", "{own}");
}
