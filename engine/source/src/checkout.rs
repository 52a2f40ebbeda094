//! Writes selected files of a commit into a folder, byte for byte as they are stored: as streams, on a thread that may block.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use hookwright_core::PortError;
use hookwright_core::port::{Selection, TreeEntry, TreeEntryKind};

use crate::command::{DEADLINE, Git, Group, late};
use crate::tree;
use crate::warm::WarmTree;

/// Larger files are refused: they do not belong into a webhook's repository.
const FILE_LIMIT: u64 = 256 << 20;

/// All files together may be this large: a small repository can name the same content many times.
const TOTAL_LIMIT: u64 = 4 << 30;

/// A link's target is a path.
const LINK_LIMIT: u64 = 4096;

/// The leaves of `entries` that a selection takes, each with its path below the selected folder.
pub(crate) fn select(entries: &[TreeEntry], selection: &Selection) -> Result<Vec<(PathBuf, TreeEntry)>, PortError> {
    let globs = selection.globs.as_deref().map(glob_set).transpose()?;
    let folder = selection.folder.as_ref().map(|folder| format!("{folder}/"));
    Ok(entries
        .iter()
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

/// Ends the git of a thread that nobody waits for any more; the thread then fails and ends too.
struct Leash(Arc<Group>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Writes the selected leaves below `into`, and leaves what it read of them with the tree.
pub(crate) async fn write(repository: &Path, tree: &Arc<WarmTree>, selection: &Selection, into: &Path) -> Result<(), PortError> {
    let (all, selection) = (Arc::clone(tree), selection.clone());
    let stopped = |error| PortError::errored("the checkout stopped").because(error);
    let leaves = tokio::task::spawn_blocking(move || select(&all.entries, &selection)).await.map_err(stopped)??;
    let mut blobs = Blobs { tree: Arc::clone(tree), git: None };
    let mut leash = None;
    if !tree.holds(leaves.iter().map(|(_, leaf)| leaf)) {
        let git = BatchGit::open(repository)?;
        leash = Some(Leash(Arc::clone(&git.group)));
        blobs.git = Some(git);
    }
    let into = into.to_owned();
    let work = tokio::task::spawn_blocking(move || lay_out(blobs, &leaves, &into));
    let result = match tokio::time::timeout(DEADLINE, work).await {
        Ok(result) => result.map_err(stopped)?,
        Err(_) => Err(late("write the files", DEADLINE)),
    };
    drop(leash);
    result
}

fn lay_out(mut blobs: Blobs, entries: &[(PathBuf, TreeEntry)], into: &Path) -> Result<(), PortError> {
    let links: HashSet<&Path> =
        entries.iter().filter(|(_, entry)| entry.kind == TreeEntryKind::Link).map(|(path, _)| path.as_path()).collect();
    check_sizes(&mut blobs, entries)?;
    let (linked, plain): (Vec<_>, Vec<_>) = entries.iter().partition(|(path, _)| links.contains(path.as_path()));
    for (path, entry) in plain.into_iter().chain(linked) {
        if path.ancestors().skip(1).any(|parent| links.contains(parent)) {
            return Err(PortError::failed(format!("`{}` would be written through a symbolic link", entry.path)));
        }
        write_leaf(&mut blobs, path, entry, into)?;
    }
    check_links(&links, into)
}

/// Refuses what is too large before any of it is written.
fn check_sizes(blobs: &mut Blobs, entries: &[(PathBuf, TreeEntry)]) -> Result<(), PortError> {
    let mut total = 0_u64;
    for (_, entry) in entries.iter().filter(|(_, entry)| entry.kind != TreeEntryKind::Submodule) {
        let size = blobs.size(entry)?;
        let limit = if entry.kind == TreeEntryKind::Link { LINK_LIMIT } else { FILE_LIMIT };
        if size > limit {
            return Err(PortError::failed(format!("`{}` is {size} bytes long; {limit} is the most that is taken", entry.path)));
        }
        total = total.saturating_add(size);
        if total > TOTAL_LIMIT {
            return Err(PortError::failed(format!("the files are more than {TOTAL_LIMIT} bytes together; that is the most that is taken")));
        }
    }
    Ok(())
}

/// A link may pass through others, each of which stays inside by itself: what counts is where it ends.
fn check_links(links: &HashSet<&Path>, into: &Path) -> Result<(), PortError> {
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

fn write_leaf(blobs: &mut Blobs, path: &Path, entry: &TreeEntry, into: &Path) -> Result<(), PortError> {
    let place = into.join(path);
    let failed = |error: std::io::Error| {
        let why = if error.kind() == std::io::ErrorKind::StorageFull { ": the disk is full" } else { "" };
        PortError::errored(format!("cannot write `{}`{why}", path.display())).because(error)
    };
    if entry.kind == TreeEntryKind::Submodule {
        // Its place is there, as after a clone; what belongs into it is not ours to fetch.
        return std::fs::create_dir_all(place).map_err(failed);
    }
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    if entry.kind == TreeEntryKind::Link {
        let mut target = Vec::new();
        blobs.copy(entry, &mut target, failed)?;
        let target = String::from_utf8(target).map_err(|_| PortError::failed(format!("the link `{}` is not UTF-8", entry.path)))?;
        if !tree::link_stays_inside(path, &target) {
            let target = target.escape_debug();
            return Err(PortError::failed(format!("the link `{}` leads out of the repository to `{target}`; remove it", entry.path)));
        }
        return symlink(target, &place).map_err(failed);
    }
    let mode = if entry.kind == TreeEntryKind::Executable { 0o755 } else { 0o644 };
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(&place).map_err(failed)?;
    blobs.copy(entry, &mut file, failed)
}

/// The contents of leaves: those that were just read, and git for the others.
struct Blobs {
    tree: Arc<WarmTree>,
    /// Missing when everything is known.
    git: Option<BatchGit>,
}

impl Blobs {
    /// How large the content of a leaf is, in bytes.
    fn size(&mut self, entry: &TreeEntry) -> Result<u64, PortError> {
        match self.tree.content(entry) {
            Some(content) => Ok(content.len() as u64),
            None => self.git()?.ask("info", entry),
        }
    }

    /// Copies the content of a leaf; `failed` says what cannot be written.
    fn copy(&mut self, entry: &TreeEntry, into: &mut dyn Write, failed: impl Fn(std::io::Error) -> PortError) -> Result<(), PortError> {
        if let Some(content) = self.tree.content(entry) {
            return into.write_all(&content).map_err(failed);
        }
        let tree = Arc::clone(&self.tree);
        let git = self.git()?;
        let size = git.ask("contents", entry)?;
        if !tree.takes(size) {
            return git.stream(size, into, failed);
        }
        let mut content = Vec::new();
        git.stream(size, &mut content, &failed)?;
        into.write_all(&content).map_err(failed)?;
        tree.keep(entry, content);
        Ok(())
    }

    fn git(&mut self) -> Result<&mut BatchGit, PortError> {
        self.git.as_mut().ok_or_else(|| PortError::errored("a file that was just read is gone"))
    }
}

/// One `git cat-file --batch-command` for many blobs.
struct BatchGit {
    child: Child,
    group: Arc<Group>,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl BatchGit {
    fn open(repository: &Path) -> Result<Self, PortError> {
        let (mut child, group) = Git::at(repository).args(["cat-file", "--batch-command"]).start_blocking("read files")?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(questions), Some(answers)) => Ok(Self { child, group, questions, answers: BufReader::with_capacity(64 << 10, answers) }),
            _ => Err(PortError::errored("git was started without pipes")),
        }
    }

    /// Copies an answer of so many bytes.
    fn stream(&mut self, size: u64, into: &mut dyn Write, failed: impl Fn(std::io::Error) -> PortError) -> Result<(), PortError> {
        let mut left = size;
        while left > 0 {
            let part = self.answers.fill_buf().map_err(broken)?;
            if part.is_empty() {
                return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
            }
            let length = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            into.write_all(&part[..length]).map_err(&failed)?;
            self.answers.consume(length);
            left -= length as u64;
        }
        self.answers.read_exact(&mut [0]).map_err(broken)
    }

    /// Puts a question about a leaf and reads the first line of the answer, which ends with the size.
    fn ask(&mut self, question: &str, entry: &TreeEntry) -> Result<u64, PortError> {
        self.questions.write_all(format!("{question} {}\n", entry.object).as_bytes()).map_err(broken)?;
        let mut header = String::new();
        (&mut self.answers).take(256).read_line(&mut header).map_err(broken)?;
        if header.is_empty() {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let mut words = header.trim_end().split(' ').skip(1);
        match (words.next(), words.next().map(str::parse)) {
            (Some("blob"), Some(Ok(size))) => Ok(size),
            _ => Err(PortError::errored(format!("the content of `{}` is missing from the repository", entry.path))),
        }
    }
}

fn broken(error: std::io::Error) -> PortError {
    PortError::errored("git stopped answering while files were read").because(error)
}

impl Drop for BatchGit {
    fn drop(&mut self) {
        self.group.kill();
        self.group.is_over();
        // It was killed: whatever the answer, it is over.
        let _ = self.child.wait();
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
        let links = HashSet::from([Path::new("a/b/c/up"), Path::new("leak")]);
        assert!(check_links(&links, &root).is_err());
    }

    #[test]
    fn a_link_beside_its_target_is_kept() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::write(root.path().join("file"), "x").expect("a file");
        symlink("file", root.path().join("link")).expect("a link");
        assert!(check_links(&HashSet::from([Path::new("link")]), root.path()).is_ok());
    }
}
