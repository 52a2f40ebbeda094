//! Looks at and ends processes by `/proc`. Invariant: a pid is only trusted together with its start time, its parent or a mark in its
//! environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp, getpid};

use crate::supervisor::Record;

/// The variable that marks every process of a job, so that what left its session and group is found too.
pub(crate) const MARK: &str = "HOOKWRIGHT_JOB";

/// So many processes make a tree of which each is asked for its children; of a larger one the list of all processes is read.
const SMALL: u64 = 100;

struct Stat {
    state: char,
    parent: i32,
    group: i32,
    session: i32,
    /// Processor time of its own and of the children it has waited for, in ticks.
    spent: u64,
    start: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        spent: fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum(),
        start: fields.get(19)?.parse().ok()?,
    })
}

/// When a process started, in ticks since boot.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.start)
}

fn all() -> BTreeMap<i32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// Adds everything below `roots` to them.
fn with_descendants(all: &BTreeMap<i32, Stat>, roots: &mut Vec<i32>) {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, stat) in all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let mut seen: BTreeSet<i32> = roots.iter().copied().collect();
    let mut next = 0;
    while let Some(parent) = roots.get(next).copied() {
        roots.extend(children.get(&parent).into_iter().flatten().filter(|pid| seen.insert(**pid)));
        next += 1;
    }
}

/// Living processes below `root`, itself left out.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let all = all();
    let mut found = vec![root];
    with_descendants(&all, &mut found);
    found.retain(|pid| *pid != root && all.get(pid).is_some_and(|stat| stat.state != 'Z'));
    found
}

/// The same, cheaper where the kernel lists children: only the tree is read, not every process of the machine. Ends soon after `enough` are found:
/// a tree that grows faster than it is read would be read for ever.
pub(crate) fn tree(root: i32, enough: Option<u64>) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        if enough.is_some_and(|enough| found.len() as u64 > enough + 1) {
            break;
        }
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            match fs::read_to_string(thread.path().join("children")) {
                Ok(text) => found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
                // A kernel without the list; a thread that has just ended leaves its folder unreadable as well, hence the check of our own.
                Err(_) if !Path::new("/proc/thread-self/children").exists() => return descendants(root),
                Err(_) => {}
            }
        }
    }
    found.remove(0);
    found
}

/// Asks the command to end: its group, but not the two processes of bubblewrap above it, whose end would kill it at once.
pub(crate) fn terminate(child: i32, sandboxed: bool) {
    if !sandboxed {
        // A group that is gone is what is wanted.
        let _ = killpg(Pid::from_raw(child), Signal::SIGTERM);
        return;
    }
    let all = all();
    let wrapper = |pid: i32| pid == child || all.get(&pid).is_some_and(|stat| stat.parent == child);
    let mut tree = vec![child];
    with_descendants(&all, &mut tree);
    let asked = tree.into_iter().filter(|pid| !wrapper(*pid) && all.get(pid).is_some_and(|stat| stat.group == child));
    for pid in asked {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Kills the group that a child of ours leads, all of it at one moment: nothing in it forks away. The child must not have been waited for.
pub(crate) fn kill_group(child: i32) {
    // A group that is gone is what is wanted.
    let _ = killpg(Pid::from_raw(child), Signal::SIGKILL);
}

/// Kills processes with their whole groups, which a process that forks faster than it is killed does not escape.
fn kill_with_groups(pids: &[i32], all: &BTreeMap<i32, Stat>) {
    let own = getpgrp().as_raw();
    let groups: BTreeSet<i32> =
        pids.iter().filter_map(|pid| Some(all.get(pid)?.group)).filter(|group| *group > 1 && *group != own).collect();
    for group in groups {
        // Only groups that a victim leads or that one of them was born into: never one that other processes share.
        if all.iter().filter(|(_, stat)| stat.group == group && stat.state != 'Z').all(|(pid, _)| pids.contains(pid)) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
    for pid in pids {
        // A process that is gone by now is what is wanted.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

/// Kills everything below this process, to which orphans come; what has ended meanwhile is fine. A small tree is read by itself: reading every process of
/// the machine costs more than most jobs do.
pub(crate) fn kill_below() {
    let root = getpid().as_raw();
    let small = tree(root, Some(SMALL));
    let (pids, all) = if small.len() as u64 <= SMALL {
        // Its groups are in sessions that began below this process: nobody else is in them.
        let known = small.iter().filter_map(|pid| Some((*pid, stat(*pid)?))).collect();
        (small, known)
    } else {
        let all = all();
        let mut found = vec![root];
        with_descendants(&all, &mut found);
        found.remove(0);
        (found, all)
    };
    kill_with_groups(&pids, &all);
}

/// Whether the environment a process was started with bears the mark.
fn marked(pid: i32, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|text| text.split(|byte| *byte == 0).any(|variable| variable == mark))
}

/// Kills what a dead supervisor left, until nothing of it is found or `patience` is over: every process that bears the job's mark,
/// everything below one, the child's group and the supervisor's session as long as something in them is certainly the job's.
///
/// A process is missed only when it left session and group, was left by its parents and wiped its own environment.
pub(crate) fn kill_leftovers(record: Option<&Record>, mark: &str, patience: Duration) -> bool {
    let mark = format!("{MARK}={mark}").into_bytes();
    let begun = Instant::now();
    loop {
        let all = all();
        let mut found: Vec<i32> = all.keys().copied().filter(|pid| marked(*pid, &mark)).collect();
        if let Some(record) = record {
            let child_lives = all.get(&record.child).is_some_and(|stat| stat.start == record.child_start);
            let certain = child_lives || found.iter().filter_map(|pid| all.get(pid)).any(|stat| stat.session == record.supervisor);
            if certain {
                // A pid is not given again while a session or group of that number lives.
                let ours = |stat: &Stat| stat.session == record.supervisor || stat.group == record.child;
                found.extend(all.iter().filter(|(_, stat)| ours(stat)).map(|(pid, _)| *pid));
            }
        }
        found.sort_unstable();
        found.dedup();
        with_descendants(&all, &mut found);
        found.retain(|pid| *pid != getpid().as_raw() && all.get(pid).is_some_and(|stat| stat.state != 'Z'));
        if found.is_empty() {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        kill_with_groups(&found, &all);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How many milliseconds a tick of `/proc` is; the same on every Linux since 2.6.
const TICK_MILLIS: u64 = 10;

/// Processor time, in milliseconds, that these processes have used so far, and what they started and have waited for.
pub(crate) fn spent_millis(pids: &[i32]) -> u64 {
    pids.iter().filter_map(|pid| stat(*pid)).map(|stat| stat.spent * TICK_MILLIS).sum()
}

/// What a tree of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processes and threads.
    pub(crate) tasks: u64,
    /// Bytes that are theirs alone; what forked processes share is counted several times.
    pub(crate) memory: u64,
}

/// What these processes use, from one small file each.
pub(crate) fn usage(pids: &[i32]) -> Usage {
    let mut usage = Usage::default();
    for pid in pids {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        usage.tasks += field(&text, "Threads:").unwrap_or(1);
        usage.memory += 1024 * (field(&text, "RssAnon:").unwrap_or(0) + field(&text, "RssShmem:").unwrap_or(0));
    }
    usage
}

/// The memory of these processes in bytes with shared pages counted once; dearer than [`usage`].
pub(crate) fn exact_memory(pids: &[i32]) -> u64 {
    let shares = pids.iter().filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let parts = field(&text, "Pss_Anon:").zip(field(&text, "Pss_Shmem:")).map(|(anonymous, shared)| anonymous + shared);
        Some(1024 * parts.or_else(|| field(&text, "Pss:"))?)
    });
    shares.sum()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
