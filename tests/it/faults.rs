//! What the daemon must survive.

use std::path::{Path, PathBuf};

use hookwright_testkit::{Daemon, MovedClock, WorkingCopy};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

fn python_example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python")
}

#[tokio::test]
async fn a_handler_survives_the_daemon_and_is_adopted() {
    let mut daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&python_example());
    copy.edit("server.py", "return f\"Hello from Python", "return f\"pid {os.getpid()} started {STARTED} Hello from Python")
        .edit("server.py", "import os\n", "import os\nimport time\n")
        .edit("server.py", "class Handler", "STARTED = time.time_ns()\n\n\nclass Handler")
        .commit("Say who answers");
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    let before = daemon.answers("hello-python", "development", "Hello").await;

    daemon.kill();
    daemon.restart().await;

    let after = daemon.answers("hello-python", "development", "Hello").await;
    assert_eq!(before, after, "the same process answers as before");
}

#[tokio::test]
async fn a_stage_that_runs_while_the_daemon_is_killed_runs_once_and_ends_well() {
    let mut daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&python_example());
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let script = "echo started; i=0; while [ $i -lt 200 ]; do i=$((i+1)); sleep 0.02; done; echo finished";
    copy.write("webhook.yaml", &format!("{spec}pipeline:\n  stages:\n    prepare:\n      needs: [checkout]\n      run: \"{script}\"\n"))
        .commit("Take a while");
    copy.push(&daemon, "hello-python");
    daemon
        .until("the stage to run", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/runs?webhook=hello-python").await;
            let id = list["items"][0]["id"].as_str()?.to_owned();
            let run = daemon.get(&format!("/api/v1/runs/{id}")).await;
            run["stages"].as_array()?.iter().any(|stage| stage["stage"] == "prepare" && stage["status"] == "running").then_some(())
        })
        .await;

    daemon.kill();
    daemon.restart().await;

    let run = daemon.run_ended("hello-python", 1).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let id = run["id"].as_str().expect("an id");
    let run = daemon.get(&format!("/api/v1/runs/{id}")).await;
    let attempts = run["stages"].as_array().expect("stages").iter().filter(|stage| stage["stage"] == "prepare").count();
    assert_eq!(attempts, 1, "the job was adopted, not run again: {run}");
}

#[tokio::test]
async fn sigterm_ends_the_daemon_cleanly_and_quickly() {
    let mut daemon = Daemon::start(BINARY).await;
    let status = daemon.terminate().await;
    assert!(status.success(), "{status}\n{}", daemon.log());
}

#[tokio::test]
async fn a_second_daemon_on_the_same_sqlite_is_refused() {
    let daemon = Daemon::start(BINARY).await;
    if daemon.database().is_some() {
        // Several daemons work with one PostgreSQL: see `cluster`.
        return;
    }
    let output = std::process::Command::new(BINARY)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(daemon.data())
        .output()
        .expect("a second daemon starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(text.contains("another") || text.contains("already"), "{text}");
}

#[tokio::test]
async fn a_clock_that_jumps_hours_both_ways_disturbs_no_run_and_no_deployment() {
    let clock = MovedClock::new();
    let mut daemon = Daemon::start_with(clock.options(BINARY)).await;
    let copy = WorkingCopy::of(&python_example());
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let stage = "    slow:\n      needs: [checkout]\n      timeout: 10m\n      run: for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; done; echo done\n    deploy:\n      needs: [slow, image]\n";
    copy.write("webhook.yaml", &format!("{spec}pipeline:\n  stages:\n{stage}")).commit("Take a while");
    let mut releases = Vec::new();
    for (number, offset) in [(1, "+3h"), (2, "-2h"), (3, "+0")] {
        copy.write("count", &number.to_string()).commit("Count");
        copy.push(&daemon, "hello-python");
        daemon
            .until("the slow stage to run", async |daemon: &Daemon| {
                let list = daemon.get("/api/v1/runs?webhook=hello-python").await;
                let newest = list["items"].as_array()?.first()?.clone();
                let run = daemon.get(&format!("/api/v1/runs/{}", newest["id"].as_str()?)).await;
                let is_slow = |stage: &serde_json::Value| stage["stage"] == "slow" && stage["status"] == "running";
                (newest["number"] == number && run["stages"].as_array()?.iter().any(is_slow)).then_some(())
            })
            .await;
        clock.jump(offset);
        let run = daemon.run_ended("hello-python", number).await;
        assert_eq!(run["status"], "succeeded", "{run}\n{}", daemon.log());
        let stages = daemon.get(&format!("/api/v1/runs/{}", run["id"].as_str().expect("an id"))).await;
        assert!(stages["stages"].as_array().expect("stages").iter().all(|stage| stage["attempt"] == 1), "nothing ran twice: {stages}");
        let webhook = daemon.get("/api/v1/webhooks/hello-python").await;
        releases.push(webhook["environments"][0]["release"].as_str().expect("a release").to_owned());
        daemon.answers("hello-python", "development", "Hello").await;
        // What was written before the jump is in order also for a daemon that starts after it.
        daemon.kill();
        daemon.restart().await;
    }
    releases.dedup();
    assert_eq!(releases.len(), 3, "each run's release went live: {releases:?}");
}
