//! Sees whether the refs of a repository on this machine moved, without starting git: loose refs are walked with a library,
//! packed ones taken as they stand. What it sees is a digest only; what the refs mean (peeled tags, the default branch) git says, once for each change.

use std::path::{Path, PathBuf};

use gix_ref::{Target, file};
use hookwright_core::{Digest, PULL_REQUESTS, Sha256};

/// Larger files of packed refs are left to git, in bytes.
const PACKED: u64 = 64 << 20;

/// A digest of `HEAD`, branches, tags and, when they are wanted, everything where pull requests have their heads. `None` when the library cannot tell: another ref backend, a linked work tree, a branch
/// that points to something else, no repository at all. Then git is asked.
pub(crate) async fn seen(repository: PathBuf, pull_requests: bool) -> Option<Digest> {
    // A panic of the library is as good as "cannot tell".
    tokio::task::spawn_blocking(move || read(&repository, pull_requests)).await.ok().flatten()
}

fn read(repository: &Path, pull_requests: bool) -> Option<Digest> {
    let folder = git_folder(repository)?;
    let met = |name: &str| folder.join(name).symlink_metadata().ok();
    let is_link = |name: &str| met(name).is_some_and(|met| met.is_symlink());
    if met("reftable").is_some()
        || met("commondir").is_some()
        || ["HEAD", "refs", "refs/heads", "refs/tags", "refs/pull", "refs/merge-requests", "refs/pull-requests", "packed-refs"]
            .into_iter()
            .any(is_link)
    {
        return None;
    }
    let mut digest = Sha256::default();
    digest.part(std::fs::read(folder.join("HEAD")).ok()?);
    // Packed refs count as they stand, before the loose ones that git may be packing just now. They are read, not mapped: whoever
    // owns the folder could cut a mapped file short under us.
    match met("packed-refs") {
        Some(met) if !met.is_file() || met.len() > PACKED => return None,
        Some(_) => digest.part(std::fs::read(folder.join("packed-refs")).ok()?),
        None => digest.part(""),
    };
    let store = file::Store::at(folder, Default::default());
    let theirs = PULL_REQUESTS.iter().map(|(prefix, _)| *prefix).filter(|_| pull_requests);
    for prefix in ["refs/heads/", "refs/tags/"].into_iter().chain(theirs) {
        for reference in store.loose_iter_prefixed(prefix.try_into().ok()?).ok()? {
            let reference = reference.ok()?;
            digest.part(reference.name.as_bstr());
            match reference.target {
                Target::Object(id) => digest.part(id.as_slice()),
                Target::Symbolic(name) if name.as_bstr().starts_with(b"refs/heads/") => digest.part(name.as_bstr()),
                Target::Symbolic(_) => return None,
            };
        }
    }
    Some(digest.finish())
}

/// Where git looks for the repository, in its order. A `.git` file (a linked work tree, a submodule) is left to git.
fn git_folder(path: &Path) -> Option<PathBuf> {
    let with = |suffix: &str| {
        let mut text = path.as_os_str().to_owned();
        text.push(suffix);
        PathBuf::from(text)
    };
    for candidate in [with("/.git"), path.to_owned(), with(".git/.git"), with(".git")] {
        if candidate.is_file() {
            return None;
        }
        if candidate.join("HEAD").is_file() && candidate.join("refs").is_dir() && candidate.join("objects").is_dir() {
            return Some(candidate);
        }
    }
    None
}
