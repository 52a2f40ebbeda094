//! The folder of a supervised process: where it is started at most once, found again, and buried when its supervisor was killed.
//!
//! Whoever holds the lock of the folder's [`state`] is starting the process or keeps it. The daemon locks before it writes the mark, and the
//! supervisor inherits the very same lock (as its standard error), so that at no moment a started process is without a holder: a mark
//! and no holder and no exit means that nothing of it will ever run again.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookwright_core::port::{JobEnd, JobState};
use hookwright_core::{LogStream, PortError, Timestamp};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::unix::pipe;

use crate::executor::{millis, unusable};
use crate::nursery::{Newborn, Nursery};
use crate::state::{self, Line, State};
use crate::supervisor::{Exit, Order, Outcome, REQUEST, Record};
use crate::{log_file, process};

/// A supervisor says within a few milliseconds that its process is on record; a loaded machine gets longer.
const START: Duration = Duration::from_secs(30);
/// How long what a killed supervisor left may take to be gone.
const BURIAL: Duration = Duration::from_secs(10);
/// How long [`Supervised::remove`] waits for the end of what still runs.
const REMOVAL: Duration = Duration::from_secs(15);

/// A folder that a supervisor keeps.
#[derive(Clone, Debug)]
pub(crate) struct Supervised {
    folder: PathBuf,
}

/// What [`Supervised::look`] finds.
enum Found {
    Known(JobState),
    /// The supervisor is gone and has not said how its process ended.
    Orphaned,
}

impl Supervised {
    pub(crate) fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is written down of it; `None` when it was never started.
    fn written(&self) -> io::Result<Option<State>> {
        Ok(State::of(&self.folder)?.filter(|state| state.mark().is_some()))
    }

    /// Whether it was started before, whatever became of it.
    pub(crate) fn was_started(&self) -> bool {
        self.written().is_ok_and(|state| state.is_some())
    }

    /// Starts a supervisor in the folder, which is there, and hands it the order; returns once it has its process on record. `None` when that has
    /// happened before.
    pub(crate) async fn start(&self, nursery: &Nursery, mut order: Order) -> Result<Option<Begun>, PortError> {
        let lock = state::create(&self.folder).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            // Somebody starts it at this moment, or it runs.
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        if State::read(&lock).map_err(unusable)?.mark().is_some() {
            return Ok(None);
        }
        let mark = mark(&lock).map_err(unusable)?;
        state::begin(&lock, &mark).map_err(unusable)?;
        order.environment.insert(process::MARK.to_owned(), mark);
        let order = serde_json::to_vec(&order).map_err(unusable)?;
        let newborn = nursery
            .fork(&self.folder, &lock, &order)
            .await
            .map_err(|error| PortError::errored("the supervisor cannot be started; is the machine full?").because(error))?;
        // From here on the supervisor's share of the lock is the only one.
        drop(lock);
        let pid = newborn.pid;
        match tokio::time::timeout(START, hand_over(newborn)).await {
            Ok(Ok(words)) => Ok(Some(Begun { words })),
            failed => {
                // Whatever it has begun ends with it; what is left is found by its mark.
                if let Some(pid) = pid {
                    let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
                }
                let ending = tokio::time::Instant::now();
                while self.is_held() && ending.elapsed() < BURIAL {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                self.state().await?;
                Err(match failed {
                    Ok(Err(error)) => error,
                    _ => PortError::errored(format!("the supervisor did not begin within {} s", START.as_secs())),
                })
            }
        }
    }

    fn look(&self) -> io::Result<Found> {
        let file = match File::open(self.folder.join(state::FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Known(JobState::Unknown)),
            Err(error) => return Err(error),
        };
        let state = State::read(&file)?;
        if state.mark().is_none() {
            return Ok(Found::Known(JobState::Unknown));
        }
        if let Some(end) = end(&state) {
            return Ok(Found::Known(JobState::Ended(end)));
        }
        match file.try_lock_shared() {
            // It may have ended between the two looks.
            Ok(()) => Ok(end(&State::read(&file)?).map_or(Found::Orphaned, |end| Found::Known(JobState::Ended(end)))),
            Err(TryLockError::WouldBlock) => Ok(Found::Known(JobState::Running)),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether a supervisor lives.
    fn is_held(&self) -> bool {
        let lock = File::open(self.folder.join(state::FILE));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Where it stands. A process whose supervisor was killed is ended with everything it started, once, before it is called lost.
    pub(crate) async fn state(&self) -> Result<JobState, PortError> {
        match self.look().map_err(unusable)? {
            Found::Known(state) => Ok(state),
            Found::Orphaned => {
                let own = self.clone();
                tokio::task::spawn_blocking(move || own.bury()).await.map_err(unusable)?.map_err(unusable)
            }
        }
    }

    /// Kills what is left and writes down that the process was lost. Takes up to [`BURIAL`].
    fn bury(&self) -> io::Result<JobState> {
        let lock = state::open(&self.folder)?;
        // Held for moments by others who look; a folder that was started gets no new supervisor.
        lock.lock()?;
        let state = State::read(&lock)?;
        if let Some(end) = end(&state) {
            return Ok(JobState::Ended(end));
        }
        let Some(mark) = state.mark() else { return Ok(JobState::Unknown) };
        let record = state.record();
        // In a copy of the folder the processes on record are those of the original.
        let ours = mark.starts_with(&format!("{:x}-", lock.metadata()?.ino()));
        let gone = !ours || process::kill_leftovers(record.as_ref(), mark, BURIAL);
        let at = now();
        let text = match (&record, gone) {
            (None, _) => "the supervisor ended before the command was started",
            (Some(_), true) => "the supervisor was killed; everything that the command had started was ended",
            (Some(_), false) => "the supervisor was killed, and some processes of the command could not be ended",
        };
        // What matters is the exit; a full disk must not keep it from being written.
        let _ = log_file::append(&self.folder, &log_file::encode(at, LogStream::Note, text));
        state::write(&lock, Line::Exit, &Exit { outcome: Outcome::Lost, at }, Duration::ZERO)?;
        let _ = log_file::compress(&self.folder);
        Ok(JobState::Ended(JobEnd { outcome: Outcome::Lost.into(), at }))
    }

    pub(crate) fn record(&self) -> Option<Record> {
        self.written().ok()??.record()
    }

    /// Calls `then` when no supervisor is left, whether this daemon started it or found it.
    pub(crate) fn on_end(&self, then: impl FnOnce() + Send + 'static) {
        let Some(supervisor) = self.watched() else { return self.on_release(then) };
        tokio::spawn(async move {
            // An error is as good a reason to look as the end.
            let _ = supervisor.readable().await;
            then();
        });
    }

    /// What the kernel reports the end of the supervisor by; `None` when there is none, or the kernel cannot.
    #[expect(deprecated, reason = "what may go wrong with it are types that do not own their descriptor; its successor is unsafe code")]
    fn watched(&self) -> Option<AsyncFd<OwnedFd>> {
        let handle = supervisor(&self.record()?).ok()??;
        AsyncFd::with_interest(handle, Interest::READABLE).ok()
    }

    /// The same by the lock.
    fn on_release(&self, then: impl FnOnce() + Send + 'static) {
        let folder = self.folder.clone();
        // A thread of its own: the end of the daemon must not wait for the end of the process.
        let waiting = std::thread::Builder::new().name("supervised".to_owned()).stack_size(128 * 1024).spawn(move || {
            if let Err(error) = File::open(folder.join(state::FILE)).and_then(|lock| lock.lock_shared()) {
                tracing::warn!(folder = %folder.display(), %error, "the end of a process cannot be waited for; it is seen a little later");
            }
            then();
        });
        if let Err(error) = waiting {
            tracing::warn!(folder = %self.folder.display(), %error, "no thread is left to wait for a process; its end is seen a little later");
        }
    }

    /// Asks a supervisor to end what it keeps; one that has not begun yet finds the request when it does. It needs no room on the disk.
    pub(crate) fn ask_to_stop(&self, grace: Duration) -> Result<(), PortError> {
        let written = state::open(&self.folder).and_then(|file| state::write(&file, Line::Stop, &millis(grace), Duration::ZERO));
        // A supervisor looks after it has put itself on record: one that is not there yet needs no signal. Of one that is, the signal is enough.
        if let Some(record) = self.record() {
            match supervisor(&record) {
                Ok(handle) => {
                    handle.map_or(Ok(()), |handle| pidfd_send_signal(handle, rustix::process::Signal::USR1)).map_err(io::Error::from)
                }
                Err(_) if process::start_time(record.supervisor) == Some(record.supervisor_start) => {
                    kill(nix::unistd::Pid::from_raw(record.supervisor), REQUEST).map_err(io::Error::from)
                }
                Err(_) => Ok(()),
            }
            .or_else(|error| if error.raw_os_error() == Some(Errno::ESRCH as i32) { Ok(()) } else { Err(unusable(error)) })
        } else {
            match written {
                // It has ended and is forgotten.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other.map_err(unusable),
            }
        }
    }

    /// Whether it was asked to end.
    pub(crate) fn is_asked_to_stop(&self) -> bool {
        self.written().is_ok_and(|state| state.is_some_and(|state| state.grace().is_some()))
    }

    /// Kills what still runs and removes the folder; one that is gone is fine.
    pub(crate) async fn remove(&self) -> Result<(), PortError> {
        let begun = tokio::time::Instant::now();
        // A supervisor packs the log after it has told the end; it must not find its folder gone, nor fill it again.
        while self.state().await? == JobState::Running || self.is_held() {
            self.ask_to_stop(Duration::ZERO)?;
            if begun.elapsed() > REMOVAL {
                return Err(PortError::errored("what is to be forgotten still runs and cannot be ended; trying again later"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let own = self.clone();
        tokio::task::spawn_blocking(move || remove_tree(&own.folder)).await.map_err(unusable)?.map_err(unusable)
    }

    /// The texts of the last lines of the log, oldest first; empty when it cannot be read.
    pub(crate) fn tail(&self, lines: usize) -> Vec<String> {
        log_file::last_lines(&self.folder, lines).unwrap_or_default().into_iter().map(|line| line.text).collect()
    }
}

/// A supervisor that this daemon has started.
pub(crate) struct Begun {
    words: BufReader<pipe::Receiver>,
}

impl Begun {
    /// Returns when the end of what it keeps is on the disk, or it is gone; it may tidy up for a while longer.
    pub(crate) async fn over(mut self) {
        // Whatever is read or not, there is nothing more to hear.
        let _ = self.words.read_line(&mut String::new()).await;
    }
}

/// Gives the rest of the order and waits for the word that all is on record; what the supervisor says next is said at the end.
async fn hand_over(newborn: Newborn) -> Result<BufReader<pipe::Receiver>, PortError> {
    let cannot = |error: io::Error| PortError::errored("the supervisor ended before it began").because(error);
    if let Some((mut input, rest)) = newborn.order {
        input.write_all(&rest).await.map_err(cannot)?;
    }
    let mut word = String::new();
    let mut words = BufReader::with_capacity(256, newborn.words);
    words.read_line(&mut word).await.map_err(cannot)?;
    match word.trim() {
        "ready" => Ok(words),
        "" => Err(PortError::errored("the supervisor ended before it began")),
        why => Err(PortError::errored(format!("the supervisor cannot work: {why}"))),
    }
}

/// A handle of the supervisor on record; `None` when it is gone. Fails where the kernel has no handles.
fn supervisor(record: &Record) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(record.supervisor) else { return Ok(None) };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        other => other?,
    };
    // Only now: the number may have been given to another process until the handle was there, and never afterwards.
    Ok((process::start_time(record.supervisor) == Some(record.supervisor_start)).then_some(handle))
}

/// How a process ended.
fn end(state: &State) -> Option<JobEnd> {
    state.exit().map(|exit| JobEnd { outcome: exit.outcome.into(), at: exit.at })
}

/// A text that no other process on this machine bears, bound to this very folder: a copy of it has another inode.
fn mark(lock: &File) -> io::Result<String> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    Ok(format!("{:x}-{:x}-{nanos:x}", lock.metadata()?.ino(), std::process::id()))
}

/// The time of this machine; supervisors have no other clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Writes a file whole or not at all.
pub(crate) fn write_aside(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = folder.join(format!("{name}.new"));
    let mut file = File::create(&aside)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(aside, folder.join(name))
}

/// Removes a folder with everything in it, also what its owner may not enter.
pub(crate) fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            unlock(folder)?;
            fs::remove_dir_all(folder)
        }
        other => other,
    }
}

fn unlock(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}
