//! Uploads of blobs: in one request, in two, or in chunks; and blobs that another repository has already.

use axum::body::Body;
use axum::http::response::Builder;
use axum::response::Response;
use hookwright_core::port::{RegistryError, Upload, UploadChunk};
use hookwright_core::{Action, Digest, UploadId, WebhookName};
use http::{HeaderName, StatusCode, header};

use super::manifest::text;
use super::range::chunk;
use super::refusal::{Code, Refusal};
use super::{CONTENT_DIGEST, Call, RegistryState, patient};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

impl RegistryState {
    pub(super) async fn begin_upload(&self, repository: WebhookName, call: &Call, body: Body) -> Result<Response, Refusal> {
        if let Some(mounted) = self.mount(&repository, call).await? {
            return created(&repository, &mounted);
        }
        let digest = call.query.digest("digest")?;
        let upload = Upload { repository, id: UploadId::new(self.ids.as_ref()) };
        let Some(digest) = digest else {
            self.registry.begin_upload(&upload).await?;
            return progress(StatusCode::ACCEPTED, &upload, 0);
        };
        let chunk = announced(call)?;
        self.registry.begin_upload(&upload).await?;
        let all = async {
            self.registry.append_upload(&upload, chunk.of(body)).await?;
            self.registry.finish_upload(&upload, &digest).await
        };
        if let Err(error) = all.await {
            // Nobody knows of this upload, so nobody would go on with it. It may be gone already, and then that is that.
            let _ = self.registry.cancel_upload(&upload).await;
            return Err(error.into());
        }
        created(&upload.repository, &digest)
    }

    /// The blob that was put here from a repository the caller may read. If it may not, or it is not there, the same happens: an upload begins.
    async fn mount(&self, repository: &WebhookName, call: &Call) -> Result<Option<Digest>, Refusal> {
        let (Some(digest), Some(from)) = (call.query.digest("mount")?, call.query.get("from")) else { return Ok(None) };
        let Some(from) = WebhookName::new(from).ok().filter(|from| call.actor.may(Action::Read, Some(from), None)) else { return Ok(None) };
        Ok(self.registry.mount_blob(repository, &from, &digest).await?.then_some(digest))
    }

    pub(super) async fn upload_status(&self, upload: &Upload) -> Result<Response, Refusal> {
        progress(StatusCode::NO_CONTENT, upload, self.registry.upload_size(upload).await?)
    }

    pub(super) async fn append_upload(&self, upload: &Upload, call: &Call, body: Body) -> Result<Response, Refusal> {
        let chunk = announced(call)?.of(body);
        let size = self.registry.append_upload(upload, chunk).await.map_err(|error| refusal(upload, error))?;
        progress(StatusCode::ACCEPTED, upload, size)
    }

    pub(super) async fn finish_upload(&self, upload: &Upload, call: &Call, body: Body) -> Result<Response, Refusal> {
        let missing = || Refusal::new(StatusCode::BAD_REQUEST, Code::DigestInvalid, "an upload ends with `?digest=` and its digest");
        let digest = call.query.digest("digest")?.ok_or_else(missing)?;
        let chunk = announced(call)?;
        if chunk.length != Some(0) {
            let chunk = chunk.of(body);
            self.registry.append_upload(upload, chunk).await.map_err(|error| refusal(upload, error))?;
        }
        self.registry.finish_upload(upload, &digest).await?;
        created(&upload.repository, &digest)
    }

    pub(super) async fn cancel_upload(&self, upload: &Upload) -> Result<Response, Refusal> {
        self.registry.cancel_upload(upload).await?;
        Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).map_err(Refusal::unanswerable)
    }
}

/// What the headers say of the bytes that come.
struct Announced {
    at: Option<u64>,
    length: Option<u64>,
}

impl Announced {
    fn of(self, body: Body) -> UploadChunk {
        UploadChunk { at: self.at, length: self.length, body: patient(body) }
    }
}

fn announced(call: &Call) -> Result<Announced, Refusal> {
    let headers = &call.headers;
    let length = text(headers, &header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let Some(range) = text(headers, &header::CONTENT_RANGE) else { return Ok(Announced { at: None, length }) };
    let invalid = || {
        let text =
            format!("the `Content-Range` of a chunk is `<first byte>-<last byte>`, not `{}`", range.chars().take(100).collect::<String>());
        Refusal::new(StatusCode::BAD_REQUEST, Code::BlobUploadInvalid, text)
    };
    let (at, expected) = chunk(range).ok_or_else(invalid)?;
    if let Some(found) = length.filter(|length| *length != expected) {
        return Err(RegistryError::ChunkLength { expected, found }.into());
    }
    Ok(Announced { at: Some(at), length: Some(expected) })
}

/// A client that sent the wrong chunk is told where to go on.
fn refusal(upload: &Upload, error: RegistryError) -> Refusal {
    let RegistryError::UploadRange { size } = error else { return error.into() };
    Refusal::from(error).with(header::LOCATION, location(upload)).with(header::RANGE, bytes(size))
}

fn location(upload: &Upload) -> String {
    format!("/v2/{}/blobs/uploads/{}", upload.repository, upload.id)
}

/// What has arrived, as the specification writes it: nothing and one byte look the same.
fn bytes(size: u64) -> String {
    format!("0-{}", size.saturating_sub(1))
}

fn progress(status: StatusCode, upload: &Upload, size: u64) -> Result<Response, Refusal> {
    let response = Response::builder()
        .status(status)
        .header(header::LOCATION, location(upload))
        .header(header::RANGE, bytes(size))
        .header(UPLOAD_ID, upload.id.to_string());
    finished(response)
}

fn created(repository: &WebhookName, digest: &Digest) -> Result<Response, Refusal> {
    let response = Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{repository}/blobs/{digest}"))
        .header(CONTENT_DIGEST, digest.to_string());
    finished(response)
}

fn finished(response: Builder) -> Result<Response, Refusal> {
    response.body(Body::empty()).map_err(Refusal::unanswerable)
}
