//! The JSON API as strangers, viewers and admins find it: rights, pages, problems, streams, metrics.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// What every event must come within.
const PATIENCE: Duration = Duration::from_secs(60);

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python")
}

fn pipeline(copy: &WorkingCopy, stages: &str) {
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    copy.write("webhook.yaml", &format!("{spec}pipeline:\n  stages:\n{stages}")).commit("Describe the pipeline");
}

/// A daemon that deployed the example; its stage `make` leaves an artifact behind.
async fn deployed(options: DaemonOptions) -> Daemon {
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::of(&example());
    let make =
        "    make:\n      needs: [checkout]\n      run: echo made > made.txt\n      inputs: [server.py]\n      outputs: [made.txt]\n";
    let triggers = "triggers:\n  any: { source: github, verify: none, deliver: { path: /events } }\n";
    // Events stay undelivered: the handler hangs up on them.
    copy.edit("server.py", "def do_POST(self):", "def do_POST(self):\n        return\n");
    pipeline(&copy, &format!("{make}{triggers}"));
    copy.push(&daemon, "hello-python");
    let run = daemon.run_ended("hello-python", 1).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    daemon.waits_for_approval("hello-python", "production").await;
    daemon
}

async fn token(daemon: &Daemon, user: &str, role: &str, scope: Value) -> String {
    let wish = json!({ "user": user, "grants": [{ "role": role, "scope": scope }] });
    daemon.post("/api/v1/tokens", wish).await["token"].as_str().expect("a token").to_owned()
}

/// Any request with any token.
async fn ask(daemon: &Daemon, token: Option<&str>, method: &str, path: &str, body: Option<&Value>) -> Response {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = Client::new().request(method, format!("{}{path}", daemon.address())).timeout(PATIENCE);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    request.send().await.expect("the daemon answers")
}

// ---- rights ----

/// A route: how it is asked, what those who may are answered, and what an admin of `development` alone, and one of another webhook, are;
/// [`AS_ALLOWED`]: the same.
struct Row {
    operation: &'static str,
    path: &'static str,
    body: Option<Value>,
    allowed: &'static [u16],
    development: u16,
    elsewhere: u16,
}

/// Whoever it is may.
const AS_ALLOWED: u16 = 0;

fn row(operation: &'static str, path: &'static str, allowed: &'static [u16], scoped: (u16, u16)) -> Row {
    Row { operation, path, body: None, allowed, development: scoped.0, elsewhere: scoped.1 }
}

fn sent(operation: &'static str, path: &'static str, body: Value, allowed: &'static [u16], scoped: (u16, u16)) -> Row {
    Row { operation, path, body: Some(body), allowed, development: scoped.0, elsewhere: scoped.1 }
}

/// Every route of the document, in an order in which each can succeed. `{…}` of a path is filled in for each request.
fn rows() -> Vec<Row> {
    const PLACE: &str = "/api/v1/webhooks/hello-python/environments";
    let production = |action: &str| -> &'static str { Box::leak(format!("{PLACE}/production/{action}").into_boxed_str()) };
    let development = |action: &str| -> &'static str { Box::leak(format!("{PLACE}/development/{action}").into_boxed_str()) };
    let place = |action: &str| -> &'static str {
        Box::leak(format!("POST /api/v1/webhooks/{{webhook}}/environments/{{environment}}/{action}").into_boxed_str())
    };
    let secrets = "/api/v1/webhooks/{webhook}/environments/{environment}/secrets";
    let named = |method: &str| -> &'static str { Box::leak(format!("{method} {secrets}/{{secret}}").into_boxed_str()) };
    let why = || json!({ "reason": "because" });
    let viewer = json!([{ "role": "viewer", "scope": {} }]);
    let new_token = json!({ "user": "ann", "grants": viewer });
    let new_user = json!({ "name": "{name}", "password": "three words do", "grants": viewer });
    vec![
        row("GET /api/v1/openapi.json", "/api/v1/openapi.json", &[200], (200, 200)),
        row("GET /healthz", "/healthz", &[200], (200, 200)),
        row("GET /readyz", "/readyz", &[200], (200, 200)),
        row("GET /metrics", "/metrics", &[200], (403, 403)),
        row("GET /api/v1/audit", "/api/v1/audit", &[200], (403, 403)),
        row("GET /api/v1/tokens", "/api/v1/tokens", &[200], (403, 403)),
        row("GET /api/v1/users", "/api/v1/users", &[200], (403, 403)),
        row("GET /api/v1/webhooks", "/api/v1/webhooks", &[200], (200, 200)),
        row("GET /api/v1/webhooks/{webhook}", "/api/v1/webhooks/hello-python", &[200], (200, 403)),
        sent(
            "PUT /api/v1/webhooks/{webhook}/public-status",
            "/api/v1/webhooks/hello-python/public-status",
            json!({ "public": true }),
            &[204],
            (403, 403),
        ),
        row("GET /api/v1/releases", "/api/v1/releases?webhook=hello-python", &[200], (200, 403)),
        row("GET /api/v1/promotions", "/api/v1/promotions?webhook=hello-python&environment=production", &[200], (403, 403)),
        row("GET /api/v1/triggers", "/api/v1/triggers", &[200], (200, 200)),
        row("GET /api/v1/events", "/api/v1/events?webhook=hello-python", &[200], (200, 403)),
        row("GET /api/v1/events/{event}", "/api/v1/events/{event}", &[200], (200, 404)),
        sent("POST /api/v1/events/{event}/replay", "/api/v1/events/{event}/replay", json!({}), &[201], (AS_ALLOWED, 404)),
        sent(
            "POST /api/v1/webhooks/{webhook}/events/replay",
            "/api/v1/webhooks/hello-python/events/replay",
            json!({ "environment": "development", "status": "dead" }),
            &[200],
            (AS_ALLOWED, 403),
        ),
        row("POST /api/v1/deliveries/{delivery}/cancel", "/api/v1/deliveries/{delivery}/cancel", &[204, 409], (AS_ALLOWED, 404)),
        sent(
            "POST /api/v1/webhooks/{webhook}/environments/{environment}/triggers/{trigger}/sample",
            "/api/v1/webhooks/hello-python/environments/development/triggers/any/sample",
            json!({}),
            &[200],
            (AS_ALLOWED, 403),
        ),
        row("GET /api/v1/repositories", "/api/v1/repositories", &[200], (200, 200)),
        row("GET /api/v1/runs", "/api/v1/runs?webhook=hello-python", &[200], (200, 403)),
        row("GET /api/v1/runs/{run}", "/api/v1/runs/{run}", &[200], (200, 404)),
        row("GET /api/v1/runs/{run}/events", "/api/v1/runs/{run}/events", &[200], (200, 404)),
        row("GET /api/v1/runs/{run}/stages/{stage}/logs", "/api/v1/runs/{run}/stages/make/logs", &[200], (200, 404)),
        row("GET /api/v1/runs/{run}/stages/{stage}/logs/stream", "/api/v1/runs/{run}/stages/make/logs/stream", &[200], (200, 404)),
        row("GET /api/v1/artifacts/{artifact}", "/api/v1/artifacts/{artifact}", &[200], (200, 404)),
        row("GET /api/v1/webhooks/{webhook}/environments/{environment}/traffic", development("traffic?hours=2"), &[200], (200, 403)),
        row("GET /api/v1/webhooks/{webhook}/environments/{environment}/logs", development("logs"), &[200], (200, 403)),
        row("GET /api/v1/webhooks/{webhook}/environments/{environment}/logs/stream", development("logs/stream"), &[200], (200, 403)),
        row("GET /api/v1/webhooks/{webhook}/environments/{environment}/secrets", production("secrets"), &[200], (403, 403)),
        sent(named("PUT"), production("secrets/{name}"), json!({ "value": "7c1f" }), &[204], (403, 403)),
        row(named("DELETE"), production("secrets/{set_secret}"), &[204], (403, 403)),
        sent(place("override"), production("override"), why(), &[200], (403, 403)),
        sent(place("reject"), production("reject"), why(), &[200, 404], (403, 403)),
        sent(place("promote"), production("promote"), why(), &[200], (403, 403)),
        sent(place("approve"), production("approve"), why(), &[200, 404], (403, 403)),
        sent("PUT /api/v1/webhooks/{webhook}/environments/{environment}/hold", development("hold"), why(), &[200, 409], (AS_ALLOWED, 403)),
        row("DELETE /api/v1/webhooks/{webhook}/environments/{environment}/hold", development("hold"), &[204, 404], (AS_ALLOWED, 403)),
        sent(place("rollback"), development("rollback"), json!({ "release": "{release}" }), &[200, 409], (AS_ALLOWED, 403)),
        sent("POST /api/v1/tokens", "/api/v1/tokens", new_token, &[201], (403, 403)),
        sent("POST /api/v1/users", "/api/v1/users", new_user, &[201], (403, 403)),
        sent("PUT /api/v1/users/{user}", "/api/v1/users/{made_user}", json!({ "grants": viewer }), &[204], (403, 403)),
        sent(
            "PUT /api/v1/users/{user}/password",
            "/api/v1/users/{made_user}/password",
            json!({ "password": "another three words" }),
            &[204],
            (403, 403),
        ),
        // Without a provider nobody is known by one: whoever may is told so, after the rights were asked.
        sent("PUT /api/v1/users/{user}/identity", "/api/v1/users/{made_user}/identity", json!({ "subject": "7c1f" }), &[409], (403, 403)),
        row("DELETE /api/v1/users/{user}", "/api/v1/users/{made_user}", &[204], (403, 403)),
        sent("PUT /api/v1/tokens/{token}", "/api/v1/tokens/{made_token}", json!({ "grants": viewer }), &[204], (403, 403)),
        row("DELETE /api/v1/tokens/{token}", "/api/v1/tokens/{made_token}", &[204], (403, 403)),
        sent("POST /api/v1/repositories", "/api/v1/repositories", json!({ "name": "{name}" }), &[201], (403, 403)),
        // A hosted repository takes no credential: whoever may is told so, after the rights were asked.
        sent(
            "PUT /api/v1/repositories/{repository}/credential",
            "/api/v1/repositories/{made_repository}/credential",
            json!({ "password": "x" }),
            &[422],
            (403, 403),
        ),
        row("DELETE /api/v1/repositories/{repository}/credential", "/api/v1/repositories/{made_repository}/credential", &[404], (403, 403)),
        // Nothing was pushed to it.
        sent(
            "PUT /api/v1/repositories/{repository}/default-branch",
            "/api/v1/repositories/{made_repository}/default-branch",
            json!({ "branch": "main" }),
            &[409],
            (403, 403),
        ),
        row("DELETE /api/v1/repositories/{repository}", "/api/v1/repositories/{made_repository}", &[200], (403, 403)),
        sent("POST /api/v1/runs", "/api/v1/runs", json!({ "webhook": "hello-python" }), &[201], (403, 403)),
        row("POST /api/v1/runs/{run}/cancel", "/api/v1/runs/{open_run}/cancel", &[200, 409], (403, 404)),
        row("POST /api/v1/runs/{run}/retry", "/api/v1/runs/{canceled_run}/retry", &[201, 409], (403, 404)),
        sent(place("undeploy"), development("undeploy"), why(), &[200, 404], (AS_ALLOWED, 403)),
        row("DELETE /api/v1/webhooks/{webhook}", "/api/v1/webhooks/hello-python", &[200, 404], (403, 403)),
    ]
}

/// What the placeholders of the table stand for; some are made anew for every request.
struct Things {
    run: String,
    artifact: String,
    release: String,
    /// What waits to be delivered.
    event: String,
    delivery: String,
    made: usize,
}

impl Things {
    async fn of(daemon: &Daemon) -> Self {
        let run = daemon.get("/api/v1/runs").await["items"][0]["id"].as_str().expect("a run").to_owned();
        let detail = daemon.get(&format!("/api/v1/runs/{run}")).await;
        let artifacts = detail["artifacts"].as_array().expect("artifacts").iter();
        let artifact = artifacts.filter(|artifact| artifact["kind"] == "outputs").find_map(|artifact| artifact["id"].as_str());
        let release = daemon.get("/api/v1/releases").await["items"][0]["id"].as_str().expect("a release").to_owned();
        let triggers = daemon.get("/api/v1/triggers").await;
        let address = triggers["items"][0]["address"].as_str().expect("an address").to_owned();
        let sent = Client::new().post(format!("{}{address}", daemon.address())).header("X-GitHub-Event", "any").body("{}").send().await;
        assert_eq!(sent.expect("an answer").status(), 200);
        let waiting = daemon.get("/api/v1/events").await["items"][0].clone();
        let text = |field: &str| waiting[field].as_str().expect("an id").to_owned();
        let (event, delivery) = (text("event"), text("id"));
        Self { artifact: artifact.expect("an artifact").to_owned(), run, release, event, delivery, made: 0 }
    }

    async fn fill(&mut self, daemon: &Daemon, text: &str) -> String {
        self.made += 1;
        let name = format!("made-{}", self.made);
        let id = |answer: Value| answer["id"].as_str().expect("an id").to_owned();
        let start = async || id(daemon.post("/api/v1/runs", json!({ "webhook": "hello-python" })).await);
        let place = "/api/v1/webhooks/hello-python/environments/production/secrets";
        let text = text.replace("{run}", &self.run).replace("{artifact}", &self.artifact).replace("{release}", &self.release);
        let text = text.replace("{event}", &self.event).replace("{delivery}", &self.delivery);
        if text.contains("{set_secret}") {
            let (status, _) = daemon.request(Method::PUT, &format!("{place}/SECRET_{}", self.made), Some(json!({ "value": "x" }))).await;
            assert_eq!(status, 204);
            return text.replace("{set_secret}", &format!("SECRET_{}", self.made));
        }
        if text.contains("{made_token}") {
            let wish = json!({ "user": "ann", "grants": [{ "role": "viewer", "scope": {} }] });
            return text.replace("{made_token}", &id(daemon.post("/api/v1/tokens", wish).await));
        }
        if text.contains("{made_user}") {
            let grants = json!([{ "role": "viewer", "scope": {} }]);
            daemon.post("/api/v1/users", json!({ "name": name, "password": "three words do", "grants": grants })).await;
            return text.replace("{made_user}", &name);
        }
        if text.contains("{made_repository}") {
            daemon.post("/api/v1/repositories", json!({ "name": name })).await;
            return text.replace("{made_repository}", &name);
        }
        if text.contains("{open_run}") {
            return text.replace("{open_run}", &start().await);
        }
        if text.contains("{canceled_run}") {
            let run = start().await;
            daemon.request(Method::POST, &format!("/api/v1/runs/{run}/cancel"), None).await;
            daemon
                .until("the run to end", async |daemon: &Daemon| {
                    let status = daemon.get(&format!("/api/v1/runs/{run}")).await["status"].clone();
                    (status != "queued" && status != "running").then_some(())
                })
                .await;
            return text.replace("{canceled_run}", &run);
        }
        text.replace("{name}", &name.replace('-', if text.contains("secrets/") { "_" } else { "-" }))
    }
}

/// A schema of the document that allows no field beyond those it names.
fn strict(document: &Value, schema: &Value) -> jsonschema::Validator {
    fn close(value: &mut Value) {
        if let Some(object) = value.as_object_mut() {
            if object.contains_key("properties") {
                object.insert("additionalProperties".to_owned(), json!(false));
            }
            object.iter_mut().filter(|(key, _)| *key != "allOf").for_each(|(_, value)| close(value));
        }
        value.as_array_mut().into_iter().flatten().for_each(close);
    }
    let mut schemas = document["components"]["schemas"].clone();
    for (name, schema) in schemas.as_object_mut().expect("schemas") {
        // A run's detail is a run and more: what it is made of stays open.
        if name != "Run" && name != "RunDetail" {
            close(schema);
        }
    }
    let mut whole = schema.clone();
    whole["components"] = json!({ "schemas": schemas });
    jsonschema::validator_for(&whole).expect("a schema")
}

/// Holds an answer against what the document says of it.
async fn check_answer(document: &Value, operation: &str, answer: Response) {
    let (method, path) = operation.split_once(' ').expect("a method and a path");
    let status = answer.status().as_u16();
    let described = &document["paths"][path][method.to_lowercase()]["responses"];
    let mut response = &described[status.to_string()];
    if let Some(reference) = response["$ref"].as_str() {
        response = document.pointer(reference.trim_start_matches('#')).expect("a response");
    }
    assert!(!response.is_null(), "{operation} answers {status}, which the document does not know");
    let request_id = answer.headers()["x-request-id"].to_str().expect("a text").to_owned();
    let content = answer.headers().get("content-type").map(|value| value.to_str().expect("a text").to_owned()).unwrap_or_default();
    let kind = content.split(';').next().unwrap_or_default().to_owned();
    let Some(media) = response["content"].as_object() else {
        assert!(kind.is_empty(), "{operation}: {status} has a body of {kind}");
        return;
    };
    let schema = media.get(&kind).unwrap_or_else(|| panic!("{operation}: {status} is {kind}, not {media:?}"))["schema"].clone();
    if !kind.ends_with("json") {
        return;
    }
    let value: Value = answer.json().await.expect("JSON");
    if status >= 400 {
        assert_eq!(value["request_id"], request_id.as_str(), "{operation}: {value}");
    }
    let validator = strict(document, &schema);
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{operation} {status}: {errors:#?}\n{value:#}");
}

#[tokio::test]
async fn every_route_asks_for_its_role_and_answers_as_the_document_says() {
    let daemon = deployed(DaemonOptions::new(BINARY)).await;
    let document = daemon.get("/api/v1/openapi.json").await;
    let mut required: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let role = operation["security"][0]["bearer"][0].as_str().map(str::to_owned);
            required.insert(format!("{} {path}", method.to_uppercase()), role);
        }
    }
    let rows = rows();
    let tested: HashSet<&str> = rows.iter().map(|row| row.operation).collect();
    let untested: Vec<&String> = required.keys().filter(|operation| !tested.contains(operation.as_str())).collect();
    assert!(untested.is_empty(), "add a row for each of {untested:?}");

    const ROLES: [&str; 4] = ["viewer", "developer", "approver", "admin"];
    let mut tokens = Vec::new();
    for role in ROLES {
        tokens.push(token(&daemon, role, role, json!({})).await);
    }
    let of_development = token(&daemon, "dev-admin", "admin", json!({ "environment": "development" })).await;
    let of_another = token(&daemon, "other-admin", "admin", json!({ "webhook": "another" })).await;
    let mut things = Things::of(&daemon).await;
    for row in rows {
        let role = required.get(row.operation).unwrap_or_else(|| panic!("{} is gone from the document", row.operation));
        let least = role.as_ref().map_or(0, |role| ROLES.iter().position(|known| known == role).expect("a role"));
        let mut callers: Vec<(&str, Option<&str>, &[u16])> = Vec::new();
        callers.push(("nobody", None, if role.is_some() { &[401] } else { row.allowed }));
        for (at, name) in ROLES.iter().enumerate() {
            callers.push((name, Some(&tokens[at]), if at < least { &[403] } else { row.allowed }));
        }
        let scoped = [[row.development], [row.elsewhere]];
        for (name, token, one) in
            [("the admin of development", &of_development, &scoped[0]), ("the admin of another webhook", &of_another, &scoped[1])]
        {
            callers.push((name, Some(token), if *one == [AS_ALLOWED] { row.allowed } else { one }));
        }
        let mut successes = 0;
        for (caller, token, expected) in callers {
            let path = things.fill(&daemon, row.path).await;
            let body = match &row.body {
                Some(body) => Some(serde_json::from_str::<Value>(&things.fill(&daemon, &body.to_string()).await).expect("JSON")),
                None => None,
            };
            let (method, _) = row.operation.split_once(' ').expect("a method");
            let answer = ask(&daemon, token, method, &path, body.as_ref()).await;
            let status = answer.status().as_u16();
            if !expected.contains(&status) {
                panic!("{method} {path} answers {caller} with {status}, not {expected:?}: {}", answer.text().await.unwrap_or_default());
            }
            // Where even those who may are refused for the thing's own sake, being told so is the success.
            let fruitless = row.allowed.iter().all(|code| *code >= 400);
            successes += usize::from(if fruitless { row.allowed.contains(&status) } else { status < 300 });
            check_answer(&document, row.operation, answer).await;
        }
        assert!(successes > 0, "{} succeeded for nobody", row.operation);
    }
}

#[tokio::test]
async fn a_token_does_not_list_what_it_does_not_cover() {
    let daemon = deployed(DaemonOptions::new(BINARY)).await;
    let stranger = token(&daemon, "otto", "viewer", json!({ "webhook": "another" })).await;
    for list in ["webhooks", "runs", "releases", "promotions", "repositories"] {
        let answer: Value =
            ask(&daemon, Some(&stranger), "GET", &format!("/api/v1/{list}?limit=1"), None).await.json().await.expect("JSON");
        assert_eq!(answer, json!({ "items": [], "next_cursor": null }), "{list}");
    }
    let developer = token(&daemon, "dora", "viewer", json!({ "environment": "development" })).await;
    let webhook: Value = ask(&daemon, Some(&developer), "GET", "/api/v1/webhooks/hello-python", None).await.json().await.expect("JSON");
    let places: Vec<&Value> = webhook["environments"].as_array().expect("environments").iter().map(|place| &place["name"]).collect();
    assert_eq!(places, ["development"]);
    let promotions: Value = ask(&daemon, Some(&developer), "GET", "/api/v1/promotions", None).await.json().await.expect("JSON");
    let items = promotions["items"].as_array().expect("items");
    assert!(!items.is_empty() && items.iter().all(|promotion| promotion["environment"] == "development"), "{promotions}");
    let basic = Client::new().get(format!("{}/api/v1/runs", daemon.address())).basic_auth("anybody", Some(daemon.token()));
    assert_eq!(basic.send().await.expect("an answer").status(), 200, "a token is taken as the password of any user");
}

// ---- failures ----

#[tokio::test]
async fn every_failure_is_a_problem_that_names_its_request() {
    let daemon = Daemon::start(BINARY).await;
    let admin = Some(daemon.token());
    let huge = json!({ "value": "x".repeat(2 << 20) });
    let (run, secret) = ("run_00000000000070008000000000000000", "/api/v1/webhooks/a/environments/b/secrets/C");
    let not_json = json!("text");
    let typo = json!({ "user": "ann", "grants": [{ "role": "viewer", "scope": { "enviroment": "development" } }] });
    let unseen = json!({ "user": "rosa\u{202e}", "grants": [{ "role": "viewer", "scope": {} }] });
    let cases: &[(&str, &str, Option<&Value>, u16, &str)] = &[
        ("GET", "/api/v1/nothing", None, 404, "openapi.json"),
        ("GET", "/nothing", None, 404, "no such address"),
        ("PATCH", "/api/v1/runs", None, 405, "PATCH"),
        ("POST", "/healthz", None, 405, "POST"),
        ("GET", "/api/v1/runs/17", None, 400, "17"),
        ("GET", "/api/v1/webhooks/%FF", None, 400, "webhook"),
        ("GET", "/api/v1/webhooks/UPPER", None, 400, "lower-case"),
        ("GET", "/api/v1/runs?webhok=a", None, 400, "`webhook`, `status`, `cursor`, `limit`"),
        ("GET", "/api/v1/webhooks/a?x=1", None, 400, "takes none"),
        ("GET", "/api/v1/runs?limit=0", None, 400, "1 to 500"),
        ("GET", "/api/v1/runs?limit=501", None, 400, "1 to 500"),
        ("GET", "/api/v1/runs?limit=many", None, 400, "limit"),
        ("GET", "/api/v1/runs?limit=1&limit=2", None, 400, "limit"),
        ("GET", "/api/v1/runs?status=lost", None, 400, "status"),
        ("GET", "/api/v1/runs?cursor=17", None, 400, "cursor"),
        ("GET", "/api/v1/promotions?cursor=17", None, 400, "cursor"),
        ("GET", "/api/v1/webhooks?cursor=A+B", None, 400, "cursor"),
        ("GET", "/api/v1/repositories?cursor=A+B", None, 400, "cursor"),
        ("GET", "/api/v1/tokens?cursor=17", None, 400, "cursor"),
        ("GET", "/api/v1/audit?cursor=17", None, 400, "cursor"),
        ("GET", "/api/v1/releases?cursor=17", None, 400, "cursor"),
        ("GET", "/api/v1/releases?cursor=rel-0000000000000000", None, 400, "names no release"),
        ("GET", "/api/v1/webhooks/a/environments/b/secrets?cursor=1", None, 400, "cursor"),
        ("GET", &format!("/api/v1/runs/{run}"), None, 404, run),
        ("PUT", secret, Some(&huge), 413, "1048576"),
        ("PUT", secret, Some(&not_json), 422, "body"),
        ("POST", "/api/v1/tokens", Some(&typo), 422, "enviroment"),
        ("POST", "/api/v1/tokens", Some(&unseen), 422, "visible"),
    ];
    for (method, path, body, status, words) in cases {
        let answer = ask(&daemon, admin, method, path, *body).await;
        check_problem(answer, &format!("{method} {path}"), *status, words).await;
    }
    let address = format!("{}{secret}", daemon.address());
    let plain = Client::new().put(&address).bearer_auth(daemon.token()).body("{}").send().await.expect("an answer");
    check_problem(plain, "a body without a type", 415, "application/json").await;
    let broken = Client::new().put(&address).bearer_auth(daemon.token()).header("content-type", "application/json").body("{");
    check_problem(broken.send().await.expect("an answer"), "a broken body", 400, "JSON").await;
    let answer = ask(&daemon, None, "GET", "/api/v1/runs", None).await;
    assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"hookwright\"", "no browser is asked for a password");
    check_problem(answer, "no token", 401, "Bearer").await;
    for (address, status, words) in [("/git/shop.git/info/refs?service=git-upload-pack", 401, "password"), ("/hooks/nobody", 404, "")] {
        let method = if status == 401 { "GET" } else { "POST" };
        check_problem(ask(&daemon, None, method, address, None).await, address, status, words).await;
    }
    let allow = ask(&daemon, admin, "PATCH", "/api/v1/runs", None).await.headers()["allow"].clone();
    assert!(allow.to_str().is_ok_and(|allow| allow.contains("GET") && allow.contains("POST")), "{allow:?}");
}

async fn check_problem(answer: Response, what: &str, status: u16, words: &str) {
    assert_eq!(answer.status().as_u16(), status, "{what}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{what}");
    let id = answer.headers()["x-request-id"].to_str().expect("a text").to_owned();
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["request_id"], id.as_str(), "{what}: {problem}");
    assert_eq!(problem["status"], status, "{what}: {problem}");
    assert_eq!(problem["type"], "about:blank", "{what}: {problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{what} should speak of {words}: {problem}");
}

// ---- pages and the audit log ----

/// Every item of a list, read in pages.
async fn all(daemon: &Daemon, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = daemon.get(&format!("{path}?limit={limit}{cursor}")).await;
        let more = page["items"].as_array().expect("items");
        assert!(more.len() <= limit, "{path}");
        items.extend(more.iter().cloned());
        let Some(next) = page["next_cursor"].as_str() else { return items };
        assert_eq!(more.len(), limit, "only the last page of {path} is short");
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn lists_come_in_pages_that_join_without_a_gap_and_deeds_are_written_down() {
    let daemon = Daemon::start(BINARY).await;
    for at in 0..5 {
        daemon.post("/api/v1/repositories", json!({ "name": format!("shop-{at}") })).await;
        token(&daemon, &format!("user-{at}"), "viewer", json!({})).await;
        let path = format!("/api/v1/webhooks/shop/environments/production/secrets/S_{at}");
        assert_eq!(daemon.request(Method::PUT, &path, Some(json!({ "value": "x" }))).await.0, 204);
    }
    for (list, field, many) in [
        ("/api/v1/repositories", "name", 5),
        ("/api/v1/tokens", "id", 6),
        ("/api/v1/webhooks/shop/environments/production/secrets", "name", 5),
        ("/api/v1/audit", "id", 15),
    ] {
        for limit in [1, 2, 5, 100] {
            let items = all(&daemon, list, limit).await;
            let distinct: HashSet<&str> = items.iter().filter_map(|item| item[field].as_str()).collect();
            assert_eq!((items.len(), distinct.len()), (many, many), "{list} by {limit}");
        }
    }

    let again = |body: Value| ask_owned(&daemon, "POST", "/api/v1/repositories", body);
    assert_eq!(again(json!({ "name": "shop-0" })).await, 200, "the same repository again");
    let copy = WorkingCopy::of(&example());
    assert_eq!(again(json!({ "name": "shop-0", "url": format!("file://{}", copy.path().display()) })).await, 409);
    let made = daemon.post("/api/v1/tokens", json!({ "user": "eve", "grants": [{ "role": "admin", "scope": {} }] })).await;
    let (id, secret) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("a token"));
    assert_eq!(daemon.request(Method::DELETE, &format!("/api/v1/tokens/{id}"), None).await.0, 204);
    assert_eq!(daemon.request(Method::DELETE, &format!("/api/v1/tokens/{id}"), None).await.0, 404);
    assert_eq!(daemon.request(Method::DELETE, "/api/v1/repositories/shop-4", None).await.0, 200);
    assert_eq!(ask(&daemon, Some(secret), "GET", "/api/v1/runs", None).await.status(), 401);

    let audit = all(&daemon, "/api/v1/audit", 100).await;
    let of = |action: &str| -> Vec<&str> {
        let lines = audit.iter().filter(|line| line["action"] == action);
        lines.filter_map(|line| line["detail"].as_str()).collect()
    };
    assert_eq!(of("repository.added").len(), 5, "adding again adds nothing");
    assert_eq!(of("repository.removed"), ["shop-4"]);
    assert_eq!(of("token.revoked"), [format!("{id} of eve")]);
    assert!(of("token.created").contains(&format!("{id} for eve: admin of every webhook in every environment").as_str()), "{audit:?}");
    assert!(!Value::from(audit.clone()).to_string().contains(secret), "no token is ever written down");
}

async fn ask_owned(daemon: &Daemon, method: &str, path: &str, body: Value) -> u16 {
    ask(daemon, Some(daemon.token()), method, path, Some(&body)).await.status().as_u16()
}

// ---- streams ----

/// An event as the stream wrote it.
#[derive(Debug)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

/// Events as they come in.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(daemon: &Daemon, token: &str, path: &str, last: Option<&str>) -> Self {
        let mut request = Client::new().get(format!("{}{path}", daemon.address())).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; `None` when the stream has ended. Heartbeats alone are not what a test waits for.
    async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("an event or the end comes in time")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned());
                if let Some(data) = field("data:") {
                    let data = serde_json::from_str(&data).expect("the data of an event is JSON in one line");
                    return Some(Event { name: field("event:").expect("a name"), id: field("id:"), data });
                }
            }
            let chunk = self.response.chunk().await.ok()??;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn texts(event: &Event) -> Vec<String> {
    let lines = event.data["lines"].as_array().into_iter().flatten();
    lines.filter_map(|line| line["text"].as_str()).map(str::to_owned).collect()
}

/// A daemon with a run whose stage `slow` says `first`, waits for a file, and says `second`.
async fn waiting_run(options: DaemonOptions) -> (Daemon, tempfile::TempDir, String) {
    let gate = tempfile::tempdir().expect("a temporary folder");
    let daemon = Daemon::start_with(options.variable("HOOKWRIGHT_SANDBOX", "off")).await;
    let copy = WorkingCopy::of(&example());
    let file = gate.path().join("go");
    let script = format!("echo first; until [ -e {} ]; do sleep 0.02; done; echo second", file.display());
    pipeline(&copy, &format!("    slow:\n      needs: [checkout]\n      run: \"{script}\"\n"));
    copy.push(&daemon, "hello-python");
    let list = daemon.get("/api/v1/runs?webhook=hello-python").await;
    let run = list["items"][0]["id"].as_str().expect("a run").to_owned();
    (daemon, gate, run)
}

#[tokio::test]
async fn a_run_and_its_log_are_followed_as_they_happen_and_taken_up_where_they_broke_off() {
    let (daemon, gate, run) = waiting_run(DaemonOptions::new(BINARY)).await;
    let (events, log) = (format!("/api/v1/runs/{run}/events"), format!("/api/v1/runs/{run}/stages/slow/logs/stream"));
    let mut lines = Stream::open(&daemon, daemon.token(), &log, None).await;
    let first = lines.next().await.expect("a stretch of the log");
    assert_eq!((first.name.as_str(), texts(&first)), ("log", vec!["first".to_owned()]));
    drop(lines);
    let mut changes = Stream::open(&daemon, daemon.token(), &events, None).await;
    let snapshot = changes.next().await.expect("an event");
    assert_eq!((snapshot.name.as_str(), &snapshot.data["run"]["status"]), ("snapshot", &json!("running")), "{snapshot:?}");

    let followed = {
        let (address, token) = (daemon.address().to_owned(), daemon.token().to_owned());
        let (run, folder) = (run.clone(), daemon.data());
        tokio::task::spawn_blocking(move || {
            let mut command = Command::new(BINARY);
            command.args(["logs", "--follow", &run]).env("HOOKWRIGHT_SERVER", address).env("HOOKWRIGHT_TOKEN", token);
            command.current_dir(folder).output().expect("the client runs")
        })
    };
    std::fs::write(gate.path().join("go"), "").expect("a written file");
    let mut rest = Stream::open(&daemon, daemon.token(), &log, first.id.as_deref()).await.rest().await;
    let end = rest.pop().expect("an end");
    assert_eq!((end.name.as_str(), &end.data), ("end", &json!({ "status": "succeeded", "attempt": 1 })));
    assert_eq!(rest.iter().flat_map(texts).collect::<Vec<_>>(), ["second"], "nothing twice, nothing lost");

    let seen = changes.rest().await;
    // What does not wait for `slow` may have ended before the snapshot was taken.
    let before = snapshot.data["stages"].as_array().expect("stages").iter();
    let told = before.chain(seen.iter().filter(|event| event.name == "stage").map(|event| &event.data)).collect::<Vec<_>>();
    let ended = |stage: &str| told.iter().any(|told| told["stage"] == stage && told["status"] == "succeeded");
    assert!(ended("slow") && ended("deploy"), "{told:?}");
    let last = seen.last().expect("an end");
    assert_eq!((last.name.as_str(), &last.data), ("end", &json!({ "status": "succeeded" })));
    for (path, id) in [(&events, &last.id), (&log, &end.id)] {
        let request = Client::new().get(format!("{}{path}", daemon.address())).bearer_auth(daemon.token());
        let answer = request.header("Last-Event-ID", id.as_deref().expect("an id")).send().await.expect("an answer");
        assert_eq!(answer.status(), 204, "who has seen the end of {path} is told so");
    }
    let output = followed.await.expect("the client ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("--- slow\nfirst\nsecond\n"), "{text}");
}

#[tokio::test]
async fn a_stream_ends_soon_after_its_token_was_revoked_and_at_the_end_of_the_daemon() {
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_API_HEARTBEAT", "1s");
    let (mut daemon, _gate, run) = waiting_run(options).await;
    let path = format!("/api/v1/runs/{run}/events");
    let made = daemon.post("/api/v1/tokens", json!({ "user": "vera", "grants": [{ "role": "viewer", "scope": {} }] })).await;
    let mut events = Stream::open(&daemon, made["token"].as_str().expect("a token"), &path, None).await;
    assert_eq!(events.next().await.expect("an event").name, "snapshot");
    let revoke = format!("/api/v1/tokens/{}", made["id"].as_str().expect("an id"));
    assert_eq!(daemon.request(Method::DELETE, &revoke, None).await.0, 204);
    let rest = events.rest().await;
    assert_eq!(rest.last().expect("a reason").name, "refused", "{rest:?}");

    let mut open = Stream::open(&daemon, daemon.token(), &path, None).await;
    open.next().await.expect("an event");
    let began = Instant::now();
    assert!(daemon.terminate().await.success(), "{}", daemon.log());
    assert!(began.elapsed() < Duration::from_secs(15), "open streams do not hold up the end: {:?}", began.elapsed());
    open.rest().await;
}

#[tokio::test]
async fn what_strangers_wrote_comes_back_as_json_and_as_single_lines_of_events() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&example());
    let script = r"printf 'a\033[2Jb\342\200\256c\r\001\nevent: end\n\ndata: {}\n\377\n'";
    pipeline(&copy, &format!("    print:\n      needs: [checkout]\n      run: |\n        {script}\n"));
    copy.push(&daemon, "hello-python");
    let run = daemon.run_ended("hello-python", 1).await;
    let log = format!("/api/v1/runs/{}/stages/print/logs", run["id"].as_str().expect("an id"));
    let plain = daemon.get(&log).await;
    let text = plain["lines"].to_string();
    assert!(text.contains("\\u001b[2Jb\u{202e}c") && text.contains("event: end"), "{plain}");
    let events = Stream::open(&daemon, daemon.token(), &format!("{log}/stream"), None).await.rest().await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["log", "end"], "no line of a log makes an event");
    assert_eq!(events[0].data["lines"], plain["lines"]);

    daemon.waits_for_approval("hello-python", "production").await;
    let reason = "\u{0}\u{1b}]0;x\u{7}\u{202e}\"\\\u{2028}\r\n<script>";
    let path = "/api/v1/webhooks/hello-python/environments/production/reject";
    daemon.post(path, json!({ "reason": reason.trim_start_matches('\u{0}') })).await;
    let audit = daemon.get("/api/v1/audit?limit=1").await;
    assert!(audit["items"][0]["detail"].as_str().is_some_and(|detail| detail.contains("\u{202e}\"\\\u{2028}\r\n<script>")), "{audit}");
}

// ---- metrics ----

#[tokio::test]
async fn metrics_count_what_happened_and_let_no_stranger_make_a_label() {
    let daemon = deployed(DaemonOptions::new(BINARY)).await;
    daemon.answers("hello-python", "development", "Hello").await;
    for path in ["/missing", "/"] {
        daemon.call("hello-python", "development", path).await;
    }
    assert_eq!(daemon.call("canary-3b1d", "development", "/").await.0, 404);
    let text = daemon
        .until("a look at the repository", async |daemon: &Daemon| {
            let text = ask(daemon, Some(daemon.token()), "GET", "/metrics", None).await.text().await.expect("a text");
            text.contains("hookwright_git_polls_total").then_some(text)
        })
        .await;
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("`{name}` is missing:\n{text}")).parse().expect("a number")
    };
    let place = "environment=\"development\",webhook=\"hello-python\"";
    assert!(value(&format!("hookwright_gateway_requests_total{{class=\"2xx\",{place}}}")) >= 2.0);
    assert!(value(&format!("hookwright_gateway_answer_seconds_count{{{place}}}")) >= 3.0);
    assert!(value("hookwright_gateway_unrouted_total{class=\"4xx\"}") >= 1.0);
    assert_eq!(value("hookwright_runs_ended_total{status=\"succeeded\"}"), 1.0);
    assert_eq!(value("hookwright_runs{status=\"running\"}"), 0.0);
    assert_eq!(value("hookwright_stage_seconds_count{kind=\"command\",status=\"succeeded\"}"), 1.0);
    assert_eq!(value("hookwright_stage_seconds_count{kind=\"deploy\",status=\"succeeded\"}"), 1.0);
    assert_eq!(value("hookwright_promotions{status=\"waiting\"}"), 1.0);
    assert_eq!(value("hookwright_deployments{status=\"live\"}"), 1.0);
    assert_eq!(value("hookwright_queue_length"), 0.0);
    assert_eq!(value("hookwright_executor_slots_busy"), 0.0);
    assert!(value("hookwright_executor_slots") >= 1.0);
    assert_eq!(value("hookwright_store_up"), 1.0);
    assert_eq!(value("hookwright_store_errors_total"), 0.0);
    assert!(value("hookwright_git_polls_total{result=\"read\"}") >= 1.0);
    assert_eq!(value(&format!("hookwright_handler_restarts{{{place}}}")), 0.0);
    assert!(text.contains("hookwright_build_info{version="), "{text}");
    assert!(!text.contains("canary-3b1d"), "{text}");

    let open = Daemon::start_with(DaemonOptions::new(BINARY).variable("HOOKWRIGHT_METRICS_PUBLIC", "true")).await;
    assert_eq!(ask(&open, None, "GET", "/metrics", None).await.status(), 200);
}
