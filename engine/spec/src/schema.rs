//! The JSON Schemas of `webhook.yaml` and of presets, for editors. They name every field; what a value means is checked by the reader, whose messages are better.

use serde_json::{Value, json};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

fn map(of: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": of })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn texts() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

/// An object with these fields and no others.
fn closed(fields: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": fields })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$" })
}

fn stage() -> Value {
    closed(&json!({
        "needs": texts(), "run": text(), "inputs": texts(), "outputs": texts(), "cache": texts(), "env": map(&scalar()), "secrets": texts(),
        "timeout": duration(), "retry": number(), "allow_failure": { "type": "boolean" }, "when": scalar(), "reports": texts(),
        "matrix": map(&json!({ "type": "array", "items": scalar() })),
        "image": closed(&json!({ "base": text(), "copy": map(&text()), "dockerfile": text() })),
        "services": map(&closed(&json!({ "image": text(), "env": map(&scalar()), "port": number() }))),
    }))
}

/// The schema of a preset, as it stands in `schemas/preset.json`.
pub fn preset_schema() -> Value {
    let mut stage = stage();
    stage["properties"]["requires"] = texts();
    stage["properties"]["requires"]["description"] = "Globs: without a match in the folder the stage has nothing to do.".into();
    let described = |mut schema: Value, text: &str| {
        schema["description"] = text.into();
        schema
    };
    json!({
        "$schema": DIALECT,
        "title": "preset",
        "type": "object",
        "additionalProperties": false,
        "required": ["preset"],
        "properties": {
            "preset": { "type": "string", "pattern": "^[a-z0-9-]+@[0-9]+$", "description": "Name and version, as `uses:` of a webhook.yaml says it." },
            "title": described(text(), "What people read."),
            "detect": described(texts(), "Globs: a folder that holds a match is for this preset."),
            "tools": described(map(&scalar()), "Tools whose versions enter the cache key, each with the command that says its version."),
            "environment": described(map(&scalar()), "Variables baked into the image."),
            "stages": described(map(&stage), "The stages, merged under those of a webhook.yaml."),
        },
    })
}

/// The schema of `webhook.yaml`, as it stands in `schemas/webhook.json`.
pub fn schema() -> Value {
    let scale = closed(&json!({ "min": number(), "max": number(), "concurrency": number(), "idle": duration() }));
    let rate = closed(&json!({ "requests": number(), "per": { "enum": ["second", "minute", "hour", "day"] }, "burst": number() }));
    let deliver = closed(&json!({
        "path": text(), "mode": { "enum": ["async", "sync"] }, "timeout": duration(), "concurrency": number(), "order_by": text(),
        "retry": closed(&json!({ "attempts": number(), "backoff": { "enum": ["exponential", "fixed"] } })),
    }));
    let trigger = closed(&json!({
        "source": text(), "repository": text(), "calendar": text(), "app": text(), "events": texts(), "secret": text(), "verify": { "enum": ["none", "source"] },
        "filter": text(), "redact": texts(), "cron": text(), "catch_up": { "enum": ["none", "one", "all"] }, "jitter": duration(), "signature": closed(&json!({ "header": text(), "encoding": { "enum": ["hex", "base64"] }, "prefix": text(), "message": text(), "timestamp": text() })), "token": closed(&json!({ "header": text(), "prefix": text() })), "event": closed(&json!({ "header": text(), "field": text() })), "id": closed(&json!({ "header": text(), "field": text() })), "timezone": text(), "deliver": deliver,
    }));
    let handler = closed(&json!({
        "command": { "type": "array", "items": scalar() }, "port": number(), "scale": scale.clone(),
        "health": closed(&json!({ "readiness": text(), "liveness": text(), "startup": duration() })),
        "resources": closed(&json!({ "cpu": scalar(), "memory": scalar() })),
    }));
    let setting = closed(&json!({
        "type": { "enum": ["string", "integer", "number", "boolean"] }, "default": scalar(), "description": scalar(),
        "secret": { "type": "boolean" }, "required": { "type": "boolean" },
    }));
    let api = closed(&json!({
        "visibility": { "enum": ["private", "public"] }, "security": texts(), "rate_limit": rate.clone(), "plans": texts(), "openapi": text(),
        "operations": map(&closed(&json!({ "rate_limit": rate, "scopes": texts() }))), "cors": closed(&json!({ "origins": texts() })),
        "docs": { "type": "array" },
    }));
    let gates = closed(&json!({
        "checks": map(&json!({ "type": ["object", "string"] })),
        "approvals": closed(&json!({ "count": number(), "from": texts(), "by_author": { "type": "boolean" }, "expires": duration() })),
        "windows": { "type": "array", "items": closed(&json!({ "allow": text(), "deny": text(), "timezone": text(), "reason": scalar() })) },
    }));
    let environment = closed(&json!({
        "after": texts(), "promote": { "enum": ["automatic", "manual"] }, "scale": scale, "triggers": texts(), "config": map(&scalar()), "gates": gates,
    }));
    let pipeline = closed(&json!({
        "uses": text(), "branches": texts(), "paths": texts(), "concurrency": { "enum": ["newest", "all"] }, "stages": map(&stage()),
    }));
    json!({
        "$schema": DIALECT,
        "title": "webhook.yaml",
        "type": "object",
        "additionalProperties": false,
        "required": ["version", "name"],
        "properties": {
            "version": { "const": 1 }, "name": { "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" }, "title": scalar(), "description": scalar(),
            "owners": texts(), "triggers": map(&trigger), "pipeline": pipeline, "handler": handler, "config": map(&setting), "api": api,
            "environments": map(&environment),
        },
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_schemas_are_those_in_the_code() {
        for (name, schema) in [("webhook", super::schema()), ("preset", super::preset_schema())] {
            let shown = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
            let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/{}.json"), name);
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                std::fs::write(&path, &shown).expect("the schema can be written");
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), shown, "run this test with UPDATE_SCHEMAS=1");
        }
    }
}
