//! `handler:` and `config:`.

use std::collections::BTreeMap;
use std::time::Duration;

use hookwright_core::{ConfigName, Health, Resources};

use crate::reader::{Reader, cut};
use crate::tree::{Node, Tree};
use crate::{ConfigEntry, ConfigKind, Handler, Scale};

/// What a handler may take to get ready when the file says nothing.
const STARTUP: Duration = Duration::from_secs(30);

pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Tree>) -> Handler {
    let mut handler = Handler {
        command: Vec::new(),
        port: 8080,
        health: Health { readiness: None, liveness: None, startup: STARTUP },
        resources: Resources::default(),
        scale: Scale { min: 1, max: 1, concurrency: None, idle: None },
    };
    let Some(node) = node else { return handler };
    let fields = reader.fields(node, "`handler`", &["command", "port", "health", "resources", "scale"]);
    if let Some(node) = fields.get("command") {
        match &node.value {
            Node::List(items) if !items.is_empty() => {
                handler.command = items.iter().filter_map(|item| reader.text(item, "each word of `command`", true)).collect();
            }
            Node::Text(text) => {
                let words: Vec<&str> = text.split_whitespace().take(20).collect();
                reader.problem(node, "`command` must be a list of words, but this is a text", format!("write [{}]", words.join(", ")));
            }
            _ => {
                reader.problem(node, "`command` must be a list of words", "write for example [python3, server.py]");
            }
        }
    }
    if let Some(node) = fields.get("port")
        && let Some(port) = reader.number(node, "`port`", 1..=65_535)
    {
        handler.port = u16::try_from(port).unwrap_or(8080);
    }
    if let Some(node) = fields.get("health") {
        let health = reader.fields(node, "`health`", &["readiness", "liveness", "startup"]);
        handler.health.readiness = health.get("readiness").and_then(|node| url_path(reader, node, "`readiness`"));
        handler.health.liveness = health.get("liveness").and_then(|node| url_path(reader, node, "`liveness`"));
        if let Some(startup) = health.get("startup").and_then(|node| reader.duration(node, "`startup`")) {
            handler.health.startup = startup;
        }
    }
    if let Some(node) = fields.get("resources") {
        let resources = reader.fields(node, "`resources`", &["cpu", "memory"]);
        if let Some(node) = resources.get("cpu") {
            handler.resources.cpu_millis = cpu(&reader.scalar(node));
            if handler.resources.cpu_millis.is_none() {
                reader.problem(node, "`cpu` is not an amount of processor", "write 500m for half a core, or 2 for two");
            }
        }
        if let Some(node) = resources.get("memory") {
            handler.resources.memory_bytes = memory(&reader.scalar(node));
            if handler.resources.memory_bytes.is_none() {
                reader.problem(node, "`memory` is not an amount of memory", "write 256Mi or 1Gi");
            }
        }
    }
    if let Some(node) = fields.get("scale") {
        handler.scale = scale(reader, node, handler.scale);
    }
    handler
}

/// A `scale:`, over what holds without it.
pub(super) fn scale(reader: &mut Reader<'_>, node: &Tree, over: Scale) -> Scale {
    let fields = reader.fields(node, "`scale`", &["min", "max", "concurrency", "idle"]);
    let min = fields.get("min").and_then(|node| reader.number(node, "`min`", 0..=1000));
    let max = fields.get("max").and_then(|node| reader.number(node, "`max`", 1..=1000));
    let concurrency = fields.get("concurrency").and_then(|node| reader.number(node, "`concurrency`", 1..=100_000));
    let idle = fields.get("idle").and_then(|node| reader.duration(node, "`idle`"));
    if let (Some(min), Some(max), Some(node)) = (min, max, fields.get("min"))
        && min > max
    {
        reader.problem(node, format!("`min` is {min}, more than `max`, which is {max}"), format!("raise `max` to {min} or lower `min`"));
    }
    let min = min.unwrap_or(over.min);
    let max = max.unwrap_or(over.max.max(min)).max(1);
    Scale { min: min.min(max), max, concurrency: concurrency.or(over.concurrency), idle: idle.or(over.idle) }
}

/// A path of a URL.
pub(super) fn url_path(reader: &mut Reader<'_>, node: &Tree, what: &str) -> Option<String> {
    let text = reader.text(node, what, false)?;
    if text.starts_with('/') && text.len() <= 1024 && text.chars().all(|c| c.is_ascii_graphic()) {
        return Some(text);
    }
    reader.problem(node, format!("{what} is not a path"), format!("start it with `/`: /{}", cut(text.trim_start_matches('/'))));
    None
}

fn cpu(text: &str) -> Option<u32> {
    let millis = match text.strip_suffix('m') {
        Some(millis) => millis.parse::<u32>().ok()?,
        None => {
            let cores = text.parse::<f64>().ok().filter(|cores| cores.is_finite() && (0.0..=1024.0).contains(cores))?;
            format!("{:.0}", cores * 1000.0).parse().ok()?
        }
    };
    (1..=1_024_000).contains(&millis).then_some(millis)
}

fn memory(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| (1 << 20..=1 << 44).contains(bytes))
}

pub(super) fn read_config(reader: &mut Reader<'_>, node: Option<&Tree>) -> BTreeMap<ConfigName, ConfigEntry> {
    let mut config = BTreeMap::new();
    let Some(node) = node else { return config };
    for (name, key, value) in reader.fields(node, "`config`", &[]).entries {
        let Some(name) = setting_name(reader, name, key) else { continue };
        let what = format!("`{name}`");
        let fields = reader.fields(value, &what, &["type", "default", "description", "secret", "required"]);
        let kind =
            match fields.get("type").and_then(|node| reader.choice(node, "`type`", &["string", "integer", "number", "boolean"])).as_deref()
            {
                Some("integer") => ConfigKind::Integer,
                Some("number") => ConfigKind::Number,
                Some("boolean") => ConfigKind::Boolean,
                _ => ConfigKind::String,
            };
        let secret = fields.get("secret").and_then(|node| reader.boolean(node, "`secret`")).unwrap_or(false);
        let required = fields.get("required").and_then(|node| reader.boolean(node, "`required`")).unwrap_or(false);
        let description = fields.get("description").and_then(|node| reader.text(node, "`description`", true));
        let default = fields.get("default").and_then(|node| {
            if secret {
                reader.problem(
                    node,
                    format!("the secret {what} has a default, which everybody who reads the repository would know"),
                    "remove `default`; set the value with `hookwright secret set`",
                );
                return None;
            }
            setting_value(reader, node, &what, kind)
        });
        config.insert(name, ConfigEntry { kind, default, secret, required, description });
    }
    config
}

fn setting_name(reader: &mut Reader<'_>, name: &str, key: &Tree) -> Option<ConfigName> {
    const RESERVED: &[&str] = &["PORT", "PATH", "HOME", "LANG"];
    if RESERVED.contains(&name) {
        reader.problem(key, format!("`{name}` is set by the runtime"), "choose another name");
        return None;
    }
    ConfigName::new(name)
        .map_err(|_| {
            let upper: String = name.to_uppercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(60).collect();
            let upper = upper.trim_start_matches("HOOKWRIGHT_");
            let upper = if upper.starts_with(|c: char| c.is_ascii_digit()) { format!("N{upper}") } else { upper.to_owned() };
            reader.problem(
                key,
                format!("`{}` cannot be the name of a setting", cut(name)),
                format!("write it as an environment variable that does not start with HOOKWRIGHT_, such as `{upper}`"),
            );
        })
        .ok()
}

/// A value as the handler gets it.
pub(super) fn setting_value(reader: &mut Reader<'_>, node: &Tree, what: &str, kind: ConfigKind) -> Option<String> {
    let (expected, fits) = match (kind, &node.value) {
        (ConfigKind::String, _) => return reader.text(node, what, true),
        (ConfigKind::Integer, value) => ("a whole number", matches!(value, Node::Integer(_))),
        (ConfigKind::Number, value) => ("a number", matches!(value, Node::Integer(_) | Node::Float(_))),
        (ConfigKind::Boolean, value) => ("`true` or `false`", matches!(value, Node::Bool(_))),
    };
    if fits { Some(reader.scalar(node)) } else { reader.refuse(node, what, expected) }
}
