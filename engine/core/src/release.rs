//! Releases: what was built once and is promoted unchanged.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{CommitSha, Digest, InvalidDigest, RevisionId, RunId, Timestamp, WebhookName};

/// The name of a release: `rel-` and the first 16 hexadecimal digits of the digest of its canonical content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseId(String);

impl ReleaseId {
    /// The release whose canonical content has this digest.
    pub fn of(content: &Digest) -> Self {
        Self(format!("rel-{}", &content.hex()[..16]))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ReleaseId {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ReleaseId {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        let digits = text.strip_prefix("rel-").filter(|rest| rest.len() == 16);
        if digits.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))) {
            Ok(Self(text))
        } else {
            Err(InvalidDigest::new(&text, "a release: `rel-` and 16 lower-case hexadecimal digits"))
        }
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> String {
        id.0
    }
}

/// An immutable bundle. Identical content has the identical name, so that cutting it twice is cutting it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its name, out of `content`.
    pub id: ReleaseId,
    /// Digest of the canonical content: webhook, commit, image digest, resolved spec.
    pub content: Digest,
    /// Whose release it is.
    pub webhook: WebhookName,
    /// The revision it was built from first.
    pub revision: RevisionId,
    /// The commit of that revision.
    pub commit: CommitSha,
    /// The run that cut it first.
    pub run: RunId,
    /// The image, by digest.
    pub image: Digest,
    /// The validated `webhook.yaml` it was built with, as canonical JSON of `spec::Spec`.
    pub spec: String,
    /// When it was first cut; releases are ordered by this.
    pub created_at: Timestamp,
}
