//! What was acknowledged is delivered, whatever becomes of the disk, the process and the clock; what could not be stored is not acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hookwright_testkit::{Daemon, DaemonOptions, MovedClock, WorkingCopy};
use reqwest::{Client, Method, StatusCode};
use serde_json::json;

use crate::events::{SECRET, signed_here};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// How often the daemon is killed.
const KILLS: usize = 20;

/// Events that are acknowledged between two kills at least.
const BETWEEN: usize = 15;

/// A handler that does each delivery once: it knows by `Webhook-Id` what it has had. It writes down what it did, and refuses while a file is there.
const HANDLER: &str = r#"
import http.server, os, threading

LOCK = threading.Lock()
DONE = os.path.join(FOLDER, "done")
had = set()
if os.path.exists(DONE):
    had = {line.split()[0] for line in open(DONE)}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if os.path.exists(os.path.join(FOLDER, "refuse")):
            open(os.path.join(FOLDER, "refused"), "a").write(self.headers["X-GitHub-Delivery"] + "\n")
            return self.answer(503)
        with LOCK:
            if self.headers["Webhook-Id"] not in had:
                had.add(self.headers["Webhook-Id"])
                with open(DONE, "a") as file:
                    file.write(self.headers["Webhook-Id"] + " " + self.headers["X-GitHub-Delivery"] + "\n")
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "4")
        if status == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const SPEC: &str = "version: 1
name: shop
handler: { command: [python3, server.py] }
config:
  SIGNING: { type: string, secret: true, required: true }
triggers:
  issues: { source: github, secret: SIGNING, deliver: { path: /issues, retry: { attempts: 100 } } }
environments:
  development: { promote: automatic }
";

/// A daemon with the handler, and what the handler did.
struct Bench {
    daemon: Daemon,
    folder: tempfile::TempDir,
    path: String,
    _copy: WorkingCopy,
}

impl Bench {
    async fn of(daemon: Daemon) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let secret = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
        assert_eq!(daemon.request(Method::PUT, secret, Some(json!({ "value": SECRET }))).await.0, 204);
        let copy = WorkingCopy::new();
        let handler = format!("FOLDER = {:?}\n{HANDLER}", folder.path().to_str().expect("a path"));
        copy.write("webhook.yaml", SPEC).write("server.py", &handler).commit("Begin");
        copy.push(&daemon, "shop");
        daemon.answers("shop", "development", "here").await;
        let path = daemon
            .until("an address", async |daemon: &Daemon| {
                let list = daemon.get("/api/v1/triggers").await;
                list["items"].as_array()?.iter().find_map(|item| item["address"].as_str().map(str::to_owned))
            })
            .await;
        Self { daemon, folder, path, _copy: copy }
    }

    fn address(&self) -> String {
        format!("{}{}", self.daemon.address(), self.path)
    }

    /// What the handler did: the event, and under which ids.
    fn done(&self) -> BTreeMap<String, Vec<String>> {
        let text = std::fs::read_to_string(self.folder.path().join("done")).unwrap_or_default();
        let mut done: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, event) in text.lines().filter_map(|line| line.split_once(' ')) {
            done.entry(event.to_owned()).or_default().push(id.to_owned());
        }
        done
    }

    /// All of these events are done, none of them twice, and nothing is left to do.
    async fn all_done_once(&self, acknowledged: &BTreeSet<String>) {
        let all = async |_: &Daemon| {
            let done = self.done();
            acknowledged.iter().all(|event| done.contains_key(event)).then_some(())
        };
        self.daemon.until("everything acknowledged to be delivered", all).await;
        for status in ["queued", "waiting"] {
            let none = async |daemon: &Daemon| {
                let list = daemon.get(&format!("/api/v1/events?webhook=shop&status={status}")).await;
                list["items"].as_array()?.is_empty().then_some(())
            };
            self.daemon.until("nothing to be on its way", none).await;
        }
        let twice: Vec<_> = self.done().into_iter().filter(|(_, ids)| ids.len() > 1).collect();
        assert!(twice.is_empty(), "an event is one delivery: {twice:?}");
    }
}

/// Sends an event as GitHub does, with so many bytes more; the status, or `None` when no answer came.
async fn send(client: &Client, address: &str, event: &str, more: usize) -> Option<StatusCode> {
    let body = json!({ "action": "opened", "issue": { "title": event, "body": "x".repeat(more) } }).to_string();
    let request = client.post(address).header("X-GitHub-Event", "issues").header("X-GitHub-Delivery", event);
    let request = request.header("X-Hub-Signature-256", signed_here(&body)).header("Content-Type", "application/json");
    request.body(body).timeout(Duration::from_secs(60)).send().await.ok().map(|answer| answer.status())
}

/// Events in turn, some acknowledged; every answer is either yes or "again later".
async fn send_all(bench: &Bench, names: impl Iterator<Item = String>, more: usize, acknowledged: &mut BTreeSet<String>) -> Vec<String> {
    let (client, address, mut refused) = (Client::new(), bench.address(), Vec::new());
    for name in names {
        match send(&client, &address, &name, more).await.expect("an answer").as_u16() {
            200 => drop(acknowledged.insert(name)),
            503 => refused.push(name),
            other => panic!("{other} for {name}:\n{}", bench.daemon.log()),
        }
    }
    refused
}

/// What was refused is acknowledged now, and none of it is taken for a duplicate of itself.
async fn send_again(bench: &Bench, refused: Vec<String>, acknowledged: &mut BTreeSet<String>) {
    for name in refused {
        let again = async |_: &Daemon| (send(&Client::new(), &bench.address(), &name, 10).await? == 200).then_some(());
        bench.daemon.until("an event that was refused to be taken", again).await;
        acknowledged.insert(name);
    }
}

/// Senders that each send one event after the other, each until it is acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    senders: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(address: &str) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let senders = (0..4)
            .map(|sender| {
                let (stop, acknowledged, address) = (stop.clone(), acknowledged.clone(), address.to_owned());
                tokio::spawn(async move {
                    let (client, mut sent) = (Client::new(), Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        let event = format!("event-{sender}-{}", sent.len());
                        // No answer, or a daemon that does not know yet what is deployed: GitHub would send it again too.
                        while send(&client, &address, &event, 10).await != Some(StatusCode::OK) {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        sent.push(event);
                    }
                    sent
                })
            })
            .collect();
        Self { stop, acknowledged, senders }
    }

    async fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for sender in self.senders {
            all.extend(sender.await.expect("a sender"));
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_under_load_lose_nothing_acknowledged_and_have_nothing_done_twice() {
    let mut bench = Bench::of(Daemon::start_with(DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off")).await).await;
    // Clients keep one address, as they do of a daemon behind systemd.
    bench.daemon.keep_socket().await;
    let load = Load::on(&bench.address());
    for _ in 0..KILLS {
        let before = load.acknowledged.load(Ordering::Relaxed);
        let enough = async |_: &Daemon| (load.acknowledged.load(Ordering::Relaxed) >= before + BETWEEN).then_some(());
        bench.daemon.until("events to be acknowledged", enough).await;
        bench.daemon.kill();
        bench.daemon.restart().await;
    }
    let acknowledged = load.end().await;
    assert!(acknowledged.len() >= KILLS * BETWEEN, "{}", acknowledged.len());
    bench.all_done_once(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_deliveries_that_wait_for_different_times_are_all_made_without_a_further_event() {
    let bench = Bench::of(Daemon::start_with(DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off")).await).await;
    let refuse = bench.folder.path().join("refuse");
    std::fs::write(&refuse, "").expect("written");
    let mut acknowledged = BTreeSet::new();
    assert!(send_all(&bench, (0..20).map(|number| format!("event-{number}")), 10, &mut acknowledged).await.is_empty());
    let tried = async |_: &Daemon| {
        let text = std::fs::read_to_string(bench.folder.path().join("refused")).unwrap_or_default();
        acknowledged.iter().all(|event| text.lines().any(|line| line == event)).then_some(())
    };
    bench.daemon.until("each to have been refused", tried).await;
    std::fs::remove_file(&refuse).expect("removed");
    bench.all_done_once(&acknowledged).await;
}

/// A small disk for a data folder of its own; `None` where only root can have one.
struct SmallDisk {
    place: std::path::PathBuf,
}

impl SmallDisk {
    fn mount(place: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(place).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(place).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("LEFT OUT: a full disk: only root can mount a small one");
            return None;
        }
        Some(Self { place: place.to_owned() })
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(self.place.join("filler")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.place.join("filler")).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_and_empties_refuses_events_meanwhile_and_loses_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(disk) = SmallDisk::mount(&folder.path().join("data"), "96m") else { return };
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off");
    let mut bench = Bench::of(Daemon::start_within(folder, options).await).await;
    if bench.daemon.database().is_some() {
        // Events are in PostgreSQL then; what it says when its disk is full goes the same way.
        return;
    }
    let (disk, mut acknowledged) = (disk, BTreeSet::new());
    for round in 0..2 {
        let refused = send_all(&bench, (0..5).map(|number| format!("before-{round}-{number}")), 20_000, &mut acknowledged).await;
        assert_eq!(refused, [""; 0], "there is room");
        let mut refused = Vec::new();
        for number in 0..40 {
            // Also what others have freed meanwhile. Some events fit into what the database has already; then none does.
            disk.fill();
            refused.extend(send_all(&bench, std::iter::once(format!("full-{round}-{number}")), 200_000, &mut acknowledged).await);
        }
        assert!(refused.len() > 10, "{} of 40 did not fit:\n{}", refused.len(), bench.daemon.log());
        assert!(bench.daemon.is_running(), "{}", bench.daemon.log());
        if round == 1 {
            // It also starts again once there is room, whatever it was in the middle of.
            bench.daemon.kill();
            disk.empty();
            bench.daemon.restart().await;
            bench.daemon.answers("shop", "development", "here").await;
        } else {
            disk.empty();
        }
        send_again(&bench, refused, &mut acknowledged).await;
    }
    bench.all_done_once(&acknowledged).await;
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_record_that_is_torn_or_has_a_wrong_bit_is_left_out_whole_and_everything_before_it_is_there() {
    let mut bench = Bench::of(Daemon::start_with(DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off")).await).await;
    if bench.daemon.database().is_some() {
        return;
    }
    let log = bench.daemon.data().join("hookwright.db-wal");
    let mut acknowledged = BTreeSet::new();
    for (round, is_torn) in [(0, true), (1, false)] {
        std::fs::write(bench.folder.path().join("refuse"), "").expect("written");
        assert!(send_all(&bench, (0..5).map(|number| format!("event-{round}-{number}")), 10, &mut acknowledged).await.is_empty());
        let token = json!({ "user": "vera", "grants": [{ "role": "viewer", "scope": {} }] });
        bench.daemon.post("/api/v1/tokens", token).await;
        bench.daemon.kill();
        let mut records = std::fs::read(&log).expect("the log of the database");
        let page = u32::from_be_bytes(records[8..12].try_into().expect("four bytes")) as usize;
        let last = records.len() - (24 + page);
        if is_torn {
            // Half of a record more, as a power failure leaves it.
            records.extend_from_within(last..last + page / 2);
        } else {
            records[last + 24 + page / 2] ^= 1;
        }
        std::fs::write(&log, records).expect("written");
        bench.daemon.restart().await;
        std::fs::remove_file(bench.folder.path().join("refuse")).expect("removed");
        bench.daemon.answers("shop", "development", "here").await;
        bench.all_done_once(&acknowledged).await;
    }
}

/// The library that stands between the daemon and its disk.
fn failing_disk(folder: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/failing-disk/failing_disk.c");
    let library = folder.join("failing_disk.so");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(compiled.is_ok_and(|status| status.success()), "this test needs a C compiler");
    library.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_cannot_be_written_to_or_keeps_nothing_has_events_refused_until_it_can_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let control = folder.path().join("disk");
    std::fs::write(&control, "").expect("written");
    let options = DaemonOptions::new(BINARY)
        .variable("HOOKWRIGHT_SANDBOX", "off")
        .variable("LD_PRELOAD", &failing_disk(folder.path()))
        .variable("FAILING_DISK", &control.to_string_lossy());
    let mut bench = Bench::of(Daemon::start_with(options).await).await;
    if bench.daemon.database().is_some() {
        return;
    }
    let mut acknowledged = BTreeSet::new();
    // EROFS: the file system was made read-only after an error; EIO: the disk is broken, also when it is to make sure (fsync); ENOSPC.
    for (round, fault) in ["write 30", "write 5", "sync 5", "write 28"].into_iter().enumerate() {
        let refused = send_all(&bench, (0..5).map(|number| format!("before-{round}-{number}")), 10, &mut acknowledged).await;
        assert_eq!(refused, [""; 0], "before `{fault}`");
        std::fs::write(&control, fault).expect("written");
        let refused = send_all(&bench, (0..10).map(|number| format!("fault-{round}-{number}")), 10, &mut acknowledged).await;
        assert_eq!(refused.len(), 10, "nothing is acknowledged during `{fault}`:\n{}", bench.daemon.log());
        if round == 2 {
            // What a disk did not make sure of may be gone, or there: either way it was not acknowledged.
            bench.daemon.kill();
            std::fs::write(&control, "").expect("written");
            bench.daemon.restart().await;
            bench.daemon.answers("shop", "development", "here").await;
        } else {
            std::fs::write(&control, "").expect("written");
        }
        assert!(bench.daemon.is_running(), "`{fault}`:\n{}", bench.daemon.log());
        send_again(&bench, refused, &mut acknowledged).await;
    }
    bench.all_done_once(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_wait_are_delivered_although_the_clock_jumps_an_hour_both_ways() {
    let clock = MovedClock::new();
    let mut bench = Bench::of(Daemon::start_with(clock.options(BINARY).variable("HOOKWRIGHT_SANDBOX", "off")).await).await;
    let (refuse, refused) = (bench.folder.path().join("refuse"), bench.folder.path().join("refused"));
    let mut acknowledged = BTreeSet::new();
    for (round, offset) in ["+1h", "-1h", "+0"].into_iter().enumerate() {
        std::fs::write(&refuse, "").expect("written");
        let before = (0..3).map(|number| format!("before-{round}-{number}"));
        assert!(send_all(&bench, before, 10, &mut acknowledged).await.is_empty());
        let tried = async |_: &Daemon| {
            let text = std::fs::read_to_string(&refused).unwrap_or_default();
            acknowledged
                .iter()
                .filter(|event| event.contains(&format!("-{round}-")))
                .all(|event| text.contains(event.as_str()))
                .then_some(())
        };
        bench.daemon.until("each to have been tried", tried).await;
        clock.jump(offset);
        assert!(send_all(&bench, (0..3).map(|number| format!("after-{round}-{number}")), 10, &mut acknowledged).await.is_empty());
        std::fs::remove_file(&refuse).expect("removed");
        if round == 2 {
            // What was written before the jump is read by a process that knows nothing of it.
            bench.daemon.kill();
            bench.daemon.restart().await;
        }
        bench.all_done_once(&acknowledged).await;
    }
}
