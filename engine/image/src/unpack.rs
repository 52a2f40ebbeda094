//! The `ImageSource` port: an image's files and settings for a runtime.

use std::path::Path;

use async_trait::async_trait;
use hookwright_core::port::{ImageConfig, ImageSource};
use hookwright_core::{Digest, PortError};
use serde_json::Value;

use crate::archive::Budget;
use crate::artifact::aside;
use crate::blob::disk;
use crate::{Registry, archive};

#[async_trait]
impl ImageSource for Registry {
    async fn settings(&self, image: &Digest) -> Result<ImageConfig, PortError> {
        let (registry, image) = (self.clone(), *image);
        aside(move || {
            let manifest = registry.json(&image)?;
            Ok(settings(&registry.json(&digest(&manifest["config"])?)?))
        })
        .await
    }

    async fn unpack(&self, image: &Digest, into: &Path) -> Result<(), PortError> {
        let (registry, image, into) = (self.clone(), *image, into.to_owned());
        aside(move || {
            let manifest = registry.json(&image)?;
            let budget = Budget::new("the image", registry.limits);
            for layer in manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let path = registry.blobs.path(&digest(layer)?);
                let file = std::fs::File::open(path).map_err(|error| disk("read a layer", error))?;
                archive::unpack(std::io::BufReader::new(file), &into, archive::Whiteouts::Remove, &budget)?;
            }
            Ok(())
        })
        .await
    }
}

impl Registry {
    fn json(&self, digest: &Digest) -> Result<Value, PortError> {
        let bytes = self.blobs.read_document(digest, self.limits.manifest)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| PortError::failed(format!("`{digest}` is no JSON document of an image")).because(error))
    }
}

fn digest(descriptor: &Value) -> Result<Digest, PortError> {
    let text = descriptor["digest"].as_str().unwrap_or_default();
    text.parse().map_err(|error| PortError::failed("the image's manifest names a part without digest").because(error))
}

fn settings(config: &Value) -> ImageConfig {
    let settings = &config["config"];
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut command = texts(&settings["Entrypoint"]);
    command.extend(texts(&settings["Cmd"]));
    let port = settings["ExposedPorts"].as_object().and_then(|ports| ports.keys().next()?.split('/').next()?.parse().ok());
    ImageConfig {
        command,
        working_directory: settings["WorkingDir"].as_str().unwrap_or("/").to_owned(),
        environment: texts(&settings["Env"])
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect(),
        port: port.unwrap_or_default(),
        labels: settings["Labels"]
            .as_object()
            .map(|labels| labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
            .unwrap_or_default(),
    }
}
