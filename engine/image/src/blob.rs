//! Blobs by content: written aside, synced, renamed; so a blob is whole or absent.
//! Invariant: whoever comes to depend on a blob makes it young while it holds the gate, and a sweep removes only what it finds old while it
//! has the gate alone; so nothing is swept away between a look and its use.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use hookwright_core::port::StoredBlob;
use hookwright_core::{Digest, PortError};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

/// What is younger is never swept: the row or manifest that names it may not be written yet.
pub(crate) const YOUNG: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub(crate) struct Blobs {
    folder: PathBuf,
    gate: Arc<RwLock<()>>,
}

/// A disk failure as a port error.
pub(crate) fn disk(doing: &str, error: std::io::Error) -> PortError {
    PortError::errored(format!("cannot {doing}")).because(error)
}

impl Blobs {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, PortError> {
        std::fs::create_dir_all(&folder).map_err(|error| disk("create the folder for blobs", error))?;
        Ok(Self { folder, gate: Arc::default() })
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// As long as the value lives, no sweep removes anything. It must not be asked for again by who has it.
    pub(crate) fn hold(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The length of a blob, which is young from now on. The caller holds the gate.
    pub(crate) fn renew(&self, digest: &Digest) -> std::io::Result<Option<u64>> {
        let path = self.path(digest);
        if renew(&path)? { Ok(Some(std::fs::metadata(path)?.len())) } else { Ok(None) }
    }

    /// Reads a blob that is a document, never more than `limit` bytes.
    pub(crate) fn read_document(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, PortError> {
        let file = match File::open(self.path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(PortError::failed(format!("`{digest}` is not in the registry")));
            }
            Err(error) => return Err(disk("read a blob", error)),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| disk("read a blob", error))?;
        if bytes.len() as u64 > limit {
            return Err(PortError::failed(format!("`{digest}` has more than {limit} bytes, which is too long for a document of an image")));
        }
        Ok(bytes)
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> Result<StoredBlob, PortError> {
        let mut writer = self.writer()?;
        writer.write_all(bytes).map_err(|error| disk("write a blob", error))?;
        writer.finish()
    }

    /// A writer whose content becomes a blob when it is finished.
    pub(crate) fn writer(&self) -> Result<BlobWriter, PortError> {
        let file = NamedTempFile::new_in(&self.folder).map_err(|error| disk("write a blob", error))?;
        Ok(BlobWriter { file: BufWriter::new(file), hash: Sha256::new(), size: 0, blobs: self.clone() })
    }

    /// Makes a file that was synced the blob of its digest. A blob that is there already is replaced by itself and so is young again.
    pub(crate) fn adopt(&self, digest: &Digest, rename: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
        let _held = self.hold();
        rename(&self.path(digest))?;
        sync_folder(&self.folder)
    }

    /// Removes old blobs that are not kept, and what a crash left half written; returns the bytes freed.
    pub(crate) fn sweep(&self, keep: &HashSet<Digest>) -> Result<u64, PortError> {
        Ok(self.unkept(keep)?.iter().map(|path| self.remove_old(path).unwrap_or_default()).sum())
    }

    fn unkept(&self, keep: &HashSet<Digest>) -> Result<Vec<PathBuf>, PortError> {
        let mut unkept = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(|error| disk("list the blobs", error))? {
            let entry = entry.map_err(|error| disk("list the blobs", error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !format!("sha256:{name}").parse::<Digest>().is_ok_and(|digest| keep.contains(&digest)) {
                unkept.push(entry.path());
            }
        }
        Ok(unkept)
    }

    /// Removes a file of the registry if it is old at this very moment; its length, or `None` when it stays.
    pub(crate) fn remove_old(&self, path: &Path) -> Option<u64> {
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let metadata = std::fs::symlink_metadata(path).ok()?;
        (is_old(&metadata) && std::fs::remove_file(path).is_ok()).then_some(metadata.len())
    }
}

/// Whether nobody has renewed a file for so long that it may be swept.
pub(crate) fn is_old(metadata: &std::fs::Metadata) -> bool {
    metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > YOUNG)
}

/// Whether a file will soon be old.
pub(crate) fn is_ageing(metadata: &std::fs::Metadata) -> bool {
    metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok()).is_none_or(|age| age > YOUNG / 2)
}

/// Makes a file young for half the time at least; whether it is there.
pub(crate) fn renew(path: &Path) -> std::io::Result<bool> {
    match File::open(path) {
        Ok(file) if is_ageing(&file.metadata()?) => file.set_modified(SystemTime::now()).map(|()| true),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Content on its way to become a blob; dropped unfinished it leaves nothing.
pub(crate) struct BlobWriter {
    file: BufWriter<NamedTempFile>,
    hash: Sha256,
    size: u64,
    blobs: Blobs,
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl BlobWriter {
    pub(crate) fn finish(self) -> Result<StoredBlob, PortError> {
        let digest = Digest::from_bytes(self.hash.finalize().into());
        let store = || -> std::io::Result<()> {
            let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            self.blobs.adopt(&digest, |place| file.persist(place).map(drop).map_err(|error| error.error))
        };
        store().map_err(|error| disk("store a blob", error))?;
        Ok(StoredBlob { digest, size: self.size })
    }
}

/// Makes renames in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(path: &Path) {
        File::open(path).and_then(|file| file.set_modified(SystemTime::now() - 2 * YOUNG)).expect("aged");
    }

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::open(folder.path().to_owned()).expect("opened");
        (folder, blobs)
    }

    #[test]
    fn a_blob_stored_again_is_young_again_and_survives_a_sweep() {
        let (_folder, blobs) = blobs();
        let stored = blobs.put(b"content").expect("stored");
        age(&blobs.path(&stored.digest));
        blobs.put(b"content").expect("stored again");
        blobs.sweep(&HashSet::new()).expect("swept");
        assert_eq!(blobs.read_document(&stored.digest, 100).expect("kept"), b"content");
        age(&blobs.path(&stored.digest));
        assert_eq!(blobs.sweep(&HashSet::new()).expect("swept"), 7);
        assert!(blobs.read_document(&stored.digest, 100).is_err(), "an old blob that nobody names is removed");
    }

    #[test]
    fn a_blob_stored_again_while_a_sweep_runs_is_not_taken() {
        let (_folder, blobs) = blobs();
        let (one, two) = (blobs.put(b"one").expect("stored"), blobs.put(b"two").expect("stored"));
        age(&blobs.path(&one.digest));
        age(&blobs.path(&two.digest));
        let unkept = blobs.unkept(&HashSet::new()).expect("listed");
        assert_eq!(unkept.len(), 2, "the sweep means to remove both");

        blobs.put(b"one").expect("stored again");
        blobs.renew(&two.digest).expect("renewed");

        assert!(unkept.iter().all(|path| blobs.remove_old(path).is_none()));
        assert!(blobs.path(&one.digest).exists() && blobs.path(&two.digest).exists());
    }

    #[test]
    fn a_sweep_waits_for_who_holds_the_gate() {
        let (_folder, blobs) = blobs();
        let stored = blobs.put(b"content").expect("stored");
        age(&blobs.path(&stored.digest));
        let held = blobs.hold();
        let sweeper = std::thread::spawn({
            let blobs = blobs.clone();
            move || blobs.sweep(&HashSet::new()).expect("swept")
        });
        assert_eq!(blobs.renew(&stored.digest).expect("renewed"), Some(7));
        drop(held);
        assert_eq!(sweeper.join().expect("the sweep ends"), 0);
    }

    #[test]
    fn what_a_crash_left_half_written_is_no_blob_and_is_swept_when_it_is_old() {
        let (folder, blobs) = blobs();
        let mut writer = blobs.writer().expect("a writer");
        writer.write_all(b"half a bl").expect("written");
        writer.flush().expect("flushed");
        // A crash runs no destructors.
        std::mem::forget(writer);
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("listed").flatten().map(|entry| entry.path()).collect();
        assert_eq!(left.len(), 1);
        assert!(blobs.read_document(&Digest::of(b"half a bl"), 100).is_err());

        assert_eq!(blobs.sweep(&HashSet::new()).expect("swept"), 0, "it may be somebody's who is writing");
        age(&left[0]);
        assert_eq!(blobs.sweep(&HashSet::new()).expect("swept"), 9);
        assert!(!left[0].exists());
    }

    #[test]
    fn a_document_that_is_too_long_is_not_read_into_memory() {
        let (_folder, blobs) = blobs();
        let stored = blobs.put(b"content").expect("stored");
        let refused = blobs.read_document(&stored.digest, 6).expect_err("too long");
        assert!(refused.message.contains("more than 6 bytes"), "{refused}");
    }
}
