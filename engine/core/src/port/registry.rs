//! The registry of images as the OCI distribution specification sees it: repositories with manifests, tags, blobs and uploads.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobReader, StoredBlob};
use crate::{Digest, ImageTag, PortError, UploadId, WebhookName};

/// The documents that are taken as manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// An image (or artifact) of OCI.
    OciImage,
    /// A list of images of OCI.
    OciIndex,
    /// An image of Docker, schema 2.
    DockerImage,
    /// A list of images of Docker.
    DockerList,
}

impl ImageReference {
    /// Reads a tag, or a digest: only digests have a `:`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            text.parse().map(Self::Digest).map_err(|error: crate::InvalidDigest| error.to_string())
        } else {
            ImageTag::new(text).map(Self::Tag).map_err(|error| error.to_string())
        }
    }
}

impl fmt::Display for ImageReference {
    /// As it follows the name of the repository: `:latest`, `@sha256:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl ManifestKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::OciImage, Self::OciIndex, Self::DockerImage, Self::DockerList];

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OciImage => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerImage => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// Whether it names other manifests instead of blobs.
    pub fn is_list(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }
}

impl FromStr for ManifestKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.media_type() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::media_type).join("`, `");
            format!("`{}` is no media type of a manifest; known are `{known}`", text.chars().take(200).collect::<String>())
        })
    }
}

/// What a manifest is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageReference {
    /// A name that may move.
    Tag(ImageTag),
    /// The content.
    Digest(Digest),
}

/// A manifest in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// What it is.
    pub kind: ManifestKind,
    /// The document as it was pushed.
    pub bytes: Bytes,
}

/// A manifest on its way into a repository.
#[derive(Clone, Debug)]
pub struct NewManifest {
    /// The tag it gets, or the digest it must have.
    pub reference: ImageReference,
    /// What the sender says it is.
    pub kind: ManifestKind,
    /// The document.
    pub bytes: Bytes,
}

/// A manifest that names another one as its subject: a signature, a list of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it is.
    pub kind: ManifestKind,
    /// What it holds: its `artifactType`, or the media type of its configuration.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An upload that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upload {
    /// The repository the blob will be in.
    pub repository: WebhookName,
    /// Which upload.
    pub id: UploadId,
}

/// Bytes for an upload.
pub struct UploadChunk {
    /// How many bytes must have arrived before; `None`: however many have.
    pub at: Option<u64>,
    /// How many bytes these must be; `None`: as many as come.
    pub length: Option<u64>,
    /// The bytes.
    pub body: BlobReader,
}

/// Part of a blob, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRange {
    /// The first byte.
    pub start: u64,
    /// How many.
    pub length: u64,
}

/// Why the registry refuses.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The blob is not in this repository, whatever others hold.
    #[error("the blob `{0}` is not in this repository; upload it, or mount it from a repository that has it")]
    BlobUnknown(Digest),
    /// There is no such upload.
    #[error("there is no such upload: it has ended, was given up an hour ago, or never began; begin a new one")]
    UploadUnknown,
    /// Another request writes to this upload.
    #[error("another request is writing to this upload; ask how far it is and go on from there")]
    UploadBusy,
    /// A repository has too many open uploads.
    #[error("{limit} uploads are open in this repository; end or cancel one, or try again in an hour")]
    UploadsExhausted {
        /// How many may be open.
        limit: usize,
    },
    /// A chunk does not begin where the upload is.
    #[error("the upload has {size} bytes, so a chunk must begin at byte {size}")]
    UploadRange {
        /// The bytes that have arrived.
        size: u64,
    },
    /// A chunk is not as long as was said; nothing of it was kept.
    #[error("{expected} bytes were announced and {found} came; send the chunk again")]
    ChunkLength {
        /// What was announced.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The sender went away; what came is kept.
    #[error("the body ended early; ask how far the upload is and go on from there")]
    Interrupted,
    /// The content is not what its digest says.
    #[error("the content has the digest `{found}`, not `{expected}`; send it again")]
    DigestMismatch {
        /// What was announced.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A blob or manifest is larger than allowed.
    #[error("{what} may have {limit} bytes at most")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// The document is no manifest, or not the one it says it is.
    #[error("{0}")]
    ManifestInvalid(String),
    /// The manifest names a blob or manifest that is not in this repository.
    #[error("the manifest names `{0}`, which is not in this repository; push that first")]
    ManifestBlobUnknown(Digest),
    /// Disk.
    #[error(transparent)]
    Storage(#[from] PortError),
}

/// Lets clients push and pull images. Repositories are named by webhooks; a repository holds what was built, pushed or mounted into it
/// and nothing else, although equal blobs are stored once: knowing a digest opens nothing.
///
/// *Idempotency*: pushing the same content again changes nothing but its age. *Concurrency*: any; one writer an upload, others are refused.
/// *After a crash* a blob, manifest or tag is whole or absent, and an upload has a beginning of its bytes and can go on. Nothing that a
/// sweep may take is handed out as present without being kept for another hour. It knows nothing of rights: callers checked them. Memory
/// does not grow with blobs.
#[async_trait]
pub trait ImageRegistry: Send + Sync + 'static {
    /// The repositories that hold a manifest, sorted.
    async fn repositories(&self) -> Result<Vec<WebhookName>, PortError>;

    /// The tags of a repository, sorted without regard to case; `None` when it holds no manifest.
    async fn tags(&self, repository: &WebhookName) -> Result<Option<Vec<ImageTag>>, PortError>;

    /// A manifest; `None` when it is not in the repository.
    async fn manifest(&self, repository: &WebhookName, reference: &ImageReference) -> Result<Option<StoredManifest>, PortError>;

    /// The most bytes a manifest may have.
    fn manifest_limit(&self) -> u64;

    /// Takes a manifest whose parts are all in the repository, and moves its tag. Returns its digest and its subject, if it names one.
    async fn put_manifest(&self, repository: &WebhookName, manifest: NewManifest) -> Result<(Digest, Option<Digest>), RegistryError>;

    /// Removes a tag, or a manifest with every tag that names it; whether there was one. What deployments need stays stored.
    async fn remove_manifest(&self, repository: &WebhookName, reference: &ImageReference) -> Result<bool, PortError>;

    /// The manifests that name `subject`, by digest.
    async fn referrers(&self, repository: &WebhookName, subject: &Digest) -> Result<Vec<Referrer>, PortError>;

    /// The length of a blob; `None` when it is not in the repository.
    async fn blob_size(&self, repository: &WebhookName, blob: &Digest) -> Result<Option<u64>, PortError>;

    /// Reads a part of a blob that lies within its length.
    async fn read_blob(&self, repository: &WebhookName, blob: &Digest, range: BlobRange) -> Result<BlobReader, RegistryError>;

    /// Puts a blob of the repository `from` into `repository`, too; whether it was there.
    async fn mount_blob(&self, repository: &WebhookName, from: &WebhookName, blob: &Digest) -> Result<bool, PortError>;

    /// Begins an upload under an id that is new.
    async fn begin_upload(&self, upload: &Upload) -> Result<(), RegistryError>;

    /// How many bytes have arrived.
    async fn upload_size(&self, upload: &Upload) -> Result<u64, RegistryError>;

    /// Adds bytes; returns how many have arrived in all. An upload that grows too large is removed.
    async fn append_upload(&self, upload: &Upload, chunk: UploadChunk) -> Result<u64, RegistryError>;

    /// Makes the upload a blob of its repository. An upload whose content has another digest is removed.
    async fn finish_upload(&self, upload: &Upload, digest: &Digest) -> Result<StoredBlob, RegistryError>;

    /// Forgets an upload.
    async fn cancel_upload(&self, upload: &Upload) -> Result<(), RegistryError>;
}
