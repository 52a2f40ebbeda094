//! The data folder as daemons share it: which one it is, and its lock, which the leader alone holds.
//! Invariant: whoever leads holds the lock, so that on one machine a free lock means that the last leader is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use hookwright_core::IdSource;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::{error, warn};

/// A data folder.
pub(crate) struct DataFolder {
    path: PathBuf,
    /// A random name: a copy of the folder has it too, another folder has not.
    id: String,
    held: Mutex<Option<Flock<File>>>,
}

impl DataFolder {
    /// Makes the folder if it is missing.
    pub(crate) fn open(path: &Path, ids: &dyn IdSource) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot create the data folder `{}`", path.display()))?;
        let id = id(path, ids).with_context(|| format!("cannot read or write `{}`", path.join("folder-id").display()))?;
        let folder = Self { path: path.to_owned(), id, held: Mutex::default() };
        // From now on the lock has a place.
        folder.lock_file()?;
        Ok(folder)
    }

    /// Which folder it is.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock if nobody has it; it is kept until [`unlock`](Self::unlock) or the end of the process.
    pub(crate) fn try_lock(&self) -> Result<bool> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(true);
        }
        if let Ok(lock) = Flock::lock(self.lock_file()?, FlockArg::LockExclusiveNonblock) {
            *held = Some(lock);
        }
        Ok(held.is_some())
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.path.join("lock");
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        open.with_context(|| format!("cannot open `{}`", path.display()))
    }

    /// Gives the lock back.
    pub(crate) fn unlock(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Where the lock is: machine, start of the machine, device and file. The same for two daemons exactly when their locks exclude each other.
    pub(crate) fn lock_place(&self) -> String {
        let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let file = fs::metadata(self.path.join("lock")).map(|known| format!("{}/{}", known.dev(), known.ino())).unwrap_or_default();
        format!("{}/{}/{file}", read("/etc/machine-id"), read("/proc/sys/kernel/random/boot_id"))
    }

    /// Asks a leader that has lost its lease, and may not know it, to let go of the folder.
    pub(crate) fn ask_for(&self, epoch: u64) {
        if let Err(failure) = fs::write(self.wanted(), epoch.to_string()) {
            warn!(%failure, "whoever has the data folder cannot be asked for it");
        }
    }

    /// The epoch of whoever has asked for the folder.
    pub(crate) fn asked_for(&self) -> Option<u64> {
        fs::read_to_string(self.wanted()).ok()?.trim().parse().ok()
    }

    /// The folder is had.
    pub(crate) fn stop_asking(&self) {
        // Nobody may have had to ask.
        let _ = fs::remove_file(self.wanted());
    }

    fn wanted(&self) -> PathBuf {
        self.path.join("lock.wanted")
    }

    /// Kills the process that has the lock, if it runs on this machine and is in sight: it hangs, and must not act when it wakes.
    pub(crate) fn end_holder(&self) {
        let Some(pid) = self.holder() else {
            error!("another process that is not seen from here has the lock of the data folder; nothing is led until it ends");
            return;
        };
        error!(pid = pid.as_raw(), "a daemon that lost its lease hangs and does not let go of the data folder: it is killed");
        if let Err(failure) = kill(pid, Signal::SIGKILL) {
            error!(%failure, pid = pid.as_raw(), "it cannot be killed; nothing is led until it ends");
        }
    }

    /// The kernel knows who holds a lock (proc_locks(5)); a process of another PID namespace is 0 or missing there.
    fn holder(&self) -> Option<Pid> {
        let inode = fs::metadata(self.path.join("lock")).ok()?.ino().to_string();
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let pid = locks.lines().find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, "FLOCK", _, "WRITE", pid, file, ..] = words.as_slice() else { return None };
            (file.rsplit(':').next() == Some(inode.as_str())).then(|| pid.parse::<i32>().ok()).flatten()
        })?;
        let opened = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let is_ours = |found: &Path| fs::metadata(found).is_ok_and(|known| known.ino().to_string() == inode);
        (pid > 1 && opened.into_iter().any(|fd| is_ours(&fd.path()))).then(|| Pid::from_raw(pid))
    }
}

/// The folder's id, made at its first use. Two daemons that make one at the same time agree on the first.
fn id(folder: &Path, ids: &dyn IdSource) -> std::io::Result<String> {
    let path = folder.join("folder-id");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if text.trim().is_empty() {
        text = ids.uuid().simple().to_string();
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> DataFolder {
        DataFolder::open(path, &crate::system::UuidV7::new()).expect("opened")
    }

    #[test]
    fn one_of_two_daemons_has_the_lock_and_the_other_one_sees_who_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (open(folder.path()), open(folder.path()));
        assert_eq!(first.id(), second.id());
        assert!(first.try_lock().expect("asked") && !second.try_lock().expect("asked"));
        assert_eq!(first.lock_place(), second.lock_place());
        assert_eq!(second.holder(), Some(Pid::this()));
        first.unlock();
        assert!(second.try_lock().expect("asked"));
    }
}
