//! The `ImageRegistry` port.

use std::io::SeekFrom;

use async_trait::async_trait;
use bytes::Bytes;
use hookwright_core::port::{
    BlobRange, BlobReader, ImageReference, ImageRegistry, ManifestKind, NewManifest, Referrer, RegistryError, StoredBlob, StoredManifest,
    Upload, UploadChunk,
};
use hookwright_core::{Digest, ImageTag, PortError, WebhookName};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::Registry;
use crate::artifact::aside;
use crate::blob::{disk, is_ageing};
use crate::manifest::{Descriptor, Manifest};
use crate::repository::LinkKind;

/// So many bytes of a blob are read at once.
const READ: usize = 64 << 10;

/// Runs blocking work aside that may be refused.
async fn refusable<T: Send + 'static>(work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static) -> Result<T, RegistryError> {
    aside(move || Ok(work())).await?
}

#[async_trait]
impl ImageRegistry for Registry {
    async fn repositories(&self) -> Result<Vec<WebhookName>, PortError> {
        let registry = self.clone();
        aside(move || {
            let mut holding = registry.repositories.all()?;
            let mut failure = None;
            holding.retain(|name| {
                let links = registry.repositories.links(name, LinkKind::Manifest);
                links.map(|links| !links.is_empty()).unwrap_or_else(|error| failure.replace(error).is_some())
            });
            failure.map_or(Ok(holding), Err)
        })
        .await
    }

    async fn tags(&self, repository: &WebhookName) -> Result<Option<Vec<ImageTag>>, PortError> {
        let (registry, repository) = (self.clone(), repository.clone());
        aside(move || {
            let holds = !registry.repositories.links(&repository, LinkKind::Manifest)?.is_empty();
            if holds { registry.repositories.tags(&repository).map(Some) } else { Ok(None) }
        })
        .await
    }

    async fn manifest(&self, repository: &WebhookName, reference: &ImageReference) -> Result<Option<StoredManifest>, PortError> {
        let (registry, repository, reference) = (self.clone(), repository.clone(), reference.clone());
        aside(move || registry.find_manifest(&repository, &reference)).await
    }

    fn manifest_limit(&self) -> u64 {
        self.limits.manifest
    }

    async fn put_manifest(&self, repository: &WebhookName, manifest: NewManifest) -> Result<(Digest, Option<Digest>), RegistryError> {
        let (registry, repository) = (self.clone(), repository.clone());
        refusable(move || registry.take_manifest(&repository, &manifest)).await
    }

    async fn remove_manifest(&self, repository: &WebhookName, reference: &ImageReference) -> Result<bool, PortError> {
        let (registry, repository, reference) = (self.clone(), repository.clone(), reference.clone());
        aside(move || {
            let digest = match reference {
                ImageReference::Tag(tag) => return registry.repositories.untag(&repository, &tag),
                ImageReference::Digest(digest) => digest,
            };
            for tag in registry.repositories.tags(&repository)? {
                if registry.repositories.tagged(&repository, &tag)? == Some(digest) {
                    registry.repositories.untag(&repository, &tag)?;
                }
            }
            registry.repositories.unlink_manifest(&repository, &digest)
        })
        .await
    }

    async fn referrers(&self, repository: &WebhookName, subject: &Digest) -> Result<Vec<Referrer>, PortError> {
        let (registry, repository, subject) = (self.clone(), repository.clone(), *subject);
        aside(move || {
            let mut referrers = Vec::new();
            for digest in registry.repositories.referrers(&repository, &subject)? {
                let found = registry.find_manifest(&repository, &ImageReference::Digest(digest))?;
                let described = found.and_then(|stored| Some(referrer(Manifest::of_either_kind(&stored.bytes)?, &stored)));
                referrers.extend(described);
            }
            Ok(referrers)
        })
        .await
    }

    async fn blob_size(&self, repository: &WebhookName, blob: &Digest) -> Result<Option<u64>, PortError> {
        let (registry, repository, blob) = (self.clone(), repository.clone(), *blob);
        aside(move || {
            let _held = registry.blobs.hold();
            registry.renew(&repository, LinkKind::Blob, &blob)
        })
        .await
    }

    async fn read_blob(&self, repository: &WebhookName, blob: &Digest, range: BlobRange) -> Result<BlobReader, RegistryError> {
        if self.blob_size(repository, blob).await?.is_none() {
            return Err(RegistryError::BlobUnknown(*blob));
        }
        let open = async {
            let mut file = tokio::fs::File::open(self.blobs.path(blob)).await?;
            file.seek(SeekFrom::Start(range.start)).await?;
            Ok(file.take(range.length))
        };
        let file = open.await.map_err(|error: std::io::Error| disk("read a blob", error))?;
        Ok(Box::pin(ReaderStream::with_capacity(file, READ)))
    }

    async fn mount_blob(&self, repository: &WebhookName, from: &WebhookName, blob: &Digest) -> Result<bool, PortError> {
        let (registry, repository, from, blob) = (self.clone(), repository.clone(), from.clone(), *blob);
        aside(move || {
            let _held = registry.blobs.hold();
            let there = registry.renew(&from, LinkKind::Blob, &blob)?.is_some();
            if there {
                registry.repositories.link_blob(&repository, &blob)?;
            }
            Ok(there)
        })
        .await
    }

    async fn begin_upload(&self, upload: &Upload) -> Result<(), RegistryError> {
        let (registry, upload) = (self.clone(), upload.clone());
        refusable(move || registry.uploads.begin(&upload, registry.limits.uploads)).await
    }

    async fn upload_size(&self, upload: &Upload) -> Result<u64, RegistryError> {
        let (registry, upload) = (self.clone(), upload.clone());
        refusable(move || registry.uploads.size(&upload)).await
    }

    async fn append_upload(&self, upload: &Upload, chunk: UploadChunk) -> Result<u64, RegistryError> {
        self.uploads.append(upload, chunk, self.limits.blob).await
    }

    async fn finish_upload(&self, upload: &Upload, digest: &Digest) -> Result<StoredBlob, RegistryError> {
        let stored = self.uploads.finish(upload, digest).await?;
        let (registry, repository) = (self.clone(), upload.repository.clone());
        aside(move || registry.repositories.link_blob(&repository, &stored.digest)).await?;
        Ok(stored)
    }

    async fn cancel_upload(&self, upload: &Upload) -> Result<(), RegistryError> {
        let (registry, upload) = (self.clone(), upload.clone());
        refusable(move || registry.uploads.cancel(&upload)).await
    }
}

impl Registry {
    /// The length of what is linked in a repository, which is kept for another while. The caller holds the gate.
    fn renew(&self, repository: &WebhookName, kind: LinkKind, digest: &Digest) -> Result<Option<u64>, PortError> {
        if !self.repositories.renew(repository, kind, digest)? {
            return Ok(None);
        }
        self.blobs.renew(digest).map_err(|error| disk("read a blob", error))
    }

    fn find_manifest(&self, repository: &WebhookName, reference: &ImageReference) -> Result<Option<StoredManifest>, PortError> {
        let digest = match reference {
            ImageReference::Digest(digest) => Some(*digest),
            ImageReference::Tag(tag) => self.repositories.tagged(repository, tag)?,
        };
        let Some(digest) = digest else { return Ok(None) };
        let _held = self.blobs.hold();
        let Some(kind) = self.repositories.manifest_kind(repository, &digest)? else { return Ok(None) };
        let bytes = self.blobs.read_document(&digest, self.limits.manifest)?;
        if std::fs::metadata(self.blobs.path(&digest)).is_ok_and(|metadata| is_ageing(&metadata)) {
            for part in self.reach([digest], Some(repository))? {
                for kind in LinkKind::ALL {
                    self.renew(repository, kind, &part)?;
                }
            }
        }
        Ok(Some(StoredManifest { digest, kind, bytes: Bytes::from(bytes) }))
    }

    fn take_manifest(&self, repository: &WebhookName, new: &NewManifest) -> Result<(Digest, Option<Digest>), RegistryError> {
        if new.bytes.len() as u64 > self.limits.manifest {
            return Err(RegistryError::TooLarge { what: "a manifest", limit: self.limits.manifest });
        }
        let digest = Digest::of(&new.bytes);
        if let ImageReference::Digest(expected) = new.reference
            && expected != digest
        {
            return Err(RegistryError::DigestMismatch { expected, found: digest });
        }
        let manifest = Manifest::parse(new.kind, &new.bytes).map_err(RegistryError::ManifestInvalid)?;
        {
            // Before anything is written, so that a manifest that is refused leaves nothing behind.
            let _held = self.blobs.hold();
            self.check_parts(repository, &manifest)?;
        }
        self.blobs.put(&new.bytes)?;
        let tag = match &new.reference {
            ImageReference::Tag(tag) => Some(tag),
            ImageReference::Digest(_) => None,
        };
        let _held = self.blobs.hold();
        // Again, now that no sweep can come between the look and the link.
        self.check_parts(repository, &manifest)?;
        self.repositories.link_manifest(repository, &digest, new.kind)?;
        let subject = manifest.subject();
        if let Some(subject) = subject {
            self.repositories.link_referrer(repository, &subject, &digest)?;
        }
        if let Some(tag) = tag {
            self.repositories.tag(repository, tag, &digest)?;
        }
        Ok((digest, subject))
    }

    /// Every part is in this repository, as long as the manifest says; all are kept for another while. The caller holds the gate.
    fn check_parts(&self, repository: &WebhookName, manifest: &Manifest) -> Result<(), RegistryError> {
        let blobs = manifest.blobs().map(|part| (LinkKind::Blob, part));
        for (kind, part) in blobs.chain(manifest.manifests().map(|part| (LinkKind::Manifest, part))) {
            let Descriptor { digest, size, .. } = part;
            match self.renew(repository, kind, digest)? {
                None => return Err(RegistryError::ManifestBlobUnknown(*digest)),
                Some(length) if length != *size => {
                    let text = format!("the manifest says that `{digest}` has {size} bytes, but it has {length}");
                    return Err(RegistryError::ManifestInvalid(text));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Puts an image that was built here into a repository: its parts, itself and a tag.
    pub(crate) fn publish(
        &self,
        repository: &WebhookName,
        tag: Option<&ImageTag>,
        manifest: &StoredBlob,
        parts: &[Digest],
    ) -> Result<(), PortError> {
        let _held = self.blobs.hold();
        for part in parts {
            self.repositories.link_blob(repository, part)?;
        }
        self.repositories.link_manifest(repository, &manifest.digest, ManifestKind::OciImage)?;
        tag.map_or(Ok(()), |tag| self.repositories.tag(repository, tag, &manifest.digest))
    }
}

fn referrer(manifest: Manifest, stored: &StoredManifest) -> Referrer {
    Referrer {
        digest: stored.digest,
        size: stored.bytes.len() as u64,
        kind: stored.kind,
        artifact_type: manifest.artifact_type(),
        annotations: manifest.into_annotations(),
    }
}
