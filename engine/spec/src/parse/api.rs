//! `api:`.

use std::time::Duration;

use super::handler::url_path;
use super::pipeline::inside;
use crate::reader::{Reader, cut};
use crate::tree::{Node, Tree};
use crate::{Api, Doc, Operation, RateLimit};

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Tree>) -> Api {
    let mut api = Api::default();
    let Some(node) = node else { return api };
    let fields = reader.fields(node, "`api`", &["visibility", "security", "rate_limit", "operations", "plans", "cors", "docs", "openapi"]);
    api.public =
        fields.get("visibility").and_then(|node| reader.choice(node, "`visibility`", &["private", "public"])).as_deref() == Some("public");
    for item in fields.get("security").map(items).unwrap_or_default() {
        api.security.extend(reader.choice(item, "each item of `security`", &["oauth2", "api_key"]));
    }
    api.rate_limit = fields.get("rate_limit").and_then(|node| rate_limit(reader, node));
    if let Some(node) = fields.get("operations") {
        for (name, key, value) in reader.fields(node, "`operations`", &[]).entries {
            let valid = name.split_once(' ').is_some_and(|(method, path)| METHODS.contains(&method) && path.starts_with('/'));
            if !valid {
                reader.problem(key, format!("`{}` is not an operation", cut(name)), "write method and path: \"POST /issues\"");
            }
            let fields = reader.fields(value, &format!("`{}`", cut(name)), &["rate_limit", "scopes"]);
            let rate_limit = fields.get("rate_limit").and_then(|node| rate_limit(reader, node));
            let scopes = fields
                .get("scopes")
                .map(|node| reader.texts(node, "`scopes`"))
                .unwrap_or_default()
                .into_iter()
                .map(|(text, _)| text)
                .collect();
            api.operations.insert(name.to_owned(), Operation { rate_limit, scopes });
        }
    }
    api.plans =
        fields.get("plans").map(|node| reader.texts(node, "`plans`")).unwrap_or_default().into_iter().map(|(text, _)| text).collect();
    if let Some(node) = fields.get("cors") {
        let cors = reader.fields(node, "`cors`", &["origins"]);
        for (text, node) in cors.get("origins").map(|node| reader.texts(node, "`origins`")).unwrap_or_default() {
            if text != "*" && !is_url(&text) {
                reader.problem(node, format!("`{}` is not an origin", cut(&text)), "write for example https://acme.example");
            }
            api.cors_origins.push(text);
        }
    }
    for item in fields.get("docs").map(items).unwrap_or_default() {
        api.docs.extend(doc(reader, item));
    }
    api.openapi = fields.get("openapi").and_then(|node| inside(reader, node, "`openapi`"));
    api
}

fn items(node: &Tree) -> &[Tree] {
    match &node.value {
        Node::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

fn doc(reader: &mut Reader<'_>, node: &Tree) -> Option<Doc> {
    if let Node::Text(_) = node.value {
        return Some(Doc::File { path: inside(reader, node, "each file of `docs`")? });
    }
    let fields = reader.fields(node, "an entry of `docs`", &["title", "url", "text"]);
    let Some(title) = fields.get("title").and_then(|node| reader.text(node, "`title`", true)) else {
        reader.missing(&fields, "title", "write a path, or { title: …, url: … }, or { title: …, text: … }");
        return None;
    };
    match (fields.get("url"), fields.get("text")) {
        (Some(node), None) => Some(Doc::Link { title, url: url(reader, node, "`url`")? }),
        (None, Some(node)) => Some(Doc::Text { title, text: reader.text(node, "`text`", true)? }),
        _ => {
            reader.problem(node, "an entry of `docs` has either `url` or `text`", "write one of the two");
            None
        }
    }
}

fn rate_limit(reader: &mut Reader<'_>, node: &Tree) -> Option<RateLimit> {
    let fields = reader.fields(node, "`rate_limit`", &["requests", "per", "burst"]);
    let requests = match fields.get("requests") {
        Some(node) => reader.number(node, "`requests`", 1..=1_000_000_000),
        None => {
            reader.missing(&fields, "requests", "write for example { requests: 600, per: minute }");
            None
        }
    };
    let per = match fields.get("per").and_then(|node| reader.choice(node, "`per`", &["second", "minute", "hour", "day"])).as_deref() {
        Some("second") => 1,
        Some("hour") => 3600,
        Some("day") => 86_400,
        _ => 60,
    };
    let burst = fields.get("burst").and_then(|node| reader.number(node, "`burst`", 1..=1_000_000_000));
    Some(RateLimit { requests: requests?, per: Duration::from_secs(per), burst })
}

/// An address on the web.
pub(super) fn url(reader: &mut Reader<'_>, node: &Tree, what: &str) -> Option<String> {
    let text = reader.text(node, what, false)?;
    if is_url(&text) {
        return Some(text);
    }
    reader.problem(node, format!("`{}` is not an address", cut(&text)), "write for example https://acme.example/page");
    None
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && text.len() <= 2048 && text.chars().all(|c| c.is_ascii_graphic())
}

/// A path of a request, for checks.
pub(super) fn path(reader: &mut Reader<'_>, node: &Tree) -> Option<String> {
    url_path(reader, node, "`path`")
}
