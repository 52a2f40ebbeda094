//! Which images and blobs stay, and the removal of the rest: blobs, links, uploads nobody went on with, and what crashes left.
//! A repository keeps what its tags, the engine's images in it, and manifests of the last hour need, and referrers of all these.

use std::collections::HashSet;

use hookwright_core::{Digest, PortError, WebhookName};

use crate::Registry;
use crate::blob::is_old;
use crate::manifest::Manifest;
use crate::repository::LinkKind;

impl Registry {
    /// Removes what neither `keep` nor a repository needs and what is old; returns the bytes of the blobs that went.
    pub(crate) fn sweep_all(&self, keep: &HashSet<Digest>) -> Result<u64, PortError> {
        self.uploads.sweep()?;
        let mut needed = self.reach(keep.iter().copied(), None)?;
        for repository in self.repositories.all()? {
            needed.extend(self.sweep_repository(&repository, keep)?);
        }
        self.blobs.sweep(&needed)
    }

    /// Removes links of one repository; returns the blobs it needs.
    fn sweep_repository(&self, repository: &WebhookName, keep: &HashSet<Digest>) -> Result<HashSet<Digest>, PortError> {
        let mut roots = Vec::new();
        for tag in self.repositories.tags(repository)? {
            roots.extend(self.repositories.tagged(repository, &tag)?);
        }
        for (manifest, link) in self.repositories.links(repository, LinkKind::Manifest)? {
            if keep.contains(&manifest) || std::fs::metadata(&link).is_ok_and(|metadata| !is_old(&metadata)) {
                roots.push(manifest);
            }
        }
        let mut needed = self.reach(roots, Some(repository))?;
        for kind in LinkKind::ALL {
            for (digest, link) in self.repositories.links(repository, kind)? {
                if !needed.contains(&digest) && self.blobs.remove_old(&link).is_none() {
                    needed.insert(digest);
                }
            }
        }
        for (manifest, link) in self.repositories.all_referrers(repository)? {
            if !needed.contains(&manifest) {
                self.blobs.remove_old(&link);
            }
        }
        for leftover in self.repositories.leftovers(repository)? {
            self.blobs.remove_old(&leftover);
        }
        Ok(needed)
    }

    /// The roots and all that the manifests among them need, also through lists; in a repository with the manifests about them.
    pub(crate) fn reach(
        &self,
        roots: impl IntoIterator<Item = Digest>,
        repository: Option<&WebhookName>,
    ) -> Result<HashSet<Digest>, PortError> {
        let mut reached = HashSet::new();
        let mut manifests: Vec<Digest> = roots.into_iter().collect();
        let mut seen = HashSet::new();
        while let Some(digest) = manifests.pop() {
            if !seen.insert(digest) {
                continue;
            }
            reached.insert(digest);
            if let Some(repository) = repository {
                manifests.extend(self.repositories.referrers(repository, &digest)?);
            }
            let Some(manifest) = self.manifest_among_blobs(&digest) else { continue };
            reached.extend(manifest.blobs().map(|part| part.digest));
            manifests.extend(manifest.manifests().map(|part| part.digest));
        }
        Ok(reached)
    }

    /// Among what the engine keeps are packed folders of any size, so only what is short and begins like JSON is read.
    fn manifest_among_blobs(&self, digest: &Digest) -> Option<Manifest> {
        use std::io::Read;
        let mut file = std::fs::File::open(self.blobs.path(digest)).ok()?;
        let mut first = [0];
        let looks_right = file.metadata().ok()?.len() <= self.limits.manifest && file.read(&mut first).ok()? == 1;
        let looks_right = looks_right && (first[0] == b'{' || first[0].is_ascii_whitespace());
        if !looks_right {
            return None;
        }
        Manifest::of_either_kind(&self.blobs.read_document(digest, self.limits.manifest).ok()?)
    }
}
