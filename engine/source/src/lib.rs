//! Git: hosts repositories over smart HTTP, keeps one mirror of each watched remote, and reads revisions out of both.
//! The stock git does the work on objects and refs; files are written by us, so that no filter, hook, attribute or submodule of
//! a repository is ever executed or followed.

mod address;
mod blame;
mod checkout;
mod command;
mod host;
mod read;
mod refs;
mod remote;
mod service;
mod tree;
mod warm;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookwright_core::port::{Location, Tips};
use hookwright_core::{Digest, PortError, RepositoryId, RepositoryName};
use tokio::sync::RwLock;

/// Of so many repositories the last listing is remembered; beyond that all are read anew.
const REMEMBERED: usize = 20_000;

/// How to open the source.
pub struct GitSourceOptions {
    /// The data folder; `git/`, `mirrors/`, `scratch/` and `known_hosts` are kept in it.
    pub directory: PathBuf,
    /// How long a client that pushes or fetches may stand still before it is cut off.
    pub idle: Duration,
    /// How long one push or fetch may take in all.
    pub longest: Duration,
}

impl GitSourceOptions {
    /// The defaults, with `directory` as the data folder: a minute of silence, an hour in all.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), idle: Duration::from_secs(60), longest: Duration::from_secs(3600) }
    }
}

/// Hosted and watched repositories on this machine.
pub struct GitSource {
    hosted: PathBuf,
    mirrors: PathBuf,
    /// Files that one command reads, emptied at the start.
    scratch: PathBuf,
    /// The keys of the ssh servers that were met, as ssh keeps them.
    known_hosts: PathBuf,
    idle: Duration,
    longest: Duration,
    /// One lock for each repository: pushes share it, what creates or removes a repository or fills a mirror has it alone. The map
    /// only grows with the number of repositories.
    locks: Mutex<HashMap<PathBuf, Arc<RwLock<()>>>>,
    /// What was seen of a repository's refs when they were last listed, and the listing.
    known: Mutex<HashMap<RepositoryId, (Digest, Tips)>>,
    /// Trees that were just read.
    warm: warm::Warm,
}

impl GitSource {
    /// Creates the folders.
    ///
    /// # Errors
    /// *Errored* when they cannot be created.
    pub fn new(options: GitSourceOptions) -> Result<Self, PortError> {
        let below = |name: &str| options.directory.join(name);
        let (hosted, mirrors, scratch) = (below("git"), below("mirrors"), below("scratch"));
        for folder in [&hosted, &mirrors, &scratch] {
            std::fs::create_dir_all(folder)
                .map_err(|error| PortError::errored(format!("cannot create the folder `{}`", folder.display())).because(error))?;
        }
        Ok(Self {
            hosted,
            mirrors,
            scratch,
            known_hosts: below("known_hosts"),
            idle: options.idle,
            longest: options.longest,
            locks: Mutex::default(),
            known: Mutex::default(),
            warm: warm::Warm::default(),
        })
    }

    /// Empties the folder for files that one command reads: a daemon that was killed may have left a key there. Called before anything is
    /// fetched, by the one daemon that fetches.
    ///
    /// # Errors
    /// *Errored* when the folder cannot be created anew.
    pub fn clear_scratch(&self) -> Result<(), PortError> {
        // It may not be there.
        let _ = std::fs::remove_dir_all(&self.scratch);
        std::fs::create_dir_all(&self.scratch)
            .map_err(|error| PortError::errored(format!("cannot create the folder `{}`", self.scratch.display())).because(error))
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

    fn lock(&self, folder: &Path) -> Arc<RwLock<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        locks.entry(folder.to_owned()).or_default().clone()
    }
}
