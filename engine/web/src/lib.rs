//! The JSON API at `/api/v1`, and `/healthz` and `/readyz`. Handlers are glue: who calls, what is asked, one call, one view.

mod audit;
mod caller;
mod error;
mod health;
mod promotion;
mod release;
mod repository;
mod run;
mod secret;
mod token;
mod webhook;

use axum::Router;
use hookwright_control::Control;
use hookwright_core::port::{ArtifactStore, Runtime};
use hookwright_store::Store;
use std::sync::Arc;

/// What handlers work with.
#[derive(Clone)]
pub struct WebState {
    /// For reading.
    pub store: Store,
    /// For doing.
    pub control: Control,
    /// For downloads.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// For instances and their logs.
    pub runtime: Arc<dyn Runtime>,
}

/// Every route of the API.
pub fn router(state: WebState) -> Router {
    let api = Router::new()
        .merge(audit::routes())
        .merge(promotion::routes())
        .merge(release::routes())
        .merge(repository::routes())
        .merge(run::routes())
        .merge(secret::routes())
        .merge(token::routes())
        .merge(webhook::routes())
        .fallback(error::unknown);
    Router::new().nest("/api/v1", api).merge(health::routes()).with_state(state)
}
