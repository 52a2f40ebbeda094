//! What is kept of events, and for how long: fields that nobody is to see, and the room that all together take.

use hookwright_testkit::DaemonOptions;
use reqwest::Method;
use serde_json::{Value, json};

use crate::events::{BINARY, GitHub, Shop, metric};

const REDACTING: &str = "  issues:\n    source: github\n    secret: SIGNING\n    redact: [payload.user.email]\n    filter: payload.issue.number > 0\n    deliver: { path: /issues, retry: { attempts: 1 } }\n";

const EMAIL: &str = "rosa@example.org";

fn personal(id: &str, number: u64) -> GitHub<'_> {
    let body = json!({ "action": "opened", "issue": { "number": number }, "user": { "email": EMAIL, "name": "Rosa" } });
    GitHub { kind: "issues", id, body: body.to_string() }
}

/// The event of the newest delivery in a status.
async fn newest(shop: &Shop, status: &str) -> String {
    shop.in_status(status, 1).await[0]["event"].as_str().expect("an event").to_owned()
}

#[tokio::test]
async fn what_a_trigger_redacts_reaches_the_handler_and_nobody_else() {
    let shop = Shop::open(REDACTING, "").await;
    let address = shop.address("issues", "development").await;
    shop.answers("issues", Some(500));
    assert_eq!(personal("1", 7).send(&address).await, 200);
    let event = newest(&shop, "dead").await;
    let sees = async |text: &str| {
        let shown = shop.daemon.get(&format!("/api/v1/events/{event}")).await.to_string();
        let (_, told) = shop.client(&["events", "show", &event]);
        let listed = shop.deliveries("&payload=user.email%3Drosa%40example.org").await.len();
        (shown.contains(text), told.contains(text), listed > 0)
    };
    assert_eq!(sees(EMAIL).await, (false, false, false));
    assert_eq!(sees("Rosa").await, (true, true, false), "and everything else is seen");
    let get = async || shop.daemon.get(&format!("/api/v1/events/{event}")).await;
    assert_eq!(get().await["redacted"], false, "one that was given up can be delivered whole");

    shop.answers("issues", None);
    let (is_done, text) = shop.client(&["events", "replay", &event]);
    assert!(is_done && !text.contains("stored body"), "{text}");
    let received = shop.receives(2).await;
    assert!(received[1]["body"].as_str().is_some_and(|body| body.contains(EMAIL)), "the handler gets what the source signed");
    assert_eq!(received[1]["headers"]["x-hookwright-redacted"], "false");
    shop.daemon.until("the body to lose it", async |_| (get().await["redacted"] == true).then_some(())).await;

    let (is_done, text) = shop.client(&["events", "replay", &event]);
    assert!(is_done && text.contains("has lost `payload.user.email`") && text.contains("cannot verify"), "{text}");
    let received = shop.receives(3).await;
    assert!(!received[2].to_string().contains(EMAIL), "{}", received[2]);
    assert_eq!(received[2]["headers"]["x-hookwright-redacted"], "true");
}

#[tokio::test]
async fn what_never_reaches_the_handler_is_stored_without_what_nobody_is_to_see() {
    let shop = Shop::open(REDACTING, "").await;
    let address = shop.address("issues", "development").await;
    assert_eq!(personal("1", 0).send(&address).await, 200);
    let event = newest(&shop, "skipped").await;
    let shown = shop.daemon.get(&format!("/api/v1/events/{event}")).await;
    assert_eq!((&shown["redacted"], shown["redact"][0].as_str()), (&Value::Bool(true), Some("payload.user.email")));
    assert_eq!(shop.daemon.request(Method::POST, &format!("/api/v1/events/{event}/replay"), Some(json!({}))).await.0, 201);
    assert!(!shop.receives(1).await[0].to_string().contains(EMAIL));
}

#[tokio::test]
async fn the_oldest_events_make_room_and_are_known_again_and_what_waits_stays() {
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_RETENTION_INTERVAL", "1s");
    let options = options.variable("HOOKWRIGHT_RETENTION_EVENT_BYTES", "20000");
    let triggers = "  issues:\n    source: github\n    secret: SIGNING\n    deliver: { path: /issues }\n  later:\n    source: github\n    secret: SIGNING\n    deliver: { path: /later, retry: { attempts: 50 } }\n";
    let shop = Shop::open_with(options, triggers, "").await;
    let (issues, later) = (shop.address("issues", "development").await, shop.address("later", "development").await);
    shop.answers("later", Some(500));
    let event =
        |id: &'static str| GitHub { kind: "issues", id, body: json!({ "issue": { "number": 1 }, "text": id.repeat(4000) }).to_string() };
    assert_eq!(event("a").send(&later).await, 200);
    for id in ["b", "c", "d", "e", "f", "g", "h", "i"] {
        assert_eq!(event(id).send(&issues).await, 200);
    }
    let room = async || shop.deliveries("&trigger=issues").await.len();
    shop.daemon.until("the oldest to go", async |_| (room().await < 8).then_some(())).await;
    let left = shop.deliveries("").await;
    assert!(left.iter().any(|delivery| delivery["trigger"] == "later"), "what is still to be delivered stays, although it is the oldest");
    let (newest, oldest) = (event("i"), event("b"));
    for sent in [&newest, &oldest] {
        assert_eq!(sent.send(&issues).await, 200);
    }
    let received = shop.received();
    assert_eq!(received.iter().filter(|one| one["path"] == "/issues").count(), 8, "neither is delivered a second time");
    assert!(room().await < 8);
    let stored = shop
        .daemon
        .until("a measure", async |_| Some(metric(&shop, "hookwright_events_stored_bytes", "").await).filter(|bytes| *bytes > 0.0))
        .await;
    assert!(stored < 26_000.0, "the limit, and what waits: {stored}");
}

#[tokio::test]
async fn what_came_before_a_restart_is_known_after_it_and_each_trigger_has_its_own() {
    let triggers = "  issues:\n    source: github\n    secret: SIGNING\n    deliver: { path: /issues }\n  others:\n    source: github\n    secret: SIGNING\n    deliver: { path: /others }\n";
    let mut shop = Shop::open(triggers, "").await;
    let address = shop.address("issues", "development").await;
    assert_eq!(personal("1", 7).send(&address).await, 200);
    shop.receives(1).await;
    shop.daemon.kill();
    shop.daemon.restart().await;
    let (issues, others) = (shop.address("issues", "development").await, shop.address("others", "development").await);
    assert_eq!(personal("1", 7).send(&issues).await, 200);
    assert_eq!(personal("another id, the same signature", 7).send(&issues).await, 200);
    assert_eq!(shop.deliveries("").await.len(), 1, "each is a repetition");
    assert_eq!(personal("1", 7).send(&others).await, 200);
    assert_eq!(shop.deliveries("").await.len(), 2, "and at another trigger it is not");
}
