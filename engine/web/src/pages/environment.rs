//! A webhook in an environment: what is live, what waits, what was there before, its settings and secrets, and the ways to change it.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::status::DeploymentStatus;
use hookwright_core::{Action, ConfigName, EnvironmentName, ReleaseId, SecretValue, Timestamp, Traffic, WebhookName};
use hookwright_spec::{Environment, Promote};
use hookwright_store::PromotionFilter;
use serde::{Deserialize, Serialize};

use super::address::{Call, addresses, takes_token};
use super::board::{Cell, cell_of};
use super::hold::HoldCard;
use super::promotion::Past;
use super::release::ReleaseShown;
use super::trigger_list::cards;
use super::webhook::spec_of;
use super::{Answer, Layout, said};
use crate::error::{Path, Problem, Result};
use crate::secret::{check_value, remove};
use crate::show::{Badge, Drawing, Moment, visible};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// The drawing of the last day has a bar for so many minutes, and so many bars.
const DAY_STEP: i64 = 15;
const DAY_STEPS: i64 = 96;

/// How many deployments are shown.
const NEWEST: u32 = 15;

/// A webhook in an environment.
#[derive(Serialize)]
pub(crate) struct EnvironmentPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    environment: String,
    /// How it is called.
    calls: Vec<Call>,
    /// Whether one of the commands takes a token.
    takes_token: bool,
    cell: Cell,
    /// Requests of the last day.
    day: Drawing,
    /// The latency that half of the requests, and 95 of 100, did not pass: `25 ms`.
    p50: Option<String>,
    p95: Option<String>,
    hold: HoldCard,
    /// What has to happen before something is deployed here.
    arrives: String,
    live_url: Option<String>,
    events_url: String,
    deployments: Vec<DeploymentRow>,
    history: Vec<Past>,
    secrets: Vec<SecretRow>,
    values: Vec<(String, String)>,
    /// The releases that can be promoted here.
    releases: Vec<ReleaseShown>,
    may: bool,
    /// Where what is left over here is ended.
    end: Option<String>,
    promote: String,
    rollback: String,
    secret_set: String,
    secret_remove: String,
}

#[derive(Serialize)]
struct DeploymentRow {
    generation: u64,
    url: String,
    badge: Badge,
    reason: Option<String>,
    release: Option<ReleaseShown>,
    at: Moment,
    rollback: Option<String>,
}

#[derive(Serialize)]
struct SecretRow {
    name: String,
    description: Option<String>,
    required: bool,
    set: bool,
}

impl View for EnvironmentPage {
    const TEMPLATE: &'static str = "pages/environment.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let deployment = DeploymentRow {
            generation: 3,
            url: "/x".into(),
            badge: Badge::none("retired"),
            reason: Some(text()),
            release: Some(ReleaseShown::sample()),
            at: Moment::sample(),
            rollback: Some("/x".into()),
        };
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            environment: "production".into(),
            calls: vec![Call::sample()],
            takes_token: true,
            cell: Cell::sample(),
            day: Drawing::sample(),
            p50: Some("5 ms".into()),
            p95: None,
            hold: HoldCard::sample(),
            arrives: text(),
            live_url: Some("/x".into()),
            events_url: "/x".into(),
            deployments: vec![deployment],
            history: vec![Past::sample()],
            secrets: vec![SecretRow { name: "KEY".into(), description: Some(text()), required: true, set: false }],
            values: vec![(text(), text())],
            releases: vec![ReleaseShown::sample()],
            may: true,
            end: Some("/x".into()),
            promote: "/x".into(),
            rollback: "/x".into(),
            secret_set: "/x".into(),
            secret_remove: "/x".into(),
        }
    }
}

type Place = Path<(WebhookName, EnvironmentName)>;

/// Shows the place.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Path((webhook, environment)): Place) -> Answer {
    visitor.caller.must_in(Action::Read, Some(&webhook), Some(&environment))?;
    let spec = spec_of(&state, &webhook).await?;
    let deployments = state.store.deployment_list(&webhook, Some(&environment), NEWEST).await?;
    let declared = spec.as_ref().and_then(|spec| spec.environment(&environment));
    if declared.is_none() && deployments.is_empty() {
        return Err(Problem::not_found(format!("`{webhook}` declares no environment `{environment}`")));
    }
    let now = state.clock.now();
    let set = state.store.secret_names(&webhook, &environment).await?;
    let mut secrets: Vec<SecretRow> = Vec::new();
    let mut values = Vec::new();
    for (name, entry) in spec.iter().flat_map(|spec| &spec.config) {
        if entry.secret {
            let description = entry.description.as_deref().map(visible);
            secrets.push(SecretRow { name: name.to_string(), description, required: entry.required, set: set.contains(name) });
        } else if let Some(value) = declared.and_then(|place| place.config.get(name)).or(entry.default.as_ref()) {
            values.push((name.to_string(), visible(value)));
        }
    }
    for name in &set {
        if !secrets.iter().any(|known| known.name == name.as_str()) {
            let description = Some("set, but the spec does not ask for it".to_owned());
            secrets.push(SecretRow { name: name.to_string(), description, required: false, set: true });
        }
    }
    let live = state.store.deployment_current(&webhook, &environment).await?;
    let may = visitor.caller.actor.may(Action::Develop, Some(&webhook), Some(&environment));
    let mut rows = Vec::new();
    for deployment in deployments {
        let elsewhere = live.as_ref().is_some_and(|live| live.release != deployment.release) && deployment.live_at.is_some();
        rows.push(DeploymentRow {
            generation: deployment.generation,
            url: urls::deployment(deployment.id),
            badge: deployment.status.into(),
            reason: deployment.status_reason.as_deref().map(visible),
            release: ReleaseShown::fetch(&state, &deployment.release).await?,
            at: Moment::new(deployment.created_at, now),
            rollback: (may && elsewhere).then(|| urls::rollback_to(&webhook, &environment, &deployment.release)),
        });
    }
    let mut releases = Vec::new();
    for release in state.store.release_list(Some(&webhook), None, NEWEST).await? {
        releases.extend(ReleaseShown::fetch(&state, &release.id).await?);
    }
    let since = Timestamp::from_millis(now.as_millis() - DAY_STEP * DAY_STEPS * 60_000);
    let day = state.store.traffic_of((&webhook, &environment), since, DAY_STEP).await?;
    let mut whole = Traffic::default();
    day.values().for_each(|traffic| whole.add(traffic));
    let strip = day.iter().map(|(step, traffic)| (*step, (traffic.requests, traffic.errors))).collect();
    let latency =
        |share| (whole.requests > 0).then(|| whole.quantile(share).map_or("over 10 s".to_owned(), |millis| format!("{millis} ms")));
    let filter = PromotionFilter { webhook: Some(webhook.clone()), environment: Some(environment.clone()), ..PromotionFilter::default() };
    // What is live keeps its address until it is ended, declared or not.
    let is_left_over = declared.is_none() && live.as_ref().is_some_and(|live| live.status == DeploymentStatus::Live);
    let triggers = cards(&state, &visitor, &webhook).await?;
    let calls = match declared {
        Some(place) => addresses(&state, &visitor, &webhook, (spec.as_ref(), &[place]), &triggers),
        None => Vec::new(),
    };
    let page = EnvironmentPage {
        layout: Layout::new(&visitor, "board", format!("{webhook} in {environment}")),
        webhook_url: urls::webhook(&webhook),
        takes_token: takes_token(&calls),
        calls: calls.into_iter().flat_map(|one| one.calls).collect(),
        day: Drawing::new(&strip, now, (DAY_STEP, DAY_STEPS), "in the last day"),
        p50: latency(0.5),
        p95: latency(0.95),
        cell: cell_of(&state, &visitor, &webhook, (&environment, !is_left_over)).await?,
        arrives: declared.map(arrives).unwrap_or_default(),
        hold: HoldCard::fetch(&state, &visitor, &webhook, &environment).await?,
        live_url: live.map(|live| urls::deployment(live.id)),
        events_url: urls::events_in(&webhook, &environment),
        deployments: rows,
        history: Past::list(&state, filter).await?,
        secrets,
        values,
        releases,
        may,
        end: (may && is_left_over).then(|| urls::undeploy(&webhook, &environment)),
        promote: urls::promote(&webhook, &environment),
        rollback: urls::rollback(&webhook, &environment),
        secret_set: urls::secrets(&webhook, &environment),
        secret_remove: urls::secret_remove(&webhook, &environment),
        webhook: webhook.to_string(),
        environment: environment.to_string(),
    };
    Ok(template::page(&page))
}

/// What has to happen before something is deployed to an environment.
fn arrives(place: &Environment) -> String {
    let after: Vec<&str> = place.after.iter().map(EnvironmentName::as_str).collect();
    let when = if after.is_empty() {
        "a run of the default branch succeeds".to_owned()
    } else {
        format!("a release is live in {}", after.join(", "))
    };
    let then = match (&place.approvals, place.promote) {
        (Some(approvals), _) if approvals.count == 1 => ", and somebody approves it".to_owned(),
        (Some(approvals), _) => format!(", and {} people approve it", approvals.count),
        (None, Promote::Manual) => ", and somebody promotes it".to_owned(),
        (None, _) => String::new(),
    };
    format!("It is once {when}{then}.")
}

/// Which release.
#[derive(Deserialize)]
pub(super) struct Choice {
    release: ReleaseId,
}

/// Promotes a release into the place; lifts a hold.
pub(super) async fn promote(State(state): State<WebState>, Path((webhook, environment)): Place, deed: Deed<Choice>) -> Answer {
    let Deed { visitor, form } = deed;
    let id = state.control.promote(&visitor.caller.actor, &webhook, &environment, Some(&form.release)).await?;
    Ok(Redirect::to(&said(&urls::promotion(id), "promoted")).into_response())
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Takes what is live out of service.
pub(super) async fn undeploy(State(state): State<WebState>, Path((webhook, environment)): Place, deed: Deed<Nothing>) -> Answer {
    state.control.undeploy(&deed.visitor.caller.actor, &webhook, &environment, None).await?;
    Ok(Redirect::to(&said(&urls::environment(&webhook, &environment), "undeployed")).into_response())
}

/// A secret to set.
#[derive(Deserialize)]
pub(super) struct NewSecret {
    name: String,
    value: String,
}

fn named(name: &str) -> Result<ConfigName> {
    ConfigName::new(name.trim()).map_err(Problem::invalid)
}

/// Sets a secret; what is live is deployed again with it.
pub(super) async fn secret_set(State(state): State<WebState>, Path((webhook, environment)): Place, deed: Deed<NewSecret>) -> Answer {
    let Deed { visitor, form } = deed;
    let name = named(&form.name)?;
    visitor.caller.must_in(Action::Develop, Some(&webhook), Some(&environment))?;
    check_value(&form.value)?;
    state.control.secret_set(&visitor.caller.actor, (&webhook, &environment), &name, (&SecretValue::new(form.value), None)).await?;
    Ok(Redirect::to(&said(&urls::environment(&webhook, &environment), "secret-set")).into_response())
}

/// A secret to remove.
#[derive(Deserialize)]
pub(super) struct OldSecret {
    name: String,
}

/// Removes a secret.
pub(super) async fn secret_remove(State(state): State<WebState>, Path((webhook, environment)): Place, deed: Deed<OldSecret>) -> Answer {
    remove(&state, &deed.visitor.caller, (&webhook, &environment), &named(&deed.form.name)?).await?;
    Ok(Redirect::to(&said(&urls::environment(&webhook, &environment), "secret-removed")).into_response())
}
