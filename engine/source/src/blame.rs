//! Whose fault a failure of git is, read out of its own words: *Failed* is what the repository's owner can mend, *Errored* is the
//! machine's or the network's and is tried again.

use hookwright_core::Blame;

/// The other side was reached and said no: these win, because git adds "the remote end hung up" to many of them.
const REFUSED: &[&str] = &[
    "authentication failed",
    "could not read username",
    "could not read password",
    "permission denied (",
    "host key verification failed",
    "returned error: 400",
    "returned error: 401",
    "returned error: 403",
    "returned error: 404",
    "returned error: 410",
    "does not appear to be a git repository",
    "couldn't find remote ref",
    "not our ref",
    "dubious ownership",
    "fsck error",
];

/// The machine cannot.
const MACHINE: &[&str] = &[
    "no space left on device",
    "disk quota exceeded",
    "read-only file system",
    "input/output error",
    "cannot allocate memory",
    "out of memory",
    "too many open files",
    "resource temporarily unavailable",
    "cannot fork",
    "unable to create temporary file",
    "unable to create thread",
    "unable to write",
    "is not a git command",
    "cannot run ",
    "cannot exec ",
];

/// The other side cannot be reached, or not now.
const NETWORK: &[&str] = &[
    "could not resolve",
    "name or service not known",
    "temporary failure in name resolution",
    "failed to connect",
    "couldn't connect",
    "connection refused",
    "connection reset",
    "connection closed",
    "timed out",
    "timeout was reached",
    "network is unreachable",
    "no route to host",
    "broken pipe",
    "unexpected disconnect",
    "hung up unexpectedly",
    "early eof",
    "empty reply from server",
    "operation too slow",
    "returned error: 408",
    "returned error: 429",
    "returned error: 5",
    "ssl connect error",
    "handshake",
];

/// The blame for a command that ended badly with these words; `otherwise` when they say nothing about it.
pub(crate) fn blame(words: &str, otherwise: Blame) -> Blame {
    let words = words.to_lowercase();
    let says = |list: &[&str]| list.iter().any(|part| words.contains(part));
    if says(REFUSED) {
        Blame::Failed
    } else if says(MACHINE) || says(NETWORK) {
        Blame::Errored
    } else {
        otherwise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_dead_network_are_not_the_users_fault() {
        for words in [
            "error: file write error: No space left on device; fatal: unable to write loose object file",
            "fatal: unable to access 'https://x/': Could not resolve host: x",
            "fatal: unable to access 'http://127.0.0.1:1/x.git/': Failed to connect to 127.0.0.1 port 1",
            "ssh: connect to host x port 22: Network is unreachable; fatal: Could not read from remote repository.",
            "error: RPC failed; HTTP 503 curl 22 The requested URL returned error: 503",
        ] {
            assert_eq!(blame(words, Blame::Failed), Blame::Errored, "{words}");
        }
    }

    #[test]
    fn a_remote_that_says_no_is_the_owners_to_mend() {
        for words in [
            "fatal: Authentication failed for 'https://acme.example/shop.git/'",
            "git@acme.example: Permission denied (publickey).; fatal: the remote end hung up unexpectedly",
            "fatal: '/srv/shop.git' does not appear to be a git repository",
        ] {
            assert_eq!(blame(words, Blame::Errored), Blame::Failed, "{words}");
        }
    }
}
