//! Writes selected files of a commit into a folder, byte for byte as they are stored.

use std::collections::HashSet;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use hookwright_core::port::{Selection, TreeEntry, TreeEntryKind};
use hookwright_core::{CommitSha, PortError};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::command::git;
use crate::tree;

/// Larger files are refused: they do not belong into a webhook's repository.
const FILE_LIMIT: u64 = 256 << 20;

/// The leaves of `entries` that a selection takes, each with its path below the selected folder.
pub(crate) fn select(entries: Vec<TreeEntry>, selection: &Selection) -> Result<Vec<(PathBuf, TreeEntry)>, PortError> {
    let globs = selection.globs.as_deref().map(glob_set).transpose()?;
    let folder = selection.folder.as_ref().map(|folder| format!("{folder}/"));
    Ok(entries
        .into_iter()
        .filter_map(|entry| {
            let path = entry.path.as_str();
            let below = folder.as_deref().map_or(Some(path), |folder| path.strip_prefix(folder))?;
            let taken = globs.as_ref().is_none_or(|globs| globs.is_match(below));
            taken.then(|| (PathBuf::from(below), entry.clone()))
        })
        .collect())
}

/// A glob names files; the name of a folder means everything below it.
fn glob_set(globs: &[String]) -> Result<GlobSet, PortError> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let bare = glob.trim_start_matches("./").trim_end_matches('/');
        for pattern in [bare.to_owned(), format!("{bare}/**")] {
            let built = GlobBuilder::new(&pattern).literal_separator(true).build();
            set.add(built.map_err(|error| PortError::failed(format!("`{glob}` is not a glob: {}", error.kind())))?);
        }
    }
    set.build().map_err(|error| PortError::failed("the globs are too large together").because(error))
}

/// Writes the selected leaves below `into`.
pub(crate) async fn write(repository: &Path, commit: &CommitSha, selection: &Selection, into: &Path) -> Result<(), PortError> {
    let entries = select(tree::list(repository, commit).await?, selection)?;
    let mut blobs = Blobs::open(repository)?;
    let links: HashSet<PathBuf> =
        entries.iter().filter(|(_, entry)| entry.kind == TreeEntryKind::Link).map(|(path, _)| path.clone()).collect();
    let (linked, plain): (Vec<_>, Vec<_>) = entries.iter().partition(|(path, _)| links.contains(path));
    for (path, entry) in plain.into_iter().chain(linked) {
        if path.ancestors().skip(1).any(|parent| links.contains(parent)) {
            return Err(PortError::failed(format!("`{}` would be written through a symbolic link", entry.path)));
        }
        write_leaf(&mut blobs, path, entry, into).await?;
    }
    check_links(&links, into)
}

/// A link may pass through others, each of which stays inside by itself: what counts is where it ends.
fn check_links(links: &HashSet<PathBuf>, into: &Path) -> Result<(), PortError> {
    let root = into.canonicalize().map_err(|error| PortError::errored("cannot find the workspace").because(error))?;
    for link in links {
        let target = std::fs::read_link(into.join(link)).unwrap_or_default();
        let start = link.parent().unwrap_or(Path::new(""));
        let passes_a_link =
            target.ancestors().skip(1).any(|part| std::fs::symlink_metadata(into.join(start).join(part)).is_ok_and(|met| met.is_symlink()));
        let ends_inside = match into.join(link).canonicalize() {
            Ok(end) => end.starts_with(&root),
            // It leads nowhere yet; through another link that could become anywhere.
            Err(_) => !passes_a_link,
        };
        if !ends_inside {
            return Err(PortError::failed(format!("the link `{}` leads out of the repository; remove it", link.display())));
        }
    }
    Ok(())
}

async fn write_leaf(blobs: &mut Blobs, path: &Path, entry: &TreeEntry, into: &Path) -> Result<(), PortError> {
    if entry.kind == TreeEntryKind::Submodule {
        return Ok(());
    }
    let content = blobs.read(&entry.object, FILE_LIMIT).await?;
    let place = into.join(path);
    let failed = |error: std::io::Error| PortError::errored(format!("cannot write `{}`", path.display())).because(error);
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    if entry.kind == TreeEntryKind::Link {
        let target = String::from_utf8(content).map_err(|_| PortError::failed(format!("the link `{}` is not UTF-8", entry.path)))?;
        if !tree::link_stays_inside(path, &target) {
            return Err(PortError::failed(format!("the link `{}` leads out of the repository to `{target}`; remove it", entry.path)));
        }
        return symlink(target, &place).map_err(failed);
    }
    let mode = if entry.kind == TreeEntryKind::Executable { 0o755 } else { 0o644 };
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(&place).map_err(failed)?;
    std::io::Write::write_all(&mut file, &content).map_err(failed)
}

/// One `git cat-file --batch` for many blobs.
pub(crate) struct Blobs {
    _child: tokio::process::Child,
    questions: tokio::process::ChildStdin,
    answers: BufReader<tokio::process::ChildStdout>,
}

impl Blobs {
    pub(crate) fn open(repository: &Path) -> Result<Self, PortError> {
        let mut command = git(repository);
        command.args(["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = command.spawn().map_err(|error| PortError::errored("git cannot be started").because(error));
        let mut child = started?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(questions), Some(answers)) => Ok(Self { _child: child, questions, answers: BufReader::new(answers) }),
            _ => Err(PortError::errored("git was started without pipes")),
        }
    }

    /// The content of an object.
    pub(crate) async fn read(&mut self, object: &str, limit: u64) -> Result<Vec<u8>, PortError> {
        let broken = |error: std::io::Error| PortError::errored("git stopped answering while files were read").because(error);
        self.questions.write_all(format!("{object}\n").as_bytes()).await.map_err(broken)?;
        let mut header = String::new();
        self.answers.read_line(&mut header).await.map_err(broken)?;
        let size: u64 = header
            .trim_end()
            .rsplit(' ')
            .next()
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| PortError::failed(format!("the object {object} is missing from the repository; push again")))?;
        if size > limit {
            return Err(PortError::failed(format!("a file is {size} bytes long; {limit} is the most that is taken")));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.answers.read_exact(&mut content).await.map_err(broken)?;
        self.answers.read_u8().await.map_err(broken)?;
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leaves_through_another_link_is_refused() {
        let outside = tempfile::tempdir().expect("a folder");
        let root = outside.path().join("workspace");
        std::fs::create_dir_all(root.join("a/b/c")).expect("folders");
        std::fs::write(outside.path().join("secret"), "x").expect("a file");
        symlink("../../..", root.join("a/b/c/up")).expect("a link");
        symlink("a/b/c/up/../secret", root.join("leak")).expect("a link");
        let links = HashSet::from([PathBuf::from("a/b/c/up"), PathBuf::from("leak")]);
        assert!(check_links(&links, &root).is_err());
    }

    #[test]
    fn a_link_beside_its_target_is_kept() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("file"), "x").expect("a file");
        symlink("file", root.path().join("link")).expect("a link");
        assert!(check_links(&HashSet::from([PathBuf::from("link")]), root.path()).is_ok());
    }
}
