//! A source that cannot answer, or whose answers are not to be believed.

use hookwright_testkit::Daemon;
use serde_json::{Value, json};

use super::{Forge, deployed, only_hook, trigger_in};

pub(super) async fn says(daemon: &Daemon, words: &str) {
    let said = async |daemon: &Daemon| {
        let list = daemon.get("/api/v1/triggers").await;
        let found = list["items"][0]["status_reason"].as_str().is_some_and(|reason| reason.contains(words));
        (found && list["items"][0]["status"] == "failing").then_some(())
    };
    daemon.until(words, said).await;
}

#[tokio::test]
async fn a_source_that_is_busy_broken_silent_or_endless_is_said_and_gets_one_hook_once_it_answers() {
    let forge = Forge::start();
    forge.change(json!({ "answer": 429 })).await;
    let (mut daemon, _copy) = deployed(&forge).await;
    for (answer, words) in [
        (json!(429), "has had enough for the moment"),
        (json!(500), "answered 500"),
        (json!(409), "refuses the hook with 409"),
        (json!("flood"), "answers with more than"),
        (json!("silence"), "does not answer in time"),
    ] {
        forge.change(json!({ "answer": answer })).await;
        daemon.kill();
        daemon.restart().await;
        says(&daemon, words).await;
    }
    forge.change(json!({ "answer": Value::Null })).await;
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
    assert!(only_hook(&forge.state().await).is_some(), "one hook");
}

#[tokio::test]
async fn a_source_that_lies_about_what_exists_gets_no_second_hook_and_is_said() {
    let forge = Forge::start();
    let (mut daemon, _copy) = deployed(&forge).await;
    trigger_in(&daemon, "active").await;
    let hook = only_hook(&forge.state().await).expect("one hook");
    // It does not list ours, and refuses another one with its address.
    forge.change(json!({ "lie": [] })).await;
    daemon.kill();
    daemon.restart().await;
    says(&daemon, "refuses the hook").await;
    assert_eq!(only_hook(&forge.state().await), Some(hook.clone()), "the one that there was");
    // It lists one that is not there.
    let mut phantom = hook.clone();
    (phantom["id"], phantom["active"]) = (json!(999), json!(false));
    forge.change(json!({ "lie": [phantom] })).await;
    daemon.kill();
    daemon.restart().await;
    says(&daemon, "knows no repository").await;
    assert_eq!(only_hook(&forge.state().await), Some(hook), "the one that there was");
}
