//! `/webhooks/{webhook}/environments/{environment}/traffic`: requests, errors and latency by stretches of time.

use axum::Json;
use axum::extract::State;
use hookwright_core::{Action, EnvironmentName, Timestamp, Traffic, WebhookName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Path, Problem, Query, Result};

/// The longest time and the most stretches that are told at once.
const HOURS: u32 = 30 * 24;
const STRETCHES: u32 = 1_500;

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(traffic_list))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TrafficQuery {
    /// How far back, in hours.
    #[param(minimum = 1, maximum = 720, default = 1)]
    hours: Option<u32>,
    /// How long a stretch is, in minutes.
    #[param(minimum = 1, maximum = 1440, default = 1)]
    minutes: Option<u32>,
}

/// What passed to the handler in a stretch of time.
#[derive(Serialize, ToSchema)]
#[schema(as = Traffic)]
struct TrafficView {
    /// When it began, in milliseconds since 1970.
    at: i64,
    requests: u64,
    /// Those that ended with a status of 500 or more, or without any.
    errors: u64,
    /// The milliseconds within which half of the answers began; `null` when it took more than 10 seconds.
    p50_ms: Option<u64>,
    /// The same of 95 in 100.
    p95_ms: Option<u64>,
}

/// The stretches of a time.
#[derive(Serialize, ToSchema)]
#[schema(as = TrafficList)]
struct TrafficListView {
    /// Oldest first; stretches without requests are left out.
    items: Vec<TrafficView>,
}

/// Requests, errors and latency of what is and was live in an environment. Counts are written every ten seconds.
#[utoipa::path(get, path = "/webhooks/{webhook}/environments/{environment}/traffic", tag = "deployments", params(TrafficQuery),
    security(("bearer" = ["viewer"])), responses((status = 200, description = "The stretches.", body = TrafficListView)))]
async fn traffic_list(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Path<(WebhookName, EnvironmentName)>,
    Query(query): Query<TrafficQuery>,
) -> Result<Json<TrafficListView>> {
    caller.must_in(Action::Read, Some(&webhook), Some(&environment))?;
    let (hours, minutes) = (query.hours.unwrap_or(1), query.minutes.unwrap_or(1));
    if !(1..=HOURS).contains(&hours) || !(1..=1_440).contains(&minutes) || hours * 60 / minutes > STRETCHES {
        let text = format!("`hours` is 1 to {HOURS} and `minutes` 1 to 1440, and at most {STRETCHES} stretches are told at once");
        return Err(Problem::bad_request(text));
    }
    let since = Timestamp::from_millis(state.clock.now().as_millis() - i64::from(hours) * 3_600_000);
    let step = i64::from(minutes);
    let strip = state.store.traffic_of((&webhook, &environment), since, step).await?;
    let view = |(number, traffic): (i64, Traffic)| TrafficView {
        at: number * step * 60_000,
        requests: traffic.requests,
        errors: traffic.errors,
        p50_ms: traffic.quantile(0.5),
        p95_ms: traffic.quantile(0.95),
    };
    Ok(Json(TrafficListView { items: strip.into_iter().map(view).collect() }))
}
