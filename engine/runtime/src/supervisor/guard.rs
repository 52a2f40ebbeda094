//! Looks at what a job uses and says when it passes a limit. It looks rather than setting limits in the kernel, because a plain user has none
//! that fit: `RLIMIT_NPROC` counts every process of the user and does not bind root, `RLIMIT_AS` counts address space that is never
//! used. So a limit may be passed for the moment between two looks; the kernel is told to end jobs first when memory runs out.

use std::fs;
use std::io::{self, PipeReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hookwright_core::port::Passed;
use nix::sys::statvfs::statvfs;

use super::{Limits, Order};
use crate::process;

/// How often processes and memory are looked at: a fork bomb makes some hundred processes meanwhile.
const EAGER: Duration = Duration::from_millis(100);
/// How often when nothing has grown for a while; handlers are quiet most of their life.
const QUIET: Duration = Duration::from_millis(400);
/// So many looks without growth make a job quiet.
const QUIET_AFTER: u32 = 50;
/// At least this long between two looks at the disk.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// Looking at the disk takes at most one part in this many of the time.
const DISK_SHARE: u32 = 20;
/// The most that is kept free on the disk of the data folder; of a small disk a fiftieth.
const RESERVE: u64 = 256 << 20;

/// Looks at processes and memory.
pub(super) struct Guard {
    limits: Limits,
    own: i32,
    highest: process::Usage,
    quiet: u32,
}

impl Guard {
    pub(super) fn new(limits: &Limits) -> Self {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        Self { limits: *limits, own, highest: process::Usage::default(), quiet: 0 }
    }

    /// How long until the next look.
    pub(super) fn pause(&self) -> Duration {
        match self.limits {
            Limits { memory_bytes: None, processes: None, .. } => Duration::from_secs(3600),
            _ if self.quiet >= QUIET_AFTER => QUIET,
            _ => EAGER,
        }
    }

    pub(super) fn look(&mut self) -> Option<Passed> {
        let pids = process::tree(self.own, self.limits.processes);
        if let Some(limit) = self.limits.processes.filter(|limit| pids.len() as u64 > *limit) {
            return Some(Passed::Processes(limit));
        }
        let usage = process::usage(&pids);
        let grown = usage.tasks > self.highest.tasks || usage.memory > self.highest.memory + self.highest.memory / 8;
        self.quiet = if grown { 0 } else { self.quiet.saturating_add(1) };
        self.highest.tasks = self.highest.tasks.max(usage.tasks);
        self.highest.memory = self.highest.memory.max(usage.memory);
        if let Some(limit) = self.limits.processes.filter(|limit| usage.tasks > *limit) {
            return Some(Passed::Processes(limit));
        }
        // What forked processes share was counted several times: counted again before a verdict.
        let limit = self.limits.memory_bytes.filter(|limit| usage.memory > *limit)?;
        (process::exact_memory(&pids) > limit).then_some(Passed::Memory(limit))
    }
}

/// Looks at the disk on a thread of its own, because a folder with a million files takes a while. It begins after a moment: most jobs are over by then.
pub(super) struct Disk {
    folders: Vec<PathBuf>,
    limit: Option<u64>,
    /// When the thread is to begin, measured from the job's start.
    begin: Duration,
    looking: Option<Looking>,
}

/// The thread closes its end of the pipe when it has something to say, and has said it by then.
struct Looking {
    news: PipeReader,
    passed: mpsc::Receiver<Passed>,
}

impl Disk {
    pub(super) fn new(order: &Order) -> Self {
        Self { folders: order.writable.clone(), limit: order.limits.disk_bytes, begin: DISK_PAUSE / 4, looking: None }
    }

    /// When the thread is to begin, measured from the job's start.
    pub(super) fn due(&self) -> Option<Duration> {
        (self.looking.is_none() && !self.folders.is_empty()).then_some(self.begin)
    }

    /// What becomes readable when there is something to say.
    pub(super) fn news(&self) -> Option<&PipeReader> {
        self.looking.as_ref().map(|looking| &looking.news)
    }

    /// Begins when it is due, and says what was passed.
    pub(super) fn look(&mut self, elapsed: Duration, is_news: bool) -> Option<Passed> {
        if self.due().is_some_and(|due| elapsed >= due) {
            // Where a job has used up threads or files there is none for this now; it is tried again.
            self.begin = elapsed + DISK_PAUSE;
            self.looking = look_on(self.folders.clone(), self.limit).ok();
        }
        let looking = self.looking.take_if(|_| is_news)?;
        looking.passed.try_recv().ok()
    }
}

fn look_on(folders: Vec<PathBuf>, limit: Option<u64>) -> io::Result<Looking> {
    let (news, saying) = io::pipe()?;
    let (sender, passed) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        loop {
            let begun = Instant::now();
            if let Some(passed) = look_at_disk(&folders, limit) {
                // Nobody listens when the job is over.
                let _ = sender.send(passed);
                drop(saying);
                return;
            }
            thread::sleep(DISK_PAUSE.max(begun.elapsed() * DISK_SHARE));
        }
    })?;
    Ok(Looking { news, passed })
}

fn look_at_disk(folders: &[PathBuf], limit: Option<u64>) -> Option<Passed> {
    let crowded: Vec<Option<(u64, u64)>> = folders.iter().map(|folder| reserve_short(folder)).collect();
    // Without a limit and with room on the disk there is no reason to count.
    if limit.is_none() && crowded.iter().all(Option::is_none) {
        return None;
    }
    let sizes: Vec<u64> = folders.iter().map(|folder| size(folder)).collect();
    if let Some(limit) = limit.filter(|limit| sizes.iter().sum::<u64>() > *limit) {
        return Some(Passed::Disk(limit));
    }
    crowded.iter().flatten().find_map(|(disk, reserve)| {
        let there = crowded.iter().zip(&sizes).filter(|(place, _)| place.is_some_and(|(other, _)| other == *disk));
        // Ended only when that brings back what is missing: a small job is not at fault.
        (there.map(|(_, size)| size).sum::<u64>() > *reserve).then_some(Passed::DiskReserve(*reserve))
    })
}

/// The disk that `folder` is on and what is to be kept free there, when less is free.
fn reserve_short(folder: &Path) -> Option<(u64, u64)> {
    let disk = statvfs(folder).ok()?;
    let reserve = RESERVE.min(disk.blocks() * disk.fragment_size() / 50);
    let short = disk.blocks_available() * disk.fragment_size() < reserve;
    short.then(|| Some((fs::metadata(folder).ok()?.dev(), reserve))).flatten()
}

/// Bytes on disk below a folder; links are not followed, and a file with several names counts in parts.
fn size(folder: &Path) -> u64 {
    let mut open: Vec<PathBuf> = vec![folder.to_owned()];
    let mut sum = 0;
    while let Some(next) = open.pop() {
        // What disappears or may not be read meanwhile counts nothing.
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            sum += metadata.blocks() * 512 / metadata.nlink().max(1);
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    sum
}
