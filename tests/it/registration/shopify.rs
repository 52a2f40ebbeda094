//! Shopify: one subscription for each topic, over GraphQL.

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::{Value, json};

use super::faults::says;
use super::{BINARY, Forge, secret, spec, trigger_in};

const SERVER: &str = include_str!("shopify.py");

const ORDERS: &str =
    "triggers:\n  issues: { source: shopify, secret: SIGNING, events: [orders/create, products/update], deliver: { path: /orders } }\n";

fn known_to(forge: &Forge) -> DaemonOptions {
    DaemonOptions::new(BINARY)
        .variable("HOOKWRIGHT_PROVIDERS_SHOPIFY_API", &forge.address)
        .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com")
}

async fn deployed(forge: &Forge) -> (Daemon, WorkingCopy) {
    let daemon = Daemon::start_with(known_to(forge).variable("HOOKWRIGHT_PROVIDERS_SHOPIFY_TOKEN", "shpat_acme")).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(ORDERS)).commit("Begin");
    secret(&daemon, "the-client-secret").await;
    copy.push(&daemon, "shop");
    (daemon, copy)
}

fn topics(state: &Value) -> Vec<String> {
    let hooks = state["hooks"].as_object().expect("hooks");
    let mut found: Vec<String> = hooks.values().map(|hook| hook["topic"].as_str().expect("a topic").to_owned()).collect();
    found.sort();
    found
}

async fn until_topics(daemon: &Daemon, forge: &Forge, wanted: &[&str]) {
    let look = async |_: &Daemon| (topics(&forge.state().await) == wanted).then_some(());
    daemon.until(&format!("{wanted:?}"), look).await;
}

#[tokio::test]
async fn every_topic_has_one_subscription_which_is_made_again_when_shopify_deleted_it() {
    let forge = Forge::of(SERVER);
    let (mut daemon, copy) = deployed(&forge).await;
    let trigger = trigger_in(&daemon, "active").await;
    until_topics(&daemon, &forge, &["ORDERS_CREATE", "PRODUCTS_UPDATE"]).await;

    // One is gone, one is written as XML, one is there that nobody wants, and somebody else's is none of ours.
    let hook =
        |topic: &str, uri: &Value, format: &str| json!({ "id": format!("gid://{topic}"), "topic": topic, "uri": uri, "format": format });
    let url = &trigger["url"];
    forge
        .change(json!({ "page": 1, "hooks": {
            "gid://ORDERS_CREATE": hook("ORDERS_CREATE", url, "XML"),
            "gid://ORDERS_PAID": hook("ORDERS_PAID", url, "JSON"),
            "gid://APP_UNINSTALLED": hook("APP_UNINSTALLED", &json!("https://elsewhere.example"), "JSON"),
        } }))
        .await;
    daemon.kill();
    daemon.restart().await;
    until_topics(&daemon, &forge, &["APP_UNINSTALLED", "ORDERS_CREATE", "PRODUCTS_UPDATE"]).await;
    let state = forge.state().await;
    assert_eq!(state["hooks"]["gid://ORDERS_CREATE"]["format"], "JSON", "{state}");

    copy.write("webhook.yaml", &spec("")).commit("Listen no more");
    copy.push(&daemon, "shop");
    until_topics(&daemon, &forge, &["APP_UNINSTALLED"]).await;
    assert_eq!(forge.state().await["wrong"], json!([]));
}

#[tokio::test]
async fn an_app_s_own_credentials_serve_too_and_with_them_no_secret_is_named() {
    let forge = Forge::of(SERVER);
    let options = known_to(&forge)
        .variable("HOOKWRIGHT_PROVIDERS_SHOPIFY_CLIENT_ID", "acme-app")
        .variable("HOOKWRIGHT_PROVIDERS_SHOPIFY_CLIENT_SECRET", "shpss_acme");
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(&ORDERS.replace("secret: SIGNING, ", "")).replace(", required: true", "")).commit("Begin");
    copy.push(&daemon, "shop");
    trigger_in(&daemon, "active").await;
    until_topics(&daemon, &forge, &["ORDERS_CREATE", "PRODUCTS_UPDATE"]).await;
    let path = "/api/v1/webhooks/shop/environments/development/triggers/issues/sample";
    let signed = async |daemon: &Daemon| {
        let (status, _) = daemon.request(reqwest::Method::POST, path, Some(json!({ "type": "orders/create" }))).await;
        (status == 200).then_some(())
    };
    daemon.until("events to be signed with the app's secret", signed).await;
    let state = forge.state().await;
    assert_eq!((&state["wrong"], &state["grants"]), (&json!([]), &json!(1)), "{state}");
    assert!(!daemon.log().contains("shpss_acme") && !daemon.log().contains("shpat_acme"), "{}", daemon.log());
}

#[tokio::test]
async fn what_shopify_refuses_is_said_also_when_the_answer_looks_well() {
    let forge = Forge::of(SERVER);
    forge.change(json!({ "answer": 500 })).await;
    let (mut daemon, copy) = deployed(&forge).await;
    for (fault, words) in [
        (json!({ "answer": 500 }), "answered 500"),
        (json!({ "answer": 401 }), "does not take the token"),
        (json!({ "answer": 403 }), "It needs the read scope"),
        (json!({ "answer": 404 }), "does not know any more"),
        (json!({ "answer": 409 }), "refuses the hook with 409"),
        (json!({ "answer": 422 }), "It says: the shop says no"),
        (json!({ "answer": 429 }), "has had enough"),
        (json!({ "answer": "flood" }), "answers with more than"),
        (json!({ "answer": "silence" }), "does not answer in time"),
        (json!({ "answer": Value::Null, "errors": "THROTTLED" }), "has had enough"),
        (json!({ "errors": "ACCESS_DENIED" }), "does not let the token do this"),
        (json!({ "errors": Value::Null, "user_errors": "Address is not allowed" }), "It says: Address is not allowed"),
    ] {
        forge.change(fault).await;
        daemon.kill();
        daemon.restart().await;
        says(&daemon, words).await;
    }
    forge.change(json!({ "user_errors": Value::Null })).await;
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
    copy.write("webhook.yaml", &spec(&ORDERS.replace("[orders/create, products/update]", "[]"))).commit("Ask for everything");
    copy.push(&daemon, "shop");
    says(&daemon, "name those that are wanted").await;
    assert_eq!(forge.state().await["wrong"], json!([]));
}
