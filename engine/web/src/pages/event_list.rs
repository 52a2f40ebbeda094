//! What was received for a webhook and what became of it: filtered by the address, page by page, and delivered again, one by one or all at once.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::status::DeliveryStatus;
use hookwright_core::{Action, Delivery, DeliveryId, EnvironmentName, Event, Timestamp, WebhookName};
use hookwright_store::DeliveryFilter;
use serde::{Deserialize, Serialize};

use super::webhook::spec_of;
use super::{Answer, Layout, said};
use crate::error::{Path, Problem, Query, Result};
use crate::event::{PayloadField, Sought, find_page};
use crate::page::Filling;
use crate::show::{Badge, Moment, given_time, visible};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// So many deliveries can be chosen by hand at once: as many as a page has.
const CHOSEN: usize = 50;

/// The list of events.
#[derive(Serialize)]
pub(crate) struct EventListPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    triggers_url: String,
    url: String,
    filter: FilterShown,
    statuses: Vec<&'static str>,
    environments: Vec<String>,
    filtered: bool,
    rows: Vec<EventRow>,
    older: Option<String>,
    /// Where a replay is asked for; only for those who may.
    replay: Option<String>,
}

/// The filter's fields as their form shows them.
#[derive(Clone, Debug, Default, Serialize)]
struct FilterShown {
    environment: String,
    trigger: String,
    kind: String,
    status: String,
    since: String,
    until: String,
    payload: String,
    text: String,
}

/// A delivery in a list.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventRow {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) badge: Badge,
    pub(crate) kind: String,
    pub(crate) trigger: String,
    pub(crate) environment: String,
    pub(crate) at: Moment,
    pub(crate) attempts: u32,
    pub(crate) replay: bool,
    pub(crate) reason: Option<String>,
    /// When the next attempt is made.
    pub(crate) due: Option<Moment>,
}

/// When the next attempt at a delivery is made, of one that waits for it.
pub(crate) fn due(delivery: &Delivery, now: Timestamp) -> Option<Moment> {
    (delivery.status == DeliveryStatus::Waiting).then(|| Moment::due(delivery.due_at, now))
}

impl EventRow {
    pub(crate) fn new(delivery: Delivery, now: Timestamp) -> Self {
        Self {
            due: due(&delivery, now),
            id: delivery.id.to_string(),
            url: urls::event(delivery.event),
            badge: delivery.status.into(),
            kind: visible(&delivery.kind),
            trigger: delivery.place.trigger.to_string(),
            environment: delivery.place.environment.to_string(),
            at: Moment::new(delivery.created_at, now),
            attempts: delivery.attempts,
            replay: delivery.replay,
            reason: delivery.status_reason.as_deref().map(visible),
        }
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        Self {
            id: "dlv_1".into(),
            url: "/events/1".into(),
            badge: DeliveryStatus::Dead.into(),
            kind: text(),
            trigger: text(),
            environment: text(),
            at: Moment::sample(),
            attempts: 8,
            replay: true,
            reason: Some(text()),
            due: Some(Moment::sample()),
        }
    }
}

impl View for EventListPage {
    const TEMPLATE: &'static str = "pages/event_list.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/webhooks/shop".into(),
            triggers_url: "/webhooks/shop/triggers".into(),
            url: "/webhooks/shop/events".into(),
            filter: FilterShown {
                environment: text(),
                trigger: text(),
                kind: text(),
                status: "dead".into(),
                since: text(),
                until: text(),
                payload: text(),
                text: text(),
            },
            statuses: DeliveryStatus::ALL.iter().map(|status| status.as_str()).collect(),
            environments: vec![text()],
            filtered: true,
            rows: vec![EventRow::sample()],
            older: Some("/x".into()),
            replay: Some("/x".into()),
        }
    }
}

/// The filter; fields left empty are any.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    environment: String,
    trigger: String,
    r#type: String,
    status: String,
    since: String,
    until: String,
    payload: String,
    text: String,
    cursor: Option<u64>,
}

impl Filter {
    fn pairs(&self) -> [(&'static str, &str); 8] {
        [
            ("environment", self.environment.trim()),
            ("trigger", self.trigger.trim()),
            ("type", self.r#type.trim()),
            ("status", self.status.trim()),
            ("since", self.since.trim()),
            ("until", self.until.trim()),
            ("payload", self.payload.trim()),
            ("text", self.text.trim()),
        ]
    }

    /// The address of the list with this filter.
    fn address(&self, webhook: &WebhookName, cursor: Option<&str>) -> String {
        let pairs = self.pairs().into_iter().chain(cursor.map(|cursor| ("cursor", cursor))).filter(|(_, value)| !value.is_empty());
        let query = serde_urlencoded::to_string(pairs.collect::<Vec<_>>()).unwrap_or_default();
        let address = urls::events(webhook);
        if query.is_empty() { address } else { format!("{address}?{query}") }
    }

    fn store(&self, webhook: &WebhookName) -> Result<DeliveryFilter> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let status = match self.status.trim() {
            "" => None,
            word => {
                let known = DeliveryStatus::ALL.iter().copied().find(|status| status.as_str() == word);
                Some(known.ok_or_else(|| Problem::bad_request(format!("no delivery is ever `{}`", visible(word))))?)
            }
        };
        Ok(DeliveryFilter {
            webhook: Some(webhook.clone()),
            environment: given(&self.environment).map(EnvironmentName::new).transpose().map_err(Problem::invalid)?,
            trigger: given(&self.trigger),
            kind: given(&self.r#type),
            status,
            since: given_time(&self.since)?,
            until: given_time(&self.until)?,
        })
    }

    fn sought(&self) -> Result<Sought> {
        let field = Some(self.payload.trim()).filter(|text| !text.is_empty()).map(PayloadField::read).transpose()?;
        Ok(Sought { field, text: self.text.trim().to_owned() })
    }

    fn shown(&self) -> FilterShown {
        FilterShown {
            environment: visible(&self.environment),
            trigger: visible(&self.trigger),
            kind: visible(&self.r#type),
            status: visible(&self.status),
            since: visible(&self.since),
            until: visible(&self.until),
            payload: visible(&self.payload),
            text: visible(&self.text),
        }
    }
}

/// Shows them.
pub(super) async fn show(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(name): Path<WebhookName>,
    Query(filter): Query<Filter>,
) -> Answer {
    visitor.caller.must_for(Action::Read, Some(&name))?;
    let missing = || Problem::not_found(format!("there is no webhook `{name}`"));
    state.store.webhook_fetch(&name).await?.ok_or_else(missing)?;
    let (wanted, sought) = (filter.store(&name)?, filter.sought()?);
    let page = find_page(&state, &visitor.caller, (&wanted, &sought), Filling::new(filter.cursor, None, true)).await?;
    let (found, next) = page.end();
    let now = state.clock.now();
    let places = spec_of(&state, &name).await?.map(|spec| spec.environments).unwrap_or_default();
    let environments = places.into_iter().map(|place| place.name).filter(|place| visitor.caller.sees_in(&name, place));
    let may = visitor.caller.actor.may(Action::Develop, Some(&name), None);
    Ok(template::page(&EventListPage {
        layout: Layout::new(&visitor, "board", format!("Events of {name}")),
        webhook: name.to_string(),
        webhook_url: urls::webhook(&name),
        triggers_url: urls::triggers(&name),
        url: urls::events(&name),
        filter: filter.shown(),
        statuses: DeliveryStatus::ALL.iter().map(|status| status.as_str()).collect(),
        environments: environments.map(|place| place.to_string()).collect(),
        filtered: filter.pairs().iter().any(|(_, value)| !value.is_empty()),
        rows: found.into_iter().map(|delivery| EventRow::new(delivery, now)).collect(),
        older: next.map(|next| filter.address(&name, Some(&next))),
        replay: may.then(|| urls::events_replay(&name)),
    }))
}

/// What is delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Chosen,
    Matching,
    Dead,
}

/// A form with a field for each delivery that was chosen.
struct Wish {
    what: What,
    to: Option<EnvironmentName>,
    chosen: Vec<DeliveryId>,
    filter: Filter,
}

impl Wish {
    fn read(fields: Vec<(String, String)>) -> Result<Self> {
        let (mut what, mut to, mut chosen, mut rest) = (None, None, Vec::new(), Vec::new());
        for (name, value) in fields {
            match (name.as_str(), value.as_str()) {
                ("what", "chosen") => what = Some(What::Chosen),
                ("what", "matching") => what = Some(What::Matching),
                ("what", "dead") => what = Some(What::Dead),
                ("to", "") => {}
                ("to", name) => to = Some(EnvironmentName::new(name).map_err(Problem::invalid)?),
                ("delivery", id) => chosen.push(id.parse().map_err(Problem::invalid)?),
                _ => rest.push((name, value)),
            }
        }
        let what = what.ok_or_else(|| Problem::bad_request("say what is to be delivered again: press one of the form's buttons"))?;
        if what == What::Chosen && chosen.is_empty() {
            return Err(Problem::bad_request("choose the deliveries that are to be made again; go back and tick some"));
        }
        if chosen.len() > CHOSEN {
            return Err(Problem::bad_request(format!("choose at most {CHOSEN} deliveries at once, or replay all that match")));
        }
        let filter = serde_urlencoded::to_string(&rest).ok().and_then(|query| serde_urlencoded::from_str(&query).ok());
        Ok(Self { what, to, chosen, filter: filter.unwrap_or_default() })
    }
}

/// Delivers again what was chosen, or all that the filter lets through.
pub(super) async fn replay(State(state): State<WebState>, Path(name): Path<WebhookName>, deed: Deed<Vec<(String, String)>>) -> Answer {
    let Deed { visitor, form } = deed;
    let wish = Wish::read(form)?;
    let actor = &visitor.caller.actor;
    let back = wish.filter.address(&name, None);
    let count = if wish.what == What::Chosen {
        for id in &wish.chosen {
            let known = state
                .store
                .delivery_fetch(*id)
                .await?
                .filter(|known| known.place.webhook == name && visitor.caller.sees_in(&known.place.webhook, &known.place.environment));
            let known = known.ok_or_else(|| Problem::not_found(format!("there is no delivery {id}")))?;
            let to = wish.to.as_ref().unwrap_or(&known.place.environment);
            state.control.event_replay(actor, known.event, Some(to)).await?;
        }
        wish.chosen.len() as u64
    } else {
        visitor.caller.must_for(Action::Develop, Some(&name))?;
        let mut filter = wish.filter.store(&name)?;
        if wish.what == What::Dead {
            filter.status = Some(DeliveryStatus::Dead);
        }
        let sought = wish.filter.sought()?;
        let is_sought = |event: &Event| sought.is_in(event);
        state.control.event_replay_matching(actor, (&filter, (!sought.is_anything()).then_some(&is_sought as _)), wish.to.as_ref()).await?.0
    };
    Ok(Redirect::to(&said(&back, if count == 0 { "none-replayed" } else { "all-replayed" })).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(pairs: &[(&str, &str)]) -> Result<Wish> {
        Wish::read(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_replay_of_nothing_chosen_is_refused_and_the_filter_comes_back() {
        assert!(wish(&[("what", "chosen")]).is_err());
        assert!(wish(&[("csrf", "x"), ("status", "dead")]).is_err(), "without a button");
        let all = wish(&[("what", "matching"), ("status", "dead"), ("type", "issues.*"), ("to", "")]);
        let all = all.unwrap_or_else(|problem| panic!("{}", problem.detail));
        let shop = WebhookName::new("shop").expect("a name");
        assert_eq!(all.filter.address(&shop, None), "/webhooks/shop/events?type=issues.*&status=dead");
        assert!(all.to.is_none());
    }
}
