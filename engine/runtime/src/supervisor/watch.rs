//! Waits for the end of a job: its own, a request to stop, its timeout, or a limit that it passed.

use std::fs::File;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hookwright_core::port::Passed;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::guard::{self, Guard};
use super::log::Log;
use super::{Order, Outcome};
use crate::process;

pub(super) enum Event {
    Ended(WaitStatus),
    Stop(Duration),
    Passed(Passed),
}

/// Returns when the job is over, by itself or killed with its group; the caller kills what it left elsewhere.
pub(super) fn watch(order: &Order, child: i32, control: File, log: &Log) -> Outcome {
    let (outcome, waited_for) = wait(order, child, control, log);
    if !waited_for {
        process::kill_group(child);
    }
    outcome
}

/// The outcome, and whether the child has ended and been waited for.
fn wait(order: &Order, child: i32, control: File, log: &Log) -> (Outcome, bool) {
    let (events, inbox) = mpsc::channel();
    let ended = events.clone();
    thread::spawn(move || reap(child, &ended));
    let asked = events.clone();
    thread::spawn(move || read_control(control, &asked));
    guard::watch_disk(order, events);
    let mut guard = Guard::new(&order.limits);
    let begun = Instant::now();
    let mut deadline = order.timeout_millis.map(Duration::from_millis);
    let mut verdict = None;
    let over = |passed: Passed| {
        log.note(&format!("ended: {passed}"));
        Outcome::from(passed)
    };
    loop {
        let pause = guard.pause();
        let wait = deadline.map_or(pause, |deadline| deadline.saturating_sub(begun.elapsed()).min(pause));
        match inbox.recv_timeout(wait) {
            Ok(Event::Ended(status)) => return (verdict.unwrap_or_else(|| outcome(status)), true),
            Ok(Event::Passed(passed)) => return (over(passed), false),
            Ok(Event::Stop(grace)) => {
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
            Err(_) if deadline.is_some_and(|deadline| begun.elapsed() >= deadline) => match verdict {
                Some(verdict) => {
                    log.note("it did not end in time and is killed");
                    return (verdict, false);
                }
                None => {
                    verdict = Some(Outcome::TimedOut);
                    log.note(&format!("timed out after {} s", begun.elapsed().as_secs()));
                    process::terminate(child, order.sandbox.is_some());
                    deadline = Some(begun.elapsed() + Duration::from_millis(order.grace_millis));
                }
            },
            Err(_) => {
                if let Some(passed) = guard.look() {
                    return (over(passed), false);
                }
            }
        }
    }
}

fn outcome(status: WaitStatus) -> Outcome {
    match status {
        WaitStatus::Exited(_, code) => Outcome::Exited(code),
        WaitStatus::Signaled(_, signal, _) => Outcome::Signaled(signal as i32),
        _ => Outcome::Signaled(Signal::SIGKILL as i32),
    }
}

/// Orphans of the job come to us, their subreaper; all are reaped, the job's own end is reported.
fn reap(child: i32, events: &mpsc::Sender<Event>) {
    loop {
        match waitpid(None::<Pid>, None) {
            Ok(status) if status.pid() == Some(Pid::from_raw(child)) => {
                // The receiver lives as long as the supervisor has something to do.
                let _ = events.send(Event::Ended(status));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            // Nothing is left to wait for.
            Err(_) => return,
        }
    }
}

/// Reads `stop <milliseconds>` lines.
fn read_control(control: File, events: &mpsc::Sender<Event>) {
    for line in io::BufRead::lines(io::BufReader::new(control)).map_while(Result::ok) {
        if let Some(grace) = line.strip_prefix("stop ").and_then(|grace| grace.parse().ok()) {
            // When nobody listens the job is over already.
            let _ = events.send(Event::Stop(Duration::from_millis(grace)));
        }
    }
}
