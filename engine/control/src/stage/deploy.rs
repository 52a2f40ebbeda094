//! The deploy stage: cuts the release of the image that was built and is held until its promotion into the first environment ends.

use super::{Context, Prepared};
use crate::release::{self, CutRelease};
use crate::{Error, Result};

impl Context {
    pub(super) async fn deploy(&self) -> Result<Prepared> {
        let image =
            self.image.ok_or_else(|| Error::Invalid("no stage that `deploy` needs made an image; add one of kind `image`".to_owned()))?;
        let run = &self.run;
        let cut = CutRelease {
            run: run.run.id,
            revision: run.revision.id,
            webhook: run.spec.name.clone(),
            repository: run.revision.repository,
            commit: run.revision.commit.clone(),
            image,
            spec: &run.spec,
        };
        let (release, promotion) = release::cut(&self.deps, cut).await?;
        self.deps.executor.note(&self.id, &format!("release {}", release.id)).await?;
        Ok(Prepared::Held(promotion))
    }
}
