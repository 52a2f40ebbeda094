//! GitLab: signing tokens where the server signs, the older token where the secret is no such token, and never one for the other.

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::{Value, json};

use super::faults::says;
use super::{BINARY, Forge, only_hook, secret, spec, trigger_in};

const SERVER: &str = include_str!("gitlab.py");

const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const ISSUES: &str =
    "triggers:\n  issues: { source: gitlab, repository: acme/shop, secret: SIGNING, events: [issue], deliver: { path: /issues } }\n";

async fn deployed(forge: &Forge, value: &str) -> (Daemon, WorkingCopy) {
    let options = DaemonOptions::new(BINARY)
        .variable("HOOKWRIGHT_PROVIDERS_GITLAB_TOKEN", "glpat-acme")
        .variable("HOOKWRIGHT_PROVIDERS_GITLAB_API", &forge.address)
        .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com");
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(ISSUES)).commit("Begin");
    secret(&daemon, value).await;
    copy.push(&daemon, "shop");
    (daemon, copy)
}

/// Has GitLab send an event; returns how the daemon answered.
async fn send(forge: &Forge, daemon: &Daemon, by: &str) -> u64 {
    let message = json!({ "send": [daemon.address(), by] });
    let answer = reqwest::Client::new().post(format!("{}/_", forge.address)).json(&message).send().await.expect("an answer");
    answer.json::<Value>().await.expect("JSON")["status"].as_u64().expect("a status")
}

#[tokio::test]
async fn a_secret_that_is_a_signing_token_is_registered_as_one_and_the_token_in_the_clear_is_not_taken() {
    let forge = Forge::of(SERVER);
    let (daemon, _copy) = deployed(&forge, "a-plain-token").await;
    trigger_in(&daemon, "active").await;
    let hook = only_hook(&forge.state().await).expect("one hook");
    assert_eq!((&hook["token"], &hook["signing_token"]), (&json!("a-plain-token"), &Value::Null));
    assert_eq!(send(&forge, &daemon, "token").await, 200);

    secret(&daemon, SIGNING).await;
    let rotated = async |_: &Daemon| only_hook(&forge.state().await).filter(|hook| hook["signing_token"] == SIGNING);
    let hook = daemon.until("the signing token to be told", rotated).await;
    assert_eq!(hook["token"], "", "the older token is taken away");
    let taken = async |daemon: &Daemon| (send(&forge, daemon, "signature").await == 200).then_some(());
    daemon.until("a signed event to be taken", taken).await;
    assert_eq!(send(&forge, &daemon, "token").await, 401);
    assert_eq!(forge.state().await["wrong"], json!([]));
}

#[tokio::test]
async fn an_older_server_is_not_given_a_signing_token_that_it_would_not_sign_with() {
    let forge = Forge::of(SERVER);
    forge.change(json!({ "version": "18.11.3" })).await;
    let (mut daemon, _copy) = deployed(&forge, SIGNING).await;
    says(&daemon, "signs from 19 on").await;
    assert!(only_hook(&forge.state().await).is_none());
    secret(&daemon, "a-plain-token").await;
    daemon.kill();
    daemon.restart().await;
    let registered = async |_: &Daemon| only_hook(&forge.state().await).filter(|hook| hook["token"] == "a-plain-token");
    daemon.until("the older token to be told", registered).await;
}

#[tokio::test]
async fn a_hook_that_gitlab_switched_off_is_made_anew() {
    let forge = Forge::of(SERVER);
    let (mut daemon, _copy) = deployed(&forge, SIGNING).await;
    trigger_in(&daemon, "active").await;
    for (status, until) in [("temporarily_disabled", json!("2026-11-24T08:00:00Z")), ("disabled", Value::Null)] {
        let mut off = only_hook(&forge.state().await).expect("one hook");
        (off["alert_status"], off["disabled_until"]) = (json!(status), until);
        let before = off["id"].clone();
        forge.change(json!({ "hooks": { before.to_string(): off } })).await;
        daemon.kill();
        daemon.restart().await;
        let mended = async |_: &Daemon| only_hook(&forge.state().await).filter(|hook| hook["alert_status"] == "executable");
        let hook = daemon.until(status, mended).await;
        assert!(hook["id"] != before && hook["signing_token"] == SIGNING, "{hook}");
    }
    assert_eq!(forge.state().await["wrong"], json!([]));
}

#[tokio::test]
async fn what_gitlab_refuses_is_said_with_its_own_words() {
    let forge = Forge::of(SERVER);
    forge.change(json!({ "answer": 500 })).await;
    let (mut daemon, _copy) = deployed(&forge, SIGNING).await;
    for (fault, words) in [
        (json!({ "answer": 401 }), "does not take the token"),
        (json!({ "answer": 403 }), "It needs the scope api"),
        (json!({ "answer": 404 }), "knows no repository `acme/shop`"),
        (json!({ "answer": 409 }), "refuses the hook with 409"),
        (json!({ "answer": 422 }), "It says: the server says no"),
        (json!({ "answer": 429 }), "has had enough"),
        (json!({ "answer": 500 }), "answered 500"),
        (json!({ "answer": "flood" }), "answers with more than"),
        (json!({ "answer": "silence" }), "does not answer in time"),
        (json!({ "answer": Value::Null, "version": "" }), "does not tell its version"),
        (json!({ "version": "19.0.0", "lie": { "not": "a list" } }), "as something else than a list"),
    ] {
        forge.change(fault).await;
        daemon.kill();
        daemon.restart().await;
        says(&daemon, words).await;
    }
}
