//! Every call is held against GitHub's own OpenAPI description, and so is every answer of the server that stands for GitHub here.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{Forge, ISSUES, deployed, only_hook, secret, spec, trigger_in};
use hookwright_testkit::Daemon;

/// Installed by `npm ci` from the npm registry; `tests/run` does it.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/github-api/node_modules/@octokit/openapi/generated/api.github.com.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("GitHub's description is missing ({error}): run `npm ci` in tests/fixtures/github-api, as tests/run does")
    });
    serde_json::from_str(&text).expect("JSON")
});

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(place) => resolved(DESCRIPTION.pointer(place.trim_start_matches('#')).unwrap_or_else(|| panic!("no {place}"))),
        None => value,
    }
}

/// Whether a schema of the description takes a value; its references lead into the description's components.
fn check(schema: &Value, value: &Value, what: &str) -> Result<(), String> {
    let mut whole = json!({ "allOf": [schema] });
    whole["components"] = json!({ "schemas": reachable(schema) });
    let validator = jsonschema::options().build(&whole).map_err(|error| format!("{what}: the schema is none: {error}"))?;
    let wrong: Vec<String> = validator.iter_errors(value).map(|error| format!("{} at {}", error, error.instance_path())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{what}: {}", wrong.join("; "))) }
}

/// The component schemas that a schema needs. `nullable` of OpenAPI 3.0 becomes a type.
fn reachable(schema: &Value) -> Value {
    let mut found = serde_json::Map::new();
    let mut open = vec![schema.clone()];
    while let Some(next) = open.pop() {
        let text = next.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            if !found.contains_key(name) {
                let component = with_nulls(&DESCRIPTION["components"]["schemas"][name]);
                open.push(component.clone());
                found.insert(name.to_owned(), component);
            }
        }
    }
    Value::Object(found)
}

fn with_nulls(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut fields: serde_json::Map<String, Value> = fields.iter().map(|(name, value)| (name.clone(), with_nulls(value))).collect();
            if fields.get("nullable") == Some(&json!(true))
                && let Some(Value::String(kind)) = fields.get("type").cloned()
            {
                fields.insert("type".to_owned(), json!([kind, "null"]));
            }
            Value::Object(fields)
        }
        Value::Array(list) => list.iter().map(with_nulls).collect(),
        other => other.clone(),
    }
}

/// What is wrong with a call and its answer, by the description.
pub(super) fn verdict(call: &Value) -> Result<String, String> {
    let (method, address) = (call["method"].as_str().unwrap_or_default().to_lowercase(), call["path"].as_str().unwrap_or_default());
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &String| {
        let wanted: Vec<&str> = template.split('/').collect();
        wanted.len() == parts.len() && wanted.iter().zip(&parts).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let paths = DESCRIPTION["paths"].as_object().expect("paths");
    let (template, operations) = paths.iter().find(|(template, _)| fits(template)).ok_or_else(|| format!("no such path: {path}"))?;
    let operation = operations.get(&method).ok_or_else(|| format!("{method} is not allowed at {template}"))?;
    let what = format!("{method} {template}");
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().map(resolved).collect();
    let given = template
        .split('/')
        .zip(&parts)
        .filter(|(name, _)| name.starts_with('{'))
        .map(|(name, text)| (name.trim_matches(['{', '}']).to_owned(), (*text).to_owned(), "path"));
    let asked = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, text)| (name.to_owned(), text.to_owned(), "query"));
    for (name, text, place) in given.chain(asked) {
        let parameter = parameters.iter().find(|parameter| parameter["name"] == name.as_str() && parameter["in"] == place);
        let parameter = parameter.ok_or_else(|| format!("{what} knows no {place} parameter `{name}`"))?;
        let value = if parameter["schema"]["type"] == "integer" {
            text.parse::<i64>().map_or(json!(text), |number| json!(number))
        } else {
            json!(text)
        };
        check(&with_nulls(&parameter["schema"]), &value, &format!("{what}, `{name}`"))?;
    }
    let body = resolved(&operation["requestBody"]);
    match (&call["body"], &body["content"]["application/json"]["schema"]) {
        (Value::Null, _) if body["required"] == true => return Err(format!("{what} needs a body")),
        (Value::Null, _) => {}
        (_, Value::Null) => return Err(format!("{what} takes no body")),
        (sent, schema) => {
            check(&with_nulls(schema), sent, &format!("the body of {what}"))?;
            let known = schema["properties"].as_object().ok_or("a body without properties")?;
            let strange: Vec<&String> =
                sent.as_object().ok_or("a body that is no object")?.keys().filter(|name| !known.contains_key(*name)).collect();
            if !strange.is_empty() {
                return Err(format!("{what} does not know {strange:?}"));
            }
        }
    }
    let status = call["status"].to_string();
    let answer = resolved(operation["responses"].get(&status).ok_or_else(|| format!("{what} never answers {status}"))?);
    let schema = &answer["content"]["application/json"]["schema"];
    if !schema.is_null() {
        check(&with_nulls(schema), &call["answer"], &format!("the answer of {what}"))?;
    }
    Ok(what)
}

#[tokio::test]
async fn every_call_to_github_is_one_that_its_official_description_allows() {
    assert!(
        verdict(&json!({ "method": "POST", "path": "/repos/a/b/hooks", "body": { "events": "push" }, "status": 201, "answer": {} }))
            .is_err()
    );
    assert!(verdict(&json!({ "method": "GET", "path": "/repos/a/b/hook", "body": null, "status": 200, "answer": [] })).is_err());

    let forge = Forge::start();
    let (mut daemon, copy) = deployed(&forge).await;
    trigger_in(&daemon, "active").await;
    copy.write("webhook.yaml", &spec(&ISSUES.replace("issues.closed", "push"))).commit("Ask for pushes too");
    copy.push(&daemon, "shop");
    let changed = async |_: &Daemon| only_hook(&forge.state().await).filter(|hook| hook["events"] == json!(["issues", "push"]));
    daemon.until("the events to be changed", changed).await;
    secret(&daemon, "another-signing-secret").await;
    daemon.kill();
    let missed = json!({ "id": 5, "guid": "missed", "delivered_at": "2999-01-01T00:00:00Z", "redelivery": false, "duration": 0.2,
        "status": "failed to connect", "status_code": 502, "event": "issues", "action": "opened", "installation_id": null, "repository_id": 1 });
    forge.change(json!({ "deliveries": [missed], "page": 1, "deliver_to": "nobody" })).await;
    daemon.restart().await;
    let is_asked = async |_: &Daemon| (forge.state().await["asked"] == json!(["missed"])).then_some(());
    daemon.until("the missed event to be asked for", is_asked).await;
    copy.write("webhook.yaml", &spec("")).commit("Listen no more");
    copy.push(&daemon, "shop");
    let gone = async |_: &Daemon| forge.state().await["hooks"].as_object().is_some_and(serde_json::Map::is_empty).then_some(());
    daemon.until("the hook to be removed", gone).await;

    let state = forge.state().await;
    let mut made: Vec<String> = Vec::new();
    let mut wrong: Vec<String> = Vec::new();
    for call in state["calls"].as_array().expect("the calls") {
        match verdict(call) {
            Ok(what) => made.push(what),
            Err(error) => wrong.push(error),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for wanted in [
        "get /repos/{owner}/{repo}/hooks",
        "post /repos/{owner}/{repo}/hooks",
        "patch /repos/{owner}/{repo}/hooks/{hook_id}",
        "delete /repos/{owner}/{repo}/hooks/{hook_id}",
        "get /repos/{owner}/{repo}/hooks/{hook_id}/deliveries",
        "post /repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
    ] {
        assert!(made.iter().any(|made| made == wanted), "{wanted} was not called: {made:?}");
    }
}
