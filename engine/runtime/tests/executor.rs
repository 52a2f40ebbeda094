//! The contract of the executor, against the real supervisor: started once, adopted, lost once, ended whole.

mod rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookwright_core::port::{CacheMount, Executor, JobEnd, JobOutcome, JobState};
use hookwright_core::{Blame, SecretValue};
use rig::{PATIENCE, Rig, bubblewrap, kill, slow_supervisor, until};

/// A job that ignores requests to end, and leaves a process behind in a session of its own whose parent is gone.
const STUBBORN: &str =
    "trap '' TERM\n(setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &)\necho up > up\nwhile :; do sleep 1; done";

/// What a poll says, as long as the job has not ended.
async fn outcomes(rig: &Rig, of: &hookwright_core::port::Job, while_pending: impl Fn() -> bool) -> Vec<JobState> {
    let mut seen = Vec::new();
    while while_pending() {
        let state = rig.executor.poll(&of.id).await.expect("a state");
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    seen
}

#[tokio::test]
async fn a_job_that_is_being_started_is_not_called_lost() {
    let rig = Rig::new();
    let (slow, _) = rig.another(slow_supervisor(rig.folder.path()));
    let job = rig.job("echo once >> ran");
    let starting = tokio::spawn({
        let job = job.clone();
        async move { slow.start(&job).await }
    });
    until("the start", async || rig::line(&rig.kept(&job), 0)).await;
    let begun = Instant::now();
    let seen = outcomes(&rig, &job, || begun.elapsed() < Duration::from_millis(150)).await;
    assert_eq!(seen, [JobState::Running]);
    rig.executor.start(&job).await.expect("starting it again does nothing");
    std::fs::write(rig.folder.path().join("go"), "").expect("a written file");
    starting.await.expect("no panic").expect("it starts");
    assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Exited(0));
    assert_eq!(rig.written(&job, "ran").await, "once\n");
}

#[tokio::test]
async fn a_job_whose_start_the_daemon_did_not_live_to_see_runs_once() {
    let rig = Rig::new();
    let (slow, _) = rig.another(slow_supervisor(rig.folder.path()));
    let job = rig.job("echo once >> ran");
    let starting = tokio::spawn({
        let job = job.clone();
        async move { slow.start(&job).await }
    });
    until("the start", async || (rig.executor.poll(&job.id).await.expect("a state") == JobState::Running).then_some(())).await;
    // Long enough for the order to be in the pipe, where it waits for the supervisor.
    tokio::time::sleep(Duration::from_millis(50)).await;
    starting.abort();
    assert!(starting.await.is_err());
    rig.executor.start(&job).await.expect("the next daemon starts it again");
    assert_eq!(rig.executor.poll(&job.id).await.expect("a state"), JobState::Running);
    std::fs::write(rig.folder.path().join("go"), "").expect("a written file");
    assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Exited(0));
    assert_eq!(rig.written(&job, "ran").await, "once\n");
}

#[tokio::test]
async fn an_order_that_was_cut_off_is_never_carried_out_and_lost_once() {
    let rig = Rig::new();
    let (slow, _) = rig.another(slow_supervisor(rig.folder.path()));
    let mut job = rig.job("echo once >> ran");
    // More than a pipe holds, so that the daemon is cut off while it writes.
    job.masks = vec![SecretValue::new("x".repeat(1 << 20))];
    let starting = tokio::spawn({
        let job = job.clone();
        async move { slow.start(&job).await }
    });
    until("the start", async || (rig.executor.poll(&job.id).await.expect("a state") == JobState::Running).then_some(())).await;
    starting.abort();
    assert!(starting.await.is_err());
    std::fs::write(rig.folder.path().join("go"), "").expect("a written file");
    let end = rig.ended(&job).await;
    assert_eq!(end.outcome, JobOutcome::Lost);
    assert_eq!(rig.executor.poll(&job.id).await.expect("a state"), JobState::Ended(end), "it stays as it was told");
    assert!(!job.workspace.join("ran").exists());
}

#[tokio::test]
async fn the_end_of_an_adopted_job_wakes_the_scheduler() {
    let rig = Rig::new();
    let job = rig.job("while [ ! -e go ]; do sleep 0.01; done");
    rig.executor.start(&job).await.expect("it starts");
    let (later, wakes) = rig.another(rig::supervisor());
    assert_eq!(later.poll(&job.id).await.expect("a state"), JobState::Running);
    assert_eq!(wakes.count(), 0);
    std::fs::write(job.workspace.join("go"), "").expect("a written file");
    until("the wake-up", async || (wakes.count() > 0).then_some(())).await;
    let JobState::Ended(JobEnd { outcome: JobOutcome::Exited(0), .. }) = later.poll(&job.id).await.expect("a state") else {
        panic!("the wake-up came before the end");
    };
}

#[tokio::test]
async fn a_job_begins_with_no_signal_blocked_although_its_supervisor_hears_of_ends_by_a_blocked_one() {
    let rig = Rig::new();
    // A shell that waits for its children would not hear of them.
    let job = rig.job("grep SigBlk /proc/self/status > mask");
    rig.executor.start(&job).await.expect("it starts");
    assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Exited(0));
    assert_eq!(rig.written(&job, "mask").await, "SigBlk:\t0000000000000000\n");
}

async fn nothing_survives_a_killed_supervisor(rig: Rig) {
    let mut job = rig.job(STUBBORN);
    job.secrets.insert("TOKEN".to_owned(), SecretValue::new("canary"));
    rig.executor.start(&job).await.expect("it starts");
    rig.written(&job, "up").await;
    let processes = rig.alive(&job);
    assert!(processes.len() >= 2, "{processes:?}");
    let supervisor = rig.record(&job).and_then(|record| record["supervisor"].as_i64()).expect("a record");

    kill(i32::try_from(supervisor).expect("a pid"));
    until("the wake-up", async || (rig.wakes.count() > 0).then_some(())).await;
    let end = rig.ended(&job).await;
    assert_eq!(end.outcome, JobOutcome::Lost);
    assert_eq!(rig.alive(&job), Vec::<i32>::new());
    // The next daemon is told the very same.
    let (later, _) = rig.another(rig::supervisor());
    assert_eq!(later.poll(&job.id).await.expect("a state"), JobState::Ended(end));
    let log = rig.log(&job).await;
    assert_eq!(log.matches("the supervisor was killed; everything that the command had started was ended").count(), 1, "{log}");
}

#[tokio::test]
async fn nothing_survives_a_killed_supervisor_without_a_sandbox() {
    nothing_survives_a_killed_supervisor(Rig::new()).await;
}

#[tokio::test]
async fn nothing_survives_a_killed_supervisor_in_a_sandbox() {
    let Some(sandbox) = bubblewrap("jobs in a sandbox whose supervisor is killed") else { return };
    nothing_survives_a_killed_supervisor(Rig::on(tempfile::tempdir().expect("a folder"), Some(sandbox))).await;
}

#[tokio::test]
async fn a_copy_of_the_data_folder_does_not_end_what_the_original_runs() {
    let rig = Rig::new();
    let job = rig.job(STUBBORN);
    rig.executor.start(&job).await.expect("it starts");
    rig.written(&job, "up").await;
    let copy = Rig::new();
    let status = std::process::Command::new("cp").arg("-R").arg(rig.folder.path().join("jobs")).arg(copy.folder.path()).status();
    assert!(status.expect("cp runs").success());
    assert_eq!(copy.ended(&job).await.outcome, JobOutcome::Lost, "nothing holds the lock of the copy");
    assert!(rig.alive(&job).len() >= 2);
    rig.executor.forget(&job.id).await.expect("it is forgotten");
    assert_eq!(rig.executor.poll(&job.id).await.expect("a state"), JobState::Unknown);
}

async fn a_stubborn_job_is_killed(rig: Rig) {
    let job = rig.job(STUBBORN);
    rig.executor.start(&job).await.expect("it starts");
    rig.written(&job, "up").await;
    rig.executor.stop(&job.id, Duration::from_millis(100)).await.expect("it is asked");
    assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Stopped);
    assert_eq!(rig.alive(&job), Vec::<i32>::new());
}

#[tokio::test]
async fn a_job_that_ignores_the_request_to_end_is_killed_with_all_it_started() {
    a_stubborn_job_is_killed(Rig::new()).await;
}

#[tokio::test]
async fn a_job_in_a_sandbox_that_ignores_the_request_to_end_is_killed_with_all_it_started() {
    let Some(sandbox) = bubblewrap("stubborn jobs in a sandbox") else { return };
    a_stubborn_job_is_killed(Rig::on(tempfile::tempdir().expect("a folder"), Some(sandbox))).await;
}

async fn a_job_may_clean_up(rig: Rig) {
    let job = rig.job("trap 'echo cleaned; exit 3' TERM\necho up > up\nwhile :; do sleep 0.01; done");
    rig.executor.start(&job).await.expect("it starts");
    rig.written(&job, "up").await;
    rig.executor.stop(&job.id, PATIENCE).await.expect("it is asked");
    assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Stopped);
    assert!(rig.log(&job).await.contains("cleaned"));
}

#[tokio::test]
async fn a_job_that_is_stopped_may_clean_up() {
    a_job_may_clean_up(Rig::new()).await;
}

#[tokio::test]
async fn a_job_in_a_sandbox_that_is_stopped_may_clean_up() {
    let Some(sandbox) = bubblewrap("cleaning up in a sandbox") else { return };
    a_job_may_clean_up(Rig::on(tempfile::tempdir().expect("a folder"), Some(sandbox))).await;
}

#[tokio::test]
async fn a_request_to_stop_that_the_disk_did_not_take_is_heard_by_its_signal() {
    let rig = Rig::new();
    let job = rig.job("trap 'exit 3' TERM\necho up > up\nwhile :; do sleep 0.01; done");
    rig.executor.start(&job).await.expect("it starts");
    rig.written(&job, "up").await;
    let supervisor = rig.record(&job).and_then(|record| record["supervisor"].as_i64()).expect("a record");
    let status = std::process::Command::new("kill").args(["-USR1", &supervisor.to_string()]).status().expect("kill runs");
    assert!(status.success());
    assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Stopped);
}

#[tokio::test]
async fn a_job_that_is_stopped_before_its_supervisor_begins_does_not_run() {
    let rig = Rig::new();
    let (slow, _) = rig.another(slow_supervisor(rig.folder.path()));
    let job = rig.job("echo once >> ran");
    let starting = tokio::spawn({
        let (slow, job) = (Arc::clone(&slow), job.clone());
        async move { slow.start(&job).await }
    });
    until("the start", async || (rig.executor.poll(&job.id).await.expect("a state") == JobState::Running).then_some(())).await;
    rig.executor.stop(&job.id, Duration::ZERO).await.expect("it is asked");
    std::fs::write(rig.folder.path().join("go"), "").expect("a written file");
    starting.await.expect("no panic").expect("it was told");
    assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Stopped);
    assert!(!job.workspace.join("ran").exists());
}

/// A supervisor without a daemon, whose state is opened as `options` say.
fn by_hand(folder: &std::path::Path, command: &[&str], options: &std::fs::OpenOptions) -> std::process::Child {
    std::fs::write(folder.join("state"), "").expect("a written file");
    let order = serde_json::json!({
        "command": command, "working_directory": folder, "environment": { "PATH": std::env::var("PATH").expect("a path") },
        "masks": [], "grace_millis": 0, "log_limit": 1 << 20, "log_rolls": false, "limits": {}, "writable": [],
    });
    let mut supervisor = std::process::Command::new(rig::supervisor())
        .args(["supervise".as_ref(), folder.as_os_str()])
        .stdin(std::process::Stdio::piped())
        .stderr(options.open(folder.join("state")).expect("a state"))
        .spawn()
        .expect("it runs");
    std::io::Write::write_all(&mut supervisor.stdin.take().expect("a pipe"), order.to_string().as_bytes()).expect("it is told");
    supervisor
}

#[tokio::test]
async fn a_command_that_is_no_shell_begins_with_no_signal_blocked_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = ["grep", "SigBlk", "/proc/self/status"];
    let mut supervisor = by_hand(folder.path(), &command, std::fs::OpenOptions::new().read(true).write(true));
    assert!(supervisor.wait().expect("it ends").success());
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(log.contains("0000000000000000"), "{log}");
}

#[tokio::test]
async fn a_job_that_cannot_be_recorded_is_ended_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut supervisor = by_hand(folder.path(), &["sh", "-c", STUBBORN], std::fs::OpenOptions::new().read(true));
    let log = until("its last words", async || std::fs::read_to_string(folder.path().join("log")).ok().filter(|log| !log.is_empty())).await;
    assert!(log.contains("cannot write down what runs"), "{log}");
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", supervisor.id())).expect("a living supervisor");
    assert_eq!(children, "", "what was begun is ended before it is told");
    kill(i32::try_from(supervisor.id()).expect("a pid"));
    supervisor.wait().expect("it has ended");
}

#[tokio::test]
async fn a_cache_that_leads_through_a_link_is_refused() {
    let rig = Rig::new();
    let mut job = rig.job("true");
    let elsewhere = rig.folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::os::unix::fs::symlink(&elsewhere, job.workspace.join("link")).expect("a link");
    for path in ["link/cache", "../cache", "/cache"] {
        job.caches = vec![CacheMount { path: path.to_owned(), directory: rig.folder.path().join("cache") }];
        let error = rig.executor.start(&job).await.expect_err("it is refused");
        assert_eq!(error.blame, Blame::Failed, "{error}");
    }
    assert_eq!(std::fs::read_dir(elsewhere).expect("a folder").count(), 0);
}

/// The process that supervisors of this rig are forked from: a child of this test that serves its folder.
fn nursery(rig: &Rig) -> i32 {
    let folder = rig.folder.path().display().to_string();
    let is_ours = |pid: &i32| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let parent = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = parent.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok());
        words.contains("--nursery") && words.contains(&folder) && parent == Some(std::process::id())
    };
    let pids = std::fs::read_dir("/proc").expect("the processes").flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found: Vec<i32> = pids.filter(is_ours).collect();
    assert_eq!(found.len(), 1, "one nursery");
    found[0]
}

#[tokio::test]
async fn a_killed_nursery_is_made_again_and_what_it_started_lives_on() {
    let rig = Rig::new();
    let first = rig.job("while [ ! -e go ]; do sleep 0.01; done");
    rig.executor.start(&first).await.expect("it starts");
    let before = nursery(&rig);
    kill(before);
    let second = rig.job("echo on");
    assert_eq!(rig.run(&second).await.outcome, JobOutcome::Exited(0));
    assert_ne!(nursery(&rig), before);
    assert_eq!(rig.executor.poll(&first.id).await.expect("a state"), JobState::Running);
    std::fs::write(first.workspace.join("go"), "").expect("a written file");
    assert_eq!(rig.ended(&first).await.outcome, JobOutcome::Exited(0));
}

#[tokio::test]
async fn a_supervisor_that_was_not_handed_the_lock_refuses_to_work() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("state"), "").expect("a written file");
    let output = std::process::Command::new(rig::supervisor()).arg("supervise").arg(folder.path()).output().expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("only the daemon starts supervisors"));
}

#[tokio::test]
async fn a_sandbox_has_no_way_out_and_shows_nothing_of_the_daemon() {
    let Some(sandbox) = bubblewrap("what a sandbox shows") else { return };
    let rig = Rig::on(tempfile::tempdir().expect("a folder"), Some(sandbox));
    std::fs::write(rig.folder.path().join("key"), "canary").expect("a written file");
    let key = rig.folder.path().join("key");
    let script = format!(
        "if mount -t tmpfs none /mnt 2>/dev/null; then echo mounted; fi
        if mknod $HOME/disk b 254 0 2>/dev/null; then echo made a device; fi
        if touch /usr/bin/own 2>/dev/null; then echo changed the machine; fi
        for secret in {} /etc/shadow /root/.ssh /root/.cargo/registry /etc/ssl/private; do if [ -e $secret ]; then echo sees $secret; fi; done
        if [ $(ls /proc | grep -c '^[0-9]') -gt 20 ]; then echo sees the processes of the machine; fi
        echo in $(pwd) at $HOME > $HOME/note; cat $HOME/note",
        key.display()
    );
    let job = rig.job(&script);
    assert_eq!(rig.run(&job).await.outcome, JobOutcome::Exited(0), "{}", rig.log(&job).await);
    // Less the remarks which command began.
    let said: String = rig.log(&job).await.lines().filter(|line| !line.starts_with("$ ")).map(|line| format!("{line}\n")).collect();
    assert_eq!(said, format!("in {} at /home/hookwright\n", job.workspace.display()));
}

#[tokio::test]
async fn an_exit_that_a_crash_of_the_machine_left_blank_is_a_lost_job_and_not_an_error_for_ever() {
    let rig = Rig::new();
    let job = rig.job("true");
    rig.run(&job).await;
    let state = std::fs::read_to_string(rig.kept(&job).join("state")).expect("a state");
    let exit = rig::line(&rig.kept(&job), 2).expect("an exit");
    std::fs::write(rig.kept(&job).join("state"), state.replace(&exit, &" ".repeat(exit.len()))).expect("a written file");
    assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Lost);
    let (later, _) = rig.another(rig::supervisor());
    let state = later.poll(&job.id).await.expect("a state");
    assert!(matches!(state, JobState::Ended(end) if end.outcome == JobOutcome::Lost), "{state:?}");
}
