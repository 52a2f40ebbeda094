//! The JSON Schemas of `webhook.yaml` and of presets, for editors. They name every field and say what it is for, which editors show beside it; what a
//! value means is checked by the reader, whose messages are better.

use serde_json::{Map, Value, json};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A field: its name, what it is for, and what may stand in it.
type Field = (&'static str, &'static str, Value);

fn map(of: &Value) -> Value {
    json!({ "type": "object", "additionalProperties": of })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn texts() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

fn one_of(words: &[&str]) -> Value {
    json!({ "enum": words })
}

fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$" })
}

/// An object with these fields and no others.
fn closed(fields: impl IntoIterator<Item = Field>) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties(fields) })
}

/// Fields, each with what it is for.
fn properties(fields: impl IntoIterator<Item = Field>) -> Map<String, Value> {
    let described = |(name, description, mut schema): Field| {
        schema["description"] = description.into();
        (name.to_owned(), schema)
    };
    fields.into_iter().map(described).collect()
}

fn stage_fields() -> Vec<Field> {
    let image = closed([
        ("base", "The image it starts from; `scratch` unless said otherwise.", text()),
        (
            "copy",
            "What it holds, as `source: destination`. Sources are paths and globs of the workspace, of a folder the content is copied; left out: the \
             whole folder, less what `.dockerignore` or `.gitignore` name, at `/app`.",
            map(&text()),
        ),
        ("dockerfile", "A Dockerfile to build instead.", text()),
    ]);
    let service = closed([
        ("image", "The image of the container.", text()),
        ("env", "Its environment variables.", map(&scalar())),
        ("port", "The port that it listens on.", number()),
    ]);
    vec![
        ("needs", "The stages that must have succeeded before; their outputs stand in the workspace.", texts()),
        ("run", "A script for `sh -e`. The workspace is its working directory; the first command that fails ends it.", text()),
        ("inputs", "Globs of all that the stage sees and all that decides whether it must run again; left out: the whole folder.", texts()),
        (
            "outputs",
            "Globs of what it makes for the stages that need it. It comes back from the cache when no input changed. What is named here has to be there \
             once `run` has ended, or the stage fails.",
            texts(),
        ),
        ("cache", "Folders of the workspace that are kept between runs. A hint: any run may find them empty.", texts()),
        ("env", "Environment variables.", map(&scalar())),
        (
            "secrets",
            "Build secrets, set for the environment `build`; pull requests of forks get none. A stage with secrets always runs.",
            texts(),
        ),
        ("timeout", "After so long it is ended: `90s`, `10m`.", duration()),
        ("retry", "How often it is tried again when it fails; 0 unless said otherwise.", number()),
        ("allow_failure", "Whether the run goes on when it fails.", boolean()),
        (
            "when",
            "A CEL condition over `event`, `branch`, `tag` and `changed`. When it is false, the stage and what needs it are left out.",
            scalar(),
        ),
        ("reports", "Globs of JUnit files: their tests are counted, and those that failed are named on the run's page.", texts()),
        (
            "matrix",
            "A list of values for each key: a stage of each combination, with the keys as variables in capitals.",
            map(&list(&scalar())),
        ),
        ("image", "How the image is made; a stage with it makes one.", image),
        ("services", "Containers that run beside it, by their host name.", map(&service)),
    ]
}

/// The schema of a preset, as it stands in `schemas/preset.json`.
pub fn preset_schema() -> Value {
    let requires: Field = ("requires", "Globs: without a match in the folder the stage has nothing to do.", texts());
    let stage = closed(stage_fields().into_iter().chain([requires]));
    let preset = json!({ "type": "string", "pattern": "^[a-z0-9-]+@[0-9]+$" });
    json!({
        "$schema": DIALECT,
        "title": "preset",
        "type": "object",
        "additionalProperties": false,
        "required": ["preset"],
        "properties": properties([
            ("preset", "Name and version, as `uses:` of a webhook.yaml says it.", preset),
            ("title", "What people read.", text()),
            ("detect", "Globs: a folder that holds a match is for this preset.", texts()),
            ("tools", "Tools whose versions enter the cache key, each with the command that says its version.", map(&scalar())),
            ("environment", "Variables baked into the image.", map(&scalar())),
            ("stages", "The stages, merged under those of a webhook.yaml.", map(&stage)),
        ]),
    })
}

fn scale() -> Value {
    closed([
        ("min", "At least so many instances; 1 unless said otherwise, 0 sleeps when idle.", number()),
        ("max", "At most so many instances; 1 unless said otherwise.", number()),
        ("concurrency", "So many requests at a time are with one instance before another one is started.", number()),
        ("idle", "After so long without a request there are fewer instances.", duration()),
    ])
}

fn rate() -> Value {
    closed([
        ("requests", "So many requests.", number()),
        ("per", "In this time.", one_of(&["second", "minute", "hour", "day"])),
        ("burst", "So many at once.", number()),
    ])
}

fn trigger() -> Value {
    let retry = closed([
        ("attempts", "All attempts, the first included; 8 unless said otherwise.", number()),
        ("backoff", "Whether pauses between attempts grow (the default) or stay the same.", one_of(&["exponential", "fixed"])),
    ]);
    let deliver = closed([
        ("path", "Where the handler receives events; `/` unless said otherwise. It is closed to everybody else.", text()),
        (
            "mode",
            "`async` (the default): the source is told 200 once the event is stored, and it is delivered with retries. `sync`: the handler's answer is the \
             source's answer.",
            one_of(&["async", "sync"]),
        ),
        ("timeout", "How long the handler may take; `30s` unless said otherwise.", duration()),
        ("concurrency", "So many deliveries at the same time; 4 unless said otherwise.", number()),
        ("order_by", "A CEL expression over `event` and `payload`: deliveries with the same value never overtake each other.", text()),
        ("retry", "What happens when the handler does not answer with 2xx.", retry),
    ]);
    let signature = closed([
        ("header", "The header that it stands in.", text()),
        ("encoding", "How it is written; `hex` unless said otherwise.", one_of(&["hex", "base64"])),
        ("prefix", "What stands before it, such as `sha256=`.", text()),
        ("message", "What is signed: `{body}`, with `{timestamp}` and `{id}` where they are part of it.", text()),
        ("timestamp", "The header with the time at which it was signed.", text()),
    ]);
    let token =
        closed([("header", "The header that it stands in.", text()), ("prefix", "What stands before it, such as `Bearer `.", text())]);
    let place =
        || closed([("header", "The header that it stands in.", text()), ("field", "Or the field of the body, as `/type`.", text())]);
    closed([
        (
            "source",
            "The event source: github, gitlab, gitea, bitbucket, slack, google-calendar, stripe, shopify, standard-webhooks, cloudevents, generic, schedule, \
             or one that the repository describes in `triggers/<name>.yaml`.",
            text(),
        ),
        ("repository", "Whose events are meant, at code hosts: `owner/name`. Registered there when the daemon has credentials.", text()),
        ("calendar", "Which calendar is meant, for `google-calendar`.", text()),
        ("app", "Which app is meant, for `slack`.", text()),
        ("events", "The types that are wanted: `issues.opened`, or all of `issues`. Left out: every type.", texts()),
        ("secret", "The setting under `config:` that holds the secret with which events are signed.", text()),
        (
            "verify",
            "`none` says aloud that events are not verified; `source` (the default) verifies as the source signs.",
            one_of(&["none", "source"]),
        ),
        ("filter", "A CEL condition over `event` and `payload`: the handler gets what it is true for.", text()),
        ("redact", "Fields that nobody is shown and that are not kept once they were delivered: `payload.user.email`.", texts()),
        ("cron", "When a schedule fires: minute, hour, day, month and weekday; with six fields seconds first.", text()),
        ("catch_up", "What happens to times that passed while nothing ran; `none` unless said otherwise.", one_of(&["none", "one", "all"])),
        ("jitter", "By how much times of `cron` are put off at most.", duration()),
        ("signature", "How events of a `generic` source are signed (HMAC-SHA256).", signature),
        ("token", "Where a `generic` source sends the secret itself.", token),
        ("event", "Where the type of an event stands, for a `generic` source.", place()),
        ("id", "Where the id of an event stands, for a `generic` source: one that comes again is not delivered again.", place()),
        ("timezone", "The time zone of `cron`, such as `Europe/Paris`; UTC unless said otherwise.", text()),
        ("deliver", "How the handler gets events.", deliver),
    ])
}

fn handler() -> Value {
    let health = closed([
        ("readiness", "A path that answers 2xx once an instance can take requests; left out: a connection that is accepted.", text()),
        ("liveness", "A path that answers 2xx as long as an instance works; one that does not is started again.", text()),
        ("startup", "How long an instance may take until it is ready.", duration()),
    ]);
    let resources = closed([
        ("cpu", "So much of a processor: `500m` is half of one.", scalar()),
        ("memory", "So much memory: `256Mi`. An instance that takes more is ended and started again.", scalar()),
    ]);
    closed([
        ("command", "What starts it: the program and its arguments. Left out: what the image says.", list(&scalar())),
        (
            "port",
            "The port inside a container; 8080 unless said otherwise. Handlers that run as processes are given a free port instead. `$PORT` always says \
             which one to listen on.",
            number(),
        ),
        ("scale", "How many instances there are.", scale()),
        ("health", "How it is known whether an instance works.", health),
        ("resources", "What an instance may use.", resources),
    ])
}

fn setting() -> Value {
    closed([
        ("type", "What it is; `string` unless said otherwise.", one_of(&["string", "integer", "number", "boolean"])),
        ("default", "The value where an environment says nothing. A secret has none.", scalar()),
        ("description", "What it is for.", scalar()),
        ("secret", "Whether it is set with `hookwright secret set` and never shown.", boolean()),
        ("required", "Whether a promotion waits until it has a value.", boolean()),
    ])
}

fn api() -> Value {
    let operation = closed([("rate_limit", "A limit of its own.", rate()), ("scopes", "The scopes that a caller needs.", texts())]);
    closed([
        ("visibility", "Who finds it in the portal; `private` unless said otherwise.", one_of(&["private", "public"])),
        ("security", "How callers other than verified event sources authenticate: `api_key`, `oauth2`.", texts()),
        ("rate_limit", "How often it may be called.", rate()),
        ("plans", "The usage plans that it is offered under.", texts()),
        ("openapi", "The author's own OpenAPI document, merged over the one that is made.", text()),
        ("operations", "What holds for one operation, by method and path: `POST /issues`.", map(&operation)),
        ("cors", "Which pages of browsers may call it.", closed([("origins", "Their origins: `https://acme.example`.", texts())])),
        (
            "docs",
            "Documents beside the reference: a file, a link with `title` and `url`, or a `title` with `text`.",
            json!({ "type": "array" }),
        ),
    ])
}

fn gates() -> Value {
    let approvals = closed([
        ("count", "So many distinct people; 1 unless said otherwise.", number()),
        ("from", "Who counts: `@acme/leads` is a team, `user:rosa` a person. Left out: whoever may approve.", texts()),
        ("by_author", "Whether the author of the commit counts; yes, unless the daemon's settings say otherwise.", boolean()),
        ("expires", "A yes is worth nothing after so long.", duration()),
    ]);
    let window = closed([
        ("allow", "Deploy only in this time: `Mon-Fri 09:00-16:00`, or dates `2026-12-20/2027-01-03`.", text()),
        ("deny", "Never deploy in this time. It wins over `allow`.", text()),
        ("timezone", "Whose clock it is, such as `Europe/Paris`; UTC unless said otherwise.", text()),
        ("reason", "Why; shown to whoever waits.", scalar()),
    ]);
    closed([
        (
            "checks",
            "What has to hold, by name: `http`, a `soak` time, an error rate, the API, a `replay` of events, or an external judge.",
            map(&json!({ "type": ["object", "string"] })),
        ),
        ("approvals", "Who must say yes.", approvals),
        ("windows", "When deploying is allowed or denied.", list(&window)),
    ])
}

fn environment() -> Value {
    closed([
        ("after", "Where a release must have succeeded before; left out: in the environment above.", texts()),
        (
            "promote",
            "Whether a release goes on by itself once its gates pass, or after an approval. Unless said otherwise: automatically into the first one, by \
             approval into the others.",
            one_of(&["automatic", "manual"]),
        ),
        ("scale", "How many instances there are here; what is left out is the handler's.", scale()),
        ("triggers", "Which triggers fire here; left out: all but schedules, which fire in the last environment.", texts()),
        ("config", "Values of settings here.", map(&scalar())),
        ("gates", "What has to hold before a release comes in.", gates()),
    ])
}

fn pipeline() -> Value {
    closed([
        ("uses", "The preset, such as `node@1`; left out: detected from the files.", text()),
        (
            "branches",
            "Globs of what is built, where `tags/<glob>` names tags; left out: the default branch. Pull requests always are.",
            texts(),
        ),
        ("paths", "Globs of the files whose change makes a run; left out: the whole folder.", texts()),
        (
            "concurrency",
            "What a newer push does to a run of the same branch: supersede it (`newest`, the default), or nothing (`all`).",
            one_of(&["newest", "all"]),
        ),
        ("stages", "The stages by name, merged over the preset's: checkout, compile, test, image, deploy.", map(&closed(stage_fields()))),
    ])
}

/// The schema of `webhook.yaml`, as it stands in `schemas/webhook.json`.
pub fn schema() -> Value {
    let name = json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$" });
    json!({
        "$schema": DIALECT,
        "title": "webhook.yaml",
        "type": "object",
        "additionalProperties": false,
        "required": ["version", "name"],
        "properties": properties([
            ("version", "The version of the format.", json!({ "const": 1 })),
            ("name", "The webhook's name: a DNS label, unique in the daemon.", name),
            ("title", "A name for people.", scalar()),
            ("description", "What it does, for people.", scalar()),
            ("owners", "Who answers for it: `@acme/platform` is a team.", texts()),
            ("triggers", "What starts it, by name; without any it is called under its own address.", map(&trigger())),
            ("pipeline", "How it is built, tested and deployed.", pipeline()),
            ("handler", "What runs.", handler()),
            ("config", "Its settings by name, given to the handler as environment variables.", map(&setting())),
            ("api", "The webhook as a managed API.", api()),
            (
                "environments",
                "Where it goes, in order; left out: `development`, which follows every push, and `production` after one approval.",
                map(&environment()),
            ),
        ]),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

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

    /// Counts the fields below, each of which says what it is for in a sentence.
    fn described(schema: &Value, path: &str) -> usize {
        let fields = schema["properties"].as_object().into_iter().flatten();
        let below = ["additionalProperties", "items"].iter().filter_map(|part| schema.get(*part)).filter(|part| part.is_object());
        let of_fields: usize = fields
            .map(|(name, field)| {
                let path = format!("{path}.{name}");
                let description = field["description"].as_str().unwrap_or_default();
                assert!(description.len() > 8 && description.ends_with(['.', '?']), "{path}: {description:?}");
                assert!(!description.contains("  "), "{path}: {description:?}");
                1 + described(field, &path)
            })
            .sum();
        of_fields + below.map(|part| described(part, path)).sum::<usize>()
    }

    #[test]
    fn every_field_says_what_it_is_for() {
        assert!(described(&super::schema(), "webhook.yaml") > 100);
        assert!(described(&super::preset_schema(), "preset") > 20);
    }
}
