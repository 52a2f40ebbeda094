//! Wraps a command into bubblewrap: what the order says is shown, and nothing else.

use super::{Mount, Order, Sandbox};

/// What root keeps inside: it owns what it unpacks, and can neither mount nor trace nor make devices.
const ROOT: &[&str] = &["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"];

/// The wrapped command.
pub(super) fn wrap(order: &Order, sandbox: &Sandbox) -> Vec<String> {
    let mut words = vec![sandbox.program.to_string_lossy().into_owned()];
    let mut add = |parts: &[&str]| words.extend(parts.iter().map(|part| (*part).to_owned()));
    add(&["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]);
    if !sandbox.network {
        add(&["--unshare-net"]);
    }
    if nix::unistd::geteuid().is_root() {
        // Without this bubblewrap leaves root everything, with which it could mount the disks of the machine.
        add(&["--cap-drop", "ALL"]);
        for capability in ROOT {
            add(&["--cap-add", capability]);
        }
    }
    let scratch = sandbox.scratch_bytes.to_string();
    add(&["--proc", "/proc", "--dev", "/dev", "--size", &scratch, "--tmpfs", "/tmp", "--size", &scratch, "--tmpfs", "/dev/shm"]);
    for mount in &sandbox.mounts {
        match mount {
            Mount::Read { source, target } => add(&["--ro-bind-try", &source.to_string_lossy(), &target.to_string_lossy()]),
            Mount::Write { source, target } => add(&["--bind", &source.to_string_lossy(), &target.to_string_lossy()]),
            Mount::Link { to, target } => add(&["--symlink", &to.to_string_lossy(), &target.to_string_lossy()]),
        }
    }
    // What is left of them is memory without a limit.
    add(&["--remount-ro", "/dev", "--remount-ro", "/"]);
    add(&["--chdir", &order.working_directory.to_string_lossy(), "--"]);
    words.extend(order.command.iter().cloned());
    words
}
