//! The nursery itself: waits for folders and forks a supervisor for each. Invariant: it has one thread and nothing open but the line to its daemon, so
//! that what is forked is as good as new.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fork::Fork;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg, sendmsg};

/// The longest path there is.
const PATH: usize = 4096;
/// Ended supervisors keep a place among the processes at most this long.
const REAP: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Serves until the daemon closes the line. Returns in every supervisor as well, with what that has to say.
pub(super) fn serve(supervise: impl Fn(&Path) -> ExitCode) -> ExitCode {
    loop {
        let (folder, descriptors) = match receive() {
            Ok(Some(asked)) => asked,
            Ok(None) => return ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("the process that supervisors are forked from cannot go on: {error}");
                return ExitCode::FAILURE;
            }
        };
        let answer = match fork::fork() {
            Ok(Fork::Child) => {
                return match become_supervisor(descriptors) {
                    Ok(()) => supervise(&folder),
                    // Nobody listens yet; the daemon sees that its pipe is closed.
                    Err(_) => ExitCode::FAILURE,
                };
            }
            Ok(Fork::Parent(pid)) => pid,
            Err(error) => -error.raw_os_error().unwrap_or(1),
        };
        // Only the supervisor holds what it was given.
        drop(descriptors);
        let text = answer.to_le_bytes();
        if sendmsg(rustix::stdio::stdin(), &[IoSlice::new(&text)], &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL).is_err() {
            return ExitCode::SUCCESS;
        }
    }
}

/// The next folder with its lock, order and words; `None` when the daemon is gone. Ended supervisors are waited for meanwhile.
fn receive() -> io::Result<Option<(PathBuf, Vec<OwnedFd>)>> {
    loop {
        let some_live = reap();
        let mut line = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
        match poll(&mut line, some_live.then_some(&REAP)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let mut text = [0; PATH];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let read = recvmsg(rustix::stdio::stdin(), &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if read.bytes == 0 {
        return Ok(None);
    }
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(Some((PathBuf::from(OsStr::from_bytes(&text[..read.bytes])), descriptors.flatten().collect())))
}

/// Whether children live.
fn reap() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// Takes the descriptors for its own: lock, order, words stand where a supervisor that was started as a program has them.
fn become_supervisor(descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let [lock, order, words] = &descriptors[..] else { return Err(io::Error::other("three descriptors are handed over")) };
    dup2_stdin(order.as_fd())?;
    dup2_stdout(words.as_fd())?;
    dup2_stderr(lock.as_fd())?;
    Ok(())
}
