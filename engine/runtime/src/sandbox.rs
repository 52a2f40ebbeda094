//! What bubblewrap is on this machine, and what a sandbox shows: programs of the machine without credentials, the image at its own places.
//! Invariant: nothing is shown that is not listed here, given by the caller or part of the image, and a link of an image is never followed
//! on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hookwright_core::PortError;

use crate::copies::Copies;
use crate::executor::TOOLCHAINS;
use crate::supervisor::{Mount, Sandbox};

/// What every sandbox sees of the machine. `/etc/ssl/private` and the like are not among it.
const MACHINE: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/protocols",
    "/etc/services",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ca-certificates",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/fonts",
    "/etc/maven/m2.conf",
    "/etc/maven/logging",
];
/// What is shown of the folder that a folder of programs stands in: libraries and versions, never configuration.
const BESIDE: &[&str] =
    &["lib", "lib32", "lib64", "libexec", "share", "include", "versions", "shims", "plugins", "toolchains", "conf", "jmods", "pkg", "src"];
/// What is shown of a manager of toolchains.
const MANAGED: &[&str] =
    &["bin", "libexec", "shims", "versions", "version", "plugins", "pyenv.d", "toolchains", "settings.toml", "update-hashes"];
/// Files that hold credentials wherever they stand: shown empty.
const CREDENTIALS: &[&str] = &[
    ".netrc",
    "_netrc",
    ".npmrc",
    "npmrc",
    ".pypirc",
    "pip.conf",
    ".git-credentials",
    "credentials",
    "credentials.toml",
    "auth.json",
    ".env",
    ".yarnrc.yml",
];
/// So deep below a shown folder, and among so many entries, credentials are looked for.
const DEPTH: usize = 3;
const ENTRIES: usize = 20_000;
/// An image that is shown in more pieces than this covers the machine's own folders too finely.
const PIECES: usize = 4_000;
/// A piece of a toolchain with at most so many entries and bytes is copied.
const SMALL_ENTRIES: usize = 150;
const SMALL_BYTES: u64 = 2 << 20;
/// How long the trial may take.
const TRIAL: Duration = Duration::from_secs(10);

/// Where a stage finds its home in the sandbox.
pub(crate) const HOME: &str = "/home/hookwright";

/// Bubblewrap, tried and found working.
#[derive(Debug)]
pub struct Bubblewrap {
    program: PathBuf,
    /// Programs of this machine.
    machine: Vec<Mount>,
    /// What is shown in small pieces, once it is gathered in folders.
    copies: Vec<Copies>,
}

impl Bubblewrap {
    /// Looks for the program in `PATH` and tries it.
    ///
    /// # Errors
    /// The sentence that says why there is no sandbox and what to do.
    pub fn find() -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|folder| folder.join("bwrap"))
            .find(|program| program.is_file())
            .ok_or_else(|| "bubblewrap is not installed; install the package `bubblewrap`".to_owned())?;
        Self::try_out(program)
    }

    /// The program `program`, when it can really make a sandbox here.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn try_out(program: PathBuf) -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let managers = crate::executor::lent().filter(|(name, _)| TOOLCHAINS.iter().any(|(variable, _)| variable == name));
        let managers: Vec<PathBuf> = managers.map(|(_, root)| PathBuf::from(root)).collect();
        let found = Self { program, machine: machine(&folders, &managers, home.as_deref()), copies: Vec::new() };
        let words = crate::supervisor::trial(found.sandbox(Vec::new(), None, false));
        let shown = found.program.display();
        let advice = "allow user namespaces (`sysctl kernel.unprivileged_userns_clone=1`, `user.max_user_namespaces`, the AppArmor profile of bwrap) \
                      or set `sandbox: off`";
        let refused = |why: String| format!("bubblewrap (`{shown}`) does not work here: {why}; {advice}");
        let mut command = Command::new(words.first().map_or("bwrap", String::as_str));
        command.args(&words[1..]).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| refused(error.to_string()))?;
        let begun = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < TRIAL => std::thread::sleep(Duration::from_millis(2)),
                other => {
                    // It must not stay behind.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(refused(other.err().map_or_else(|| "it hangs".to_owned(), |error| error.to_string())));
                }
            }
        };
        if status.success() {
            return Ok(found);
        }
        let mut text = String::new();
        if let Some(stderr) = child.stderr.take() {
            // Without a reason the status alone is told.
            let _ = stderr.take(4096).read_to_string(&mut text);
        }
        let line = text.lines().next().unwrap_or_default().trim_start_matches("bwrap: ").to_owned();
        Err(refused(if line.is_empty() { status.to_string() } else { line }))
    }

    /// The same with what is shown of `/etc` and of toolchains in small pieces gathered below `folder`, which is this sandbox's own: it starts faster.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn gathered(mut self, folder: &Path) -> io::Result<Self> {
        let (etc, rest): (Vec<Mount>, Vec<Mount>) = self.machine.into_iter().partition(|mount| target(mount).starts_with("/etc"));
        self.machine = rest;
        let etc = etc.iter().map(|mount| target(mount).to_owned()).collect();
        self.copies.push(Copies::new(folder, Path::new("/etc"), etc, &[])?);
        // Workspaces stand beside it and are mounted where they are: what holds them cannot be one mount that nobody may write to.
        let own = folder.canonicalize()?;
        for (root, pieces) in small_pieces(&self.machine).into_iter().filter(|(root, _)| !own.starts_with(root)) {
            self.machine.retain(|mount| !pieces.iter().any(|piece| target(mount) == piece));
            let others: Vec<PathBuf> =
                self.machine.iter().map(target).filter(|other| other.starts_with(&root)).map(Path::to_owned).collect();
            self.copies.push(Copies::new(&folder.join("toolchains").join(file_name(&root)), &root, pieces, &others)?);
        }
        Ok(self)
    }

    /// What every sandbox shows of the machine.
    fn machine(&self) -> Vec<Mount> {
        // The others are mounted into these.
        let copies = self.copies.iter().map(|copies| Mount::Read { source: copies.shown(), target: copies.root().to_owned() });
        copies.chain(self.machine.iter().cloned()).collect()
    }

    /// A sandbox with these mounts besides the programs of the machine.
    pub(crate) fn sandbox(&self, mounts: Vec<Mount>, memory: Option<u64>, network: bool) -> Sandbox {
        let mounts = self.machine().into_iter().chain(mounts).collect();
        Sandbox { program: self.program.clone(), mounts, scratch_bytes: scratch(memory), network }
    }

    /// A sandbox in which the content of `root` stands at its own places, over what the machine has there.
    pub(crate) fn sandbox_over(&self, root: &Path, mounts: Vec<Mount>, memory: Option<u64>) -> Result<Sandbox, PortError> {
        // A folder that the machine reaches by a link (`/bin`) is shown as one, since the image may put files into it.
        let mut all: Vec<Mount> = self
            .machine()
            .into_iter()
            .map(|mount| match mount {
                Mount::Link { target, .. } => read(target),
                other => other,
            })
            .collect();
        for entry in children(root) {
            let name = entry.file_name().unwrap_or_default();
            if !["proc", "dev", "tmp"].iter().any(|reserved| name == *reserved) {
                lay(&Path::new("/").join(name), &entry, &mut all)?;
            }
        }
        // `/tmp` is mounted before all of these; what the image has there is shown in it.
        for entry in children(&root.join("tmp")) {
            lay(&Path::new("/tmp").join(entry.file_name().unwrap_or_default()), &entry, &mut all)?;
        }
        all.extend(mounts);
        Ok(Sandbox { program: self.program.clone(), mounts: all, scratch_bytes: scratch(memory), network: true })
    }
}

/// Folders of toolchains, such as `~/.pyenv`, that are shown in several small pieces, with these: files and folders below which nothing else is mounted.
fn small_pieces(mounts: &[Mount]) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for mount in mounts {
        let Mount::Read { source, target } = mount else { continue };
        let holds_others = mounts.iter().any(|other| self::target(other) != target && self::target(other).starts_with(target));
        // What the system has is one piece.
        let Some(root) = target.parent().filter(|root| root.components().count() > 2 && !root.starts_with("/usr")) else { continue };
        if source == target && !holds_others && is_small(source) {
            found.entry(root.to_owned()).or_default().push(target.clone());
        }
    }
    // One in place of one is no gain, and nothing is mounted over what stands further up.
    let roots: Vec<PathBuf> = found.keys().cloned().collect();
    found.retain(|root, pieces| {
        let is_covered = mounts.iter().any(|mount| root.starts_with(target(mount)))
            || roots.iter().any(|other| other != root && root.starts_with(other));
        pieces.len() > 1 && !is_covered
    });
    found
}

/// Whether a copy costs next to nothing, and neither does looking whether it is still true.
fn is_small(path: &Path) -> bool {
    let (mut open, mut entries, mut bytes) = (vec![path.to_owned()], 0, 0);
    while let Some(next) = open.pop() {
        let Ok(metadata) = next.symlink_metadata() else { return false };
        entries += 1;
        bytes += metadata.len();
        if entries > SMALL_ENTRIES || bytes > SMALL_BYTES {
            return false;
        }
        if metadata.is_dir() {
            open.extend(children(&next));
        }
    }
    true
}

/// A name for the folder that another one is copied to; no two have the same.
fn file_name(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').replace('-', "--").replace('/', "-")
}

/// How much of the memory `/tmp` may take.
fn scratch(memory: Option<u64>) -> u64 {
    memory.map_or(512 << 20, |memory| (memory / 2).max(16 << 20))
}

fn read(path: impl Into<PathBuf>) -> Mount {
    let path = path.into();
    Mount::Read { source: path.clone(), target: path }
}

fn target(mount: &Mount) -> &Path {
    match mount {
        Mount::Read { target, .. } | Mount::Write { target, .. } | Mount::Link { target, .. } => target,
    }
}

/// Programs of this machine: the system's, those in the folders of `PATH` with what they need, and the managers' of toolchains.
fn machine(path: &[PathBuf], managers: &[PathBuf], home: Option<&Path>) -> Vec<Mount> {
    let mut shown: Vec<PathBuf> = Vec::new();
    let add = |path: PathBuf, shown: &mut Vec<PathBuf>| {
        if path.exists() && !shown.iter().any(|known| path.starts_with(known)) {
            shown.push(path);
        }
    };
    for path in MACHINE {
        add(PathBuf::from(path), &mut shown);
    }
    // Debian's Java reads its configuration here.
    for entry in children(Path::new("/etc")) {
        if entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with("java-")) {
            add(entry, &mut shown);
        }
    }
    let own = shown.len();
    for folder in path {
        if home.is_some_and(|home| home.starts_with(folder)) {
            // A home in `PATH` is not shown for the sake of the programs in it.
            continue;
        }
        let beside = folder.parent().filter(|root| is_toolchain(root, home)).map(Path::to_owned);
        add(folder.clone(), &mut shown);
        for name in beside.iter().flat_map(|root| BESIDE.iter().map(move |name| root.join(name))) {
            add(name, &mut shown);
        }
    }
    for name in managers.iter().flat_map(|root| MANAGED.iter().map(move |name| root.join(name))) {
        add(name, &mut shown);
    }
    let mut hidden = BTreeSet::new();
    let mut budget = ENTRIES;
    for folder in &shown[own..] {
        credentials(folder, DEPTH, &mut budget, &mut hidden);
    }
    credentials(Path::new("/usr/etc"), DEPTH, &mut budget, &mut hidden);
    credentials(Path::new("/usr/local/etc"), DEPTH, &mut budget, &mut hidden);
    // A folder of programs may stand in one that was shown for another's sake.
    let all = shown.clone();
    shown.retain(|path| !all.iter().any(|other| other != path && path.starts_with(other)));
    let empty = |target: PathBuf| Mount::Read { source: PathBuf::from("/dev/null"), target };
    shown.into_iter().map(link_or_read).chain(hidden.into_iter().map(empty)).collect()
}

/// A link that stays among what is shown (`/bin` to `usr/bin`) costs no mount.
fn link_or_read(path: PathBuf) -> Mount {
    match fs::read_link(&path) {
        Ok(to) if to.starts_with("usr") && path.parent() == Some(Path::new("/")) => Mount::Link { to, target: path },
        _ => read(path),
    }
}

/// A folder that holds a toolchain and nothing else; never a home, nor `.local`, which holds more than tools.
fn is_toolchain(root: &Path, home: Option<&Path>) -> bool {
    let parent = root.parent();
    let is_home = Some(root) == home || parent.is_none() || parent == Some(Path::new("/home")) || root == Path::new("/root");
    !is_home && root.file_name().is_some_and(|name| name != ".local")
}

fn credentials(folder: &Path, depth: usize, budget: &mut usize, found: &mut BTreeSet<PathBuf>) {
    for entry in children(folder) {
        let Some(left) = budget.checked_sub(1) else { return };
        *budget = left;
        let Ok(metadata) = entry.symlink_metadata() else { continue };
        if metadata.is_dir() && depth > 1 {
            credentials(&entry, depth - 1, budget, found);
        } else if metadata.is_file() && entry.file_name().is_some_and(|name| CREDENTIALS.iter().any(|known| name == *known)) {
            found.insert(entry);
        }
    }
}

/// What a real folder holds, in order; nothing when it is a link.
fn children(folder: &Path) -> Vec<PathBuf> {
    if folder.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
        return Vec::new();
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

/// Shows `source`, a file, folder or link of an image, at `place`. Where the machine shows something there already, both are shown, and
/// the image wins.
fn lay(place: &Path, source: &Path, mounts: &mut Vec<Mount>) -> Result<(), PortError> {
    if mounts.len() > PIECES {
        return Err(PortError::failed(format!(
            "the image puts files among the machine's own at `{}`, which the process runtime shares with handlers; copy to `/app` instead",
            place.display()
        )));
    }
    let kind = source.symlink_metadata().map_err(crate::executor::unusable)?.file_type();
    // A folder of the machine that holds this place is taken apart, so that there is room between its pieces.
    while let Some(at) = mounts.iter().position(|mount| target(mount) != place && place.starts_with(target(mount))) {
        if !take_apart(at, mounts) {
            return Err(PortError::failed(format!("the image needs a folder at `{}`, where this machine has a file", place.display())));
        }
    }
    let here = mounts.iter().position(|mount| target(mount) == place);
    let below = mounts.iter().any(|mount| target(mount) != place && target(mount).starts_with(place));
    if kind.is_dir() && (below || here.is_some()) {
        if let Some(at) = here
            && !take_apart(at, mounts)
        {
            mounts.remove(at);
        }
        for entry in children(source) {
            lay(&place.join(entry.file_name().unwrap_or_default()), &entry, mounts)?;
        }
        return Ok(());
    }
    mounts.retain(|mount| !target(mount).starts_with(place));
    mounts.push(if kind.is_symlink() {
        let to = fs::read_link(source).map_err(crate::executor::unusable)?;
        Mount::Link { to, target: place.to_owned() }
    } else {
        Mount::Read { source: source.to_owned(), target: place.to_owned() }
    });
    Ok(())
}

/// Replaces a mounted folder of the machine by its content; `false` when it is none.
fn take_apart(at: usize, mounts: &mut Vec<Mount>) -> bool {
    let Mount::Read { source, target } = &mounts[at] else { return false };
    // The machine's own links (`/bin` to `/usr/bin`) are followed here: what they lead to is what is shown.
    let Ok(source) = source.canonicalize() else { return false };
    if !source.is_dir() {
        return false;
    }
    let target = target.clone();
    let pieces: Vec<Mount> = children(&source)
        .into_iter()
        .filter_map(|entry| {
            let place = target.join(entry.file_name()?);
            match fs::read_link(&entry) {
                Ok(to) => Some(Mount::Link { to, target: place }),
                Err(_) => Some(Mount::Read { source: entry, target: place }),
            }
        })
        .collect();
    // What is mounted further inside already stays on top of its piece.
    mounts.splice(at..=at, pieces);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, name: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, name).expect("a written file");
    }

    /// What is seen at a place: the source of the last mount that covers it.
    fn seen(mounts: &[Mount], place: &Path) -> Option<PathBuf> {
        mounts.iter().rev().find_map(|mount| match mount {
            Mount::Read { source, target } | Mount::Write { source, target } => {
                let inside = place.strip_prefix(target).ok()?;
                Some(if inside.as_os_str().is_empty() { source.clone() } else { source.join(inside) })
            }
            Mount::Link { to, target } => (place == target).then(|| to.clone()),
        })
    }

    #[test]
    fn the_programs_of_a_home_are_shown_without_its_credentials() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = folder.path();
        for name in [
            ".cargo/bin/cargo",
            ".cargo/credentials.toml",
            ".cargo/config.toml",
            ".nvm/versions/node/v22/bin/node",
            ".nvm/versions/node/v22/lib/node_modules/npm/cli.js",
            ".nvm/versions/node/v22/lib/.npmrc",
            ".local/bin/tool",
            ".local/share/keyrings/login",
            ".pyenv/versions/3.13/bin/python",
            ".pyenv/versions/3.13/pip.conf",
            ".pyenv/.git/config",
            ".ssh/id_ed25519",
        ] {
            file(home, name);
        }
        let path = [".cargo/bin", ".nvm/versions/node/v22/bin", ".local/bin", "."].map(|name| home.join(name));
        let mounts = machine(&path, &[home.join(".pyenv")], Some(home));
        for shown in [
            ".cargo/bin/cargo",
            ".nvm/versions/node/v22/bin/node",
            ".nvm/versions/node/v22/lib/node_modules/npm/cli.js",
            ".local/bin/tool",
            ".pyenv/versions/3.13/bin/python",
        ] {
            assert_eq!(seen(&mounts, &home.join(shown)), Some(home.join(shown)));
        }
        for hidden in
            [".cargo/credentials.toml", ".cargo/config.toml", ".local/share/keyrings/login", ".pyenv/.git/config", ".ssh/id_ed25519"]
        {
            assert_eq!(seen(&mounts, &home.join(hidden)), None, "{hidden}");
        }
        for empty in [".nvm/versions/node/v22/lib/.npmrc", ".pyenv/versions/3.13/pip.conf"] {
            assert_eq!(seen(&mounts, &home.join(empty)), Some(PathBuf::from("/dev/null")), "{empty}");
        }
    }

    #[test]
    fn small_pieces_of_a_toolchain_are_one_mount_and_what_holds_credentials_or_much_is_not_among_them() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = folder.path();
        for name in [".pyenv/shims/python", ".pyenv/libexec/pyenv", ".pyenv/version", ".pyenv/plugins/.npmrc", ".rustup/settings.toml"] {
            file(home, name);
        }
        for number in 0..=SMALL_ENTRIES {
            file(home, &format!(".pyenv/versions/3.13/{number}"));
        }
        let mounts = machine(&[home.join(".pyenv/shims")], &[home.join(".pyenv"), home.join(".rustup")], Some(home));
        let before = mounts.len();
        let sandbox = Bubblewrap { program: PathBuf::from("bwrap"), machine: mounts, copies: Vec::new() };
        let data = tempfile::tempdir().expect("a temporary folder");
        let gathered = sandbox.gathered(data.path()).expect("copies").machine();
        let copied = seen(&gathered, &home.join(".pyenv/version")).expect("it is shown");
        assert!(copied.starts_with(data.path()), "{}", copied.display());
        assert_eq!(fs::read_to_string(copied).expect("a copy"), ".pyenv/version");
        for own in [".pyenv/versions/3.13/1", ".pyenv/plugins", ".rustup/settings.toml"] {
            assert_eq!(seen(&gathered, &home.join(own)), Some(home.join(own)), "{own} is mounted itself");
        }
        assert_eq!(seen(&gathered, &home.join(".pyenv/plugins/.npmrc")), Some(PathBuf::from("/dev/null")));
        assert!(gathered.len() < before, "{} mounts instead of {before}", gathered.len());

        // A data folder inside: nothing above it may become a mount.
        let sandbox =
            Bubblewrap { program: PathBuf::from("bwrap"), machine: machine(&[], &[home.join(".pyenv")], None), copies: Vec::new() };
        let inside = home.join(".pyenv/data/sandbox");
        fs::create_dir_all(&inside).expect("a folder");
        let gathered = sandbox.gathered(&inside).expect("copies").machine();
        assert_eq!(seen(&gathered, &home.join(".pyenv/version")), Some(home.join(".pyenv/version")));
    }

    #[test]
    fn an_image_is_laid_over_the_machine_and_its_links_are_not_followed_here() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (host, image) = (folder.path().join("host"), folder.path().join("image"));
        file(&host, "lib/python/os.py");
        file(&host, "lib/libc.so");
        file(&image, "lib/python/own.py");
        file(&image, "app/server.py");
        std::os::unix::fs::symlink("/root/.ssh", image.join("keys")).expect("a link");
        let mut mounts = vec![Mount::Read { source: host.clone(), target: PathBuf::from("/usr") }];
        lay(Path::new("/usr"), &image, &mut mounts).expect("it is laid");
        let place = |name: &str| seen(&mounts, &Path::new("/usr").join(name));
        assert_eq!(place("lib/python/os.py"), Some(host.join("lib/python/os.py")));
        assert_eq!(place("lib/libc.so"), Some(host.join("lib/libc.so")));
        assert_eq!(place("lib/python/own.py"), Some(image.join("lib/python/own.py")));
        assert_eq!(place("app/server.py"), Some(image.join("app/server.py")));
        assert_eq!(place("keys"), Some(PathBuf::from("/root/.ssh")), "as a link inside the sandbox");
        assert!(mounts.contains(&Mount::Link { to: PathBuf::from("/root/.ssh"), target: PathBuf::from("/usr/keys") }));
    }
}
