//! `triggers:`.

use std::collections::BTreeMap;
use std::time::Duration;

use hookwright_core::{CatchUp, ConfigName, FieldPath, TriggerName};
use serde_json::{Map, Value};

use super::Sources;
use super::check::timezone;
use super::event_types::{asks_for_some, event_types, instead};
use super::handler::url_path;
use super::pipeline::condition;
use super::source::SOURCE_FOLDER;
use crate::reader::{Fields, Reader, cut, nearest};
use crate::tree::Tree;
use crate::{ConfigEntry, Deliver, Retry, Timetable, Trigger, Verify};

/// The event sources that triggers can name; a test holds them against the definitions of `trigger`.
pub const EVENT_SOURCES: &[&str] = &[
    "github",
    "gitlab",
    "gitea",
    "bitbucket",
    "slack",
    "google-calendar",
    "stripe",
    "shopify",
    "standard-webhooks",
    "cloudevents",
    "generic",
    "schedule",
];
/// Sources that need no secret.
const NEED_NONE: &[&str] = &["schedule"];
/// Fields that one trigger may hide.
const MOST_REDACTED: usize = 100;

/// Sources whose secret may be left out: once the daemon registers the trigger, it comes from the source or is made for each channel.
const HAND_OUT: &[&str] = &["google-calendar", "stripe", "shopify"];

/// How triggers of some sources name whose events are meant; the others have a `repository`.
const NAMED_BY: &[(&str, &str)] = &[("calendar", "google-calendar"), ("app", "slack")];

pub(super) fn read(
    reader: &mut Reader<'_>,
    node: Option<&Tree>,
    around: (&BTreeMap<ConfigName, ConfigEntry>, &Sources<'_>),
) -> BTreeMap<TriggerName, Trigger> {
    let mut triggers = BTreeMap::new();
    let Some(node) = node else { return triggers };
    for (_, key, value) in reader.fields(node, "`triggers`", &[]).entries {
        if let Some(name) = reader.name::<TriggerName>(key, "the name of a trigger")
            && let Some(trigger) = trigger(reader, value, &name, around)
        {
            triggers.insert(name, trigger);
        }
    }
    triggers
}

fn trigger(
    reader: &mut Reader<'_>,
    node: &Tree,
    name: &TriggerName,
    (config, sources): (&BTreeMap<ConfigName, ConfigEntry>, &Sources<'_>),
) -> Option<Trigger> {
    let known = &[
        "source",
        "repository",
        "calendar",
        "app",
        "events",
        "secret",
        "verify",
        "filter",
        "redact",
        "cron",
        "timezone",
        "catch_up",
        "jitter",
        "signature",
        "token",
        "event",
        "id",
        "deliver",
    ];
    let fields = reader.fields(node, &format!("trigger `{name}`"), known);
    let source = match fields.get("source") {
        Some(node) => {
            let text = reader.text(node, "`source`", false);
            if let Some(text) = &text
                && !is_known(reader, node, text, sources)
            {
                return None;
            }
            text
        }
        None => {
            reader.missing(&fields, "source", &format!("write `source:` and one of: {}", EVENT_SOURCES.join(", ")));
            None
        }
    };
    let schedule = source.as_deref() == Some("schedule");
    let own = source.as_ref().and_then(|source| sources.own.get(source));
    let known_events = own.map(|own| own.events.as_slice()).or_else(|| event_types(source.as_deref()?));
    let events: Vec<String> = fields
        .get("events")
        .map(|node| reader.texts(node, "`events`"))
        .unwrap_or_default()
        .into_iter()
        .map(|(text, node)| {
            if text.is_empty() || text.contains(char::is_whitespace) {
                reader.problem(node, "this is not the name of an event", "write for example issues.opened");
            } else if let Some(known) = known_events
                && !asks_for_some(&text, known)
            {
                reader.problem(node, format!("the event source has no event `{}`", cut(&text)), instead(&text, known));
            }
            text
        })
        .collect();
    let verify = match fields.get("verify").and_then(|node| reader.choice(node, "`verify`", &["none", "source"])).as_deref() {
        Some("none") => Verify::None,
        _ => Verify::Source,
    };
    let secret = fields.get("secret").and_then(|node| {
        let text = reader.text(node, "`secret`", false)?;
        let declared = ConfigName::new(text.clone()).ok().and_then(|name| config.get(&name).map(|entry| (name, entry.secret)));
        match declared {
            Some((name, true)) => Some(name),
            Some((name, false)) => {
                reader.problem(
                    node,
                    format!("`{name}` is not declared as a secret"),
                    format!("write `{name}: {{ type: string, secret: true, required: true }}` under `config:`"),
                );
                None
            }
            None => {
                let names: Vec<&str> = config.iter().filter(|(_, entry)| entry.secret).map(|(name, _)| name.as_str()).collect();
                let help = if names.is_empty() {
                    format!("declare it under `config:` as `{}: {{ type: string, secret: true, required: true }}`", cut(&text))
                } else {
                    nearest(&text, &names)
                };
                reader.problem(node, format!("there is no setting `{}`", cut(&text)), help);
                None
            }
        }
    });
    let verifies = own.is_none_or(|own| own.verifies);
    if let Some(source) = &source
        && !verifies
        && verify == Verify::Source
    {
        let help = format!("say `verify: none` in the trigger, or write under `verify:` of {SOURCE_FOLDER}/{source}.yaml how it signs");
        reader.problem(
            fields.key("source").unwrap_or(node),
            format!("the event source `{source}` does not say how its events are verified, so that anybody could send them"),
            help,
        );
    } else if let Some(source) = &source
        && fields.get("secret").is_none()
        && verify == Verify::Source
        && !NEED_NONE.contains(&source.as_str())
        && !HAND_OUT.contains(&source.as_str())
    {
        reader.problem(
            fields.key("source").unwrap_or(node),
            format!("events of `{source}` are signed, but trigger `{name}` has no `secret`"),
            "name a secret of `config:` in `secret:`, or say `verify: none`",
        );
    }
    let cron = fields.get("cron").and_then(|node| {
        let text = reader.text(node, "`cron`", false)?;
        if let Err(message) = Timetable::new(&text, None) {
            reader.problem(
                node,
                format!("`cron` is not valid: {message}"),
                "write five fields: minute hour day month weekday, for example \"0 2 * * *\" (six with seconds first)",
            );
        }
        Some(text)
    });
    match (schedule, fields.key("cron")) {
        (true, None) => reader.missing(&fields, "cron", "write for example `cron: \"0 2 * * *\"`"),
        (false, Some(key)) if source.is_some() => {
            reader.problem(key, "`cron` belongs to `source: schedule`", "remove it, or change the source")
        }
        _ => {}
    }
    let catch_up = fields.get("catch_up").and_then(|node| reader.choice(node, "`catch_up`", &["none", "one", "all"]));
    let catch_up = match catch_up.as_deref() {
        Some("one") => CatchUp::One,
        Some("all") => CatchUp::All,
        _ => CatchUp::None,
    };
    let jitter = fields.get("jitter").and_then(|node| reader.duration(node, "`jitter`")).unwrap_or_default();
    let options = options(reader, &fields, (source.as_deref(), verify));
    for (field, belongs) in [("catch_up", "schedule"), ("jitter", "schedule"), ("timezone", "schedule")].iter().chain(NAMED_BY) {
        if let Some(key) = fields.key(field)
            && source.as_deref().is_some_and(|source| source != *belongs)
        {
            reader.problem(key, format!("`{field}` belongs to `source: {belongs}`"), "remove it, or change the source");
        }
    }
    let zone = fields.get("timezone").and_then(|node| timezone(reader, node));
    let named_by = source.as_deref().and_then(whose).unwrap_or("repository");
    let repository = fields.get(named_by).and_then(|node| reader.text(node, &format!("`{named_by}`"), false));
    let filter =
        fields.get("filter").and_then(|node| condition(reader, node, "`filter`", Some(&["event", "payload", "branch", "tag", "changed"])));
    let redact = redacted(reader, fields.get("redact"));
    let deliver = deliver(reader, fields.get("deliver"));
    Some(Trigger {
        source: source?,
        repository,
        events,
        secret,
        verify,
        filter,
        redact,
        cron,
        timezone: zone,
        catch_up,
        jitter,
        options,
        deliver,
    })
}

/// Whether there is such a source; a problem is said.
fn is_known(reader: &mut Reader<'_>, node: &Tree, name: &str, sources: &Sources<'_>) -> bool {
    match (EVENT_SOURCES.contains(&name), sources.files.has(name)) {
        (true, true) => {
            let help = format!("rename {SOURCE_FOLDER}/{name}.yaml, and name it so here");
            reader.problem(node, format!("`{name}` comes with Hookwright, and {SOURCE_FOLDER}/{name}.yaml has the same name"), help);
            false
        }
        (true, false) | (false, true) => true,
        (false, false) => {
            let known: Vec<&str> = EVENT_SOURCES.iter().copied().chain(sources.files.names()).collect();
            let help = match nearest(name, &known) {
                near if near.starts_with("did you") => near,
                all => format!("{all}; or describe your own in {SOURCE_FOLDER}/{}.yaml", cut(name)),
            };
            reader.problem(node, format!("there is no event source `{}`", cut(name)), help);
            false
        }
    }
}

/// Fields that nobody is shown.
fn redacted(reader: &mut Reader<'_>, node: Option<&Tree>) -> Vec<FieldPath> {
    let Some(node) = node else { return Vec::new() };
    let texts = reader.texts(node, "`redact`");
    if texts.len() > MOST_REDACTED {
        reader.problem(node, format!("`redact` names more than {MOST_REDACTED} fields"), "name what is above them: payload.user");
    }
    let mut read = |(text, node): (String, &Tree)| {
        let path = text.parse::<FieldPath>();
        path.map_err(|_| {
            let help = if text.starts_with("payload") {
                "write payload.user.email, or payload.items.*.card for every item".to_owned()
            } else {
                format!("fields of the payload are meant: write payload.{}", cut(&text))
            };
            reader.problem(node, format!("`{}` is no field of a payload", cut(&text)), help);
        })
        .ok()
    };
    texts.into_iter().filter_map(&mut read).collect()
}

/// Sources whose credentials say whose events are meant.
const NAMED_BY_NOTHING: &[&str] = &["stripe", "shopify"];

/// The field by which triggers of a source name whose events are meant; `None` when its credentials say that.
pub fn whose(source: &str) -> Option<&'static str> {
    let own = NAMED_BY.iter().find(|(_, of)| *of == source).map(|(field, _)| *field);
    own.or_else(|| (!NAMED_BY_NOTHING.contains(&source)).then_some("repository"))
}

/// How a `generic` source is verified and read.
fn options(reader: &mut Reader<'_>, fields: &Fields<'_>, (source, verify): (Option<&str>, Verify)) -> Map<String, Value> {
    const SHAPES: [(&str, &[&str]); 4] = [
        ("signature", &["header", "encoding", "prefix", "message", "timestamp"]),
        ("token", &["header", "prefix"]),
        ("event", &["header", "field"]),
        ("id", &["header", "field"]),
    ];
    let mut options = Map::new();
    for (name, shape) in SHAPES {
        let (Some(node), Some(key)) = (fields.get(name), fields.key(name)) else { continue };
        if source.is_some_and(|source| source != "generic") {
            reader.problem(key, format!("`{name}` belongs to `source: generic`"), "remove it: the source says itself where it stands");
            continue;
        }
        let inner = reader.fields(node, &format!("`{name}`"), shape);
        let mut option = Map::new();
        for part in shape {
            let Some(node) = inner.get(part) else { continue };
            let text = match *part {
                "encoding" => reader.choice(node, "`encoding`", &["hex", "base64"]),
                _ => reader.text(node, &format!("`{part}`"), false),
            };
            option.extend(text.map(|text| ((*part).to_owned(), Value::String(text))));
        }
        if !option.contains_key("header") && !option.contains_key("field") {
            reader.problem(key, format!("`{name}` does not say where it stands"), "write `header:` and the name of the header");
        }
        if name == "signature" && option.get("message").and_then(Value::as_str).is_some_and(|message| !message.contains("{body}")) {
            reader.problem(
                key,
                "`message` does not have `{body}`, so that the body would not be signed",
                "write for example \"{timestamp}.{body}\"",
            );
        }
        options.insert(name.to_owned(), Value::Object(option));
    }
    let says = usize::from(options.contains_key("signature")) + usize::from(options.contains_key("token"));
    if source == Some("generic")
        && verify == Verify::Source
        && says != 1
        && let Some(key) = fields.key("source")
    {
        let help =
            "write `signature: { header: X-Signature, prefix: \"sha256=\" }`, or `token: { header: X-Token }`, or say `verify: none`";
        reader.problem(key, "a generic source does not say how it is verified, in one way", help);
    }
    options
}

fn deliver(reader: &mut Reader<'_>, node: Option<&Tree>) -> Deliver {
    let mut deliver = Deliver {
        path: "/".to_owned(),
        sync: false,
        timeout: Duration::from_secs(30),
        retry: Retry { attempts: 8, exponential: true },
        concurrency: 4,
        order_by: None,
    };
    let Some(node) = node else { return deliver };
    let fields = reader.fields(node, "`deliver`", &["path", "mode", "timeout", "retry", "concurrency", "order_by"]);
    if let Some(path) = fields.get("path").and_then(|node| url_path(reader, node, "`path`")) {
        deliver.path = path;
    }
    deliver.sync = fields.get("mode").and_then(|node| reader.choice(node, "`mode`", &["async", "sync"])).as_deref() == Some("sync");
    if let Some(timeout) = fields.get("timeout").and_then(|node| reader.duration(node, "`timeout`")) {
        deliver.timeout = timeout;
    }
    if let Some(node) = fields.get("retry") {
        let retry = reader.fields(node, "`retry`", &["attempts", "backoff"]);
        if let Some(attempts) = retry.get("attempts").and_then(|node| reader.number(node, "`attempts`", 1..=100)) {
            deliver.retry.attempts = attempts;
        }
        deliver.retry.exponential =
            retry.get("backoff").and_then(|node| reader.choice(node, "`backoff`", &["exponential", "fixed"])).as_deref() != Some("fixed");
    }
    if let Some(concurrency) = fields.get("concurrency").and_then(|node| reader.number(node, "`concurrency`", 1..=1000)) {
        deliver.concurrency = concurrency;
    }
    deliver.order_by = fields.get("order_by").and_then(|node| condition(reader, node, "`order_by`", Some(&["event", "payload"])));
    deliver
}
