//! Looks at and ends processes by `/proc`. Invariant: a pid is only trusted together with its start time.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

struct Stat {
    state: char,
    parent: i32,
    group: i32,
    session: i32,
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

/// Living processes below `root`, itself left out.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let all = all();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.retain(|pid| *pid != root && all.get(pid).is_some_and(|stat| stat.state != 'Z'));
    found
}

/// Kills everything below `root` until nothing is left or `patience` is over.
pub(crate) fn kill_descendants(root: i32, patience: Duration) -> bool {
    let begun = Instant::now();
    loop {
        let left = descendants(root);
        if left.is_empty() {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        for pid in left {
            // A process that is gone by now is what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills what a dead supervisor left: its child's group if that child is still the same process, and everything in the supervisor's session.
pub(crate) fn kill_orphans(supervisor: i32, child: i32, child_start: u64) {
    if start_time(child) == Some(child_start) {
        // An empty group is what is wanted.
        let _ = killpg(Pid::from_raw(child), Signal::SIGKILL);
    }
    // The supervisor led a session of its own; a pid is not given again while a session or group of that number lives.
    if start_time(supervisor).is_none() {
        for (pid, _) in all().into_iter().filter(|(_, stat)| stat.session == supervisor || stat.group == child && stat.start >= child_start)
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The TCP ports that the child recorded in a supervisor's folder, or anything it started, listens on; sorted.
pub(crate) fn listening(folder: &std::path::Path) -> Vec<u16> {
    let record = fs::read(folder.join("record.json")).ok().and_then(|text| serde_json::from_slice::<crate::supervisor::Record>(&text).ok());
    let Some(record) = record else { return Vec::new() };
    let sockets: std::collections::BTreeSet<String> = descendants(record.supervisor).into_iter().flat_map(sockets).collect();
    let mut ports: Vec<u16> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(|line| listener(line, &sockets)).collect::<Vec<_>>())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The port of a line of `/proc/net/tcp`, when it is a listening socket (state `0A`) among `sockets`.
fn listener(line: &str, sockets: &std::collections::BTreeSet<String>) -> Option<u16> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let listens = fields.get(3) == Some(&"0A") && sockets.contains(*fields.get(9)?);
    let port = fields.get(1)?.rsplit(':').next()?;
    listens.then(|| u16::from_str_radix(port, 16).ok()).flatten()
}

/// The inodes of a process's sockets.
fn sockets(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned));
    targets.filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}
