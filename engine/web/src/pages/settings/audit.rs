//! The audit log: who did what, filtered, page by page, and as a file.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hookwright_core::{Action, AuditId};
use hookwright_store::{AuditEntry, AuditFilter};
use http::header;
use serde::{Deserialize, Serialize};

use crate::error::{Problem, Query, Result};
use crate::pages::{Answer, Layout};
use crate::show::{Moment, given_time, visible};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// Lines of a page, and of a piece of the file.
const PAGE: u32 = 100;
const PIECE: u32 = 1_000;

/// The audit log.
#[derive(Serialize)]
pub(crate) struct AuditPage {
    layout: Layout,
    user: String,
    action: String,
    webhook: String,
    since: String,
    until: String,
    filtered: bool,
    /// What there are lines about, for the choice: `secret`, `secret.set`.
    actions: Vec<String>,
    rows: Vec<Row>,
    older: Option<String>,
    export: String,
}

#[derive(Serialize)]
struct Row {
    at: Moment,
    user: String,
    action: String,
    place: String,
    place_url: Option<String>,
    detail: String,
}

impl View for AuditPage {
    const TEMPLATE: &'static str = "pages/settings/audit.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let row = Row { at: Moment::sample(), user: text(), action: text(), place: text(), place_url: Some("/x".into()), detail: text() };
        let (older, export) = (Some("/x".into()), "/y".into());
        Self {
            layout: Layout::sample(),
            user: text(),
            action: text(),
            webhook: text(),
            since: text(),
            until: text(),
            filtered: true,
            actions: vec![text()],
            rows: vec![row],
            older,
            export,
        }
    }
}

/// The filter; fields left empty are any.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    user: String,
    action: String,
    webhook: String,
    since: String,
    until: String,
    before: Option<AuditId>,
}

impl Filter {
    fn query(&self, before: Option<AuditId>) -> String {
        let before = before.map(|id| id.to_string()).unwrap_or_default();
        let pairs = [
            ("user", self.user.trim()),
            ("action", self.action.trim()),
            ("webhook", self.webhook.trim()),
            ("since", self.since.trim()),
            ("until", self.until.trim()),
            ("before", &before),
        ];
        serde_urlencoded::to_string(pairs.iter().filter(|(_, value)| !value.is_empty()).collect::<Vec<_>>()).unwrap_or_default()
    }

    /// What the store is asked for.
    fn store(&self, limit: u32) -> Result<AuditFilter> {
        let trimmed = |text: &str| text.trim().to_owned();
        let (user, action, webhook) = (trimmed(&self.user), trimmed(&self.action), trimmed(&self.webhook));
        let (since, until) = (given_time(&self.since)?, given_time(&self.until)?);
        Ok(AuditFilter { user, action, webhook, since, until, before: self.before, limit })
    }
}

/// Every deed that is known, behind what several of them begin with.
fn choices(actions: Vec<String>) -> Vec<String> {
    let families: BTreeSet<String> = actions.iter().filter_map(|action| Some(action.split_once('.')?.0.to_owned())).collect();
    families.into_iter().chain(actions).map(|action| visible(&action)).collect()
}

fn place(entry: &AuditEntry) -> String {
    match (&entry.webhook, &entry.environment) {
        (Some(webhook), Some(environment)) => format!("{webhook} in {environment}"),
        (Some(webhook), None) => webhook.to_string(),
        _ => String::new(),
    }
}

/// Its page; of what is gone by now that says so.
fn place_url(entry: &AuditEntry) -> Option<String> {
    let webhook = entry.webhook.as_ref()?;
    Some(entry.environment.as_ref().map_or_else(|| urls::webhook(webhook), |environment| urls::environment(webhook, environment)))
}

/// Shows it to admins.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor, Query(filter): Query<Filter>) -> Answer {
    visitor.caller.must(Action::Administer)?;
    let now = state.clock.now();
    let mut found = state.store.audit_find(&filter.store(PAGE + 1)?).await?;
    let more = found.len() > PAGE as usize;
    found.truncate(PAGE as usize);
    let older = found.last().filter(|_| more).map(|last| format!("{}?{}", urls::AUDIT, filter.query(Some(last.id))));
    let rows = found.iter().map(|entry| Row {
        at: Moment::new(entry.at, now),
        user: visible(&entry.user),
        action: visible(&entry.action),
        place: place(entry),
        place_url: place_url(entry),
        detail: visible(&entry.detail),
    });
    let page = AuditPage {
        layout: Layout::new(&visitor, "settings", "Audit log"),
        rows: rows.collect(),
        actions: choices(state.store.audit_actions().await?),
        filtered: !filter.query(None).is_empty(),
        older,
        export: format!("{}?{}", urls::AUDIT_EXPORT, filter.query(None)),
        user: visible(&filter.user),
        action: visible(&filter.action),
        webhook: visible(&filter.webhook),
        since: visible(&filter.since),
        until: visible(&filter.until),
    };
    Ok(template::page(&page))
}

/// A field of a CSV file. Spreadsheets take what begins so for a formula; a quote before it keeps it text.
fn field(text: &str) -> String {
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if risky { "'" } else { "" }, visible(text).replace('"', "\"\""))
}

fn line(entry: &AuditEntry) -> String {
    let environment = entry.environment.as_ref().map(ToString::to_string).unwrap_or_default();
    let webhook = entry.webhook.as_ref().map(ToString::to_string).unwrap_or_default();
    let fields = [&entry.at.to_string(), &entry.user, &entry.action, &webhook, &environment, &entry.detail].map(|text| field(text));
    format!("{}\r\n", fields.join(","))
}

/// All that the filter lets through, as CSV, newest first.
pub(super) async fn export(State(state): State<WebState>, visitor: Visitor, Query(filter): Query<Filter>) -> Answer {
    visitor.caller.must(Action::Administer)?;
    let wanted = filter.store(PIECE)?;
    let head = "at,user,action,webhook,environment,detail\r\n".to_owned();
    let pieces = stream::unfold((Some(head), wanted, state, false), |(head, mut wanted, state, done)| async move {
        if let Some(head) = head {
            return Some((Ok(head), (None, wanted, state, false)));
        }
        if done {
            return None;
        }
        match state.store.audit_find(&wanted).await {
            Ok(found) => {
                wanted.before = found.last().map(|last| last.id);
                let last = found.len() < PIECE as usize;
                Some((Ok(found.iter().map(line).collect::<String>()), (None, wanted, state, last)))
            }
            Err(error) => Some((Err(error), (None, wanted, state, true))),
        }
    });
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "text/csv; charset=utf-8")
        .header(header::CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\"")
        .body(Body::from_stream(pieces));
    Ok(response.map_err(Problem::invalid)?.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_stays_text_in_a_spreadsheet() {
        assert_eq!(field("a \"b\""), "\"a \"\"b\"\"\"");
        assert_eq!(field("=HYPERLINK(1)"), "\"'=HYPERLINK(1)\"");
    }
}
