//! One folder with copies of what sandboxes see of a folder of the machine in many small pieces, such as `/etc`, so that it takes one mount instead of two
//! dozen: each costs the kernel time when a sandbox begins and again when it ends.
//! Invariant: only what is named is copied, and a change of it is there before the next sandbox starts, at most [`FRESH`] late.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::supervised::{remove_tree, write_aside};

/// The originals are looked at again after this time.
const FRESH: Duration = Duration::from_secs(1);
/// What is being made beside the folder that is bound, and what the copies were made of.
const ASIDE: &str = "aside";
const STAMPS: &str = "stamps.json";

/// The copies and what they were made of.
#[derive(Debug)]
pub(crate) struct Copies {
    folder: PathBuf,
    /// The folder of the machine that they are shown as.
    root: PathBuf,
    /// Full paths below it.
    originals: Vec<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    looked: Instant,
    /// Of each original that was found.
    stamps: BTreeMap<PathBuf, u64>,
}

impl Copies {
    /// Copies `originals`, whole paths below `root`, into `folder`, and makes room for `others`, which are folders mounted among them. What an earlier daemon
    /// copied there is kept as far as it is true: handlers that outlived it show that very folder.
    pub(crate) fn new(folder: &Path, root: &Path, originals: Vec<PathBuf>, others: &[PathBuf]) -> io::Result<Self> {
        // Without a list that can be read everything is copied again.
        let stamps = fs::read(folder.join(STAMPS)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let state = Mutex::new(State { looked: Instant::now(), stamps });
        let copies = Self { folder: folder.to_owned(), root: root.to_owned(), originals, state };
        fs::create_dir_all(copies.place())?;
        for other in others.iter().filter_map(|other| other.strip_prefix(root).ok()) {
            fs::create_dir_all(copies.place().join(other))?;
        }
        copies.renew(&mut copies.state.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(copies)
    }

    /// Where the copies stand: a folder of the same name.
    fn place(&self) -> PathBuf {
        self.folder.join(self.root.file_name().unwrap_or_default())
    }

    /// What they are shown as.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder to show, up to date. Sandboxes that run see what is exchanged in it too.
    pub(crate) fn shown(&self) -> PathBuf {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= FRESH {
            if let Err(error) = self.renew(&mut state) {
                tracing::warn!(folder = %self.folder.display(), %error, "sandboxes go on with older copies of `{}`", self.root.display());
            }
            state.looked = Instant::now();
        }
        self.place()
    }

    fn renew(&self, state: &mut State) -> io::Result<()> {
        let now: BTreeMap<PathBuf, u64> =
            self.originals.iter().filter(|path| fs::metadata(path).is_ok()).map(|path| (path.clone(), stamp(path))).collect();
        let changed: BTreeSet<PathBuf> =
            state.stamps.keys().chain(now.keys()).filter(|path| state.stamps.get(*path) != now.get(*path)).cloned().collect();
        if changed.is_empty() {
            return Ok(());
        }
        for path in &changed {
            let Ok(place) = path.strip_prefix(&self.root) else { continue };
            self.exchange(path, &self.place().join(place), now.contains_key(path))?;
        }
        state.stamps = now;
        write_aside(&self.folder, STAMPS, &serde_json::to_vec(&state.stamps)?)
    }

    /// Puts a fresh copy in the place of the old one at one moment; what is gone is taken away.
    fn exchange(&self, original: &Path, place: &Path, is_there: bool) -> io::Result<()> {
        let aside = self.folder.join(ASIDE);
        clear(&aside)?;
        if !is_there {
            return match fs::rename(place, &aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => clear(&aside),
            };
        }
        if let Some(above) = place.parent() {
            fs::create_dir_all(above)?;
        }
        // A link to a file elsewhere (`resolv.conf`) is what it leads to.
        copy_tree(&original.canonicalize()?, &aside)?;
        match place.symlink_metadata() {
            Ok(_) => renameat2(AT_FDCWD, &aside, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE)?,
            Err(_) => fs::rename(&aside, place)?,
        }
        clear(&aside)
    }
}

/// Removes what is there, a file or a folder.
fn clear(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Copies a file, or a folder with what is in it: links as they are, nothing that is neither.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if metadata.is_file() {
        return match fs::copy(from, to) {
            // What this user may not read, a sandbox may not either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other.map(|_| ()),
        };
    }
    if metadata.is_dir() {
        let entries = match fs::read_dir(from) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            entries => entries?,
        };
        fs::create_dir(to)?;
        for entry in entries {
            let name = entry?.file_name();
            copy_tree(&from.join(&name), &to.join(&name))?;
        }
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.permissions().mode() | 0o700))?;
    }
    Ok(())
}

/// A number that is another one after a change of the file, or of anything in the folder.
fn stamp(path: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    let mut open = vec![path.to_owned()];
    while let Some(next) = open.pop() {
        // The first is followed where it leads; what disappears meanwhile is another state too.
        let metadata = if next == path { fs::metadata(&next) } else { next.symlink_metadata() };
        let Ok(metadata) = metadata else { continue };
        (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec(), metadata.mode()).hash(&mut hasher);
        if metadata.is_dir() {
            let mut entries: Vec<PathBuf> = fs::read_dir(&next).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            entries.sort();
            open.extend(entries);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds_pass(etc: &Copies) {
        let mut state = etc.state.lock().expect("no thread panicked");
        state.looked = Instant::now().checked_sub(2 * FRESH).expect("a machine that runs for a while");
    }

    #[test]
    fn what_is_named_is_copied_with_its_links_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let originals = vec![PathBuf::from("/etc/passwd"), PathBuf::from("/etc/alternatives"), PathBuf::from("/etc/not-there")];
        let etc = Copies::new(folder.path(), Path::new("/etc"), originals, &[]).expect("it is copied");
        let shown = etc.shown();
        assert_eq!(fs::read(shown.join("passwd")).expect("a copy"), fs::read("/etc/passwd").expect("the original"));
        let mut names: Vec<_> = fs::read_dir(&shown).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["alternatives", "passwd"]);
        let link = fs::read_dir("/etc/alternatives").expect("a folder").find_map(|entry| {
            let entry = entry.expect("an entry");
            Some((entry.file_name(), fs::read_link(entry.path()).ok()?))
        });
        if let Some((name, to)) = link {
            assert_eq!(fs::read_link(shown.join("alternatives").join(name)).expect("a link"), to);
        }
    }

    #[test]
    fn a_change_of_the_machine_is_seen_by_sandboxes_that_run_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let machine = tempfile::tempdir_in("/etc");
        let Ok(machine) = machine else {
            eprintln!("LEFT OUT: changes of `/etc`, which only root may make");
            return;
        };
        let (file, nested) = (machine.path().join("file"), machine.path().join("folder"));
        fs::create_dir(&nested).expect("a folder");
        fs::write(&file, "before").expect("a file");
        fs::write(nested.join("inside"), "before").expect("a file");
        let etc = Copies::new(folder.path(), Path::new("/etc"), vec![file.clone(), nested.clone()], &[]).expect("it is copied");
        let copied = |path: &Path| etc.place().join(path.strip_prefix("/etc").expect("below /etc"));
        // What a sandbox has bound stays this very folder.
        let bound = fs::metadata(etc.shown()).expect("a folder").ino();

        fs::write(&file, "changed").expect("a file");
        fs::write(nested.join("inside"), "changed too").expect("a file");
        seconds_pass(&etc);
        etc.shown();
        assert_eq!(fs::read_to_string(copied(&file)).expect("a copy"), "changed");
        assert_eq!(fs::read_to_string(copied(&nested).join("inside")).expect("a copy"), "changed too");

        fs::remove_file(&file).expect("it is removed");
        seconds_pass(&etc);
        assert_eq!(fs::metadata(etc.shown()).expect("a folder").ino(), bound);
        assert!(!copied(&file).exists(), "what is gone there is gone here");

        fs::write(nested.join("inside"), "while no daemon ran").expect("a file");
        let next = Copies::new(folder.path(), Path::new("/etc"), vec![nested.clone()], &[]).expect("it is taken over");
        assert_eq!(fs::metadata(next.shown()).expect("a folder").ino(), bound, "handlers that outlived the daemon show it");
        assert_eq!(fs::read_to_string(copied(&nested).join("inside")).expect("a copy"), "while no daemon ran");
    }
}
