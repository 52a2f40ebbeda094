//! A commit's tree, leaf by leaf, refusing what could lead a checkout astray. It is read as a stream: a tree that unfolds to
//! millions of leaves costs no more than the leaves that are taken.

use std::path::{Component, Path};

use hookwright_core::port::{TreeEntry, TreeEntryKind};
use hookwright_core::{CommitSha, PortError, RepoPath};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::command::{Git, late};

/// More leaves than this are refused: no webhook needs them, and everything downstream is sized by it.
const LEAVES: usize = 200_000;

/// All paths together may be this long, in bytes.
const PATHS: usize = 32 << 20;

/// A longer path is refused, in bytes, and so is a longer name in it: file systems take no more.
const PATH: usize = 4096;
const NAME: usize = 255;

/// Mode, type, object id and the characters between them.
const META: usize = 100;

/// Every leaf of the tree, sorted by path.
pub(crate) async fn list(repository: &Path, commit: &CommitSha) -> Result<Vec<TreeEntry>, PortError> {
    list_up_to(repository, commit, LEAVES).await
}

async fn list_up_to(repository: &Path, commit: &CommitSha, leaves: usize) -> Result<Vec<TreeEntry>, PortError> {
    let doing = format!("list the tree of {}", commit.short());
    let mut running = Git::at(repository).args(["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]).start(&doing, false)?;
    let deadline = running.deadline();
    let broken = |error| PortError::errored("git stopped answering while a tree was read").because(error);
    let listing = async {
        let mut entries = Vec::new();
        if let Some(stdout) = running.stdout() {
            let mut reader = BufReader::with_capacity(64 << 10, stdout);
            let (mut line, mut bytes) = (Vec::new(), 0);
            loop {
                line.clear();
                let read = (&mut reader).take((META + PATH) as u64).read_until(0, &mut line).await.map_err(broken)?;
                if read == 0 {
                    break;
                }
                bytes += read;
                if line.pop() != Some(0) {
                    return Err(PortError::failed(format!("a path in the repository is longer than {PATH} bytes; shorten it")));
                }
                let text =
                    std::str::from_utf8(&line).map_err(|_| PortError::failed("a file name in the repository is not UTF-8; rename it"))?;
                entries.push(entry(text)?);
                if entries.len() > leaves || bytes > PATHS {
                    return Err(PortError::failed(format!("the repository has more than {leaves} files, or too long names for so many")));
                }
            }
        }
        running.end().await?;
        Ok(entries)
    };
    let mut entries = tokio::time::timeout(deadline, listing).await.map_err(|_| late(&doing, deadline))??;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn entry(line: &str) -> Result<TreeEntry, PortError> {
    let odd = || PortError::errored(format!("git listed `{}`, which cannot be read", line.escape_debug()));
    let (meta, path) = line.split_once('\t').ok_or_else(odd)?;
    let mut words = meta.split(' ');
    let (mode, _, object) = (words.next().ok_or_else(odd)?, words.next(), words.next().ok_or_else(odd)?);
    let kind = match mode {
        "100755" => TreeEntryKind::Executable,
        "120000" => TreeEntryKind::Link,
        "160000" => TreeEntryKind::Submodule,
        _ => TreeEntryKind::File,
    };
    let shown: String = path.chars().take(NAME).collect();
    let refused = |why: &str| PortError::failed(format!("the repository holds a path that is refused: `{}`: {why}", shown.escape_debug()));
    if path.chars().any(char::is_control) {
        return Err(refused("a name has no line breaks and control characters; rename it"));
    }
    if path.len() > PATH || path.split('/').any(|name| name.len() > NAME) {
        return Err(refused("a name has at most 255 bytes and a path 4096; shorten it"));
    }
    let path = RepoPath::new(path).map_err(|error| refused("`..`, `.git` and what a file system takes for them").because(error))?;
    Ok(TreeEntry { path, kind, object: object.to_owned() })
}

/// Whether a link at `path` with this target stays inside the tree.
pub(crate) fn link_stays_inside(path: &Path, target: &str) -> bool {
    let target = Path::new(target);
    let mut depth = path.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_climb_out_or_are_absolute_are_seen() {
        let at = Path::new;
        assert!(link_stays_inside(at("a/b"), "../c"));
        assert!(!link_stays_inside(at("a/b"), "../../c"));
        assert!(!link_stays_inside(at("b"), "/etc/passwd"));
        assert!(!link_stays_inside(at("b"), ""));
    }

    #[test]
    fn a_git_folder_in_the_tree_is_refused_in_words() {
        let error = entry("100644 blob 0123\t.GIT/config").expect_err("refused");
        assert!(error.message.contains(".GIT/config"), "{}", error.message);
    }

    #[test]
    fn a_line_break_in_a_name_is_refused_and_not_repeated_raw() {
        let error = entry("100644 blob 0123\ta\nlevel=error b").expect_err("refused");
        assert!(!error.message.contains('\n'), "{}", error.message);
    }

    #[tokio::test]
    async fn a_tree_that_unfolds_to_billions_of_leaves_ends_at_the_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = |arguments: &[&str], input: &str| {
            use std::io::Write;
            let mut child = std::process::Command::new("git")
                .args(["-c", "user.name=Eve", "-c", "user.email=eve@acme.example", "--git-dir"])
                .arg(folder.path())
                .args(arguments)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .expect("git starts");
            child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("git reads");
            let output = child.wait_with_output().expect("git ends");
            assert!(output.status.success());
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        run(&["init", "--quiet", "--bare"], "");
        let blob = run(&["hash-object", "-w", "--stdin"], "x");
        let mut tree = run(&["mktree"], &format!("100644 blob {blob}\tx\n"));
        for _ in 0..9 {
            let folders: String = (0..16).map(|number| format!("040000 tree {tree}\t{number:02}\n")).collect();
            tree = run(&["mktree"], &folders);
        }
        let commit = run(&["commit-tree", "-m", "Bomb", &tree], "").parse().expect("a commit");
        let error = list_up_to(folder.path(), &commit, 1000).await.expect_err("refused");
        assert!(error.message.contains("more than 1000 files"), "{}", error.message);
    }
}
