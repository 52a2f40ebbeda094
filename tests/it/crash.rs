//! A daemon that dies at a commit, on either side of it, ends in the same state after a restart as one that never died.

use std::path::{Path, PathBuf};

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// Every commit that a push, its run and its two deployments pass.
const FIRST_PUSH: [&str; 11] = [
    "repository.created",
    "revision.planned",
    "stage.leased",
    "stage.running",
    "stage.ended",
    "stage.held",
    "run.ended",
    "release.cut",
    "promotion.deploying",
    "deployment.starting",
    "deployment.live",
];

/// Every commit that an update passes besides: a second push, its approval, the change of the route, and the way back.
const UPDATE: [&str; 4] = ["promotion.judged", "promotion.decided", "deployment.retired", "promotion.rollback"];

fn python_example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python")
}

/// The Python example with a stage that counts how often it was run, outside of everything the daemon owns.
fn counting_example(counter: &Path) -> WorkingCopy {
    let copy = WorkingCopy::of(&python_example());
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let stage = format!("pipeline:\n  stages:\n    count:\n      needs: [checkout]\n      run: \"echo once >> {}\"\n", counter.display());
    copy.write("webhook.yaml", &format!("{spec}{stage}")).commit("Count");
    copy
}

async fn promotions(daemon: &Daemon, environment: &str) -> Vec<Value> {
    let status = daemon.get("/api/v1/promotions?webhook=hello-python").await;
    let items = status["items"].as_array().expect("a list").clone();
    items.into_iter().filter(|one| one["environment"] == environment).collect()
}

/// Pushes, crashes at the commit, starts again, and looks at everything that must be as if nothing had happened.
async fn survives(side: &str, transition: &str) {
    let place = format!("{side}:{transition}");
    let outside = tempfile::tempdir().expect("a temporary folder");
    let counter = outside.path().join("count");
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off").variable("HOOKWRIGHT_FAILPOINT", &place);
    let mut daemon = Daemon::start_with(options).await;
    let copy = counting_example(&counter);
    // The daemon may die while it answers.
    copy.try_push(&daemon, "hello-python", daemon.token(), "main");
    daemon.ended().await;
    daemon.unset("HOOKWRIGHT_FAILPOINT");
    daemon.restart().await;
    // What the client knows to have failed it pushes again; what arrived is "up to date".
    copy.push(&daemon, "hello-python");

    let run = daemon.run_ended("hello-python", 1).await;
    assert_eq!(run["status"], "succeeded", "{place}: {run}");
    daemon.answers("hello-python", "development", "Hello").await;
    let runs = daemon.get("/api/v1/runs?webhook=hello-python").await;
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(1), "{place}: one push is one run: {runs}");
    let counted = std::fs::read_to_string(&counter).expect("the stage ran");
    assert_eq!(counted.lines().count(), 1, "{place}: the stage ran once");
    let run = daemon.get(&format!("/api/v1/runs/{}", run["id"].as_str().expect("an id"))).await;
    let stages = run["stages"].as_array().expect("stages");
    // A start that the crash cut off is a lost attempt, of which nothing ran: the count above is one. Another attempt follows it.
    let is_cut_off = |stage: &&Value| stage["status"] == "errored" && stage["status_reason"] == "its supervisor was lost";
    for stage in stages.iter().filter(|stage| !is_cut_off(stage)) {
        let before = stages.iter().filter(is_cut_off).filter(|other| other["stage"] == stage["stage"]).count();
        let is_next = stage["attempt"].as_u64() == u64::try_from(before + 1).ok();
        assert!(is_next && before <= 1 && matches!(stage["status"].as_str(), Some("succeeded" | "skipped")), "{place}: {stage}");
    }
    let deployed = promotions(&daemon, "development").await;
    assert_eq!(deployed.len(), 1, "{place}: {deployed:?}");
    assert_eq!(deployed[0]["status"], "succeeded", "{place}: {deployed:?}");
    daemon.waits_for_approval("hello-python", "production").await;
    daemon.post("/api/v1/webhooks/hello-python/environments/production/approve", json!({})).await;
    daemon.answers("hello-python", "production", "Hello").await;
}

/// Asks for something; a daemon that dies over it is asked again after it was started again, unless the deed was done.
async fn ask(daemon: &mut Daemon, crashed: &mut bool, action: &str, (done, times): (&str, usize)) {
    let path = format!("/api/v1/webhooks/hello-python/environments/production/{action}");
    let answered = daemon.try_request(reqwest::Method::POST, &path, Some(json!({}))).await;
    if matches!(answered, Some((200, _))) && daemon.is_running() {
        return;
    }
    revive(daemon, crashed).await;
    let audit = daemon.get("/api/v1/audit").await;
    let told = audit["items"].as_array().expect("a list").iter().filter(|entry| entry["action"] == done).count();
    if told < times {
        daemon.post(&path, json!({})).await;
    }
}

/// Starts the daemon again if it has died at its failpoint.
async fn revive(daemon: &mut Daemon, crashed: &mut bool) {
    daemon.ended().await;
    *crashed = true;
    daemon.unset("HOOKWRIGHT_FAILPOINT");
    daemon.restart().await;
}

/// Looks again until it is so, whatever dies meanwhile.
async fn until(daemon: &mut Daemon, crashed: &mut bool, what: &str, mut look: impl AsyncFnMut(&Daemon) -> bool) {
    for _ in 0..1200 {
        if !daemon.is_running() {
            revive(daemon, crashed).await;
        }
        if look(daemon).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("waited in vain for {what}:\n{}", daemon.log());
}

async fn answers(daemon: &mut Daemon, crashed: &mut bool, environment: &str, needle: &str) {
    let look = async |daemon: &Daemon| daemon.call("hello-python", environment, "/").await.1.contains(needle);
    until(daemon, crashed, &format!("`{needle}` from {environment}"), look).await;
}

/// Whether exactly one promotion waits for production, and has been judged.
async fn waits(daemon: &Daemon) -> bool {
    let path = "/api/v1/promotions?webhook=hello-python&environment=production&open=true";
    let Some((200, list)) = daemon.try_request(reqwest::Method::GET, path, None).await else { return false };
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.len() == 1 && items[0]["status"] == "waiting" && items[0]["status_reason"].is_string()
}

/// One release in production, a second one approved, and back, with a crash on the way.
async fn update_survives(side: &str, transition: &str) {
    let place = format!("{side}:{transition}");
    let mut daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&python_example());
    copy.edit("server.py", "Hello from Python", "First").commit("First");
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "First").await;
    daemon.waits_for_approval("hello-python", "production").await;
    let mut crashed = false;
    daemon.terminate().await;
    daemon.set("HOOKWRIGHT_FAILPOINT", &place);
    daemon.restart().await;

    ask(&mut daemon, &mut crashed, "approve", ("promotion.approved", 1)).await;
    answers(&mut daemon, &mut crashed, "production", "First").await;
    copy.edit("server.py", "First", "Second").commit("Second");
    if !copy.try_push(&daemon, "hello-python", daemon.token(), "main").status.success() {
        revive(&mut daemon, &mut crashed).await;
        copy.push(&daemon, "hello-python");
    }
    answers(&mut daemon, &mut crashed, "development", "Second").await;
    until(&mut daemon, &mut crashed, "the approval", waits).await;
    ask(&mut daemon, &mut crashed, "approve", ("promotion.approved", 2)).await;
    answers(&mut daemon, &mut crashed, "production", "Second").await;
    ask(&mut daemon, &mut crashed, "rollback", ("promotion.rollback", 1)).await;
    answers(&mut daemon, &mut crashed, "production", "First").await;
    if !crashed {
        revive(&mut daemon, &mut crashed).await;
    }
    answers(&mut daemon, &mut crashed, "production", "First").await;
    let live = promotions(&daemon, "production").await;
    let open = live.iter().filter(|one| matches!(one["status"].as_str(), Some("waiting" | "deploying"))).count();
    assert_eq!(open, 0, "{place}: {live:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_and_a_rollback_survive_a_crash_on_either_side_of_their_commits() {
    for transition in UPDATE {
        update_survives("before", transition).await;
        update_survives("after", transition).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_any_commit_changes_nothing() {
    for transition in FIRST_PUSH {
        survives("before", transition).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_after_any_commit_changes_nothing() {
    for transition in FIRST_PUSH {
        survives("after", transition).await;
    }
}
