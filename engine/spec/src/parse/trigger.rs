//! `triggers:`.

use std::collections::BTreeMap;
use std::time::Duration;

use hookwright_core::{ConfigName, TriggerName};

use super::check::timezone;
use super::handler::url_path;
use super::pipeline::condition;
use crate::reader::{Reader, cut, nearest};
use crate::tree::Tree;
use crate::{ConfigEntry, Deliver, Retry, Timetable, Trigger, Verify};

const SOURCES: &[&str] = &[
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
/// Sources that hand a secret out at registration, or need none.
const HAND_OUT: &[&str] = &["google-calendar", "schedule"];

pub(super) fn read(
    reader: &mut Reader<'_>,
    node: Option<&Tree>,
    config: &BTreeMap<ConfigName, ConfigEntry>,
) -> BTreeMap<TriggerName, Trigger> {
    let mut triggers = BTreeMap::new();
    let Some(node) = node else { return triggers };
    for (_, key, value) in reader.fields(node, "`triggers`", &[]).entries {
        if let Some(name) = reader.name::<TriggerName>(key, "the name of a trigger")
            && let Some(trigger) = trigger(reader, value, &name, config)
        {
            triggers.insert(name, trigger);
        }
    }
    triggers
}

fn trigger(reader: &mut Reader<'_>, node: &Tree, name: &TriggerName, config: &BTreeMap<ConfigName, ConfigEntry>) -> Option<Trigger> {
    let known = &["source", "repository", "events", "secret", "verify", "filter", "cron", "timezone", "deliver"];
    let fields = reader.fields(node, &format!("trigger `{name}`"), known);
    let source = match fields.get("source") {
        Some(node) => {
            let text = reader.text(node, "`source`", false);
            if let Some(text) = &text
                && !SOURCES.contains(&text.as_str())
            {
                reader.problem(node, format!("there is no event source `{}`", cut(text)), nearest(text, SOURCES));
                return None;
            }
            text
        }
        None => {
            reader.missing(&fields, "source", &format!("write `source:` and one of: {}", SOURCES.join(", ")));
            None
        }
    };
    let schedule = source.as_deref() == Some("schedule");
    let events: Vec<String> = fields
        .get("events")
        .map(|node| reader.texts(node, "`events`"))
        .unwrap_or_default()
        .into_iter()
        .map(|(text, node)| {
            if text.is_empty() || text.contains(char::is_whitespace) {
                reader.problem(node, "this is not the name of an event", "write for example issues.opened");
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
    if let Some(source) = &source
        && fields.get("secret").is_none()
        && verify == Verify::Source
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
                "write five fields: minute hour day month weekday, for example \"0 2 * * *\"",
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
    let zone = fields.get("timezone").and_then(|node| timezone(reader, node));
    let repository = fields.get("repository").and_then(|node| reader.text(node, "`repository`", false));
    let filter =
        fields.get("filter").and_then(|node| condition(reader, node, "`filter`", Some(&["event", "payload", "branch", "tag", "changed"])));
    let deliver = deliver(reader, fields.get("deliver"));
    Some(Trigger { source: source?, repository, events, secret, verify, filter, cron, timezone: zone, deliver })
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
