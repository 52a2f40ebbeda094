//! Delivering many events again: what people mean by "those of this morning" and "all that were given up".

use reqwest::Method;
use serde_json::{Value, json};

use crate::events::{GitHub, Shop};

const TRIGGER: &str =
    "  issues:\n    source: github\n    secret: SIGNING\n    events: [issues]\n    deliver: { path: /issues, retry: { attempts: 1 } }\n";

impl Shop {
    async fn replay(&self, wish: Value) -> u64 {
        let (status, answer) = self.daemon.request(Method::POST, "/api/v1/webhooks/shop/events/replay", Some(wish)).await;
        assert_eq!(status, 200, "{answer}");
        answer["replayed"].as_u64().expect("a number")
    }
}

#[tokio::test]
async fn a_range_is_replayed_each_event_once_however_often_and_without_what_was_skipped() {
    let shop = Shop::open(TRIGGER, "").await;
    let address = shop.address("issues", "development").await;
    for (id, number) in [("a", 1), ("b", 2)] {
        assert_eq!(GitHub::issue(id, number).send(&address).await, 200);
    }
    let other = GitHub { kind: "star", id: "c", body: json!({ "action": "created", "starred_at": "now" }).to_string() };
    assert_eq!(other.send(&address).await, 200);
    shop.in_status("delivered", 2).await;
    shop.in_status("skipped", 1).await;
    assert_eq!(shop.replay(json!({ "since": 0 })).await, 2);
    shop.in_status("delivered", 4).await;
    assert_eq!(shop.replay(json!({ "since": 0 })).await, 2, "replays are not replayed beside what they repeat");
    shop.in_status("delivered", 6).await;
    assert!(shop.received().iter().skip(2).all(|one| one["headers"]["x-hookwright-replay"] == "true"));
    assert_eq!(shop.replay(json!({ "status": "delivered" })).await, 2, "each once, although it was delivered three times");
    assert_eq!(shop.replay(json!({ "status": "skipped" })).await, 1, "what is asked for is done");
    assert_eq!(shop.replay(json!({ "type": "issues.opened", "until": 1 })).await, 0);
}

#[tokio::test]
async fn all_that_was_given_up_is_replayed_until_it_was_delivered() {
    let shop = Shop::open(TRIGGER, "").await;
    let address = shop.address("issues", "development").await;
    shop.answers("issues", Some(500));
    for (id, number) in [("a", 1), ("b", 2)] {
        assert_eq!(GitHub::issue(id, number).send(&address).await, 200);
    }
    shop.in_status("dead", 2).await;
    let (is_done, text) = shop.client(&["events", "replay", "--webhook", "shop", "--dead"]);
    assert!(is_done && text.starts_with("2 deliveries"), "{text}");
    shop.in_status("dead", 4).await;
    shop.answers("issues", None);
    assert_eq!(shop.replay(json!({ "status": "dead" })).await, 2, "each event once");
    shop.in_status("delivered", 2).await;
    assert_eq!(shop.replay(json!({ "status": "dead" })).await, 0, "it was delivered since");
}

#[tokio::test]
async fn events_are_found_by_time_and_a_mistyped_webhook_is_said() {
    let shop = Shop::open(TRIGGER, "").await;
    let address = shop.address("issues", "development").await;
    assert_eq!(GitHub::issue("a", 1).send(&address).await, 200);
    shop.in_status("delivered", 1).await;
    let (_, text) = shop.client(&["events", "shop", "--since", "1h", "--type", "issues.*", "--payload", "issue.number=1"]);
    assert!(text.contains("issues.opened"), "{text}");
    let (_, text) = shop.client(&["events", "shop", "--until", "2020-01-01T00:00:00Z"]);
    assert!(text.starts_with("No event like that"), "{text}");
    let (is_done, text) = shop.client(&["events", "shop", "--since", "yesterday"]);
    assert!(!is_done && text.contains("2h"), "{text}");
    for command in [&["events", "shup"][..], &["triggers", "shup"], &["events", "replay", "--webhook", "shup", "--dead"]] {
        let (is_done, text) = shop.client(command);
        assert!(!is_done && text.contains("no webhook `shup`"), "{command:?}: {text}");
    }
    let (_, text) = shop.client(&["schema", "event", "github", "issues.opened"]);
    let schema: Value = serde_json::from_str(&text).expect("a schema");
    assert_eq!((&schema["title"], &schema["required"][0]), (&"GitHub issues.opened".into(), &"action".into()));
    let (is_done, text) = shop.client(&["schema", "event", "github", "issues.oppened.x"]);
    assert!(is_done, "a type below one that is known has its schema: {text}");
    let (is_done, text) = shop.client(&["schema", "event", "gitub"]);
    assert!(!is_done && text.contains("github"), "{text}");
}
