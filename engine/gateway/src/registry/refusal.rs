//! Errors in the specification's form: `{"errors": [{"code", "message", "detail"}]}`.

use axum::response::{IntoResponse, Response};
use hookwright_core::PortError;
use hookwright_core::port::RegistryError;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::Problem;

/// The codes of the specification that we use; clients decide by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    TooManyRequests,
    Unauthorized,
    Unsupported,
    /// Ours is the fault. The specification has no code for it; this is the one everybody uses.
    Unknown,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::Denied => "DENIED",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Unsupported => "UNSUPPORTED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Why a request to the registry is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    pub(crate) message: String,
    headers: Vec<(HeaderName, String)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    /// An answer that cannot be written as HTTP; nothing that we put into headers makes one.
    pub(crate) fn unanswerable(error: http::Error) -> Self {
        tracing::error!(%error, "an answer of the registry could not be written");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, "the answer could not be written")
    }

    /// With a header.
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        if problem.status != StatusCode::UNAUTHORIZED {
            return Self::new(problem.status, Code::Unknown, problem.detail);
        }
        // Basic alone, although bearers are taken: clients take a Bearer challenge for the address of a token service, which there is not.
        let refusal = Self::new(problem.status, Code::Unauthorized, problem.detail);
        refusal.with(header::WWW_AUTHENTICATE, "Basic realm=\"hookwright\"")
    }
}

impl From<PortError> for Refusal {
    fn from(error: PortError) -> Self {
        tracing::error!(%error, cause = ?error.cause, "the registry failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unknown,
            "the registry cannot read or write its files; the daemon's log says why",
        )
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let (status, code) = match error {
            RegistryError::Storage(error) => return error.into(),
            RegistryError::BlobUnknown(_) => (StatusCode::NOT_FOUND, Code::BlobUnknown),
            RegistryError::UploadUnknown => (StatusCode::NOT_FOUND, Code::BlobUploadUnknown),
            RegistryError::UploadBusy => (StatusCode::CONFLICT, Code::BlobUploadInvalid),
            RegistryError::UploadsExhausted { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests),
            RegistryError::UploadRange { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid),
            RegistryError::ChunkLength { .. } => (StatusCode::BAD_REQUEST, Code::SizeInvalid),
            RegistryError::Interrupted => (StatusCode::BAD_REQUEST, Code::BlobUploadInvalid),
            RegistryError::DigestMismatch { .. } => (StatusCode::BAD_REQUEST, Code::DigestInvalid),
            RegistryError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
            RegistryError::ManifestInvalid(_) => (StatusCode::BAD_REQUEST, Code::ManifestInvalid),
            RegistryError::ManifestBlobUnknown(_) => (StatusCode::BAD_REQUEST, Code::ManifestBlobUnknown),
        };
        Self::new(status, code, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "errors": [{ "code": self.code.text(), "message": self.message, "detail": null }] });
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
