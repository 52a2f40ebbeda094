//! Uploads: bytes on their way to become blobs, hashed as they are written. Layout: `<repository>/<upload id>`, a beginning of the bytes.
//! Invariant: one request at a time writes to an upload, and what was hashed is what lies on disk; when that is not sure (after a
//! restart, a full disk), the file is read again before anything is added.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use hookwright_core::port::{RegistryError, StoredBlob, Upload, UploadChunk};
use hookwright_core::{Digest, PortError, WebhookName};
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::artifact::aside;
use crate::blob::{Blobs, disk, is_old};

/// So many bytes are gathered before they are hashed and written in one go.
const BUFFER: usize = 1 << 20;

/// An upload's file and the hash of what it holds.
struct Progress {
    file: File,
    hash: Sha256,
    size: u64,
}

/// Whoever has locked it writes; `None` until the file was read.
type Slot = Arc<tokio::sync::Mutex<Option<Progress>>>;
type Writing = OwnedMutexGuard<Option<Progress>>;

#[derive(Clone)]
pub(crate) struct Uploads {
    folder: PathBuf,
    blobs: Blobs,
    slots: Arc<Mutex<HashMap<Upload, Slot>>>,
}

impl Uploads {
    pub(crate) fn open(folder: PathBuf, blobs: Blobs) -> Result<Self, PortError> {
        std::fs::create_dir_all(&folder).map_err(|error| disk("create the folder for uploads", error))?;
        Ok(Self { folder, blobs, slots: Arc::default() })
    }

    fn path(&self, upload: &Upload) -> PathBuf {
        self.folder.join(upload.repository.as_str()).join(upload.id.to_string())
    }

    /// Begins an upload if fewer than `limit` are open in the repository.
    pub(crate) fn begin(&self, upload: &Upload, limit: usize) -> Result<(), RegistryError> {
        let (path, folder) = (self.path(upload), self.folder.join(upload.repository.as_str()));
        let count = || -> std::io::Result<usize> {
            std::fs::create_dir_all(&folder)?;
            Ok(std::fs::read_dir(&folder)?.count())
        };
        if count().map_err(|error| disk("begin an upload", error))? >= limit {
            return Err(RegistryError::UploadsExhausted { limit });
        }
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        created.map(drop).map_err(|error| disk("begin an upload", error).into())
    }

    pub(crate) fn size(&self, upload: &Upload) -> Result<u64, RegistryError> {
        match std::fs::metadata(self.path(upload)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(RegistryError::UploadUnknown),
            Err(error) => Err(disk("read an upload", error).into()),
        }
    }

    /// The upload for one writer.
    fn lock(&self, upload: &Upload) -> Result<Writing, RegistryError> {
        self.size(upload)?;
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(upload.clone()).or_default().clone();
        slot.try_lock_owned().map_err(|_| RegistryError::UploadBusy)
    }

    fn forget(&self, upload: &Upload) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(upload);
    }

    /// The upload for one writer, with the hash of what came before.
    async fn resume(&self, upload: &Upload) -> Result<Writing, RegistryError> {
        let (mut writing, path) = (self.lock(upload)?, self.path(upload));
        if writing.is_some() {
            return Ok(writing);
        }
        let resumed = aside(move || {
            *writing = read_again(&path).map_err(|error| disk("read an upload", error))?;
            Ok(writing)
        })
        .await?;
        if resumed.is_none() {
            self.forget(upload);
            return Err(RegistryError::UploadUnknown);
        }
        Ok(resumed)
    }

    /// Adds a chunk; returns how many bytes there are. More than `limit` in all end the upload.
    pub(crate) async fn append(&self, upload: &Upload, mut chunk: UploadChunk, limit: u64) -> Result<u64, RegistryError> {
        let mut writing = self.resume(upload).await?;
        let before = size_of(&writing);
        if chunk.at.is_some_and(|at| at != before) {
            return Err(RegistryError::UploadRange { size: before });
        }
        if chunk.length.is_some_and(|length| before.saturating_add(length) > limit) {
            self.remove(upload, writing)?;
            return Err(RegistryError::TooLarge { what: "a blob", limit });
        }
        let (mut buffer, mut came) = (Vec::new(), 0);
        let mut interrupted = false;
        while let Some(bytes) = chunk.body.next().await {
            let Ok(bytes) = bytes else {
                interrupted = true;
                break;
            };
            came += bytes.len() as u64;
            if before + came > limit {
                self.remove(upload, writing)?;
                return Err(RegistryError::TooLarge { what: "a blob", limit });
            }
            buffer.extend_from_slice(&bytes);
            if buffer.len() >= BUFFER {
                (writing, buffer) = write(writing, buffer).await?;
            }
        }
        if let Some(expected) = chunk.length.filter(|expected| *expected != came && !interrupted) {
            self.roll_back(writing, before)?;
            return Err(RegistryError::ChunkLength { expected, found: came });
        }
        (writing, _) = write(writing, buffer).await?;
        if interrupted { Err(RegistryError::Interrupted) } else { Ok(size_of(&writing)) }
    }

    fn roll_back(&self, mut writing: Writing, size: u64) -> Result<(), RegistryError> {
        let Some(progress) = writing.take() else { return Ok(()) };
        progress.file.set_len(size).map_err(|error| disk("shorten an upload", error).into())
    }

    fn remove(&self, upload: &Upload, mut writing: Writing) -> Result<(), RegistryError> {
        *writing = None;
        let removed = std::fs::remove_file(self.path(upload));
        self.forget(upload);
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(disk("remove an upload", error).into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn cancel(&self, upload: &Upload) -> Result<(), RegistryError> {
        let writing = self.lock(upload)?;
        self.remove(upload, writing)
    }

    /// Makes the upload a blob, if it has this digest; else it is removed.
    pub(crate) async fn finish(&self, upload: &Upload, expected: &Digest) -> Result<StoredBlob, RegistryError> {
        let mut writing = self.resume(upload).await?;
        let Some(progress) = writing.take() else { return Err(RegistryError::UploadUnknown) };
        let found = Digest::from_bytes(progress.hash.finalize().into());
        if found != *expected {
            self.remove(upload, writing)?;
            return Err(RegistryError::DigestMismatch { expected: *expected, found });
        }
        let (path, blobs, size) = (self.path(upload), self.blobs.clone(), progress.size);
        let writing = aside(move || {
            let store = || -> std::io::Result<()> {
                progress.file.set_modified(std::time::SystemTime::now())?;
                progress.file.sync_all()?;
                blobs.adopt(&found, |place| std::fs::rename(&path, place))
            };
            store().map_err(|error| disk("store a blob", error))?;
            Ok(writing)
        })
        .await?;
        self.forget(upload);
        drop(writing);
        Ok(StoredBlob { digest: found, size })
    }

    /// Removes uploads to which nobody has added anything for an hour.
    pub(crate) fn sweep(&self) -> Result<(), PortError> {
        let listed = |folder: &Path| -> Result<Vec<PathBuf>, PortError> {
            let entries = std::fs::read_dir(folder).map_err(|error| disk("list the uploads", error))?;
            Ok(entries.flatten().map(|entry| entry.path()).collect())
        };
        for folder in listed(&self.folder)? {
            let Some(repository) = folder.file_name().and_then(|name| name.to_str()?.parse::<WebhookName>().ok()) else { continue };
            for path in listed(&folder)? {
                let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
                let upload = Upload { repository: repository.clone(), id };
                let Ok(writing) = self.lock(&upload) else { continue };
                if std::fs::metadata(&path).is_ok_and(|metadata| is_old(&metadata)) {
                    // What cannot be removed now is tried again at the next sweep.
                    let _ = self.remove(&upload, writing);
                }
            }
        }
        Ok(())
    }
}

fn size_of(writing: &Writing) -> u64 {
    writing.as_ref().map_or(0, |progress| progress.size)
}

/// Hashes and writes aside. The lock goes along, so that it is held until the bytes are written even if nobody waits for them any more.
async fn write(mut writing: Writing, mut buffer: Vec<u8>) -> Result<(Writing, Vec<u8>), RegistryError> {
    let written = aside(move || {
        if let Some(progress) = writing.as_mut() {
            if let Err(error) = progress.file.write_all(&buffer) {
                *writing = None;
                return Err(disk("write an upload", error));
            }
            progress.hash.update(&buffer);
            progress.size += buffer.len() as u64;
        }
        buffer.clear();
        Ok((writing, buffer))
    });
    Ok(written.await?)
}

/// Opens an upload for more bytes and hashes what is there; `None` when it is gone.
fn read_again(path: &Path) -> std::io::Result<Option<Progress>> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
    file.seek(SeekFrom::Start(size))?;
    Ok(Some(Progress { file, hash, size }))
}
