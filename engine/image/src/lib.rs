//! OCI images without a daemon: assembled deterministically out of a workspace, kept by content, unpacked for the runtime, pushed and pulled.
//! The same storage keeps the packed outputs of stages. Layout on disk: `blobs/<hex>`, `repositories/<name>/…`, `uploads/<name>/<id>`.

mod archive;
mod artifact;
mod assemble;
mod blob;
mod copy;
mod link;
mod manifest;
mod repository;
mod serve;
mod sweep;
mod unpack;
mod upload;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use hookwright_core::PortError;

/// What the registry takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Bytes of a blob that is uploaded.
    pub blob: u64,
    /// Bytes of a manifest or another document of an image.
    pub manifest: u64,
    /// Bytes of all files of one image, or of one packed workspace, when unpacked.
    pub unpacked: u64,
    /// Files, folders and links of the same.
    pub entries: u64,
    /// Uploads that are open in one repository.
    pub uploads: usize,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self { blob: 8 << 30, manifest: 4 << 20, unpacked: 16 << 30, entries: 2_000_000, uploads: 64 }
    }
}

/// Blobs, manifests and tags in one folder. Clones share it; a second value on the same folder must not be opened.
#[derive(Clone)]
pub struct Registry {
    pub(crate) blobs: blob::Blobs,
    pub(crate) repositories: repository::Repositories,
    pub(crate) uploads: upload::Uploads,
    pub(crate) limits: RegistryLimits,
}

impl Registry {
    /// Opens the folder, creating what is missing.
    ///
    /// # Errors
    /// *Errored* when it cannot be created.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, PortError> {
        Self::open_with(folder, RegistryLimits::default())
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// *Errored* when it cannot be created.
    pub fn open_with(folder: impl AsRef<Path>, limits: RegistryLimits) -> Result<Self, PortError> {
        let below = |name: &str| -> PathBuf { folder.as_ref().join(name) };
        let blobs = blob::Blobs::open(below("blobs"))?;
        let repositories = repository::Repositories::open(below("repositories"))?;
        let uploads = upload::Uploads::open(below("uploads"), blobs.clone())?;
        Ok(Self { blobs, repositories, uploads, limits })
    }
}
