//! The `ArtifactStore` port: packed workspaces and single files by content.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path};

use async_trait::async_trait;
use futures_core::Stream;
use hookwright_core::port::{ArtifactStore, BlobReader, StoredBlob};
use hookwright_core::{Digest, PortError};
use tokio_util::io::ReaderStream;

use crate::archive::{Budget, Listing};
use crate::blob::disk;
use crate::{Registry, archive, link};

/// Runs blocking work aside.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, PortError> + Send + 'static) -> Result<T, PortError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| PortError::errored("work on files was cut off").because(error))?
}

/// What lies below `root`, with the files narrowed to those that the globs match.
fn matching(root: &Path, globs: &[String]) -> Result<Listing, PortError> {
    let set = archive::glob_set(globs)?;
    let mut listing = archive::list(root)?;
    listing.files.retain(|path| set.is_match(path));
    Ok(listing)
}

#[async_trait]
impl ArtifactStore for Registry {
    async fn pack(&self, root: &Path, globs: &[String]) -> Result<StoredBlob, PortError> {
        let (blobs, root, globs) = (self.blobs.clone(), root.to_owned(), globs.to_vec());
        aside(move || {
            let listing = matching(&root, &globs)?;
            // Where a link leads depends on every link of the workspace, packed or not: they meet again where it is unpacked.
            link::refuse_leaving(&listing.files, &listing.links)?;
            let entries: BTreeMap<_, _> = listing.files.into_iter().map(|path| (path.clone(), root.join(path))).collect();
            archive::write(&entries, blobs.writer()?)?.finish()
        })
        .await
    }

    async fn unpack(&self, archive: &Digest, root: &Path) -> Result<(), PortError> {
        let (path, root, limits) = (self.blobs.path(archive), root.to_owned(), self.limits);
        aside(move || {
            let file = std::fs::File::open(&path).map_err(|error| disk("open a stored archive", error))?;
            let budget = Budget::new("what the stages before hand on", limits);
            archive::unpack(std::io::BufReader::new(file), &root, archive::Whiteouts::Plain, &budget)
        })
        .await
    }

    async fn store_file(&self, root: &Path, path: &str, limit: u64) -> Result<Option<StoredBlob>, PortError> {
        let relative = Path::new(path);
        if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(PortError::failed(format!("`{path}` leads out of the workspace")));
        }
        let (blobs, root, relative, name) = (self.blobs.clone(), root.to_owned(), relative.to_owned(), path.to_owned());
        aside(move || {
            let Ok(place) = root.join(&relative).canonicalize() else { return Ok(None) };
            let inside = root.canonicalize().is_ok_and(|root| place.starts_with(root));
            let metadata = std::fs::metadata(&place).map_err(|error| disk("read a file of the workspace", error))?;
            if !inside || !metadata.is_file() {
                return Err(PortError::failed(format!("`{name}` is no file of the workspace")));
            }
            if metadata.len() > limit {
                return Err(PortError::failed(format!("`{name}` is {} bytes long; {limit} is the most that is kept", metadata.len())));
            }
            let mut file = std::fs::File::open(&place).map_err(|error| disk("read a file of the workspace", error))?;
            let mut writer = blobs.writer()?;
            std::io::copy(&mut file, &mut writer).map_err(|error| disk("store a file", error))?;
            writer.finish().map(Some)
        })
        .await
    }

    async fn list(&self, root: &Path, globs: &[String]) -> Result<Vec<String>, PortError> {
        let (root, globs) = (root.to_owned(), globs.to_vec());
        aside(move || Ok(matching(&root, &globs)?.files.iter().map(|path| path.to_string_lossy().into_owned()).collect())).await
    }

    async fn open(&self, blob: &Digest) -> Result<Option<(u64, BlobReader)>, PortError> {
        match tokio::fs::File::open(self.blobs.path(blob)).await {
            Ok(file) => {
                let size = file.metadata().await.map_err(|error| disk("read a blob", error))?.len();
                let stream: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(ReaderStream::new(file));
                Ok(Some((size, stream)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(disk("read a blob", error)),
        }
    }

    async fn sweep(&self, keep: &HashSet<Digest>) -> Result<u64, PortError> {
        let (registry, keep) = (self.clone(), keep.clone());
        aside(move || registry.sweep_all(&keep)).await
    }
}
