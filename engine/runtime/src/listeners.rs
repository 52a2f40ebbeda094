//! Which ports a handler listens on, by `/proc`. The kernel's table of sockets is dear to read (it walks every connection of the machine), so
//! what was read of it is remembered: a socket that is still open under the same number still listens on the same port.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::{Mutex, PoisonError};

use crate::process;
use crate::supervisor::Record;

/// The listening sockets of this machine, as they were read last: inode → port.
#[derive(Default)]
pub(crate) struct Listeners(Mutex<HashMap<u64, u16>>);

impl Listeners {
    /// The TCP ports that a supervisor's child, or anything it started, listens on, sorted; `None` when that cannot be seen. The table is read
    /// again when `expected` is not among the known ones.
    pub(crate) fn of(&self, record: &Record, expected: u16) -> Option<Vec<u16>> {
        let sockets = sockets(record)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ports = |known: &HashMap<u64, u16>| -> BTreeSet<u16> { sockets.iter().filter_map(|inode| known.get(inode).copied()).collect() };
        let mut found = ports(&known);
        if !found.contains(&expected) {
            *known = read();
            found = ports(&known);
        }
        Some(found.into_iter().collect())
    }
}

/// The inodes of every socket below a supervisor; `None` when nothing can be seen there.
fn sockets(record: &Record) -> Option<BTreeSet<u64>> {
    let mut seen = false;
    let mut sockets = BTreeSet::new();
    for pid in process::tree(record.supervisor, None) {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        seen = true;
        let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned));
        sockets.extend(targets.filter_map(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()));
    }
    seen.then_some(sockets)
}

fn read() -> HashMap<u64, u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| fs::read_to_string(table).ok());
    tables.flat_map(|table| table.lines().skip(1).filter_map(listener).collect::<Vec<_>>()).collect()
}

/// The inode and port of a line of `/proc/net/tcp`, when it is a listening socket (state `0A`).
fn listener(line: &str) -> Option<(u64, u16)> {
    let mut fields = line.split_whitespace();
    let port = fields.nth(1)?.rsplit(':').next()?;
    let listens = fields.nth(1)? == "0A";
    let inode = fields.nth(5)?.parse().ok()?;
    listens.then(|| u16::from_str_radix(port, 16).ok()).flatten().map(|port| (inode, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn of_this_process(listeners: &Listeners, expected: u16) -> Vec<u16> {
        // What is below the parent of this process is more than this process, and holds it in any case.
        let parent = std::os::unix::process::parent_id();
        let record = Record { supervisor: i32::try_from(parent).expect("a pid"), supervisor_start: 0, child: 0, child_start: 0 };
        listeners.of(&record, expected).expect("processes that can be looked at")
    }

    #[test]
    fn a_port_is_seen_as_soon_as_it_is_listened_on_and_no_longer_than_that() {
        let listeners = Listeners::default();
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("an address").port();
        assert!(of_this_process(&listeners, port).contains(&port));
        let another = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let other = another.local_addr().expect("an address").port();
        assert!(of_this_process(&listeners, other).contains(&other), "one that came after the table was read");
        drop(socket);
        assert!(!of_this_process(&listeners, other).contains(&port), "one that is closed is not taken from what is remembered");
    }
}
