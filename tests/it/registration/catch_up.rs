//! What came while nobody answered is asked for again, and arrives once.

use hookwright_testkit::{Daemon, MovedClock};
use serde_json::{Value, json};

use super::{BINARY, Forge, deployed, deployed_with, trigger_in};

fn listed(id: u64, guid: &str, status: u64) -> Value {
    json!({ "id": id, "guid": guid, "delivered_at": "2999-01-01T00:00:00Z", "redelivery": false, "duration": 0.2, "status": "some status",
        "status_code": status, "event": "issues", "action": "opened", "installation_id": null, "repository_id": 1 })
}

fn with(mut delivery: Value, changes: &[(&str, Value)]) -> Value {
    for (name, value) in changes {
        delivery[*name] = value.clone();
    }
    delivery
}

async fn asked(forge: &Forge) -> Vec<String> {
    let state = forge.state().await;
    state["asked"].as_array().expect("a list").iter().map(|guid| guid.as_str().expect("a text").to_owned()).collect()
}

/// Waits until something was asked for; what is older is asked for before it.
async fn until_asked(daemon: &Daemon, forge: &Forge, guid: &str) -> Vec<String> {
    daemon
        .until(guid, async |_: &Daemon| {
            let asked = asked(forge).await;
            asked.iter().any(|asked| asked == guid).then_some(asked)
        })
        .await
}

/// The events of the webhook, by what their source calls them.
async fn stored(daemon: &Daemon, count: usize) -> Vec<String> {
    let all = async |daemon: &Daemon| {
        let list = daemon.get("/api/v1/events?webhook=shop").await;
        let mut found = Vec::new();
        for delivery in list["items"].as_array()? {
            let event = daemon.get(&format!("/api/v1/events/{}", delivery["event"].as_str()?)).await;
            found.push(event["source_id"].as_str()?.to_owned());
        }
        found.sort();
        (found.len() >= count).then_some(found)
    };
    daemon.until("the events to arrive", all).await
}

#[tokio::test]
async fn what_failed_while_the_daemon_was_away_is_asked_for_and_arrives_once() {
    let forge = Forge::start();
    let (mut daemon, _copy) = deployed(&forge).await;
    trigger_in(&daemon, "active").await;
    // It was stored, and the answer was lost on its way.
    forge.change(json!({ "deliveries": [listed(1000, "stored-without-an-answer", 502)] })).await;
    daemon.kill();
    daemon.restart().await;
    forge.change(json!({ "deliver_to": daemon.address() })).await;
    until_asked(&daemon, &forge, "stored-without-an-answer").await;
    stored(&daemon, 1).await;

    daemon.kill();
    let old = ("delivered_at", json!("2020-01-01T00:00:00Z"));
    forge
        .change(json!({ "asked": [], "deliver_to": Value::Null, "page": 4, "deliveries": [
            listed(1110, "newest-missed", 502),
            with(listed(1109, "missed-then-repeated", 200), &[("redelivery", json!(true))]),
            listed(1108, "arrived", 200),
            with(listed(1107, "a-ping", 502), &[("event", json!("ping")), ("action", Value::Null)]),
            listed(1106, "missed", 0),
            listed(1105, "stored-without-an-answer", 504),
            listed(1104, "missed-then-repeated", 502),
            with(listed(1103, "too-old", 502), &[old]),
            listed(1102, "oldest-missed", 401),
        ] }))
        .await;
    daemon.restart().await;
    forge.change(json!({ "deliver_to": daemon.address() })).await;
    let asked = until_asked(&daemon, &forge, "newest-missed").await;
    let mut sorted = asked.clone();
    sorted.sort();
    assert_eq!(sorted, ["missed", "newest-missed", "oldest-missed"], "{asked:?}");
    let events = stored(&daemon, 4).await;
    assert_eq!(events, ["missed", "newest-missed", "oldest-missed", "stored-without-an-answer"]);
}

#[tokio::test]
async fn a_delivery_that_fails_again_is_asked_for_three_times_and_never_more() {
    let forge = Forge::start();
    let clock = MovedClock::new();
    let (mut daemon, _copy) = deployed_with(forge.known_to(clock.options(BINARY))).await;
    trigger_in(&daemon, "active").await;
    forge.change(json!({ "deliver_to": "nobody" })).await;
    for (round, offset) in ["+0", "+1h", "-1h", "+3h", "+6h", "+12h", "+24h"].into_iter().enumerate() {
        daemon.kill();
        let mut deliveries = forge.state().await["deliveries"].as_array().expect("a list").clone();
        let number = round as u64 * 10 + 1;
        if round == 0 {
            deliveries.insert(0, listed(number, "hopeless", 502));
        }
        // One more, so that the end of a look shows.
        deliveries.insert(0, listed(1_000_000 + number, &format!("round {round}"), 502));
        forge.change(json!({ "deliveries": deliveries })).await;
        clock.jump(offset);
        daemon.restart().await;
        until_asked(&daemon, &forge, &format!("round {round}")).await;
        // Put back, the clock says of what was found then that it was found first: that one is asked for before the hopeless one.
        let times = async |_: &Daemon| (asked(&forge).await.iter().filter(|guid| *guid == "hopeless").count() > round.min(2)).then_some(());
        daemon.until("the hopeless one to be asked for", times).await;
    }
    let asked = asked(&forge).await;
    assert_eq!(asked.iter().filter(|guid| *guid == "hopeless").count(), 3, "{asked:?}");
}
