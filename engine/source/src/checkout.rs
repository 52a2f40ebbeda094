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
    for (path, entry) in &entries {
        if path.ancestors().skip(1).any(|parent| links.contains(parent)) {
            return Err(PortError::failed(format!("`{}` would be written through a symbolic link", entry.path)));
        }
        write_leaf(&mut blobs, path, entry, into).await?;
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
        if !tree::link_stays_inside(&entry.path, &target) {
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
