//! The gates of an environment: checks, windows and approvals.

use std::time::Duration;

use super::api::{path, url};
use crate::reader::{Fields, Reader, cut};
use crate::tree::{Node, Tree};
use crate::{Approvals, Approver, Check, Gates, HttpCheck, Window};

pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Tree>) -> (Gates, Option<Approvals>) {
    let mut gates = Gates::default();
    let Some(node) = node else { return (gates, None) };
    let fields = reader.fields(node, "`gates`", &["checks", "approvals", "windows"]);
    if let Some(node) = fields.get("checks") {
        for (name, _, value) in reader.fields(node, "`checks`", &[]).entries {
            if let Some(check) = check(reader, name, value) {
                gates.checks.insert(name.to_owned(), check);
            }
        }
    }
    match fields.get("windows") {
        Some(Tree { value: Node::List(items), .. }) => gates.windows = items.iter().filter_map(|item| window(reader, item)).collect(),
        Some(node) => drop(reader.refuse::<()>(node, "`windows`", "a list")),
        None => {}
    }
    let approvals = fields.get("approvals").map(|node| approvals(reader, node));
    (gates, approvals)
}

/// A check says what it is by its form: a duration soaks, `http:` asks, `rate_below:` counts errors, and so on.
fn check(reader: &mut Reader<'_>, name: &str, node: &Tree) -> Option<Check> {
    if !matches!(node.value, Node::Map(_)) {
        return Some(Check::Soak { duration: reader.duration(node, &format!("check `{}`", cut(name)))? });
    }
    let known = &["http", "soak", "rate_below", "over", "at_least", "breaking_changes", "events", "status", "url", "timeout"];
    let fields = reader.fields(node, &format!("check `{}`", cut(name)), known);
    if let Some(node) = fields.get("http") {
        let http = reader.fields(node, "`http`", &["path", "status"]);
        let path = require(reader, &http, "path", "/readyz").and_then(|node| path(reader, node))?;
        let status = http.get("status").map_or(Some("2xx".to_owned()), |node| status(reader, node))?;
        return Some(Check::Http(HttpCheck { path, status }));
    }
    if let Some(node) = fields.get("soak") {
        return Some(Check::Soak { duration: reader.duration(node, "`soak`")? });
    }
    if let Some(node) = fields.get("rate_below") {
        let raw = reader.scalar(node);
        let rate = raw
            .trim()
            .strip_suffix('%')
            .map_or_else(|| raw.parse::<f64>().ok(), |percent| percent.trim().parse::<f64>().ok().map(|value| value / 100.0));
        let Some(rate_below) = rate.filter(|rate| *rate > 0.0 && *rate <= 1.0) else {
            reader.problem(node, "`rate_below` is not a rate", "write for example 1%");
            return None;
        };
        let over = require(reader, &fields, "over", "15m").and_then(|node| reader.duration(node, "`over`"))?;
        let at_least = fields.get("at_least").and_then(|node| reader.number(node, "`at_least`", 0..=1_000_000)).unwrap_or(1);
        return Some(Check::Errors { rate_below, over, at_least });
    }
    if let Some(node) = fields.get("breaking_changes") {
        return Some(Check::Api { forbid_breaking_changes: reader.choice(node, "`breaking_changes`", &["forbid", "allow"])? == "forbid" });
    }
    if let Some(node) = fields.get("events") {
        let events = reader.number(node, "`events`", 1..=10_000)?;
        let status = fields.get("status").map_or(Some("2xx".to_owned()), |node| status(reader, node))?;
        return Some(Check::Replay { events, status });
    }
    if let Some(node) = fields.get("url") {
        let url = url(reader, node, "`url`")?;
        let timeout = fields.get("timeout").and_then(|node| reader.duration(node, "`timeout`")).unwrap_or(Duration::from_secs(10));
        return Some(Check::External { url, timeout });
    }
    reader.problem(node, format!("check `{}` does not say what it checks", cut(name)), "write one of: { http: { path } }, a duration such as 30m, { rate_below, over }, { breaking_changes: forbid }, { events, status }, { url }");
    None
}

fn require<'t>(reader: &mut Reader<'_>, fields: &Fields<'t>, name: &str, example: &str) -> Option<&'t Tree> {
    let value = fields.get(name);
    if value.is_none() {
        reader.missing(fields, name, &format!("write for example `{name}: {example}`"));
    }
    value
}

fn status(reader: &mut Reader<'_>, node: &Tree) -> Option<String> {
    let text = reader.scalar(node);
    let valid = text.len() == 3
        && text.starts_with(['1', '2', '3', '4', '5'])
        && (text.ends_with("xx") || text.bytes().all(|byte| byte.is_ascii_digit()));
    if !valid {
        reader.problem(node, "this is not an HTTP status", "write for example 200 or 2xx");
    }
    valid.then_some(text)
}

fn window(reader: &mut Reader<'_>, node: &Tree) -> Option<Window> {
    let fields = reader.fields(node, "a window", &["allow", "deny", "timezone", "reason"]);
    let (allow, value) = match (fields.get("allow"), fields.get("deny")) {
        (Some(value), None) => (true, value),
        (None, Some(value)) => (false, value),
        _ => {
            reader.problem(node, "a window has either `allow` or `deny`", "write for example { allow: \"Mon-Fri 09:00-16:00\" }");
            return None;
        }
    };
    let span = reader.text(value, "a window", false)?;
    if !is_window(&span) {
        reader.problem(
            value,
            format!("`{}` is not a window", cut(&span)),
            "write for example \"Mon-Fri 09:00-16:00\" or \"2026-12-20/2027-01-03\"",
        );
        return None;
    }
    let timezone = fields.get("timezone").map_or(Some("UTC".to_owned()), |node| timezone(reader, node))?;
    let reason = fields.get("reason").and_then(|node| reader.text(node, "`reason`", true));
    Some(Window { allow, span, timezone, reason })
}

fn is_window(span: &str) -> bool {
    const DAYS: &[&str] = &["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    if let Some((from, to)) = span.split_once('/') {
        let (from, to) = (from.trim().parse::<jiff::civil::Date>(), to.trim().parse::<jiff::civil::Date>());
        return matches!((from, to), (Ok(from), Ok(to)) if from <= to);
    }
    let time = |text: &str| {
        text.split_once(':').is_some_and(|(hour, minute)| {
            let number = |text: &str, end: u32| text.len() == 2 && text.parse::<u32>().is_ok_and(|value| value <= end);
            (number(hour, 23) && number(minute, 59)) || text == "24:00"
        })
    };
    let days = |text: &str| {
        text.split(',')
            .all(|part| part.split_once('-').map_or(DAYS.contains(&part), |(from, to)| DAYS.contains(&from) && DAYS.contains(&to)))
    };
    let mut words = span.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(day), Some(hours), None) => days(day) && hours.split_once('-').is_some_and(|(from, to)| time(from) && time(to)),
        (Some(day), None, None) => days(day) || day.split_once('-').is_some_and(|(from, to)| time(from) && time(to)),
        _ => false,
    }
}

/// An IANA time zone.
pub(super) fn timezone(reader: &mut Reader<'_>, node: &Tree) -> Option<String> {
    let text = reader.text(node, "`timezone`", false)?;
    if jiff::tz::TimeZoneDatabase::bundled().get(&text).is_ok() {
        return Some(text);
    }
    reader.problem(node, format!("there is no time zone `{}`", cut(&text)), "write an IANA name such as Europe/Paris or UTC");
    None
}

fn approvals(reader: &mut Reader<'_>, node: &Tree) -> Approvals {
    let fields = reader.fields(node, "`approvals`", &["count", "from", "by_author", "expires"]);
    let count = fields.get("count").and_then(|node| reader.number(node, "`count`", 1..=100)).unwrap_or(1);
    let from = fields
        .get("from")
        .map(|node| reader.texts(node, "`from`"))
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(text, node)| {
            let approver = match (text.strip_prefix('@'), text.strip_prefix("user:")) {
                (Some(team), _) if !team.is_empty() => Some(Approver::Team(team.to_owned())),
                (_, Some(user)) if !user.is_empty() => Some(Approver::User(user.to_owned())),
                _ => None,
            };
            if approver.is_none() {
                reader.problem(
                    node,
                    format!("`{}` is neither a team nor a user", cut(&text)),
                    "write \"@acme/leads\" for a team or \"user:rosa\" for a person",
                );
            }
            approver
        })
        .collect();
    let by_author = fields.get("by_author").and_then(|node| reader.boolean(node, "`by_author`"));
    let expires = fields.get("expires").and_then(|node| reader.duration(node, "`expires`"));
    Approvals { count, from, by_author, expires }
}
