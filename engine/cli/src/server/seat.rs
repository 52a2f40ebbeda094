//! How many connections there are at a time: as many as there are seats, for all listeners together. Who finds none waits until one is free, in the queue
//! of the kernel, and costs no file of the daemon's. A seat is kept as long as the connection is, also by what it was upgraded to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

/// How often it is said that there are as many connections as there may be.
const FULL: Duration = Duration::from_secs(60);

/// Seats for connections.
#[derive(Clone)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    count: usize,
}

impl Seats {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), count }
    }

    /// A seat for the next connection, when there is one. `said` is when it was last said that there is none.
    pub(super) async fn next(&self, said: &mut Option<Instant>) -> Option<OwnedSemaphorePermit> {
        if let Ok(seat) = self.free.clone().try_acquire_owned() {
            return Some(seat);
        }
        if said.is_none_or(|said| said.elapsed() >= FULL) {
            *said = Some(Instant::now());
            warn!(
                "{} connections are open, and others wait: no more fit into the open files that the daemon may have (`ulimit -n`)",
                self.count
            );
        }
        self.free.clone().acquire_owned().await.ok()
    }
}

/// A connection in its seat.
pub(super) struct Seated {
    stream: TcpStream,
    _seat: Option<OwnedSemaphorePermit>,
}

impl Seated {
    pub(super) fn new(stream: TcpStream, seat: Option<OwnedSemaphorePermit>) -> Self {
        Self { stream, _seat: seat }
    }
}

impl AsyncRead for Seated {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Seated {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
