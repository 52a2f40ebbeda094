//! Manifests: reading, pushing and deleting them by tag and by digest.

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hookwright_core::WebhookName;
use hookwright_core::port::{ImageReference, ManifestKind, NewManifest, RegistryError};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::refusal::{Code, Refusal};
use super::{CONTENT_DIGEST, Call, RegistryState, patient};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

impl RegistryState {
    pub(super) async fn manifest(&self, repository: &WebhookName, reference: &ImageReference, call: &Call) -> Result<Response, Refusal> {
        let stored = self.registry.manifest(repository, reference).await?.ok_or_else(|| unknown(repository, reference))?;
        let media_type = stored.kind.media_type();
        if !accepts(&call.headers, media_type) {
            let text = format!("`{repository}{reference}` is a `{media_type}`, which the request does not accept");
            return Err(Refusal::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, text));
        }
        Response::builder()
            .header(header::CONTENT_TYPE, media_type)
            .header(header::CONTENT_LENGTH, stored.bytes.len())
            .header(header::ETAG, format!("\"{}\"", stored.digest))
            .header(CONTENT_DIGEST, stored.digest.to_string())
            .body(Body::from(stored.bytes))
            .map_err(Refusal::unanswerable)
    }

    pub(super) async fn put_manifest(
        &self,
        repository: &WebhookName,
        reference: ImageReference,
        call: &Call,
        body: Body,
    ) -> Result<Response, Refusal> {
        let kind = kind(&call.headers)?;
        let bytes = self.document(body).await?;
        let name = format!("{repository}{reference}");
        let (digest, subject) = self.registry.put_manifest(repository, NewManifest { reference, kind, bytes }).await?;
        self.audit(&call.actor, "image.pushed", repository, &format!("{name}, which is {digest}")).await?;
        tracing::info!(image.digest = %digest, user = %call.actor.user, "`{name}` was pushed");
        let mut response = Response::builder()
            .status(StatusCode::CREATED)
            .header(header::LOCATION, format!("/v2/{repository}/manifests/{digest}"))
            .header(CONTENT_DIGEST, digest.to_string());
        if let Some(subject) = subject {
            response = response.header(SUBJECT, subject.to_string());
        }
        response.body(Body::empty()).map_err(Refusal::unanswerable)
    }

    /// The body, which is small.
    async fn document(&self, body: Body) -> Result<Bytes, Refusal> {
        let limit = self.registry.manifest_limit();
        let (mut body, mut bytes) = (patient(body), BytesMut::new());
        while let Some(part) = body.next().await {
            let interrupted = |_| Refusal::new(StatusCode::BAD_REQUEST, Code::ManifestInvalid, "the manifest ended early; send it again");
            bytes.extend_from_slice(&part.map_err(interrupted)?);
            if bytes.len() as u64 > limit {
                return Err(RegistryError::TooLarge { what: "a manifest", limit }.into());
            }
        }
        Ok(bytes.freeze())
    }

    pub(super) async fn remove_manifest(
        &self,
        repository: &WebhookName,
        reference: &ImageReference,
        call: &Call,
    ) -> Result<Response, Refusal> {
        if !self.registry.remove_manifest(repository, reference).await? {
            return Err(unknown(repository, reference));
        }
        self.audit(&call.actor, "image.deleted", repository, &format!("{repository}{reference}")).await?;
        Response::builder().status(StatusCode::ACCEPTED).body(Body::empty()).map_err(Refusal::unanswerable)
    }
}

fn unknown(repository: &WebhookName, reference: &ImageReference) -> Refusal {
    let text = format!("there is no manifest `{repository}{reference}`; /v2/{repository}/tags/list says which tags there are");
    Refusal::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, text)
}

/// A header as text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What the sender says the document is.
fn kind(headers: &HeaderMap) -> Result<ManifestKind, Refusal> {
    let said = text(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let bare = said.split(';').next().unwrap_or_default().trim();
    bare.parse().map_err(|error: String| Refusal::new(StatusCode::BAD_REQUEST, Code::ManifestInvalid, error))
}

/// Whether the client takes this media type; one that says nothing takes all.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if accepted.peek().is_none() {
        return true;
    }
    accepted.flat_map(|value| value.split(',')).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type) || name == "*/*" || name == "application/*");
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_only_what_it_accepts() {
        let image = ManifestKind::OciImage.media_type();
        let asks = |values: &[&str]| {
            let headers = values.iter().map(|value| (header::ACCEPT, value.parse().expect("a value"))).collect();
            accepts(&headers, image)
        };
        assert!(asks(&[]));
        assert!(asks(&["*/*"]));
        assert!(asks(&["text/html", &format!("{image};q=0.5")]));
        assert!(asks(&[&format!("application/json, {image}")]));
        assert!(!asks(&[ManifestKind::DockerImage.media_type()]));
        assert!(!asks(&[&format!("{image};q=0")]));
    }
}
