//! The image stage: makes the image out of a workspace with everything from upstream. Identical inputs give the identical digest.

use std::collections::BTreeMap;

use hookwright_core::port::{BaseImage, CopyInstruction, ImageConfig, ImageRequest};
use hookwright_core::status::StageStatus;
use hookwright_core::{Artifact, ArtifactId, ArtifactKind, ImageTag};
use hookwright_spec::StageKind;

use super::context::remove_workspace;
use super::{Context, Finished};
use crate::scheduler::Ending;
use crate::{Error, Result};

impl Context {
    pub(super) async fn build_image(&self) -> Result<Finished> {
        let StageKind::Image { copy, respect_ignore_files, environment, working_directory } = &self.stage().kind else {
            return Err(Error::Invalid("this stage makes no image".to_owned()));
        };
        let workspace = self.fill_workspace().await?;
        let spec = &self.run.spec;
        let title = spec.title.clone().unwrap_or_else(|| spec.name.to_string());
        let request = ImageRequest {
            webhook: spec.name.clone(),
            // Whoever opens a pull request could aim at the tag of another commit.
            tag: self.run.run.trusted.then(|| ImageTag::from(&self.run.revision.commit)),
            workspace: workspace.clone(),
            respect_ignore_files: *respect_ignore_files,
            base: BaseImage::Scratch,
            copy: copy
                .iter()
                .filter(|entry| !entry.optional || workspace.join(&entry.source).exists())
                .map(|entry| CopyInstruction { source: entry.source.clone(), destination: entry.destination.clone() })
                .collect(),
            config: ImageConfig {
                command: spec.handler.command.clone(),
                working_directory: working_directory.clone(),
                environment: environment.clone(),
                port: spec.handler.port,
                labels: BTreeMap::from([("org.opencontainers.image.title".to_owned(), title)]),
            },
        };
        let built = self.deps.images.build(&request).await;
        remove_workspace(&self.deps, self.id).await.map_err(|cause| Error::internal("remove the workspace", cause))?;
        let built = built?;
        let note = format!("image {}: {} files, {} bytes", built.digest, built.files, built.size);
        self.deps.executor.note(&self.id, &note).await?;
        let mut finished = Finished::new(Ending::new(StageStatus::Succeeded, None));
        finished.image = Some(built.digest);
        finished.artifacts.push(Artifact {
            id: ArtifactId::new(self.deps.ids.as_ref()),
            stage_run: self.id,
            kind: ArtifactKind::Image,
            name: format!("{}@{}", spec.name, built.digest),
            digest: built.digest,
            size: built.size,
            created_at: self.deps.clock.now(),
        });
        Ok(finished)
    }
}
