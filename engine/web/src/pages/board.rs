//! The board: webhooks as rows, environments as columns, and in each cell what runs there and what waits.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::status::{DeploymentStatus, PromotionStatus, SubscriptionStatus};
use hookwright_core::{
    Action, Deployment, EnvironmentName, Hold, InstanceState, Promotion, PromotionId, ReleaseId, Timestamp, VerdictKind, WebhookName,
};
use hookwright_store::{PromotionFilter, ReleaseInfo, Strip, WebhookRecord};
use serde::{Deserialize, Serialize};

use super::release::ReleaseShown;
use super::{Answer, Layout};
use crate::error::{Query, Result};
use crate::show::{Badge, Drawing, Moment, visible};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// So many webhooks and open promotions are shown at most.
const ROWS: u32 = 2_000;

/// The drawing of the last hour has a bar for so many minutes, and so many bars.
const STEP: i64 = 5;
const STEPS: i64 = 12;

fn hour_before(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - STEP * STEPS * 60_000)
}

/// The board.
#[derive(Serialize)]
pub(crate) struct BoardPage {
    layout: Layout,
    /// The filter's text and state.
    text: String,
    state: String,
    columns: Vec<String>,
    rows: Vec<Row>,
    /// How many there are without the filter.
    total: usize,
    waiting: usize,
    failing: usize,
}

#[derive(Serialize)]
struct Row {
    name: String,
    title: Option<String>,
    owners: String,
    url: String,
    run: Option<RunShown>,
    triggers: Option<TriggersShown>,
    /// One for each column; `None` where the webhook has no such environment.
    cells: Vec<Option<Cell>>,
}

#[derive(Serialize)]
struct RunShown {
    number: u32,
    badge: Badge,
    url: String,
}

/// What starts it, in a line.
#[derive(Serialize)]
struct TriggersShown {
    text: String,
    badge: Badge,
    url: String,
}

/// What runs in an environment, and what waits there.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) environment: String,
    pub(crate) url: String,
    pub(crate) badge: Badge,
    pub(crate) release: Option<ReleaseShown>,
    /// `2/2`.
    pub(crate) instances: Option<String>,
    /// Requests of the last hour, of what is live.
    pub(crate) traffic: Option<Drawing>,
    pub(crate) waits: Vec<Waits>,
    pub(crate) held: Option<String>,
}

/// A promotion that has not ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Waits {
    pub(crate) url: String,
    pub(crate) badge: Badge,
    pub(crate) short: String,
    pub(crate) title: String,
    /// For what or whom.
    pub(crate) reason: String,
    /// Whether whoever looks may decide it.
    pub(crate) mine: bool,
    pub(crate) since: Moment,
}

impl View for BoardPage {
    const TEMPLATE: &'static str = "pages/board.html";

    #[cfg(test)]
    fn sample() -> Self {
        let run = RunShown { number: 7, badge: Badge::new("good", "check", "succeeded"), url: "/runs/1".into() };
        let row = Row {
            name: "shop".into(),
            title: Some("<b>hostile".into()),
            owners: "<b>hostile".into(),
            url: "/webhooks/shop".into(),
            run: Some(run),
            triggers: Some(TriggersShown { text: "2 triggers".into(), badge: SubscriptionStatus::Manual.into(), url: "/x".into() }),
            cells: vec![Some(Cell::sample()), None],
        };
        let columns = vec!["development".into(), "production".into()];
        Self {
            layout: Layout::sample(),
            text: "<b>hostile".into(),
            state: "waiting".into(),
            columns,
            rows: vec![row],
            total: 2,
            waiting: 1,
            failing: 0,
        }
    }
}

impl Cell {
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let waits = Waits {
            url: "/promotions/1".into(),
            badge: Badge::new("wait", "pause", "waiting"),
            short: "0123456".into(),
            title: "<b>hostile".into(),
            reason: "<b>hostile".into(),
            mine: true,
            since: Moment::sample(),
        };
        Self {
            environment: "production".into(),
            url: "/x".into(),
            badge: Badge::new("good", "check", "live"),
            release: Some(ReleaseShown::sample()),
            instances: Some("1/1".into()),
            traffic: Some(Drawing::sample()),
            waits: vec![waits],
            held: Some("<b>hostile".into()),
        }
    }
}

/// The filter, kept in the address.
#[derive(Deserialize)]
pub(super) struct Filter {
    #[serde(default)]
    text: String,
    #[serde(default)]
    state: String,
    #[serde(default, rename = "said")]
    _said: Option<String>,
}

/// What the board needs of a spec: reading all of every webhook's is most of what a large board would cost.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    owners: Vec<String>,
    environments: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    name: EnvironmentName,
}

/// Everything the board is made of, read at once.
struct Facts {
    now: Timestamp,
    specs: BTreeMap<WebhookName, String>,
    releases: BTreeMap<ReleaseId, ReleaseInfo>,
    deployments: HashMap<(WebhookName, EnvironmentName), Vec<Deployment>>,
    promotions: HashMap<(WebhookName, EnvironmentName), Vec<Promotion>>,
    holds: HashMap<(WebhookName, EnvironmentName), Hold>,
    traffic: HashMap<(WebhookName, EnvironmentName), Strip>,
    /// Open promotions that the visitor has decided already, and that wait for others.
    decided: HashSet<PromotionId>,
}

/// Shows the board; without any webhook the first steps.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Query(filter): Query<Filter>) -> Answer {
    visitor.caller.must(Action::Read)?;
    let mut records = state.store.webhook_list(None, ROWS).await?;
    records.retain(|record| visitor.caller.sees(&record.name));
    if records.is_empty() && filter.text.is_empty() {
        return Ok(Redirect::to(urls::FIRST_PUSH).into_response());
    }
    Ok(template::page(&page(&state, &visitor, records, filter).await?))
}

async fn page(state: &WebState, visitor: &Visitor, records: Vec<WebhookRecord>, filter: Filter) -> Result<BoardPage> {
    let facts = Facts::read(state, visitor).await?;
    let mut runs = state.store.board_runs().await?;
    let mut triggers = triggers(state, visitor).await?;
    let total = records.len();
    // Environments stand in the order in which releases pass them: behind every one that some webhook passes before.
    let mut columns: Vec<(usize, EnvironmentName)> = Vec::new();
    let mut drafts = Vec::new();
    for record in records {
        let spec: Option<Outline> = facts.specs.get(&record.name).and_then(|text| serde_json::from_str(text).ok());
        let mut cells = BTreeMap::new();
        for (place, environment) in spec.iter().flat_map(|spec| spec.environments.iter().enumerate()) {
            if visitor.caller.sees_in(&record.name, &environment.name) {
                cells.insert(environment.name.clone(), facts.cell(state, visitor, (&record.name, &environment.name)).await?);
                match columns.iter_mut().find(|(_, known)| *known == environment.name) {
                    Some((rank, _)) => *rank = place.max(*rank),
                    None => columns.push((place, environment.name.clone())),
                }
            }
        }
        drafts.push((record, spec, cells));
    }
    columns.sort_by_key(|(rank, _)| *rank);
    let columns: Vec<EnvironmentName> = columns.into_iter().map(|(_, name)| name).collect();
    let (mut waiting, mut failing) = (0, 0);
    let mut rows = Vec::new();
    for (record, spec, mut cells) in drafts {
        let run = runs.remove(&record.name).map(|run| RunShown { number: run.number, badge: run.status.into(), url: urls::run(run.id) });
        let waits = cells.values().any(|cell| cell.waits.iter().any(|one| one.badge.tone == "wait"));
        let bad = |badge: &Badge| matches!(badge.tone, "bad" | "warn");
        let fails = cells.values().any(|cell| bad(&cell.badge)) || run.as_ref().is_some_and(|run| bad(&run.badge));
        waiting += usize::from(waits);
        failing += usize::from(fails);
        let row = Row {
            title: spec.as_ref().and_then(|spec| spec.title.as_deref()).map(visible),
            owners: spec.map(|spec| visible(&spec.owners.join(", "))).unwrap_or_default(),
            url: urls::webhook(&record.name),
            triggers: triggers.remove(&record.name),
            name: record.name.to_string(),
            run,
            cells: columns.iter().map(|column| cells.remove(column)).collect(),
        };
        if row.matches(&filter.text) && (filter.state != "waiting" || waits) && (filter.state != "failing" || fails) {
            rows.push(row);
        }
    }
    let columns = columns.iter().map(ToString::to_string).collect();
    let layout = Layout::new(visitor, "board", "Board");
    Ok(BoardPage { layout, text: visible(&filter.text), state: filter.state, columns, rows, total, waiting, failing })
}

/// The triggers of each webhook that the visitor sees, told by the worst of their states.
async fn triggers(state: &WebState, visitor: &Visitor) -> Result<BTreeMap<WebhookName, TriggersShown>> {
    let mut known: BTreeMap<WebhookName, Vec<SubscriptionStatus>> = BTreeMap::new();
    for subscription in state.store.subscription_list_all().await? {
        let place = &subscription.place;
        if subscription.status != SubscriptionStatus::Off && visitor.caller.sees_in(&place.webhook, &place.environment) {
            known.entry(place.webhook.clone()).or_default().push(subscription.status);
        }
    }
    let shown = known.into_iter().map(|(webhook, states)| {
        let worst = [SubscriptionStatus::Failing, SubscriptionStatus::Manual, SubscriptionStatus::Pending];
        let worst = worst.into_iter().find(|status| states.contains(status)).unwrap_or(SubscriptionStatus::Active);
        let text = if states.len() == 1 { "1 trigger".to_owned() } else { format!("{} triggers", states.len()) };
        let url = urls::triggers(&webhook);
        (webhook, TriggersShown { text, badge: worst.into(), url })
    });
    Ok(shown.collect())
}

impl Row {
    /// Whether every word of the filter is somewhere in the row.
    fn matches(&self, text: &str) -> bool {
        let mut haystack = format!("{} {} {} ", self.name, self.title.as_deref().unwrap_or_default(), self.owners);
        for cell in self.cells.iter().flatten() {
            haystack += &cell.badge.word;
            for release in cell.release.iter() {
                haystack += &format!(" {} {} {} ", release.short, release.title, release.author);
            }
        }
        let haystack = haystack.to_lowercase();
        text.to_lowercase().split_whitespace().all(|word| haystack.contains(word))
    }
}

impl Facts {
    async fn read(state: &WebState, visitor: &Visitor) -> Result<Self> {
        let now = state.clock.now();
        let mut facts = Self {
            now,
            traffic: state.store.traffic_of_all(hour_before(now), STEP).await?,
            decided: state.store.promotion_decided_by(&visitor.caller.actor.user).await?.into_iter().collect(),
            specs: state.store.board_specs().await?,
            releases: state.store.board_releases().await?,
            deployments: HashMap::new(),
            promotions: HashMap::new(),
            holds: HashMap::new(),
        };
        for deployment in state.store.deployment_list_active().await? {
            facts.deployments.entry((deployment.webhook.clone(), deployment.environment.clone())).or_default().push(deployment);
        }
        let open = PromotionFilter { open: true, limit: ROWS, ..PromotionFilter::default() };
        for promotion in state.store.promotion_list(&open).await? {
            facts.promotions.entry((promotion.webhook.clone(), promotion.environment.clone())).or_default().push(promotion);
        }
        for hold in state.store.hold_list().await? {
            facts.holds.insert((hold.webhook.clone(), hold.environment.clone()), hold);
        }
        Ok(facts)
    }

    async fn cell(&self, state: &WebState, visitor: &Visitor, (webhook, environment): (&WebhookName, &EnvironmentName)) -> Result<Cell> {
        let place = (webhook.clone(), environment.clone());
        let deployments = self.deployments.get(&place).map(Vec::as_slice).unwrap_or_default();
        let live = deployments.iter().rev().find(|one| one.status == DeploymentStatus::Live);
        let newest = live.or(deployments.last());
        let (mut badge, mut instances) = (Badge::none("nothing yet"), None);
        if let Some(newest) = newest {
            (badge, instances) = health(state, newest).await?;
        }
        let release = newest.and_then(|newest| self.releases.get(&newest.release)).map(|release| ReleaseShown::new(release, self.now));
        let mine = visitor.caller.actor.may(Action::Approve, Some(webhook), Some(environment));
        let mut waiting = Vec::new();
        for promotion in self.promotions.get(&place).into_iter().flatten() {
            let mine = mine && !self.decided.contains(&promotion.id);
            waiting.push(waits(promotion, &self.releases, mine, self.now));
        }
        let held = self.holds.get(&place).map(|hold| format!("held by {}", visible(&hold.actor)));
        let (environment, url) = (environment.to_string(), urls::environment(webhook, environment));
        let none = Strip::new();
        let strip = self.traffic.get(&place).unwrap_or(&none);
        let traffic = live.map(|_| Drawing::new(strip, self.now, (STEP, STEPS), "in the last hour"));
        Ok(Cell { environment, url, badge, release, instances, traffic, waits: waiting, held })
    }
}

/// A promotion that has not ended, in a line.
fn waits(promotion: &Promotion, releases: &BTreeMap<ReleaseId, ReleaseInfo>, mine: bool, now: Timestamp) -> Waits {
    let release = releases.get(&promotion.release).map(|release| ReleaseShown::new(release, now));
    let asks = promotion.verdicts.iter().any(|gate| gate.gate == "approvals" && gate.verdict.kind == VerdictKind::Wait);
    let reason = promotion.status_reason.clone().unwrap_or_else(|| match promotion.status {
        PromotionStatus::Waiting => "its gates are being asked".to_owned(),
        _ => "it is being deployed".to_owned(),
    });
    Waits {
        url: urls::promotion(promotion.id),
        badge: promotion.status.into(),
        short: release.as_ref().map_or_else(|| promotion.release.to_string(), |release| release.short.clone()),
        title: release.map(|release| release.title).unwrap_or_default(),
        reason: visible(&reason),
        mine: mine && asks,
        since: Moment::new(promotion.created_at, now),
    }
}

/// How a deployment is, by its status and by its instances, and how many of them are ready.
pub(crate) async fn health(state: &WebState, deployment: &Deployment) -> Result<(Badge, Option<String>)> {
    let observed = state.runtime.observe(&deployment.id).await?.unwrap_or_default();
    let ready = observed.instances.iter().filter(|one| one.state == InstanceState::Ready).count();
    let wanted = deployment.instances as usize;
    let badge = match deployment.status {
        DeploymentStatus::Live if observed.given_up.is_some() => Badge::new("bad", "cross", "failing"),
        DeploymentStatus::Live if ready < wanted => Badge::new("warn", "alert", "degraded"),
        status => status.into(),
    };
    Ok((badge, Some(format!("{ready}/{wanted}"))))
}

/// The cell of one place, for the pages about it.
pub(crate) async fn cell_of(state: &WebState, visitor: &Visitor, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Cell> {
    let place = (webhook.clone(), environment.clone());
    let now = state.clock.now();
    let mut facts = Facts {
        now,
        traffic: HashMap::new(),
        decided: state.store.promotion_decided_by(&visitor.caller.actor.user).await?.into_iter().collect(),
        specs: BTreeMap::new(),
        releases: BTreeMap::new(),
        deployments: HashMap::new(),
        promotions: HashMap::new(),
        holds: HashMap::new(),
    };
    let strip = state.store.traffic_of((webhook, environment), hour_before(now), STEP).await?;
    let counts = strip.into_iter().map(|(step, traffic)| (step, (traffic.requests, traffic.errors)));
    facts.traffic.insert(place.clone(), counts.collect());
    let mut deployments = state.store.deployment_list(webhook, Some(environment), 20).await?;
    deployments.retain(|one| !one.status.is_end());
    deployments.reverse();
    let open =
        PromotionFilter { webhook: Some(webhook.clone()), environment: Some(environment.clone()), open: true, before: None, limit: 20 };
    let promotions = state.store.promotion_list(&open).await?;
    for id in deployments.iter().map(|one| &one.release).chain(promotions.iter().map(|one| &one.release)) {
        if let Some(info) = state.store.release_info(id).await? {
            facts.releases.insert(id.clone(), info);
        }
    }
    facts.deployments.insert(place.clone(), deployments);
    facts.promotions.insert(place.clone(), promotions);
    if let Some(hold) = state.store.hold_fetch(webhook, environment).await? {
        facts.holds.insert(place, hold);
    }
    facts.cell(state, visitor, (webhook, environment)).await
}
