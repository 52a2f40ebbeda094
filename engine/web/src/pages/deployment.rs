//! A deployment: its instances, what they use, and the log of its handler.

use axum::extract::State;
use hookwright_core::port::Observed;
use hookwright_core::{Deployment, DeploymentId, Timestamp};
use serde::Serialize;

use super::board::health;
use super::lines::{From, stretch, text_file};
use super::log_card::{LogCard, LogPlace};
use super::release::ReleaseShown;
use super::{Answer, Layout};
use crate::error::{Path, Problem, Query, Result};
use crate::show::{Badge, Moment, bytes, took, visible, visible_lines};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// A deployment.
#[derive(Serialize)]
pub(crate) struct DeploymentPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    environment: String,
    environment_url: String,
    promotion_url: String,
    generation: u64,
    badge: Badge,
    reason: Option<String>,
    release: Option<ReleaseShown>,
    digest: String,
    created: Moment,
    live: Option<Moment>,
    ended: Option<Moment>,
    instances: Vec<InstanceRow>,
    config: Vec<(String, String)>,
    /// What became of it, the newest first.
    happened: Vec<Happened>,
    /// What was received for this place.
    events_url: String,
    log: LogCard,
}

/// Something that happened to it.
#[derive(Serialize)]
struct Happened {
    at: Moment,
    badge: Badge,
    what: String,
}

#[derive(Serialize)]
struct InstanceRow {
    ordinal: u32,
    badge: Badge,
    address: String,
    restarts: u32,
    since: Option<Moment>,
    /// When it is started again.
    again: Option<Moment>,
    cpu: Option<String>,
    memory: Option<String>,
    reason: Option<String>,
}

impl View for DeploymentPage {
    const TEMPLATE: &'static str = "pages/deployment.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let instance = InstanceRow {
            ordinal: 0,
            badge: Badge::new("good", "check", "ready"),
            address: "127.0.0.1:4000".into(),
            restarts: 2,
            since: Some(Moment::sample()),
            again: Some(Moment::sample()),
            cpu: Some("1 s".into()),
            memory: Some("3 MiB".into()),
            reason: Some(text()),
        };
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            environment: "production".into(),
            environment_url: "/x".into(),
            promotion_url: "/x".into(),
            generation: 3,
            badge: Badge::new("good", "check", "live"),
            reason: Some(text()),
            release: Some(ReleaseShown::sample()),
            digest: "sha256:0".into(),
            created: Moment::sample(),
            live: Some(Moment::sample()),
            ended: Some(Moment::sample()),
            instances: vec![instance],
            config: vec![(text(), text())],
            happened: vec![Happened { at: Moment::sample(), badge: Badge::new("good", "check", "live"), what: text() }],
            events_url: "/x".into(),
            log: LogCard::sample(),
        }
    }
}

/// The deployment, if the visitor sees it.
async fn sought(state: &WebState, visitor: &Visitor, id: DeploymentId) -> Result<Deployment> {
    let found = state.store.deployment_fetch(id).await?;
    let seen = found.filter(|deployment| visitor.caller.sees_in(&deployment.webhook, &deployment.environment));
    seen.ok_or_else(|| Problem::not_found(format!("there is no deployment {id}")))
}

/// Shows a deployment.
pub(super) async fn show(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(id): Path<DeploymentId>,
    Query(from): Query<From>,
) -> Answer {
    let deployment = sought(&state, &visitor, id).await?;
    let now = state.clock.now();
    let (badge, _) = health(&state, &deployment).await?;
    let observed = state.runtime.measure(&id).await?.unwrap_or_default();
    let happened = happened(&deployment, &observed, now);
    let instances = observed.instances.into_iter().map(|one| InstanceRow {
        ordinal: one.ordinal,
        badge: one.state.into(),
        address: one.address.map(|address| address.to_string()).unwrap_or_default(),
        restarts: one.restarts,
        since: one.started_at.map(|at| Moment::new(at, now)),
        again: one.restart_at.map(|at| Moment::due(at, now)),
        cpu: one.cpu_millis.map(|millis| took(std::time::Duration::from_millis(millis))),
        memory: one.memory_bytes.map(bytes),
        reason: one.reason.as_deref().map(visible),
    });
    let place = LogPlace {
        heading: true,
        attempt: None,
        ended: deployment.status.is_end(),
        whole: urls::deployment(id),
        lines: |at| urls::deployment_lines(id, at),
        follow: urls::deployment_follow(id),
        download: urls::deployment_text(id),
    };
    let log = LogCard::read(place, &from, async |at| Ok(state.runtime.logs(&id, at).await?)).await?;
    let (webhook, environment) = (&deployment.webhook, &deployment.environment);
    let page = DeploymentPage {
        layout: Layout::new(&visitor, "board", format!("{webhook} in {environment}, deployment {}", deployment.generation)),
        webhook: webhook.to_string(),
        webhook_url: urls::webhook(webhook),
        environment: environment.to_string(),
        environment_url: urls::environment(webhook, environment),
        promotion_url: urls::promotion(deployment.promotion),
        generation: deployment.generation,
        badge,
        reason: observed.given_up.as_deref().or(deployment.status_reason.as_deref()).map(visible_lines),
        release: ReleaseShown::fetch(&state, &deployment.release).await?,
        digest: deployment.image.to_string(),
        created: Moment::new(deployment.created_at, now),
        live: deployment.live_at.map(|at| Moment::new(at, now)),
        ended: deployment.ended_at.map(|at| Moment::new(at, now)),
        instances: instances.collect(),
        config: deployment.config.iter().map(|(name, value)| (name.to_string(), visible(value))).collect(),
        happened,
        events_url: urls::events_in(webhook, environment),
        log,
    };
    Ok(template::page(&page))
}

/// What is known of its way, the newest first.
fn happened(deployment: &Deployment, observed: &Observed, now: Timestamp) -> Vec<Happened> {
    let mut found: Vec<(Timestamp, Badge, String)> = Vec::new();
    found.push((deployment.created_at, Badge::new("busy", "clock", "asked for"), "its promotion let it in".to_owned()));
    for one in &observed.instances {
        let Some(at) = one.started_at else { continue };
        let what = match one.restarts {
            0 => format!("instance {}", one.ordinal),
            1 => format!("instance {}, after it ended once", one.ordinal),
            times => format!("instance {}, after it ended {times} times", one.ordinal),
        };
        found.push((at, Badge::new("off", "clock", "started"), what));
    }
    if let Some(at) = deployment.live_at {
        found.push((at, Badge::new("good", "check", "live"), "requests and events go to it".to_owned()));
    }
    if let Some(at) = deployment.ended_at {
        let why = deployment.status_reason.as_deref().map(visible);
        found.push((at, deployment.status.into(), why.unwrap_or_else(|| "nothing goes to it any more".to_owned())));
    }
    found.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    found.into_iter().map(|(at, badge, what)| Happened { at: Moment::new(at, now), badge, what }).collect()
}

/// Its whole log as plain text, as it was written.
pub(super) async fn download(State(state): State<WebState>, visitor: Visitor, Path(id): Path<DeploymentId>) -> Answer {
    let deployment = sought(&state, &visitor, id).await?;
    let file = format!("{}-{}-{}.txt", deployment.webhook, deployment.environment, deployment.generation);
    let runtime = state.runtime.clone();
    text_file(&file, move |at| {
        let runtime = runtime.clone();
        async move { runtime.logs(&id, at).await }
    })
}

/// The next stretch of its log, for the script.
pub(super) async fn lines(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(id): Path<DeploymentId>,
    Query(from): Query<From>,
) -> Answer {
    let deployment = sought(&state, &visitor, id).await?;
    let chunk = state.runtime.logs(&id, from.from).await?;
    Ok(stretch(&chunk, &from, deployment.status.is_end()))
}

/// Its log as it is written, for the script.
pub(super) async fn follow(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(id): Path<DeploymentId>,
    Query(from): Query<From>,
) -> Answer {
    let deployment = sought(&state, &visitor, id).await?;
    crate::stream::follow_deployment(state, visitor.caller, &deployment, &from)
}
