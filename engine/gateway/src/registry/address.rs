//! What an address below `/v2/` names, checked. A repository has the name of a webhook, so it is one part of the path.

use std::collections::HashMap;

use axum::extract::Query as Parameters;
use hookwright_core::port::{ImageReference, Upload};
use hookwright_core::{Digest, WebhookName};
use http::{StatusCode, Uri};

use super::refusal::{Code, Refusal};

/// What an address names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Base,
    Catalog,
    Tags(WebhookName),
    Referrers(WebhookName, Digest),
    Manifest(WebhookName, ImageReference),
    Blob(WebhookName, Digest),
    Uploads(WebhookName),
    Upload(Upload),
}

impl Address {
    /// Reads the path, as it came over the wire.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        let below = path.strip_prefix("/v2").unwrap_or_default().trim_start_matches('/');
        let parts: Vec<String> = below.split('/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(match parts[..] {
            [""] => Self::Base,
            ["_catalog"] => Self::Catalog,
            [name, "tags", "list"] => Self::Tags(repository(name)?),
            [name, "referrers", subject] => Self::Referrers(repository(name)?, digest(subject)?),
            [name, "manifests", reference] => Self::Manifest(repository(name)?, manifest(reference)?),
            [name, "blobs", "uploads"] | [name, "blobs", "uploads", ""] => Self::Uploads(repository(name)?),
            [name, "blobs", "uploads", id] => {
                let unknown = |_| Refusal::new(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, "there is no such upload; begin a new one");
                Self::Upload(Upload { repository: repository(name)?, id: id.parse().map_err(unknown)? })
            }
            [name, "blobs", blob] => Self::Blob(repository(name)?, digest(blob)?),
            _ => return Err(no_repository(below)),
        })
    }

    /// The repository it is about.
    pub(crate) fn repository(&self) -> Option<&WebhookName> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags(repository)
            | Self::Referrers(repository, _)
            | Self::Manifest(repository, _)
            | Self::Blob(repository, _)
            | Self::Uploads(repository) => Some(repository),
            Self::Upload(upload) => Some(&upload.repository),
        }
    }
}

/// A part of a path without `%3A` and the like, which some clients write for `:`. What it decodes to is checked like all else.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, behind @ ..] = rest {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|digits| !digits.starts_with('+')).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(code) => {
                bytes.push(code);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

fn no_repository(text: &str) -> Refusal {
    let text = format!("`{}` names no repository; a repository has the name of its webhook, as in /v2/<webhook>/tags/list", cut(text));
    Refusal::new(StatusCode::NOT_FOUND, Code::NameInvalid, text)
}

fn repository(text: &str) -> Result<WebhookName, Refusal> {
    WebhookName::new(text).map_err(|_| no_repository(text))
}

/// Reads a digest.
pub(crate) fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse()
        .map_err(|error: hookwright_core::InvalidDigest| Refusal::new(StatusCode::BAD_REQUEST, Code::DigestInvalid, error.to_string()))
}

fn manifest(text: &str) -> Result<ImageReference, Refusal> {
    ImageReference::parse(text).map_err(|error| Refusal::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, cut(&error)))
}

/// The parameters behind the `?`.
#[derive(Debug, Default)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    /// Reads them; of one that comes twice the last counts.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let invalid = |_| Refusal::new(StatusCode::BAD_REQUEST, Code::Unsupported, "the part behind `?` cannot be read");
        Parameters::<HashMap<String, String>>::try_from_uri(uri).map(|Parameters(all)| Self(all)).map_err(invalid)
    }

    /// A parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that is a digest.
    pub(crate) fn digest(&self, name: &str) -> Result<Option<Digest>, Refusal> {
        self.get(name).map(digest).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn addresses_of_the_specification_are_understood() {
        let shop = || WebhookName::new("shop").expect("a name");
        let digest: Digest = DIGEST.parse().expect("a digest");
        for (path, address) in [
            ("/v2", Address::Base),
            ("/v2/", Address::Base),
            ("/v2/_catalog", Address::Catalog),
            ("/v2/shop/tags/list", Address::Tags(shop())),
            ("/v2/shop/blobs/uploads", Address::Uploads(shop())),
            ("/v2/shop/blobs/uploads/", Address::Uploads(shop())),
            (&format!("/v2/shop/blobs/{DIGEST}"), Address::Blob(shop(), digest)),
            (&format!("/v2/shop/blobs/{}", DIGEST.replace(':', "%3A")), Address::Blob(shop(), digest)),
            (&format!("/v2/shop/manifests/{DIGEST}"), Address::Manifest(shop(), ImageReference::Digest(digest))),
        ] {
            assert_eq!(Address::parse(path).expect(path), address);
        }
    }

    #[test]
    fn paths_that_would_lead_elsewhere_are_refused() {
        for path in [
            "/v2/shop/manifests/..",
            "/v2/shop/manifests/..%2f..%2fkey",
            "/v2/shop/manifests/%2e%2e",
            "/v2/../manifests/latest",
            "/v2/%2e%2e/manifests/latest",
            "/v2/library/shop/manifests/latest",
            "/v2/shop/blobs/sha256:../../key",
            "/v2/shop/blobs/uploads/../x",
            "/v2/shop/blobs/uploads/up_%00",
            "/v2/Shop/tags/list",
            "/v2/shop",
            "/v2/shop/tags/list/",
        ] {
            assert!(Address::parse(path).is_err(), "{path}");
        }
    }
}
