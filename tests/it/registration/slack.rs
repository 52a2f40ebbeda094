//! Slack: an app's manifest, of which only what says where to send is changed, and tokens that are used once.

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::{Value, json};

use super::faults::says;
use super::{BINARY, Forge, secret, spec, trigger_in};

const SERVER: &str = include_str!("slack.py");

fn mentions(events: &str) -> String {
    let environments = "environments: { development: { promote: automatic } }\n";
    let trigger = format!("{{ source: slack, app: A0ACME, secret: SIGNING, events: [{events}], deliver: {{ path: /slack }} }}");
    format!("triggers:\n  issues: {trigger}\n{environments}")
}

async fn deployed(forge: &Forge, failpoint: Option<&str>) -> (Daemon, WorkingCopy) {
    let mut options = DaemonOptions::new(BINARY)
        .variable("HOOKWRIGHT_PROVIDERS_SLACK_REFRESH_TOKEN", "xoxe-1-first")
        .variable("HOOKWRIGHT_PROVIDERS_SLACK_API", &forge.address)
        .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com");
    if let Some(place) = failpoint {
        options = options.variable("HOOKWRIGHT_FAILPOINT", place);
    }
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(&mentions("app_mention, message"))).commit("Begin");
    secret(&daemon, "slack-signing-secret").await;
    forge.change(json!({ "verify_to": daemon.address() })).await;
    copy.push(&daemon, "shop");
    (daemon, copy)
}

async fn until_manifest(daemon: &Daemon, forge: &Forge, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    daemon.until(what, async |_: &Daemon| Some(forge.state().await["manifest"].clone()).filter(|manifest| fits(manifest))).await
}

#[tokio::test]
async fn an_app_s_events_commands_and_buttons_are_sent_here_and_the_rest_of_its_manifest_stays() {
    let forge = Forge::of(SERVER);
    let before = forge.state().await["manifest"].clone();
    let (mut daemon, copy) = deployed(&forge, None).await;
    // The address may be asked before it is there; then Slack is asked again.
    forge.change(json!({ "verify_to": Value::Null })).await;
    daemon.kill();
    daemon.restart().await;
    let url = trigger_in(&daemon, "active").await["url"].clone();
    let told = |manifest: &Value| manifest["settings"]["event_subscriptions"]["request_url"] == url;
    let manifest = until_manifest(&daemon, &forge, "the address to be told", told).await;
    let mut wanted = before.clone();
    wanted["settings"]["event_subscriptions"] = json!({ "request_url": url, "bot_events": ["app_mention", "message.channels"] });
    assert_eq!(manifest, wanted);

    forge.change(json!({ "verify_to": daemon.address() })).await;
    copy.write("webhook.yaml", &spec(&mentions("app_mention, slash_command, block_actions"))).commit("Take commands and buttons too");
    copy.push(&daemon, "shop");
    wanted["settings"]["event_subscriptions"]["bot_events"] = json!(["app_mention"]);
    wanted["settings"]["interactivity"] = json!({ "is_enabled": true, "request_url": url });
    wanted["features"]["slash_commands"][0]["url"] = url.clone();
    until_manifest(&daemon, &forge, "commands and buttons to be told", |manifest| *manifest == wanted).await;

    // Changed by somebody: mended.
    let mut changed = wanted.clone();
    changed["settings"]["event_subscriptions"]["bot_events"] = json!(["reaction_added"]);
    forge.change(json!({ "manifest": changed })).await;
    daemon.kill();
    daemon.restart().await;
    until_manifest(&daemon, &forge, "it to be mended", |manifest| *manifest == wanted).await;

    copy.write("webhook.yaml", &spec("environments: { development: { promote: automatic } }\n")).commit("Listen no more");
    copy.push(&daemon, "shop");
    let quiet = |manifest: &Value| manifest["settings"].get("event_subscriptions").is_none();
    let manifest = until_manifest(&daemon, &forge, "the address to be taken out", quiet).await;
    assert!(!manifest.to_string().contains("hooks.example.com"), "{manifest}");
    assert_eq!(manifest["oauth_config"], before["oauth_config"]);
    let state = forge.state().await;
    assert_eq!((&state["rotations"], &state["used"]), (&json!(1), &json!([])), "the pair is kept over a restart: {state}");
    assert!(!daemon.log().contains("xoxe"), "{}", daemon.log());
}

#[tokio::test]
async fn a_pair_of_tokens_is_kept_before_it_is_used_and_one_that_ended_is_replaced() {
    let forge = Forge::of(SERVER);
    let (mut daemon, _copy) = deployed(&forge, Some("after:provider.kept")).await;
    daemon.ended().await;
    daemon.unset("HOOKWRIGHT_FAILPOINT");
    daemon.restart().await;
    forge.change(json!({ "verify_to": Value::Null })).await;
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
    assert_eq!(forge.state().await["rotations"], 1);
    // Slack took the token back.
    forge.change(json!({ "tokens": [] })).await;
    daemon.kill();
    daemon.restart().await;
    let renewed = async |_: &Daemon| (forge.state().await["rotations"] == 2).then_some(());
    daemon.until("another pair", renewed).await;
    trigger_in(&daemon, "active").await;
    assert_eq!(forge.state().await["used"], json!([]), "no refresh token is used twice");
}

#[tokio::test]
async fn what_slack_refuses_is_said_and_a_refresh_token_that_is_used_up_too() {
    let forge = Forge::of(SERVER);
    forge.change(json!({ "answer": 500 })).await;
    let (mut daemon, copy) = deployed(&forge, None).await;
    for (fault, words) in [
        (json!({ "answer": 500, "verify_to": Value::Null }), "answered 500"),
        (json!({ "answer": 401 }), "does not take the token"),
        (json!({ "answer": 403 }), "It needs an app configuration token"),
        (json!({ "answer": 404 }), "knows no app `A0ACME`"),
        (json!({ "answer": 409 }), "refuses the hook with 409"),
        (json!({ "answer": 422 }), "refuses the hook with 422"),
        (json!({ "answer": 429 }), "has had enough"),
        (json!({ "answer": "flood" }), "answers with more than"),
        (json!({ "answer": "silence" }), "does not answer in time"),
        (json!({ "answer": Value::Null, "error": "ratelimited" }), "has had enough"),
        (json!({ "error": "no_permission" }), "may not manage the app `A0ACME` (`no_permission`)"),
        (json!({ "error": "invalid_app_id" }), "knows no app `A0ACME`"),
        (json!({ "error": "token_revoked" }), "does not take the token (`token_revoked`)"),
        (json!({ "error": "something_new" }), "It says: something_new"),
    ] {
        forge.change(fault).await;
        daemon.kill();
        daemon.restart().await;
        says(&daemon, words).await;
    }
    forge.change(json!({ "error": Value::Null })).await;
    copy.write("webhook.yaml", &spec(&mentions("app_mentioned"))).commit("Mistype");
    copy.push(&daemon, "shop");
    daemon.run_ended("shop", 2).await;
    daemon.kill();
    daemon.restart().await;
    says(&daemon, "It says: Illegal bot events").await;
    // An app has one address.
    let mut taken = forge.state().await["manifest"].clone();
    taken["settings"]["event_subscriptions"] = json!({ "request_url": "https://hooks.example.com/hooks/00000000000000000000000000000000" });
    forge.change(json!({ "manifest": taken })).await;
    daemon.kill();
    daemon.restart().await;
    says(&daemon, "sends to another trigger of this daemon").await;
    forge.change(json!({ "tokens": [], "refresh": "another" })).await;
    daemon.kill();
    daemon.restart().await;
    says(&daemon, "does not take the credentials (`invalid_refresh_token`)").await;
}
