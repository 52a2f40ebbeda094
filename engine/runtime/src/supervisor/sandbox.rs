//! Wraps a command into bubblewrap where the machine has it: host programs read-only, the workspace writable, nothing else.

use std::path::Path;

use super::{Order, Sandbox};

const HOST: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
];

/// The wrapped command, or `None` when there is no bubblewrap.
pub(super) fn wrap(order: &Order, sandbox: &Sandbox) -> Option<Vec<String>> {
    let path = order.environment.get("PATH").map_or("", String::as_str);
    let program = path.split(':').map(|folder| Path::new(folder).join("bwrap")).find(|program| program.is_file())?;
    let mut words = vec![program.to_string_lossy().into_owned()];
    let mut add = |parts: &[&str]| words.extend(parts.iter().map(|part| (*part).to_owned()));
    add(&["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    for folder in HOST {
        add(&["--ro-bind-try", folder, folder]);
    }
    for folder in path.split(':').filter(|folder| folder.starts_with('/') && !folder.starts_with("/usr")) {
        // A toolchain's programs need what stands beside their folder (`lib`, `toolchains`), and never more than that.
        let root = Path::new(folder).parent().filter(|root| is_toolchain(root)).unwrap_or(Path::new(folder));
        let root = root.to_string_lossy();
        add(&["--ro-bind-try", &root, &root]);
    }
    for folder in crate::executor::TOOLCHAINS.iter().filter_map(|(variable, _)| order.environment.get(*variable)) {
        add(&["--ro-bind-try", folder, folder]);
    }
    for folder in &sandbox.readable {
        let folder = folder.to_string_lossy();
        add(&["--ro-bind", &folder, &folder]);
    }
    for folder in &sandbox.writable {
        let folder = folder.to_string_lossy();
        add(&["--bind", &folder, &folder]);
    }
    if !sandbox.network {
        add(&["--unshare-net"]);
    }
    add(&["--chdir", &order.working_directory.to_string_lossy(), "--"]);
    words.extend(order.command.iter().cloned());
    Some(words)
}

/// A hidden folder such as `.cargo` or one below `/opt`; never a home, nor `.local`, which holds more than tools.
fn is_toolchain(root: &Path) -> bool {
    let name = root.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    (name.starts_with('.') && name != ".local") || root.parent().is_some_and(|parent| parent == Path::new("/opt"))
}
