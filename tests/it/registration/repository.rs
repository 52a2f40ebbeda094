//! The engine's own hooks: forges tell of what happens in watched repositories, and git alone is believed.

use hmac::{Hmac, KeyInit as _, Mac as _};
use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sha2::Sha256;

use super::description::verdict;
use super::{BINARY, Forge, only_hook};

/// A repository on a forge, and what it builds.
struct Watched {
    forge: Forge,
    copy: WorkingCopy,
}

impl Watched {
    fn at(forge: Forge) -> Self {
        let copy = WorkingCopy::new();
        let spec = "version: 1\nname: shop\nhandler: { command: [sh, -c, exec python3 -m http.server $PORT] }\n";
        copy.write("webhook.yaml", spec).commit("Begin");
        Self { forge, copy }
    }

    fn at_github() -> Self {
        Self::at(Forge::start())
    }

    /// A daemon that is told of the repository and has read it once; `poll` is how often it looks by itself.
    async fn by(&self, options: DaemonOptions, poll: &str) -> Daemon {
        let options = ["POLL", "QUIET", "HOOKED"].iter().fold(options.variable("HOOKWRIGHT_SANDBOX", "off"), |options, name| {
            options.variable(&format!("HOOKWRIGHT_GIT_{name}_INTERVAL"), poll)
        });
        let daemon = Daemon::start_with(options).await;
        let folder = self.copy.path().display().to_string();
        Client::new().post(format!("{}/_git", self.forge.address)).body(folder).send().await.expect("an answer");
        self.forge.change_if_github(&daemon).await;
        let url = format!("{}{}/acme/shop.git", self.forge.address, self.forge.git_folder);
        daemon.post("/api/v1/repositories", json!({ "name": "shop", "url": url })).await;
        daemon.run_ended("shop", 1).await;
        daemon
    }

    fn commit(&self, text: &str) {
        self.copy.write("note", text).commit(text);
    }
}

impl Forge {
    async fn change_if_github(&self, daemon: &Daemon) {
        if self.state().await["pings"].is_boolean() {
            self.change(json!({ "deliver_to": daemon.address(), "pings": true })).await;
        }
    }
}

async fn hook_of(daemon: &Daemon) -> Value {
    daemon.get("/api/v1/repositories").await["items"][0]["hook"].clone()
}

async fn until_hook(daemon: &Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    daemon
        .until(what, async |daemon: &Daemon| {
            let hook = hook_of(daemon).await;
            is_so(&hook).then_some(hook)
        })
        .await
}

fn hmac_hex(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Sends an event of GitHub through the hook that it has.
async fn send(daemon: &Daemon, hook: &Value, (kind, id, payload): (&str, &str, Value)) -> u16 {
    let text = |field: &str| hook["config"][field].as_str().unwrap_or_default().to_owned();
    let body = payload.to_string();
    let address = format!("{}{}", daemon.address(), text("url").trim_start_matches("https://hooks.example.com"));
    let request = Client::new().post(address).header("X-GitHub-Event", kind).header("X-GitHub-Delivery", id);
    let request = request.header("X-Hub-Signature-256", format!("sha256={}", hmac_hex(&text("secret"), &body)));
    request.header("Content-Type", "application/json").body(body).send().await.expect("an answer").status().as_u16()
}

/// A push as GitHub tells of it, of a branch and a commit that do not exist.
fn push(id: &str) -> (&'static str, &str, Value) {
    ("push", id, json!({ "ref": "refs/heads/nowhere", "after": "f".repeat(40), "commits": [], "id": id }))
}

async fn delivery(daemon: &Daemon, id: &str, status: &str) -> Value {
    daemon
        .until(id, async |daemon: &Daemon| {
            for found in daemon.get("/api/v1/events?webhook=shop&environment=repository").await["items"].as_array()? {
                let event = daemon.get(&format!("/api/v1/events/{}", found["event"].as_str()?)).await;
                if event["source_id"] == id && found["status"] == status {
                    return Some(found.clone());
                }
            }
            None
        })
        .await
}

async fn runs(daemon: &Daemon) -> usize {
    daemon.get("/api/v1/runs?webhook=shop").await["items"].as_array().expect("a list").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_follows_takes_in_what_a_forge_tells_of_a_watched_repository_and_the_leader_builds_it_at_once() {
    let watched = Watched::at_github();
    let leader = watched.by(watched.forge.options(), "1h").await;
    if leader.database().is_none() {
        return;
    }
    let follower = leader.start_beside("log-of-second", DaemonOptions::new(BINARY)).await;
    until_hook(&leader, "the forge to be heard", |hook| hook["alive"] == true && hook["status"] == "active").await;
    let hook = only_hook(&watched.forge.state().await).expect("one hook");
    watched.commit("two");
    assert_eq!(send(&follower, &hook, push("by-follower")).await, 200);
    leader.run_ended("shop", 2).await;
    let told = delivery(&leader, "by-follower", "delivered").await;
    assert!(told["status_reason"].as_str().is_some_and(|reason| reason.contains("some had moved")), "{told}");

    let mut forged = hook.clone();
    forged["config"]["secret"] = json!("another");
    assert_eq!(send(&follower, &forged, push("forged")).await, 401, "it verifies as the leader does");

    let unknown = json!({ "config": { "url": format!("https://hooks.example.com/hooks/{}", "A".repeat(26)), "secret": "none" } });
    assert_eq!(send(&follower, &unknown, push("nowhere")).await, 404, "and nothing receives where nothing is");
}

#[tokio::test]
async fn a_push_that_its_forge_tells_of_is_built_at_once_and_once_whoever_sees_it_first() {
    let watched = Watched::at_github();
    let mut daemon = watched.by(watched.forge.options(), "1h").await;
    until_hook(&daemon, "the forge to be heard", |hook| hook["alive"] == true && hook["status"] == "active").await;
    let hook = only_hook(&watched.forge.state().await).expect("one hook");
    assert_eq!(hook["events"], json!(["issue_comment", "pull_request", "push"]));
    assert_eq!(hook["config"]["secret"].as_str().map(str::len), Some(64), "the daemon makes the secret itself");

    // By the hook first; whoever polls next finds nothing new.
    watched.commit("two");
    assert_eq!(send(&daemon, &hook, push("by-hook")).await, 200);
    daemon.run_ended("shop", 2).await;
    let told = delivery(&daemon, "by-hook", "delivered").await;
    assert!(told["status_reason"].as_str().is_some_and(|reason| reason.contains("some had moved")), "{told}");
    daemon.kill();
    daemon.restart().await;

    // By the poll first: a start reads everything.
    daemon.kill();
    watched.commit("three");
    daemon.restart().await;
    daemon.run_ended("shop", 3).await;
    assert_eq!(send(&daemon, &hook, push("after-poll")).await, 200);
    let told = delivery(&daemon, "after-poll", "delivered").await;
    assert!(told["status_reason"].as_str().is_some_and(|reason| reason.contains("none had moved")), "{told}");

    // All at once, beside a look that somebody asked for.
    watched.commit("four");
    let ids: Vec<String> = (0..8).map(|number| format!("at-once-{number}")).collect();
    let address = watched.forge.address.clone();
    let again = async { daemon.post("/api/v1/repositories", json!({ "name": "shop", "url": format!("{address}/acme/shop.git") })).await };
    let (taken, _) = tokio::join!(futures_util::future::join_all(ids.iter().map(|id| send(&daemon, &hook, push(id)))), again);
    assert_eq!(taken, [200; 8]);
    for id in &ids {
        delivery(&daemon, id, "delivered").await;
    }
    daemon.run_ended("shop", 4).await;
    watched.commit("five");
    assert_eq!(send(&daemon, &hook, push("last")).await, 200);
    daemon.run_ended("shop", 5).await;
    assert_eq!(runs(&daemon).await, 5, "each push once");
}

#[tokio::test]
async fn what_is_not_signed_is_refused_and_comments_are_seen_and_build_nothing() {
    let watched = Watched::at_github();
    let daemon = watched.by(watched.forge.options(), "1h").await;
    until_hook(&daemon, "the forge to be heard", |hook| hook["alive"] == true).await;
    let hook = only_hook(&watched.forge.state().await).expect("one hook");
    let mut forged = hook.clone();
    forged["config"]["secret"] = json!("guessed");
    watched.commit("two");
    assert_eq!(send(&daemon, &forged, push("forged")).await, 401);
    let comment = json!({ "action": "created", "comment": { "body": "/approve production" }, "issue": { "number": 7 } });
    assert_eq!(send(&daemon, &hook, ("issue_comment", "a-comment", comment)).await, 200);
    let seen = delivery(&daemon, "a-comment", "delivered").await;
    assert_eq!((&seen["status_reason"], &seen["type"]), (&json!("seen"), &json!("issue_comment.created")));
    let star = json!({ "action": "created", "starred_at": "2026-01-01T00:00:00Z" });
    assert_eq!(send(&daemon, &hook, ("star", "a-star", star)).await, 200);
    delivery(&daemon, "a-star", "skipped").await;
    let replay = format!("/api/v1/events/{}/replay", seen["event"].as_str().expect("an id"));
    assert_eq!(daemon.request(Method::POST, &replay, Some(json!({}))).await.0, 201);
    let synchronize = json!({ "action": "synchronize", "number": 1, "pull_request": {} });
    assert_eq!(send(&daemon, &hook, ("pull_request", "a-pull-request", synchronize)).await, 200);
    daemon.run_ended("shop", 2).await;
    assert_eq!(runs(&daemon).await, 2);
}

#[tokio::test]
async fn a_push_without_a_word_is_found_by_reading_and_the_hook_is_relied_on_no_longer_until_it_is_heard() {
    let watched = Watched::at_github();
    let mut daemon = watched.by(watched.forge.options(), "1s").await;
    daemon.set("HOOKWRIGHT_GIT_HOOKED_INTERVAL", "1h");
    until_hook(&daemon, "the forge to be heard", |hook| hook["alive"] == true).await;
    daemon.kill();
    watched.commit("two");
    let hook = only_hook(&watched.forge.state().await).expect("one hook");
    // Somebody switched it off there; what the daemon finds is why it is asked at once.
    let mut off = hook.clone();
    off["active"] = json!(false);
    let id = hook["id"].to_string();
    daemon.restart().await;
    daemon.run_ended("shop", 2).await;
    until_hook(&daemon, "the silence to be noticed", |hook| {
        hook["alive"] == false && hook["status_reason"].as_str().is_some_and(|reason| reason.contains("without a word"))
    })
    .await;
    watched.forge.change(json!({ "hooks": { &id: off } })).await;
    watched.commit("three");
    daemon.run_ended("shop", 3).await;
    let mended = async |_: &Daemon| only_hook(&watched.forge.state().await).filter(|hook| hook["active"] == true);
    daemon.kill();
    daemon.restart().await;
    let hook = daemon.until("the hook to be mended", mended).await;
    watched.commit("four");
    daemon.run_ended("shop", 4).await;
    assert_eq!(send(&daemon, &hook, push("heard")).await, 200);
    until_hook(&daemon, "the hook to be relied on again", |hook| hook["alive"] == true).await;
}

#[tokio::test]
async fn what_a_forge_refuses_is_said_with_what_to_do_and_the_refs_are_read_meanwhile() {
    let watched = Watched::at_github();
    let mut daemon = watched.by(watched.forge.options(), "1s").await;
    for (answer, words) in [
        (json!(404), "knows no repository `acme/shop`"),
        (json!(403), "may not manage the hooks"),
        (json!(401), "does not take the token"),
        (json!(422), "refuses the hook"),
        (json!(429), "has had enough"),
        (json!(500), "answered 500"),
    ] {
        watched.forge.change(json!({ "answer": answer })).await;
        daemon.kill();
        daemon.restart().await;
        let said = |hook: &Value| {
            let reason = hook["status_reason"].as_str().unwrap_or_default();
            hook["status"] == "failing" && reason.contains(words) && reason.contains("the refs are read") && hook["alive"] == false
        };
        until_hook(&daemon, words, said).await;
    }
    watched.commit("two");
    daemon.run_ended("shop", 2).await;
    watched.forge.change(json!({ "answer": Value::Null })).await;
    watched.forge.change_if_github(&daemon).await;
    daemon.kill();
    daemon.restart().await;
    until_hook(&daemon, "the forge to know it", |hook| hook["status"] == "active").await;
    assert!(only_hook(&watched.forge.state().await).is_some(), "one hook");
}

#[tokio::test]
async fn a_hook_goes_with_its_credentials_and_its_repository_comes_back_once_and_every_call_is_one_of_githubs() {
    let watched = Watched::at_github();
    let mut daemon = watched.by(watched.forge.options(), "1h").await;
    until_hook(&daemon, "the forge to be heard", |hook| hook["alive"] == true).await;
    let hook = only_hook(&watched.forge.state().await).expect("one hook");

    daemon.kill();
    daemon.unset("HOOKWRIGHT_PROVIDERS_GITHUB_TOKEN");
    daemon.unset("HOOKWRIGHT_PROVIDERS_GITHUB_API");
    daemon.restart().await;
    assert_eq!(hook_of(&daemon).await, Value::Null, "without the settings nobody knows that this is GitHub's");
    let refused = async |daemon: &Daemon| (send(daemon, &hook, push("too-late")).await == 404).then_some(());
    daemon.until("its address to be gone", refused).await;

    daemon.kill();
    daemon.set("HOOKWRIGHT_PROVIDERS_GITHUB_TOKEN", "forge-token-8d1f");
    daemon.set("HOOKWRIGHT_PROVIDERS_GITHUB_API", &watched.forge.address);
    let mut changed = hook.clone();
    changed["events"] = json!(["push"]);
    watched.forge.change(json!({ "hooks": { hook["id"].to_string(): changed } })).await;
    daemon.restart().await;
    let mended = async |_: &Daemon| only_hook(&watched.forge.state().await).filter(|now| now["events"] == hook["events"]);
    let again = daemon.until("the same hook, mended", mended).await;
    assert_eq!((&again["id"], &again["config"]["url"]), (&hook["id"], &hook["config"]["url"]));

    assert_eq!(daemon.request(Method::DELETE, "/api/v1/repositories/shop", None).await.0, 200);
    let gone = async |_: &Daemon| watched.forge.state().await["hooks"].as_object().is_some_and(serde_json::Map::is_empty).then_some(());
    daemon.until("the hook to be removed", gone).await;
    let refused = async |daemon: &Daemon| (send(daemon, &hook, push("much-too-late")).await == 404).then_some(());
    daemon.until("its address to be gone", refused).await;

    let state = watched.forge.state().await;
    let judged: Vec<Result<String, String>> = state["calls"].as_array().expect("the calls").iter().map(verdict).collect();
    let wrong: Vec<&String> = judged.iter().filter_map(|verdict| verdict.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for method in ["get", "post", "patch", "delete"] {
        assert!(judged.iter().flatten().any(|what| what.starts_with(method)), "{method}: {judged:?}");
    }
    assert!(!daemon.log().contains("forge-token-8d1f"), "{}", daemon.log());
}

#[tokio::test]
async fn what_is_missing_for_a_hook_is_said() {
    let watched = Watched::at_github();
    let daemon = watched.by(watched.forge.options().variable("HOOKWRIGHT_PUBLIC_URL", ""), "1h").await;
    let hook = hook_of(&daemon).await;
    assert!(hook["status"] == "none" && hook["status_reason"].as_str().is_some_and(|reason| reason.contains("set `public_url`")), "{hook}");
    assert!(watched.forge.state().await["calls"].as_array().is_some_and(Vec::is_empty), "nobody was asked");
}

/// How a forge signs, and what a push is there.
struct Other {
    provider: &'static str,
    token: &'static str,
    server: &'static str,
    events: Value,
}

/// Registers at a forge, sends a push as that forge does, and takes the repository away.
async fn life(other: Other, sign: impl Fn(&Value, &str) -> Vec<(&'static str, String)>, body: &str) {
    let folder = if other.provider == "BITBUCKET_DATA_CENTER" { "/scm" } else { "" };
    let mut forge = Forge::of(other.server);
    forge.git_folder = folder;
    let watched = Watched::at(forge);
    let variable = |what: &str| format!("HOOKWRIGHT_PROVIDERS_{}_{what}", other.provider);
    let options = DaemonOptions::new(BINARY)
        .variable(&variable("TOKEN"), other.token)
        .variable(&variable("API"), &watched.forge.address)
        .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com");
    let daemon = watched.by(options, "1h").await;
    until_hook(&daemon, "the forge to be told", |hook| hook["status"] == "active").await;
    assert!(hook_of(&daemon).await["status_reason"].as_str().is_some_and(|reason| reason.contains("first event")));
    let hook = only_hook(&watched.forge.state().await).expect("one hook");
    match hook["events"].as_array() {
        Some(_) => assert_eq!(hook["events"], other.events),
        None => assert!(other.events.as_array().expect("switches").iter().all(|on| hook[on.as_str().expect("a name")] == true), "{hook}"),
    }
    watched.commit("two");
    let url = hook["url"].as_str().or(hook["config"]["url"].as_str()).expect("an address");
    let address = format!("{}{}", daemon.address(), url.trim_start_matches("https://hooks.example.com"));
    let request = sign(&hook, body).into_iter().fold(Client::new().post(address), |request, (name, value)| request.header(name, value));
    let answer = request.header("Content-Type", "application/json").body(body.to_owned()).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    daemon.run_ended("shop", 2).await;
    until_hook(&daemon, "the hook to be relied on", |hook| hook["alive"] == true).await;
    assert_eq!(daemon.request(Method::DELETE, "/api/v1/repositories/shop", None).await.0, 200);
    let gone = async |_: &Daemon| watched.forge.state().await["hooks"].as_object().is_some_and(serde_json::Map::is_empty).then_some(());
    daemon.until("the hook to be removed", gone).await;
}

const FORGES: &str = include_str!("forges.py");
const BITBUCKET: &str = include_str!("bitbucket.py");

#[tokio::test]
async fn gitlab_tells_of_pushes_tags_merge_requests_and_comments() {
    let events = json!(["push_events", "tag_push_events", "merge_requests_events", "note_events"]);
    let sign = |hook: &Value, _: &str| {
        let token = hook["token"].as_str().expect("a token").to_owned();
        vec![("X-Gitlab-Token", token), ("X-Gitlab-Event", "Push Hook".to_owned()), ("Idempotency-Key", "one".to_owned())]
    };
    life(Other { provider: "GITLAB", token: "lab-token", server: FORGES, events }, sign, r#"{"object_kind":"push","ref":"refs/heads/x"}"#)
        .await;
}

#[tokio::test]
async fn gitea_tells_of_pushes_branches_pull_requests_and_comments() {
    let events = json!(["create", "delete", "issue_comment", "pull_request", "push"]);
    let sign = |hook: &Value, body: &str| {
        let signature = hmac_hex(hook["config"]["secret"].as_str().expect("a secret"), body);
        vec![("X-Gitea-Signature", signature), ("X-Gitea-Event", "push".to_owned()), ("X-Gitea-Delivery", "one".to_owned())]
    };
    life(Other { provider: "GITEA", token: "tea-token", server: FORGES, events }, sign, r#"{"ref":"refs/heads/x","commits":[]}"#).await;
}

#[tokio::test]
async fn bitbucket_cloud_tells_of_pushes_pull_requests_and_comments() {
    let events = json!([
        "pullrequest:comment_created",
        "pullrequest:created",
        "pullrequest:fulfilled",
        "pullrequest:rejected",
        "pullrequest:updated",
        "repo:push"
    ]);
    let sign = |hook: &Value, body: &str| {
        let signature = format!("sha256={}", hmac_hex(hook["secret"].as_str().expect("a secret"), body));
        vec![("X-Hub-Signature", signature), ("X-Event-Key", "repo:push".to_owned()), ("X-Request-UUID", "one".to_owned())]
    };
    life(Other { provider: "BITBUCKET", token: "cloud-token", server: BITBUCKET, events }, sign, r#"{"push":{"changes":[]}}"#).await;
}

#[tokio::test]
async fn bitbucket_data_center_tells_of_pushes_pull_requests_and_comments() {
    let events =
        json!(["pr:comment:added", "pr:declined", "pr:deleted", "pr:from_ref_updated", "pr:merged", "pr:opened", "repo:refs_changed"]);
    let sign = |hook: &Value, body: &str| {
        let secret = hook["configuration"]["secret"].as_str().expect("a secret");
        let signature = format!("sha256={}", hmac_hex(secret, body));
        vec![("X-Hub-Signature", signature), ("X-Event-Key", "repo:refs_changed".to_owned()), ("X-Request-Id", "one".to_owned())]
    };
    let other = Other { provider: "BITBUCKET_DATA_CENTER", token: "center-token", server: BITBUCKET, events };
    life(other, sign, r#"{"eventKey":"repo:refs_changed","changes":[]}"#).await;
}
