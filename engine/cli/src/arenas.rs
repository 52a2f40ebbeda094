//! Keeps the daemon's memory together. The C library gives each of its threads a part of its own to allocate from, up to eight for each core, of which
//! most are nearly empty: a daemon at rest is a tenth smaller with one, and takes events in no slower. The library reads how many there may be when the
//! process begins, so the daemon begins once more.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the C library reads; whoever set it already is left to it.
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// Begins the process anew with one arena, under the same id and with the same open files. Returns when it has, or cannot.
pub(crate) fn keep_to_one() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut words = std::env::args_os();
    let (Some(name), Ok(program)) = (words.next(), std::env::current_exe()) else { return };
    // One that cannot begin anew goes on as it is.
    let _ = Command::new(program).arg0(name).args(words).env(VARIABLE, "1").exec();
}
