//! The daemon's clock jumps by an hour, ahead and back, under what depends on the time: signed timestamps and schedules.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookwright_testkit::{Daemon, MovedClock, WorkingCopy};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sha2::Sha256;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// The key of Standard Webhooks' own examples.
const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn spec(minute: u64) -> String {
    format!(
        "version: 1\nname: shop\nhandler: {{ command: [sh, -c, exec python3 -m http.server $PORT] }}\n\
         config:\n  SIGNING: {{ type: string, secret: true, required: true }}\n\
         triggers:\n  signed: {{ source: standard-webhooks, secret: SIGNING, deliver: {{ path: /signed }} }}\n  \
         hourly: {{ source: schedule, cron: \"{minute} * * * *\", catch_up: all, deliver: {{ path: /hourly }} }}\n\
         environments:\n  development: {{ promote: automatic, triggers: [signed, hourly] }}\n"
    )
}

/// Sends an event that is signed at the true time; the status and the words of the answer.
async fn send(address: &str, id: &str) -> (u16, String) {
    let seconds = now().to_string();
    let body = r#"{"type":"thing.made"}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(KEY).expect("base64")).expect("any length");
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let request = Client::new().post(address).header("webhook-id", id).header("webhook-timestamp", seconds);
    let answer = request.header("webhook-signature", signature).header("content-type", "application/json").body(body).send().await;
    let answer = answer.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

async fn fired(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/api/v1/events?webhook=shop&trigger=hourly").await["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn an_hour_ahead_and_back_lets_no_wrong_signature_in_and_fires_no_schedule_twice() {
    let clock = MovedClock::new();
    let mut daemon = Daemon::start_with(clock.options(BINARY).variable("HOOKWRIGHT_SANDBOX", "off")).await;
    let copy = WorkingCopy::new();
    // Half an hour from now: the true time does not reach it meanwhile, and the clock an hour ahead has passed it once.
    copy.write("webhook.yaml", &spec((now() / 60 + 30) % 60)).commit("Begin");
    let secret = json!({ "value": format!("whsec_{KEY}") });
    assert_eq!(daemon.request(Method::PUT, "/api/v1/webhooks/shop/environments/development/secrets/SIGNING", Some(secret)).await.0, 204);
    copy.push(&daemon, "shop");
    let address = daemon
        .until("the trigger's address", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/triggers").await;
            let found = list["items"].as_array()?.iter().find(|item| item["name"] == "signed")?.clone();
            Some(found["address"].as_str()?.to_owned())
        })
        .await;
    let address = move |daemon: &Daemon| format!("{}/hooks/{}", daemon.address(), address.rsplit('/').next().unwrap_or_default());
    daemon.until("an event to be taken", async |daemon: &Daemon| (send(&address(daemon), "msg_first").await.0 == 200).then_some(())).await;

    for (number, offset) in [(1, "+1h"), (2, "-1h"), (3, "+1h")] {
        clock.jump(offset);
        daemon.kill();
        daemon.restart().await;
        let id = format!("msg_{number}");
        let refused = async |daemon: &Daemon| Some(send(&address(daemon), &id).await).filter(|(status, _)| *status != 404);
        let (status, words) = daemon.until("the trigger to be there again", refused).await;
        assert_eq!(status, 401, "{offset}: {words}");
        assert!(words.contains("300 s off"), "{offset}: {words}");
        if offset == "+1h" {
            daemon.until("the schedule to have fired", async |daemon: &Daemon| (!fired(daemon).await.is_empty()).then_some(())).await;
        }
        assert!(fired(&daemon).await.len() <= 1, "{offset}: {:?}", fired(&daemon).await);
    }
    clock.jump("+0");
    daemon
        .until("events to be taken again", async |daemon: &Daemon| (send(&address(daemon), "msg_last").await.0 == 200).then_some(()))
        .await;
    assert_eq!(fired(&daemon).await.len(), 1, "once, for the one hour that began");
}
