//! Runs from outside: superseded, canceled, retried, timed out, queued one behind the other.

use hookwright_testkit::{Daemon, WorkingCopy};
use reqwest::Method;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// A webhook whose pipeline is `stages`, indented by four spaces; `more` stands at the top level.
fn copy(stages: &str, more: &str) -> WorkingCopy {
    let copy = WorkingCopy::new();
    let handler = "handler: { command: [python3, server.py] }";
    let server = "import os\nfrom http.server import BaseHTTPRequestHandler, HTTPServer\n\n\nclass H(BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b'here')\n\n\nHTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n";
    copy.write("webhook.yaml", &format!("version: 1\nname: shop\n{handler}\n{more}pipeline:\n  stages:\n{stages}"))
        .write("server.py", server)
        .commit("Begin");
    copy
}

async fn stage(daemon: &Daemon, run: &str, name: &str) -> Option<Value> {
    let run = daemon.get(&format!("/api/v1/runs/{run}")).await;
    let stages = run["stages"].as_array()?.clone();
    stages.into_iter().rev().find(|stage| stage["stage"] == name)
}

/// Waits until a stage of the newest run has the status, and returns the run's id.
async fn stage_is(daemon: &Daemon, name: &str, status: &str) -> String {
    daemon
        .until(&format!("{name} to be {status}"), async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/runs?webhook=shop").await;
            let id = list["items"][0]["id"].as_str()?.to_owned();
            (stage(daemon, &id, name).await?["status"] == status).then_some(id)
        })
        .await
}

#[tokio::test]
async fn a_push_during_a_run_supersedes_it_and_ends_its_job() {
    let daemon = Daemon::start(BINARY).await;
    let copy = copy("    slow:\n      needs: [checkout]\n      run: if [ -e quick ]; then echo quick; else sleep 600; fi\n", "");
    copy.push(&daemon, "shop");
    stage_is(&daemon, "slow", "running").await;
    copy.write("quick", "").commit("Be quick");
    copy.push(&daemon, "shop");
    let first = daemon.run_ended("shop", 1).await;
    assert_eq!(first["status"], "superseded", "{first}");
    let second = daemon.run_ended("shop", 2).await;
    assert_eq!(second["status"], "succeeded", "{second}");
    assert_eq!(first["superseded_by"], second["id"]);
}

#[tokio::test]
async fn with_concurrency_all_a_second_push_waits_for_the_first() {
    let daemon = Daemon::start(BINARY).await;
    let copy = copy("    slow:\n      needs: [checkout]\n      run: sleep 0.5\n", "");
    copy.edit("webhook.yaml", "pipeline:\n", "pipeline:\n  concurrency: all\n").commit("One behind the other");
    copy.push(&daemon, "shop");
    stage_is(&daemon, "slow", "running").await;
    copy.write("more", "").commit("More");
    copy.push(&daemon, "shop");
    let (first, second) = (daemon.run_ended("shop", 1).await, daemon.run_ended("shop", 2).await);
    assert_eq!((&first["status"], &second["status"]), (&json!("succeeded"), &json!("succeeded")), "{first} {second}");
    assert!(first["ended_at"].as_i64() <= second["started_at"].as_i64(), "{first} {second}");
}

#[tokio::test]
async fn a_canceled_run_ends_the_whole_process_group_of_its_job() {
    let daemon = Daemon::start(BINARY).await;
    let mark = format!("{}", 600_000 + std::process::id());
    let copy =
        copy(&format!("    slow:\n      needs: [checkout]\n      run: \"sleep {mark} & trap '' TERM; sleep {mark} & wait; wait\"\n"), "");
    copy.push(&daemon, "shop");
    let id = stage_is(&daemon, "slow", "running").await;
    daemon.post(&format!("/api/v1/runs/{id}/cancel"), json!({})).await;
    let run = daemon.run_ended("shop", 1).await;
    assert_eq!(run["status"], "canceled", "{run}");
    let left = std::process::Command::new("pgrep").args(["-f", &format!("sleep {mark}")]).output().expect("pgrep runs");
    assert!(left.stdout.is_empty(), "left: {}", String::from_utf8_lossy(&left.stdout));
    let (status, _) = daemon.request(Method::POST, &format!("/api/v1/runs/{id}/cancel"), Some(json!({}))).await;
    assert_eq!(status, 409, "it has ended");
}

#[tokio::test]
async fn a_timeout_ends_the_stage_with_the_reason_and_what_needs_it_is_skipped() {
    let daemon = Daemon::start(BINARY).await;
    let copy = copy(
        "    slow:\n      needs: [checkout]\n      run: sleep 600\n      timeout: 1s\n    after:\n      needs: [slow]\n      run: echo never\n",
        "",
    );
    copy.push(&daemon, "shop");
    let run = daemon.run_ended("shop", 1).await;
    assert_eq!(run["status"], "failed", "{run}");
    assert!(run["status_reason"].as_str().unwrap_or_default().contains("timed out after 1 s"), "{run}");
    let id = run["id"].as_str().expect("an id");
    assert_eq!(stage(&daemon, id, "after").await.expect("a row")["status"], "skipped");
}

#[tokio::test]
async fn a_retry_begins_at_the_failed_stage() {
    let daemon = Daemon::start(BINARY).await;
    let gate = format!("http://127.0.0.1:{}/", daemon.address().rsplit(':').next().expect("a port"));
    // The second stage fails until the daemon holds a webhook named `open`, which stands for any state of the outside world.
    let probe = format!("python3 -c \"import urllib.request; urllib.request.urlopen('{gate}w/open/development/')\"");
    let copy = copy(
        &format!("    first:\n      needs: [checkout]\n      run: echo first\n    second:\n      needs: [first]\n      run: {probe}\n"),
        "",
    );
    copy.push(&daemon, "shop");
    let failed = daemon.run_ended("shop", 1).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    let open = WorkingCopy::new();
    open.write("server.py", &std::fs::read_to_string(copy.path().join("server.py")).expect("a server"));
    open.write("webhook.yaml", "version: 1\nname: open\nhandler: { command: [python3, server.py] }\n").commit("Open");
    open.push(&daemon, "open");
    daemon.answers("open", "development", "here").await;
    let id = failed["id"].as_str().expect("an id");
    daemon.post(&format!("/api/v1/runs/{id}/retry"), json!({})).await;
    let again = daemon.run_ended("shop", 2).await;
    assert_eq!(again["status"], "succeeded", "{again}");
    let again_id = again["id"].as_str().expect("an id");
    let first = stage(&daemon, again_id, "first").await.expect("a row");
    assert!(first["status"] == "cached" && first["cached_from"] == id, "{first}");
}

#[tokio::test]
async fn canceling_a_run_that_waits_for_its_promotion_ends_the_promotion_too() {
    let daemon = Daemon::start(BINARY).await;
    let copy = copy(
        "    quick:\n      needs: [checkout]\n      run: echo quick\n",
        "config: { KEY: { type: string, secret: true, required: true } }\n",
    );
    copy.push(&daemon, "shop");
    let id = stage_is(&daemon, "deploy", "held").await;
    daemon.waits_for_approval("shop", "development").await;
    daemon.post(&format!("/api/v1/runs/{id}/cancel"), json!({})).await;
    let run = daemon.run_ended("shop", 1).await;
    assert_eq!(run["status"], "canceled", "{run}");
    let promotions = daemon.get("/api/v1/promotions?webhook=shop").await;
    assert_eq!(promotions["items"][0]["status"], "canceled", "{promotions}");
}

#[tokio::test]
async fn the_same_push_delivered_twice_is_one_run() {
    let daemon = Daemon::start(BINARY).await;
    let copy = copy("    quick:\n      needs: [checkout]\n      run: echo quick\n", "");
    copy.push(&daemon, "shop");
    copy.push(&daemon, "shop");
    daemon.run_ended("shop", 1).await;
    let list = daemon.get("/api/v1/runs?webhook=shop").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
}

#[tokio::test]
async fn a_matrix_runs_each_instance_with_its_variables_and_an_allowed_failure_lets_the_run_go_on() {
    let daemon = Daemon::start(BINARY).await;
    let stages = "    each:\n      needs: [checkout]\n      matrix: { flavour: [\"sweet\", \"sour\"] }\n      run: echo \"tastes $FLAVOUR\"; test $FLAVOUR = sweet\n      allow_failure: true\n";
    let copy = copy(stages, "");
    copy.push(&daemon, "shop");
    let run = daemon.run_ended("shop", 1).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let id = run["id"].as_str().expect("an id");
    let sour = daemon.get(&format!("/api/v1/runs/{id}/stages/each-flavour-sour/logs")).await;
    assert!(sour["lines"].to_string().contains("tastes sour"), "{sour}");
    assert_eq!(stage(&daemon, id, "each-flavour-sour").await.expect("a row")["status"], "failed");
    assert_eq!(stage(&daemon, id, "each-flavour-sweet").await.expect("a row")["status"], "succeeded");
}

#[tokio::test]
async fn a_declared_output_that_is_not_made_fails_its_stage_with_what_is_there_instead() {
    let daemon = Daemon::start(BINARY).await;
    let make = |outputs: &str, more: &str| {
        format!(
            "    make:\n      needs: [checkout]\n      run: mkdir -p build; echo made > build/app.mjs\n      outputs: [{outputs}]\n{more}    \
             use:\n      needs: [make]\n      run: cat build/app.mjs || echo nothing\n"
        )
    };
    let copy = copy(&make("\"build/**\", build/app.js", ""), "");
    copy.push(&daemon, "shop");
    let run = daemon.run_ended("shop", 1).await;
    let why = "it declares `build/app.js` under `outputs`, and made no such file; in `build/` there is `app.mjs`";
    assert_eq!((&run["status"], &run["status_reason"]), (&json!("failed"), &json!(format!("stage `make`: {why}"))), "{run}");
    let id = run["id"].as_str().expect("an id");
    assert_eq!(stage(&daemon, id, "use").await.expect("a row")["status"], "skipped");
    assert!(daemon.stage_logs(id).await.contains(&format!("make | {why}")), "{}", daemon.stage_logs(id).await);

    // A failure that is allowed hands nothing on, and the stage after it finds nothing.
    let spec =
        |stages: &str| format!("version: 1\nname: shop\nhandler: {{ command: [python3, server.py] }}\npipeline:\n  stages:\n{stages}");
    copy.write("webhook.yaml", &spec(&make("build/app.js", "      allow_failure: true\n"))).commit("Allow it");
    copy.push(&daemon, "shop");
    let run = daemon.run_ended("shop", 2).await;
    let id = run["id"].as_str().expect("an id");
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!(stage(&daemon, id, "make").await.expect("a row")["status_reason"], json!(why));
    assert!(daemon.stage_logs(id).await.contains("use | nothing"), "{}", daemon.stage_logs(id).await);

    // A stage that failed by itself has said why.
    copy.write(
        "webhook.yaml",
        &spec("    make:\n      needs: [checkout]\n      run: exit 3\n      outputs: [out]\n      reports: [no.xml]\n"),
    );
    copy.commit("Fail");
    copy.push(&daemon, "shop");
    let run = daemon.run_ended("shop", 3).await;
    assert_eq!(run["status_reason"], "stage `make`: its command ended with exit code 3", "{run}");
}

#[tokio::test]
async fn a_declared_report_that_is_missing_or_unreadable_is_said_and_fails_nothing() {
    let daemon = Daemon::start(BINARY).await;
    let copy = copy(
        "    check:\n      needs: [checkout]\n      run: echo '<testsuite><testcase name=\"a\"/></testsuite>' > good.xml; echo no > bad.xml\n      \
         reports: [\"*.xml\", junit/*.xml]\n",
        "",
    );
    copy.push(&daemon, "shop");
    let run = daemon.run_ended("shop", 1).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let id = run["id"].as_str().expect("an id");
    let check = stage(&daemon, id, "check").await.expect("a row");
    let said = check["status_reason"].as_str().expect("a word on it");
    assert!(said.contains("declares `junit/*.xml` under `reports`") && said.contains("no JUnit report: `bad.xml`"), "{said}");
    assert_eq!(check["tests"]["tests"], 1, "{check}");
    assert_eq!(run["status_reason"], json!(format!("stage `check`: {said}")));
    assert!(daemon.stage_logs(id).await.contains(said), "{}", daemon.stage_logs(id).await);
}

#[tokio::test]
async fn a_run_that_succeeded_is_done_again_for_the_same_commit_whatever_the_cache_has() {
    let daemon = Daemon::start(BINARY).await;
    let copy = copy("    make:\n      needs: [checkout]\n      run: echo made\n      inputs: [server.py]\n", "");
    copy.push(&daemon, "shop");
    let first = daemon.run_ended("shop", 1).await;
    assert_eq!(first["status"], "succeeded", "{first}");
    copy.write("more", "more").commit("More");
    copy.push(&daemon, "shop");
    let second = daemon.run_ended("shop", 2).await;
    assert_eq!(stage(&daemon, second["id"].as_str().expect("an id"), "make").await.expect("a row")["status"], "cached");

    let client = |arguments: &[&str]| {
        let mut command = std::process::Command::new(BINARY);
        command.args(arguments).env("HOOKWRIGHT_SERVER", daemon.address()).env("HOOKWRIGHT_TOKEN", daemon.token());
        let output = command.output().expect("the client runs");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    };
    let (code, said) = client(&["retry", "shop", "1"]);
    assert!(code == Some(1) && said.contains("`hookwright retry shop 1 --all` does all of it again"), "{code:?} {said}");
    for again in [3, 4] {
        let (code, said) = client(&["retry", "shop", "1", "--all"]);
        assert!(code == Some(0) && said.contains("does #1 again, every stage, whatever the cache has"), "{code:?} {said}");
        let run = daemon.run_ended("shop", again).await;
        assert_eq!((&run["status"], &run["revision"]), (&json!("succeeded"), &first["revision"]), "{run}");
        let make = stage(&daemon, run["id"].as_str().expect("an id"), "make").await.expect("a row");
        assert_eq!((&make["status"], &make["cached_from"]), (&json!("succeeded"), &Value::Null), "{make}");
    }
}
