//! A release as every page names it: short commit, message, author, age.

use hookwright_core::{CommitSha, Release, ReleaseId, Timestamp};
use hookwright_store::ReleaseInfo;
use serde::Serialize;

use crate::error::Result;
use crate::show::{Moment, visible};
use crate::{WebState, urls};

/// A release on a page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReleaseShown {
    pub(crate) id: String,
    pub(crate) short: String,
    pub(crate) title: String,
    pub(crate) author: String,
    pub(crate) at: Moment,
    /// The run that cut it.
    pub(crate) run: String,
}

impl ReleaseShown {
    pub(crate) fn new(release: &ReleaseInfo, now: Timestamp) -> Self {
        let (title, author) = release.info.as_ref().map_or_else(
            || ("(its commit is not known any more)".to_owned(), String::new()),
            |info| (visible(&info.title), visible(&info.author)),
        );
        let at = Moment::new(release.created_at, now);
        Self { id: release.id.to_string(), short: short(&release.commit), title, author, at, run: urls::run(release.run) }
    }

    /// One that may have been removed.
    pub(crate) async fn fetch(state: &WebState, id: &ReleaseId) -> Result<Option<Self>> {
        let now = state.clock.now();
        Ok(state.store.release_info(id).await?.map(|info| Self::new(&info, now)))
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let text = "<b>hostile".to_owned();
        Self {
            id: "rel-0123456789abcdef".into(),
            short: "0123456".into(),
            title: text.clone(),
            author: text,
            at: Moment::sample(),
            run: "/runs/1".into(),
        }
    }
}

/// So many digits of a commit are what people and git say.
const DIGITS: usize = 7;

/// As many digits of a commit as people read.
pub(crate) fn short(commit: &CommitSha) -> String {
    commit.as_str().chars().take(DIGITS).collect()
}

/// A line of what differs between two releases.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Change {
    /// What: `commit`, `image`, or a path in the spec.
    pub(crate) what: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

/// The most lines of a comparison.
const CHANGES: usize = 200;

/// What differs between two releases; with no earlier one, what is new.
pub(crate) fn changes(before: Option<&Release>, after: &Release) -> Vec<Change> {
    let mut found = Vec::new();
    let mut note = |what: &str, before: Option<String>, after: Option<String>| {
        if before != after && found.len() < CHANGES {
            found.push(Change { what: what.to_owned(), before, after });
        }
    };
    note("commit", before.map(|release| short(&release.commit)), Some(short(&after.commit)));
    note("image", before.map(|release| release.image.short()), Some(after.image.short()));
    if let Some(before) = before {
        let (old, new) = (leaves(&before.spec), leaves(&after.spec));
        let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            note(path, old.get(path).cloned(), new.get(path).cloned());
        }
    }
    found
}

/// Every value of a spec by its path.
fn leaves(spec: &str) -> std::collections::BTreeMap<String, String> {
    fn walk(path: &str, value: &serde_json::Value, into: &mut std::collections::BTreeMap<String, String>) {
        let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            serde_json::Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(&join(key), value, into)),
            serde_json::Value::Array(items) if items.iter().any(|item| item.is_object()) => {
                for (at, item) in items.iter().enumerate() {
                    // Things with a name are told apart by it, so that a new one does not shift the others.
                    let key = item["name"].as_str().map_or_else(|| at.to_string(), str::to_owned);
                    walk(&join(&key), item, into);
                }
            }
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => drop(into.insert(path.to_owned(), visible(text))),
            other => drop(into.insert(path.to_owned(), visible(&other.to_string()))),
        }
    }
    let mut found = std::collections::BTreeMap::new();
    if let Ok(value) = serde_json::from_str(spec) {
        walk("", &value, &mut found);
    }
    found
}
