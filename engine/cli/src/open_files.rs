//! How many files the daemon may have open at a time. What most systems start a program with (1,024) is for programs that ask no questions; a connection
//! is an open file, and one that a handler answers is two. So the daemon takes all that it may have, as far as it may without being allowed more, and
//! takes no more connections at a time than leave files for itself. Jobs and handlers get what the daemon was started with, since some programs take
//! time or memory by that number.

use std::sync::OnceLock;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use tracing::warn;

/// Files that are not for connections: the database, logs, pipes of jobs, what git reads; at least so many, and at least this part of all.
const RESERVED: u64 = 128;
const RESERVED_PART: u64 = 4;

/// No more connections than this at a time, however many files there may be: each takes some kilobytes of memory.
const MOST_CONNECTIONS: u64 = 16_384;

/// What the process was started with.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// How many files the daemon may have open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenFiles(u64);

impl OpenFiles {
    /// All that the process may take.
    pub(crate) fn allowed() -> Self {
        Self(getrlimit(Resource::RLIMIT_NOFILE).map_or(RESERVED * 2, |(_, hard)| hard))
    }

    /// How many connections may be open at a time, so that each may need a second one to a handler.
    pub(crate) fn connections(self) -> usize {
        let reserved = RESERVED.max(self.0 / RESERVED_PART);
        let most = (self.0.saturating_sub(reserved) / 2).clamp(1, MOST_CONNECTIONS);
        usize::try_from(most).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Display for OpenFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            RLIM_INFINITY => formatter.write_str("any number"),
            count => write!(formatter, "{count} at a time"),
        }
    }
}

/// Takes all that the process may have.
pub(crate) fn raise() -> OpenFiles {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((RESERVED * 2, RESERVED * 2));
    BEFORE.get_or_init(|| soft);
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => OpenFiles(hard),
        Err(error) => {
            warn!(%error, "the daemon goes on with {soft} open files at a time");
            OpenFiles(soft)
        }
    }
}

/// How many it was started with; `None` while nothing was taken.
pub(crate) fn before() -> Option<u64> {
    BEFORE.get().copied()
}

/// Gives back what [`raise`] took, for the program that the process becomes.
pub(crate) fn restore() {
    let (Some(before), Ok((_, hard))) = (BEFORE.get(), getrlimit(Resource::RLIMIT_NOFILE)) else { return };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, *before, hard) {
        warn!(%error, "the number of open files cannot be set back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(may: u64) -> usize {
        OpenFiles(may).connections()
    }

    #[test]
    fn connections_leave_files_for_the_daemon_itself() {
        assert_eq!((connections(256), connections(1024), connections(20_000)), (64, 384, 7500));
        assert_eq!(connections(16), 1, "something is answered however few there are");
        assert_eq!(connections(u64::MAX), 16_384);
    }
}
