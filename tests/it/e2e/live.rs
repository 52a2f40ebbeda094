//! Pages that follow by themselves: with one stream for all tabs, without moving what is read, and without motion for who wants none.

use std::path::Path;

use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::json;

use super::BINARY;
use super::browser::{Browser, Script};

/// Adds up how far anything moved that nobody touched, as browsers count it.
const WATCH: &str = "window.moved = 0;
    new PerformanceObserver((list) => { for (const one of list.getEntries()) if (!one.hadRecentInput) window.moved += one.value; })
        .observe({ type: 'layout-shift' });";
/// What browsers call good.
const MOVED: f64 = 0.1;

fn example() -> WorkingCopy {
    WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"))
}

/// How many event streams the daemon holds open.
async fn streams(daemon: &Daemon) -> u64 {
    let request = reqwest::Client::new().get(format!("{}/metrics", daemon.address())).bearer_auth(daemon.token());
    let text = request.send().await.expect("an answer").text().await.expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix("hookwright_event_streams ")).expect("the gauge");
    line.parse().expect("a number")
}

#[tokio::test]
async fn all_tabs_of_a_browser_hold_one_stream_and_give_it_back() {
    let daemon = Daemon::start(BINARY).await;
    example().push(&daemon, "hello-python");
    daemon.waits_for_approval("hello-python", "production").await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    for path in ["/runs", "/webhooks/hello-python", "/"] {
        browser.open_in_new_tab(path).await;
    }
    daemon.post("/api/v1/webhooks/hello-python/environments/production/approve", json!({})).await;
    browser.until_text("the last tab to follow", "td[data-column=production] .cell-state", "live").await;
    assert_eq!(streams(&daemon).await, 1, "one stream for the four tabs");

    let other = Browser::start(&daemon, Script::On).await;
    other.sign_in(daemon.token(), Script::On).await;
    daemon.until("the other browser's stream", async |daemon: &Daemon| (streams(daemon).await == 2).then_some(())).await;
    drop(other);
    daemon.until("it to be given back", async |daemon: &Daemon| (streams(daemon).await == 1).then_some(())).await;
}

#[tokio::test]
async fn what_comes_by_itself_does_not_move_what_is_read() {
    let daemon = Daemon::start(BINARY).await;
    let copy = example();
    copy.push(&daemon, "hello-python");
    daemon.waits_for_approval("hello-python", "production").await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    browser.open("/").await;
    browser.run(WATCH).await;
    copy.edit("server.py", "Hello from Python", "Good evening from Python").commit("Greet later");
    copy.push(&daemon, "hello-python");
    browser.until_text("the new release, without loading again", "td[data-column=development]", "Greet later").await;
    browser.until_text("that it is live", "td[data-column=development] .cell-state", "live").await;
    let moved = browser.run("return window.moved").await.as_f64().expect("a number");
    assert!(moved < MOVED, "the board moved by {moved}");
    let news = browser.run("return document.getElementById('board-news').getAttribute('role')").await;
    assert_eq!(news, json!("status"), "and says politely how many wait");

    copy.edit("server.py", "Good evening", "Good night").commit("Greet at night");
    copy.push(&daemon, "hello-python");
    let known = async |daemon: &Daemon| {
        let run = daemon.get("/api/v1/runs?webhook=hello-python").await["items"][0].clone();
        (run["number"] == 3).then(|| run["id"].as_str().unwrap_or_default().to_owned())
    };
    let run = daemon.until("the third run", known).await;
    browser.open(&format!("/runs/{run}")).await;
    browser.run(WATCH).await;
    browser.until_text("the end, without loading again", "#run .facts .state", "succeeded").await;
    let moved = browser.run("return window.moved").await.as_f64().expect("a number");
    assert!(moved < MOVED, "the run moved by {moved}");
}

#[tokio::test]
async fn who_wants_less_motion_sees_nothing_turn() {
    let daemon = Daemon::start(BINARY).await;
    let copy = example();
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let stage = "pipeline:\n  stages:\n    linger: { needs: [checkout], run: 'sleep 600' }\n";
    copy.write("webhook.yaml", &format!("{spec}{stage}")).commit("Linger");
    copy.push(&daemon, "hello-python");
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    browser.open("/runs").await;
    browser.until("something that runs", "#runs .spin").await;
    let turning = "return document.getAnimations().length";
    assert_ne!(browser.run(turning).await, json!(0), "it turns for everybody else");
    browser.prefer_reduced_motion().await;
    assert_eq!(browser.run(turning).await, json!(0));
}
