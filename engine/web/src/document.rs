//! The OpenAPI document: what the handlers say of themselves, and what holds for all of them, written down once. It is served, printed by
//! `hookwright schema openapi`, and kept in `schemas/openapi.json`.

use std::collections::HashMap;

use axum::extract::State;
use http::{HeaderName, Method, header};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::error::ProblemBody;
use crate::stream::{LogEnd, RunEnd, RunSnapshot, StreamRefused};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hookwright",
        version = env!("CARGO_PKG_VERSION"),
        description = "The API of a Hookwright daemon. Times are milliseconds since 1970. Lists come in pages: give `next_cursor` as `cursor` until \
            it is `null`. Errors are problem+json (RFC 9457); every answer has the header `X-Request-Id`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    components(schemas(ProblemBody, RunSnapshot, RunEnd, LogEnd, StreamRefused)),
    tags(
        (name = "webhooks", description = "What runs where."),
        (name = "runs", description = "Runs, their stages, logs and artifacts."),
        (name = "promotions", description = "Releases on their way into environments, and what people decide about them."),
        (name = "events", description = "Triggers, what they received, and what was delivered of it."),
        (name = "releases", description = "What was built."),
        (name = "secrets", description = "Secret settings of environments."),
        (name = "repositories", description = "What is hosted and watched."),
        (name = "tokens", description = "Who may do what."),
        (name = "audit", description = "Who did what."),
        (name = "health", description = "For whoever runs the daemon."),
    )
)]
struct Head;

/// What the placeholders of addresses hold.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("artifact", "The id of an artifact, `art_…`."),
    ("delivery", "The id of a delivery, `dlv_…`."),
    ("environment", "The name of an environment."),
    ("event", "The id of an event, `evt_…`."),
    ("repository", "The name of a repository."),
    ("run", "The id of a run, `run_…`."),
    ("secret", "The name of a secret setting."),
    ("stage", "The name of a stage."),
    ("token", "The id of a token, `tok_…`."),
    ("trigger", "The name of a trigger."),
    ("user", "The name of a user."),
    ("webhook", "The name of a webhook."),
];

/// Refusals that need no words of a handler: component, status, and what they mean.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("BadRequest", "400", "An id, name, cursor or parameter cannot be what it should be, or the body is no JSON."),
    ("Unauthorized", "401", "There is no token, or it is unknown or revoked."),
    ("Forbidden", "403", "The token does not cover it."),
    ("NotFound", "404", "There is no such thing, or the token does not show it."),
    ("TooLarge", "413", "The body is larger than 1 MiB."),
    ("WrongType", "415", "The body is not declared as `application/json`."),
    ("Invalid", "422", "The body is JSON, but not what is asked for."),
    ("Failed", "500", "The daemon could not do it; its log says why, under the request's id."),
];

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(document))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
async fn document(State(state): State<WebState>) -> ([(HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "application/json")], state.document.to_string())
}

/// The OpenAPI document of the API.
pub fn openapi() -> Value {
    let described = OpenApiRouter::with_openapi(Head::openapi()).merge(crate::routes()).into_openapi();
    let mut document = serde_json::to_value(described).expect("the document has string keys");
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for operation in item.as_object_mut().into_iter().flatten().map(|(_, operation)| operation) {
            complete(path, operation, &problem);
        }
    }
    let components = &mut document["components"];
    let mut responses = Map::new();
    for (name, _, description) in REFUSALS {
        responses.insert((*name).to_owned(), json!({ "description": description, "headers": request_id(), "content": problem }));
    }
    components["responses"] = Value::Object(responses);
    components["headers"] = json!({
        "RequestId": { "description": "The request, as problems and the daemon's log name it.", "schema": { "type": "string" } },
    });
    components["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "A daemon token." },
        "basic": { "type": "http", "scheme": "basic", "description": "Any user name; a daemon token as password." },
    });
    document
}

fn request_id() -> Value {
    json!({ "X-Request-Id": { "$ref": "#/components/headers/RequestId" } })
}

/// Adds to an operation what its address, its rights and its body imply.
fn complete(path: &str, operation: &mut Value, problem: &Value) {
    let placeholders: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    let described = placeholders.iter().map(|name| {
        let (_, description) = PLACEHOLDERS.iter().find(|(known, _)| known == name).expect("every placeholder is described above");
        json!({ "name": name, "in": "path", "required": true, "description": description, "schema": { "type": "string" } })
    });
    let own = operation["parameters"].as_array().cloned().unwrap_or_default();
    let parameters: Vec<Value> = described.chain(own).collect();
    let (takes_parameters, takes_body) = (!parameters.is_empty(), operation["requestBody"].is_object());
    if takes_parameters {
        operation["parameters"] = Value::Array(parameters);
    }
    let role = operation["security"][0]["bearer"][0].as_str().map(str::to_owned);
    if let Some(role) = &role {
        operation["security"] = json!([{ "bearer": [role] }, { "basic": [role] }]);
        let more = operation["description"].as_str().map(|text| format!("{text}\n\n")).unwrap_or_default();
        operation["description"] = json!(format!("{more}It takes the role `{role}`."));
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (name, status, _) in REFUSALS {
        let applies = match *status {
            "400" => takes_parameters || takes_body,
            "401" | "403" => role.is_some(),
            "404" => !placeholders.is_empty(),
            "413" | "415" | "422" => takes_body,
            _ => true,
        };
        if applies && !responses.contains_key(*status) {
            responses.insert((*status).to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
        }
    }
    responses.sort_keys();
    for (status, response) in responses.iter_mut().filter(|(_, response)| response["$ref"].is_null()) {
        response["headers"] = request_id();
        if status.as_str() >= "400" && response["content"].is_null() {
            response["content"] = problem.clone();
        }
    }
}

/// The names that queries may have, by address and method.
pub(crate) fn queries() -> HashMap<(String, Method), Vec<String>> {
    let document = openapi();
    let mut known = HashMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let names = parameters.filter(|parameter| parameter["in"] == "query").filter_map(|parameter| parameter["name"].as_str());
            known.insert((path.clone(), method), names.map(str::to_owned).collect());
        }
    }
    known
}
