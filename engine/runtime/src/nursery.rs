//! The daemon's side of the nursery: the one process that supervisors are forked from. A supervisor that is started as a program costs the
//! machine more than most commands of a stage do: the binary is large, and the kernel has to prepare all of its pages each time.
//!
//! The nursery knows nothing and keeps nothing. When it is killed, supervisors live on, and the next start makes another one; it ends by itself with
//! the daemon.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::executor::lent;
use crate::supervisor::NURSERY;

/// A handle of the nursery; one a daemon.
pub struct Nursery {
    binary: PathBuf,
    /// Shown in the list of processes, so that a person sees whose supervisors these are.
    folder: PathBuf,
    /// How many open files each of them and what it starts may have; `None` for as many as the daemon.
    open_files: Option<u64>,
    line: Mutex<Option<Line>>,
}

/// What the daemon says to the nursery and hears from it.
struct Line {
    /// Keeps the borders of messages, as no stream would (`SOCK_SEQPACKET`).
    socket: UnixStream,
    /// Waited for by tokio once it is dropped.
    _child: Child,
}

/// A supervisor that was asked for, and the pipes it is given.
pub(crate) struct Newborn {
    /// `None` when the nursery was killed before it could say so: whether there is a supervisor shows in the pipe of its words.
    pub(crate) pid: Option<i32>,
    /// What is left of its order, and where to; nothing of one that fits into a pipe.
    pub(crate) order: Option<(pipe::Sender, Vec<u8>)>,
    pub(crate) words: pipe::Receiver,
}

impl Nursery {
    /// A nursery that starts `binary supervise …` once the first supervisor is wanted; `folder` is the daemon's data folder.
    #[must_use]
    pub fn new(binary: PathBuf, folder: PathBuf) -> Self {
        Self { binary, folder, open_files: None, line: Mutex::new(None) }
    }

    /// The same for a daemon that lets itself have more open files than what it starts.
    #[must_use]
    pub fn with_open_files(self, count: Option<u64>) -> Self {
        Self { open_files: count, ..self }
    }

    /// Forks a supervisor for `folder`, which is handed `lock` and begins when it has read its whole order; a part of it does nothing.
    ///
    /// # Errors
    /// When there certainly is no supervisor.
    pub(crate) async fn fork(&self, folder: &Path, lock: &File, order: &[u8]) -> io::Result<Newborn> {
        let mut place = self.line.lock().await;
        // Whoever is interrupted between question and answer takes the line with him: the next one would hear his answer.
        if let Some(line) = place.take() {
            match line.fork(folder, lock, order).await {
                Ok((line, newborn)) => {
                    *place = line;
                    return Ok(newborn);
                }
                Err(error) => tracing::warn!(%error, "the process that supervisors are forked from is gone; another one is started"),
            }
        }
        let (line, newborn) = self.open()?.fork(folder, lock, order).await?;
        *place = line;
        Ok(newborn)
    }

    fn open(&self) -> io::Result<Line> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let ours = std::os::unix::net::UnixStream::from(ours);
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&self.binary);
        command.args(["supervise", NURSERY]).arg(&self.folder).env_clear().envs(lent());
        command.args(self.open_files.map(|count| count.to_string()));
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null());
        // What a terminal sends to the daemon's group is not meant for it.
        command.process_group(0);
        let child = command.spawn()?;
        Ok(Line { socket: UnixStream::from_std(ours)?, _child: child })
    }
}

impl Line {
    /// Fails only while nothing was asked; after that the line is given back unless it broke.
    async fn fork(self, folder: &Path, lock: &File, order: &[u8]) -> io::Result<(Option<Self>, Newborn)> {
        let (order_end, sender) = io::pipe()?;
        let (words, words_end) = io::pipe()?;
        rustix::io::ioctl_fionbio(&sender, true)?;
        // What fits is there before anybody reads: then the supervisor needs nobody any more.
        let written = (&sender).write(order).unwrap_or(0);
        let order = match &order[written..] {
            [] => None,
            rest => Some((pipe::Sender::from_owned_fd(sender.into())?, rest.to_vec())),
        };
        let words = pipe::Receiver::from_owned_fd(words.into())?;
        self.ask(folder, [lock.as_fd(), order_end.as_fd(), words_end.as_fd()]).await?;
        match self.answer().await {
            Some(answer) => Ok((Some(self), Newborn { pid: Some(answer?), order, words })),
            None => Ok((None, Newborn { pid: None, order, words })),
        }
    }

    /// Says for which folder, with the three descriptors.
    async fn ask(&self, folder: &Path, descriptors: [BorrowedFd<'_>; 3]) -> io::Result<()> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            let text = [IoSlice::new(folder.as_os_str().as_bytes())];
            Ok(sendmsg(&self.socket, &text, &mut control, SendFlags::NOSIGNAL)?)
        };
        self.socket.async_io(Interest::WRITABLE, send).await.map(|_| ())
    }

    /// The number of the new process, or why there is none; `None` when the nursery is gone.
    async fn answer(&self) -> Option<io::Result<i32>> {
        let receive = || {
            let mut answer = [0; 4];
            let read = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut answer)], &mut RecvAncillaryBuffer::default(), RecvFlags::empty())?;
            Ok((read.bytes == answer.len()).then(|| i32::from_le_bytes(answer)))
        };
        match self.socket.async_io(Interest::READABLE, receive).await {
            Ok(Some(pid)) if pid > 0 => Some(Ok(pid)),
            // What fork said, negated.
            Ok(Some(code)) => Some(Err(io::Error::from_raw_os_error(-code))),
            Ok(None) | Err(_) => None,
        }
    }
}
