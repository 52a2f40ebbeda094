//! The board: webhooks as rows, environments as columns, and in each cell what runs there, what waits and what came to nothing. A page of
//! it has so many rows; counts, filters and the list of owners are always about all.

mod cell;
mod draft;
mod facts;

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::{Action, EnvironmentName};
use serde::{Deserialize, Serialize};

pub(crate) use cell::{Cell, health};
pub(crate) use facts::cell_of;

use self::draft::Draft;
use self::facts::Facts;
use super::run_list::RunRow;
use super::stray::strays;
use super::{Answer, Layout};
use crate::error::{Query, Result};
use crate::kept::Known;
use crate::show::{Badge, visible};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// So many webhooks a page has.
const ROWS: usize = 100;

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
            triggers: Some(TriggersShown { text: "2 triggers".into(), badge: Badge::none("by hand"), url: "/x".into() }),
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

    fn lets(&self, facts: &Facts<'_>, draft: &Draft<'_>) -> bool {
        let state = match self.state.as_str() {
            "waiting" => draft.waits(),
            "mine" => draft.mine(),
            "failing" => draft.fails(),
            _ => true,
        };
        let owner = self.owner.trim();
        state && (owner.is_empty() || draft.owners().iter().any(|one| one == owner)) && draft.matches(facts, &self.text)
    }
}

/// Shows the board; without any webhook the first steps.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Query(filter): Query<Filter>) -> Answer {
    visitor.caller.must(Action::Read)?;
    let known = state.board.read(&state.store).await?;
    if !known.webhooks.iter().any(|webhook| visitor.caller.sees(&webhook.name)) && !filter.is_set() {
        return Ok(Redirect::to(urls::FIRST_PUSH).into_response());
    }
    Ok(template::page(&page(&state, &visitor, &known, filter).await?))
}

async fn page(state: &WebState, visitor: &Visitor, known: &Known, filter: Filter) -> Result<BoardPage> {
    let facts = Facts::read(state, visitor, known).await?;
    let mut drafts = Vec::with_capacity(known.webhooks.len());
    for webhook in known.webhooks.iter().filter(|webhook| visitor.caller.sees(&webhook.name)) {
        drafts.push(Draft::read(state, visitor, &facts, webhook).await?);
    }
    let total = drafts.len();
    let waiting = drafts.iter().filter(|draft| draft.waits()).count();
    let mine = drafts.iter().filter(|draft| draft.mine()).count();
    let failing = drafts.iter().filter(|draft| draft.fails()).count();
    let owners: BTreeSet<&String> = drafts.iter().flat_map(Draft::owners).collect();
    let owners = owners.into_iter().cloned().collect();
    drafts.retain(|draft| filter.lets(&facts, draft));
    let found = drafts.len();
    let (first, pages) = Pages::of(&filter, found);
    let shown: Vec<Draft<'_>> = drafts.into_iter().skip(first).take(ROWS).collect();
    let columns = columns(&shown);
    let rows = shown.into_iter().map(|draft| draft.row(&facts, &columns)).collect();
    Ok(BoardPage {
        layout: Layout::new(visitor, "board", "Board"),
        text: visible(&filter.text),
        filtered: filter.is_set(),
        rows,
        columns: columns.iter().map(ToString::to_string).collect(),
        owner: visible(&filter.owner),
        state: filter.state,
        owners,
        total,
        waiting,
        mine,
        failing,
        pages,
        strays: strays(state, visitor).await?,
    })
}

/// Environments stand in the order in which releases pass them: behind every one that some webhook passes before.
fn columns(drafts: &[Draft<'_>]) -> Vec<EnvironmentName> {
    let mut columns: Vec<(usize, &EnvironmentName)> = Vec::new();
    for (place, environment) in drafts.iter().flat_map(|draft| draft.places().enumerate()) {
        match columns.iter_mut().find(|(_, known)| *known == environment) {
            Some((rank, _)) => *rank = place.max(*rank),
            None => columns.push((place, environment)),
        }
    }
    columns.sort_by_key(|(rank, _)| *rank);
    columns.into_iter().map(|(_, name)| name.clone()).collect()
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
