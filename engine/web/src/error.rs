//! Errors of the API as problem+json (RFC 9457), and the extractors whose mistakes become such. What is ours is logged, never told.

use axum::Json;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{error, warn};
use utoipa::ToSchema;

/// What a handler answers.
pub(crate) type Result<T> = std::result::Result<T, Problem>;

/// What went wrong, for whoever called.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
}

/// What went wrong, as RFC 9457 writes it.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What, why and what to do.
    detail: String,
    /// The request, as the header `X-Request-Id` names it and the daemon's log.
    request_id: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn invalid(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
    }

    pub(crate) fn ours(error: &(dyn std::error::Error + 'static)) -> Self {
        use hookwright_store::Error::NotLeading;
        if hookwright_store::Error::within(error).is_some_and(|store| store.is_out_of_reach() || matches!(store, NotLeading)) {
            warn!(%error, "a request of the API could not be served at the moment");
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer at the moment; try again soon");
        }
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        error!(%error, %cause, "a request of the API failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the daemon could not do it; its log says why")
    }

    /// The answer, about a request.
    pub(crate) fn about(self, request_id: Option<String>) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = ProblemBody { kind: "about:blank", title, status: self.status.as_u16(), detail: self.detail, request_id };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // Basic is taken too, but not asked for: a browser that remembered it would send it for any page of this origin.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hookwright\""));
        }
        response
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
    /// The answer carries the problem along, so that the guard of all requests can say which request it is about.
    fn into_response(self) -> Response {
        let mut response = self.clone().about(None);
        response.extensions_mut().insert(self);
        response
    }
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let parsed: std::result::Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        parsed.map(|Json(value)| Self(value)).map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {} bytes", crate::BODY_LIMIT))
            }
            status => Problem::new(status, rejection.body_text()),
        })
    }
}

/// What the placeholders of an address hold.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let parsed: std::result::Result<axum::extract::Path<T>, PathRejection> =
            axum::extract::Path::from_request_parts(parts, state).await;
        parsed.map(|axum::extract::Path(value)| Self(value)).map_err(|rejection| Problem::new(rejection.status(), in_words(rejection)))
    }
}

/// What is wrong with a placeholder, in the words of whoever refused it.
fn in_words(rejection: PathRejection) -> String {
    match rejection {
        PathRejection::FailedToDeserializePathParams(failed) => match failed.kind() {
            ErrorKind::DeserializeError { message, .. } | ErrorKind::Message(message) => message.clone(),
            _ => failed.body_text(),
        },
        other => other.body_text(),
    }
}

/// The parameters of a query. Names that the document does not have are refused before it is asked.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let parsed: std::result::Result<axum::extract::Query<T>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        parsed.map(|axum::extract::Query(value)| Self(value)).map_err(|rejection| Problem::bad_request(rejection.body_text()))
    }
}

/// Any other address.
pub(crate) async fn unknown() -> Problem {
    Problem::not_found("there is no such address; /api/v1/openapi.json lists those of the API")
}

/// An address that takes other methods.
pub(crate) async fn wrong_method(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("{} does not take {method}; the header Allow names what it takes", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
