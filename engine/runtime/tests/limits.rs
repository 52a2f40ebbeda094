//! Hostile jobs: each ends with a clear reason, and nothing of it is left.

mod rig;

use hookwright_core::port::{Executor, JobOutcome, JobState, Passed};
use rig::{Rig, bubblewrap, until};

/// A bomb that stops growing by itself, so that a guard that fails does not take the machine with it: some 8,000 processes.
const BOMB: &str = "bomb() { if [ $1 -gt 11 ]; then exec sleep 60; fi; bomb $(($1 + 1)) & bomb $(($1 + 1)) & wait; }\nbomb 0";

/// The rigs with and without a sandbox.
fn rigs(left_out: &str) -> Vec<Rig> {
    let sandboxed = bubblewrap(left_out).map(|sandbox| Rig::on(tempfile::tempdir().expect("a folder"), Some(sandbox)));
    std::iter::once(Rig::new()).chain(sandboxed).collect()
}

#[tokio::test]
async fn a_fork_bomb_is_ended_whole() {
    for rig in rigs("a fork bomb in a sandbox") {
        let mut job = rig.job(BOMB);
        job.limits.processes = Some(200);
        assert_eq!(rig.run(&job).await.outcome, JobOutcome::OverLimit(Passed::Processes(200)));
        assert_eq!(rig.alive(&job), Vec::<i32>::new());
        assert!(rig.log(&job).await.contains("ended: it ran more than 200 processes and threads"));
    }
}

#[tokio::test]
async fn a_memory_hog_is_ended_with_its_limit_as_the_reason() {
    for rig in rigs("a memory hog in a sandbox") {
        // A line without an end is kept in memory whole.
        let mut job = rig.job("head -c 600000000 /dev/zero | tail -n 1 > /dev/null\nsleep 60");
        job.limits.memory_bytes = Some(64 << 20);
        assert_eq!(rig.run(&job).await.outcome, JobOutcome::OverLimit(Passed::Memory(64 << 20)));
        assert!(rig.log(&job).await.contains("ended: it used more than 64 MiB of memory"));
    }
}

#[tokio::test]
async fn memory_that_forked_processes_share_is_counted_once() {
    let rig = Rig::new();
    let mut job = rig.job(
        "python3 -c 'import os, time\nheld = bytearray(40 << 20)\nfor _ in range(5):\n    if os.fork() == 0:\n        break\ntime.sleep(1.5)'",
    );
    job.limits.memory_bytes = Some(120 << 20);
    assert_eq!(rig.run(&job).await.outcome, JobOutcome::Exited(0), "{}", rig.log(&job).await);
}

#[tokio::test]
async fn a_disk_filler_is_ended_with_its_limit_as_the_reason() {
    for rig in rigs("a disk filler in a sandbox") {
        for script in ["yes > big", "yes > $HOME/big"] {
            let mut job = rig.job(script);
            job.limits.disk_bytes = Some(20 << 20);
            assert_eq!(rig.run(&job).await.outcome, JobOutcome::OverLimit(Passed::Disk(20 << 20)), "{script}");
            assert!(rig.log(&job).await.contains("ended: it wrote more than 20 MiB to disk"));
            let left = || std::fs::read_dir(rig.kept(&job).join("home")).map_or(0, Iterator::count);
            until("the end of what it wrote", async || (left() == 0).then_some(())).await;
        }
    }
}

#[tokio::test]
async fn memory_that_poses_as_a_disk_is_limited_too() {
    let Some(sandbox) = bubblewrap("memory behind the folders of a sandbox") else { return };
    let rig = Rig::on(tempfile::tempdir().expect("a folder"), Some(sandbox));
    for place in ["/tmp/big", "/dev/shm/big", "/dev/big", "/big", "/run/big"] {
        let mut job = rig.job(&format!("head -c 40000000 /dev/zero > {place}"));
        job.limits.memory_bytes = Some(64 << 20);
        let JobOutcome::Exited(code) = rig.run(&job).await.outcome else { panic!("{place}") };
        assert_ne!(code, 0, "{place}");
    }
}

/// The most memory that the supervisor of a running job has held.
fn supervisor_peak(rig: &Rig, job: &hookwright_core::port::Job) -> Option<u64> {
    let pid = rig.record(job)?["supervisor"].as_i64()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

#[tokio::test]
async fn a_gigabyte_of_log_is_cut_at_its_limit_in_little_memory_and_the_job_goes_on() {
    let rig = Rig::new();
    // Lines, then one line without an end; empty lines count as well.
    let printers =
        [("yes 'a line of some length that is printed again and again'", 1000), ("tr '\\0' x < /dev/zero", 100), ("yes ''", 100)];
    for (printer, megabytes) in printers {
        let mut job = rig.job(&format!("{printer} | head -c {megabytes}000000\nexit 7"));
        job.log_limit = 1 << 20;
        rig.executor.start(&job).await.expect("it starts");
        let mut peak = 0;
        while rig.executor.poll(&job.id).await.expect("a state") == JobState::Running {
            peak = peak.max(supervisor_peak(&rig, &job).unwrap_or(0));
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(rig.ended(&job).await.outcome, JobOutcome::Exited(7), "{printer}");
        assert!(peak > 0 && peak < 64 << 10, "{peak} KiB for {printer}");
        let log = rig.log(&job).await;
        assert!(log.len() < 2 << 20, "{}", log.len());
        assert!(log.ends_with("log limit of 1048576 bytes reached; the rest is dropped\n"));
    }
}

#[tokio::test]
async fn a_disk_that_is_full_neither_hangs_a_job_nor_loses_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(folder.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("LEFT OUT: a full disk: only root can mount a small one");
        return;
    }
    let unmount = Unmount(folder.path().to_owned());
    let rig = Rig::on(folder, None);
    let mut job = rig.job("yes 'a line of some length' | head -c 20000000\nexit 7");
    job.workspace = std::env::temp_dir();
    job.log_limit = 1 << 30;
    assert_eq!(rig.run(&job).await.outcome, JobOutcome::Exited(7));
    let log = rig.log(&job).await;
    assert!(log.ends_with("lines are missing here: the disk was full\n"), "{}", &log[log.len().saturating_sub(300)..]);

    let mut second = rig.job("true");
    second.workspace = std::env::temp_dir();
    let refused = rig.executor.start(&second).await.expect_err("there is no room for another");
    assert!(refused.message.contains("disk"), "{refused}");
    rig.executor.forget(&job.id).await.expect("it is forgotten");
    let mut third = rig.job("echo fine");
    third.workspace = std::env::temp_dir();
    assert_eq!(rig.run(&third).await.outcome, JobOutcome::Exited(0));
    drop(unmount);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
