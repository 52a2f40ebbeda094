//! Triggers as their event sources come to know them. The source is a server that keeps hooks as GitHub does and refuses what GitHub refuses.

mod bitbucket;
mod catch_up;
mod description;
mod faults;
mod gitlab;
mod google;
mod repository;
mod shopify;
mod slack;
mod stripe;

use std::io::Read;
use std::process::{Child, Command, Stdio};

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::Method;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// Strict where GitHub is: `name`, `active`, `events`, and a whole `config`; the token; one hook an address. `POST /_` changes it by hand.
const GITHUB: &str = include_str!("github.py");

/// What serves the forge's repository; part of every server.
const GIT: &str = include_str!("git.py");

pub(crate) struct Forge {
    child: Child,
    address: String,
    /// What stands before a repository in its address.
    git_folder: &'static str,
}

impl Drop for Forge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Forge {
    pub(crate) fn start() -> Self {
        Self::of(GITHUB)
    }

    fn of(server: &str) -> Self {
        hookwright_testkit::ready_for_http();
        let mut command = Command::new("python3");
        let mut child = command.args(["-c", &format!("{GIT}\n{server}")]).stdout(Stdio::piped()).spawn().expect("python runs");
        let mut port = String::new();
        let mut output = child.stdout.take().expect("its output");
        let mut byte = [0];
        while output.read_exact(&mut byte).is_ok() && byte != *b"\n" {
            port.push(char::from(byte[0]));
        }
        Self { child, address: format!("http://127.0.0.1:{port}"), git_folder: "" }
    }

    pub(crate) async fn state(&self) -> Value {
        reqwest::get(format!("{}/_", self.address)).await.expect("an answer").json().await.expect("JSON")
    }

    async fn change(&self, change: Value) {
        reqwest::Client::new().post(format!("{}/_", self.address)).json(&change).send().await.expect("an answer");
    }

    pub(crate) fn options(&self) -> DaemonOptions {
        self.known_to(DaemonOptions::new(BINARY))
    }

    fn known_to(&self, options: DaemonOptions) -> DaemonOptions {
        options
            .variable("HOOKWRIGHT_PROVIDERS_GITHUB_TOKEN", "forge-token-8d1f")
            .variable("HOOKWRIGHT_PROVIDERS_GITHUB_API", &self.address)
            .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com/")
    }
}

fn spec(triggers: &str) -> String {
    format!(
        "version: 1\nname: shop\nhandler: {{ command: [python3, -m, http.server, $PORT] }}\nconfig:\n  SIGNING: {{ type: string, secret: true, required: true }}\n{triggers}"
    )
    .replace("python3, -m, http.server, $PORT", "sh, -c, exec python3 -m http.server $PORT")
}

const ISSUES: &str = "triggers:\n  issues: { source: github, repository: acme/shop, secret: SIGNING, events: [issues.opened, issues.closed], deliver: { path: /issues } }\n";

async fn deployed(forge: &Forge) -> (Daemon, WorkingCopy) {
    deployed_with(forge.options()).await
}

async fn deployed_with(options: DaemonOptions) -> (Daemon, WorkingCopy) {
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(ISSUES)).commit("Begin");
    secret(&daemon, "the-signing-secret").await;
    copy.push(&daemon, "shop");
    (daemon, copy)
}

async fn secret(daemon: &Daemon, value: &str) {
    let path = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
    assert_eq!(daemon.request(Method::PUT, path, Some(json!({ "value": value }))).await.0, 204);
}

async fn trigger_in(daemon: &Daemon, status: &str) -> Value {
    daemon
        .until(status, async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/triggers").await;
            let found = list["items"].as_array()?.iter().find(|item| item["name"] == "issues" && item["status"] == status)?;
            Some(found.clone())
        })
        .await
}

pub(crate) fn only_hook(state: &Value) -> Option<Value> {
    let hooks = state["hooks"].as_object()?;
    (hooks.len() == 1).then(|| hooks.values().next().cloned()).flatten()
}

#[tokio::test]
async fn a_deployed_trigger_is_known_to_its_source_with_its_events_address_and_secret() {
    let forge = Forge::start();
    let (daemon, copy) = deployed(&forge).await;
    let trigger = trigger_in(&daemon, "active").await;
    let hook = only_hook(&forge.state().await).expect("one hook");
    assert_eq!(hook["events"], json!(["issues"]), "two types of one family are one event there");
    assert_eq!(
        (&hook["config"]["url"], &hook["config"]["secret"], &hook["config"]["content_type"]),
        (&trigger["url"], &json!("the-signing-secret"), &json!("json"))
    );
    assert!(trigger["url"].as_str().is_some_and(|url| url.starts_with("https://hooks.example.com/hooks/")), "{trigger}");

    copy.write("webhook.yaml", &spec(&ISSUES.replace("issues.closed", "push"))).commit("Ask for pushes too");
    copy.push(&daemon, "shop");
    let changed = async |_: &Daemon| only_hook(&forge.state().await).filter(|hook| hook["events"] == json!(["issues", "push"]));
    daemon.until("the events to be changed", changed).await;
    secret(&daemon, "another-signing-secret").await;
    let rotated = async |_: &Daemon| only_hook(&forge.state().await).filter(|hook| hook["config"]["secret"] == "another-signing-secret");
    daemon.until("the secret to be changed", rotated).await;

    copy.write("webhook.yaml", &spec("")).commit("Listen no more");
    copy.push(&daemon, "shop");
    let gone = async |_: &Daemon| forge.state().await["hooks"].as_object().is_some_and(serde_json::Map::is_empty).then_some(());
    daemon.until("the hook to be removed", gone).await;
    assert!(!daemon.log().contains("forge-token-8d1f") && !daemon.log().contains("signing-secret"), "{}", daemon.log());
}

#[tokio::test]
async fn a_trigger_whose_source_is_changed_leaves_no_hook_at_the_one_before_also_when_that_is_busy_or_the_daemon_dies() {
    let forge = Forge::start();
    let (mut daemon, copy) = deployed(&forge).await;
    let before = trigger_in(&daemon, "active").await;
    assert!(only_hook(&forge.state().await).is_some());
    forge.change(json!({ "answer": 500 })).await;
    let other = ISSUES.replace("source: github, repository: acme/shop", "source: standard-webhooks").replace("issues.closed", "thing");
    copy.write("webhook.yaml", &spec(&other)).commit("Listen elsewhere");
    copy.push(&daemon, "shop");
    let after = trigger_in(&daemon, "manual").await;
    assert_ne!(before["address"], after["address"], "nobody sends to it what the other source sent");
    let refused = async |daemon: &Daemon| daemon.log().contains("could not be told to stop sending").then_some(());
    daemon.until("the source to be asked in vain", refused).await;
    daemon.kill();
    forge.change(json!({ "answer": null })).await;
    daemon.restart().await;
    let gone = async |_: &Daemon| forge.state().await["hooks"].as_object().is_some_and(serde_json::Map::is_empty).then_some(());
    daemon.until("the hook to be removed", gone).await;
    assert_eq!(trigger_in(&daemon, "manual").await["address"], after["address"]);

    // And back again: the source gets the new address.
    copy.write("webhook.yaml", &spec(ISSUES)).commit("Listen there again");
    copy.push(&daemon, "shop");
    let back = trigger_in(&daemon, "active").await;
    let hook = only_hook(&forge.state().await).expect("one hook");
    assert_eq!(hook["config"]["url"], back["url"]);
    assert_ne!(back["address"], before["address"]);
}

#[tokio::test]
async fn what_is_undeployed_or_removed_leaves_no_hook_at_its_source() {
    let forge = Forge::start();
    let (daemon, copy) = deployed(&forge).await;
    let before = trigger_in(&daemon, "active").await;
    let gone = async |_: &Daemon| forge.state().await["hooks"].as_object().is_some_and(serde_json::Map::is_empty).then_some(());
    daemon.post("/api/v1/webhooks/shop/environments/development/undeploy", json!({})).await;
    daemon.until("the hook of what is undeployed to be removed", gone).await;
    trigger_in(&daemon, "off").await;

    copy.write("README.md", "Again").commit("Come back");
    copy.push(&daemon, "shop");
    assert_eq!(trigger_in(&daemon, "active").await["address"], before["address"], "the address stays over all deployments");
    assert!(only_hook(&forge.state().await).is_some());
    assert_eq!(daemon.request(Method::DELETE, "/api/v1/webhooks/shop", None).await.0, 200);
    daemon.until("the hook of what is removed to be removed", gone).await;

    copy.write("README.md", "Once more").commit("Come back again");
    secret(&daemon, "the-signing-secret").await;
    copy.push(&daemon, "shop");
    assert_ne!(trigger_in(&daemon, "active").await["address"], before["address"], "another webhook has other addresses");
}

#[tokio::test]
async fn a_crash_or_a_second_start_makes_no_second_hook_and_what_was_changed_there_is_mended() {
    let forge = Forge::start();
    let (mut daemon, _copy) = deployed(&forge).await;
    trigger_in(&daemon, "active").await;
    let hook = only_hook(&forge.state().await).expect("one hook");
    let (id, mut broken) = (hook["id"].to_string(), hook.clone());
    broken["active"] = json!(false);
    broken["events"] = json!(["push"]);
    let mut hooks = serde_json::Map::new();
    hooks.insert(id.clone(), broken.clone());
    broken["id"] = json!(7);
    hooks.insert("7".to_owned(), broken);
    forge.change(json!({ "hooks": hooks })).await;
    daemon.kill();
    daemon.restart().await;
    let mended =
        async |_: &Daemon| only_hook(&forge.state().await).filter(|hook| hook["active"] == true && hook["events"] == json!(["issues"]));
    daemon.until("one hook, as it is wanted", mended).await;
}

#[tokio::test]
async fn a_source_that_refuses_is_said_with_what_to_do_and_asked_again_when_it_cannot_answer() {
    let forge = Forge::start();
    forge.change(json!({ "answer": 404 })).await;
    let (mut daemon, _copy) = deployed(&forge).await;
    for (answer, words) in [
        (404, "knows no repository `acme/shop`"),
        (403, "may not manage the hooks"),
        (401, "does not take the token"),
        (422, "refuses the hook"),
    ] {
        forge.change(json!({ "answer": answer })).await;
        daemon.kill();
        daemon.restart().await;
        let said = async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/triggers").await;
            list["items"][0]["status_reason"].as_str().is_some_and(|reason| reason.contains(words)).then_some(())
        };
        daemon.until(words, said).await;
    }
    trigger_in(&daemon, "failing").await;
    forge.change(json!({ "answer": Value::Null })).await;
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
}
