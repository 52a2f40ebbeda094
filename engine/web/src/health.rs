//! `/healthz`: the process lives. `/readyz`: the database answers.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;

use crate::WebState;

pub(crate) fn routes() -> Router<WebState> {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

async fn ready(State(state): State<WebState>) -> (StatusCode, &'static str) {
    match state.store.ping().await {
        Ok(()) => (StatusCode::OK, "ready\n"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
    }
}
