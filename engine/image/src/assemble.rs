//! The `ImageBuilder` port: an OCI image (image-spec 1.1) out of a workspace, one layer for each `copy` entry.

use std::io::Read;
use std::path::Path;

use async_trait::async_trait;
use flate2::read::GzDecoder;
use hookwright_core::port::{BuiltImage, ImageBuilder, ImageRequest, ManifestKind, StoredBlob};
use hookwright_core::{Digest, PortError};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::artifact::aside;
use crate::blob::disk;
use crate::link::Links;
use crate::{Registry, archive, copy, link};

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
        let listing = archive::list(&request.workspace)?;
        let copied = request.copy.iter().map(|copy| copy::copied(&listing.files, copy, &ignored)).collect::<Result<Vec<_>, _>>()?;
        // All layers end in one tree, so a link may lead out through one of another layer.
        let mut links = Links::new();
        for (place, path) in copied.iter().flatten() {
            match listing.links.get(path) {
                Some(target) => links.insert(place.clone(), target.clone()),
                None => links.remove(place),
            };
        }
        link::refuse_leaving(links.keys(), &links)?;
        let mut layers = Vec::new();
        for layer in &copied {
            let entries = layer.iter().map(|(place, path)| (place.clone(), request.workspace.join(path))).collect();
            layers.push(archive::write(&entries, self.blobs.writer()?)?.finish()?);
        }
        let config = self.blobs.put(&self.config(request, &layers)?)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": ManifestKind::OciImage.media_type(),
            "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER, layer)).collect::<Vec<_>>(),
        });
        let manifest = self.blobs.put(manifest.to_string().as_bytes())?;
        let parts: Vec<Digest> = layers.iter().chain([&config]).map(|part| part.digest).collect();
        self.publish(&request.webhook, request.tag.as_ref(), &manifest, &parts)?;
        let files = copied.iter().map(|layer| layer.len() as u64).sum();
        Ok(BuiltImage { digest: manifest.digest, size: layers.iter().map(|layer| layer.size).sum(), files })
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

/// `.dockerignore` wins over `.gitignore`.
fn ignore_file(workspace: &Path) -> Result<Gitignore, PortError> {
    let mut builder = GitignoreBuilder::new(workspace);
    let file = [".dockerignore", ".gitignore"].into_iter().map(|name| workspace.join(name)).find(|path| path.is_file());
    if let Some(error) = file.and_then(|path| builder.add(path)) {
        return Err(PortError::failed(format!("the ignore file cannot be read: {error}")));
    }
    builder.build().map_err(|error| PortError::failed(format!("the ignore file cannot be read: {error}")))
}
