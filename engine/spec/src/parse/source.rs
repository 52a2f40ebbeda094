//! `triggers/<name>.yaml`: an event source that a repository brings itself, in the format of those that come with the binary
//! (`engine/trigger/sources/`), less what would let a commit decide whom the daemon calls.
//! Invariant: what is accepted here is read by the crate `trigger` without an error; a test of the gateway holds the two together.

use std::collections::BTreeMap;

use hookwright_core::TriggerName;
use serde_json::{Map, Value};

use super::trigger::EVENT_SOURCES;
use crate::problem::{Problem, Problems};
use crate::reader::{Fields, Reader, cut};
use crate::tree::{self, Node, Tree};

/// The folder beside a `webhook.yaml` that has them.
pub const SOURCE_FOLDER: &str = "triggers";

/// The largest definition, in bytes.
const LARGEST: usize = 64 << 10;

/// Events with an example.
const MOST_EVENTS: usize = 200;

/// The `triggers/*.yaml` beside a `webhook.yaml`, by the name of the source; with their texts where a trigger names them.
#[derive(Clone, Debug, Default)]
pub struct SourceFiles {
    files: BTreeMap<String, Option<String>>,
}

impl SourceFiles {
    /// Takes note of a file of the folder; `None` when it has no name of a source.
    pub fn add(&mut self, file_name: &str) -> Option<&str> {
        let name = file_name.strip_suffix(".yaml").filter(|name| TriggerName::new(*name).is_ok())?;
        self.files.entry(name.to_owned()).or_default();
        self.files.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// The files whose texts are needed, because a trigger of this `webhook.yaml` names them.
    pub fn wanted(&self, text: &str) -> Vec<String> {
        if self.files.is_empty() {
            return Vec::new();
        }
        let named = named(text);
        self.files.keys().filter(|name| named.contains(name)).cloned().collect()
    }

    /// Adds the text of a file.
    pub fn set(&mut self, name: &str, text: String) {
        self.files.insert(name.to_owned(), Some(text));
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}

/// The sources that triggers name, whatever else is wrong with the text.
fn named(text: &str) -> Vec<String> {
    let Ok(tree) = tree::parse(text, "") else { return Vec::new() };
    let field = |node: &Tree, name: &str| match &node.value {
        Node::Map(entries) => {
            entries.iter().find(|(key, _)| matches!(&key.value, Node::Text(key) if key == name)).map(|(_, value)| value.clone())
        }
        _ => None,
    };
    let Some(Node::Map(triggers)) = field(&tree, "triggers").map(|node| node.value) else { return Vec::new() };
    let source = |(_, trigger): &(Tree, Tree)| match field(trigger, "source")?.value {
        Node::Text(source) => Some(source),
        _ => None,
    };
    triggers.iter().filter_map(source).collect()
}

/// What triggers need to know of a source.
#[derive(Clone, Debug)]
pub(super) struct OwnSource {
    pub(super) definition: Value,
    /// The types that it has examples of.
    pub(super) events: Vec<String>,
    /// Whether it says how events are verified.
    pub(super) verifies: bool,
}

/// Reads the texts that there are; what is wrong with one is reported under its own path.
pub(super) fn read_all(files: &SourceFiles, beside: &str) -> (BTreeMap<String, OwnSource>, Vec<Problem>) {
    let folder = beside.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    let (mut sources, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, text) in &files.files {
        let Some(text) = text.as_deref().filter(|_| !EVENT_SOURCES.contains(&name.as_str())) else { continue };
        match read(text, name, &format!("{folder}{SOURCE_FOLDER}/{name}.yaml")) {
            Ok(source) => {
                sources.insert(name.clone(), source);
            }
            Err(Problems(found)) => problems.extend(found),
        }
    }
    (sources, problems)
}

fn read(text: &str, name: &str, file: &str) -> Result<OwnSource, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = tree::parse(text, file)?;
    let mut reader = Reader::new(file, text);
    if text.len() > LARGEST {
        reader.problem(&tree, "the definition is larger than 64 KiB", "shorten the examples");
    }
    let source = definition(&mut reader, &tree, name);
    reader.finish(source)
}

const FIELDS: &[&str] = &[
    "name",
    "title",
    "documentation",
    "deadline_seconds",
    "verify",
    "kind",
    "id",
    "shapes",
    "pings",
    "challenge",
    "cloud_events",
    "example_headers",
    "manual",
    "events",
];

/// What only definitions that come with the binary say.
const OURS: &[&str] = &["registration", "other_servers", "channels", "topics", "manifest", "receives", "by_options"];

fn definition(reader: &mut Reader<'_>, tree: &Tree, name: &str) -> Option<OwnSource> {
    let known: Vec<&str> = FIELDS.iter().chain(OURS).copied().collect();
    let fields = reader.fields(tree, "the event source", &known);
    for field in OURS {
        if let Some(key) = fields.key(field) {
            let help = "remove it: a person gives the sender the address that `hookwright triggers` shows";
            reader.problem(key, format!("a repository's own event source has no `{field}`: the daemon calls nobody for it"), help);
        }
    }
    match fields.get("name") {
        Some(node) => {
            let text = reader.text(node, "`name`", false);
            if text.is_some_and(|text| text != name) {
                reader.problem(node, "the name is not that of the file", format!("write `name: {name}`, or rename the file"));
            }
        }
        None => reader.missing(&fields, "name", &format!("write `name: {name}`")),
    }
    match fields.get("title") {
        Some(node) => drop(reader.text(node, "`title`", false)),
        None => reader.missing(&fields, "title", "write a name for people: `title: Our shop`"),
    }
    for field in ["documentation", "pings"] {
        text_list(reader, &fields, field);
    }
    fields.get("deadline_seconds").and_then(|node| reader.number(node, "`deadline_seconds`", 1..=3600));
    fields.get("cloud_events").and_then(|node| reader.boolean(node, "`cloud_events`"));
    fields.get("manual").and_then(|node| reader.text(node, "`manual`", false));
    let schemes = fields.get("verify").map(|node| list(reader, node, "`verify`")).unwrap_or_default();
    schemes.iter().for_each(|node| scheme(reader, node));
    match fields.get("kind").map(|node| list(reader, node, "`kind`")) {
        Some(places) if !places.is_empty() => places.iter().for_each(|node| locator(reader, node, "a place of `kind`")),
        _ => reader.missing(&fields, "kind", "say where the type of an event stands: `kind: [{ field: /type }]`"),
    }
    let places = fields.get("id").map(|node| list(reader, node, "`id`")).unwrap_or_default();
    places.iter().for_each(|node| locator(reader, node, "a place of `id`"));
    if let Some(node) = fields.get("shapes") {
        let shapes = reader.fields(node, "`shapes`", &[]);
        shapes.entries.iter().for_each(|(_, _, node)| pointer(reader, node, "a shape"));
    }
    if let Some(node) = fields.get("challenge") {
        let challenge = reader.fields(node, "`challenge`", &["field", "equals", "answer"]);
        for field in ["field", "equals", "answer"] {
            match challenge.get(field) {
                Some(node) if field == "equals" => drop(reader.text(node, "`equals`", false)),
                Some(node) => pointer(reader, node, &format!("`{field}`")),
                None => reader.missing(&challenge, field, "write `challenge: { field: /type, equals: hello, answer: /challenge }`"),
            }
        }
    }
    if let Some(node) = fields.get("example_headers") {
        let headers = reader.fields(node, "`example_headers`", &[]);
        for (name, key, node) in &headers.entries {
            header(reader, key, name);
            reader.text(node, "the value of a header", false);
        }
    }
    let events = events(reader, &fields);
    Some(OwnSource { definition: json(tree), events, verifies: !schemes.is_empty() })
}

fn list<'t>(reader: &mut Reader<'_>, node: &'t Tree, what: &str) -> Vec<&'t Tree> {
    match &node.value {
        Node::List(items) => items.iter().collect(),
        other => {
            let kind = other.kind();
            reader.problem(node, format!("{what} must be a list, but this is {kind}"), "write a list: [{ … }]");
            Vec::new()
        }
    }
}

/// A list of texts; a single text is none.
fn text_list<'t>(reader: &mut Reader<'_>, fields: &Fields<'t>, field: &str) -> Vec<(String, &'t Tree)> {
    let Some(node) = fields.get(field) else { return Vec::new() };
    let what = format!("`{field}`");
    let items = list(reader, node, &what);
    items.into_iter().filter_map(|item| Some((reader.text(item, &format!("each item of {what}"), false)?, item))).collect()
}

fn scheme(reader: &mut Reader<'_>, node: &Tree) {
    let fields = reader.fields(node, "a way to verify", &["secrets", "hmac", "ed25519", "token"]);
    fields.get("secrets").and_then(|node| reader.text(node, "`secrets`", false));
    let ways: Vec<&str> = ["hmac", "ed25519", "token"].into_iter().filter(|way| fields.get(way).is_some()).collect();
    match ways.as_slice() {
        [way] => {
            if let Some(node) = fields.get(way) {
                if *way == "token" { token(reader, node) } else { signature(reader, node, way) }
            }
        }
        _ => reader.problem(
            node,
            "a way to verify is one of `hmac`, `ed25519` and `token`",
            "write for example `hmac: { headers: [X-Signature], prefix: \"sha256=\" }`",
        ),
    }
}

fn token(reader: &mut Reader<'_>, node: &Tree) {
    let fields = reader.fields(node, "`token`", &["header", "prefix"]);
    match fields.get("header") {
        Some(node) => header_text(reader, node),
        None => reader.missing(&fields, "header", "write `token: { header: X-Token }`"),
    }
    fields.get("prefix").and_then(|node| reader.text(node, "`prefix`", false));
}

fn signature(reader: &mut Reader<'_>, node: &Tree, way: &str) {
    let what = format!("`{way}`");
    let known = ["headers", "prefix", "encoding", "list", "message", "timestamps", "ids", "key_prefix"];
    let fields = reader.fields(node, &what, &known);
    let headers = header_list(reader, &fields, "headers");
    if headers == 0 {
        reader.missing(&fields, "headers", "write in which header the signature stands: `headers: [X-Signature]`");
    }
    for field in ["prefix", "key_prefix"] {
        fields.get(field).and_then(|node| reader.text(node, &format!("`{field}`"), false));
    }
    fields.get("encoding").and_then(|node| reader.choice(node, "`encoding`", &["hex", "base64"]));
    let list = fields.get("list").and_then(|node| reader.choice(node, "`list`", &["single", "spaces", "pairs"]));
    let message = match fields.get("message") {
        Some(node) => reader.text(node, "`message`", false).unwrap_or_else(|| "{body}".to_owned()),
        None => "{body}".to_owned(),
    };
    let at = fields.get("message").unwrap_or(node);
    if message.matches("{body}").count() != 1 {
        reader.problem(
            at,
            "`message` does not have `{body}` once, so that the body would not be signed",
            "write for example \"{timestamp}.{body}\"",
        );
    }
    let paired = list.as_deref() == Some("pairs");
    for (field, name) in [("timestamps", "timestamp"), ("ids", "id")] {
        let count = header_list(reader, &fields, field);
        let signed = message.contains(&format!("{{{name}}}"));
        let has_it = count > 0 || paired && name == "timestamp";
        if signed && !has_it {
            reader.problem(
                at,
                format!("`message` has `{{{name}}}`, and nothing says where it stands"),
                format!("write `{field}: [X-Name-Of-The-Header]`"),
            );
        }
        if !signed && has_it {
            let help = format!("write `message` with `{{{name}}}`, as the source signs it, or leave `{field}` out");
            reader.problem(at, format!("`message` does not have `{{{name}}}`: whoever repeats an event could change it"), help);
        }
        if count > 0 && count != headers {
            reader.problem(
                at,
                format!("`{field}` has not as many headers as `headers`"),
                "each header of a signature goes with the one at the same place",
            );
        }
    }
}

/// How many headers a list names.
fn header_list(reader: &mut Reader<'_>, fields: &Fields<'_>, field: &str) -> usize {
    let names = text_list(reader, fields, field);
    for (name, node) in &names {
        header(reader, node, name);
    }
    names.len()
}

fn header_text(reader: &mut Reader<'_>, node: &Tree) {
    if let Some(name) = reader.text(node, "`header`", false) {
        header(reader, node, &name);
    }
}

fn header(reader: &mut Reader<'_>, node: &Tree, name: &str) {
    let is_valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_valid {
        reader.problem(node, format!("`{}` is not the name of a header", cut(name)), "write for example X-Signature");
    }
}

fn pointer(reader: &mut Reader<'_>, node: &Tree, what: &str) {
    if let Some(text) = reader.text(node, what, false)
        && !text.starts_with('/')
    {
        reader.problem(
            node,
            format!("{what} is a field of the payload with `/` before each part"),
            format!("write /{}", cut(&text).replace('.', "/")),
        );
    }
}

fn locator(reader: &mut Reader<'_>, node: &Tree, what: &str) {
    let fields = reader.fields(node, what, &["header", "field", "join", "suffix", "as"]);
    let ways = ["header", "field", "join"].into_iter().filter(|way| fields.get(way).is_some()).count();
    if ways != 1 {
        reader.problem(node, format!("{what} is one of `header`, `field` and `join`"), "write { header: X-Event } or { field: /type }");
    }
    if let Some(node) = fields.get("header") {
        header_text(reader, node);
    }
    for field in ["field", "suffix"] {
        if let Some(node) = fields.get(field) {
            pointer(reader, node, &format!("`{field}`"));
        }
    }
    fields.get("as").and_then(|node| reader.text(node, "`as`", false));
    let parts = fields.get("join").map(|node| list(reader, node, "`join`")).unwrap_or_default();
    parts.iter().for_each(|node| locator(reader, node, "a place of `join`"));
}

/// The types of the examples.
fn events(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<String> {
    let Some(node) = fields.get("events") else {
        reader.missing(fields, "events", "write at least one type with an example: `events: { order.paid: '{\"type\":\"order.paid\"}' }`");
        return Vec::new();
    };
    let events = reader.fields(node, "`events`", &[]);
    if events.entries.is_empty() || events.entries.len() > MOST_EVENTS {
        reader.problem(
            node,
            format!("`events` has 1 to {MOST_EVENTS} types, each with an example"),
            "write `order.paid: '{\"type\":\"order.paid\"}'`",
        );
    }
    for (name, key, node) in &events.entries {
        if name.contains(char::is_whitespace) {
            reader.problem(key, "this is not the name of an event", "write for example order.paid");
        }
        let Some(example) = reader.text(node, "an example", false) else { continue };
        if let Err(error) = serde_json::from_str::<Value>(&example.replace("{id}", "id"))
            && !example.is_empty()
        {
            reader.problem(node, format!("the example is no JSON: {error}"), "write it as JSON between single quotes");
        }
    }
    events.entries.iter().map(|(name, ..)| (*name).to_owned()).collect()
}

/// The tree as JSON; only asked once everything in it is known to be what it must be.
fn json(tree: &Tree) -> Value {
    match &tree.value {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Integer(value) => i64::try_from(*value).map_or(Value::Null, Value::from),
        Node::Float(value) => Value::from(*value),
        Node::Text(text) => Value::String(text.clone()),
        Node::List(items) => items.iter().map(json).collect(),
        Node::Map(entries) => {
            let entry = |(key, value): &(Tree, Tree)| match &key.value {
                Node::Text(name) if !matches!(value.value, Node::Null) => Some((name.clone(), json(value))),
                _ => None,
            };
            Value::Object(entries.iter().filter_map(entry).collect::<Map<_, _>>())
        }
    }
}
