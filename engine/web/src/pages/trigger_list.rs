//! The triggers of a webhook: where events are received, how that stands with each source, what a person has to do, and trying one out.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::status::SubscriptionStatus;
use hookwright_core::{Action, EnvironmentName, Subscription, Timestamp, TriggerName, TriggerPlace, WebhookName};
use hookwright_spec::{Spec, Timetable, Trigger};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Answer, Layout, said};
use crate::error::{Path, Problem, Result};
use crate::show::{Badge, Moment, took, visible, visible_lines};
use crate::template::{self, View};
use crate::trigger::{RefusedView, TriggerView, view};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// How many of the next times of a schedule are shown.
const TIMES: usize = 5;

/// The longest list of fields to put into an example, in bytes.
const SETS: usize = 64 << 10;

/// The triggers of a webhook.
#[derive(Serialize)]
pub(crate) struct TriggerListPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    events_url: String,
    triggers: Vec<TriggerCard>,
}

/// A trigger in an environment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TriggerCard {
    id: String,
    pub(crate) name: String,
    pub(crate) environment: String,
    pub(crate) source: String,
    pub(crate) badge: Badge,
    reason: Option<String>,
    types: Vec<String>,
    repository: Option<String>,
    pub(crate) unverified: bool,
    pub(crate) address: Option<String>,
    /// Where the handler receives it.
    pub(crate) path: Option<String>,
    /// Whether callers of the handler need a token.
    pub(crate) guarded: bool,
    /// Whether its source may not reach the address, because nobody said where the daemon is reached.
    unreachable: bool,
    steps: Option<String>,
    schedule: Option<ScheduleShown>,
    pub(crate) last_event: Option<Moment>,
    expires: Option<String>,
    pub(crate) waiting: u64,
    pub(crate) refused: Option<RefusedShown>,
    pub(crate) events_url: String,
    dead_url: String,
    /// Where an example is asked for; only for those who may.
    pub(crate) send: Option<String>,
    pub(crate) kinds: Vec<String>,
}

/// What was sent to the address and not taken.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RefusedShown {
    last_day: u64,
    /// `401: 12`, by what was answered.
    counts: Vec<String>,
    last: Moment,
    status: u16,
    reason: String,
    from: Option<String>,
}

impl RefusedShown {
    fn new(refused: RefusedView, now: Timestamp) -> Self {
        let RefusedView { last_day, by_status, last } = refused;
        let counts = by_status.iter().map(|one| format!("{}: {}", one.status, one.count)).collect();
        let (last_at, from) = (Moment::new(last.at, now), last.from.as_deref().map(visible));
        Self { last_day, counts, last: last_at, status: last.status, reason: visible(&last.reason), from }
    }
}

#[derive(Clone, Debug, Serialize)]
struct ScheduleShown {
    cron: String,
    zone: String,
    /// The next times on the clock of that zone.
    next: Vec<String>,
    /// By how much each is put off at most.
    jitter: Option<String>,
}

impl View for TriggerListPage {
    const TEMPLATE: &'static str = "pages/trigger_list.html";

    #[cfg(test)]
    fn sample() -> Self {
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            events_url: "/webhooks/shop/events".into(),
            triggers: vec![TriggerCard::sample()],
        }
    }
}

impl TriggerCard {
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        Self {
            id: "sub_1".into(),
            name: text(),
            environment: text(),
            source: text(),
            badge: SubscriptionStatus::Manual.into(),
            reason: Some(text()),
            types: vec![text()],
            repository: Some(text()),
            unverified: true,
            address: Some(text()),
            path: Some(text()),
            guarded: true,
            unreachable: true,
            steps: Some(text()),
            schedule: Some(ScheduleShown { cron: text(), zone: text(), next: vec![text()], jitter: Some("5 min 0 s".into()) }),
            last_event: Some(Moment::sample()),
            expires: Some("2026-11-24T08:00:00Z".into()),
            waiting: 3,
            refused: Some(RefusedShown {
                last_day: 3,
                counts: vec!["401: 3".into()],
                last: Moment::sample(),
                status: 401,
                reason: text(),
                from: Some(text()),
            }),
            events_url: "/x".into(),
            dead_url: "/x".into(),
            send: Some("/x".into()),
            kinds: vec![text()],
        }
    }
}

/// Shows them.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Path(name): Path<WebhookName>) -> Answer {
    visitor.caller.must_for(Action::Read, Some(&name))?;
    let missing = || Problem::not_found(format!("there is no webhook `{name}`"));
    state.store.webhook_fetch(&name).await?.ok_or_else(missing)?;
    let triggers = cards(&state, &visitor, &name).await?;
    let layout = Layout::new(&visitor, "board", format!("Triggers of {name}"));
    let (webhook_url, events_url) = (urls::webhook(&name), urls::events(&name));
    Ok(template::page(&TriggerListPage { layout, webhook: name.to_string(), webhook_url, events_url, triggers }))
}

/// The triggers that the visitor sees, by environment and name.
pub(crate) async fn cards(state: &WebState, visitor: &Visitor, webhook: &WebhookName) -> Result<Vec<TriggerCard>> {
    let mut specs: BTreeMap<EnvironmentName, Option<Spec>> = BTreeMap::new();
    let mut cards = Vec::new();
    for subscription in state.store.subscription_list(webhook, None).await? {
        let place = subscription.place.clone();
        if !visitor.caller.sees_in(webhook, &place.environment) {
            continue;
        }
        if !specs.contains_key(&place.environment) {
            specs.insert(place.environment.clone(), deployed(state, &place).await?);
        }
        let spec = specs.get(&place.environment).and_then(Option::as_ref);
        let declared = spec.and_then(|spec| spec.triggers.get(&place.trigger).cloned());
        let card = card(state, visitor, (subscription, declared)).await?;
        cards.push(TriggerCard { guarded: spec.is_some_and(|spec| !spec.api.security.is_empty()), ..card });
    }
    Ok(cards)
}

/// The spec of what is deployed.
async fn deployed(state: &WebState, place: &TriggerPlace) -> Result<Option<Spec>> {
    let Some(current) = state.store.deployment_current(&place.webhook, &place.environment).await? else { return Ok(None) };
    let release = state.store.release_fetch(&current.release).await?;
    Ok(release.and_then(|release| serde_json::from_str(&release.spec).ok()))
}

async fn card(state: &WebState, visitor: &Visitor, (subscription, declared): (Subscription, Option<Trigger>)) -> Result<TriggerCard> {
    let (now, place) = (state.clock.now(), subscription.place.clone());
    let off = subscription.status == SubscriptionStatus::Off;
    let mut kinds = if off { Vec::new() } else { state.control.event_kinds(subscription.id) };
    // What the trigger asks for comes first: anything else is taken in and not given to the handler.
    let asked: Vec<&str> = declared.iter().flat_map(|trigger| &trigger.events).map(|kind| kind.trim_end_matches(".*")).collect();
    kinds.sort_by_key(|kind| {
        !asked.iter().any(|asked| kind.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    });
    let may = visitor.caller.actor.may(Action::Develop, Some(&place.webhook), Some(&place.environment));
    let TriggerView {
        id,
        environment,
        name,
        source,
        address,
        url,
        steps,
        status,
        status_reason,
        last_event_at,
        expires_at,
        waiting,
        refused,
        webhook: _,
    } = view(state, &visitor.caller, subscription).await?;
    // Steps without a `public_url` name a path alone, and nobody can register that.
    let whole = address.as_ref().map(|path| format!("{}{path}", visitor.origin));
    let steps = match (&url, &address, &whole) {
        (None, Some(path), Some(whole)) => steps.map(|steps| steps.replace(path, whole)),
        _ => steps,
    };
    let unreachable = url.is_none() && whole.is_some();
    let address = url.or(whole);
    let schedule = declared.as_ref().filter(|_| !off).and_then(|trigger| schedule(trigger, now));
    let events_url = urls::events_of(&place);
    Ok(TriggerCard {
        id: id.to_string(),
        name: name.to_string(),
        environment: environment.to_string(),
        badge: status.into(),
        reason: status_reason.as_deref().map(visible),
        types: declared.iter().flat_map(|trigger| &trigger.events).map(|kind| visible(kind)).collect(),
        repository: declared.as_ref().and_then(|trigger| trigger.repository.as_deref()).map(visible),
        unverified: declared.as_ref().is_some_and(|trigger| trigger.verify == hookwright_spec::Verify::None) && source != "schedule",
        source,
        address,
        path: declared.as_ref().map(|trigger| trigger.deliver.path.clone()),
        guarded: false,
        unreachable,
        steps: steps.as_deref().map(|steps| visible_lines(steps.trim_end())),
        schedule,
        last_event: last_event_at.map(|at| Moment::new(at, now)),
        expires: expires_at.map(|at| at.to_string()),
        waiting,
        refused: refused.map(|refused| RefusedShown::new(refused, now)),
        dead_url: format!("{events_url}&status=dead"),
        events_url,
        send: (may && !kinds.is_empty()).then(|| urls::trigger_send(&place)),
        kinds: kinds.iter().map(|kind| visible(kind)).collect(),
    })
}

/// When a schedule fires next.
fn schedule(trigger: &Trigger, now: Timestamp) -> Option<ScheduleShown> {
    let cron = trigger.cron.as_deref()?;
    let zone = trigger.timezone.as_deref().unwrap_or("UTC");
    let timetable = Timetable::new(cron, trigger.timezone.as_deref()).ok()?;
    let clock = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let times = std::iter::successors(timetable.after(now), |at| timetable.after(*at)).take(TIMES).filter_map(|at| {
        let at = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?.to_zoned(clock.clone());
        Some(at.strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string())
    });
    let jitter = Some(trigger.jitter).filter(|jitter| !jitter.is_zero()).map(took);
    Some(ScheduleShown { cron: visible(cron), zone: visible(zone), next: times.collect(), jitter })
}

/// Which example, and what to put into it.
#[derive(Deserialize)]
pub(super) struct Example {
    #[serde(default, rename = "type")]
    kind: String,
    /// `issue.number=7`, a line each.
    #[serde(default)]
    set: String,
}

fn sets(text: &str) -> Result<Vec<(String, String)>> {
    if text.len() > SETS {
        return Err(Problem::bad_request(format!("the fields to put in are more than {SETS} bytes; set fewer")));
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let pair = |line: &str| {
        let wrong = || Problem::bad_request(format!("`{}` sets no field; write `issue.number=7`, one a line", visible(line)));
        line.split_once('=').map(|(path, value)| (path.trim().to_owned(), value.to_owned())).ok_or_else(wrong)
    };
    lines.map(pair).collect()
}

/// Sends an example through the front door.
pub(super) async fn send(
    State(state): State<WebState>,
    Path((webhook, environment, trigger)): Path<(WebhookName, EnvironmentName, TriggerName)>,
    deed: Deed<Example>,
) -> Answer {
    let place = TriggerPlace { webhook, environment, trigger };
    let kind = Some(deed.form.kind.trim()).filter(|kind| !kind.is_empty());
    let sent = state.control.event_send(&deed.visitor.caller.actor, &place, (kind, &sets(&deed.form.set)?)).await?;
    Ok(Redirect::to(&match sent {
        Some(id) => said(&urls::event(id), "sent"),
        None => said(&urls::events_of(&place), "sent-answered"),
    })
    .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_a_line_each_and_a_line_without_a_value_is_named() {
        let pairs = sets(" issue.number=7 \r\n\nissue.title=a=b\n").unwrap_or_default();
        assert_eq!(pairs, [("issue.number".to_owned(), "7".to_owned()), ("issue.title".to_owned(), "a=b".to_owned())]);
        assert!(sets("issue").is_err_and(|problem| problem.detail.contains("`issue`")));
    }
}
