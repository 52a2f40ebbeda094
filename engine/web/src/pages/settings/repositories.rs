//! Repositories: hosted and watched, when they were last read and what went wrong, and a form to watch another one.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_control::{HookState, RepositoryWatch};
use hookwright_core::{Action, RemoteCredential, RepositoryKind, RepositoryName, SecretValue, Timestamp, WebhookName};
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::pages::{Answer, Layout, said};
use crate::show::{Badge, Moment, visible};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// So many are shown at most.
const ROWS: u32 = 1_000;

/// Repositories.
#[derive(Serialize)]
pub(crate) struct RepositoriesPage {
    layout: Layout,
    rows: Vec<Row>,
    may_add: bool,
    may_remove: bool,
    add: &'static str,
    remove: &'static str,
}

#[derive(Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    address: String,
    branch: Option<String>,
    credential: Option<String>,
    badge: Badge,
    polled: Option<Moment>,
    error: Option<String>,
    /// How its forge tells of what happens.
    told: Option<Told>,
}

#[derive(Serialize)]
struct Told {
    badge: Badge,
    reason: Option<String>,
    heard: Option<Moment>,
}

impl Told {
    fn new(watch: RepositoryWatch, now: Timestamp) -> Self {
        let source = watch.source.as_str();
        let badge = match watch.state {
            HookState::Active if watch.is_alive => Badge::new("good", "check", format!("told by {source}")),
            HookState::Active => Badge::new("off", "clock", format!("{source} was told")),
            HookState::Pending => Badge::new("off", "clock", format!("{source} is to be told")),
            HookState::Failing => Badge::new("warn", "alert", format!("{source} cannot be told")),
            HookState::None => Badge::new("off", "clock", format!("not told by {source}")),
        };
        Self { badge, reason: watch.reason.as_deref().map(visible), heard: watch.heard_at.map(|at| Moment::new(at, now)) }
    }
}

impl View for RepositoriesPage {
    const TEMPLATE: &'static str = "pages/settings/repositories.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let row = Row {
            name: "shop".into(),
            kind: "watched",
            address: text(),
            branch: Some(text()),
            credential: Some("password".into()),
            badge: Badge::new("bad", "alert", "cannot be read"),
            polled: Some(Moment::sample()),
            error: Some(text()),
            told: Some(Told { badge: Badge::new("good", "check", "told by github"), reason: Some(text()), heard: Some(Moment::sample()) }),
        };
        Self { layout: Layout::sample(), rows: vec![row], may_add: true, may_remove: true, add: "/x", remove: "/y" }
    }
}

/// Shows those whose webhook the visitor reads.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor) -> Answer {
    visitor.caller.must(Action::Read)?;
    let (now, kinds) = (state.clock.now(), state.store.remote_credential_kinds().await?);
    let watches = state.control.repository_watches().await?;
    let mut rows = Vec::new();
    for repository in state.store.repository_page(None, ROWS).await? {
        if !WebhookName::new(repository.name.as_str()).is_ok_and(|webhook| visitor.caller.sees(&webhook)) {
            continue;
        }
        let (kind, address) = match &repository.kind {
            RepositoryKind::Hosted => ("hosted", format!("{}/git/{}.git", visitor.origin, repository.name)),
            RepositoryKind::Remote { url } => ("watched", visible(url)),
        };
        let badge = match (&repository.poll_error, repository.polled_at, kind) {
            (Some(_), ..) => Badge::new("bad", "alert", "cannot be read"),
            (None, _, "hosted") => Badge::new("good", "check", "hosted here"),
            (None, Some(_), _) => Badge::new("good", "check", "watched"),
            (None, None, _) => Badge::new("off", "clock", "not read yet"),
        };
        rows.push(Row {
            name: repository.name.to_string(),
            kind,
            address,
            branch: repository.default_branch.as_deref().map(visible),
            credential: kinds.get(&repository.id).cloned(),
            badge,
            polled: repository.polled_at.map(|at| Moment::new(at, now)),
            error: repository.poll_error.as_deref().map(visible),
            told: watches.of(&repository).map(|watch| Told::new(watch, now)),
        });
    }
    let may = |action| visitor.caller.actor.may(action, None, None);
    let (may_add, may_remove) = (may(Action::Develop), may(Action::Administer));
    let layout = Layout::new(&visitor, "settings", "Repositories");
    Ok(template::page(&RepositoriesPage { layout, rows, may_add, may_remove, add: urls::REPOSITORIES, remove: urls::REPOSITORY_REMOVE }))
}

/// A repository to watch.
#[derive(Deserialize)]
pub(super) struct New {
    name: String,
    url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
}

/// Watches a repository; without an address it is hosted here.
pub(super) async fn add(State(state): State<WebState>, Deed { visitor, form }: Deed<New>) -> Answer {
    let name = RepositoryName::new(form.name.trim()).map_err(Problem::invalid)?;
    let kind = match form.url.trim() {
        "" => RepositoryKind::Hosted,
        url => RepositoryKind::Remote { url: url.to_owned() },
    };
    let username = if form.username.is_empty() { "git".to_owned() } else { form.username };
    let credential =
        (!form.password.is_empty()).then(|| RemoteCredential::Password { username, password: SecretValue::new(form.password) });
    if let Some(credential) = &credential {
        crate::repository::check_credential(credential)?;
    }
    state.control.repository_add(&visitor.caller.actor, &name, &kind, credential.as_ref()).await?;
    Ok(Redirect::to(&said(urls::REPOSITORIES, "repository-added")).into_response())
}

/// A repository to forget.
#[derive(Deserialize)]
pub(super) struct Old {
    name: RepositoryName,
}

/// Forgets a repository.
pub(super) async fn remove(State(state): State<WebState>, Deed { visitor, form }: Deed<Old>) -> Answer {
    state.control.repository_remove(&visitor.caller.actor, &form.name).await?;
    Ok(Redirect::to(&said(urls::REPOSITORIES, "repository-removed")).into_response())
}
