//! The board: webhooks as rows, environments as columns, and in each cell what runs there, what waits and what came to nothing. A page of
//! it has so many rows; counts, filters and the list of owners are always about all.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::status::{DeploymentStatus, PromotionStatus, SubscriptionStatus};
use hookwright_core::{
    Action, Deployment, EnvironmentName, Hold, InstanceState, Promotion, PromotionId, ReleaseId, Timestamp, VerdictKind, WebhookName,
};
use hookwright_store::{FailedDeployment, PromotionFilter, ReleaseInfo, Strip, WebhookRecord};
use serde::{Deserialize, Serialize};

use super::release::{ReleaseShown, short};
use super::run_list::RunRow;
use super::stray::strays;
use super::{Answer, Layout};
use crate::error::{Query, Result};
use crate::show::{Badge, Drawing, Moment, visible};
use crate::strips::Strips;
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// So many webhooks a page has.
const ROWS: usize = 100;
/// So many webhooks and open promotions are read at a time; all are.
const PORTION: u32 = 2_000;

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
    owner: String,
    filtered: bool,
    /// Everybody who owns one, for the choice.
    owners: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Row>,
    /// How many there are without the filter.
    total: usize,
    waiting: usize,
    /// Those that wait for whoever looks.
    mine: usize,
    failing: usize,
    pages: Option<Pages>,
    /// Pushes that no webhook came of.
    strays: Vec<RunRow>,
}

/// Which part of a long board this is, and where the others are.
#[derive(Serialize)]
struct Pages {
    first: usize,
    last: usize,
    found: usize,
    earlier: Option<String>,
    later: Option<String>,
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
    /// The newest deployment here, when it came to nothing.
    pub(crate) failure: Option<Failure>,
    /// Where the instances and the log of what is live are.
    pub(crate) log: Option<String>,
}

/// A deployment that came to nothing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) url: String,
    pub(crate) short: String,
    pub(crate) reason: String,
    pub(crate) at: Moment,
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
    /// Whether whoever looks has decided, and others are to.
    pub(crate) decided: bool,
    pub(crate) since: Moment,
}

impl Pages {
    /// How many rows come before the page that is asked for, or the last one there is; and what to say of it, if there is more than one.
    fn of(filter: &Filter, found: usize) -> (usize, Option<Self>) {
        let number = filter.page.unwrap_or(1).clamp(1, found.div_ceil(ROWS).max(1));
        let first = (number - 1) * ROWS;
        let last = (first + ROWS).min(found);
        let pages = (found > ROWS).then(|| Self {
            first: first + 1,
            last,
            found,
            earlier: (number > 1).then(|| filter.address(number - 1)),
            later: (last < found).then(|| filter.address(number + 1)),
        });
        (first, pages)
    }
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
            owner: "<b>hostile".into(),
            filtered: true,
            owners: vec!["<b>hostile".into()],
            columns,
            rows: vec![row],
            total: 2,
            waiting: 1,
            mine: 1,
            failing: 0,
            pages: Some(Pages { first: 1, last: 100, found: 250, earlier: Some("/x".into()), later: Some("/y".into()) }),
            strays: vec![RunRow::sample()],
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
            decided: false,
            since: Moment::sample(),
        };
        let failure = Failure { url: "/x".into(), short: "0123456".into(), reason: "<b>hostile".into(), at: Moment::sample() };
        Self {
            environment: "production".into(),
            url: "/x".into(),
            badge: Badge::new("good", "check", "live"),
            release: Some(ReleaseShown::sample()),
            instances: Some("1/1".into()),
            traffic: Some(Drawing::sample()),
            waits: vec![waits],
            held: Some("<b>hostile".into()),
            failure: Some(failure),
            log: Some("/x".into()),
        }
    }
}

/// The filter, kept in the address.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    text: String,
    state: String,
    owner: String,
    /// Which page, from 1 on.
    page: Option<usize>,
}

impl Filter {
    fn is_set(&self) -> bool {
        [&self.text, &self.state, &self.owner].iter().any(|field| !field.trim().is_empty())
    }

    /// The address of another page with the same filter.
    fn address(&self, page: usize) -> String {
        let number = if page > 1 { page.to_string() } else { String::new() };
        let pairs = [("text", self.text.trim()), ("state", self.state.trim()), ("owner", self.owner.trim()), ("page", number.as_str())];
        let query = serde_urlencoded::to_string(pairs.iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>());
        query.map_or_else(|_| urls::BOARD.to_owned(), |query| format!("{}?{query}", urls::BOARD))
    }

    fn lets(&self, draft: &Draft) -> bool {
        let state = match self.state.as_str() {
            "waiting" => draft.waits(),
            "mine" => draft.mine(),
            "failing" => draft.fails(),
            _ => true,
        };
        let owner = self.owner.trim();
        state && (owner.is_empty() || draft.owners.iter().any(|one| one == owner)) && draft.matches(&self.text)
    }
}

/// A webhook before it is known which columns there are.
struct Draft {
    name: WebhookName,
    title: Option<String>,
    owners: Vec<String>,
    run: Option<RunShown>,
    places: Vec<EnvironmentName>,
    cells: BTreeMap<EnvironmentName, Cell>,
}

impl Draft {
    fn waits(&self) -> bool {
        self.cells.values().any(|cell| cell.waits.iter().any(|one| one.badge.tone == "wait"))
    }

    fn mine(&self) -> bool {
        self.cells.values().any(|cell| cell.waits.iter().any(|one| one.mine))
    }

    fn fails(&self) -> bool {
        let bad = |badge: &Badge| matches!(badge.tone, "bad" | "warn");
        self.cells.values().any(|cell| bad(&cell.badge) || cell.failure.is_some()) || self.run.as_ref().is_some_and(|run| bad(&run.badge))
    }

    /// Whether every word of the filter is somewhere in the row.
    fn matches(&self, text: &str) -> bool {
        if text.trim().is_empty() {
            return true;
        }
        let mut haystack = format!("{} {} {} ", self.name, self.title.as_deref().unwrap_or_default(), self.owners.join(" "));
        for cell in self.cells.values() {
            haystack += &cell.badge.word;
            let waits = cell.waits.iter().map(|one| (one.short.as_str(), one.title.as_str(), ""));
            let live = cell.release.iter().map(|one| (one.short.as_str(), one.title.as_str(), one.author.as_str()));
            for (short, title, author) in live.chain(waits) {
                haystack += &format!(" {short} {title} {author} ");
            }
        }
        let haystack = haystack.to_lowercase();
        text.to_lowercase().split_whitespace().all(|word| haystack.contains(word))
    }

    fn row(self, columns: &[EnvironmentName], triggers: Option<TriggersShown>) -> Row {
        let Self { name, title, owners, run, mut cells, .. } = self;
        Row {
            title,
            owners: owners.join(", "),
            url: urls::webhook(&name),
            triggers,
            name: name.to_string(),
            run,
            cells: columns.iter().map(|column| cells.remove(column)).collect(),
        }
    }
}

/// What the board needs of a spec: reading all of every webhook's is most of what a large board would cost.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Outline {
    title: Option<String>,
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
    failures: HashMap<(WebhookName, EnvironmentName), FailedDeployment>,
    traffic: Strips,
    /// Open promotions that the visitor has decided already, and that wait for others.
    decided: HashSet<PromotionId>,
}

/// Shows the board; without any webhook the first steps.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Query(filter): Query<Filter>) -> Answer {
    visitor.caller.must(Action::Read)?;
    let records = records(&state, &visitor).await?;
    if records.is_empty() && !filter.is_set() {
        return Ok(Redirect::to(urls::FIRST_PUSH).into_response());
    }
    Ok(template::page(&page(&state, &visitor, records, filter).await?))
}

/// Every webhook that the visitor sees, by name.
async fn records(state: &WebState, visitor: &Visitor) -> Result<Vec<WebhookRecord>> {
    let mut records: Vec<WebhookRecord> = Vec::new();
    let mut after = None;
    loop {
        let portion = state.store.webhook_list(after.as_ref(), PORTION).await?;
        let is_last = portion.len() < PORTION as usize;
        after = portion.last().map(|last| last.name.clone());
        records.extend(portion.into_iter().filter(|record| visitor.caller.sees(&record.name)));
        if is_last {
            return Ok(records);
        }
    }
}

async fn page(state: &WebState, visitor: &Visitor, records: Vec<WebhookRecord>, filter: Filter) -> Result<BoardPage> {
    let facts = Facts::read(state, visitor).await?;
    let mut runs = state.store.board_runs().await?;
    let mut triggers = triggers(state, visitor).await?;
    let total = records.len();
    let mut drafts = Vec::with_capacity(total);
    for record in records {
        let run = runs.remove(&record.name).map(|run| RunShown { number: run.number, badge: run.status.into(), url: urls::run(run.id) });
        drafts.push(facts.draft(state, visitor, record.name, run).await?);
    }
    let count = |wanted: fn(&Draft) -> bool| drafts.iter().filter(|draft| wanted(draft)).count();
    let (waiting, mine, failing) = (count(Draft::waits), count(Draft::mine), count(Draft::fails));
    let owners: BTreeSet<String> = drafts.iter().flat_map(|draft| &draft.owners).cloned().collect();
    drafts.retain(|draft| filter.lets(draft));
    let found = drafts.len();
    let (first, pages) = Pages::of(&filter, found);
    let shown: Vec<Draft> = drafts.into_iter().skip(first).take(ROWS).collect();
    let columns = columns(&shown);
    let rows = shown.into_iter().map(|draft| {
        let triggers = triggers.remove(&draft.name);
        draft.row(&columns, triggers)
    });
    Ok(BoardPage {
        layout: Layout::new(visitor, "board", "Board"),
        text: visible(&filter.text),
        filtered: filter.is_set(),
        rows: rows.collect(),
        columns: columns.iter().map(ToString::to_string).collect(),
        owner: visible(&filter.owner),
        state: filter.state,
        owners: owners.into_iter().collect(),
        total,
        waiting,
        mine,
        failing,
        pages,
        strays: strays(state, visitor).await?,
    })
}

/// Environments stand in the order in which releases pass them: behind every one that some webhook passes before.
fn columns(drafts: &[Draft]) -> Vec<EnvironmentName> {
    let mut columns: Vec<(usize, &EnvironmentName)> = Vec::new();
    for (place, environment) in drafts.iter().flat_map(|draft| draft.places.iter().enumerate()) {
        match columns.iter_mut().find(|(_, known)| *known == environment) {
            Some((rank, _)) => *rank = place.max(*rank),
            None => columns.push((place, environment)),
        }
    }
    columns.sort_by_key(|(rank, _)| *rank);
    columns.into_iter().map(|(_, name)| name.clone()).collect()
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

impl Facts {
    async fn read(state: &WebState, visitor: &Visitor) -> Result<Self> {
        let now = state.clock.now();
        let mut facts = Self {
            now,
            traffic: state.strips.read(&state.store, now, (STEP, STEPS)).await?,
            decided: state.store.promotion_decided_by(&visitor.caller.actor.user).await?.into_iter().collect(),
            specs: state.store.board_specs().await?,
            releases: state.store.board_releases().await?,
            deployments: HashMap::new(),
            promotions: HashMap::new(),
            holds: HashMap::new(),
            failures: failures(state.store.board_failures(None).await?),
        };
        for deployment in state.store.deployment_list_active().await? {
            facts.deployments.entry((deployment.webhook.clone(), deployment.environment.clone())).or_default().push(deployment);
        }
        let mut open = PromotionFilter { open: true, limit: PORTION, ..PromotionFilter::default() };
        loop {
            let portion = state.store.promotion_list(&open).await?;
            let is_last = portion.len() < PORTION as usize;
            open.before = portion.last().map(|last| last.id);
            for promotion in portion {
                facts.promotions.entry((promotion.webhook.clone(), promotion.environment.clone())).or_default().push(promotion);
            }
            if is_last {
                break;
            }
        }
        for hold in state.store.hold_list().await? {
            facts.holds.insert((hold.webhook.clone(), hold.environment.clone()), hold);
        }
        Ok(facts)
    }

    /// A webhook with its cells, as far as the visitor sees them.
    async fn draft(&self, state: &WebState, visitor: &Visitor, name: WebhookName, run: Option<RunShown>) -> Result<Draft> {
        let spec: Option<Outline> = self.specs.get(&name).and_then(|text| serde_json::from_str(text).ok());
        let Outline { title, owners, environments } = spec.unwrap_or_default();
        let (mut places, mut cells) = (Vec::new(), BTreeMap::new());
        for Place { name: environment } in environments {
            if visitor.caller.sees_in(&name, &environment) {
                cells.insert(environment.clone(), self.cell(state, visitor, (&name, &environment)).await?);
            }
            places.push(environment);
        }
        places.retain(|place| cells.contains_key(place));
        let (title, owners) = (title.as_deref().map(visible), owners.iter().map(|owner| visible(owner)).collect());
        Ok(Draft { name, title, owners, run, places, cells })
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
        let failure = self.failures.get(&place).map(|failure| self.failure(failure));
        if failure.is_some() && newest.is_none() {
            badge = DeploymentStatus::Failed.into();
        }
        let mine = visitor.caller.actor.may(Action::Approve, Some(webhook), Some(environment));
        let mut waiting = Vec::new();
        for promotion in self.promotions.get(&place).into_iter().flatten() {
            waiting.push(waits(promotion, &self.releases, (mine, self.decided.contains(&promotion.id)), self.now));
        }
        let held = self.holds.get(&place).map(|hold| format!("held by {}", visible(&hold.actor)));
        let (environment, url) = (environment.to_string(), urls::environment(webhook, environment));
        let none = Strip::new();
        let strip = self.traffic.get(&place).unwrap_or(&none);
        let traffic = live.map(|_| Drawing::new(strip, self.now, (STEP, STEPS), "in the last hour"));
        let log = live.map(|live| urls::deployment(live.id));
        Ok(Cell { environment, url, badge, release, instances, traffic, waits: waiting, held, failure, log })
    }

    fn failure(&self, failed: &FailedDeployment) -> Failure {
        let short = self.releases.get(&failed.release).map_or_else(|| failed.release.to_string(), |release| short(&release.commit));
        let reason = failed.reason.as_deref().map_or_else(|| "its log says why".to_owned(), visible);
        Failure { url: urls::deployment(failed.id), short, reason, at: Moment::new(failed.created_at, self.now) }
    }
}

fn failures(list: Vec<FailedDeployment>) -> HashMap<(WebhookName, EnvironmentName), FailedDeployment> {
    list.into_iter().map(|failed| ((failed.webhook.clone(), failed.environment.clone()), failed)).collect()
}

/// A promotion that has not ended, in a line.
fn waits(promotion: &Promotion, releases: &BTreeMap<ReleaseId, ReleaseInfo>, (may, decided): (bool, bool), now: Timestamp) -> Waits {
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
        mine: may && asks && !decided,
        decided: asks && decided,
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
        traffic: Strips::default(),
        decided: state.store.promotion_decided_by(&visitor.caller.actor.user).await?.into_iter().collect(),
        specs: BTreeMap::new(),
        releases: BTreeMap::new(),
        deployments: HashMap::new(),
        promotions: HashMap::new(),
        holds: HashMap::new(),
        failures: failures(state.store.board_failures(Some((webhook, environment))).await?),
    };
    let strip = state.store.traffic_of((webhook, environment), hour_before(now), STEP).await?;
    let counts = strip.into_iter().map(|(step, traffic)| (step, (traffic.requests, traffic.errors)));
    facts.traffic = Arc::new(HashMap::from([(place.clone(), counts.collect())]));
    let mut deployments = state.store.deployment_list(webhook, Some(environment), 20).await?;
    deployments.retain(|one| !one.status.is_end());
    deployments.reverse();
    let open =
        PromotionFilter { webhook: Some(webhook.clone()), environment: Some(environment.clone()), open: true, before: None, limit: 20 };
    let promotions = state.store.promotion_list(&open).await?;
    let failed = facts.failures.values().map(|one| one.release.clone()).collect::<Vec<_>>();
    for id in deployments.iter().map(|one| &one.release).chain(promotions.iter().map(|one| &one.release)).chain(&failed) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// From which row to which, and where the others are.
    type Part = (usize, usize, Option<String>, Option<String>);

    fn pages(page: Option<usize>, found: usize) -> (usize, Option<Part>) {
        let filter = Filter { owner: "@acme/shop".into(), page, ..Filter::default() };
        let (first, pages) = Pages::of(&filter, found);
        (first, pages.map(|pages| (pages.first, pages.last, pages.earlier, pages.later)))
    }

    #[test]
    fn the_parts_of_a_long_board_join_and_keep_the_filter() {
        assert_eq!(pages(None, ROWS), (0, None));
        let to = |query: &str| Some(format!("/?owner=%40acme%2Fshop{query}"));
        assert_eq!(pages(None, 2_250), (0, Some((1, 100, None, to("&page=2")))));
        assert_eq!(pages(Some(2), 2_250), (100, Some((101, 200, to(""), to("&page=3")))));
        assert_eq!(pages(Some(23), 2_250), (2_200, Some((2_201, 2_250, to("&page=22"), None))));
        assert_eq!(pages(Some(99), 250), (200, Some((201, 250, to("&page=2"), None))), "behind the end is the last page");
        assert_eq!(pages(Some(0), 0), (0, None));
    }
}
