//! What one `copy:` entry means: which files of the workspace go where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hookwright_core::PortError;
use hookwright_core::port::CopyInstruction;
use ignore::gitignore::Gitignore;

use crate::archive;

/// Place in the layer → path in the workspace. Nothing below a folder named `.git` is copied, wherever it is: it holds history and credentials.
pub(crate) fn copied(files: &[PathBuf], copy: &CopyInstruction, ignored: &Gitignore) -> Result<BTreeMap<PathBuf, PathBuf>, PortError> {
    let source = copy.source.trim_start_matches("./").trim_end_matches('/');
    let destination = Path::new(copy.destination.trim_start_matches('/'));
    let whole = source.is_empty() || source == ".";
    let set = archive::glob_set(std::slice::from_ref(&source.to_owned()))?;
    let mut entries = BTreeMap::new();
    let mut left_out = 0_u64;
    for path in files.iter().filter(|path| !is_git(path)) {
        let place = if whole {
            destination.join(path)
        } else if let Ok(below) = path.strip_prefix(source) {
            if below.as_os_str().is_empty() && !copy.destination.ends_with('/') {
                destination.to_owned()
            } else {
                place_below(destination, path, below)
            }
        } else if set.is_match(path) {
            destination.join(path.file_name().unwrap_or_default())
        } else {
            continue;
        };
        // What is named is wanted: what was built is often named by `.gitignore`.
        if whole && ignored.matched_path_or_any_parents(path, false).is_ignore() {
            left_out += 1;
        } else {
            entries.insert(place, path.clone());
        }
    }
    if entries.is_empty() {
        return Err(PortError::failed(nothing(files, &copy.source, source, left_out)));
    }
    Ok(entries)
}

fn is_git(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == ".git")
}

fn place_below(destination: &Path, path: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { destination.join(path.file_name().unwrap_or_default()) } else { destination.join(below) }
}

/// Why an entry copies nothing.
fn nothing(files: &[PathBuf], written: &str, source: &str, left_out: u64) -> String {
    if left_out > 0 {
        return format!("`copy: {written}` matches {left_out} files, but the ignore file leaves all of them out; change one or the other");
    }
    let hint = match nearest(files, source) {
        Some(path) => format!("; the nearest path that exists is `{path}`"),
        None => "; the workspace is empty".to_owned(),
    };
    format!("`copy: {written}` matches nothing in the workspace{hint}")
}

/// The file or folder whose name is most like `source`.
fn nearest(files: &[PathBuf], source: &str) -> Option<String> {
    let files = files.iter().filter(|path| !is_git(path));
    let paths: BTreeSet<&Path> = files.flat_map(|path| path.ancestors()).filter(|path| !path.as_os_str().is_empty()).collect();
    let mut best: Option<(usize, String)> = None;
    for path in paths {
        let text = path.to_string_lossy();
        // Names of such different lengths cannot be nearer, and comparing all of a large workspace takes long.
        let least = text.len().abs_diff(source.len());
        if best.as_ref().is_some_and(|(distance, _)| *distance <= least) {
            continue;
        }
        let distance = strsim::osa_distance(&text, source);
        if best.as_ref().is_none_or(|(known, _)| distance < *known) {
            best = Some((distance, text.into_owned()));
        }
    }
    best.map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    fn instruction(source: &str, destination: &str) -> CopyInstruction {
        CopyInstruction { source: source.to_owned(), destination: destination.to_owned() }
    }

    fn refusal(names: &[&str], source: &str) -> String {
        copied(&files(names), &instruction(source, "/app"), &Gitignore::empty()).expect_err("nothing to copy").message
    }

    fn places(names: &[&str], source: &str, destination: &str) -> Vec<String> {
        let copied = copied(&files(names), &instruction(source, destination), &Gitignore::empty()).expect("copied");
        copied.into_keys().map(|place| place.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error_that_names_the_nearest_existing_path() {
        let names = ["dist/assets/logo.svg", "dist/index.js", "package.json", "target/release/shop"];
        assert!(refusal(&names, "dits").contains("`copy: dits` matches nothing in the workspace; the nearest path that exists is `dist`"));
        assert!(refusal(&names, "./target/relaese/").contains("exists is `target/release`"));
        assert!(refusal(&names, "package.jsn").contains("exists is `package.json`"));
        assert!(refusal(&[], "dist").contains("the workspace is empty"));
    }

    #[test]
    fn git_folders_are_left_out_wherever_they_are() {
        let names = [".git/config", ".gitignore", "vendor/lib/.git", "vendor/lib/a.js", "vendor/two/.git/config"];
        assert_eq!(places(&names, ".", "/app"), ["app/.gitignore", "app/vendor/lib/a.js"]);
        assert_eq!(places(&names, "vendor", "/app"), ["app/lib/a.js"]);
        assert!(!refusal(&names, "vendor/two/.git").contains("`vendor/two/.git/config`"));
    }

    #[test]
    fn a_folder_a_file_and_a_glob_go_where_they_should() {
        let names = ["dist/a/b.js", "dist/c.js", "package.json"];
        assert_eq!(places(&names, "dist", "/app"), ["app/a/b.js", "app/c.js"]);
        assert_eq!(places(&names, "package.json", "/app/package.json"), ["app/package.json"]);
        assert_eq!(places(&names, "package.json", "/app/"), ["app/package.json"]);
        assert_eq!(places(&names, "dist/*.js", "/app"), ["app/c.js"]);
    }
}
