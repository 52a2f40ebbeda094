//! A webhook: its environments as a flow with the gates on the way, its releases, runs, addresses and settings.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::{Action, WebhookName};
use hookwright_spec::{Check, Environment, Promote, Spec};
use hookwright_store::RunFilter;
use serde::{Deserialize, Serialize};

use super::address::{Addresses, addresses, takes_token};
use super::board::{Cell, cell_of};
use super::release_list::{ReleaseRow, release_rows};
use super::run::rows_of;
use super::run_list::RunRow;
use super::tail::Tail;
use super::trigger_list::{TriggerCard, cards};
use super::{Answer, Layout, said};
use crate::error::{Path, Problem, Result};
use crate::show::{took, visible};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::webhook::undeclared;
use crate::{WebState, urls};

/// How many releases and runs the page shows.
const NEWEST: u32 = 12;

/// A webhook.
#[derive(Serialize)]
pub(crate) struct WebhookPage {
    layout: Layout,
    name: String,
    title: Option<String>,
    description: Option<String>,
    owners: Vec<String>,
    repository: String,
    file: Option<String>,
    spec_url: String,
    start: Option<String>,
    flow: Vec<Step>,
    releases: Vec<ReleaseRow>,
    releases_url: String,
    compare: String,
    runs: Vec<RunRow>,
    runs_url: String,
    triggers: Vec<TriggerCard>,
    triggers_url: String,
    events_url: String,
    /// For its admins.
    public: Option<Public>,
    addresses: Vec<Addresses>,
    /// Whether one of their commands takes a token.
    takes_token: bool,
    tails: Vec<Tail>,
    config: Vec<Setting>,
}

/// An environment with what leads into it.
#[derive(Serialize)]
struct Step {
    /// What stands on the arrow.
    gates: Vec<String>,
    /// The environments it comes after, when that is not just the one on its left.
    after: Option<String>,
    cell: Cell,
}

#[derive(Serialize)]
struct Setting {
    name: String,
    kind: String,
    description: Option<String>,
    required: bool,
    secret: bool,
    /// For each environment: its value, or whether the secret is set.
    values: Vec<Value>,
}

#[derive(Serialize)]
struct Value {
    environment: String,
    /// `value`, `set`, `missing`, `unset`.
    kind: &'static str,
    text: String,
}

/// Whether anybody may see its status, and what then stands in a README.
#[derive(Serialize)]
struct Public {
    is_on: bool,
    publish: String,
    page: String,
    /// Markdown, one an environment.
    badges: Vec<String>,
}

impl View for WebhookPage {
    const TEMPLATE: &'static str = "pages/webhook.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let value = |kind| Value { environment: "production".into(), kind, text: text() };
        Self {
            layout: Layout::sample(),
            name: "shop".into(),
            title: Some(text()),
            description: Some(text()),
            owners: vec![text()],
            repository: text(),
            file: Some(text()),
            spec_url: "/x".into(),
            start: Some("/x".into()),
            flow: vec![Step { gates: vec![text()], after: Some(text()), cell: Cell::sample() }],
            releases: vec![ReleaseRow::sample()],
            releases_url: "/x".into(),
            compare: "/x".into(),
            runs: vec![RunRow::sample()],
            runs_url: "/runs".into(),
            triggers: vec![TriggerCard::sample()],
            triggers_url: "/x".into(),
            events_url: "/x".into(),
            public: Some(Public { is_on: true, publish: "/x".into(), page: "/status".into(), badges: vec!["![x](/x)".into()] }),
            addresses: vec![Addresses { environment: text(), calls: vec![] }],
            takes_token: true,
            tails: vec![Tail::sample()],
            config: vec![Setting {
                name: "A".into(),
                kind: "string".into(),
                description: Some(text()),
                required: true,
                secret: true,
                values: vec![value("value"), value("set"), value("missing"), value("unset")],
            }],
        }
    }
}

/// The spec that the default branch has of a webhook.
pub(crate) async fn spec_of(state: &WebState, name: &WebhookName) -> Result<Option<Spec>> {
    let stored = state.store.webhook_spec_fetch(name).await?;
    Ok(stored.and_then(|stored| serde_json::from_str(&stored.spec).ok()))
}

/// Shows a webhook.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Path(name): Path<WebhookName>) -> Answer {
    visitor.caller.must_for(Action::Read, Some(&name))?;
    let missing = || Problem::not_found(format!("there is no webhook `{name}`; push a repository with its webhook.yaml"));
    let Some(record) = state.store.webhook_fetch(&name).await? else {
        // What was pushed and could not be read has runs, and they say why.
        let runs = state.store.run_list(&RunFilter { webhook: Some(name.clone()), limit: 1, ..RunFilter::default() }).await?;
        return if runs.is_empty() { Err(missing()) } else { Ok(Redirect::to(&urls::runs_of(&name)).into_response()) };
    };
    let spec = spec_of(&state, &name).await?;
    let mut places: Vec<&Environment> = spec.iter().flat_map(|spec| &spec.environments).collect();
    places.retain(|place| visitor.caller.sees_in(&name, &place.name));
    let mut flow = Vec::new();
    for (at, place) in places.iter().enumerate() {
        let left = at.checked_sub(1).map(|left| &places[left].name);
        let after: Vec<String> = place.after.iter().map(ToString::to_string).collect();
        let plain = place.after.len() < 2 && place.after.first() == left;
        flow.push(Step {
            gates: gates(place),
            after: (!plain && !after.is_empty()).then(|| after.join(", ")),
            cell: cell_of(&state, &visitor, &name, (&place.name, true)).await?,
        });
    }
    let declared: Vec<_> = spec.iter().flat_map(|spec| &spec.environments).map(|place| place.name.clone()).collect();
    for environment in undeclared(&state, &name, &declared).await? {
        if visitor.caller.sees_in(&name, &environment) {
            let cell = cell_of(&state, &visitor, &name, (&environment, false)).await?;
            flow.push(Step { gates: Vec::new(), after: None, cell });
        }
    }
    let mut tails = Vec::new();
    for (place, step) in places.iter().zip(&flow) {
        tails.push(Tail::fetch(&state, &name, &place.name, &step.cell).await?);
    }
    let triggers = cards(&state, &visitor, &name).await?;
    let addresses = addresses(&state, &visitor, &name, (spec.as_ref(), &places), &triggers);
    let repository = state.store.repository_fetch(&record.repository).await?.map(|repository| repository.name.to_string());
    let may = visitor.caller.actor.may(Action::Develop, Some(&name), None);
    let runs = rows_of(&state, &RunFilter { webhook: Some(name.clone()), limit: NEWEST, ..RunFilter::default() }).await?;
    let page = WebhookPage {
        layout: Layout::new(&visitor, "board", name.to_string()),
        title: spec.as_ref().and_then(|spec| spec.title.as_deref()).map(visible),
        description: spec.as_ref().and_then(|spec| spec.description.as_deref()).map(visible),
        owners: spec.iter().flat_map(|spec| &spec.owners).map(|owner| visible(owner)).collect(),
        repository: repository.unwrap_or_default(),
        file: state.store.webhook_spec_fetch(&name).await?.map(|stored| visible(&stored.file)),
        spec_url: urls::spec(&name),
        start: may.then(|| urls::webhook_run(&name)),
        flow,
        releases: release_rows(&state, &visitor, state.store.release_list(Some(&name), None, NEWEST).await?).await?,
        releases_url: urls::releases(&name),
        compare: urls::compare(&name),
        runs,
        runs_url: urls::runs_of(&name),
        triggers,
        triggers_url: urls::triggers(&name),
        events_url: urls::events(&name),
        public: public(&state, &visitor, &name, &places).await?,
        takes_token: takes_token(&addresses),
        addresses,
        tails,
        config: settings(&state, &name, spec.as_ref(), &places).await?,
        name: name.to_string(),
    };
    Ok(template::page(&page))
}

/// What a release has to pass on its way into an environment, in words.
fn gates(place: &Environment) -> Vec<String> {
    let mut gates = Vec::new();
    if let Some(approvals) = &place.approvals {
        gates.push(if approvals.count == 1 { "1 approval".to_owned() } else { format!("{} approvals", approvals.count) });
    } else if place.promote == Promote::Manual {
        gates.push("by hand".to_owned());
    }
    gates.extend(place.gates.checks.iter().map(|(name, check)| match check {
        Check::Soak { duration } => format!("{name}: {} without trouble", took(*duration)),
        _ => format!("check {name}"),
    }));
    gates.extend(
        place.gates.windows.iter().map(|window| format!("{} {}", if window.allow { "only" } else { "not" }, visible(&window.span))),
    );
    if gates.is_empty() {
        gates.push("automatic".to_owned());
    }
    gates
}

/// What its admins may say about who sees its status, and what to write into a README.
async fn public(state: &WebState, visitor: &Visitor, name: &WebhookName, places: &[&Environment]) -> Result<Option<Public>> {
    if !visitor.caller.actor.may(Action::Administer, Some(name), None) {
        return Ok(None);
    }
    let base = if state.public_url.is_empty() { &visitor.origin } else { &state.public_url };
    let page = format!("{base}{}", urls::STATUS);
    let badge = |place: &&Environment| format!("[![{name} in {}]({base}{})]({page})", place.name, urls::status_badge(name, &place.name));
    let badges = places.iter().map(badge).collect();
    Ok(Some(Public { is_on: state.store.webhook_is_public(name).await?, publish: urls::publish(name), page, badges }))
}

async fn settings(state: &WebState, name: &WebhookName, spec: Option<&Spec>, places: &[&Environment]) -> Result<Vec<Setting>> {
    let mut set = BTreeMap::new();
    for place in places {
        set.insert(&place.name, state.store.secret_names(name, &place.name).await?);
    }
    let config = spec.iter().flat_map(|spec| &spec.config);
    Ok(config
        .map(|(key, entry)| Setting {
            name: key.to_string(),
            kind: format!("{:?}", entry.kind).to_lowercase(),
            description: entry.description.as_deref().map(visible),
            required: entry.required,
            secret: entry.secret,
            values: places
                .iter()
                .map(|place| {
                    let value = place.config.get(key).or(entry.default.as_ref());
                    let is_set = entry.secret && set.get(&place.name).is_some_and(|names| names.contains(key));
                    let (kind, text) = match (is_set, value) {
                        (true, _) => ("set", "set".to_owned()),
                        (false, Some(value)) if !entry.secret => ("value", visible(value)),
                        _ if entry.required => ("missing", "missing".to_owned()),
                        _ => ("unset", "not set".to_owned()),
                    };
                    Value { environment: place.name.to_string(), kind, text }
                })
                .collect(),
        })
        .collect())
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Starts a run of the default branch.
pub(super) async fn run(State(state): State<WebState>, Path(name): Path<WebhookName>, deed: Deed<Nothing>) -> Answer {
    let id = state.control.run_start(&deed.visitor.caller.actor, &name, None).await?;
    Ok(Redirect::to(&said(&urls::run(id), "started")).into_response())
}
