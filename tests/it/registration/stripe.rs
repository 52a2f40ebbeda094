//! Stripe: endpoints whose secret is told once, and events that are read when they could not be delivered.

use hmac::{Hmac, KeyInit as _, Mac as _};
use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::{Value, json};
use sha2::Sha256;

use super::faults::says;
use super::{BINARY, Forge, only_hook, trigger_in};

const SERVER: &str = include_str!("stripe.py");

/// What Stripe's own typings say.
const TYPINGS: &str = include_str!("../../fixtures/stripe/webhook-endpoints.json");

fn stripe() -> Forge {
    let typings = serde_json::to_string(TYPINGS).expect("a text");
    Forge::of(&format!("import json\nTYPINGS = json.loads({typings})\n{SERVER}"))
}

fn known_to(forge: &Forge) -> DaemonOptions {
    DaemonOptions::new(BINARY)
        .variable("HOOKWRIGHT_PROVIDERS_STRIPE_TOKEN", "rk_test_51Acme")
        .variable("HOOKWRIGHT_PROVIDERS_STRIPE_API", &forge.address)
        .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com")
}

const PAID: &str = "triggers:\n  issues: { source: stripe, events: [invoice.paid, customer.created], deliver: { path: /paid } }\n";

fn spec(triggers: &str) -> String {
    format!("version: 1\nname: shop\nhandler: {{ command: [sh, -c, exec python3 -m http.server $PORT] }}\n{triggers}")
}

fn pushed(daemon: &Daemon) -> WorkingCopy {
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(PAID)).commit("Begin");
    copy.push(daemon, "shop");
    copy
}

/// Sends an example that is signed with the secret that the daemon keeps, and holds its signature against the one that Stripe would make.
async fn verifies_with(daemon: &Daemon, hook: &Value) {
    let path = "/api/v1/webhooks/shop/environments/development/triggers/issues/sample";
    let secret = hook["secret"].as_str().expect("a secret");
    let signed = async |daemon: &Daemon| {
        let (status, sample) = daemon.request(reqwest::Method::POST, path, Some(json!({ "type": "invoice.paid" }))).await;
        if status != 200 {
            return None;
        }
        let value = sample["headers"]["Stripe-Signature"].as_str()?.to_owned();
        let (time, signature) = value.strip_prefix("t=")?.split_once(",v1=")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(format!("{time}.{}", sample["body"].as_str()?).as_bytes());
        mac.verify_slice(&hex::decode(signature).ok()?).ok()
    };
    daemon.until("the secret that Stripe handed out", signed).await;
}

async fn until_hook(daemon: &Daemon, forge: &Forge, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    daemon.until(what, async |_: &Daemon| only_hook(&forge.state().await).filter(|hook| fits(hook))).await
}

#[tokio::test]
async fn an_endpoint_is_made_with_its_events_and_the_secret_that_was_told_once_is_kept() {
    let forge = stripe();
    let mut daemon = Daemon::start_with(known_to(&forge)).await;
    let copy = pushed(&daemon);
    trigger_in(&daemon, "active").await;
    let hook = only_hook(&forge.state().await).expect("one endpoint");
    assert_eq!(
        (&hook["enabled_events"], &hook["metadata"]),
        (&json!(["customer.created", "invoice.paid"]), &json!({ "managed_by": "hookwright" }))
    );
    verifies_with(&daemon, &hook).await;
    daemon.kill();
    daemon.restart().await;
    verifies_with(&daemon, &hook).await;

    // Disabled there, and with other events: repaired, and the same endpoint with the same secret.
    let (id, mut broken) = (hook["id"].as_str().expect("an id").to_owned(), hook.clone());
    (broken["status"], broken["enabled_events"]) = (json!("disabled"), json!(["charge.failed"]));
    forge.change(json!({ "hooks": { id.clone(): broken } })).await;
    daemon.kill();
    daemon.restart().await;
    until_hook(&daemon, &forge, "it to be mended", |mended| *mended == hook).await;

    // Deleted there: another one, whose secret is another one.
    forge.change(json!({ "hooks": {} })).await;
    daemon.kill();
    daemon.restart().await;
    let anew = until_hook(&daemon, &forge, "another endpoint", |_| true).await;
    assert_ne!(anew["secret"], hook["secret"]);
    verifies_with(&daemon, &anew).await;

    copy.write("webhook.yaml", &spec("")).commit("Listen no more");
    copy.push(&daemon, "shop");
    let gone = async |_: &Daemon| forge.state().await["hooks"].as_object().is_some_and(serde_json::Map::is_empty).then_some(());
    daemon.until("the endpoint to be removed", gone).await;
    let state = forge.state().await;
    assert_eq!(state["wrong"], json!([]), "{state}");
    assert!(!daemon.log().contains("whsec_") && !daemon.log().contains("rk_test_51Acme"), "{}", daemon.log());
}

#[tokio::test]
async fn a_crash_before_the_secret_is_kept_or_a_lost_answer_ends_in_one_endpoint_with_a_known_secret() {
    let forge = stripe();
    let mut daemon = Daemon::start_with(known_to(&forge).variable("HOOKWRIGHT_FAILPOINT", "before:subscription.written")).await;
    let _copy = pushed(&daemon);
    daemon.ended().await;
    let lost = only_hook(&forge.state().await).expect("one endpoint");
    daemon.unset("HOOKWRIGHT_FAILPOINT");
    forge.change(json!({ "lose_answer": true })).await;
    daemon.restart().await;
    says(&daemon, "cannot be reached").await;
    forge.change(json!({ "lose_answer": false })).await;
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
    let hook = only_hook(&forge.state().await).expect("one endpoint");
    assert_ne!(hook["secret"], lost["secret"]);
    verifies_with(&daemon, &hook).await;
    assert_eq!(forge.state().await["wrong"], json!([]));
}

#[tokio::test]
async fn what_stripe_refuses_is_said_with_its_own_words() {
    let forge = stripe();
    forge.change(json!({ "answer": 500 })).await;
    let mut daemon = Daemon::start_with(known_to(&forge)).await;
    let copy = pushed(&daemon);
    let phantom = json!({ "answer": Value::Null, "list": [{ "id": "we_999", "url": "https://elsewhere.example", "status": "enabled" }] });
    for (fault, words) in [
        (json!({ "answer": 500 }), "answered 500"),
        (json!({ "answer": 401 }), "does not take the token"),
        (json!({ "answer": 403 }), "It needs a restricted key with Webhook Endpoints write"),
        (json!({ "answer": 404 }), "does not know any more"),
        (json!({ "answer": 409 }), "It says: the request says no"),
        (json!({ "answer": 422 }), "refuses the hook with 422"),
        (json!({ "answer": 429 }), "has had enough"),
        (json!({ "answer": "flood" }), "answers with more than"),
        (json!({ "answer": "silence" }), "does not answer in time"),
    ] {
        forge.change(fault).await;
        daemon.kill();
        daemon.restart().await;
        says(&daemon, words).await;
    }
    // Others' endpoints are none of ours, and stay.
    forge.change(phantom).await;
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
    forge.change(json!({ "list": Value::Null })).await;
    copy.write("webhook.yaml", &spec(&PAID.replace("invoice.paid", "v1.invoice.paid"))).commit("Ask for thin events");
    copy.push(&daemon, "shop");
    says(&daemon, "It says: Invalid enabled_events[0]: v1.invoice.paid is not a valid event name").await;
}

fn event(id: &str, kind: &str, created: u64) -> Value {
    json!({ "id": id, "object": "event", "type": kind, "created": created, "pending_webhooks": 1, "data": { "object": { "id": "in_1" } } })
}

#[tokio::test]
async fn what_stripe_could_not_deliver_is_read_and_taken_in_once() {
    let forge = stripe();
    let mut daemon = Daemon::start_with(known_to(&forge)).await;
    let _copy = pushed(&daemon);
    trigger_in(&daemon, "active").await;
    let mut hook = only_hook(&forge.state().await).expect("one endpoint");
    let made = hook["created"].as_u64().expect("a time") - 7200;
    hook["created"] = json!(made);
    let events = json!([
        event("evt_pending", "invoice.paid", made + 7200),
        event("evt_second", "customer.created", made + 3000),
        event("evt_unwanted", "charge.failed", made + 2000),
        event("evt_first", "invoice.paid", made + 1000),
        event("evt_before_us", "invoice.paid", made - 1000),
    ]);
    daemon.kill();
    forge.change(json!({ "hooks": { hook["id"].as_str().expect("an id"): hook }, "events": events, "page": 2 })).await;
    daemon.restart().await;
    let stored = async |daemon: &Daemon| {
        let list = daemon.get("/api/v1/events?webhook=shop").await;
        let items = list["items"].as_array()?.clone();
        (items.len() >= 2).then_some(items)
    };
    let items = daemon.until("the events to be taken in", stored).await;
    let mut found = Vec::new();
    for item in &items {
        let event = daemon.get(&format!("/api/v1/events/{}", item["event"].as_str().expect("an id"))).await;
        assert_eq!(event["verified"], true, "{event}");
        assert!(event.to_string().contains("x-hookwright-caught-up"), "{event}");
        found.push(event["source_id"].as_str().expect("an id").to_owned());
    }
    found.sort();
    assert_eq!(found, ["evt_first", "evt_second"]);
    // Stripe's list still has them: they are known.
    daemon.kill();
    forge.change(json!({ "calls": [] })).await;
    daemon.restart().await;
    let looked = async |_: &Daemon| {
        let calls = forge.state().await["calls"].as_array()?.iter().filter(|call| *call == "GET /v1/events 200").count();
        (calls >= 2).then_some(())
    };
    daemon.until("another look", looked).await;
    assert_eq!(daemon.get("/api/v1/events?webhook=shop").await["items"].as_array().map(Vec::len), Some(2));
    let state = forge.state().await;
    assert!(!state["calls"].to_string().contains("/v1/events/evt_"), "{state}");
    assert_eq!(state["wrong"], json!([]), "{state}");
}
