//! What each repository holds: files that link to blobs. A blob is stored once for all, and is in a repository only when a link says so.
//! Layout: `<repository>/blobs/<hex>` (empty), `manifests/<hex>` (its media type), `tags/<tag>` (its digest),
//! `referrers/<hex of the subject>/<hex>` (empty).

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use hookwright_core::port::ManifestKind;
use hookwright_core::{Digest, ImageTag, PortError, WebhookName};

use crate::blob::{disk, renew, sync_folder};

/// What a link links to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkKind {
    Blob,
    Manifest,
}

impl LinkKind {
    pub(crate) const ALL: [Self; 2] = [Self::Blob, Self::Manifest];

    fn folder(self) -> &'static str {
        match self {
            Self::Blob => "blobs",
            Self::Manifest => "manifests",
        }
    }
}

#[derive(Clone)]
pub(crate) struct Repositories {
    folder: PathBuf,
}

impl Repositories {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, PortError> {
        std::fs::create_dir_all(&folder).map_err(|error| disk("create the registry's folder", error))?;
        Ok(Self { folder })
    }

    /// Every repository that has a folder, sorted.
    pub(crate) fn all(&self) -> Result<Vec<WebhookName>, PortError> {
        let names = entries(&self.folder)?.into_iter();
        let mut all: Vec<_> = names.filter_map(|path| WebhookName::new(path.file_name()?.to_str()?).ok()).collect();
        all.sort();
        Ok(all)
    }

    fn place(&self, repository: &WebhookName, folder: &str) -> PathBuf {
        self.folder.join(repository.as_str()).join(folder)
    }

    fn link_path(&self, repository: &WebhookName, kind: LinkKind, digest: &Digest) -> PathBuf {
        self.place(repository, kind.folder()).join(digest.hex())
    }

    fn referrers_folder(&self, repository: &WebhookName, subject: &Digest) -> PathBuf {
        self.place(repository, "referrers").join(subject.hex())
    }

    pub(crate) fn link_blob(&self, repository: &WebhookName, blob: &Digest) -> Result<(), PortError> {
        write(&self.link_path(repository, LinkKind::Blob, blob), "")
    }

    pub(crate) fn link_manifest(&self, repository: &WebhookName, manifest: &Digest, kind: ManifestKind) -> Result<(), PortError> {
        write(&self.link_path(repository, LinkKind::Manifest, manifest), kind.media_type())
    }

    pub(crate) fn link_referrer(&self, repository: &WebhookName, subject: &Digest, manifest: &Digest) -> Result<(), PortError> {
        write(&self.referrers_folder(repository, subject).join(manifest.hex()), "")
    }

    /// Makes a link young; whether it is there. The caller holds the blobs' gate.
    pub(crate) fn renew(&self, repository: &WebhookName, kind: LinkKind, digest: &Digest) -> Result<bool, PortError> {
        renew(&self.link_path(repository, kind, digest)).map_err(|error| disk("read the registry", error))
    }

    /// What kind of manifest it is; `None` when it is not in the repository.
    pub(crate) fn manifest_kind(&self, repository: &WebhookName, manifest: &Digest) -> Result<Option<ManifestKind>, PortError> {
        let text = read(&self.link_path(repository, LinkKind::Manifest, manifest))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    pub(crate) fn tag(&self, repository: &WebhookName, tag: &ImageTag, manifest: &Digest) -> Result<(), PortError> {
        write(&self.place(repository, "tags").join(tag.as_str()), &manifest.to_string())
    }

    pub(crate) fn tagged(&self, repository: &WebhookName, tag: &ImageTag) -> Result<Option<Digest>, PortError> {
        let text = read(&self.place(repository, "tags").join(tag.as_str()))?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// The tags, sorted as the distribution specification wants it: without regard to case.
    pub(crate) fn tags(&self, repository: &WebhookName) -> Result<Vec<ImageTag>, PortError> {
        let names = entries(&self.place(repository, "tags"))?.into_iter();
        let mut tags: Vec<_> = names.filter_map(|path| ImageTag::new(path.file_name()?.to_str()?).ok()).collect();
        tags.sort_by_cached_key(|tag| (tag.as_str().to_ascii_lowercase(), tag.clone()));
        Ok(tags)
    }

    /// The digests that are linked, each with its link.
    pub(crate) fn links(&self, repository: &WebhookName, kind: LinkKind) -> Result<Vec<(Digest, PathBuf)>, PortError> {
        digests(&self.place(repository, kind.folder()))
    }

    /// The manifests that say they are about `subject`.
    pub(crate) fn referrers(&self, repository: &WebhookName, subject: &Digest) -> Result<Vec<Digest>, PortError> {
        Ok(digests(&self.referrers_folder(repository, subject))?.into_iter().map(|(digest, _)| digest).collect())
    }

    /// Every link from a subject to a manifest about it.
    pub(crate) fn all_referrers(&self, repository: &WebhookName) -> Result<Vec<(Digest, PathBuf)>, PortError> {
        let mut all = Vec::new();
        for (_, folder) in digests(&self.place(repository, "referrers"))? {
            all.extend(digests(&folder)?);
        }
        Ok(all)
    }

    /// Removes a tag; whether there was one.
    pub(crate) fn untag(&self, repository: &WebhookName, tag: &ImageTag) -> Result<bool, PortError> {
        remove(&self.place(repository, "tags").join(tag.as_str()))
    }

    /// Takes a manifest out of the repository; whether it was there.
    pub(crate) fn unlink_manifest(&self, repository: &WebhookName, manifest: &Digest) -> Result<bool, PortError> {
        remove(&self.link_path(repository, LinkKind::Manifest, manifest))
    }

    /// Files that a crash left half written.
    pub(crate) fn leftovers(&self, repository: &WebhookName) -> Result<Vec<PathBuf>, PortError> {
        let mut folders = vec![self.place(repository, "tags")];
        folders.extend(LinkKind::ALL.map(|kind| self.place(repository, kind.folder())));
        folders.extend(digests(&self.place(repository, "referrers"))?.into_iter().map(|(_, folder)| folder));
        let mut found = Vec::new();
        for folder in folders {
            let half = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            found.extend(entries(&folder)?.into_iter().filter(half));
        }
        Ok(found)
    }
}

/// The paths in a folder; none when it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, PortError> {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    listed.map_err(|error| disk("list the registry", error))
}

fn digests(folder: &Path) -> Result<Vec<(Digest, PathBuf)>, PortError> {
    let named = |path: PathBuf| Some((format!("sha256:{}", path.file_name()?.to_str()?).parse().ok()?, path));
    let mut digests: Vec<_> = entries(folder)?.into_iter().filter_map(named).collect();
    digests.sort();
    Ok(digests)
}

fn read(path: &Path) -> Result<Option<String>, PortError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(disk("read the registry", error)),
    }
}

fn remove(path: &Path) -> Result<bool, PortError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(disk("remove from the registry", error)),
    }
}

/// Writes a small file aside, syncs and renames it: whole or absent, and young.
fn write(path: &Path, text: &str) -> Result<(), PortError> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)
    };
    write().map_err(|error| disk("write to the registry", error))
}
