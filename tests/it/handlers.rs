//! Handlers that misbehave, seen from outside: what was deployed before keeps serving, and people are told why.

use std::path::{Path, PathBuf};

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

fn python_example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python")
}

/// The reason why the newest promotion into development failed.
async fn failure(daemon: &Daemon) -> String {
    daemon
        .until("the failed promotion", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/promotions?webhook=hello-python").await;
            let failed = list["items"].as_array()?.iter().find(|promotion| promotion["status"] == "failed")?.clone();
            failed["status_reason"].as_str().map(str::to_owned)
        })
        .await
}

#[tokio::test]
async fn what_a_replaced_deployment_left_is_removed_when_its_time_is_over_and_the_live_one_stays() {
    let options = DaemonOptions::new(BINARY)
        .variable("HOOKWRIGHT_RETENTION_INTERVAL", "1s")
        .variable("HOOKWRIGHT_RETENTION_DEPLOYMENTS", "0s")
        .variable("HOOKWRIGHT_GATEWAY_DRAIN", "1s");
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::of(&python_example());
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "Hello from").await;
    let folders = || std::fs::read_dir(daemon.data().join("instances/deployments")).map_or(0, Iterator::count);
    assert_eq!(folders(), 1);
    copy.edit("server.py", "Hello from", "Hello again from").commit("Say it again");
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "Hello again").await;
    daemon.until("one folder to be left", async |_: &Daemon| (folders() == 1).then_some(())).await;
    daemon.answers("hello-python", "development", "Hello again").await;
}

#[tokio::test]
async fn a_handler_that_is_never_ready_fails_with_the_reason_and_the_old_one_goes_on() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&python_example());
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    daemon.answers("hello-python", "development", "Hello").await;

    copy.write("server.py", "import time\nprint('waiting for Godot', flush=True)\ntime.sleep(600)\n");
    copy.edit("webhook.yaml", "readiness: /readyz", "readiness: /readyz, startup: 15s").commit("Wait");
    copy.push(&daemon, "hello-python");
    let reason = failure(&daemon).await;
    assert!(reason.contains("not ready after 15 s: the handler does not listen on $PORT"), "{reason}");
    assert!(reason.contains("waiting for Godot"), "{reason}");
    daemon.answers("hello-python", "development", "Hello").await;
}

#[tokio::test]
async fn a_handler_killed_with_its_supervisor_comes_back() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&python_example());
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    daemon.answers("hello-python", "development", "Hello").await;
    let deployments = daemon.data().join("instances/deployments");
    let first = std::fs::read_dir(deployments).expect("deployments").flatten().next().expect("one").path().join("0");
    let record = hookwright_testkit::record(&first.join("1")).expect("a record");
    let supervisor = record["supervisor"].to_string();
    assert!(std::process::Command::new("kill").args(["-9", &supervisor]).status().expect("kill runs").success());

    daemon.until("the second process", async |_: &Daemon| hookwright_testkit::record(&first.join("2"))).await;
    daemon.answers("hello-python", "development", "Hello").await;
}
