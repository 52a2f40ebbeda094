//! `/webhooks`: what runs where, and what waits.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use hookwright_core::status::DeploymentStatus;
use hookwright_core::{
    Action, CommitSha, ConfigName, Deployment, Digest, EnvironmentName, InstanceState, InstanceStatus, ReleaseId, RepositoryId, Timestamp,
    WebhookName,
};
use hookwright_spec::Spec;
use hookwright_store::{PromotionFilter, RunFilter, WebhookRecord};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{Path, Problem, Query, Result};
use crate::hold::HoldView;
use crate::log::{LogQuery, LogView};
use crate::page::{Filling, Limit, Page};
use crate::promotion::PromotionView;
use crate::run::RunView;
use crate::{WebState, words};

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(webhook_list)).routes(routes!(webhook_show)).routes(routes!(deployment_logs))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct WebhookQuery {
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<WebhookName>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// A webhook, and what of it runs where.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
struct WebhookView {
    #[schema(value_type = String)]
    name: WebhookName,
    title: Option<String>,
    /// The repository it belongs to.
    #[schema(value_type = String)]
    repository: RepositoryId,
    /// The folder of its `webhook.yaml`; empty for the root.
    folder: String,
    /// Those that the default branch declares, then those in which something is live all the same; as far as the caller reads them.
    environments: Vec<EnvironmentView>,
    /// The secrets that its default branch asks for.
    #[schema(value_type = Vec<String>)]
    secrets: Vec<ConfigName>,
    /// The secrets that stages ask for, which are those of the environment `build`.
    #[schema(value_type = Vec<String>)]
    build_secrets: BTreeSet<ConfigName>,
    last_run: Option<RunView>,
}

/// What runs in an environment.
#[derive(Serialize, ToSchema)]
#[schema(as = Environment)]
struct EnvironmentView {
    #[schema(value_type = String)]
    name: EnvironmentName,
    /// Whether `webhook.yaml` of the default branch declares it. What is live in one that it does not declare runs until it is undeployed.
    declared: bool,
    /// The path at which the handler is reached.
    address: String,
    /// What is live; `null` while nothing is.
    #[schema(value_type = Option<String>)]
    release: Option<ReleaseId>,
    #[schema(value_type = Option<String>)]
    image: Option<Digest>,
    #[schema(value_type = Option<String>)]
    commit: Option<CommitSha>,
    #[schema(value_type = Option<words::DeploymentState>)]
    status: Option<DeploymentStatus>,
    instances: Vec<InstanceView>,
    /// Those that have not ended.
    promotions: Vec<PromotionView>,
    hold: Option<HoldView>,
}

/// One process, container or pod of a deployment.
#[derive(Serialize, ToSchema)]
#[schema(as = Instance)]
struct InstanceView {
    /// Counts from 0.
    ordinal: u32,
    #[schema(value_type = words::InstanceWord)]
    state: InstanceState,
    /// Where it listens.
    #[schema(value_type = Option<String>)]
    address: Option<SocketAddr>,
    /// How often it was started again.
    restarts: u32,
    #[schema(value_type = Option<i64>)]
    started_at: Option<Timestamp>,
    /// When it is started again, of one that is `backing_off`.
    #[schema(value_type = Option<i64>)]
    restart_at: Option<Timestamp>,
    /// The last thing that went wrong, as a sentence.
    reason: Option<String>,
    /// Processor time used since it started.
    cpu_millis: Option<u64>,
    memory_bytes: Option<u64>,
}

impl From<InstanceStatus> for InstanceView {
    fn from(instance: InstanceStatus) -> Self {
        let InstanceStatus { ordinal, state, address, restarts, started_at, restart_at, reason, cpu_millis, memory_bytes } = instance;
        Self { ordinal, state, address, restarts, started_at, restart_at, reason, cpu_millis, memory_bytes }
    }
}

/// Webhooks by name, those that the caller reads.
#[utoipa::path(get, path = "/webhooks", tag = "webhooks", params(WebhookQuery), security(("bearer" = ["viewer"])),
    responses((status = 200, description = "A page of webhooks.", body = Page<WebhookView>)))]
async fn webhook_list(State(state): State<WebState>, caller: Caller, Query(query): Query<WebhookQuery>) -> Result<Json<Page<WebhookView>>> {
    caller.must(Action::Read)?;
    let mut page = Filling::new(query.cursor, query.limit, false);
    while let Some((after, limit)) = page.more() {
        let records = state.store.webhook_list(after.as_ref(), limit).await?;
        page.add(records, |record| record.name.clone(), |record| caller.sees(&record.name));
    }
    let (records, next_cursor) = page.end();
    let mut items = Vec::new();
    for record in records {
        items.push(view(&state, &caller, record).await?);
    }
    Ok(Json(Page { items, next_cursor }))
}

/// A webhook.
#[utoipa::path(get, path = "/webhooks/{webhook}", tag = "webhooks", security(("bearer" = ["viewer"])),
    responses((status = 200, description = "The webhook.", body = WebhookView)))]
async fn webhook_show(State(state): State<WebState>, caller: Caller, Path(name): Path<WebhookName>) -> Result<Json<WebhookView>> {
    caller.must_for(Action::Read, Some(&name))?;
    let missing = || Problem::not_found(format!("there is no webhook `{name}`; push a repository with its webhook.yaml"));
    let record = state.store.webhook_fetch(&name).await?.ok_or_else(missing)?;
    view(&state, &caller, record).await.map(Json)
}

async fn view(state: &WebState, caller: &Caller, record: WebhookRecord) -> Result<WebhookView> {
    let WebhookRecord { name, repository, folder, .. } = record;
    let spec = state.store.webhook_spec_fetch(&name).await?;
    let spec: Option<Spec> = spec.and_then(|spec| serde_json::from_str(&spec.spec).ok());
    let newest = RunFilter { webhook: Some(name.clone()), limit: 1, ..RunFilter::default() };
    let last_run = state.store.run_list(&newest).await?.into_iter().next().map(RunView::from);
    let declared: Vec<EnvironmentName> =
        spec.iter().flat_map(|spec| &spec.environments).map(|environment| environment.name.clone()).collect();
    let gone = undeclared(state, &name, &declared).await?;
    let mut environments = Vec::new();
    for (environment, is_declared) in declared.iter().map(|name| (name, true)).chain(gone.iter().map(|name| (name, false))) {
        if caller.sees_in(&name, environment) {
            environments.push(environment_view(state, &name, (environment, is_declared)).await?);
        }
    }
    let config = spec.iter().flat_map(|spec| &spec.config);
    let secrets = config.filter(|(_, entry)| entry.secret).map(|(name, _)| name.clone()).collect();
    let stages = spec.iter().flat_map(|spec| &spec.pipeline.stages);
    let build_secrets = stages.flat_map(|stage| stage.secrets.iter().cloned()).collect();
    let title = spec.and_then(|spec| spec.title);
    Ok(WebhookView { title, name, repository, folder, environments, secrets, build_secrets, last_run })
}

/// The environments in which something of a webhook is live although they are not among those that are declared.
pub(crate) async fn undeclared(state: &WebState, webhook: &WebhookName, declared: &[EnvironmentName]) -> Result<Vec<EnvironmentName>> {
    let live = state.store.deployment_list_live(webhook).await?.into_iter().map(|live| live.environment);
    Ok(live.filter(|environment| !declared.contains(environment)).collect())
}

async fn environment_view(state: &WebState, webhook: &WebhookName, (name, declared): (&EnvironmentName, bool)) -> Result<EnvironmentView> {
    let live = state.store.deployment_current(webhook, name).await?;
    let observed = match &live {
        Some(live) => state.runtime.measure(&live.id).await?.unwrap_or_default().instances,
        None => Vec::new(),
    };
    let open = PromotionFilter { webhook: Some(webhook.clone()), environment: Some(name.clone()), open: true, before: None, limit: 20 };
    let waiting = state.store.promotion_list(&open).await?;
    let commit = match &live {
        Some(live) => state.store.release_fetch(&live.release).await?.map(|release| release.commit),
        None => None,
    };
    Ok(EnvironmentView {
        name: name.clone(),
        declared,
        address: format!("/w/{webhook}/{name}/"),
        image: live.as_ref().map(|live| live.image),
        status: live.as_ref().map(|live| live.status),
        release: live.map(|live| live.release),
        commit,
        instances: observed.into_iter().map(InstanceView::from).collect(),
        promotions: waiting.into_iter().map(PromotionView::from).collect(),
        hold: state.store.hold_fetch(webhook, name).await?.map(HoldView::from),
    })
}

/// The newest deployment of a place.
pub(crate) async fn newest_deployment(state: &WebState, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Deployment> {
    let newest = state.store.deployment_list(webhook, Some(environment), 1).await?;
    let missing = || Problem::not_found(format!("nothing of `{webhook}` was deployed to `{environment}` yet"));
    newest.into_iter().next().ok_or_else(missing)
}

/// A stretch of the log of what was deployed last.
#[utoipa::path(get, path = "/webhooks/{webhook}/environments/{environment}/logs", tag = "webhooks", params(LogQuery),
    security(("bearer" = ["viewer"])), responses((status = 200, description = "The stretch.", body = LogView)))]
async fn deployment_logs(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Path<(WebhookName, EnvironmentName)>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogView>> {
    caller.must_in(Action::Read, Some(&webhook), Some(&environment))?;
    let newest = newest_deployment(&state, &webhook, &environment).await?;
    Ok(Json(state.runtime.logs(&newest.id, query.from.unwrap_or_default()).await?.into()))
}
