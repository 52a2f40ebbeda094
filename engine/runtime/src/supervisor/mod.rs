//! The small process that stands between the daemon and a job: it outlives the daemon, ends everything the job started, keeps
//! log and exit status on disk and hides secrets before they get there. The binary calls [`main`] before it sets up anything else.
//!
//! Its standard error is the locked state of its folder, taken by the daemon and held as long as this process lives. Nothing it starts inherits it.

mod guard;
mod log;
mod nursery;
mod order;
mod sandbox;
mod share;
mod watch;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

pub(crate) use order::{Exit, Limits, Mount, Order, Outcome, Record, Sandbox};

use crate::mask::Masks;
use crate::state::{self, Line, State};
use crate::supervised::{now, remove_tree};
use crate::{log_file, process};
use log::Log;
pub(crate) use share::Share;
use watch::{Children, Outputs};

/// What tells a supervisor that there is a request in its state.
pub(crate) const REQUEST: Signal = Signal::SIGUSR1;
/// How far jobs give way to their supervisor and the daemon.
const NICE: i32 = 10;
/// How long writing down what runs may take; until then the job runs unrecorded.
const RECORD: Duration = Duration::from_secs(2);
/// How long writing down how it ended is tried; without it the job counts as lost.
const EXIT: Duration = Duration::from_secs(60);
/// How long what the job started may take to be gone after `SIGKILL`.
const BURIAL: Duration = Duration::from_secs(10);
/// How long the last output may take to arrive once everything is gone: a process that escaped may hold the pipe.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// The words that try a sandbox out.
pub(crate) fn trial(sandbox: Sandbox) -> Vec<String> {
    let order = Order {
        command: vec!["true".to_owned()],
        working_directory: PathBuf::from("/"),
        environment: std::collections::BTreeMap::new(),
        masks: Vec::new(),
        timeout_millis: None,
        grace_millis: 0,
        log_limit: 0,
        log_rolls: false,
        limits: Limits::default(),
        cpu_millis: None,
        writable: Vec::new(),
        sandbox: None,
    };
    sandbox::wrap(&order, &sandbox)
}

/// The word that makes this process the one supervisors are forked from; what follows it is the data folder, for people who list processes, and how many
/// open files what is forked may have, unless it is as many as now.
pub(crate) const NURSERY: &str = "--nursery";

/// Runs `supervise <directory>` with its order on standard input, or `supervise --nursery`; `arguments` are those after `supervise`.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    match arguments.next() {
        Some(word) if word == NURSERY => {
            if let Some(Err(error)) = arguments.nth(1).and_then(|count| count.parse().ok()).map(allow_files) {
                eprintln!("what is supervised may have as many open files as the daemon: {error}");
            }
            nursery::serve(keep)
        }
        Some(directory) => keep(Path::new(&directory)),
        None => ExitCode::from(2),
    }
}

fn allow_files(count: u64) -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, count.min(hard), hard)
}

fn keep(directory: &Path) -> ExitCode {
    match supervise(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The daemon reads this from the pipe it holds until it is told that all is on record; without a reader there is nobody to tell.
            announce(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn supervise(directory: &Path) -> io::Result<()> {
    let state = own_state(directory)?;
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    // An order that was cut off because the daemon died is no order: nothing is started.
    let order: Order = serde_json::from_str(&text)?;
    nix::unistd::setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    // A dump of a job would hold its secrets.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let masks = Masks::new(&order.masks).map_err(io::Error::other)?;
    let log = Log::new(directory, order.log_limit, order.log_rolls);

    // From here on the end is written down whatever happens.
    let outcome = run(&order, (directory, &state), (&log, &masks));
    log.close();
    let written = state::write(&state, Line::Exit, &Exit { outcome, at: now() }, EXIT);
    // The daemon that started this process hears the end by it; to one that found it the lock tells it.
    announce("ready");
    if let Ok(home) = directory.join("home").canonicalize() {
        // An empty one goes with the folder: a file system remembers for a while what was removed, and looks for it whenever a file is made.
        if !fs::read_dir(&home).is_ok_and(|mut entries| entries.next().is_none()) {
            // What is left is removed with the folder.
            let _ = remove_tree(&home);
        }
    }
    // A log that cannot be compressed, on a full disk, is read as it is.
    let _ = log_file::compress(directory);
    written
}

/// The folder's state, whose lock this process holds. Without it, it refuses to work: it was not started by the daemon, or twice.
fn own_state(directory: &Path) -> io::Result<File> {
    let state = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let (held, lock) = (state.metadata()?, fs::metadata(directory.join(state::FILE))?);
    if (held.dev(), held.ino()) == (lock.dev(), lock.ino()) {
        Ok(state)
    } else {
        Err(io::Error::other("it was not handed the lock of its folder; only the daemon starts supervisors"))
    }
}

/// Tells the daemon: that all is on record, or why it is not; and then that the end is.
fn announce(word: &str) {
    // A daemon that died meanwhile does not concern the job.
    let _ = writeln!(io::stdout(), "{}", word.replace('\n', " "));
    let _ = io::stdout().flush();
}

fn run(order: &Order, (directory, state): (&Path, &File), (log, masks): (&Log, &Masks)) -> Outcome {
    if State::read(state).is_ok_and(|state| state.grace().is_some()) {
        log.note("stopped before it began");
        return Outcome::Stopped;
    }
    let not_started = |why: &str| {
        log.note(why);
        Outcome::NotStarted
    };
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let children = match Children::new() {
        Ok(children) => children,
        Err(error) => return not_started(&format!("the ends of processes cannot be heard of: {error}")),
    };
    // It lasts until everything in it was ended.
    let share = order.cpu_millis.and_then(|millis| match Share::new(millis) {
        Ok(share) => Some(share),
        Err(why) => {
            log.note(&format!("`resources.cpu` is not enforced on this machine: {why}"));
            None
        }
    });
    let mut child = match children.unblocked(|| spawn(order, directory, share.as_ref())) {
        Ok(child) => child,
        Err(error) => {
            let program = order.command.first().map_or("", String::as_str);
            return not_started(&format!("cannot start `{program}`: {error}"));
        }
    };
    let pid = i32::try_from(child.id()).unwrap_or(0);
    let written = Record {
        supervisor: own,
        supervisor_start: process::start_time(own).unwrap_or(0),
        child: pid,
        child_start: process::start_time(pid).unwrap_or(0),
    };
    if let Err(error) = state::write(state, Line::Record, &written, RECORD) {
        // Without a record nobody could end it after a crash, so it does not run at all.
        children.end_all(BURIAL);
        return not_started(&format!("cannot write down what runs ({error}); check the disk of the data folder"));
    }
    let mut outputs = Outputs::of(&mut child, (log, masks));
    announce("ready");
    let outcome = watch::watch(order, pid, (&children, state), &mut outputs);
    // Whatever the job left behind ends with it.
    if !children.end_all(BURIAL) {
        log.note("some processes of the job could not be ended");
    }
    outputs.finish(LAST_OUTPUT);
    outcome
}

fn spawn(order: &Order, directory: &Path, share: Option<&Share>) -> io::Result<Child> {
    let words = match &order.sandbox {
        Some(sandbox) => sandbox::wrap(order, sandbox),
        None => order.command.clone(),
    };
    let mut command = Command::new(words.first().map_or("sh", String::as_str));
    command.args(words.iter().skip(1)).env_clear().envs(&order.environment);
    if !order.environment.contains_key("HOME") {
        let home = directory.join("home");
        fs::create_dir_all(&home)?;
        command.env("HOME", home);
    }
    if order.sandbox.is_none() {
        command.current_dir(&order.working_directory);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut start = || yielding(|| command.spawn());
    let child = match share {
        Some(share) => share.start(start),
        None => start(),
    }?;
    // A supervisor that has to queue behind a thousand processes of a fork bomb could not end it.
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // One that has ended already needs none.
        let _ = rustix::process::setpriority_pgrp(Some(group), NICE);
    }
    Ok(child)
}

/// Starts a process that the kernel ends first when the machine runs out of memory. It inherits that; this process takes it back.
fn yielding<T>(start: impl FnOnce() -> T) -> T {
    // A kernel without it works as well.
    let before = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_else(|_| "0".to_owned());
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    let started = start();
    let _ = fs::write("/proc/self/oom_score_adj", before.trim());
    started
}
