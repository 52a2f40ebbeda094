//! The `ImageBuilder` port: an OCI image (image-spec 1.1) out of a workspace, one layer for each `copy` entry.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use flate2::read::GzDecoder;
use hookwright_core::port::{BuiltImage, CopyInstruction, ImageBuilder, ImageRequest, StoredBlob};
use hookwright_core::{Digest, PortError};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::artifact::aside;
use crate::blob::{Blobs, disk, sync_folder};
use crate::{Registry, archive};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The epoch: the creation time of every image, so that the same content is the same image.
const CREATED: &str = "1970-01-01T00:00:00Z";

#[async_trait]
impl ImageBuilder for Registry {
    async fn build(&self, request: &ImageRequest) -> Result<BuiltImage, PortError> {
        let (registry, request) = (self.clone(), request.clone());
        aside(move || registry.assemble(&request)).await
    }
}

impl Registry {
    fn assemble(&self, request: &ImageRequest) -> Result<BuiltImage, PortError> {
        let ignored = if request.respect_ignore_files { ignore_file(&request.workspace)? } else { Gitignore::empty() };
        let files = archive::files(&request.workspace)?;
        let mut layers = Vec::new();
        let mut count = 0;
        for copy in &request.copy {
            let entries = copied(&request.workspace, &files, copy, &ignored)?;
            count += entries.len() as u64;
            layers.push(archive::write(&entries, self.blobs.writer()?)?.finish()?);
        }
        let config = self.blobs.put(&self.config(request, &layers)?)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER, layer)).collect::<Vec<_>>(),
        });
        let manifest = self.blobs.put(manifest.to_string().as_bytes())?;
        self.tag(request.webhook.as_str(), &request.tag, &manifest.digest)?;
        Ok(BuiltImage { digest: manifest.digest, size: layers.iter().map(|layer| layer.size).sum(), files: count })
    }

    fn config(&self, request: &ImageRequest, layers: &[StoredBlob]) -> Result<Vec<u8>, PortError> {
        let diff_ids = layers.iter().map(|layer| self.diff_id(layer)).collect::<Result<Vec<_>, _>>()?;
        let settings = &request.config;
        let environment: Vec<String> = settings.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let config = json!({
            "created": CREATED,
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Cmd": settings.command,
                "Env": environment,
                "WorkingDir": settings.working_directory,
                "ExposedPorts": { format!("{}/tcp", settings.port): {} },
                "Labels": settings.labels,
            },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": request.copy.iter().map(|copy| json!({
                "created": CREATED,
                "created_by": format!("copy {} {}", copy.source, copy.destination),
            })).collect::<Vec<_>>(),
        });
        Ok(config.to_string().into_bytes())
    }

    /// The digest of a layer before its compression.
    fn diff_id(&self, layer: &StoredBlob) -> Result<Digest, PortError> {
        let file = std::fs::File::open(self.blobs.path(&layer.digest)).map_err(|error| disk("read a layer", error))?;
        let mut reader = GzDecoder::new(std::io::BufReader::new(file));
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match reader.read(&mut buffer).map_err(|error| disk("read a layer", error))? {
                0 => return Ok(Digest::from_bytes(hash.finalize().into())),
                read => hash.update(&buffer[..read]),
            }
        }
    }

    fn tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<(), PortError> {
        let folder = self.repositories.join(repository).join("tags");
        let store = || -> std::io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&folder)?;
            std::io::Write::write_all(&mut file, digest.to_string().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(folder.join(tag)).map_err(|error| error.error)?;
            sync_folder(&folder)
        };
        store().map_err(|error| disk("tag an image", error))
    }
}

fn descriptor(media_type: &str, blob: &StoredBlob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.size })
}

/// The architecture's name in image-spec, which is Go's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `.dockerignore` wins over `.gitignore`; `.git` never goes into an image.
fn ignore_file(workspace: &Path) -> Result<Gitignore, PortError> {
    let mut builder = GitignoreBuilder::new(workspace);
    let file = [".dockerignore", ".gitignore"].into_iter().map(|name| workspace.join(name)).find(|path| path.is_file());
    if let Some(error) = file.and_then(|path| builder.add(path)) {
        return Err(PortError::failed(format!("the ignore file cannot be read: {error}")));
    }
    builder.build().map_err(|error| PortError::failed(format!("the ignore file cannot be read: {error}")))
}

/// Place in the layer → file, for one `copy` entry.
fn copied(
    workspace: &Path,
    files: &[PathBuf],
    copy: &CopyInstruction,
    ignored: &Gitignore,
) -> Result<BTreeMap<PathBuf, PathBuf>, PortError> {
    let source = copy.source.trim_start_matches("./").trim_end_matches('/');
    let destination = Path::new(copy.destination.trim_start_matches('/'));
    let whole = source.is_empty() || source == ".";
    let set = archive::glob_set(std::slice::from_ref(&source.to_owned()))?;
    let mut entries = BTreeMap::new();
    for path in files {
        if path.starts_with(".git") || ignored.matched_path_or_any_parents(path, false).is_ignore() {
            continue;
        }
        let place = if whole {
            destination.join(path)
        } else if let Ok(below) = path.strip_prefix(source) {
            if below.as_os_str().is_empty() && !copy.destination.ends_with('/') {
                destination.to_owned()
            } else {
                place_below(destination, path, below)
            }
        } else if set.is_match(path) {
            destination.join(path.file_name().unwrap_or_default())
        } else {
            continue;
        };
        entries.insert(place, workspace.join(path));
    }
    if entries.is_empty() {
        let hint = files.iter().map(|path| path.display().to_string()).min_by_key(|path| distance(path, source));
        let hint = hint.map(|path| format!("; the nearest file is `{path}`")).unwrap_or_default();
        return Err(PortError::failed(format!("`copy: {}` matches nothing in the workspace{hint}", copy.source)));
    }
    Ok(entries)
}

fn place_below(destination: &Path, path: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { destination.join(path.file_name().unwrap_or_default()) } else { destination.join(below) }
}

/// How far two names are apart: the letters that are not in a common start or end. Enough to name a likely typo.
fn distance(a: &str, b: &str) -> usize {
    let start = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(x, y)| x == y).count();
    a.len().max(b.len()).saturating_sub(start + end)
}

/// Adds what tagged images need to what a sweep keeps.
pub(crate) fn keep_images(blobs: &Blobs, repositories: &Path, keep: &mut HashSet<Digest>) -> Result<(), PortError> {
    let mut manifests: Vec<Digest> = keep.iter().copied().collect();
    for repository in std::fs::read_dir(repositories).map_err(|error| disk("list the images", error))?.flatten() {
        let Ok(tags) = std::fs::read_dir(repository.path().join("tags")) else { continue };
        let tagged = tags.flatten().filter_map(|tag| std::fs::read_to_string(tag.path()).ok()?.parse::<Digest>().ok());
        manifests.extend(tagged);
    }
    for manifest in manifests {
        keep.insert(manifest);
        let Ok(bytes) = blobs.read(&manifest) else { continue };
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let layers = value["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let parts = layers.iter().chain([&value["config"]]).filter_map(|part| part["digest"].as_str()?.parse::<Digest>().ok());
        keep.extend(parts);
    }
    Ok(())
}
