//! Git: hosts repositories over smart HTTP, keeps one mirror of each watched remote, and reads revisions out of both.
//! The stock git does the work on objects and refs; files are written by us, so that no filter, hook, attribute or submodule of
//! a repository is ever executed or followed.

mod checkout;
mod command;
mod host;
mod read;
mod remote;
mod tree;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hookwright_core::port::Location;
use hookwright_core::{PortError, RepositoryName};

/// How to open the source.
pub struct GitSourceOptions {
    /// The data folder; `git/` and `mirrors/` are kept below it.
    pub directory: PathBuf,
}

/// Hosted and watched repositories on this machine.
pub struct GitSource {
    hosted: PathBuf,
    mirrors: PathBuf,
    /// One lock for each repository that is pushed to or fetched; the map only grows with the number of repositories.
    locks: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl GitSource {
    /// Creates the folders.
    ///
    /// # Errors
    /// *Errored* when they cannot be created.
    pub fn new(options: GitSourceOptions) -> Result<Self, PortError> {
        let (hosted, mirrors) = (options.directory.join("git"), options.directory.join("mirrors"));
        for folder in [&hosted, &mirrors] {
            std::fs::create_dir_all(folder)
                .map_err(|error| PortError::errored(format!("cannot create the folder `{}`", folder.display())).because(error))?;
        }
        Ok(Self { hosted, mirrors, locks: Mutex::default() })
    }

    fn hosted_folder(&self, name: &RepositoryName) -> PathBuf {
        self.hosted.join(format!("{name}.git"))
    }

    /// The bare repository that holds the objects of a location.
    fn folder(&self, location: &Location) -> PathBuf {
        match location.url {
            None => self.hosted_folder(&location.name),
            Some(_) => self.mirrors.join(location.id.to_string()),
        }
    }

    fn lock(&self, folder: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        locks.entry(folder.to_owned()).or_default().clone()
    }
}
