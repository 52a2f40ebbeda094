//! What is sent to a trigger's address and not taken: whoever runs the webhook sees that, why, how often and from where, and nobody fills the disk.

use std::process::Command;

use hookwright_testkit::{Daemon, DaemonOptions};
use reqwest::Client;
use serde_json::{Value, json};

use crate::events::{BINARY, Shop};

const TRIGGER: &str = "  issues:\n    source: github\n    secret: SIGNING\n    events: [issues.opened]\n    deliver: { path: /issues }\n";

async fn refused(daemon: &Daemon) -> Value {
    let list = daemon.get("/api/v1/triggers?webhook=shop").await;
    let items = list["items"].as_array().expect("triggers");
    items.iter().find(|item| item["environment"] == "development").expect("a trigger")["refused"].clone()
}

#[tokio::test]
async fn what_is_refused_is_counted_by_reason_with_the_last_of_it_and_survives_a_restart() {
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_GATEWAY_EVENT_LIMIT", "2000");
    let mut shop = Shop::open_with(options, TRIGGER, "").await;
    let address = shop.address("issues", "development").await;
    assert_eq!(refused(&shop.daemon).await, Value::Null, "nothing was refused yet");
    let send = async |body: String, signature: &str| {
        let request =
            Client::new().post(&address).header("X-GitHub-Event", "issues").header("X-Forwarded-For", "198.51.100.1, 203.0.113.9");
        let request = if signature.is_empty() { request } else { request.header("X-Hub-Signature-256", signature) };
        request.body(body).send().await.expect("an answer").status().as_u16()
    };
    for _ in 0..3 {
        assert_eq!(send("{\"canary\":\"7f3a\"}".to_owned(), "").await, 401);
    }
    assert_eq!(send("x".repeat(3_000), "").await, 413);
    assert_eq!(send("{}".to_owned(), &format!("sha256={}", "0".repeat(64))).await, 401);

    let seen = shop
        .daemon
        .until("what was refused", async |daemon: &Daemon| {
            let refused = refused(daemon).await;
            (refused["last_day"] == 5).then_some(refused)
        })
        .await;
    assert_eq!(seen["by_status"], json!([{ "status": 401, "count": 4 }, { "status": 413, "count": 1 }]));
    let last = &seen["last"];
    assert!(last["status"] == 401 && last["from"] == "203.0.113.9", "{seen}");
    assert!(last["reason"].as_str().is_some_and(|reason| reason.starts_with("the event is not verified: ")), "{seen}");
    assert!(!seen.to_string().contains("7f3a"));
    assert_eq!(shop.daemon.get("/api/v1/events?webhook=shop").await["items"], json!([]), "nothing of it is stored");

    let run = |token: &str| {
        let mut command = Command::new(BINARY);
        command.args(["triggers", "shop"]).env("HOOKWRIGHT_SERVER", shop.daemon.address()).env("HOOKWRIGHT_TOKEN", token);
        String::from_utf8_lossy(&command.output().expect("the client runs").stdout).into_owned()
    };
    let text = run(shop.daemon.token());
    assert!(text.contains("issues of shop in development refused 5 within a day (401: 4, 413: 1)"), "{text}");
    assert!(text.contains("from 203.0.113.9 and was answered 401: the event is not verified"), "{text}");
    let grants = json!([{ "role": "viewer", "scope": {} }]);
    let viewer = shop.daemon.post("/api/v1/tokens", json!({ "user": "vera", "grants": grants })).await;
    let text = run(viewer["token"].as_str().expect("a token"));
    assert!(text.contains("refused 5 within a day") && !text.contains("203.0.113.9"), "where it came from is for developers: {text}");

    let metrics = Client::new().get(format!("{}/metrics", shop.daemon.address())).bearer_auth(shop.daemon.token()).send().await;
    let metrics = metrics.expect("an answer").text().await.expect("a text");
    assert!(
        metrics.contains("hookwright_events_refused_total{environment=\"development\",status=\"401\",webhook=\"shop\"} 4"),
        "{metrics}"
    );

    shop.daemon.terminate().await;
    shop.daemon.restart().await;
    assert_eq!(refused(&shop.daemon).await["last_day"], 5);
}
