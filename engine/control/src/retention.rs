//! Retention: removes old runs with their logs and artifacts, old events, cache entries nobody used, blobs nobody names and workspaces left behind.
//! The latest runs of every webhook stay whatever their age.

use hookwright_core::{EventId, StageRunId, Timestamp};
use hookwright_store::Forgotten;
use tracing::{info, warn};

use crate::stage::remove_workspace;
use crate::{Deps, Error, Result, Tasks};

/// So many runs of every webhook are kept whatever their age.
const KEPT_RUNS: u32 = 10;
/// So many runs are removed in one transaction.
const BATCH: u32 = 50;
/// How long after the start it looks first.
const FIRST: std::time::Duration = std::time::Duration::from_secs(60);
/// So many events are measured at a time.
const SIZES: u32 = 1000;

/// Runs the loop until the engine stops.
pub(crate) async fn run(deps: Deps, tasks: Tasks) {
    let stopping = tasks.stopping().clone();
    // A daemon that is started again and again cleans up too.
    let mut pause = deps.settings.retention_interval.min(FIRST);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = deps.settings.retention_interval;
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
    tx.refusals_expire(before(deps.settings.keep_traffic)).await?;
    tx.commit("traffic.expired").await?;
    forget_events(deps, now).await?;
    remove_workspaces(deps).await?;
    forget_deployments(deps, before(deps.settings.keep_deployments)).await?;
    let keep = deps.store.artifact_digests().await?;
    let freed = deps.artifacts.sweep(&keep).await?;
    if freed > 0 {
        info!(freed_bytes = freed, "retention removed blobs that nothing names any more");
    }
    Ok(())
}

/// Forgets events that are old, and the oldest while all together take too much room; cuts out of those that were given up what nobody is to see.
async fn forget_events(deps: &Deps, now: i64) -> Result<()> {
    let ago = |age: std::time::Duration| Timestamp::from_millis(now - i64::try_from(age.as_millis()).unwrap_or(i64::MAX).min(now));
    let keys_since = ago(deps.settings.keep_event_keys);
    forget(deps, Forgotten::Before(ago(deps.settings.keep_events)), keys_since).await?;
    let (mut bytes, oldest_kept) = measure(deps).await?;
    if let Some(oldest) = oldest_kept {
        forget(deps, Forgotten::OlderThan(oldest), keys_since).await?;
        bytes = measure(deps).await?.0;
        let limit = deps.settings.keep_event_bytes;
        if bytes > limit {
            warn!(bytes, limit, "events take more room than they may: what is left is still to be delivered, and is kept");
        }
    }
    deps.meter.events_stored(bytes);
    while deps.store.event_redact_given_up(ago(deps.settings.keep_given_up)).await? > 0 {}
    while deps.store.event_forget_keys(keys_since).await? > 0 {}
    Ok(())
}

async fn forget(deps: &Deps, which: Forgotten, keys_since: Timestamp) -> Result<()> {
    let mut after = None;
    while let Some(last) = deps.store.event_forget(which, keys_since, after).await? {
        after = Some(last);
    }
    Ok(())
}

/// The room that all events take, and the oldest one that has room beside the newer ones, when not all have.
async fn measure(deps: &Deps) -> Result<(u64, Option<EventId>)> {
    let limit = match deps.settings.keep_event_bytes {
        0 => u64::MAX,
        limit => limit,
    };
    let (mut bytes, mut last, mut oldest_kept) = (0_u64, None, None);
    loop {
        let portion = deps.store.event_sizes(last, SIZES).await?;
        let is_last = portion.len() < SIZES as usize;
        for (id, size) in portion {
            bytes = bytes.saturating_add(size);
            // The newest one stays however large it is.
            if bytes > limit && oldest_kept.is_none() {
                oldest_kept = Some(last.unwrap_or(id));
            }
            last = Some(id);
        }
        if is_last {
            return Ok((bytes, oldest_kept));
        }
    }
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
