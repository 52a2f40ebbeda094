//! A commit's tree, leaf by leaf, refusing what could lead a checkout astray.

use std::path::{Component, Path};

use hookwright_core::port::{TreeEntry, TreeEntryKind};
use hookwright_core::{CommitSha, PortError, RepoPath};

use crate::command::{git, output};

/// More leaves than this are refused: no webhook needs them, and everything downstream is sized by it.
const LEAVES: usize = 200_000;

/// Every leaf of the tree, sorted by path.
pub(crate) async fn list(repository: &Path, commit: &CommitSha) -> Result<Vec<TreeEntry>, PortError> {
    let mut command = git(repository);
    command.args(["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]);
    let listing = output(command, &format!("list the tree of {}", commit.short())).await?;
    let mut entries = Vec::new();
    for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = std::str::from_utf8(line).map_err(|_| PortError::failed("a file name in the repository is not UTF-8; rename it"))?;
        entries.push(entry(line)?);
        if entries.len() > LEAVES {
            return Err(PortError::failed(format!("the repository has more than {LEAVES} files")));
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn entry(line: &str) -> Result<TreeEntry, PortError> {
    let odd = || PortError::errored(format!("git listed `{line}`, which cannot be read"));
    let (meta, path) = line.split_once('\t').ok_or_else(odd)?;
    let mut words = meta.split(' ');
    let (mode, _, object) = (words.next().ok_or_else(odd)?, words.next(), words.next().ok_or_else(odd)?);
    let kind = match mode {
        "100755" => TreeEntryKind::Executable,
        "120000" => TreeEntryKind::Link,
        "160000" => TreeEntryKind::Submodule,
        _ => TreeEntryKind::File,
    };
    let path = RepoPath::new(path)
        .map_err(|error| PortError::failed("the repository holds a path that is refused").because(error))
        .map_err(|error| PortError { message: format!("{}: `{path}`", error.message), ..error })?;
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
}
