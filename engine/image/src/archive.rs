//! Deterministic archives: sorted entries, no times, no owners, plain modes. Identical files give identical bytes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use flate2::{Compression, GzBuilder, read::GzDecoder};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use hookwright_core::PortError;
use tar::{Archive, Builder, EntryType, Header};

use crate::RegistryLimits;
use crate::blob::disk;
use crate::link::Links;

/// What the globs match below a root: a glob names files, the name of a folder means everything below it.
pub(crate) fn glob_set(globs: &[String]) -> Result<GlobSet, PortError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let bare = glob.trim_start_matches("./").trim_end_matches('/');
        for pattern in [bare.to_owned(), format!("{bare}/**")] {
            let built = GlobBuilder::new(&pattern).literal_separator(true).build();
            set.add(built.map_err(|error| PortError::failed(format!("`{glob}` is not a glob: {}", error.kind())))?);
        }
    }
    set.build().map_err(|error| PortError::failed("the globs are too large together").because(error))
}

/// What lies below a folder.
pub(crate) struct Listing {
    /// Every file and link, as sorted relative paths.
    pub(crate) files: Vec<PathBuf>,
    /// What the links say.
    pub(crate) links: Links,
}

/// Every file and link below `root`; links are not followed.
pub(crate) fn list(root: &Path) -> Result<Listing, PortError> {
    let failed = |error| disk("read the workspace", error);
    let (mut files, mut links) = (Vec::new(), Links::new());
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                links.insert(path.clone(), std::fs::read_link(entry.path()).map_err(failed)?);
                files.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(Listing { files, links })
}

/// Writes a `tar.gz` of `entries` (place in the archive → file) into `into`. The caller has checked where links lead.
pub(crate) fn write<W: Write>(entries: &BTreeMap<PathBuf, PathBuf>, into: W) -> Result<W, PortError> {
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(into, Compression::new(6));
    let mut builder = Builder::new(gzip);
    let mut folders = std::collections::BTreeSet::new();
    for (place, file) in entries {
        for parent in place.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect::<Vec<_>>().into_iter().rev() {
            if folders.insert(parent.to_owned()) {
                let mut header = header(EntryType::Directory, 0, 0o755);
                append(&mut builder, &mut header, &parent.join(""), std::io::empty())?;
            }
        }
        let metadata = std::fs::symlink_metadata(file).map_err(|error| disk("read a file of the workspace", error))?;
        if metadata.is_symlink() {
            let target = std::fs::read_link(file).map_err(|error| disk("read a link", error))?;
            let mut header = header(EntryType::Symlink, 0, 0o777);
            builder.append_link(&mut header, place, &target).map_err(|error| disk("write an archive", error))?;
        } else {
            let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            let mut header = header(EntryType::Regular, metadata.len(), mode);
            let content = File::open(file).map_err(|error| disk("read a file of the workspace", error))?;
            append(&mut builder, &mut header, place, content.take(metadata.len()))?;
        }
    }
    let finish = || builder.into_inner()?.finish();
    finish().map_err(|error| disk("write an archive", error))
}

fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append<W: Write>(builder: &mut Builder<W>, header: &mut Header, place: &Path, content: impl Read) -> Result<(), PortError> {
    builder.append_data(header, place, content).map_err(|error| disk("write an archive", error))
}

/// What entries whose names begin with `.wh.` are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whiteouts {
    /// Marks of an image's layer: they remove what lower layers brought.
    Remove,
    /// Files of a stage like all others.
    Plain,
}

/// How much was unpacked and how much may be; one for all layers of an image.
pub(crate) struct Budget {
    what: &'static str,
    limits: RegistryLimits,
    bytes: Cell<u64>,
    entries: Cell<u64>,
}

impl Budget {
    /// `what` is what people call it: `the image`.
    pub(crate) fn new(what: &'static str, limits: RegistryLimits) -> Self {
        Self { what, limits, bytes: Cell::new(0), entries: Cell::new(0) }
    }

    fn count_entry(&self) -> Result<(), PortError> {
        self.entries.set(self.entries.get() + 1);
        let limit = self.limits.entries;
        if self.entries.get() <= limit {
            return Ok(());
        }
        Err(PortError::failed(format!(
            "{} holds more than {limit} files, folders and links, which is the limit; leave some out",
            self.what
        )))
    }

    /// What a failure means: that the budget is used up, or something else.
    fn failure(&self, doing: &str, error: std::io::Error) -> PortError {
        let limit = self.limits.unpacked;
        if self.bytes.get() <= limit {
            return disk(doing, error);
        }
        PortError::failed(format!("{} unpacks to more than {limit} bytes, which is the limit; leave some files out", self.what))
    }
}

/// Counts what is read, and fails when that is more than the budget.
struct Counted<'a, R> {
    inner: R,
    budget: &'a Budget,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let bytes = &self.budget.bytes;
        bytes.set(bytes.get().saturating_add(read as u64));
        if bytes.get() > self.budget.limits.unpacked { Err(std::io::Error::other("the limit is reached")) } else { Ok(read) }
    }
}

/// Unpacks a `tar.gz` below `root`. Entries that would leave it, also through a link, are refused, and more than the budget has left.
pub(crate) fn unpack(archive: impl Read, root: &Path, whiteouts: Whiteouts, budget: &Budget) -> Result<(), PortError> {
    let mut archive = Archive::new(Counted { inner: GzDecoder::new(archive), budget });
    archive.set_preserve_permissions(true);
    archive.set_overwrite(true);
    let unreadable = |error| budget.failure("read an archive", error);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        budget.count_entry()?;
        let path = entry.path().map_err(unreadable)?.into_owned();
        let refused = || PortError::failed(format!("the archive holds `{}`, which leads out of its folder", path.display()));
        if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(refused());
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(hidden) = name.strip_prefix(".wh.").filter(|_| whiteouts == Whiteouts::Remove) {
            remove(root, &path, hidden)?;
            continue;
        }
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::Link => {}
            _ => return Err(PortError::failed(format!("the archive holds `{}`, which is no file, folder or link", path.display()))),
        }
        if !entry.unpack_in(root).map_err(|error| budget.failure("unpack an archive", error))? {
            return Err(refused());
        }
    }
    Ok(())
}

/// An OCI whiteout: `.wh.name` removes `name`, `.wh..wh..opq` empties the folder.
fn remove(root: &Path, path: &Path, hidden: &str) -> Result<(), PortError> {
    let folder = root.join(path.parent().unwrap_or(Path::new("")));
    let inside = folder.canonicalize().is_ok_and(|folder| root.canonicalize().is_ok_and(|root| folder.starts_with(root)));
    if !inside || hidden.contains('/') {
        return Ok(());
    }
    let victims: Vec<PathBuf> = if hidden == ".wh..opq" {
        std::fs::read_dir(&folder).map_err(|error| disk("unpack an archive", error))?.flatten().map(|entry| entry.path()).collect()
    } else {
        vec![folder.join(hidden)]
    };
    for victim in victims {
        let Ok(metadata) = std::fs::symlink_metadata(&victim) else { continue };
        let removed = if metadata.is_dir() { std::fs::remove_dir_all(&victim) } else { std::fs::remove_file(&victim) };
        removed.map_err(|error| disk("unpack an archive", error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(root: &Path) -> Vec<u8> {
        let entries = list(root).expect("listed").files.into_iter().map(|path| (path.clone(), root.join(path))).collect();
        write(&entries, Vec::new()).expect("packed")
    }

    #[test]
    fn identical_files_give_identical_bytes_whatever_their_times_and_order() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        for (root, order) in [(one.path(), ["a/x", "b"]), (two.path(), ["b", "a/x"])] {
            for name in order {
                std::fs::create_dir_all(root.join(name).parent().expect("a parent")).expect("folders");
                std::fs::write(root.join(name), name).expect("a file");
            }
        }
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
        File::open(two.path().join("b")).expect("a file").set_modified(old).expect("a changed time");
        assert_eq!(packed(one.path()), packed(two.path()));
    }

    #[test]
    fn an_archive_cannot_write_through_its_own_link() {
        let (root, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let mut builder = Builder::new(GzBuilder::new().write(Vec::new(), Compression::fast()));
        let mut link = header(EntryType::Symlink, 0, 0o777);
        builder.append_link(&mut link, "x", outside.path()).expect("a link");
        let mut file = header(EntryType::Regular, 2, 0o644);
        builder.append_data(&mut file, "x/evil", &b"hi"[..]).expect("a file");
        let bytes = builder.into_inner().and_then(|gzip| gzip.finish()).expect("an archive");
        assert!(unpack(&bytes[..], root.path(), Whiteouts::Plain, &Budget::new("it", RegistryLimits::default())).is_err());
        assert!(!outside.path().join("evil").exists());
    }
}
