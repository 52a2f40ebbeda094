//! What holds for every request: it has an id, its query names only what the document has, a panic is an answer, and so is any other
//! failure.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hookwright_core::IdSource;
use http::{HeaderValue, Method, StatusCode};
use tracing::error;

use crate::document;
use crate::error::{Problem, Result};
use crate::pages::failure;

/// The header that names a request.
const REQUEST_ID: &str = "x-request-id";

/// What the guard of all requests works with.
#[derive(Clone)]
pub(crate) struct Guard {
    ids: Arc<dyn IdSource>,
    /// The names a query may have, by address and method.
    queries: Arc<HashMap<(String, Method), Vec<String>>>,
}

impl Guard {
    pub(crate) fn new(ids: Arc<dyn IdSource>) -> Self {
        Self { ids, queries: Arc::new(document::queries()) }
    }

    fn check_query(&self, request: &Request) -> Result<()> {
        let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
        let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
        let Some(known) = self.queries.get(&(path.as_str().to_owned(), method.clone())) else { return Ok(()) };
        let pairs: Query<Vec<(String, String)>> =
            Query::try_from_uri(request.uri()).map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        let Some((name, _)) = pairs.0.iter().find(|(name, _)| !known.contains(name)) else { return Ok(()) };
        let offer = match known.as_slice() {
            [] => "this address takes none".to_owned(),
            known => format!("this address takes {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        };
        let name: String = name.chars().take(100).collect();
        Err(Problem::bad_request(format!("there is no query parameter `{name}`; {offer}")))
    }
}

/// Runs a request and gives its answer an id.
pub(crate) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let id = guard.ids.uuid().simple().to_string();
    let page = failure::Asked::of(&request);
    let mut response = match guard.check_query(&request) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
                error!(request.id = %id, %method, path, "a handler panicked");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the daemon could not do it; its log says why").into_response()
            })
        }
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let headers = std::mem::take(response.headers_mut());
        response = match page {
            Some(asked) => failure::page((problem.status, problem.detail), id.clone(), asked),
            None => problem.about(Some(id.clone())),
        };
        if let Some(allow) = headers.get(http::header::ALLOW) {
            response.headers_mut().insert(http::header::ALLOW, allow.clone());
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use tower::ServiceExt;
    use uuid::Uuid;

    use super::*;

    struct Numbered;

    impl IdSource for Numbered {
        fn uuid(&self) -> Uuid {
            Uuid::from_u128(7)
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_as_a_problem_that_tells_nothing_of_it() {
        async fn break_down() -> &'static str {
            panic!("canary-82e0")
        }
        let guard_state = Guard::new(Arc::new(Numbered));
        let app = Router::new().route("/", get(break_down)).layer(axum::middleware::from_fn_with_state(guard_state, guard));
        let request = Request::get("/").body(Body::empty()).expect("a request");
        let response = app.oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let id = Uuid::from_u128(7).simple().to_string();
        assert_eq!(response.headers()[REQUEST_ID], id.as_str());
        let body = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains(&id) && !text.contains("canary"), "{text}");
    }
}
