//! What waits for a time says which: deliveries that are tried again, and handlers that are started again.

use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::{Value, json};

use super::BINARY;
use super::browser::{Browser, Script};
use super::look::inspect;

/// Answers every event with 500, and ends when it is asked to.
const HANDLER: &str = r#"
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/end":
            os._exit(3)
        self.answer(200)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(500)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

async fn shop() -> (Daemon, WorkingCopy) {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    let spec = "version: 1\nname: shop\nhandler: { command: [python3, server.py] }\nenvironments:\n  development: {}\n\
        triggers:\n  any: { source: generic, verify: none, deliver: { path: /any, retry: { attempts: 12 } } }\n";
    copy.write("webhook.yaml", spec).write("server.py", HANDLER).commit("Begin");
    copy.push(&daemon, "shop");
    daemon.answers("shop", "development", "here").await;
    (daemon, copy)
}

#[tokio::test]
async fn a_delivery_that_waits_says_when_it_is_tried_next() {
    let (daemon, _copy) = shop().await;
    daemon.post("/api/v1/webhooks/shop/environments/development/triggers/any/sample", json!({})).await;
    let address = daemon.get("/api/v1/triggers").await["items"][0]["address"].as_str().expect("an address").to_owned();
    let sent = reqwest::Client::new().post(format!("{}{address}", daemon.address())).body("{}").send().await.expect("an answer");
    assert_eq!(sent.status().as_u16(), 200);
    // After a few tries the pause is long enough to be looked at.
    let waits = async |daemon: &Daemon| {
        let list = daemon.get("/api/v1/events?webhook=shop&status=waiting").await;
        let one = list["items"][0].clone();
        (one["attempts"].as_u64()? >= 3).then_some(one)
    };
    let delivery: Value = daemon.until("the delivery to wait", waits).await;
    assert!(delivery["due_at"].is_i64(), "{delivery}");
    let event = delivery["event"].as_str().expect("an event").to_owned();
    let shown = std::process::Command::new(BINARY)
        .args(["events", "show", &event])
        .env("HOOKWRIGHT_SERVER", daemon.address())
        .env("HOOKWRIGHT_TOKEN", daemon.token())
        .output()
        .expect("the client runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("next attempt at 20"), "{shown}");

    let browser = Browser::start(&daemon, Script::Off).await;
    browser.sign_in(daemon.token(), Script::Off).await;
    for path in ["/webhooks/shop/events".to_owned(), format!("/events/{event}")] {
        browser.open(&path).await;
        browser.until_text("when it is tried next", ".row-meta", "tried next").await;
        let exact = browser.time_of("time[data-due]").await;
        assert!(exact.starts_with("20"), "the exact time stands behind the words: {exact}");
    }
    let looks = Browser::start(&daemon, Script::On).await;
    looks.sign_in(daemon.token(), Script::On).await;
    looks.open("/webhooks/shop/events").await;
    looks.until_text("the same with script", "time[data-due]", "in ").await;
    let found = inspect(&looks, "events-waiting").await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn a_handler_that_keeps_ending_says_when_it_is_started_again() {
    let (daemon, _copy) = shop().await;
    let browser = Browser::start(&daemon, Script::Off).await;
    browser.sign_in(daemon.token(), Script::Off).await;
    browser.open("/webhooks/shop").await;
    browser.press("#logs .tail a").await;
    browser.until_text("that it is ready", ".table", "ready").await;
    let path = browser.path().await;
    // Every end makes the pause longer, until there is time to look at it.
    let rests = async |daemon: &Daemon| {
        daemon.call("shop", "development", "/end").await;
        let view = daemon.get("/api/v1/webhooks/shop").await;
        let instance = view["environments"][0]["instances"][0].clone();
        (instance["state"] == "backing_off" && instance["restarts"].as_u64()? >= 3).then_some(instance)
    };
    let instance: Value = daemon.until("the handler to rest", rests).await;
    assert!(instance["restart_at"].is_i64(), "{instance}");
    browser.open(&path).await;
    browser.until_text("when it is started again", ".table", "started again").await;
    let exact = browser.time_of("time[data-due]").await;
    assert!(exact.starts_with("20"), "{exact}");
}
