//! Triggers and events in a browser: what is received, found again, delivered again and tried out, whatever strangers send.

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::Method;
use serde_json::{Value, json};

use super::BINARY;
use super::browser::{Browser, Script};
use super::look::inspect;

/// Takes events, or says that it never will (410) as long as a file `broken` stands in its folder.
const HANDLER: &str = r#"
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b"here")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        broken = os.path.exists(os.path.join(FOLDER, "broken"))
        self.answer(410 if broken else 200, b'{"taken": "<img src=x onerror=alert(1)>"}')

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Set-Cookie", "session=canary-cookie")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const SPEC: &str = "version: 1
name: shop
handler: { command: [python3, server.py] }
config:
  SIGNING: { type: string, secret: true, required: true }
environments:
  development: { triggers: [issues, nightly] }
triggers:
  issues:
    source: github
    secret: SIGNING
    events: [issues.opened, issues.closed]
    deliver: { path: /issues }
  nightly:
    source: schedule
    cron: '30 2 * * *'
    timezone: Europe/Paris
    deliver: { path: /nightly }
";

struct Shop {
    daemon: Daemon,
    folder: tempfile::TempDir,
    _copy: WorkingCopy,
}

impl Shop {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let daemon = Daemon::start_with(DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off")).await;
        let copy = WorkingCopy::new();
        let handler = format!("FOLDER = {:?}\n{HANDLER}", folder.path().to_str().expect("a path"));
        copy.write("webhook.yaml", SPEC).write("server.py", &handler).commit("Begin");
        let path = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
        assert_eq!(daemon.request(Method::PUT, path, Some(json!({ "value": "canary-signing" }))).await.0, 204);
        copy.push(&daemon, "shop");
        daemon.answers("shop", "development", "here").await;
        Self { daemon, folder, _copy: copy }
    }

    fn breaks(&self) {
        std::fs::write(self.folder.path().join("broken"), "").expect("written");
    }

    fn is_mended(&self) {
        std::fs::remove_file(self.folder.path().join("broken")).expect("removed");
    }

    /// Sends an example through the front door, with fields put in and headers added, and returns the event's id once it has ended.
    async fn receives(&self, set: Value, headers: &[(&str, &str)]) -> String {
        let path = "/api/v1/webhooks/shop/environments/development/triggers/issues/sample";
        let sample = self.daemon.post(path, json!({ "type": "issues.opened", "set": set })).await;
        let address = format!("{}{}", self.daemon.address(), sample["path"].as_str().expect("a path"));
        let mut request = reqwest::Client::new().post(address).body(sample["body"].as_str().expect("a body").to_owned());
        for (name, value) in sample["headers"].as_object().expect("headers") {
            request = request.header(name, value.as_str().expect("a text"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        let id = answer["events"][0].as_str().expect("an event").to_owned();
        let ended = async |daemon: &Daemon| {
            let event = daemon.get(&format!("/api/v1/events/{id}")).await;
            event["deliveries"][0]["delivery"]["ended_at"].is_i64().then_some(())
        };
        self.daemon.until("the event to be delivered or dead", ended).await;
        id
    }

    async fn count(&self, status: &str) -> usize {
        let list = self.daemon.get(&format!("/api/v1/events?webhook=shop&status={status}&limit=500")).await;
        list["items"].as_array().map_or(0, Vec::len)
    }

    async fn has(&self, count: usize, status: &str) {
        let ended = async |_: &Daemon| (self.count(status).await == count).then_some(());
        self.daemon.until(&format!("{count} to be {status}"), ended).await;
    }
}

#[tokio::test]
async fn a_test_event_is_sent_found_by_its_payload_and_a_dead_letter_is_delivered_again() {
    let shop = Shop::open().await;
    let browser = Browser::start(&shop.daemon, Script::On).await;
    browser.sign_in(shop.daemon.token(), Script::On).await;
    browser.open("/").await;
    browser.until_text("the triggers on the board", "a.board-run", "2 triggers").await;
    browser.open("/webhooks/shop").await;
    browser.until_text("the triggers of the webhook", "#triggers-of", "nightly").await;
    browser.open("/webhooks/shop/triggers").await;
    browser.until_text("the address", "#triggers pre", &format!("{}/hooks/", shop.daemon.address())).await;
    browser.until_text("what is left to do", ".steps-by-hand", "Settings → Webhooks").await;
    browser.until_text("the next times of the schedule", ".times", "02:30:00 CE").await;
    assert_eq!(browser.count(".times li").await, 5);
    assert!(!browser.run("return document.documentElement.outerHTML").await.to_string().contains("canary-signing"), "a secret is shown");

    browser.press(".trigger details.fold summary").await;
    browser.run("document.querySelector('.trigger select[name=type]').value = 'issues.opened'").await;
    browser.fill(".trigger textarea[name=set]", "issue.number=4711\nissue.title=From the page").await;
    browser.press(".trigger .stack button").await;
    browser.until_text("the word about it", ".said", "example is sent").await;
    browser.until_text("the body", ".payload", "\"number\": 4711").await;
    // From here on nothing is loaded again by hand: the page follows by itself.
    browser.until_text("the end of its delivery", "#deliveries .state", "delivered").await;
    browser.press("#deliveries details summary").await;
    browser.until_text("the answer", "#deliveries", "taken").await;
    browser.until_text("what the request had", "#deliveries", "webhook-id").await;
    let page = browser.run("return document.querySelector('main').textContent").await.to_string();
    assert!(page.contains("[hidden]") && !page.contains("canary-cookie"), "a cookie of the handler is shown: {page}");
    browser.until_text("the state by now", "h1", "issues.opened").await;

    shop.breaks();
    browser.open("/webhooks/shop/events").await;
    browser.until("the first event", "#events .row").await;
    browser.run("window.untouched = true").await;
    browser.run("document.querySelector('#events input[type=checkbox]').checked = true").await;
    let chosen = browser.run("return document.querySelector('#events input:checked').value").await;
    shop.receives(json!({ "issue.number": "9" }), &[]).await;
    browser.until_text("the dead letter, without loading again", "#events .row .state", "dead").await;
    assert_eq!(browser.run("return window.untouched").await, json!(true));
    let still = browser.run("return [...document.querySelectorAll('#events input:checked')].map((one) => one.value)").await;
    assert_eq!(still, json!([chosen]), "a row that came above takes the choice of none below");

    browser.open("/webhooks/shop/events?payload=issue.number%3D4711").await;
    browser.until_text("what was found", "#events .row", "issues.opened").await;
    assert_eq!(browser.count("#events .row").await, 1);
    browser.open("/webhooks/shop/events?text=from+THE+page&status=delivered&type=issues.*").await;
    browser.until("what was found by its text", "#events .row").await;
    browser.open("/webhooks/shop/events?text=nothing+like+this").await;
    browser.until_text("that nothing was", ".empty", "None matches").await;

    shop.is_mended();
    browser.open("/webhooks/shop/events?status=dead").await;
    browser.run("window.confirm = () => true").await;
    browser.press("button[value=dead]").await;
    browser.until_text("the word about it", ".said", "delivered again").await;
    assert!(browser.run("return location.search").await.to_string().contains("status=dead"), "the filter stays");
    shop.has(2, "delivered").await;
    let all = shop.daemon.get("/api/v1/events?webhook=shop&status=delivered").await;
    assert_eq!((&all["items"][0]["replay"], &all["items"][1]["replay"]), (&json!(true), &json!(false)));
    let audit = shop.daemon.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("event.sent") && audit.contains("event.replay"), "{audit}");
}

#[tokio::test]
async fn without_any_script_events_are_filtered_chosen_and_delivered_again() {
    let shop = Shop::open().await;
    let first = shop.receives(json!({ "issue.number": "1" }), &[]).await;
    shop.receives(json!({ "issue.number": "2" }), &[]).await;
    let browser = Browser::start(&shop.daemon, Script::Off).await;
    browser.sign_in(shop.daemon.token(), Script::Off).await;
    browser.open("/webhooks/shop/events").await;
    browser.fill("input[name=payload]", "issue.number=1").await;
    browser.press(".event-filter button").await;
    browser.until_text("that it is filtered", ".event-filter", "Show all").await;
    assert_eq!(browser.count("#events .row").await, 1);
    browser.press("#events input[type=checkbox]").await;
    browser.press("button[value=chosen]").await;
    browser.until_text("the word about it", ".said", "delivered again").await;
    shop.has(3, "delivered").await;
    browser.press("#events .row-link").await;
    assert_eq!(browser.path().await, format!("/events/{first}"));
    assert_eq!(browser.count("#deliveries .deliveries > li").await, 2);
    browser.press(".replay-one button").await;
    browser.until_text("the word about it", ".said", "marked as a replay").await;
    shop.has(4, "delivered").await;
    // All that a payload finds go again, and nothing else does.
    browser.open("/webhooks/shop/events?payload=issue.number%3D2").await;
    browser.press("button[value=matching]").await;
    browser.until_text("the word about it", ".said", "delivered again").await;
    shop.has(5, "delivered").await;
    let newest = shop.daemon.get("/api/v1/events?webhook=shop&limit=1").await["items"][0]["event"].clone();
    let event = shop.daemon.get(&format!("/api/v1/events/{}", newest.as_str().expect("an id"))).await;
    assert!(event["body"].as_str().is_some_and(|body| body.contains("\"number\":2") || body.contains("\"number\": 2")), "{event}");
}

#[tokio::test]
async fn a_viewer_reads_events_and_neither_finds_nor_forges_what_changes_them() {
    let shop = Shop::open().await;
    let event = shop.receives(json!({}), &[]).await;
    let made = shop.daemon.post("/api/v1/tokens", json!({ "user": "vera", "grants": [{ "role": "viewer", "scope": {} }] })).await;
    let browser = Browser::start(&shop.daemon, Script::On).await;
    browser.sign_in(made["token"].as_str().expect("a token"), Script::On).await;
    for path in ["/webhooks/shop/triggers".to_owned(), "/webhooks/shop/events".to_owned(), format!("/events/{event}")] {
        browser.open(&path).await;
        browser.until_text("the page", "main", "issues").await;
        assert_eq!(browser.count("main form[method=post]").await, 0, "{path}");
        assert!(!browser.run("return document.body.innerHTML").await.to_string().contains("/hooks/"), "{path} shows an address");
    }
    let forged = |path: &str| {
        format!(
            "const done = arguments[arguments.length - 1]; const csrf = document.querySelector('[name=csrf]').value;
            fetch('{path}', {{ method: 'POST', body: new URLSearchParams({{ csrf, what: 'matching' }}) }}).then((answer) => done(answer.status));"
        )
    };
    for path in [
        "/webhooks/shop/events/replay".to_owned(),
        format!("/events/{event}/replay"),
        "/webhooks/shop/environments/development/triggers/issues/send".to_owned(),
    ] {
        assert_eq!(browser.wait_for(&forged(&path)).await, json!(403), "{path}");
    }
    assert_eq!(shop.count("delivered").await, 1);
}

#[tokio::test]
async fn the_pages_of_events_hold_against_hostile_payloads_and_look_well_everywhere() {
    let shop = Shop::open().await;
    let title =
        "<img src=x onerror=\"document.title='owned'\"> \u{202e}gnp.exe \u{1b}[31mred </pre><script>document.title='owned'</script>";
    let headers = [("x-evil", "<script>document.title='owned'</script>"), ("authorization", "Basic Y2FuYXJ5LWhlYWRlcg==")];
    let event = shop.receives(json!({ "issue.title": title, "issue.body": "x".repeat(300_000) }), &headers).await;
    shop.breaks();
    shop.receives(json!({}), &[]).await;
    let browser = Browser::start(&shop.daemon, Script::On).await;
    browser.sign_in(shop.daemon.token(), Script::On).await;
    let mut found = Vec::new();
    let pages = [
        ("triggers", "/webhooks/shop/triggers".to_owned()),
        ("events", "/webhooks/shop/events".to_owned()),
        ("events-filtered", "/webhooks/shop/events?status=canceled".to_owned()),
        ("event", format!("/events/{event}")),
        ("webhook-triggers", "/webhooks/shop".to_owned()),
    ];
    for (name, path) in pages {
        browser.open(&path).await;
        browser.run("for (const part of document.querySelectorAll('main details')) part.open = true").await;
        found.extend(inspect(&browser, name).await);
        assert!(!browser.run("return document.title").await.to_string().contains("owned"), "{name} ran what a stranger wrote");
        assert_eq!(browser.count("img, main script").await, 0, "{name} holds a stranger's markup");
        let text = browser.run("return document.querySelector('main').textContent").await.to_string();
        assert!(!text.contains('\u{202e}') && !text.contains("Y2FuYXJ5"), "{name}");
    }
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    browser.open(&format!("/events/{event}")).await;
    browser.until_text("the turned direction made visible", ".payload", "⟨U+202E⟩gnp.exe").await;
    browser.until_text("that there is more", "#request", "Download all").await;
    let size = "const done = arguments[arguments.length - 1];
        fetch(document.querySelector('#request a[download]').href).then(async (answer) => done([answer.headers.get('content-disposition').split(';')[0],
            answer.headers.get('x-content-type-options'), (await answer.text()).length > 300000]));";
    assert_eq!(browser.wait_for(size).await, json!(["attachment", "nosniff", true]));
}
