//! What was lately read of a commit, so that the stages of one run do not start git each to read the same small tree again. Objects are
//! named by their content: what is remembered cannot be out of date, only no longer wanted, and then it is dropped.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use hookwright_core::CommitSha;
use hookwright_core::port::{TreeEntry, TreeEntryKind};

/// Longer than it takes from one stage of a run to the next.
const KEPT: Duration = Duration::from_secs(20);
/// So many commits are remembered.
const COMMITS: usize = 8;
/// Trees with more leaves are read anew each time.
const LEAVES: usize = 2_000;
/// A larger content is not remembered, in bytes.
const CONTENT: u64 = 64 << 10;
/// All contents of one commit together, in bytes.
const CONTENTS: usize = 1 << 20;

/// A commit's leaves, and what of their contents was read.
#[derive(Debug)]
pub(crate) struct WarmTree {
    pub(crate) entries: Arc<[TreeEntry]>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    by_object: HashMap<String, Arc<[u8]>>,
    bytes: usize,
}

impl WarmTree {
    /// A tree of which only the leaves are known.
    pub(crate) fn new(entries: Vec<TreeEntry>) -> Arc<Self> {
        Arc::new(Self { entries: entries.into(), contents: Mutex::default() })
    }

    pub(crate) fn content(&self, entry: &TreeEntry) -> Option<Arc<[u8]>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).by_object.get(&entry.object).cloned()
    }

    /// Whether the contents of all these leaves are known.
    pub(crate) fn holds<'a>(&self, mut leaves: impl Iterator<Item = &'a TreeEntry>) -> bool {
        let contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.all(|leaf| leaf.kind == TreeEntryKind::Submodule || contents.by_object.contains_key(&leaf.object))
    }

    /// Whether a content of this size is worth keeping.
    pub(crate) fn takes(&self, size: u64) -> bool {
        let bytes = self.contents.lock().unwrap_or_else(PoisonError::into_inner).bytes;
        size <= CONTENT && self.entries.len() <= LEAVES && usize::try_from(size).is_ok_and(|size| bytes + size <= CONTENTS)
    }

    pub(crate) fn keep(&self, entry: &TreeEntry, content: Vec<u8>) {
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        contents.bytes += content.len();
        contents.by_object.insert(entry.object.clone(), content.into());
    }
}

struct Remembered {
    repository: PathBuf,
    commit: CommitSha,
    tree: Arc<WarmTree>,
    used: Instant,
}

type Shelf = Mutex<VecDeque<Remembered>>;

/// The trees that were read last, the most recent one at the end.
#[derive(Default)]
pub(crate) struct Warm(Arc<Shelf>);

impl Warm {
    pub(crate) fn find(&self, repository: &Path, commit: &CommitSha) -> Option<Arc<WarmTree>> {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = shelf.iter().position(|tree| tree.commit == *commit && tree.repository == repository)?;
        let mut found = shelf.remove(at)?;
        found.used = Instant::now();
        let tree = Arc::clone(&found.tree);
        shelf.push_back(found);
        Some(tree)
    }

    /// Remembers a tree for a while; a large one is not remembered.
    pub(crate) fn remember(&self, repository: &Path, commit: &CommitSha, tree: &Arc<WarmTree>) {
        if tree.entries.len() > LEAVES {
            return;
        }
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.is_empty() {
            sweep_later(Arc::downgrade(&self.0));
        }
        // Stages that begin together read it together; one of them is enough.
        shelf.retain(|known| known.commit != *commit || known.repository != repository);
        if shelf.len() >= COMMITS {
            shelf.pop_front();
        }
        shelf.push_back(Remembered {
            repository: repository.to_owned(),
            commit: commit.clone(),
            tree: Arc::clone(tree),
            used: Instant::now(),
        });
    }

    /// Drops what is remembered of a repository that is removed.
    pub(crate) fn forget(&self, repository: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|tree| tree.repository != repository);
    }
}

/// Drops what nobody asks for any more: a daemon at rest holds nothing.
fn sweep_later(shelf: Weak<Shelf>) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(KEPT / 2).await;
            let Some(shelf) = shelf.upgrade() else { return };
            let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.retain(|tree| tree.used.elapsed() < KEPT);
            if shelf.is_empty() {
                return;
            }
        }
    });
}
