//! Gives requests an id, which stands in every answer and in problems.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hookwright_core::IdSource;
use http::HeaderValue;

use crate::Problem;

/// The header that names a request.
pub(crate) const REQUEST_ID: &str = "x-request-id";

/// The same routes, each answer with an id.
pub(crate) fn identified(routes: Router, ids: Arc<dyn IdSource>) -> Router {
    routes.layer(from_fn_with_state(ids, identify))
}

async fn identify(State(ids): State<Arc<dyn IdSource>>, request: Request, next: Next) -> Response {
    let id = ids.uuid().simple().to_string();
    named(next.run(request).await, &id)
}

/// The answer to the request with this id.
pub(crate) fn named(mut response: Response, id: &str) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let known = std::mem::take(response.headers_mut());
        response = problem.about(id).into_response();
        for (name, value) in known {
            // What was added to it stays, such as when to try again.
            if let Some(name) = name
                && !response.headers().contains_key(&name)
            {
                response.headers_mut().insert(name, value);
            }
        }
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
