//! What changed between two releases of a webhook.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use hookwright_control::{Commit, CommitRange};
use hookwright_core::{Action, ArtifactKind, Release, ReleaseId, Timestamp, WebhookName};
use serde::{Deserialize, Serialize};

use super::release::{Change, ReleaseShown, changes, short};
use super::{Answer, Layout};
use crate::WebState;
use crate::error::{Path, Problem, Query};
use crate::show::{Moment, bytes, visible};
use crate::template::{self, View};
use crate::urls;
use crate::visitor::Visitor;

/// Two releases side by side.
#[derive(Serialize)]
pub(crate) struct ComparePage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    before: ReleaseShown,
    after: ReleaseShown,
    changes: Vec<Change>,
    /// The names under `config:` of both, and how they differ.
    config: Vec<ConfigShown>,
    /// `None` when the repository does not have both commits any more.
    commits: Option<CommitsShown>,
}

#[derive(Serialize)]
struct ConfigShown {
    name: String,
    secret: bool,
    /// `new`, `gone`, `changed`, `same`.
    word: &'static str,
}

#[derive(Serialize)]
struct CommitsShown {
    added: Vec<CommitShown>,
    removed: Vec<CommitShown>,
    more: bool,
}

#[derive(Serialize)]
struct CommitShown {
    short: String,
    title: String,
    author: String,
    at: Moment,
}

impl CommitShown {
    fn new(commit: &Commit, now: Timestamp) -> Self {
        let info = &commit.info;
        let (title, author) = (visible(&info.title), visible(&info.author));
        Self { short: short(&commit.id), title, author, at: Moment::new(info.authored_at, now) }
    }
}

impl View for ComparePage {
    const TEMPLATE: &'static str = "pages/compare.html";

    #[cfg(test)]
    fn sample() -> Self {
        let commit =
            || CommitShown { short: "0123456".into(), title: "<b>hostile".into(), author: "<b>hostile".into(), at: Moment::sample() };
        let change = Change { what: "<b>hostile".into(), before: Some("<b>hostile".into()), after: None };
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            before: ReleaseShown::sample(),
            after: ReleaseShown::sample(),
            changes: vec![change],
            config: ["new", "gone", "changed", "same"].map(|word| ConfigShown { name: "<b>hostile".into(), secret: true, word }).into(),
            commits: Some(CommitsShown { added: vec![commit()], removed: vec![commit()], more: true }),
        }
    }
}

/// Which two.
#[derive(Deserialize)]
pub(super) struct Pair {
    before: ReleaseId,
    after: ReleaseId,
}

/// Shows what differs.
pub(super) async fn show(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(name): Path<WebhookName>,
    Query(pair): Query<Pair>,
) -> Answer {
    visitor.caller.must_for(Action::Read, Some(&name))?;
    let mut found = Vec::new();
    for id in [&pair.before, &pair.after] {
        let missing = || Problem::not_found(format!("`{name}` has no release {id}"));
        let release = state.store.release_fetch(id).await?.filter(|release| release.webhook == name).ok_or_else(missing)?;
        found.push((ReleaseShown::fetch(&state, id).await?.ok_or_else(missing)?, release));
    }
    let (Some((after, new)), Some((before, old))) = (found.pop(), found.pop()) else {
        return Err(Problem::bad_request("name two releases"));
    };
    let layout = Layout::new(&visitor, "board", format!("{} → {} · {name}", before.short, after.short));
    let mut changes = changes(Some(&old), &new);
    let sizes = (size(&state, &old).await?, size(&state, &new).await?);
    if sizes.0 != sizes.1 {
        let place = changes.iter().position(|change| change.what == "image").map_or(0, |at| at + 1);
        let difference = |before: u64, after: u64| {
            let sign = if after > before { '+' } else { '−' };
            format!("{} ({sign}{})", bytes(after), bytes(after.abs_diff(before)))
        };
        let after = sizes.1.map(|after| sizes.0.map_or_else(|| bytes(after), |before| difference(before, after)));
        changes.insert(place, Change { what: "image size".to_owned(), before: sizes.0.map(bytes), after });
    }
    let now = state.clock.now();
    let shown = |list: Vec<Commit>| list.iter().map(|commit| CommitShown::new(commit, now)).collect();
    let commits = state.control.release_commits(&visitor.caller.actor, &old, &new).await?;
    let commits = commits.map(|CommitRange { added, removed, more }| CommitsShown { added: shown(added), removed: shown(removed), more });
    let (webhook, webhook_url) = (name.to_string(), urls::webhook(&name));
    let config = config(&old.spec, &new.spec);
    Ok(template::page(&ComparePage { layout, webhook, webhook_url, before, after, changes, config, commits }))
}

/// Every name under `config:` of either spec, in order.
fn config(before: &str, after: &str) -> Vec<ConfigShown> {
    let names = |spec: &str| -> BTreeMap<String, serde_json::Value> {
        let spec: serde_json::Value = serde_json::from_str(spec).unwrap_or_default();
        spec["config"].as_object().into_iter().flatten().map(|(name, entry)| (name.clone(), entry.clone())).collect()
    };
    let (before, after) = (names(before), names(after));
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let shown = all.into_iter().map(|name| {
        let (old, new) = (before.get(name), after.get(name));
        let word = match (old, new) {
            (None, _) => "new",
            (_, None) => "gone",
            (old, new) if old == new => "same",
            _ => "changed",
        };
        ConfigShown { name: visible(name), secret: new.or(old).is_some_and(|entry| entry["secret"] == true), word }
    });
    shown.collect()
}

/// Bytes of the layers of a release's image; `None` when the run that built it is gone, or had it from a cache.
async fn size(state: &WebState, release: &Release) -> crate::error::Result<Option<u64>> {
    let left = state.store.artifact_list(release.run).await?;
    Ok(left.iter().find(|one| one.kind == ArtifactKind::Image && one.digest == release.image).map(|image| image.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_config_are_told_apart_by_what_became_of_them() {
        let before = r#"{"config":{"A":{"secret":false},"B":{"secret":true},"C":{"default":"1"}}}"#;
        let after = r#"{"config":{"A":{"secret":false},"C":{"default":"2"},"D":{"secret":true}}}"#;
        let shown: Vec<_> = config(before, after).into_iter().map(|one| (one.name, one.secret, one.word)).collect();
        let wanted = [("A", false, "same"), ("B", true, "gone"), ("C", false, "changed"), ("D", true, "new")];
        assert_eq!(shown, wanted.map(|(name, secret, word)| (name.to_owned(), secret, word)));
        assert!(config("", "no JSON").is_empty());
    }
}
