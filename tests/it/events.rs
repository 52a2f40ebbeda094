//! Events from their sources to handlers: verified, stored before they are acknowledged, delivered, repeated.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::{Client, Method};
use serde_json::{Value, json};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// A handler that writes down what it gets and answers with the status that a file says, by path.
const HANDLER: &str = r#"
import http.server, json, os, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, b"here")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        line = {"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}, "body": body.decode("latin-1"),
                "key": os.environ["HOOKWRIGHT_SIGNING_KEY"], "at": time.time()}
        status = 200
        wish = os.path.join(FOLDER, self.path.strip("/") + ".status")
        if os.path.exists(wish):
            status = int(open(wish).read())
        line["status"] = status
        with open(os.path.join(FOLDER, "received"), "a") as file:
            file.write(json.dumps(line) + "\n")
        self.answer(status, b"taken")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if status == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// A webhook with triggers, deployed, and what its handler got.
pub(crate) struct Shop {
    pub(crate) daemon: Daemon,
    pub(crate) copy: WorkingCopy,
    folder: tempfile::TempDir,
}

impl Shop {
    pub(crate) async fn open(triggers: &str, more: &str) -> Self {
        Self::open_with(DaemonOptions::new(BINARY), triggers, more).await
    }

    pub(crate) async fn open_with(options: DaemonOptions, triggers: &str, more: &str) -> Self {
        Self::open_beside(options, (triggers, more), &[]).await
    }

    /// The same with further files in the repository.
    pub(crate) async fn open_beside(options: DaemonOptions, (triggers, more): (&str, &str), files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let daemon = Daemon::start_with(options.variable("HOOKWRIGHT_SANDBOX", "off")).await;
        let copy = WorkingCopy::new();
        let handler = format!("FOLDER = {:?}\n{HANDLER}", folder.path().to_str().expect("a path"));
        copy.write("webhook.yaml", &spec(triggers, more)).write("server.py", &handler);
        for (path, content) in files {
            copy.write(path, content);
        }
        copy.commit("Begin");
        for environment in ["development", "production"] {
            let path = format!("/api/v1/webhooks/shop/environments/{environment}/secrets/SIGNING");
            assert_eq!(daemon.request(Method::PUT, &path, Some(json!({ "value": SECRET }))).await.0, 204);
        }
        copy.push(&daemon, "shop");
        daemon.answers("shop", "development", "here").await;
        Self { daemon, copy, folder }
    }

    pub(crate) async fn address(&self, trigger: &str, environment: &str) -> String {
        let find = async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/triggers?webhook=shop").await;
            let found = list["items"].as_array()?.iter().find(|item| item["name"] == trigger && item["environment"] == environment)?;
            Some(format!("{}{}", daemon.address(), found["address"].as_str()?))
        };
        self.daemon.until("an address", find).await
    }

    /// What the handler got, in order.
    pub(crate) fn received(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("received")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub(crate) async fn receives(&self, count: usize) -> Vec<Value> {
        self.daemon
            .until("the handler to get its events", async |_| {
                let received = self.received();
                (received.len() >= count).then_some(received)
            })
            .await
    }

    /// Makes the handler answer a path with a status, or as before.
    pub(crate) fn answers(&self, path: &str, status: Option<u16>) {
        let file = self.folder.path().join(format!("{path}.status"));
        match status {
            Some(status) => std::fs::write(file, status.to_string()).expect("written"),
            None => std::fs::remove_file(file).expect("removed"),
        }
    }

    pub(crate) async fn deliveries(&self, filter: &str) -> Vec<Value> {
        let list = self.daemon.get(&format!("/api/v1/events?webhook=shop&limit=500{filter}")).await;
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) async fn in_status(&self, status: &str, count: usize) -> Vec<Value> {
        self.daemon
            .until(status, async |_| {
                let found = self.deliveries(&format!("&status={status}")).await;
                (found.len() >= count).then_some(found)
            })
            .await
    }

    pub(crate) fn client(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(BINARY);
        command.args(arguments).env("HOOKWRIGHT_SERVER", self.daemon.address()).env("HOOKWRIGHT_TOKEN", self.daemon.token());
        let output = command.current_dir(self.folder.path()).output().expect("the client runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }
}

pub(crate) fn spec(triggers: &str, more: &str) -> String {
    format!(
        "version: 1\nname: shop\nhandler: {{ command: [python3, server.py] }}\nconfig:\n  SIGNING: {{ type: string, secret: true, required: true }}\n{more}triggers:\n{triggers}"
    )
}

const ISSUES: &str =
    "  issues:\n    source: github\n    secret: SIGNING\n    events: [issues.opened, issues.closed]\n    deliver: { path: /issues }\n";

/// An event as GitHub sends it.
pub(crate) struct GitHub<'a> {
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    pub(crate) body: String,
}

impl<'a> GitHub<'a> {
    pub(crate) fn issue(id: &'a str, number: u64) -> Self {
        let body = json!({ "action": "opened", "issue": { "number": number, "title": id }, "repository": { "full_name": "acme/shop" } });
        Self { kind: "issues", id, body: body.to_string() }
    }

    pub(crate) async fn send(&self, address: &str) -> u16 {
        self.send_signed(address, &signed(SECRET, self.body.as_bytes())).await
    }

    async fn send_signed(&self, address: &str, signature: &str) -> u16 {
        let request = Client::new().post(address).header("X-GitHub-Event", self.kind).header("X-GitHub-Delivery", self.id);
        let request = request.header("Content-Type", "application/json").header("X-Hub-Signature-256", signature);
        request.body(self.body.clone()).timeout(Duration::from_secs(60)).send().await.expect("an answer").status().as_u16()
    }
}

/// A signature made by another implementation than the one under test.
pub(crate) fn signed(secret: &str, body: &[u8]) -> String {
    python(
        "import hashlib,hmac,sys; print('sha256='+hmac.new(sys.argv[1].encode(), sys.stdin.buffer.read(), hashlib.sha256).hexdigest())",
        secret,
        body,
    )
}

pub(crate) fn python(script: &str, argument: &str, input: &[u8]) -> String {
    use std::io::Write;
    let mut command = Command::new("python3");
    command.args(["-c", script, argument]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("python runs");
    child.stdin.take().expect("its input").write_all(input).expect("written");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A value at `/metrics`; 0 when it is not there.
pub(crate) async fn metric(shop: &Shop, name: &str, more: &str) -> f64 {
    let request = Client::new().get(format!("{}/metrics", shop.daemon.address())).bearer_auth(shop.daemon.token());
    let text = request.send().await.expect("an answer").text().await.expect("a text");
    let line = text.lines().find(|line| line.starts_with(name) && more.split(' ').all(|label| line.contains(label)));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_signed_event_reaches_the_handler_once_with_its_body_and_headers_and_our_own_signature() {
    let shop = Shop::open(ISSUES, "").await;
    let address = shop.address("issues", "development").await;
    let event = GitHub {
        body: "{\"action\":\"opened\",\r\n \"issue\": {\"number\":7},\"\\u00e9\":1,\"issue\":{\"number\":7}}".to_owned(),
        ..GitHub::issue("one", 7)
    };
    assert_eq!(event.send(&address).await, 200);
    let received = &shop.receives(1).await[0];
    assert_eq!(received["path"], "/issues");
    assert_eq!(received["body"], event.body, "the raw bytes, whatever a JSON library would make of them");
    let headers = &received["headers"];
    assert_eq!(
        (&headers["x-github-event"], &headers["x-hub-signature-256"]),
        (&json!("issues"), &json!(signed(SECRET, event.body.as_bytes())))
    );

    let message = format!(
        "{}.{}.{}",
        headers["webhook-id"].as_str().expect("an id"),
        headers["webhook-timestamp"].as_str().expect("a time"),
        event.body
    );
    let script = "import base64,hashlib,hmac,sys; key=base64.b64decode(sys.argv[1][6:]); print('v1,'+base64.b64encode(hmac.new(key, sys.stdin.buffer.read(), hashlib.sha256).digest()).decode())";
    assert_eq!(
        headers["webhook-signature"],
        python(script, received["key"].as_str().expect("a key"), message.as_bytes()),
        "the handler can verify us"
    );

    assert_eq!(event.send(&address).await, 200, "the source is told yes again");
    assert_eq!(GitHub { id: "another", ..GitHub { body: event.body.clone(), ..GitHub::issue("x", 7) } }.send(&address).await, 200);
    let delivered = shop.in_status("delivered", 1).await;
    assert_eq!(shop.deliveries("").await.len(), 1, "the same id, and the same body under another id, are the same event");
    let shown = shop.daemon.get(&format!("/api/v1/events/{}", delivered[0]["event"].as_str().expect("an id"))).await;
    assert_eq!((&shown["type"], &shown["verified"], &shown["source_id"]), (&json!("issues.opened"), &json!(true), &json!("one")));
    let attempt = &shown["deliveries"][0]["attempts"][0];
    assert_eq!((&attempt["status"], &attempt["body"]), (&json!(200), &json!("taken")));
    assert_eq!(shop.received().len(), 1);
    let received =
        async |result: &str| metric(&shop, "hookwright_events_received_total", &format!("webhook=\"shop\" result=\"{result}\"")).await;
    assert_eq!((received("stored").await, received("duplicate").await, received("refused").await), (1.0, 2.0, 0.0));
    assert_eq!(metric(&shop, "hookwright_delivery_seconds_count", "environment=\"development\"").await, 1.0);
}

#[tokio::test]
async fn what_is_not_signed_as_it_should_be_is_refused_and_not_stored() {
    let shop = Shop::open(ISSUES, "").await;
    let address = shop.address("issues", "development").await;
    let event = GitHub::issue("one", 7);
    let good = signed(SECRET, event.body.as_bytes());
    let upper = format!("sha256={}", good.trim_start_matches("sha256=").to_uppercase());
    let bad = [
        "",
        "sha256=",
        "sha256=00",
        &good[..good.len() - 2],
        &format!("{good}00"),
        &upper,
        &signed("other", event.body.as_bytes()),
        &good[7..],
    ];
    for signature in bad {
        assert_eq!(event.send_signed(&address, signature).await, 401, "{signature}");
    }
    let sha1 =
        Client::new().post(&address).header("X-GitHub-Event", "issues").header("X-Hub-Signature", "sha1=00").body(event.body.clone());
    assert_eq!(sha1.send().await.expect("an answer").status(), 401);
    let twice = Client::new()
        .post(&address)
        .header("X-GitHub-Event", "issues")
        .header("X-Hub-Signature-256", &good)
        .header("X-Hub-Signature-256", &good);
    assert_eq!(twice.body(event.body.clone()).send().await.expect("an answer").status(), 401);
    assert_eq!(GitHub { kind: "push", ..GitHub::issue("one", 7) }.send(&address).await, 400, "the type does not go with the body");
    assert_eq!(Client::new().get(&address).send().await.expect("an answer").status(), 405);
    let packed =
        Client::new().post(&address).header("Content-Encoding", "gzip").header("X-Hub-Signature-256", &good).body(event.body.clone());
    assert_eq!(packed.send().await.expect("an answer").status(), 415);
    let guessed = format!("{}/hooks/{}", shop.daemon.address(), "0".repeat(32));
    assert_eq!(event.send(&guessed).await, 404);
    assert!(shop.deliveries("").await.is_empty());
    assert_eq!(metric(&shop, "hookwright_events_received_total", "result=\"refused\"").await, bad.len() as f64 + 5.0);

    assert_eq!(event.send(&address).await, 200, "a refused event has used up no id");
    shop.receives(1).await;
    let around = Client::new().post(format!("{}/w/shop/development/%69ssues/", shop.daemon.address())).body("{}").send().await;
    assert_eq!(around.expect("an answer").status(), 403, "nobody goes around the signature");
}

#[tokio::test]
async fn other_types_pings_and_what_the_filter_refuses_are_stored_and_not_delivered() {
    let triggers = "  issues:\n    source: github\n    secret: SIGNING\n    events: [issues]\n    filter: payload.issue.number > 10\n    deliver: { path: /issues }\n";
    let shop = Shop::open(triggers, "").await;
    let address = shop.address("issues", "development").await;
    let push = GitHub { kind: "push", id: "push", body: json!({ "commits": [] }).to_string() };
    let ping = GitHub { kind: "ping", id: "ping", body: json!({ "zen": "Keep it logically awesome." }).to_string() };
    let bare = GitHub { kind: "issues", id: "bare", body: json!({ "action": "opened", "issue": {} }).to_string() };
    for event in [push, ping, GitHub::issue("small", 7), GitHub::issue("large", 11), bare] {
        assert_eq!(event.send(&address).await, 200);
    }
    let received = shop.receives(1).await;
    assert!(received.len() == 1 && received[0]["body"].as_str().is_some_and(|body| body.contains("large")), "{received:?}");
    let skipped = shop.in_status("skipped", 4).await;
    let reasons: Vec<&str> = skipped.iter().filter_map(|delivery| delivery["status_reason"].as_str()).collect();
    assert_eq!(reasons.len(), 4, "{skipped:?}");
    assert!(reasons.contains(&"the filter `payload.issue.number > 10` is false"), "{reasons:?}");
    let unanswered = |reason: &&&str| reason.starts_with("the filter `payload.issue.number > 10` cannot be answered: ");
    let unanswered = reasons.iter().find(unanswered).expect("a filter without an answer");
    assert!(unanswered.ends_with("; the payload has no `payload.issue.number`"), "{unanswered}");
    let found = shop.deliveries("&payload=issue.number=11").await;
    assert_eq!(found.len(), 1);
    assert_eq!(shop.deliveries("&type=issues.*").await.len(), 3);
}

#[tokio::test]
async fn a_failing_handler_gets_an_event_again_until_it_is_given_up_and_then_when_somebody_asks() {
    let triggers = "  issues:\n    source: github\n    secret: SIGNING\n    deliver: { path: /issues, retry: { attempts: 2 } }\n  others:\n    source: github\n    secret: SIGNING\n    deliver: { path: /others }\n";
    let shop = Shop::open(triggers, "").await;
    let (issues, others) = (shop.address("issues", "development").await, shop.address("others", "development").await);
    shop.answers("issues", Some(503));
    assert_eq!(GitHub::issue("one", 1).send(&issues).await, 200, "the source is not told what the handler does");
    assert_eq!(GitHub::issue("two", 2).send(&others).await, 200);
    let dead = shop.in_status("dead", 1).await;
    assert!(
        dead[0]["attempts"] == 2 && dead[0]["status_reason"].as_str().is_some_and(|reason| reason.contains("answered 503")),
        "{dead:?}"
    );
    assert_eq!(shop.in_status("delivered", 1).await[0]["trigger"], "others", "another trigger's deliveries go on");
    let attempts = async |status: &str| metric(&shop, "hookwright_delivery_attempts_total", &format!("status=\"{status}\"")).await;
    assert_eq!((attempts("waiting").await, attempts("dead").await, attempts("delivered").await), (1.0, 1.0, 1.0));
    assert_eq!(metric(&shop, "hookwright_deliveries", "status=\"waiting\"").await, 0.0);

    shop.answers("issues", None);
    let (good, text) = shop.client(&["events", "replay", "--webhook", "shop", "--dead"]);
    assert!(good && text.contains("1 deliveries"), "{text}");
    shop.in_status("delivered", 2).await;
    let last = shop.received().pop().expect("a delivery");
    assert_eq!((&last["headers"]["x-hookwright-replay"], &last["status"]), (&json!("true"), &json!(200)));
    let ids: std::collections::HashSet<String> = shop.received().iter().map(|one| one["headers"]["webhook-id"].to_string()).collect();
    assert_eq!(ids.len(), 3, "retries have the same id, a replay has its own");
    let (good, text) = shop.client(&["events", "replay", dead[0]["event"].as_str().expect("an id"), "--to", "production"]);
    assert!(!good && text.contains("not deployed in `production`"), "{text}");
}

#[tokio::test]
async fn events_with_one_key_never_overtake_each_other_and_others_do() {
    let triggers = "  issues:\n    source: github\n    secret: SIGNING\n    deliver: { path: /issues, order_by: payload.issue.number, concurrency: 8 }\n";
    let shop = Shop::open(triggers, "").await;
    let address = shop.address("issues", "development").await;
    shop.answers("issues", Some(503));
    assert_eq!(GitHub::issue("a1", 1).send(&address).await, 200);
    shop.receives(1).await;
    for id in ["a2", "a3", "a4"] {
        assert_eq!(GitHub::issue(id, 1).send(&address).await, 200);
    }
    shop.answers("issues", None);
    assert_eq!(GitHub::issue("b1", 2).send(&address).await, 200);
    shop.in_status("delivered", 5).await;
    let order: Vec<String> = shop.received().iter().filter(|one| one["status"] == 200).map(|one| one["body"].to_string()).collect();
    let place = |id: &str| order.iter().position(|body| body.contains(&format!("\\\"{id}\\\""))).unwrap_or(usize::MAX);
    assert!(place("a1") < place("a2") && place("a2") < place("a3") && place("a3") < place("a4") && place("a4") < 5, "{order:?}");
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_daemon_and_is_delivered_once() {
    let triggers =
        "  issues:\n    source: github\n    secret: SIGNING\n    deliver: { path: /issues, retry: { attempts: 50, backoff: fixed } }\n";
    let mut shop = Shop::open(triggers, "").await;
    let mut acknowledged = std::collections::BTreeSet::new();
    for round in 0..4 {
        let address = shop.address("issues", "development").await;
        let told = Arc::new(AtomicUsize::new(0));
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let (address, told) = (address.clone(), told.clone());
                tokio::spawn(async move {
                    let mut taken = Vec::new();
                    for number in 0..400_u64 {
                        let id = format!("event-{round}-{sender}-{number}");
                        let event = GitHub::issue(&id, number);
                        let signature = signed_here(&event.body);
                        let request = Client::new().post(&address).header("X-GitHub-Event", "issues").header("X-GitHub-Delivery", &id);
                        let request = request.header("X-Hub-Signature-256", signature).header("Content-Type", "application/json");
                        match request.body(event.body.clone()).send().await {
                            Ok(answer) if answer.status() == 200 => {
                                taken.push(id);
                                told.fetch_add(1, Ordering::Relaxed);
                            }
                            _ => break,
                        }
                    }
                    taken
                })
            })
            .collect();
        shop.daemon.until("some to be acknowledged", async |_| (told.load(Ordering::Relaxed) >= 10).then_some(())).await;
        shop.daemon.kill();
        for sender in senders {
            acknowledged.extend(sender.await.expect("a sender"));
        }
        shop.daemon.restart().await;
    }
    assert!(acknowledged.len() >= 40, "some were acknowledged before each end: {}", acknowledged.len());
    let ids = |shop: &Shop| -> Vec<String> {
        shop.received().iter().filter_map(|one| Some(one["headers"]["x-github-delivery"].as_str()?.to_owned())).collect()
    };
    shop.daemon
        .until("everything acknowledged to be delivered", async |_| {
            let got: std::collections::BTreeSet<String> = ids(&shop).into_iter().collect();
            acknowledged.is_subset(&got).then_some(())
        })
        .await;
    // By our own id a handler sees what it has had already.
    let distinct: std::collections::BTreeSet<String> = shop.received().iter().map(|one| one["headers"]["webhook-id"].to_string()).collect();
    let events: std::collections::BTreeSet<String> = ids(&shop).into_iter().collect();
    assert_eq!(distinct.len(), events.len(), "each event has one delivery");
}

/// As [`signed`], without a process for each: for many events.
pub(crate) fn signed_here(body: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[tokio::test]
async fn a_schedule_fires_where_it_should_and_is_delivered_like_any_event() {
    let triggers = "  tick:\n    source: schedule\n    cron: \"* * * * * *\"\n    deliver: { path: /tick }\n";
    let more = "environments:\n  development: { promote: automatic, triggers: [tick] }\n";
    let shop = Shop::open(triggers, more).await;
    let received = shop.receives(2).await;
    let times: Vec<Value> = received.iter().map(|one| serde_json::from_str(one["body"].as_str().expect("a body")).expect("JSON")).collect();
    assert!(times[0]["scheduled_at"] != times[1]["scheduled_at"], "{times:?}");
    let shown = shop.in_status("delivered", 2).await;
    assert!(shown.iter().all(|delivery| delivery["type"] == "schedule"), "{shown:?}");
}

#[tokio::test]
async fn an_example_is_sent_with_one_command_and_a_rotated_secret_keeps_the_old_signatures_for_a_while() {
    let shop = Shop::open(ISSUES, "").await;
    let address = shop.address("issues", "development").await;
    let (good, text) = shop.client(&[
        "events",
        "send",
        "shop",
        "issues",
        "--event",
        "issues.opened",
        "--set",
        "issue.title=Water",
        "--set",
        "issue.number=9",
    ]);
    assert!(good, "{text}");
    let body: Value = serde_json::from_str(shop.receives(1).await[0]["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!((&body["issue"]["title"], &body["issue"]["number"]), (&json!("Water"), &json!(9)));
    let (good, text) = shop.client(&["events", "send", "shop", "issues", "--event", "nothing"]);
    assert!(!good && text.contains("issues.opened"), "{text}");
    shop.in_status("delivered", 1).await;
    let (good, text) = shop.client(&["events", "shop"]);
    assert!(good && text.contains("delivered") && text.contains("issues.opened"), "{text}");
    let (good, text) = shop.client(&["triggers", "shop"]);
    assert!(good && text.contains(&address), "{text}");

    let path = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
    let rotated = json!({ "value": "the-new-one", "previous_seconds": 3600 });
    assert_eq!(shop.daemon.request(Method::PUT, path, Some(rotated)).await.0, 204);
    let event = GitHub::issue("new", 1);
    shop.daemon
        .until("the new secret to count", async |_| {
            (event.send_signed(&address, &signed("the-new-one", event.body.as_bytes())).await == 200).then_some(())
        })
        .await;
    assert_eq!(GitHub::issue("old", 2).send(&address).await, 200, "signed with the one before");
}

#[tokio::test]
async fn a_synchronous_trigger_answers_with_what_the_handler_says_and_takes_the_event_when_it_fails() {
    let triggers =
        "  issues:\n    source: github\n    secret: SIGNING\n    deliver: { path: /issues, mode: sync, retry: { attempts: 5 } }\n";
    let shop = Shop::open(triggers, "").await;
    let address = shop.address("issues", "development").await;
    let send = async |id: &str| {
        let event = GitHub::issue(id, 1);
        let request = Client::new().post(&address).header("X-GitHub-Event", "issues").header("X-GitHub-Delivery", id);
        let request = request.header("X-Hub-Signature-256", signed_here(&event.body)).header("Content-Type", "application/json");
        let answer = request.body(event.body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a text"))
    };
    assert_eq!(send("one").await, (200, "taken".to_owned()));
    shop.answers("issues", Some(503));
    let (status, text) = send("two").await;
    assert!(status == 200 && text.contains("evt_"), "stored and accepted: {text}");
    shop.answers("issues", None);
    shop.in_status("delivered", 2).await;
}

#[tokio::test]
async fn an_event_too_large_too_slow_or_of_no_known_length_takes_no_memory_and_is_refused() {
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_GATEWAY_EVENT_LIMIT", "100000");
    let shop = Shop::open_with(options, ISSUES, "").await;
    let address = shop.address("issues", "development").await;
    let large = Client::new().post(&address).header("X-GitHub-Event", "issues").body(vec![b'x'; 100_001]).send().await;
    assert_eq!(large.expect("an answer").status(), 413);
    let stream = futures_stream(200);
    let endless = Client::new().post(&address).header("X-GitHub-Event", "issues").body(reqwest::Body::wrap_stream(stream)).send().await;
    assert!(endless.is_err() || endless.is_ok_and(|answer| answer.status() == 413));
    assert!(shop.deliveries("").await.is_empty());
}

/// So many KiB in parts.
fn futures_stream(kib: usize) -> impl futures_util::Stream<Item = Result<Vec<u8>, std::io::Error>> {
    futures_util::stream::iter((0..kib).map(|_| Ok(vec![b'x'; 1024])))
}

#[tokio::test]
async fn an_address_stays_the_same_over_deployments_and_a_missing_secret_keeps_everything_out() {
    let shop = Shop::open(ISSUES, "").await;
    let address = shop.address("issues", "development").await;
    shop.copy.edit("server.py", "here", "here again").commit("Change");
    shop.copy.push(&shop.daemon, "shop");
    shop.daemon.answers("shop", "development", "here again").await;
    assert_eq!(shop.address("issues", "development").await, address);
    let path = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
    assert_eq!(shop.daemon.request(Method::DELETE, path, None).await.0, 204);
    let refused = async |_: &Daemon| (GitHub::issue("one", 1).send(&address).await == 503).then_some(());
    shop.daemon.until("events to be refused", refused).await;
}

#[tokio::test]
async fn a_trigger_without_its_secret_keeps_a_promotion_waiting_although_the_setting_is_optional() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    let optional = spec(ISSUES, "").replace(", required: true", "");
    copy.write("webhook.yaml", &optional).write("server.py", &format!("FOLDER = '/nowhere'\n{HANDLER}")).commit("Begin");
    copy.push(&daemon, "shop");
    let waits = async |daemon: &Daemon| {
        let promotions = daemon.get("/api/v1/promotions?webhook=shop").await;
        promotions["items"][0]["verdicts"].to_string().contains("secret set shop development SIGNING").then_some(())
    };
    daemon.until("the promotion to say what is missing", waits).await;
    let path = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
    assert_eq!(daemon.request(Method::PUT, path, Some(json!({ "value": SECRET }))).await.0, 204);
    daemon.answers("shop", "development", "here").await;
}
