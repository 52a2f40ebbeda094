//! What a manifest says, as far as a registry must know it: which parts it needs, and what it is about.

use std::collections::BTreeMap;

use hookwright_core::Digest;
use hookwright_core::port::ManifestKind;
use serde::Deserialize;

/// A part of a manifest: a blob or another manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: Option<String>,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// Both kinds of manifest. Fields that nobody here reads are not looked at: a registry keeps documents as they came.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    /// Reads a manifest that must be of this kind.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(kind: ManifestKind, bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| format!("the manifest cannot be read: {error}"))?;
        if manifest.schema_version != 2 {
            return Err(format!("the manifest has the schema version {}; only 2 is taken", manifest.schema_version));
        }
        if let Some(said) = manifest.media_type.as_deref().filter(|said| *said != kind.media_type()) {
            let said: String = said.chars().take(200).collect();
            return Err(format!("the manifest calls itself `{said}`, but it was sent as `{}`", kind.media_type()));
        }
        // A document that is an image to one reader and a list to another must not get in.
        let (image, list) = (manifest.config.is_some() || manifest.layers.is_some(), manifest.manifests.is_some());
        match (kind.is_list(), image, list) {
            (true, false, true) => {}
            (false, true, false) if manifest.config.is_some() => {}
            (true, ..) => return Err("a list of images has `manifests`, and neither `config` nor `layers`".to_owned()),
            (false, ..) => return Err("the manifest of an image has `config` and `layers`, and no `manifests`".to_owned()),
        }
        Ok(manifest)
    }

    /// Reads whatever is a manifest of either kind.
    pub(crate) fn of_either_kind(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The blobs it needs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(self.layers.iter().flatten())
    }

    /// The manifests it lists.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().flatten()
    }

    /// The manifest it says something about; it need not be there.
    pub(crate) fn subject(&self) -> Option<Digest> {
        self.subject.as_ref().map(|subject| subject.digest)
    }

    /// What it holds.
    pub(crate) fn artifact_type(&self) -> Option<String> {
        self.artifact_type.clone().or_else(|| self.config.as_ref()?.media_type.clone())
    }

    /// Its annotations.
    pub(crate) fn into_annotations(self) -> BTreeMap<String, String> {
        self.annotations.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest::of(b"x")
    }

    #[test]
    fn a_document_that_is_two_things_at_once_is_no_manifest() {
        let both = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"{d}","size":1}},"layers":[],"manifests":[{{"digest":"{d}","size":1}}]}}"#,
            d = digest()
        );
        assert!(Manifest::parse(ManifestKind::OciImage, both.as_bytes()).is_err());
        assert!(Manifest::parse(ManifestKind::OciIndex, both.as_bytes()).is_err());
    }

    #[test]
    fn a_manifest_that_calls_itself_something_else_is_refused() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"digest":"{}","size":1}},"layers":[]}}"#,
            ManifestKind::DockerImage.media_type(),
            digest()
        );
        assert!(Manifest::parse(ManifestKind::DockerImage, text.as_bytes()).is_ok());
        let refused = Manifest::parse(ManifestKind::OciImage, text.as_bytes()).expect_err("another kind");
        assert!(refused.contains("calls itself"), "{refused}");
    }

    #[test]
    fn an_old_schema_a_missing_part_and_a_bad_digest_are_refused() {
        for text in [
            r#"{"schemaVersion":1,"config":{"digest":"x","size":1},"layers":[]}"#.to_owned(),
            r#"{"schemaVersion":2,"layers":[]}"#.to_owned(),
            r#"{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1},"layers":[]}"#.to_owned(),
            format!(r#"{{"schemaVersion":1,"config":{{"digest":"{}","size":1}},"layers":[]}}"#, digest()),
            "[]".to_owned(),
            String::new(),
        ] {
            assert!(Manifest::parse(ManifestKind::OciImage, text.as_bytes()).is_err(), "{text}");
        }
    }
}
