//! Repositories and the revisions seen in them.

use serde::{Deserialize, Serialize};

use crate::{CommitSha, RefName, RepositoryId, RepositoryName, RevisionId, SecretValue, Timestamp};

/// Where a repository's truth is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RepositoryKind {
    /// With us, at `/git/<name>.git`.
    Hosted,
    /// Elsewhere; we poll its refs and keep one mirror.
    Remote {
        /// `https://`, `ssh://` or `file://`, without credentials.
        url: String,
    },
}

/// What a watched remote is read with. It is never shown and never serialised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteCredential {
    /// For `https`.
    Password {
        /// The user name; forges take any with a token.
        username: String,
        /// The password or token.
        password: SecretValue,
    },
    /// For `ssh`: a private key without passphrase, as `ssh-keygen` writes it.
    SshKey(SecretValue),
}

impl RemoteCredential {
    /// What may be shown of it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Password { .. } => "password",
            Self::SshKey(_) => "ssh_key",
        }
    }
}

/// A repository we host or watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Its id.
    pub id: RepositoryId,
    /// Its name, unique in the daemon.
    pub name: RepositoryName,
    /// Hosted or remote.
    pub kind: RepositoryKind,
    /// The branch whose spec decides gates; of a hosted one the first branch pushed, until an admin names another.
    /// `None` until something was pushed.
    pub default_branch: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When its refs were last read, and what went wrong then.
    pub polled_at: Option<Timestamp>,
    /// The last reading's error, if it failed.
    pub poll_error: Option<String>,
    /// Whether its pull requests were recorded once: those that were there before are not built, only what moves from then on.
    pub pull_requests_known: bool,
}

/// What brought a revision to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionEvent {
    /// A branch moved or appeared.
    Push,
    /// A tag appeared or moved.
    Tag,
    /// A pull request was opened or its head moved.
    PullRequest,
}

impl RevisionEvent {
    /// The text that `when:` expressions compare with.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Tag => "tag",
            Self::PullRequest => "pull_request",
        }
    }
}

/// A commit on a ref, as it was seen once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its id.
    pub id: RevisionId,
    /// Where.
    pub repository: RepositoryId,
    /// Which ref.
    pub reference: RefName,
    /// What it points to.
    pub commit: CommitSha,
    /// What it pointed to before, if it existed.
    pub previous: Option<CommitSha>,
    /// What happened.
    pub event: RevisionEvent,
    /// The commit's first line, author and time.
    pub info: CommitInfo,
    /// Whether the commit is on a branch or tag of the repository itself. The head of a pull request from a fork is not: its runs
    /// get no secret, write no cache and never deploy.
    pub trusted: bool,
    /// Who pushed, when we know (hosted repositories: the token's user).
    pub actor: Option<String>,
    /// When we saw it.
    pub seen_at: Timestamp,
}

/// What people want to know of a commit. All texts are the author's: hostile until escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInfo {
    /// Author name.
    pub author: String,
    /// Author e-mail address.
    pub email: String,
    /// The message's first line, at most 200 characters.
    pub title: String,
    /// The author's time.
    pub authored_at: Timestamp,
}
