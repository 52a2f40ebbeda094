//! `/runs`, their stages, logs and artifacts.

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::response::Response;
use hookwright_control::{LogRequest, TestCounts};
use hookwright_core::status::{RunStatus, StageStatus};
use hookwright_core::{
    Action, Artifact, ArtifactId, ArtifactKind, Digest, PromotionId, RefName, RevisionId, Run, RunId, RunReason, StageName, StageRunId,
    Timestamp, WebhookName,
};
use hookwright_store::{RunFilter, StageRecord};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Query, Result};
use crate::log::{LogView, StageLogQuery};
use crate::page::{Filling, Limit, Page};
use crate::{WebState, words};

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new()
        .routes(routes!(run_list, run_start))
        .routes(routes!(run_show))
        .routes(routes!(run_retry))
        .routes(routes!(run_cancel))
        .routes(routes!(stage_logs))
        .routes(routes!(artifact_download))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RunQuery {
    /// Only of this webhook.
    #[param(value_type = Option<String>)]
    webhook: Option<WebhookName>,
    /// Only in this status.
    #[param(value_type = Option<words::RunState>)]
    status: Option<RunStatus>,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<RunId>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// Why a run exists.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = RunReason)]
enum ReasonView {
    /// A revision arrived.
    Revision,
    /// Somebody asked for it.
    Manual { actor: String },
    /// An ended run is done again.
    Retry {
        #[schema(value_type = String)]
        of: RunId,
        actor: String,
        /// Whether every stage is done again, whatever the cache has, or only what did not succeed.
        all: bool,
    },
}

impl From<RunReason> for ReasonView {
    fn from(reason: RunReason) -> Self {
        match reason {
            RunReason::Revision => Self::Revision,
            RunReason::Manual { actor } => Self::Manual { actor },
            RunReason::Retry { of, actor, all } => Self::Retry { of, actor, all },
        }
    }
}

/// The execution of a plan.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Run)]
pub(crate) struct RunView {
    #[schema(value_type = String)]
    id: RunId,
    /// Counts up per webhook from 1.
    number: u32,
    #[schema(value_type = String)]
    webhook: WebhookName,
    #[schema(value_type = String)]
    revision: RevisionId,
    #[serde(serialize_with = "reason")]
    #[schema(value_type = ReasonView)]
    reason: RunReason,
    /// Whether secrets may be used and the cache may be written.
    trusted: bool,
    #[schema(value_type = words::RunState)]
    pub(crate) status: RunStatus,
    /// Why it ended as it did, or why it waits, as a sentence.
    status_reason: Option<String>,
    #[schema(value_type = Option<String>)]
    superseded_by: Option<RunId>,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    created_at: Timestamp,
    #[schema(value_type = Option<i64>)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<i64>)]
    ended_at: Option<Timestamp>,
}

fn reason<S: serde::Serializer>(reason: &RunReason, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    ReasonView::from(reason.clone()).serialize(serializer)
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        let Run { id, number, webhook, revision, reason, trusted, status, status_reason, superseded_by, .. } = run;
        let Run { created_at, started_at, ended_at, .. } = run;
        Self { id, number, webhook, revision, reason, trusted, status, status_reason, superseded_by, created_at, started_at, ended_at }
    }
}

/// Tests counted in the reports of a stage.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TestCounts)]
struct TestsView {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
}

/// One attempt at a stage of a run.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StageRun)]
pub(crate) struct StageView {
    #[schema(value_type = String)]
    pub(crate) id: StageRunId,
    #[schema(value_type = String)]
    pub(crate) stage: StageName,
    /// Counts up from 1 per stage and run.
    pub(crate) attempt: u32,
    #[schema(value_type = words::StageState)]
    pub(crate) status: StageStatus,
    /// Why it ended as it did, or what it waits for, as a sentence.
    status_reason: Option<String>,
    /// The run whose outputs a cached stage has.
    #[schema(value_type = Option<String>)]
    cached_from: Option<RunId>,
    exit_code: Option<i32>,
    /// The image it made, by digest.
    #[schema(value_type = Option<String>)]
    image: Option<Digest>,
    /// The promotion it is held by.
    #[schema(value_type = Option<String>)]
    promotion: Option<PromotionId>,
    tests: Option<TestsView>,
    /// In milliseconds since 1970.
    #[schema(value_type = Option<i64>)]
    queued_at: Option<Timestamp>,
    #[schema(value_type = Option<i64>)]
    started_at: Option<Timestamp>,
    #[schema(value_type = Option<i64>)]
    ended_at: Option<Timestamp>,
}

impl From<StageRecord> for StageView {
    fn from(record: StageRecord) -> Self {
        let stage = record.stage_run;
        let tests = record.tests.and_then(|tests| serde_json::from_str::<TestCounts>(&tests).ok());
        Self {
            id: stage.id,
            stage: stage.stage,
            attempt: stage.attempt,
            status: stage.status,
            status_reason: stage.status_reason,
            cached_from: stage.cached_from,
            exit_code: stage.exit_code,
            image: record.image,
            promotion: record.promotion,
            tests: tests.map(|TestCounts { tests, failures, errors, skipped }| TestsView { tests, failures, errors, skipped }),
            queued_at: stage.queued_at,
            started_at: stage.started_at,
            ended_at: stage.ended_at,
        }
    }
}

/// What a stage left behind.
#[derive(Serialize, ToSchema)]
#[schema(as = Artifact)]
struct ArtifactView {
    #[schema(value_type = String)]
    id: ArtifactId,
    #[schema(value_type = String)]
    stage_run: StageRunId,
    #[schema(value_type = words::ArtifactWord)]
    kind: ArtifactKind,
    /// The name it is downloaded under.
    name: String,
    #[schema(value_type = String)]
    digest: Digest,
    /// In bytes.
    size: u64,
}

impl From<Artifact> for ArtifactView {
    fn from(artifact: Artifact) -> Self {
        let Artifact { id, stage_run, kind, name, digest, size, .. } = artifact;
        Self { id, stage_run, kind, name, digest, size }
    }
}

/// A run with its stages, in the order of the plan, and what they left behind.
#[derive(Serialize, ToSchema)]
struct RunDetail {
    #[serde(flatten)]
    run: RunView,
    stages: Vec<StageView>,
    artifacts: Vec<ArtifactView>,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunQuery), security(("bearer" = ["viewer"])),
    responses((status = 200, description = "A page of runs.", body = Page<RunView>)))]
async fn run_list(State(state): State<WebState>, caller: Caller, Query(query): Query<RunQuery>) -> Result<Json<Page<RunView>>> {
    caller.must_for(Action::Read, query.webhook.as_ref())?;
    let RunQuery { webhook, status, cursor, limit } = query;
    let mut filter = RunFilter { webhook, status, ..RunFilter::default() };
    let mut page = Filling::new(cursor, limit, true);
    while let Some((before, limit)) = page.more() {
        (filter.before, filter.limit) = (before, limit);
        page.add(state.store.run_list(&filter).await?, |run| run.id, |run| caller.sees(&run.webhook));
    }
    Ok(Json(page.page(RunView::from)))
}

/// The run, if the caller sees it.
pub(crate) async fn find(state: &WebState, caller: &Caller, id: RunId) -> Result<Run> {
    let run = state.store.run_fetch(id).await?.filter(|run| caller.sees(&run.webhook));
    run.ok_or_else(|| Problem::not_found(format!("there is no run {id}")))
}

/// A run.
#[utoipa::path(get, path = "/runs/{run}", tag = "runs", security(("bearer" = ["viewer"])),
    responses((status = 200, description = "The run.", body = RunDetail)))]
async fn run_show(State(state): State<WebState>, caller: Caller, Path(id): Path<RunId>) -> Result<Json<RunDetail>> {
    let run = find(&state, &caller, id).await?.into();
    let stages = state.store.stage_run_list(id).await?.into_iter().map(StageView::from).collect();
    let artifacts = state.store.artifact_list(id).await?.into_iter().map(ArtifactView::from).collect();
    Ok(Json(RunDetail { run, stages, artifacts }))
}

/// A run to start.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRun {
    #[schema(value_type = String)]
    webhook: WebhookName,
    /// A full ref, such as `refs/heads/main`; left out: the default branch.
    #[schema(value_type = Option<String>)]
    reference: Option<RefName>,
}

/// Starts a run of the commit that a ref points to now.
#[utoipa::path(post, path = "/runs", tag = "runs", request_body = NewRun, security(("bearer" = ["developer"])), responses(
    (status = 201, description = "The run.", body = RunView),
    (status = 404, description = "There is no such webhook or ref."),
    (status = 409, description = "Nothing was pushed yet."),
))]
async fn run_start(State(state): State<WebState>, caller: Caller, Body(new): Body<NewRun>) -> Result<(StatusCode, Json<RunView>)> {
    let id = state.control.run_start(&caller.actor, &new.webhook, new.reference.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(find(&state, &caller, id).await?.into())))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RetryQuery {
    /// Every stage is done again, whatever the cache has, also of a run that succeeded; left out, only what did not succeed.
    #[serde(default)]
    all: bool,
}

/// Does an ended run again as a new run of the same commit: from its failed stage on, or all of it.
#[utoipa::path(post, path = "/runs/{run}/retry", tag = "runs", params(RetryQuery), security(("bearer" = ["developer"])), responses(
    (status = 201, description = "The new run.", body = RunView),
    (status = 409, description = "It has not ended, had no plan, or, without `all`, succeeded or was retried already."),
))]
async fn run_retry(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<RunId>,
    Query(query): Query<RetryQuery>,
) -> Result<(StatusCode, Json<RunView>)> {
    find(&state, &caller, id).await?;
    let id = state.control.run_retry(&caller.actor, id, query.all).await?;
    Ok((StatusCode::CREATED, Json(find(&state, &caller, id).await?.into())))
}

/// Stops a run; it ends when its jobs have.
#[utoipa::path(post, path = "/runs/{run}/cancel", tag = "runs", security(("bearer" = ["developer"])), responses(
    (status = 200, description = "The run.", body = RunView),
    (status = 409, description = "It has ended already."),
))]
async fn run_cancel(State(state): State<WebState>, caller: Caller, Path(id): Path<RunId>) -> Result<Json<RunView>> {
    find(&state, &caller, id).await?;
    state.control.run_cancel(&caller.actor, id).await?;
    Ok(Json(find(&state, &caller, id).await?.into()))
}

/// A stretch of a stage's log, at most about 1 MiB.
#[utoipa::path(get, path = "/runs/{run}/stages/{stage}/logs", tag = "runs", params(StageLogQuery), security(("bearer" = ["viewer"])),
    responses((status = 200, description = "The stretch.", body = LogView)))]
async fn stage_logs(
    State(state): State<WebState>,
    caller: Caller,
    Path((run, stage)): Path<(RunId, StageName)>,
    Query(query): Query<StageLogQuery>,
) -> Result<Json<LogView>> {
    find(&state, &caller, run).await?;
    let request = LogRequest { run, stage, attempt: query.attempt, from: query.from.unwrap_or_default() };
    Ok(Json(state.control.logs(&caller.actor, &request).await?.into()))
}

/// The content of an artifact.
#[utoipa::path(get, path = "/artifacts/{artifact}", tag = "runs", security(("bearer" = ["viewer"])), responses(
    (status = 200, description = "The content.", body = Vec<u8>, content_type = "application/octet-stream"),
))]
async fn artifact_download(State(state): State<WebState>, caller: Caller, Path(id): Path<ArtifactId>) -> Result<Response> {
    let missing = || Problem::not_found(format!("there is no artifact {id}"));
    let artifact = state.store.artifact_fetch(id).await?.ok_or_else(missing)?;
    let run = state.store.artifact_run(id).await?.ok_or_else(missing)?;
    find(&state, &caller, run).await?;
    let (size, stream) = state.artifacts.open(&artifact.digest).await?.ok_or_else(missing)?;
    let name: String = artifact.name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, size)
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .body(HttpBody::from_stream(stream));
    response.map_err(Problem::invalid)
}
