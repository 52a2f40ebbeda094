//! Content-addressed storage of what runs leave behind.

use std::path::Path;
use std::pin::Pin;

use async_trait::async_trait;

use crate::{Digest, PortError};

/// A blob that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// Its identity.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A blob being read.
pub type BlobReader = Pin<Box<dyn futures_core::Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send>>;

/// Packs and unpacks workspaces, and keeps blobs by content.
///
/// *Idempotency*: storing the same content twice stores it once. *Concurrency*: any. *After a crash* a blob is whole or absent:
/// it is written aside, synced and renamed. *Failed*: a glob that matches a link leading out of the workspace, a file that
/// cannot be read. *Errored*: disk. Identical files give the identical digest, whatever their times, owners and order.
#[async_trait]
pub trait ArtifactStore: Send + Sync + 'static {
    /// Packs what the globs match below `root` into one deterministic `tar.gz`. No match gives an empty archive.
    async fn pack(&self, root: &Path, globs: &[String]) -> Result<StoredBlob, PortError>;

    /// Unpacks an archive of [`pack`](Self::pack) over `root`; entries that would leave it are refused.
    async fn unpack(&self, archive: &Digest, root: &Path) -> Result<(), PortError>;

    /// Stores one file below `root`, found by a path relative to it. `None` when it is not there.
    async fn store_file(&self, root: &Path, path: &str, limit: u64) -> Result<Option<StoredBlob>, PortError>;

    /// The files below `root` that the globs match, sorted, as relative paths.
    async fn list(&self, root: &Path, globs: &[String]) -> Result<Vec<String>, PortError>;

    /// Reads a blob; `None` when it is not stored.
    async fn open(&self, blob: &Digest) -> Result<Option<(u64, BlobReader)>, PortError>;

    /// Removes every blob that `keep` does not name and that is older than an hour; returns the bytes freed.
    async fn sweep(&self, keep: &std::collections::HashSet<Digest>) -> Result<u64, PortError>;
}
