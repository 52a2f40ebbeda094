//! Git: reading revisions and hosting repositories.

use std::path::Path;
use std::pin::Pin;

use async_trait::async_trait;

use crate::{CommitInfo, CommitSha, PortError, RefName, RemoteCredential, RepoPath, RepositoryId, RepositoryName};

/// Which repository, and how it is reached.
#[derive(Clone, Debug)]
pub struct Location {
    /// Its id: the mirror's folder is named by it.
    pub id: RepositoryId,
    /// Its name: the hosted folder is named by it.
    pub name: RepositoryName,
    /// `None` for a hosted repository, else where it is watched.
    pub url: Option<String>,
    /// What a watched remote is read with; it is sent to no other address.
    pub credential: Option<RemoteCredential>,
    /// Whether the heads of its pull requests are listed among the tips; those of a hosted repository never are.
    pub pull_requests: bool,
}

/// A ref and what it points to (tags peeled to their commit).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The full ref name of a branch, a tag or the head of a pull request.
    pub reference: RefName,
    /// The commit.
    pub commit: CommitSha,
}

/// What a repository's refs look like now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tips {
    /// Where `HEAD` points to, if it names a branch that exists.
    pub default_branch: Option<String>,
    /// All branches and tags, and the pull requests that were asked for, by name.
    pub tips: Vec<Tip>,
}

/// What a tree entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeEntryKind {
    /// A file.
    File,
    /// An executable file.
    Executable,
    /// A symbolic link that stays inside the repository.
    Link,
    /// A submodule; it is listed and never fetched.
    Submodule,
}

/// A leaf of a commit's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Where.
    pub path: RepoPath,
    /// What.
    pub kind: TreeEntryKind,
    /// Its object id in hexadecimal: equal content, equal id.
    pub object: String,
}

/// Which part of a commit is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The folder that becomes the workspace's root; `None` for the whole repository.
    pub folder: Option<RepoPath>,
    /// Globs relative to that folder; `None` for everything, an empty list for nothing.
    pub globs: Option<Vec<String>>,
}

/// Reads revisions, of hosted repositories and of watched ones through their one mirror.
///
/// *Idempotency*: every call may be repeated. *Concurrency*: any number of calls; fetches of one repository queue up.
/// *After a crash* a mirror is whole or is fetched anew. *Failed* is what the repository's owner can mend: it does not exist, the
/// credential is refused, a tree is malicious (`..`, `.git` in any case, links that lead out). *Errored* is network and disk, and
/// a git that is missing or takes too long: worth another try. A credential appears in no error, no log and no argument.
/// It must not run hooks, filters, LFS or submodules of a repository, nor follow its configuration.
#[async_trait]
pub trait Revisions: Send + Sync + 'static {
    /// The refs as they stand at the origin, without fetching objects. Made to be asked often: while nothing changed, a
    /// repository on this machine costs no process.
    async fn tips(&self, repository: &Location) -> Result<Tips, PortError>;

    /// Makes sure that the commit that `tip` names is here. A hosted commit is here already.
    async fn fetch(&self, repository: &Location, tip: &Tip) -> Result<(), PortError>;

    /// What people want to know of a commit that is here.
    async fn commit_info(&self, repository: &Location, commit: &CommitSha) -> Result<CommitInfo, PortError>;

    /// Every leaf of the tree, sorted by path. Refuses malicious trees as *Failed*.
    async fn tree(&self, repository: &Location, commit: &CommitSha) -> Result<Vec<TreeEntry>, PortError>;

    /// A file's content; `None` when there is none or it is no regular file. *Failed* when larger than `limit` bytes.
    async fn read(&self, repository: &Location, commit: &CommitSha, path: &RepoPath, limit: u64) -> Result<Option<Vec<u8>>, PortError>;

    /// The paths that differ between two commits; `None` when `from` is not here any more.
    async fn changed(&self, repository: &Location, from: &CommitSha, to: &CommitSha) -> Result<Option<Vec<RepoPath>>, PortError>;

    /// The commits that `to` has and `from` has not, newest first, at most `limit`; `None` when one of them is not here any more.
    async fn between(
        &self,
        repository: &Location,
        from: &CommitSha,
        to: &CommitSha,
        limit: u32,
    ) -> Result<Option<Vec<(CommitSha, CommitInfo)>>, PortError>;

    /// Writes the selected files into the existing, empty folder `into`; a link that would lead out of it is refused.
    async fn checkout(&self, repository: &Location, commit: &CommitSha, selection: &Selection, into: &Path) -> Result<(), PortError>;

    /// Removes the mirror of a repository that is not watched any more.
    async fn forget(&self, repository: &Location) -> Result<(), PortError>;
}

/// A stream of body bytes.
pub type GitByteStream = Pin<Box<dyn futures_core::Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send>>;

/// A smart-HTTP request, already authenticated and authorised.
pub struct GitRequest {
    /// The repository.
    pub repository: RepositoryName,
    /// The path below it: `info/refs`, `git-upload-pack`, `git-receive-pack`.
    pub service_path: String,
    /// The raw query string.
    pub query: String,
    /// `GET` or `POST`.
    pub method: String,
    /// `Content-Type`, if sent.
    pub content_type: Option<String>,
    /// `Content-Encoding`, if sent (git compresses large requests).
    pub content_encoding: Option<String>,
    /// `Git-Protocol`, if sent.
    pub git_protocol: Option<String>,
    /// Who.
    pub user: String,
    /// The body.
    pub body: GitByteStream,
}

/// The answer, streamed.
pub struct GitResponse {
    /// HTTP status.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The body. Dropping that of a fetch ends the git process; a push goes on to its end without a reader.
    pub body: GitByteStream,
    /// Is ready once the git process has ended, whether or not anybody reads the body: then refs are final. May be dropped.
    pub ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Hosts repositories over git's smart HTTP.
///
/// *Idempotency*: `create` of an existing repository does nothing. *Concurrency*: any number of pushes and fetches; of two pushes
/// that move the same ref from the same commit git takes one and refuses the other. A client that stalls is cut off, and keeps
/// nobody waiting until then. *After a crash* a push is wholly visible or not at all. Objects are checked on arrival (`fsck`);
/// malicious ones are refused to the pusher in words. It must not run hooks that a repository brings, and knows nothing of rights:
/// callers checked them.
#[async_trait]
pub trait GitHost: Send + Sync + 'static {
    /// Whether the repository exists.
    async fn exists(&self, name: &RepositoryName) -> Result<bool, PortError>;

    /// Creates an empty bare repository.
    async fn create(&self, name: &RepositoryName) -> Result<(), PortError>;

    /// Serves one request. The `POST` of a push creates the repository if it is not there; for all else one that is not there
    /// looks empty.
    async fn serve(&self, request: GitRequest) -> Result<GitResponse, PortError>;

    /// Points `HEAD` of a hosted repository to a branch.
    async fn set_default_branch(&self, name: &RepositoryName, branch: &str) -> Result<(), PortError>;

    /// Removes a repository without a single ref that nobody is pushing to; says whether it is gone.
    async fn remove_if_empty(&self, name: &RepositoryName) -> Result<bool, PortError>;

    /// Removes a repository for good.
    async fn remove(&self, name: &RepositoryName) -> Result<(), PortError>;
}

/// What became of a push, in one sentence for whoever pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushNews {
    /// The sentence; it may quote the repository, and have several lines.
    pub text: String,
    /// Where there is more, as a path on the daemon.
    pub path: Option<String>,
}

/// Is told of every push that was taken, so that its revisions are seen at once.
#[async_trait]
pub trait PushSink: Send + Sync + 'static {
    /// `user` pushed to `repository`; refs are final. Never fails: a lost word costs one slow tick. Returns what became of it.
    async fn pushed(&self, repository: &RepositoryName, user: &str) -> Vec<PushNews>;
}
