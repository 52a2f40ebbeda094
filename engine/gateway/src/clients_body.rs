//! A client's body on its way to somebody else: when that ends badly, whose fault it was.

use std::error::Error;

use axum::body::Body;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError};

use crate::Problem;

/// The client's side broke off, or sent what is no body.
#[derive(Debug)]
struct Broken(axum::Error);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the client's body broke off")
    }
}

impl Error for Broken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// The same body, whose failures are known again in the failure of whatever it was sent with.
pub(crate) fn marked(body: Body) -> Body {
    Body::new(body.map_err(Broken))
}

/// What the client did wrong, if that is why passing its request on failed; `limit` is the most bytes that a body may have.
pub(crate) fn blame(failure: &(dyn Error + 'static), limit: u64) -> Option<Problem> {
    let mut cause = Some(failure);
    while let Some(inner) = cause {
        if inner.is::<LengthLimitError>() {
            return Some(too_large(limit));
        }
        if inner.is::<Broken>() {
            let text = "the body ended early or is not in chunks as it says; send the request again, whole";
            return Some(Problem::new(StatusCode::BAD_REQUEST, text));
        }
        cause = inner.source();
    }
    None
}

pub(crate) fn too_large(limit: u64) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
}
