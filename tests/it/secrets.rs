//! Secrets that are set while something is deployed: what ends up live is the newest release, with the newest values.

use hookwright_testkit::{Daemon, WorkingCopy};
use reqwest::Method;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

const SERVER: &str = "import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f\"{os.environ.get('MARK')} {os.environ.get('TOKEN')}\".encode())
HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

fn write(copy: &WorkingCopy, mark: &str, tokens: &[&str]) {
    let mut spec = format!(
        "version: 1\nname: shop\nhandler: {{ command: [python3, server.py] }}\nconfig:\n  MARK: {{ type: string, default: {mark} }}\n"
    );
    for token in tokens {
        spec.push_str(&format!("  {token}: {{ type: string, secret: true, required: true }}\n"));
    }
    copy.write("server.py", SERVER).write("webhook.yaml", &spec).commit(mark);
}

async fn set(daemon: &Daemon, name: &str, value: &str) {
    let path = format!("/api/v1/webhooks/shop/environments/development/secrets/{name}");
    let (status, answer) = daemon.request(Method::PUT, &path, Some(json!({ "value": value }))).await;
    assert!(status < 300, "{name}: {status} {answer}");
}

/// Waits until nothing of it is under way.
async fn at_rest(daemon: &Daemon) -> Vec<Value> {
    daemon
        .until("no open promotion into development", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/promotions?webhook=shop&environment=development").await;
            let items = list["items"].as_array().expect("promotions").clone();
            let is_open = |item: &Value| item["status"] == "waiting" || item["status"] == "deploying";
            (!items.iter().any(is_open)).then_some(items)
        })
        .await
}

#[tokio::test]
async fn a_secret_that_a_new_release_waits_for_never_brings_the_release_before_back() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    write(&copy, "first", &[]);
    copy.push(&daemon, "shop");
    daemon.answers("shop", "development", "first None").await;
    for round in 0..3 {
        let (mark, token) = (format!("round{round}"), ["TOKEN", "OTHER", "THIRD"][round]);
        write(&copy, &mark, &["TOKEN", "OTHER", "THIRD"][..=round]);
        copy.push(&daemon, "shop");
        daemon
            .until("the promotion that waits for the secret", async |daemon: &Daemon| {
                let list = daemon.get("/api/v1/promotions?webhook=shop&environment=development&open=true").await;
                list["items"][0]["verdicts"].to_string().contains(token).then_some(())
            })
            .await;
        set(&daemon, token, "one").await;
        daemon.answers("shop", "development", &mark).await;
        at_rest(&daemon).await;
        let (status, text) = daemon.call("shop", "development", "/").await;
        assert_eq!((status, text), (200, format!("{mark} one")), "the newest release stays");
    }
}

#[tokio::test]
async fn a_secret_may_be_set_while_what_needs_it_is_being_deployed_and_the_last_value_counts() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    write(&copy, "only", &["TOKEN"]);
    set(&daemon, "TOKEN", "0").await;
    copy.push(&daemon, "shop");
    daemon.answers("shop", "development", "only 0").await;
    for value in 1..=6 {
        set(&daemon, "TOKEN", &value.to_string()).await;
        if value % 2 == 0 {
            // Not every time: some come while the one before is on its way.
            daemon.answers("shop", "development", &format!("only {value}")).await;
        }
    }
    at_rest(&daemon).await;
    assert_eq!(daemon.call("shop", "development", "/").await.1, "only 6");
}

#[tokio::test]
async fn the_last_lines_of_a_handler_that_crashes_are_for_those_who_may_read_its_log() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    let spec = "version: 1\nname: shop\nhandler: { command: [python3, server.py] }\n";
    // It serves until it is asked once, and never comes up again.
    let server = format!("import sys, os\nif os.path.exists(os.environ['HOME'] + '/asked'): sys.exit('canary-51c2')\n{SERVER}")
        .replace(
            "self.send_response(200)",
            "open(os.environ['HOME'] + '/asked', 'w').close() if self.path == '/die' else None; self.send_response(200)",
        )
        .replace("        self.wfile", "        os._exit(3) if self.path == '/die' else None\n        self.wfile");
    copy.write("server.py", &server).write("webhook.yaml", spec).commit("Crash");
    copy.push(&daemon, "shop");
    daemon.answers("shop", "development", "None").await;
    daemon.call("shop", "development", "/die").await;
    let address = format!("{}/w/shop/development/", daemon.address());
    let ask = async |token: Option<&str>| {
        let request = reqwest::Client::new().get(&address);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    };
    daemon
        .until("the reason, for whoever may know it", async |daemon: &Daemon| {
            let (status, text) = ask(Some(daemon.token())).await;
            (status == 503 && text.contains("canary-51c2")).then_some(())
        })
        .await;
    let (status, text) = ask(None).await;
    assert_eq!(status, 503);
    assert!(!text.contains("canary") && text.contains("hookwright status shop"), "{text}");
}
