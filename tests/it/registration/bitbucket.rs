//! Bitbucket Cloud and Data Center: one event source, two APIs.

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::{Value, json};

use super::{BINARY, Forge, only_hook, secret, spec, trigger_in};

const SERVER: &str = include_str!("bitbucket.py");

/// Deploys a trigger, changes its secret, mends it and takes it away; returns the hook as it stood first.
async fn life(provider: &str, token: &str, (events, all): (&str, usize)) -> Value {
    let forge = Forge::of(SERVER);
    let variable = |what: &str| format!("HOOKWRIGHT_PROVIDERS_{provider}_{what}");
    let options = DaemonOptions::new(BINARY)
        .variable(&variable("TOKEN"), token)
        .variable(&variable("API"), &forge.address)
        .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com");
    let mut daemon = Daemon::start_with(options).await;
    let triggers = |events: &str| {
        spec(&format!(
            "triggers:\n  issues: {{ source: bitbucket, repository: acme/shop, secret: SIGNING, events: [{events}], deliver: {{ path: /x }} }}\n"
        ))
    };
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &triggers(events)).commit("Begin");
    secret(&daemon, "the-signing-secret").await;
    copy.push(&daemon, "shop");
    trigger_in(&daemon, "active").await;
    let first = only_hook(&forge.state().await).expect("one hook");
    daemon.kill();
    daemon.restart().await;
    copy.write("webhook.yaml", &triggers("")).commit("Ask for everything");
    copy.push(&daemon, "shop");
    let everything = async |_: &Daemon| {
        only_hook(&forge.state().await).filter(|hook| hook["events"].as_array().is_some_and(|events| events.len() == all))
    };
    daemon.until("every type to be asked for", everything).await;
    copy.write("webhook.yaml", &spec("")).commit("Listen no more");
    copy.push(&daemon, "shop");
    let gone = async |_: &Daemon| forge.state().await["hooks"].as_object().is_some_and(serde_json::Map::is_empty).then_some(());
    daemon.until("the hook to be removed", gone).await;
    first
}

#[tokio::test]
async fn bitbucket_cloud_is_told_where_to_send() {
    let hook = life("BITBUCKET", "cloud-token", ("\"repo:push\"", 12)).await;
    assert_eq!((&hook["secret"], &hook["events"], &hook["active"]), (&json!("the-signing-secret"), &json!(["repo:push"]), &json!(true)));
}

#[tokio::test]
async fn bitbucket_data_center_is_told_where_to_send() {
    let hook = life("BITBUCKET_DATA_CENTER", "center-token", ("\"pr:opened\"", 10)).await;
    assert_eq!((&hook["configuration"]["secret"], &hook["events"]), (&json!("the-signing-secret"), &json!(["pr:opened"])));
}
