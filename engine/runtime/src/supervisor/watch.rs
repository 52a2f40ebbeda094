//! Waits for the end of a job: its own, a request to stop, its timeout, or a limit that it passed; and takes down what it says meanwhile. All of it
//! on one thread, since most jobs are short and a thread costs as much as starting one of them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use hookwright_core::LogStream;
use hookwright_core::port::Passed;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::guard::{Disk, Guard};
use super::log::Log;
use super::{Order, Outcome, REQUEST};
use crate::mask::{Lines, Masks};
use crate::process;
use crate::state::State;

/// As much is read of an output at once; a pipe holds no more.
const PORTION: usize = 64 * 1024;

/// How soon what is below this process is looked for again while it is being killed.
const AGAIN: Duration = Duration::from_millis(2);

/// Tells when a child has ended, and of requests. It exists before the first child does, so that none ends unseen.
pub(super) struct Children {
    signals: SignalFd,
    blocked: SigSet,
}

impl Children {
    pub(super) fn new() -> io::Result<Self> {
        let blocked = SigSet::from_iter([Signal::SIGCHLD, REQUEST]);
        blocked.thread_block()?;
        Ok(Self { signals: SignalFd::with_flags(&blocked, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?, blocked })
    }

    /// Starts something with nothing blocked, which it would inherit. What ends meanwhile is found without a signal, and requests come later.
    pub(super) fn unblocked<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.blocked.thread_unblock()?;
        let started = start();
        self.blocked.thread_block()?;
        started
    }

    /// Waits for everything that has ended, the orphans of the job among it, which come to us, their subreaper.
    fn reap(&self, child: i32) -> Reaped {
        // Several ends may be one signal: the signal says no more than that there is something to look at.
        let mut asked = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            asked |= signal.ssi_signo == REQUEST as u32;
        }
        let mut ended = None;
        loop {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return Reaped { ended, some_live: true, asked },
                Ok(status) if status.pid() == Some(Pid::from_raw(child)) => ended = Some(status),
                Ok(_) | Err(Errno::EINTR) => {}
                // There is no child, and then nothing is below one either.
                Err(_) => return Reaped { ended, some_live: false, asked },
            }
        }
    }

    /// Kills everything that the job started until nothing is left or `patience` is over; whether nothing is left.
    pub(super) fn end_all(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        while self.reap(0).some_live {
            if begun.elapsed() > patience {
                return false;
            }
            process::kill_below();
            // An end is as good as the time: what was forked while others were killed is found then.
            let _ = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], Some(&timespec(AGAIN)));
        }
        true
    }
}

/// What was waited for.
struct Reaped {
    /// How the job's own end was, if it was among them.
    ended: Option<WaitStatus>,
    /// Whether any child is left.
    some_live: bool,
    /// Whether there is a request.
    asked: bool,
}

/// What a job says: both of its outputs, line by line, without secrets.
pub(super) struct Outputs<'a> {
    log: &'a Log,
    open: Vec<Output<'a>>,
    buffer: Vec<u8>,
}

struct Output<'a> {
    kind: LogStream,
    stream: File,
    lines: Lines<'a>,
}

impl<'a> Outputs<'a> {
    pub(super) fn of(child: &mut Child, (log, masks): (&'a Log, &'a Masks)) -> Self {
        let output = |kind, stream: OwnedFd| Output { kind, stream: File::from(stream), lines: Lines::new(masks) };
        let out = child.stdout.take().map(|stream| output(LogStream::Out, stream.into()));
        let err = child.stderr.take().map(|stream| output(LogStream::Err, stream.into()));
        Self { log, open: out.into_iter().chain(err).collect(), buffer: vec![0; PORTION] }
    }

    /// Reads once of each output that is ready; what has ended is left.
    fn read(&mut self, mut is_ready: impl FnMut() -> bool) {
        let Self { log, open, buffer } = self;
        for mut output in std::mem::take(open) {
            if !is_ready() || output.read(log, buffer) {
                open.push(output);
            } else {
                output.end(log);
            }
        }
    }

    /// Reads what is left, until nobody holds the outputs any more or `patience` is over.
    pub(super) fn finish(&mut self, patience: Duration) {
        let begun = Instant::now();
        while !self.open.is_empty() && begun.elapsed() < patience {
            let mut waited: Vec<PollFd<'_>> = self.open.iter().map(|output| PollFd::new(&output.stream, PollFlags::IN)).collect();
            // What interrupts it changes nothing.
            let _ = poll(&mut waited, Some(&timespec(patience.saturating_sub(begun.elapsed()))));
            let mut ready = waited.iter().map(|one| !one.revents().is_empty()).collect::<Vec<_>>().into_iter();
            self.read(|| ready.next().unwrap_or(false));
        }
        for output in self.open.drain(..) {
            output.end(self.log);
        }
    }
}

impl Output<'_> {
    /// Whether it may say more.
    fn read(&mut self, log: &Log, buffer: &mut [u8]) -> bool {
        match self.stream.read(buffer) {
            // Past the limit output is read, so that the job does not hang, and dropped.
            Ok(length) if length > 0 => {
                if !log.is_full() {
                    self.lines.push(&buffer[..length], |line| log.write(self.kind, &line));
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => false,
        }
    }

    fn end(self, log: &Log) {
        self.lines.finish(|line| log.write(self.kind, &line));
    }
}

/// Returns when the job is over, by itself or killed with its group; the caller kills what it left elsewhere.
pub(super) fn watch(order: &Order, child: i32, (children, state): (&Children, &File), outputs: &mut Outputs<'_>) -> Outcome {
    let (outcome, waited_for) = wait(order, child, (children, state), outputs);
    if !waited_for {
        process::kill_group(child);
    }
    outcome
}

/// The outcome, and whether the child has ended and been waited for.
fn wait(order: &Order, child: i32, (children, state): (&Children, &File), outputs: &mut Outputs<'_>) -> (Outcome, bool) {
    let log = outputs.log;
    let begun = Instant::now();
    let (mut guard, mut disk) = (Guard::new(&order.limits), Disk::new(order));
    let mut look = guard.pause();
    let mut deadline = order.timeout_millis.map(Duration::from_millis);
    let mut verdict = None;
    let over = |passed: Passed| {
        log.note(&format!("ended: {passed}"));
        Outcome::from(passed)
    };
    // A request may have come before this process was on record, and an end before it was heard of.
    let mut ready = Ready { signals: true, disk: false, outputs: Vec::new() };
    let request = || State::read(state).ok()?.grace();
    let mut asked = request();
    loop {
        let mut of_outputs = ready.outputs.into_iter();
        outputs.read(|| of_outputs.next().unwrap_or(false));
        if ready.signals {
            let reaped = children.reap(child);
            if let Some(status) = reaped.ended {
                return (verdict.unwrap_or_else(|| outcome(status)), true);
            }
            if reaped.asked {
                // Where the disk did not take the request, its signal says as much.
                asked = request().or(Some(Duration::from_millis(order.grace_millis)));
            }
        }
        if let Some(passed) = disk.look(begun.elapsed(), ready.disk) {
            return (over(passed), false);
        }
        if let Some(grace) = asked.take() {
            if verdict.is_none() {
                verdict = Some(Outcome::Stopped);
                log.note("stopped");
                process::terminate(child, order.sandbox.is_some());
                deadline = None;
            }
            // A second request may be less patient than the first, never more.
            let until = begun.elapsed() + grace;
            deadline = Some(deadline.map_or(until, |deadline| deadline.min(until)));
        }
        if deadline.is_some_and(|deadline| begun.elapsed() >= deadline) {
            if let Some(verdict) = verdict {
                log.note("it did not end in time and is killed");
                return (verdict, false);
            }
            verdict = Some(Outcome::TimedOut);
            log.note(&format!("timed out after {} s", begun.elapsed().as_secs()));
            process::terminate(child, order.sandbox.is_some());
            deadline = Some(begun.elapsed() + Duration::from_millis(order.grace_millis));
        }
        if begun.elapsed() >= look {
            if let Some(passed) = guard.look() {
                return (over(passed), false);
            }
            look = begun.elapsed() + guard.pause();
        }
        let until = [Some(look), deadline, disk.due()].into_iter().flatten().min().unwrap_or(look);
        ready = Ready::wait((children, &disk), outputs, until.saturating_sub(begun.elapsed()));
    }
}

/// What there is to look at.
struct Ready {
    signals: bool,
    disk: bool,
    /// In the order of the open outputs.
    outputs: Vec<bool>,
}

impl Ready {
    /// Waits for anything, at most for `patience`.
    fn wait((children, disk): (&Children, &Disk), outputs: &Outputs<'_>, patience: Duration) -> Self {
        let mut waited = vec![PollFd::new(&children.signals, PollFlags::IN)];
        waited.extend(outputs.open.iter().map(|output| PollFd::new(&output.stream, PollFlags::IN)));
        let count = waited.len();
        waited.extend(disk.news().map(|news| PollFd::from_borrowed_fd(news.as_fd(), PollFlags::IN)));
        if poll(&mut waited, Some(&timespec(patience))).is_err() {
            // Interrupted; nothing is known of any of them.
            return Self { signals: true, disk: false, outputs: Vec::new() };
        }
        let ready: Vec<bool> = waited.iter().map(|one| !one.revents().is_empty()).collect();
        Self { signals: ready[0], disk: ready.get(count).copied().unwrap_or(false), outputs: ready[1..count].to_vec() }
    }
}

fn outcome(status: WaitStatus) -> Outcome {
    match status {
        WaitStatus::Exited(_, code) => Outcome::Exited(code),
        WaitStatus::Signaled(_, signal, _) => Outcome::Signaled(signal as i32),
        _ => Outcome::Signaled(Signal::SIGKILL as i32),
    }
}

/// Rounded up, so that what is waited for until then has come.
fn timespec(patience: Duration) -> Timespec {
    let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: i64::from(patience.subsec_nanos()) }
}
