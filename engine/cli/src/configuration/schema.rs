//! The JSON Schema of `hookwright.yaml`, made out of the commented defaults: their comments are the descriptions, their values the defaults
//! and the types.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{DEFAULTS, Error, parse_duration, parse_object};

/// Settings that take one of a few words, or what the default does not show.
fn special(path: &str) -> Option<Value> {
    match path {
        "sandbox" => Some(json!({ "enum": ["required", "preferred", "off", true, false] })),
        "git.pull_requests" => Some(json!({ "enum": ["all", "own", "off", false] })),
        "openid.default_role" => Some(json!({ "enum": ["", "viewer", "developer", "approver", "admin"] })),
        "openid.roles" => Some(json!({ "type": "array", "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["group"],
            "anyOf": [{ "required": ["role"] }, { "required": ["teams"] }],
            "properties": {
                "group": { "type": "string", "minLength": 1, "description": "The group, exactly as the provider names it." },
                "role": { "enum": ["viewer", "developer", "approver", "admin"] },
                "webhook": { "type": "string", "description": "Only of this webhook." },
                "environment": { "type": "string", "description": "Only in this environment." },
                "teams": { "type": "array", "items": { "type": "string" }, "description": "Teams that its people are in, as approvals name them." }
            }
        } })),
        "limits.stage_memory" | "limits.handler_memory" => Some(json!({ "type": "integer", "minimum": -1 })),
        _ => None,
    }
}

/// The schema, as it stands in `schemas/settings.json`.
pub(crate) fn schema() -> Result<Value, Error> {
    let defaults = parse_object(Path::new("defaults"), DEFAULTS)?;
    let mut schema = section("", &defaults, &comments());
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "hookwright.yaml".into();
    Ok(schema)
}

fn section(prefix: &str, settings: &Map<String, Value>, comments: &BTreeMap<String, String>) -> Value {
    let properties: Map<String, Value> = settings
        .iter()
        .map(|(name, default)| {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let mut schema = match default {
                Value::Object(inner) => section(&path, inner, comments),
                leaf => setting(&path, leaf),
            };
            if let Some(text) = comments.get(&path) {
                schema["description"] = text.as_str().into();
            }
            (name.clone(), schema)
        })
        .collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn setting(path: &str, default: &Value) -> Value {
    let mut schema = special(path).unwrap_or_else(|| match default {
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(_) => json!({ "type": "integer", "minimum": 0 }),
        Value::String(text) if text.starts_with(|first: char| first.is_ascii_digit()) && parse_duration(text).is_some() => {
            json!({ "type": "string", "pattern": "^([0-9]+ ?(ms|s|m|h|d|w) ?)+$" })
        }
        _ => json!({ "type": "string" }),
    });
    schema["default"] = default.clone();
    schema
}

/// The comment above each setting, by its path; one comment may stand above several settings.
fn comments() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment = String::new();
    let mut complete = true;
    for line in DEFAULTS.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if text.is_empty() {
            complete = true;
            comment.clear();
        } else if let Some(more) = text.strip_prefix("# ") {
            if std::mem::take(&mut complete) {
                comment.clear();
            } else {
                comment.push(' ');
            }
            comment.push_str(more);
        } else if let Some((name, _)) = text.split_once(':') {
            complete = true;
            path.retain(|(outer, _)| *outer < indent);
            path.push((indent, name));
            if !comment.is_empty() {
                let whole: Vec<&str> = path.iter().map(|(_, name)| *name).collect();
                found.insert(whole.join("."), comment.clone());
            }
            if text.ends_with(':') {
                comment.clear();
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_of_the_settings_is_the_one_of_the_defaults() {
        let shown = serde_json::to_string_pretty(&schema().expect("valid defaults")).expect("a schema is JSON") + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/settings.json");
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(path, &shown).expect("the schema can be written");
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), shown, "run this test with UPDATE_SCHEMAS=1");
    }

    #[test]
    fn every_setting_is_described_by_its_own_comment() {
        let schema = schema().expect("valid defaults");
        let at = |pointer: &str| schema.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert!(at("/properties/listen/description").starts_with("Where the daemon listens."));
        assert!(at("/properties/limits/properties/handler_memory/description").starts_with("Bytes of memory of each stage"));
        assert!(at("/properties/sandbox/description").ends_with("off: never."));
        assert!(at("/properties/retention/properties/events/pattern").contains("(ms|s|m|h|d|w)"));
        // A comment above a section speaks of what is in it.
        fn undescribed(path: &str, schema: &Value, into: &mut Vec<String>) {
            for (name, inner) in schema["properties"].as_object().into_iter().flatten().filter(|(_, inner)| inner["description"].is_null())
            {
                let path = format!("{path}.{name}");
                if inner.get("properties").is_none() {
                    into.push(path.clone());
                }
                undescribed(&path, inner, into);
            }
        }
        let mut missing = Vec::new();
        undescribed("", &schema, &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }
}
