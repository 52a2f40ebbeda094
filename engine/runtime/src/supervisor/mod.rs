//! The small process that stands between the daemon and a job: it outlives the daemon, ends everything the job started, keeps
//! log and exit status on disk and hides secrets before they get there. The binary calls [`main`] before it sets up anything else.

mod order;
mod sandbox;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hookwright_core::{LogStream, Timestamp};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

pub(crate) use order::{Exit, Order, Outcome, Record, Sandbox};

use crate::mask::{Lines, Masks};
use crate::{log_file, process};

enum Event {
    Ended(WaitStatus),
    Stop(Duration),
}

/// Runs `supervise <directory>` with its order on standard input; `arguments` are those after `supervise`.
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let Some(directory) = arguments.into_iter().next().map(PathBuf::from) else { return ExitCode::from(2) };
    match supervise(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The executor reads this from the pipe it holds; without a reader there is nobody to tell.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn supervise(directory: &Path) -> io::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let order: Order = serde_json::from_str(&text)?;
    nix::unistd::setsid()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let lock = OpenOptions::new().create(true).append(true).open(directory.join("lock"))?;
    lock.lock()?;
    let masks = Masks::new(&order.masks).map_err(io::Error::other)?;
    let log = Arc::new(Log::open(directory, order.log_limit)?);
    let control = directory.join("control");
    nix::unistd::mkfifo(&control, nix::sys::stat::Mode::S_IRWXU)?;
    let control = OpenOptions::new().read(true).write(true).open(control)?;

    let spawned = command(&order, directory).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            log.write(LogStream::Note, &format!("cannot start the command: {error}"));
            write_exit(directory, Outcome::NotStarted)?;
            announce()?;
            return log_file::compress(directory);
        }
    };
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let record = Record {
        supervisor: own,
        supervisor_start: process::start_time(own).unwrap_or(0),
        child: pid,
        child_start: process::start_time(pid).unwrap_or(0),
    };
    write_aside(directory, "record.json", &serde_json::to_vec(&record)?)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let outcome = thread::scope(|scope| -> io::Result<Outcome> {
        if let Some(stdout) = stdout {
            scope.spawn(|| pump(stdout, LogStream::Out, &log, &masks));
        }
        if let Some(stderr) = stderr {
            scope.spawn(|| pump(stderr, LogStream::Err, &log, &masks));
        }
        announce()?;
        Ok(watch(&order, pid, own, control, &log))
    })?;
    write_exit(directory, outcome)?;
    log_file::compress(directory)
}

/// Tells the executor that everything is on record.
fn announce() -> io::Result<()> {
    // A daemon that died meanwhile does not concern the job.
    let _ = io::stdout().write_all(b"ready\n");
    let _ = io::stdout().flush();
    Ok(())
}

fn command(order: &Order, directory: &Path) -> Command {
    let words = order.sandbox.as_ref().and_then(|sandbox| sandbox::wrap(order, sandbox)).unwrap_or_else(|| order.command.clone());
    let mut command = Command::new(words.first().map_or("sh", String::as_str));
    command.args(words.iter().skip(1)).env_clear().envs(&order.environment);
    if !order.environment.contains_key("HOME") {
        let home = directory.join("home");
        // Without a home the command still runs.
        let _ = fs::create_dir(&home);
        command.env("HOME", if order.sandbox.is_some() { Path::new("/tmp") } else { &home });
    }
    command.current_dir(&order.working_directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

fn watch(order: &Order, pid: i32, own: i32, control: File, log: &Log) -> Outcome {
    let (events, inbox) = mpsc::channel();
    let ended = events.clone();
    thread::spawn(move || {
        // Orphans of the job come to us, their subreaper; all are reaped, the job's own end is reported.
        while let Ok(status) = waitpid(None::<Pid>, None) {
            if status.pid() == Some(Pid::from_raw(pid)) {
                // The receiver lives as long as the supervisor has something to do.
                let _ = ended.send(Event::Ended(status));
            }
        }
    });
    thread::spawn(move || read_control(control, &events));
    let begun = Instant::now();
    let mut deadline = order.timeout_millis.map(Duration::from_millis);
    let mut verdict = None;
    let status = loop {
        let event = match deadline {
            Some(deadline) => inbox.recv_timeout(deadline.saturating_sub(begun.elapsed())),
            None => inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        match event {
            Ok(Event::Ended(status)) => break Some(status),
            Ok(Event::Stop(grace)) if verdict.is_none() => {
                verdict = Some(Outcome::Stopped);
                log.write(LogStream::Note, "stopped");
                let _ = killpg(Pid::from_raw(pid), Signal::SIGTERM);
                deadline = Some(begun.elapsed() + grace);
            }
            Ok(Event::Stop(_)) => {}
            Err(_) if verdict.is_none() => {
                verdict = Some(Outcome::TimedOut);
                log.write(LogStream::Note, &format!("timed out after {:?}", begun.elapsed()));
                let _ = killpg(Pid::from_raw(pid), Signal::SIGTERM);
                deadline = Some(begun.elapsed() + Duration::from_millis(order.grace_millis));
            }
            Err(_) => break None,
        }
    };
    // Whatever the job left behind ends with it.
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    if !process::kill_descendants(own, Duration::from_secs(10)) {
        log.write(LogStream::Note, "some processes of the job could not be killed");
    }
    verdict.unwrap_or(match status {
        Some(WaitStatus::Exited(_, code)) => Outcome::Exited(code),
        Some(WaitStatus::Signaled(_, signal, _)) => Outcome::Signaled(signal as i32),
        _ => Outcome::Signaled(ExitStatus::from_raw(9).signal().unwrap_or(9)),
    })
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

fn pump(mut stream: impl Read, kind: LogStream, log: &Log, masks: &Masks) {
    let mut lines = Lines::new(masks);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            // Past the limit output is read, so that the job does not hang, and dropped.
            Ok(_) if log.full.load(Ordering::Relaxed) => {}
            Ok(length) => lines.push(&buffer[..length], |line| log.write(kind, &line)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.finish(|line| log.write(kind, &line));
}

struct Log {
    file: Mutex<(File, u64)>,
    limit: u64,
    full: AtomicBool,
}

impl Log {
    fn open(directory: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(directory.join("log"))?;
        Ok(Self { file: Mutex::new((file, 0)), limit, full: AtomicBool::new(false) })
    }

    /// A full disk must neither end nor hang the job: what cannot be written is dropped, and the log says so once it can.
    fn write(&self, stream: LogStream, text: &str) {
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, size) = &mut *guard;
        if stream != LogStream::Note {
            if self.full.load(Ordering::Relaxed) {
                return;
            }
            if *size + text.len() as u64 > self.limit {
                self.full.store(true, Ordering::Relaxed);
                let note = format!("log limit of {} bytes reached; the rest is dropped", self.limit);
                let _ = file.write_all(log_file::encode(now(), LogStream::Note, &note).as_bytes());
                return;
            }
            *size += text.len() as u64;
        }
        if file.write_all(log_file::encode(now(), stream, text).as_bytes()).is_err() {
            let _ = file.write_all(log_file::encode(now(), LogStream::Note, "lines are missing here: the disk is full").as_bytes());
        }
    }
}

fn write_exit(directory: &Path, outcome: Outcome) -> io::Result<()> {
    write_aside(directory, "exit.json", &serde_json::to_vec(&Exit { outcome, at: now() })?)
}

fn write_aside(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = directory.join(format!("{name}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(aside, directory.join(name))
}
