//! Blobs by content: written aside, synced, renamed; so a blob is whole or absent.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hookwright_core::port::StoredBlob;
use hookwright_core::{Digest, PortError};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

/// Younger blobs are never swept: their row may not be written yet.
const YOUNG: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub(crate) struct Blobs {
    folder: PathBuf,
}

/// A disk failure as a port error.
pub(crate) fn disk(doing: &str, error: std::io::Error) -> PortError {
    PortError::errored(format!("cannot {doing}")).because(error)
}

impl Blobs {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, PortError> {
        std::fs::create_dir_all(&folder).map_err(|error| disk("create the folder for blobs", error))?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    pub(crate) fn read(&self, digest: &Digest) -> Result<Vec<u8>, PortError> {
        match std::fs::read(self.path(digest)) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(PortError::failed(format!("`{digest}` is not in the registry")))
            }
            Err(error) => Err(disk("read a blob", error)),
        }
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> Result<StoredBlob, PortError> {
        let mut writer = self.writer()?;
        writer.write_all(bytes).map_err(|error| disk("write a blob", error))?;
        writer.finish()
    }

    /// A writer whose content becomes a blob when it is finished.
    pub(crate) fn writer(&self) -> Result<BlobWriter, PortError> {
        let file = NamedTempFile::new_in(&self.folder).map_err(|error| disk("write a blob", error))?;
        Ok(BlobWriter { file: BufWriter::new(file), hash: Sha256::new(), size: 0, folder: self.folder.clone() })
    }

    pub(crate) fn sweep(&self, keep: &HashSet<Digest>) -> Result<u64, PortError> {
        let mut freed = 0;
        for entry in std::fs::read_dir(&self.folder).map_err(|error| disk("list the blobs", error))? {
            let entry = entry.map_err(|error| disk("list the blobs", error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kept = format!("sha256:{name}").parse::<Digest>().is_ok_and(|digest| keep.contains(&digest));
            let Ok(metadata) = entry.metadata() else { continue };
            let old = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > YOUNG);
            if !kept && old && std::fs::remove_file(entry.path()).is_ok() {
                freed += metadata.len();
            }
        }
        Ok(freed)
    }
}

/// Content on its way to become a blob; dropped unfinished it leaves nothing.
pub(crate) struct BlobWriter {
    file: BufWriter<NamedTempFile>,
    hash: Sha256,
    size: u64,
    folder: PathBuf,
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
            let place = self.folder.join(digest.hex());
            // A blob that is there already is replaced by itself: that makes it young again, so that no sweep takes it from
            // whoever has just stored it.
            file.as_file().sync_all()?;
            file.persist(&place).map_err(|error| error.error)?;
            sync_folder(&self.folder)
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

    #[test]
    fn a_blob_stored_again_is_young_again_and_survives_a_sweep() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::open(folder.path().to_owned()).expect("opened");
        let stored = blobs.put(b"content").expect("stored");
        let old = SystemTime::now() - 2 * YOUNG;
        let age = || File::options().write(true).open(blobs.path(&stored.digest)).and_then(|file| file.set_modified(old)).expect("aged");
        age();
        blobs.put(b"content").expect("stored again");
        blobs.sweep(&HashSet::new()).expect("swept");
        assert_eq!(blobs.read(&stored.digest).expect("kept"), b"content");
        age();
        blobs.sweep(&HashSet::new()).expect("swept");
        assert!(blobs.read(&stored.digest).is_err(), "an old blob that nobody names is removed");
    }
}
