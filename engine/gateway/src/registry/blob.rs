//! Blobs: whether they are there, and their bytes or a part of them.

use axum::body::Body;
use axum::response::Response;
use hookwright_core::port::{BlobRange, RegistryError};
use hookwright_core::{Digest, WebhookName};
use http::{Method, StatusCode, header};

use super::range::{Wish, wish};
use super::refusal::{Code, Refusal};
use super::{CONTENT_DIGEST, Call, RegistryState, manifest::text};

impl RegistryState {
    pub(super) async fn blob(&self, repository: &WebhookName, blob: &Digest, call: &Call) -> Result<Response, Refusal> {
        let headers = &call.headers;
        let size = self.registry.blob_size(repository, blob).await?;
        let size = size.ok_or(RegistryError::BlobUnknown(*blob))?;
        let tag = format!("\"{blob}\"");
        // A part of something else than the client has seen before is of no use to it.
        let current = text(headers, &header::IF_RANGE).is_none_or(|seen| seen == tag);
        let (status, range) = match wish(text(headers, &header::RANGE).filter(|_| current), size) {
            Wish::All => (StatusCode::OK, BlobRange { start: 0, length: size }),
            Wish::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Wish::Unsatisfiable => {
                let refusal = format!("the blob has {size} bytes; ask for a range within");
                let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::SizeInvalid, refusal);
                return Err(refusal.with(header::CONTENT_RANGE, format!("bytes */{size}")));
            }
        };
        let mut response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, range.length)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::ETAG, tag)
            .header(CONTENT_DIGEST, blob.to_string());
        if status == StatusCode::PARTIAL_CONTENT {
            let last = range.start + range.length - 1;
            response = response.header(header::CONTENT_RANGE, format!("bytes {}-{last}/{size}", range.start));
        }
        let body = if call.method == Method::HEAD {
            Body::empty()
        } else {
            Body::from_stream(self.registry.read_blob(repository, blob, range).await?)
        };
        response.body(body).map_err(Refusal::unanswerable)
    }
}
