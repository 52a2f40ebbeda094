//! Stages that mean harm: each ends with a clear reason, and the daemon goes on serving.

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// A daemon with small limits, so that little harm is done until they are passed.
async fn strict() -> Daemon {
    let options = DaemonOptions::new(BINARY)
        .variable("HOOKWRIGHT_LIMITS_STAGE_MEMORY", "67108864")
        .variable("HOOKWRIGHT_LIMITS_STAGE_PROCESSES", "200")
        .variable("HOOKWRIGHT_LIMITS_STAGE_DISK", "20971520");
    Daemon::start_with(options).await
}

/// A webhook with one stage, and a handler that never gets ready and is given up soon.
fn copy(name: &str, script: &str) -> WorkingCopy {
    let copy = WorkingCopy::new();
    let spec = format!(
        "version: 1\nname: {name}\nhandler: {{ command: [sleep, \"600\"], health: {{ startup: 1s }} }}\npipeline:\n  stages:\n    evil:\n      needs: [checkout]\n      run: |\n        {}\n",
        script.replace('\n', "\n        ")
    );
    copy.write("webhook.yaml", &spec).commit("Begin");
    copy
}

/// The stage once its run has ended.
async fn ended(daemon: &Daemon, name: &str) -> Value {
    let run = daemon.run_ended(name, 1).await;
    let run = daemon.get(&format!("/api/v1/runs/{}", run["id"].as_str().expect("an id"))).await;
    let stages = run["stages"].as_array().expect("stages");
    stages.iter().find(|stage| stage["stage"] == "evil").expect("the stage").clone()
}

#[tokio::test]
async fn what_passes_a_limit_is_ended_with_the_limit_as_the_reason_and_the_daemon_stays_well() {
    let daemon = strict().await;
    let bomb = "bomb() { if [ $1 -gt 11 ]; then exec sleep 60; fi; bomb $(($1 + 1)) & bomb $(($1 + 1)) & wait; }\nbomb 0";
    let evils = [
        ("bomb", bomb, "its command was ended: it ran more than 200 processes and threads"),
        (
            "hog",
            "head -c 600000000 /dev/zero | tail -n 1 > /dev/null\nsleep 60",
            "its command was ended: it used more than 64 MiB of memory",
        ),
        ("filler", "yes > big", "its command was ended: it wrote more than 20 MiB to disk"),
    ];
    for (name, script, reason) in evils {
        copy(name, script).push(&daemon, name);
        let stage = ended(&daemon, name).await;
        assert_eq!((stage["status"].as_str(), stage["status_reason"].as_str()), (Some("failed"), Some(reason)), "{stage}");
        let begun = std::time::Instant::now();
        daemon.get("/api/v1/runs").await;
        assert!(begun.elapsed() < std::time::Duration::from_secs(2), "the daemon answers as ever");
    }
    let workspaces = std::fs::read_dir(daemon.data().join("workspaces")).map_or(0, |entries| entries.count());
    assert_eq!(workspaces, 0, "nothing fills the disk any more");
}

#[tokio::test]
async fn a_job_whose_supervisor_is_killed_is_tried_again_as_a_new_attempt() {
    let daemon = Daemon::start(BINARY).await;
    // The second attempt finds that it is the second, and does not wait.
    let script = "if [ -e .tried/first ]; then echo again; else touch .tried/first; sleep 600; fi";
    let copy = copy("lost", script);
    copy.edit("webhook.yaml", "      run: |", "      cache: [.tried]\n      run: |").commit("Remember");
    copy.push(&daemon, "lost");
    let supervisor = daemon
        .until("the stage to run", async |daemon: &Daemon| {
            let jobs = std::fs::read_dir(daemon.data().join("jobs")).ok()?;
            let record = jobs.flatten().find_map(|job| hookwright_testkit::record(&job.path()))?;
            let marked =
                std::fs::read_dir(daemon.data().join("caches/lost")).ok()?.flatten().any(|cache| cache.path().join("first").exists());
            marked.then(|| record["supervisor"].as_i64()).flatten()
        })
        .await;
    let killed = std::process::Command::new("kill").args(["-9", &supervisor.to_string()]).status().expect("kill runs");
    assert!(killed.success());
    let run = daemon.run_ended("lost", 1).await;
    let run = daemon.get(&format!("/api/v1/runs/{}", run["id"].as_str().expect("an id"))).await;
    let attempts: Vec<_> = run["stages"].as_array().expect("stages").iter().filter(|stage| stage["stage"] == "evil").collect();
    assert_eq!(attempts.len(), 2, "{run}");
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt["status"].as_str().unwrap_or_default()).collect();
    assert!(statuses.contains(&"errored") && statuses.contains(&"succeeded"), "{statuses:?}");
}

#[tokio::test]
async fn a_sandbox_that_is_required_and_does_not_work_keeps_the_daemon_from_starting() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let broken = folder.path().join("bwrap");
    std::fs::write(&broken, "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n").expect("a written script");
    std::process::Command::new("chmod").arg("700").arg(&broken).status().expect("chmod runs");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    let run = |arguments: &[&str], setting: &str| {
        let mut command = std::process::Command::new(BINARY);
        command.args(arguments).env("PATH", &path).env("HOOKWRIGHT_SANDBOX", setting).current_dir(folder.path());
        command.output().expect("the binary runs")
    };
    let output = run(&["serve", "--listen", "127.0.0.1:0", "--data", "data"], "required");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && text.contains("sandbox: required") && text.contains("No permissions to create new namespace"),
        "{text}"
    );
    let output = run(&["doctor", "--json"], "preferred");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("No permissions to create new namespace"), "{text}");

    let options = DaemonOptions::new(BINARY).variable("PATH", &path).variable("HOOKWRIGHT_SANDBOX", "preferred");
    let daemon = Daemon::start_with(options).await;
    assert!(daemon.log().contains("run as plain processes"), "{}", daemon.log());
}
