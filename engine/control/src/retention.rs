//! Retention: removes old runs with their logs and artifacts, old events, cache entries nobody used, blobs nobody names and workspaces left behind.
//! The latest runs of every webhook stay whatever their age.

use hookwright_core::StageRunId;
use tracing::{info, warn};

use crate::stage::remove_workspace;
use crate::{Deps, Error, Result, Tasks, event};

/// So many runs of every webhook are kept whatever their age.
const KEPT_RUNS: u32 = 10;
/// So many runs are removed in one transaction.
const BATCH: u32 = 50;

/// Runs the loop until the engine stops.
pub(crate) async fn run(deps: Deps, tasks: Tasks) {
    let stopping = tasks.stopping().clone();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(deps.settings.retention_interval) => {}
        }
        if let Err(cause) = pass(&deps).await {
            warn!(error = %cause, "retention could not clean up; it tries again later");
        }
    }
}

async fn pass(deps: &Deps) -> Result<()> {
    let now = deps.clock.now().as_millis();
    let before = |age: std::time::Duration| {
        hookwright_core::Timestamp::from_millis(now - i64::try_from(age.as_millis()).unwrap_or(i64::MAX).min(now))
    };
    loop {
        let old = deps.store.run_list_expired(before(deps.settings.keep_runs), KEPT_RUNS, BATCH).await?;
        if old.is_empty() {
            break;
        }
        for run in old {
            for record in deps.store.stage_run_list(run).await? {
                deps.executor.forget(&record.stage_run.id).await?;
            }
            let mut tx = deps.store.begin().await?;
            deps.store.run_remove_in(&mut tx, run).await?;
            tx.commit("run.removed").await?;
        }
    }
    let mut tx = deps.store.begin().await?;
    deps.store.cache_expire_in(&mut tx, before(deps.settings.keep_cache)).await?;
    tx.commit("cache.expired").await?;
    let mut tx = deps.store.begin().await?;
    tx.traffic_expire(before(deps.settings.keep_traffic)).await?;
    tx.commit("traffic.expired").await?;
    event::forget(deps, before(deps.settings.keep_events)).await?;
    remove_workspaces(deps).await?;
    forget_deployments(deps, before(deps.settings.keep_deployments)).await?;
    let keep = deps.store.artifact_digests().await?;
    let freed = deps.artifacts.sweep(&keep).await?;
    if freed > 0 {
        info!(freed_bytes = freed, "retention removed blobs that nothing names any more");
    }
    Ok(())
}

/// Removes logs, folders and unpacked images of deployments that ended long ago, and of those nobody knows.
async fn forget_deployments(deps: &Deps, before: hookwright_core::Timestamp) -> Result<()> {
    for id in deps.runtime.list().await? {
        let known = deps.store.deployment_fetch(id).await?;
        let over = known.is_none_or(|known| known.status.is_end() && known.ended_at.is_none_or(|ended| ended < before));
        if over && deps.runtime.retire(&id, deps.settings.stop_grace).await? {
            deps.runtime.forget(&id).await?;
        }
    }
    Ok(())
}

async fn remove_workspaces(deps: &Deps) -> Result<()> {
    let failed = |cause: std::io::Error| Error::internal("clean up workspaces", cause);
    let Ok(mut folders) = tokio::fs::read_dir(deps.settings.data.join("workspaces")).await else { return Ok(()) };
    while let Some(folder) = folders.next_entry().await.map_err(failed)? {
        let Some(id) = folder.file_name().to_str().and_then(|name| name.parse::<StageRunId>().ok()) else { continue };
        if deps.store.stage_run_fetch(id).await?.is_none_or(|record| record.stage_run.status.is_end()) {
            remove_workspace(deps, id).await.map_err(failed)?;
        }
    }
    Ok(())
}
