//! Making images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::{Digest, ImageTag, PortError, WebhookName};

/// What an image starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseImage {
    /// Nothing.
    Scratch,
}

/// One `copy:` entry: what is matched below the workspace goes to an absolute path in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyInstruction {
    /// A path or glob relative to the workspace; of a folder the content is copied.
    pub source: String,
    /// An absolute path; ends with `/` or names a folder when the source is a folder or a glob.
    pub destination: String,
}

/// The image's own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The handler's command, if the spec has one.
    pub command: Vec<String>,
    /// Where it starts.
    pub working_directory: String,
    /// Environment baked into the image; never secrets.
    pub environment: BTreeMap<String, String>,
    /// The port it listens on inside a container.
    pub port: u16,
    /// OCI labels (`org.opencontainers.image.title`…); nothing that changes between identical builds.
    pub labels: BTreeMap<String, String>,
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct ImageRequest {
    /// The repository in the registry.
    pub webhook: WebhookName,
    /// The tag it gets besides its digest, the short commit; `None` for one that is known by its digest alone.
    pub tag: Option<ImageTag>,
    /// Files are taken from here.
    pub workspace: PathBuf,
    /// Ignore files whose patterns are left out when a whole folder is copied (`.dockerignore` wins over `.gitignore`).
    pub respect_ignore_files: bool,
    /// What it starts from.
    pub base: BaseImage,
    /// What is copied, in order; one layer each.
    pub copy: Vec<CopyInstruction>,
    /// Its settings.
    pub config: ImageConfig,
}

/// An image in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// The manifest's digest.
    pub digest: Digest,
    /// Bytes of all layers, compressed.
    pub size: u64,
    /// How many files it holds.
    pub files: u64,
}

/// Makes images and puts them into the registry.
///
/// *Idempotency*: identical inputs give the identical digest, also from another daemon on another day. *Concurrency*: any. *After a crash* an image is
/// in the registry or not; building again is safe. *Failed*: a source that matches nothing (with the nearest path that exists), a
/// link that leads out, also through other links. What lies in a folder named `.git` is never copied.
/// *Errored*: disk, registry. It must not run anything out of the workspace.
#[async_trait]
pub trait ImageBuilder: Send + Sync + 'static {
    /// Builds and pushes.
    async fn build(&self, request: &ImageRequest) -> Result<BuiltImage, PortError>;
}

/// Hands images out to a runtime.
///
/// *Idempotency*: reading changes nothing. *Concurrency*: any. *After a crash* the folder may be half written: the caller unpacks aside and
/// renames. *Failed*: the image is not in the registry, a layer would write outside the folder, or all layers together unpack to more than
/// the limit. *Errored*: disk.
#[async_trait]
pub trait ImageSource: Send + Sync + 'static {
    /// The image's settings.
    async fn settings(&self, image: &Digest) -> Result<ImageConfig, PortError>;

    /// Unpacks all layers into the existing, empty folder `into`.
    async fn unpack(&self, image: &Digest, into: &Path) -> Result<(), PortError>;
}
