//! Beginning anew in place: the process becomes a fresh daemon with the sockets it listens on, so that nobody is refused and nothing of what it
//! believed is left. What it started runs on under its supervisors and is adopted by whoever leads.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use tracing::error;

/// Set for a process that begins anew: it waits for its database instead of giving up.
const AGAIN: &str = "HOOKWRIGHT_BEGINS_ANEW";

/// Which of the sockets that are passed on is which.
const PLACES: &str = "HOOKWRIGHT_SOCKETS";

/// How often it is looked whether a child of the process before has ended.
const REAP: Duration = Duration::from_secs(5);

/// Whether this process has begun anew.
pub(crate) fn begins_anew() -> bool {
    std::env::var_os(AGAIN).is_some()
}

/// The sockets that a daemon listens on, for the one that it becomes.
#[derive(Default)]
pub(crate) struct Sockets(Mutex<Vec<OwnedFd>>);

impl Sockets {
    /// Adds a socket; they are taken up in this order.
    pub(crate) fn add(&self, socket: &impl AsFd) {
        if let Ok(copy) = socket.as_fd().try_clone_to_owned() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
        }
    }

    /// Where a socket stands among those that were passed in.
    pub(crate) fn place(index: usize) -> usize {
        let places = std::env::var(PLACES).unwrap_or_default();
        places.split(',').nth(index).and_then(|place| place.parse().ok()).unwrap_or(index)
    }

    /// Becomes a fresh daemon. Returns only by ending the process, when that cannot be done.
    pub(crate) fn begin_anew(&self) -> ! {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A copy that survives the change of the program.
        let copies: Vec<i32> = sockets.iter().filter_map(|socket| fcntl(socket, FcntlArg::F_DUPFD(3)).ok()).collect();
        let first = copies.iter().min().copied().unwrap_or(3);
        let count = copies.iter().max().map_or(0, |last| last - first + 1);
        let places: Vec<String> = copies.iter().map(|copy| (copy - first).to_string()).collect();
        let mut command = Command::new("/proc/self/exe");
        command.args(std::env::args_os().skip(1)).env(AGAIN, "1").env(PLACES, places.join(","));
        command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDS_FIRST_FD", first.to_string());
        command.env("LISTEN_PID", std::process::id().to_string());
        if let Some(name) = std::env::args_os().next() {
            command.arg0(name);
        }
        crate::open_files::restore();
        let failure = command.exec();
        error!(%failure, "the daemon cannot begin anew and ends");
        std::process::exit(1);
    }
}

/// Takes note of the ends of supervisors that the process before started; they are this one's children too.
pub(crate) fn reap_inherited() {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return };
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let mut children: Vec<Pid> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .map(Pid::from_raw)
        .collect();
    if children.is_empty() {
        return;
    }
    let reap = move || {
        while !children.is_empty() {
            children.retain(|child| matches!(waitpid(*child, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_none()));
            std::thread::sleep(REAP);
        }
    };
    if let Err(failure) = std::thread::Builder::new().name("inherited".to_owned()).stack_size(128 * 1024).spawn(reap) {
        error!(%failure, "no thread is left to wait for what ran before");
    }
}
