//! `/runs`, their stages, logs and artifacts.

use axum::body::Body as HttpBody;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use hookwright_control::LogRequest;
use hookwright_core::status::RunStatus;
use hookwright_core::{Action, ArtifactId, LogChunk, LogCursor, RefName, Run, RunId, StageName, WebhookName};
use hookwright_store::{RunFilter, StageRecord};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Problem, Result};

/// A page's size when none is asked for.
const PAGE: u32 = 50;

pub(crate) fn routes() -> Router<WebState> {
    Router::new()
        .route("/runs", get(list).post(start))
        .route("/runs/{id}", get(show))
        .route("/runs/{id}/retry", post(retry))
        .route("/runs/{id}/cancel", post(cancel))
        .route("/runs/{id}/stages/{stage}/logs", get(logs))
        .route("/artifacts/{id}", get(download))
}

#[derive(Deserialize)]
struct Filter {
    webhook: Option<WebhookName>,
    status: Option<RunStatus>,
    cursor: Option<RunId>,
    limit: Option<u32>,
}

pub(crate) fn view(run: &Run) -> Value {
    json!({
        "id": run.id, "number": run.number, "webhook": run.webhook, "revision": run.revision, "reason": run.reason,
        "trusted": run.trusted, "status": run.status, "status_reason": run.status_reason, "superseded_by": run.superseded_by,
        "created_at": run.created_at, "started_at": run.started_at, "ended_at": run.ended_at,
    })
}

fn stage_view(record: &StageRecord) -> Value {
    let stage = &record.stage_run;
    let tests = record.tests.as_deref().and_then(|tests| serde_json::from_str::<Value>(tests).ok());
    json!({
        "id": stage.id, "stage": stage.stage, "attempt": stage.attempt, "status": stage.status, "status_reason": stage.status_reason,
        "cached_from": stage.cached_from, "exit_code": stage.exit_code, "image": record.image, "promotion": record.promotion,
        "tests": tests, "queued_at": stage.queued_at, "started_at": stage.started_at, "ended_at": stage.ended_at,
    })
}

async fn list(State(state): State<WebState>, caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Value>> {
    caller.must_for(Action::Read, filter.webhook.as_ref())?;
    let limit = filter.limit.unwrap_or(PAGE).clamp(1, 500);
    let filter = RunFilter { webhook: filter.webhook, status: filter.status, before: filter.cursor, limit };
    let runs = state.store.run_list(&filter).await?;
    let next = (runs.len() == limit as usize).then(|| runs.last().map(|run| run.id)).flatten();
    let items: Vec<Value> = runs.iter().filter(|run| caller.sees(&run.webhook)).map(view).collect();
    Ok(Json(json!({ "items": items, "next_cursor": next })))
}

async fn find(state: &WebState, caller: &Caller, id: RunId) -> Result<Run> {
    let run = state.store.run_fetch(id).await?.filter(|run| caller.sees(&run.webhook));
    run.ok_or_else(|| Problem::not_found(format!("there is no run {id}")))
}

async fn show(State(state): State<WebState>, caller: Caller, Path(id): Path<RunId>) -> Result<Json<Value>> {
    let run = find(&state, &caller, id).await?;
    let mut answer = view(&run);
    let stages: Vec<Value> = state.store.stage_run_list(id).await?.iter().map(stage_view).collect();
    let artifacts = state.store.artifact_list(id).await?;
    let artifacts = artifacts.iter().map(|artifact| {
        json!({
            "id": artifact.id, "stage_run": artifact.stage_run, "kind": artifact.kind, "name": artifact.name,
            "digest": artifact.digest, "size": artifact.size,
        })
    });
    answer["stages"] = Value::Array(stages);
    answer["artifacts"] = artifacts.collect();
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRun {
    webhook: WebhookName,
    reference: Option<RefName>,
}

async fn start(State(state): State<WebState>, caller: Caller, Body(new): Body<NewRun>) -> Result<(StatusCode, Json<Value>)> {
    let id = state.control.run_start(&caller.0, &new.webhook, new.reference.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(view(&find(&state, &caller, id).await?))))
}

async fn retry(State(state): State<WebState>, caller: Caller, Path(id): Path<RunId>) -> Result<(StatusCode, Json<Value>)> {
    let id = state.control.run_retry(&caller.0, id).await?;
    Ok((StatusCode::CREATED, Json(view(&find(&state, &caller, id).await?))))
}

async fn cancel(State(state): State<WebState>, caller: Caller, Path(id): Path<RunId>) -> Result<Json<Value>> {
    state.control.run_cancel(&caller.0, id).await?;
    Ok(Json(view(&find(&state, &caller, id).await?)))
}

#[derive(Deserialize)]
struct LogQuery {
    from: Option<LogCursor>,
    attempt: Option<u32>,
}

async fn logs(
    State(state): State<WebState>,
    caller: Caller,
    Path((run, stage)): Path<(RunId, StageName)>,
    Query(query): Query<LogQuery>,
) -> Result<Json<LogChunk>> {
    let request = LogRequest { run, stage, attempt: query.attempt, from: query.from.unwrap_or_default() };
    Ok(Json(state.control.logs(&caller.0, &request).await?))
}

async fn download(State(state): State<WebState>, caller: Caller, Path(id): Path<ArtifactId>) -> Result<Response> {
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
        .body(HttpBody::from_stream(stream));
    response.map_err(Problem::invalid)
}
