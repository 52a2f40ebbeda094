//! Signatures made by the libraries that event sources publish themselves, over bodies that are written in no usual way.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Client, Method};
use serde_json::json;

use crate::events::Shop;

/// GitHub and Stripe take the whole text as the key, Standard Webhooks what it encodes.
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const TRIGGERS: &str = "  github: { source: github, secret: SIGNING, deliver: { path: /github } }\n  stripe: { source: stripe, secret: SIGNING, deliver: { path: /stripe } }\n  standard: { source: standard-webhooks, secret: SIGNING, deliver: { path: /standard } }\n";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/provider-signatures/sign.mjs");

fn signed(source: &str, seconds: &str, id: &str, body: &str) -> String {
    let mut command = Command::new("node");
    command.args([SCRIPT, source, KEY, seconds, id]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("node runs");
    child.stdin.take().expect("its input").write_all(body.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "run `npm ci` in tests/fixtures/provider-signatures, as tests/run does");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn send(address: &str, (source, id): (&str, &str), signed_body: &str, body: &str) -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().to_string();
    let signature = signed(source, &now, id, signed_body);
    let request = Client::new().post(address).header("Content-Type", "application/json");
    let request = match source {
        "github" => request.header("X-GitHub-Event", "unheard-of").header("X-GitHub-Delivery", id).header("X-Hub-Signature-256", signature),
        "stripe" => request.header("Stripe-Signature", signature),
        _ => request.header("webhook-id", id).header("webhook-timestamp", now).header("webhook-signature", signature),
    };
    request.body(body.to_owned()).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn what_the_sources_own_libraries_sign_is_taken_byte_for_byte_and_nothing_else_is() {
    let shop = Shop::open(TRIGGERS, "").await;
    let path = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
    assert_eq!(shop.daemon.request(Method::PUT, path, Some(json!({ "value": KEY }))).await.0, 204);
    let large = format!("{{\"type\":\"x\",\"id\":\"3\",\"text\":\"{}\"}}", "é".repeat(400_000));
    let bodies = [
        "{\"type\":\"x\",\"id\":\"1\"}",
        "{\r\n  \"type\" : \"x\",\t\"id\": \"2\", \"text\": \"\u{1f600} \\u00e9 \u{2028}\"\r\n}\r\n",
        large.as_str(),
    ];
    for (trigger, source) in [("github", "github"), ("stripe", "stripe"), ("standard", "standard-webhooks")] {
        let address = shop.address(trigger, "development").await;
        shop.daemon
            .until("the new key to hold", async |_| {
                let body = "{\"type\":\"x\",\"id\":\"0\"}";
                (send(&address, (source, "0"), body, body).await == 200).then_some(())
            })
            .await;
        for (number, body) in bodies.iter().enumerate() {
            let id = format!("{source}-{number}");
            assert_eq!(send(&address, (source, &id), body, &format!("{body} ")).await, 401, "{source} {number}");
            assert_eq!(send(&address, (source, &id), body, body).await, 200, "{source} {number}");
        }
    }
    let received = shop.receives(12).await;
    for path in ["/github", "/stripe", "/standard"] {
        assert!(received.iter().any(|one| one["path"] == path && one["body"].as_str().is_some_and(|body| body.contains("\r\n"))), "{path}");
    }
}
