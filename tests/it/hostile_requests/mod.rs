//! Requests that were made to do harm, as bytes over sockets to the real daemon with a real handler behind it. A handler sees no request that the
//! client did not clearly send, and after every attack the next honest request is answered.

mod frames;
mod held;
mod http2;
mod places;
mod smuggling;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use reqwest::Method;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// The seed of the key that events are signed with.
const SEED: [u8; 32] = [7; 32];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A handler that reads by itself, writes down every request that came whole, and answers by its path, rightly or wrongly.
const HANDLER: &str = r#"
import json, os, socket, threading, time

LOCK = threading.Lock()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere"
ANSWERS = {
    "/unasked": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "/unnamed": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "/more": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned",
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 8\r\n\r\nhere",
    "/folded": b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 4\r\n\r\nhere",
    "/spaced": b"HTTP/1.1 200 OK\r\nContent-Length : 4\r\n\r\nhere",
    "/no-http": b"220 mail.example ESMTP\r\n",
}

def record(**what):
    with LOCK, open(RECEIVED, "a") as file:
        file.write(json.dumps(what) + "\n")

def exactly(stream, length):
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data

def body_of(stream, headers):
    if "transfer-encoding" not in headers:
        return exactly(stream, int(headers.get("content-length", 0)))
    body = b""
    while size := int(stream.readline() or b"ended", 16):
        body += exactly(stream, size)
        exactly(stream, 2)
    exactly(stream, 2)
    return body

def serve(connection):
    stream = connection.makefile("rwb")
    try:
        while line := stream.readline().strip():
            method, path, _ = line.decode("latin-1").split(" ")
            headers = []
            while field := stream.readline().rstrip(b"\r\n"):
                name, _, value = field.decode("latin-1").partition(":")
                headers.append((name.lower(), value.strip()))
            body = body_of(stream, dict(headers))
            record(method=method, path=path, headers=headers, body=body.decode("latin-1"))
            place = path.partition("?")[0]
            if place == "/never":
                stream.read(1)
                return
            if place == "/slow":
                time.sleep(5)
            if place in ("/endless", "/stream"):
                stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    stream.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            stream.write(ANSWERS.get(place, OK))
            stream.flush()
    except (OSError, EOFError, ValueError):
        pass
    finally:
        connection.close()

listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=1024)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"#;

const SPEC: &str = "version: 1
name: shop
handler: { command: [python3, server.py] }
config:
  SIGNING: { type: string, secret: true, required: true }
triggers:
  signed: { source: standard-webhooks, secret: SIGNING, deliver: { path: /issues } }
  endless: { source: standard-webhooks, secret: SIGNING, deliver: { path: /endless, timeout: 20s } }
environments:
  development: { promote: automatic, triggers: [signed, endless] }
";

/// What is attacked.
struct Target {
    daemon: Daemon,
    folder: tempfile::TempDir,
    honest: AtomicU64,
    _copy: WorkingCopy,
}

impl Target {
    async fn open(variables: &[(&str, &str)]) -> Self {
        let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off");
        let daemon = Daemon::start_with(variables.iter().fold(options, |options, (name, value)| options.variable(name, value))).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = WorkingCopy::new();
        let handler = format!("RECEIVED = {:?}\n{HANDLER}", folder.path().join("received").to_str().expect("a path"));
        copy.write("webhook.yaml", SPEC).write("server.py", &handler).commit("Begin");
        let secret = json!({ "value": format!("whpk_{}", STANDARD.encode(key().public_key().as_ref())) });
        let path = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
        assert_eq!(daemon.request(Method::PUT, path, Some(secret)).await.0, 204);
        copy.push(&daemon, "shop");
        daemon.answers("shop", "development", "here").await;
        Self { daemon, folder, honest: AtomicU64::new(0), _copy: copy }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.daemon.address().trim_start_matches("http://")).await.expect("a connection")
    }

    /// Sends bytes, says that there are no more, and returns everything that comes back.
    async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // The daemon may have had enough before all is written.
        let _ = stream.write_all(bytes.as_ref()).await;
        let _ = stream.shutdown().await;
        to_the_end(&mut stream).await
    }

    /// Every request that the handler has got whole, without those of [`honest`](Self::honest) and of the start.
    fn seen(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("received")).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|one| one["path"] != "/" && !one["path"].as_str().is_some_and(|path| path.starts_with("/honest"))).collect()
    }

    /// Forgets what the handler has got.
    fn forget(&self) {
        std::fs::write(self.folder.path().join("received"), "").expect("written");
    }

    /// An honest request is answered, and the handler gets it as it is.
    async fn honest(&self, after: &str) {
        let path = format!("/honest-{}", self.honest.fetch_add(1, Ordering::Relaxed));
        let answer = self
            .say(format!(
                "POST /w/shop/development{path} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
            ))
            .await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "after {after}: {answer}");
        let text = std::fs::read_to_string(self.folder.path().join("received")).unwrap_or_default();
        let got = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|one| one["path"] == *path);
        assert_eq!(got.expect("the handler got it")["body"], "hello", "after {after}");
    }

    async fn address(&self, trigger: &str) -> String {
        self.daemon
            .until("an address", async |daemon: &Daemon| {
                let list = daemon.get("/api/v1/triggers?webhook=shop").await;
                let found = list["items"].as_array()?.iter().find(|item| item["name"] == trigger)?;
                Some(format!("{}{}", daemon.address(), found["address"].as_str()?))
            })
            .await
    }

    /// The most memory that the daemon ever held, in bytes.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.split_whitespace().next().expect("a number").parse::<u64>().expect("a number") * 1024
    }
}

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&SEED).expect("a key")
}

/// Reads until the other side has ended the connection.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 8192];
    let all = async {
        // A connection that is reset has ended as well.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            read.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("the connection never ended"));
    String::from_utf8_lossy(&read).into_owned()
}

/// The statuses of the answers in what came over a connection of HTTP/1.
fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.").skip(1).filter_map(|one| one.get(2..5)?.parse().ok()).collect()
}
