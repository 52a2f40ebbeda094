//! Errors of the API as problem+json (RFC 9457). What is ours is logged, never told.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::error;

/// What a handler answers.
pub(crate) type Result<T> = std::result::Result<T, Problem>;

/// What went wrong, for whoever called.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn invalid(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
    }

    fn ours(error: &dyn std::error::Error) -> Self {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        error!(%error, %cause, "a request of the API failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the daemon could not do it; its log says why")
    }
}

impl From<hookwright_control::Error> for Problem {
    fn from(error: hookwright_control::Error) -> Self {
        use hookwright_control::Error;
        match error {
            Error::Forbidden(text) => Self::new(StatusCode::FORBIDDEN, text),
            Error::NotFound(text) => Self::not_found(text),
            Error::Conflict(text) => Self::new(StatusCode::CONFLICT, text),
            Error::Invalid(text) => Self::invalid(text),
            Error::Internal { .. } => Self::ours(&error),
        }
    }
}

impl From<hookwright_store::Error> for Problem {
    fn from(error: hookwright_store::Error) -> Self {
        match error {
            hookwright_store::Error::Taken { message } => Self::new(StatusCode::CONFLICT, message),
            error => Self::ours(&error),
        }
    }
}

impl From<hookwright_core::PortError> for Problem {
    fn from(error: hookwright_core::PortError) -> Self {
        Self::ours(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = json!({ "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail });
        let mut response = (self.status, body.to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// A JSON body whose mistakes are told as a problem.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let parsed: std::result::Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        parsed.map(|Json(value)| Self(value)).map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))
    }
}

/// Any other address.
pub(crate) async fn unknown() -> Problem {
    Problem::not_found("there is no such address; the engine's README lists them")
}
