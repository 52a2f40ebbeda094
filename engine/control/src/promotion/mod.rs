//! Promotions: opened by runs, by success in the environment before and by people; decided by the gates, again whenever something changes.
//! Invariant: a deployment and the promotion's move to `deploying` are one transaction.

mod action;
pub(crate) mod hold;
mod judge;

pub use action::Approved;

use hookwright_core::port::{Notifier, Topic};
use hookwright_core::status::PromotionStatus;
use hookwright_core::{Deployment, EnvironmentName, Origin, Promotion, PromotionId, Release, RunId};
use hookwright_spec::Spec;
use hookwright_store::Tx;
use tracing::warn;

use crate::{Deps, Error, Result, Tasks};

/// More promotions than are ever looked at together.
pub(crate) const OPEN_LIMIT: u32 = 10_000;

/// Evaluates open promotions until the engine shuts down.
pub(crate) async fn run(deps: Deps, tasks: Tasks) {
    let mut judged = judge::Judged::default();
    while !tasks.stopping().is_cancelled() {
        if let Err(error) = judge::pass(&deps, &mut judged).await {
            warn!(error = &error as &dyn std::error::Error, "promotions could not be looked at; trying again");
        }
        tokio::select! {
            () = deps.wakes.wait(Topic::Promotion, deps.settings.tick) => {}
            () = tasks.stopping().cancelled() => {}
        }
    }
}

/// Opens a promotion of `release`; the caller knows that none is open for it there.
pub(crate) async fn open_in(
    deps: &Deps,
    tx: &mut Tx,
    release: &Release,
    environment: &EnvironmentName,
    origin: Origin,
) -> Result<Promotion> {
    let promotion = Promotion {
        id: PromotionId::new(&*deps.ids),
        webhook: release.webhook.clone(),
        environment: environment.clone(),
        release: release.id.clone(),
        origin,
        status: PromotionStatus::Waiting,
        status_reason: None,
        verdicts: Vec::new(),
        deployment: None,
        created_at: deps.clock.now(),
        ended_at: None,
    };
    deps.store.promotion_add_in(tx, &promotion).await?;
    Ok(promotion)
}

/// Has what is live deployed again with the values that were set since, unless that is under way.
pub(crate) async fn reconfigure_in(deps: &Deps, tx: &mut Tx, live: &Deployment, actor: &str) -> Result<()> {
    if deps.store.promotion_open_in(tx, &live.webhook, &live.environment, &live.release).await?.is_none() {
        let missing = || Error::NotFound(format!("the release {} is gone", live.release));
        let release = deps.store.release_fetch(&live.release).await?.ok_or_else(missing)?;
        open_in(deps, tx, &release, &live.environment, Origin::Reconfigure { actor: actor.to_owned() }).await?;
    }
    Ok(())
}

/// Ends a promotion if it still stands where `promotion` says; whether it did. The caller commits and wakes.
pub(crate) async fn end_in(deps: &Deps, tx: &mut Tx, promotion: &Promotion, status: PromotionStatus, reason: String) -> Result<bool> {
    let mut ended = promotion.clone();
    ended.status = promotion.status.to(status)?;
    ended.status_reason = Some(reason);
    ended.ended_at = Some(deps.clock.now());
    Ok(deps.store.promotion_update_in(tx, promotion.status, &ended).await?)
}

/// Ends the waiting promotion that a canceled run opened. One that is being deployed goes on: half a deployment helps nobody; and one that
/// something else opened is not the run's to end.
pub(crate) async fn cancel_of_run(deps: &Deps, run: RunId, promotion: PromotionId, reason: &str) -> Result<()> {
    let Some(promotion) = deps.store.promotion_fetch(promotion).await? else { return Ok(()) };
    if promotion.status != PromotionStatus::Waiting || promotion.origin != (Origin::Run { run }) {
        return Ok(());
    }
    let mut tx = deps.store.begin().await?;
    end_in(deps, &mut tx, &promotion, PromotionStatus::Canceled, reason.to_owned()).await?;
    tx.commit("promotion.canceled").await?;
    wake_all(deps);
    Ok(())
}

/// Wakes everybody whom a promotion's end concerns.
pub(crate) fn wake_all(deps: &Deps) {
    for topic in [Topic::Promotion, Topic::Reconcile, Topic::Scheduler, Topic::Subscriptions] {
        deps.wakes.wake(topic);
    }
}

/// The spec that a release was built with.
pub(crate) fn spec_of(release: &Release) -> Result<Spec> {
    serde_json::from_str(&release.spec).map_err(|cause| Error::internal(format!("read the spec of {}", release.id), cause))
}
