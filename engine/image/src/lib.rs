//! OCI images without a daemon: assembled deterministically out of a workspace, kept by content, unpacked for the runtime.
//! The same storage keeps the packed outputs of stages. Layout on disk: `blobs/<hex>`, `repositories/<name>/tags/<tag>`.

mod archive;
mod artifact;
mod assemble;
mod blob;
mod unpack;

use std::path::PathBuf;

use hookwright_core::PortError;

/// Blobs, manifests and tags in one folder.
#[derive(Clone)]
pub struct Registry {
    pub(crate) blobs: blob::Blobs,
    pub(crate) repositories: PathBuf,
}

impl Registry {
    /// Opens the folder, creating what is missing.
    ///
    /// # Errors
    /// *Errored* when it cannot be created.
    pub fn open(folder: PathBuf) -> Result<Self, PortError> {
        let repositories = folder.join("repositories");
        std::fs::create_dir_all(&repositories).map_err(|error| blob::disk("create the registry's folder", error))?;
        Ok(Self { blobs: blob::Blobs::open(folder.join("blobs"))?, repositories })
    }
}
