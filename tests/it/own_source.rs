//! An event source that a repository brings itself: part of what was tested and promoted, verified as it says, and never asked over the network.

use std::time::{SystemTime, UNIX_EPOCH};

use hookwright_testkit::{DaemonOptions, WorkingCopy};
use reqwest::{Client, Method};
use serde_json::json;

use crate::events::{BINARY, SECRET, Shop, python, spec};

const MINE: &str = r#"name: mine
title: Our warehouse
verify:
  - hmac: { headers: [X-Signature], prefix: "v1=", message: "{timestamp}.{body}", timestamps: [X-Time] }
kind: [{ field: /type }]
id: [{ field: /id }]
manual: "Tell the warehouse: {address}"
events:
  order.paid: '{"type":"order.paid","id":"{id}","order":{"number":7}}'
"#;

const TRIGGER: &str = "  orders:\n    source: mine\n    secret: SIGNING\n    events: [order.paid]\n    deliver: { path: /orders }\n";

/// Sends what the warehouse would, signed by another implementation than the one under test.
async fn send(address: &str, body: &str, off: i64) -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().to_string();
    let now = now.parse::<i64>().expect("a number") + off;
    let script =
        "import hashlib,hmac,sys; print('v1='+hmac.new(sys.argv[1].encode(), sys.stdin.buffer.read(), hashlib.sha256).hexdigest())";
    let signature = python(script, SECRET, format!("{now}.{body}").as_bytes());
    let request = Client::new().post(address).header("X-Time", now.to_string()).header("X-Signature", signature);
    request.body(body.to_owned()).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_repositorys_own_source_is_verified_as_its_definition_says_and_shown_like_any_other() {
    let shop = Shop::open_beside(DaemonOptions::new(BINARY), (TRIGGER, ""), &[("triggers/mine.yaml", MINE)]).await;
    let address = shop.address("orders", "development").await;
    let body = r#"{"type":"order.paid","id":"1","order":{"number":8}}"#;
    assert_eq!(send(&address, body, 0).await, 200);
    assert_eq!(send(&address, body, 1).await, 200, "the same again, signed anew");
    assert_eq!(send(&address, body, -301).await, 401);
    assert_eq!(Client::new().post(&address).body(body).send().await.expect("an answer").status(), 401);
    let received = shop.receives(1).await;
    assert_eq!((received.len(), received[0]["body"].as_str()), (1, Some(body)));

    let (is_done, text) = shop.client(&["events", "send", "shop", "orders", "--event", "order.paid", "--set", "order.number=9"]);
    assert!(is_done, "{text}");
    assert!(shop.receives(2).await[1]["body"].as_str().is_some_and(|body| body.contains("\"number\":9")));
    let (is_done, text) = shop.client(&["events", "send", "shop", "orders", "--event", "order.lost"]);
    assert!(!is_done && text.contains("order.paid"), "{text}");
    let (_, text) = shop.client(&["triggers", "shop"]);
    assert!(text.contains("mine") && text.contains("/hooks/"), "{text}");
}

#[tokio::test]
async fn what_was_promoted_verifies_as_it_was_tested_whatever_is_pushed_later() {
    let shop = Shop::open_beside(DaemonOptions::new(BINARY), (TRIGGER, ""), &[("triggers/mine.yaml", MINE)]).await;
    let (development, body) = (shop.address("orders", "development").await, r#"{"type":"order.paid","id":"1"}"#);
    let release = shop.daemon.get("/api/v1/releases?webhook=shop").await["items"][0]["id"].clone();
    // The next commit signs under another name; nothing but the definition changed.
    shop.copy.write("triggers/mine.yaml", &MINE.replace("v1=", "v2=")).commit("Sign anew");
    shop.copy.push(&shop.daemon, "shop");
    shop.daemon.run_ended("shop", 2).await;
    let newer = shop.daemon.get("/api/v1/releases?webhook=shop").await["items"][0]["id"].clone();
    assert_ne!(release, newer, "the definition is part of the release");
    shop.daemon.until("the new definition to hold", async |_| (send(&development, body, 0).await == 401).then_some(())).await;
    let (path, wish) = ("/api/v1/webhooks/shop/environments/development/rollback", json!({ "release": release, "reason": "as tested" }));
    let (status, answer) = shop.daemon.request(Method::POST, path, Some(wish)).await;
    assert!((200..300).contains(&status), "{answer}");
    shop.daemon.until("the definition of the release to hold", async |_| (send(&development, body, 0).await == 200).then_some(())).await;
}

#[tokio::test]
async fn mistakes_in_an_own_source_fail_the_run_and_are_shown_before_by_validate_and_the_source_by_plan() {
    let shop = Shop::open_beside(DaemonOptions::new(BINARY), (TRIGGER, ""), &[("triggers/mine.yaml", MINE)]).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(TRIGGER, "")).write("server.py", "").write("triggers/mine.yaml", MINE);
    let folder = copy.path().to_str().expect("a path").to_owned();
    let (is_done, text) = shop.client(&["plan", &folder]);
    assert!(is_done && text.contains("HMAC-SHA256 over `{timestamp}.{body}` in X-Signature") && text.contains("order.paid"), "{text}");
    copy.write("triggers/mine.yaml", &MINE.replace("kind:", "knd:"));
    let (is_done, text) = shop.client(&["validate", &folder]);
    assert!(!is_done && text.contains("triggers/mine.yaml:5:1") && text.contains("did you mean `kind`?"), "{text}");

    shop.copy.write("triggers/mine.yaml", &MINE.replace("kind:", "knd:")).commit("A mistake");
    shop.copy.push(&shop.daemon, "shop");
    let run = shop.daemon.run_ended("shop", 2).await;
    assert_eq!(run["status"], "failed");
    assert!(run["status_reason"].as_str().is_some_and(|reason| reason.contains("triggers/mine.yaml:5:1")), "{run}");
}
