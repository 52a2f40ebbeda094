//! Cuts releases: the content names the release, so that cutting it twice is cutting it once.
//! Called by the deploy stage of a run; the promotion into the first environment is opened in the same transaction.

use hookwright_core::port::{Notifier, Topic};
use hookwright_core::{CommitSha, Digest, Origin, PromotionId, Release, ReleaseId, RepositoryId, RevisionId, RunId, Sha256, WebhookName};
use hookwright_spec::Spec;
use hookwright_store::PromotionFilter;

use crate::promotion::{OPEN_LIMIT, open_in};
use crate::{Deps, Error, Result};

/// What a release is made of, and which run asks.
pub(crate) struct CutRelease<'a> {
    /// The run; its deploy stage ends with the promotion.
    pub(crate) run: RunId,
    /// The revision it built.
    pub(crate) revision: RevisionId,
    /// Whose release.
    pub(crate) webhook: WebhookName,
    /// The repository that built it.
    pub(crate) repository: RepositoryId,
    /// The commit of the revision.
    pub(crate) commit: CommitSha,
    /// The image, by digest.
    pub(crate) image: Digest,
    /// The spec at that commit.
    pub(crate) spec: &'a Spec,
}

/// Cuts the release and opens its promotion into the first environment. Asked again for the same run and content, it answers the same.
pub(crate) async fn cut(deps: &Deps, request: CutRelease<'_>) -> Result<(Release, PromotionId)> {
    match try_cut(deps, &request).await {
        // Another run cut the same content in this moment; what it wrote is found now.
        Err(Error::Internal { cause, .. }) if is_conflict(cause.as_ref()) => try_cut(deps, &request).await,
        done => done,
    }
}

fn is_conflict(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref::<hookwright_store::Error>().is_some_and(hookwright_store::Error::is_conflict)
}

async fn try_cut(deps: &Deps, request: &CutRelease<'_>) -> Result<(Release, PromotionId)> {
    let spec = serde_json::to_string(request.spec).map_err(|cause| Error::internal("write the spec as JSON", cause))?;
    let first = request.spec.first_environment().ok_or_else(|| Error::Invalid("the spec declares no environment".to_owned()))?;
    let mut content = Sha256::default();
    content.part(request.webhook.as_str()).part(request.commit.as_str()).part(request.image.to_string()).part(&spec);
    let content = content.finish();
    let release = Release {
        id: ReleaseId::of(&content),
        content,
        webhook: request.webhook.clone(),
        revision: request.revision,
        commit: request.commit.clone(),
        run: request.run,
        image: request.image,
        spec,
        created_at: deps.clock.now(),
    };
    let filter = PromotionFilter {
        webhook: Some(release.webhook.clone()),
        environment: Some(first.name.clone()),
        limit: OPEN_LIMIT,
        ..PromotionFilter::default()
    };
    let known = deps.store.promotion_list(&filter).await?;
    let mine = Origin::Run { run: request.run };
    let known = known.into_iter().find(|known| known.release == release.id && (known.origin == mine || !known.status.is_end()));
    let mut tx = deps.store.begin().await?;
    if tx.webhook_hold(&release.webhook).await? != Some(request.repository) {
        return Err(Error::Invalid(format!("the webhook `{}` was removed while this ran, so that nothing is released", release.webhook)));
    }
    let release = deps.store.release_add_in(&mut tx, &release).await?;
    let promotion = match known {
        Some(known) => known.id,
        None => open_in(deps, &mut tx, &release, &first.name, mine).await?.id,
    };
    tx.commit("release.cut").await?;
    deps.wakes.wake(Topic::Promotion);
    Ok((release, promotion))
}
