//! The examples, embedded so that the demo works wherever the binary is.

use std::path::Path;

/// A folder of `examples/`.
pub(crate) struct Example {
    /// Folder, repository and webhook have the same name.
    pub(crate) name: &'static str,
    /// The programs its pipeline and handler need.
    pub(crate) needs: &'static [&'static str],
    /// The file whose text the demo changes, and the change.
    pub(crate) edit: Edit,
    files: &'static [(&'static str, &'static str)],
}

/// A change to one file, to be pushed second.
pub(crate) struct Edit {
    /// Which file.
    pub(crate) file: &'static str,
    /// What is replaced.
    pub(crate) from: &'static str,
    /// By what.
    pub(crate) to: &'static str,
}

macro_rules! files {
    ($folder:literal: $($file:literal),* $(,)?) => {
        &[$(($file, include_str!(concat!("../../../examples/", $folder, "/", $file)))),*]
    };
}

/// Every example; the first needs nothing but Rust.
pub(crate) const ALL: &[Example] = &[
    Example {
        name: "hello-rust",
        needs: &["cargo"],
        edit: Edit { file: "README.md", from: "A whole webhook", to: "Still a whole webhook" },
        files: files!("hello-rust": "webhook.yaml", "Cargo.toml", "Cargo.lock", "src/main.rs", "README.md"),
    },
    Example {
        name: "hello-python",
        needs: &["python3"],
        edit: Edit { file: "server.py", from: "Hello from Python", to: "Hello again from Python" },
        files: files!("hello-python": "webhook.yaml", "server.py", "README.md"),
    },
    Example {
        name: "hello-node",
        needs: &["node", "npm"],
        edit: Edit { file: "server.js", from: "Hello from Node", to: "Hello again from Node" },
        files: files!("hello-node": "webhook.yaml", "package.json", "server.js", "server.test.js", "README.md"),
    },
];

/// Examples that the demo leaves out, and why.
pub(crate) const LEFT_OUT: &[(&str, &str)] = &[
    ("hello-go", "Go compiles its own library first"),
    ("hello-java", "Maven downloads its plugins first"),
    ("hello-static", "it is the same way once more, without code"),
];

impl Example {
    /// Writes the files into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        for (name, text) in self.files {
            let path = folder.join(name);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, text)?;
        }
        Ok(())
    }

    /// The first program it needs that is not on `search_path`.
    pub(crate) fn missing(&self, search_path: &std::ffi::OsStr) -> Option<&'static str> {
        self.needs.iter().copied().find(|program| !std::env::split_paths(search_path).any(|folder| folder.join(program).is_file()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::{ALL, LEFT_OUT};

    fn files_below(folder: &Path, root: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    files_below(&path, root, into);
                }
            } else {
                into.insert(path.strip_prefix(root).expect("below the root").display().to_string());
            }
        }
    }

    #[test]
    fn every_example_is_shown_or_named() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let folders = std::fs::read_dir(folder).expect("a readable folder").flatten().filter(|entry| entry.path().is_dir());
        let present: BTreeSet<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let known = ALL.iter().map(|example| example.name).chain(LEFT_OUT.iter().map(|(name, _)| *name));
        assert_eq!(present, known.map(str::to_owned).collect());
    }

    #[test]
    fn every_file_of_every_example_is_embedded_and_can_be_edited() {
        for example in ALL {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example.name);
            let mut present = BTreeSet::new();
            files_below(&folder, &folder, &mut present);
            let embedded: BTreeSet<_> = example.files.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(present, embedded, "{}", example.name);
            let (_, text) = example.files.iter().find(|(name, _)| *name == example.edit.file).expect("the edited file");
            assert!(text.contains(example.edit.from), "{}", example.name);
        }
    }
}
