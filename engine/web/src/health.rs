//! `/healthz`: the process lives. `/readyz`: the database answers; and whether this daemon leads or follows.

use axum::extract::State;
use hookwright_core::port::Standing;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz))
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "It does.", body = String, content_type = "text/plain")))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests are served: the database answers.
// Of several daemons on one database the second line says whether this one leads or follows.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = 200, description = "They are.", body = String, content_type = "text/plain"),
    (status = 503, description = "The database does not answer.", body = String, content_type = "text/plain"),
))]
async fn readyz(State(state): State<WebState>) -> (StatusCode, String) {
    let stands = match state.leadership.standing() {
        Standing::Alone => String::new(),
        Standing::Leads => "leader\n".to_owned(),
        Standing::Follows { leader, unfit, .. } => {
            let whom = leader.map_or_else(|| "follower; nobody is known to lead".to_owned(), |leader| format!("follower of {leader}"));
            format!("{whom}{}\n", unfit.map(|why| format!("; {why}")).unwrap_or_default())
        }
    };
    match state.store.ping().await {
        Ok(()) => (StatusCode::OK, format!("ready\n{stands}")),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, format!("the database does not answer\n{stands}")),
    }
}
