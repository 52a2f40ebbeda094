//! Several daemons on one PostgreSQL: one leads, all take events in. On SQLite there is nothing of it, and the tests say so by ending at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::{Client, Method};
use serde_json::json;

use crate::events::{SECRET, signed_here};
use crate::registration::{Forge, only_hook};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// Writes down the id of each delivery and the body it came with.
pub(crate) const HANDLER: &str = r#"
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"here")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with open(RECEIVED, "a") as file:
            file.write(self.headers["Webhook-Id"] + " " + body + "\n")
        self.answer(b"taken")

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

pub(crate) const SPEC: &str = "version: 1
name: shop
handler: { command: [python3, server.py] }
config:
  SIGNING: { type: string, secret: true, required: true }
triggers:
  issues:
    source: github
    repository: acme/shop
    secret: SIGNING
    events: [issues.opened]
    deliver: { path: /issues }
environments:
  development: { promote: automatic }
";

/// A webhook with a trigger that is registered at a strict source, led by one daemon with another one beside it.
struct Pair {
    first: Daemon,
    second: Daemon,
    forge: Forge,
    folder: tempfile::TempDir,
    path: String,
    _copy: WorkingCopy,
}

impl Pair {
    /// `None` without a PostgreSQL.
    async fn open() -> Option<Self> {
        let forge = Forge::start();
        let options = forge.options().variable("HOOKWRIGHT_SANDBOX", "off");
        let first = Daemon::start_with(options).await;
        first.database()?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
        assert_eq!(first.request(Method::PUT, path, Some(json!({ "value": SECRET }))).await.0, 204);
        let copy = WorkingCopy::new();
        let handler = format!("RECEIVED = {:?}\n{HANDLER}", folder.path().join("received").to_str().expect("a path"));
        copy.write("webhook.yaml", SPEC).write("server.py", &handler).commit("Begin");
        copy.push(&first, "shop");
        first.answers("shop", "development", "here").await;
        let second = first.start_beside("log-of-second", DaemonOptions::new(BINARY)).await;
        let trigger = first
            .until("the trigger to be registered", async |daemon: &Daemon| {
                let list = daemon.get("/api/v1/triggers").await;
                list["items"].as_array()?.iter().find(|item| item["status"] == "active").cloned()
            })
            .await;
        let path = trigger["address"].as_str().expect("an address").to_owned();
        Some(Self { first, second, forge, folder, path, _copy: copy })
    }

    /// Every one of these events is with the handler, each under one id.
    async fn delivers(&self, by: &Daemon, events: &BTreeSet<String>) {
        let all = async |_: &Daemon| events.iter().all(|body| received(self.folder.path()).contains_key(body)).then_some(());
        by.until("every acknowledged event to be delivered", all).await;
        let twice: Vec<_> = received(self.folder.path()).into_iter().filter(|(_, ids)| ids.len() > 1).collect();
        assert!(twice.is_empty(), "an event is one delivery, whoever took it in: {twice:?}");
    }
}

/// The ids of deliveries that the handler got, by body.
pub(crate) fn received(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(folder.join("received")).unwrap_or_default();
    let mut received: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, body) in text.lines().filter_map(|line| line.split_once(' ')) {
        received.entry(body.to_owned()).or_default().insert(id.to_owned());
    }
    received
}

async fn stands(daemon: &Daemon) -> String {
    match Client::new().get(format!("{}/readyz", daemon.address())).send().await {
        Ok(answer) => answer.text().await.unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}

pub(crate) async fn leads(daemon: &Daemon) {
    daemon.until("the daemon to lead", async |daemon: &Daemon| stands(daemon).await.contains("leader").then_some(())).await;
}

async fn follows(daemon: &Daemon, leader: &Daemon) {
    let wanted = format!("follower of {}", leader.address());
    daemon.until(&wanted, async |daemon: &Daemon| stands(daemon).await.contains(&wanted).then_some(())).await;
}

/// Sends an event as GitHub does; returns whether it was acknowledged. `number` makes it the event it is.
pub(crate) async fn send(client: &Client, origin: &str, path: &str, number: usize) -> Option<String> {
    let body = json!({ "action": "opened", "issue": { "number": number } }).to_string();
    let request = client
        .post(format!("{origin}{path}"))
        .header("X-GitHub-Event", "issues")
        .header("X-GitHub-Delivery", format!("delivery-{number}"))
        .header("X-Hub-Signature-256", signed_here(&body))
        .header("Content-Type", "application/json");
    let answer = request.body(body.clone()).timeout(Duration::from_secs(20)).send().await.ok()?;
    let status = answer.status();
    if status != 200 {
        // Shown when the test fails.
        println!("{origin} answered {status} to event {number}: {}", answer.text().await.unwrap_or_default());
        return None;
    }
    Some(body)
}

/// The same of an event that has to be acknowledged.
async fn sent(daemon: &Daemon, pair: &Pair, number: usize) -> BTreeSet<String> {
    BTreeSet::from([send(&Client::new(), daemon.address(), &pair.path, number).await.expect("an acknowledged event")])
}

/// Events without an end to every one of `origins`, until they are stopped; what was acknowledged is the result.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<BTreeSet<String>>>,
}

impl Load {
    fn begin(pair: &Pair, from: usize) -> Self {
        let (stop, acknowledged, next) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::new(AtomicUsize::new(from)));
        let tasks = (0..4)
            .map(|place| {
                let (stop, acknowledged, next) = (stop.clone(), acknowledged.clone(), next.clone());
                let origin = [pair.first.address(), pair.second.address()][place % 2].to_owned();
                let path = pair.path.clone();
                tokio::spawn(async move {
                    let (client, mut taken) = (Client::new(), BTreeSet::new());
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if let Some(body) = send(&client, &origin, &path, number).await {
                            taken.insert(body);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    taken
                })
            })
            .collect();
        Self { stop, acknowledged, tasks }
    }

    /// Waits until so many more were acknowledged.
    async fn more(&self, daemon: &Daemon, count: usize) {
        let begun = self.acknowledged.load(Ordering::Relaxed);
        let more = async |_: &Daemon| (self.acknowledged.load(Ordering::Relaxed) >= begun + count).then_some(());
        daemon.until("events to be acknowledged", more).await;
    }

    async fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for task in self.tasks {
            all.extend(task.await.expect("the load ends"));
        }
        all
    }
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().expect("kill runs").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_is_killed_under_load_the_other_daemon_takes_over_and_every_acknowledged_event_is_delivered() {
    let Some(mut pair) = Pair::open().await else { return };
    leads(&pair.first).await;
    follows(&pair.second, &pair.first).await;
    let load = Load::begin(&pair, 0);
    load.more(&pair.second, 100).await;

    let begun = std::time::Instant::now();
    pair.first.kill();
    leads(&pair.second).await;
    assert!(begun.elapsed() < Duration::from_secs(11), "nobody waited for the end of a lease: {:?}", begun.elapsed());
    load.more(&pair.second, 50).await;
    pair.second.answers("shop", "development", "here").await;
    load.more(&pair.second, 50).await;
    pair.first.restart().await;
    follows(&pair.first, &pair.second).await;
    load.more(&pair.second, 50).await;

    let acknowledged = load.end().await;
    pair.delivers(&pair.second, &acknowledged).await;
    assert!(only_hook(&pair.forge.state().await).is_some(), "the source knows one hook: {}", pair.forge.state().await);
    pair.first.answers("shop", "development", "here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_both_daemons_get_at_once_is_stored_once() {
    let Some(pair) = Pair::open().await else { return };
    follows(&pair.second, &pair.first).await;
    let client = Client::new();
    let mut taken = BTreeSet::new();
    for number in 0..40 {
        let (one, other) =
            tokio::join!(send(&client, pair.first.address(), &pair.path, number), send(&client, pair.second.address(), &pair.path, number));
        assert!(one.is_some() && one == other, "both are told that it is there: {one:?} {other:?}");
        taken.extend(one);
    }
    pair.delivers(&pair.first, &taken).await;
    let events = pair.second.get("/api/v1/events?webhook=shop&limit=500").await;
    assert_eq!(events["items"].as_array().map(Vec::len), Some(40), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hangs_is_replaced_and_does_not_act_when_it_wakes() {
    let Some(mut pair) = Pair::open().await else { return };
    follows(&pair.second, &pair.first).await;
    let hung = pair.first.pid();
    signal("-STOP", hung);
    leads(&pair.second).await;
    pair.second.answers("shop", "development", "here").await;
    pair.delivers(&pair.second, &sent(&pair.second, &pair, 1).await).await;

    // It was killed before anybody else acted: waking it is of no use.
    let _ = Command::new("kill").args(["-CONT", &hung.to_string()]).status();
    let ended = pair.first.ended().await;
    assert!(!ended.success(), "{ended}");
    pair.first.restart().await;
    follows(&pair.first, &pair.second).await;
    assert!(only_hook(&pair.forge.state().await).is_some(), "the source knows one hook");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_sleeps_for_less_than_its_lease_leads_on() {
    let Some(pair) = Pair::open().await else { return };
    follows(&pair.second, &pair.first).await;
    signal("-STOP", pair.first.pid());
    tokio::time::sleep(Duration::from_secs(2)).await;
    signal("-CONT", pair.first.pid());
    leads(&pair.first).await;
    pair.delivers(&pair.first, &sent(&pair.second, &pair, 1).await).await;
    follows(&pair.second, &pair.first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_ends_lets_go_at_once_and_one_that_follows_passes_everything_on() {
    let Some(mut pair) = Pair::open().await else { return };
    follows(&pair.second, &pair.first).await;
    // Reading, changing, git and handlers, all through the one that follows.
    pair.second.answers("shop", "development", "here").await;
    let path = "/api/v1/webhooks/shop/environments/development/secrets/OTHER";
    assert_eq!(pair.second.request(Method::PUT, path, Some(json!({ "value": "x" }))).await.0, 204);
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &SPEC.replace("name: shop", "name: second-shop").replace("triggers:", "x-none:")).commit("Begin");
    copy.try_push(&pair.second, "second-shop", pair.second.token(), "main");
    let begun = std::time::Instant::now();
    assert!(pair.first.terminate().await.success());
    leads(&pair.second).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "nobody waited for the end of a lease: {:?}", begun.elapsed());
    pair.second.answers("shop", "development", "here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_a_folder_of_its_own_takes_events_in_and_never_leads_and_one_with_another_key_is_refused() {
    let Some(mut pair) = Pair::open().await else { return };
    let own = tempfile::tempdir().expect("a temporary folder");
    let database = pair.first.database().expect("a database");
    let start = |folder: &Path| {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--listen", "127.0.0.1:0", "--database", &database, "--data"]).arg(folder);
        command
    };
    let refused = start(&own.path().join("other")).output().expect("the binary runs");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("another key") && text.contains("copy the file `key`"), "{text}");

    pair.second.terminate().await;
    let options = DaemonOptions { token: Some(pair.first.token().to_owned()), ..DaemonOptions::new(BINARY) };
    let third = Daemon::start_with_key(options.on_database(&database), &pair.first.data().join("key")).await;
    follows(&third, &pair.first).await;
    assert!(stands(&third).await.contains("its data folder"), "it says why it cannot lead: {}", stands(&third).await);
    pair.delivers(&pair.first, &sent(&third, &pair, 1).await).await;

    pair.first.kill();
    let kept = third.until("an event to be taken while nobody leads", async |daemon: &Daemon| {
        send(&Client::new(), daemon.address(), &pair.path, 2).await
    });
    let kept = kept.await;
    let (status, _) = third.call("shop", "development", "/").await;
    assert_eq!(status, 503, "nobody else has the handlers");
    assert_eq!(third.request(Method::GET, "/api/v1/webhooks/shop", None).await.0, 200, "what is in the database is read there");
    pair.first.restart().await;
    leads(&pair.first).await;
    pair.delivers(&pair.first, &BTreeSet::from([kept])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_loses_its_database_is_replaced_and_becomes_one_that_follows() {
    let Some(database) = hookwright_testkit::Database::of_the_environment() else { return };
    let way = database.forwarder().await;
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off");
    let first = Daemon::start_with(options.clone().on_database(&database.url_through(&way))).await;
    let second = first.start_beside("log-of-second", options.on_database(&database.url())).await;
    follows(&second, &first).await;
    let pid = first.pid();
    way.cut();
    leads(&second).await;
    way.mend();
    follows(&first, &second).await;
    assert_eq!(first.pid(), pid, "it began anew in place");
    assert!(first.log().contains("begins anew"), "{}", first.log());
}
