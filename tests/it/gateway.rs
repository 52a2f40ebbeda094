//! What passes between a client and a handler, and what is said when nothing can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hookwright_testkit::{Daemon, DaemonOptions, WorkingCopy};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// A handler that does by its path what a test wants: raw sockets, so that nothing is done for it.
const HANDLER: &str = r#"
import base64, hashlib, os, socket, threading, time

VERSION = "one"


def read_head(stream):
    lines = []
    while (line := stream.readline().strip()):
        lines.append(line.decode())
    return lines


def serve(connection):
    stream = connection.makefile("rwb")
    while True:
        lines = read_head(stream)
        if not lines:
            return
        path = lines[0].split()[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

        def answer(text, more=""):
            body = text.encode()
            stream.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body)
            stream.flush()

        if path == "/version":
            answer(VERSION)
        elif path == "/headers":
            answer("\n".join(lines), "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nSet-Cookie: hookwright_session=stolen\r\n")
        elif path == "/slow":
            time.sleep(1.5)
            answer("slow " + VERSION)
        elif path == "/never":
            time.sleep(600)
        elif path == "/close":
            connection.close()
            return
        elif path == "/die":
            os._exit(1)
        elif path == "/sink":
            while True:
                size = int(stream.readline(), 16)
                stream.read(size + 2)
                if not size:
                    break
            answer("taken")
        elif path == "/echo":
            stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            stream.flush()
            while True:
                size = int(stream.readline(), 16)
                data = stream.read(size)
                stream.readline()
                stream.write(f"{size:x}\r\n".encode() + data + b"\r\n")
                stream.flush()
                if not size:
                    break
        elif path == "/socket":
            key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            stream.write(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            stream.flush()
            while (data := connection.recv(1000)):
                connection.sendall(data)
            return
        else:
            answer("here")


listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=256)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"#;

async fn daemon(variables: &[(&str, &str)]) -> (Daemon, WorkingCopy) {
    let options = variables.iter().fold(DaemonOptions::new(BINARY), |options, (name, value)| options.variable(name, value));
    let daemon = Daemon::start_with(options).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", "version: 1\nname: shop\nhandler: { command: [python3, server.py] }\n")
        .write("server.py", HANDLER)
        .commit("Begin");
    copy.push(&daemon, "shop");
    daemon.answers("shop", "development", "here").await;
    (daemon, copy)
}

async fn connect(daemon: &Daemon) -> TcpStream {
    TcpStream::connect(daemon.address().trim_start_matches("http://")).await.expect("a connection")
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("written");
}

/// Reads until `end` has come, and returns everything read.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    let all = async {
        while !String::from_utf8_lossy(&read).contains(end) {
            let count = stream.read(&mut buffer).await.expect("readable");
            assert!(count > 0, "ended before `{end}`: {}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap_or_else(|_| panic!("`{end}` never came"));
    String::from_utf8_lossy(&read).into_owned()
}

async fn problem(daemon: &Daemon, environment: &str, path: &str) -> (u16, Value) {
    let (status, text) = daemon.call("shop", environment, path).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no problem+json: {text}")))
}

#[tokio::test]
async fn bodies_stream_both_ways_at_the_same_time() {
    let (daemon, _copy) = daemon(&[]).await;
    let mut stream = connect(&daemon).await;
    send(&mut stream, "POST /w/shop/development/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await;
    read_until(&mut stream, "first").await;
    send(&mut stream, "6\r\nsecond\r\n").await;
    read_until(&mut stream, "second").await;
    send(&mut stream, "0\r\n\r\n").await;
    read_until(&mut stream, "0\r\n\r\n").await;
}

#[tokio::test]
async fn a_websocket_is_passed_through() {
    let (daemon, _copy) = daemon(&[]).await;
    let mut stream = connect(&daemon).await;
    let head = "GET /w/shop/development/socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    send(&mut stream, head).await;
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // The example of RFC 6455, section 1.3.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    for text in ["ping one", "ping two"] {
        send(&mut stream, text).await;
        read_until(&mut stream, text).await;
    }
}

#[tokio::test]
async fn hop_by_hop_headers_and_the_daemons_cookies_stay_on_their_side() {
    let (daemon, _copy) = daemon(&[]).await;
    let mut stream = connect(&daemon).await;
    let head = "GET /w/shop/development/headers HTTP/1.1\r\nHost: shop.example\r\nConnection: X-Mine\r\nX-Mine: 1\r\nX-Request-Id: forged\r\nCookie: a=1; hookwright_session=x\r\n\r\n";
    send(&mut stream, head).await;
    // The body is what the handler was sent, so its last line comes after every header of the answer.
    let all = read_until(&mut stream, "forwarded: for=").await.to_lowercase();
    for absent in ["x-mine", "x-hop", "hookwright_session", "x-request-id: forged"] {
        assert!(!all.contains(absent), "{absent}: {all}");
    }
    assert!(all.contains("forwarded: for=127.0.0.1;host=\"shop.example\"") && all.contains("cookie: a=1"), "{all}");
}

#[tokio::test]
async fn what_cannot_be_passed_on_is_explained() {
    let variables = [("HOOKWRIGHT_GATEWAY_RESPONSE_TIMEOUT", "1s"), ("HOOKWRIGHT_GATEWAY_BODY_LIMIT", "1000")];
    let (daemon, _copy) = daemon(&variables).await;
    let (status, answer) = problem(&daemon, "production", "/").await;
    assert!(status == 404 && answer["detail"].to_string().contains("hookwright status"), "{answer}");
    let (status, answer) = problem(&daemon, "development", "/close").await;
    assert!(status == 502 && answer["detail"].to_string().contains("without an answer"), "{answer}");
    let (status, answer) = problem(&daemon, "development", "/never").await;
    assert!(status == 504 && answer["detail"].to_string().contains("longer than 1 s"), "{answer}");
    assert!(answer["request_id"].as_str().is_some_and(|id| id.len() == 32), "{answer}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_whether_its_length_is_told_or_not() {
    let (daemon, _copy) = daemon(&[("HOOKWRIGHT_GATEWAY_BODY_LIMIT", "1000")]).await;
    let mut told = connect(&daemon).await;
    send(&mut told, "POST /w/shop/development/sink HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n").await;
    assert!(read_until(&mut told, "\r\n\r\n").await.starts_with("HTTP/1.1 413"));
    let mut untold = connect(&daemon).await;
    let body = "x".repeat(2000);
    send(
        &mut untold,
        &format!("POST /w/shop/development/sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{body}\r\n0\r\n\r\n"),
    )
    .await;
    let answer = read_until(&mut untold, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_handler_that_dies_is_started_again_and_meanwhile_503_says_so() {
    let (daemon, _copy) = daemon(&[]).await;
    daemon.call("shop", "development", "/die").await;
    let mut seen = Vec::new();
    daemon
        .until("the handler to be back", async |daemon: &Daemon| {
            let (status, _) = daemon.call("shop", "development", "/").await;
            seen.push(status);
            (status == 200).then_some(())
        })
        .await;
    assert!(seen.iter().all(|status| matches!(status, 200 | 502 | 503)), "{seen:?}");
}

/// Clients that call without a pause until they are told to stop; every answer but 200 is kept.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(url: &str) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..8)
            .map(|_| {
                let (stop, answered, url) = (stop.clone(), answered.clone(), url.to_owned());
                tokio::spawn(async move {
                    let client = reqwest::Client::new();
                    let mut bad = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        match client.get(&url).send().await {
                            Ok(answer) if answer.status() == 200 => drop(answer.bytes().await.map_err(|error| bad.push(error.to_string()))),
                            Ok(answer) => bad.push(format!("{} {}", answer.status(), answer.text().await.unwrap_or_default())),
                            Err(error) => bad.push(format!("{error:?}")),
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    bad
                })
            })
            .collect();
        Self { stop, answered, clients }
    }

    /// Ends it; returns how many answers came and every bad one.
    async fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut bad = Vec::new();
        for client in self.clients {
            bad.extend(client.await.expect("a client ends"));
        }
        (self.answered.load(Ordering::Relaxed), bad)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_under_load_fails_no_request() {
    let (daemon, copy) = daemon(&[]).await;
    let load = Load::on(&format!("{}/w/shop/development/version", daemon.address()));
    for (from, to) in [("one", "two"), ("two", "three"), ("three", "four")] {
        copy.edit("server.py", &format!("VERSION = \"{from}\""), &format!("VERSION = \"{to}\"")).commit("Change");
        copy.push(&daemon, "shop");
        daemon
            .until("the new version", async |daemon: &Daemon| (daemon.call("shop", "development", "/version").await.1 == to).then_some(()))
            .await;
    }
    let (answered, bad) = load.end().await;
    assert!(bad.is_empty(), "{} of {answered} failed: {:?}", bad.len(), &bad[..bad.len().min(3)]);
    assert!(answered > 50, "there was load: {answered}");
}

#[tokio::test]
async fn a_slow_request_ends_well_while_its_deployment_is_replaced() {
    let (daemon, copy) = daemon(&[]).await;
    let mut slow = connect(&daemon).await;
    send(&mut slow, "GET /w/shop/development/slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    copy.edit("server.py", "VERSION = \"one\"", "VERSION = \"two\"").commit("Change");
    copy.push(&daemon, "shop");
    read_until(&mut slow, "slow one").await;
}

#[tokio::test]
async fn sigterm_lets_a_request_in_flight_end() {
    let (mut daemon, _copy) = daemon(&[]).await;
    let mut slow = connect(&daemon).await;
    send(&mut slow, "GET /w/shop/development/slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let reading = tokio::spawn(async move { read_until(&mut slow, "slow one").await });
    let status = daemon.terminate().await;
    assert!(status.success(), "{status}");
    reading.await.expect("the answer came whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_with_the_listening_socket_passed_in_loses_no_request() {
    let (mut daemon, _copy) = daemon(&[]).await;
    daemon.keep_socket().await;
    let load = Load::on(&format!("{}/w/shop/development/version", daemon.address()));
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let status = daemon.terminate().await;
        assert!(status.success(), "{status}");
        daemon.restart().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (answered, bad) = load.end().await;
    assert!(bad.is_empty(), "{} of {answered} failed: {:?}", bad.len(), &bad[..bad.len().min(3)]);
    assert!(answered > 50, "there was load: {answered}");
}

#[tokio::test]
async fn requests_and_errors_of_a_place_are_counted_once_over_a_restart_and_a_release() {
    let (mut daemon, copy) = daemon(&[]).await;
    let counted = async |daemon: &Daemon| {
        let traffic = daemon.get("/api/v1/webhooks/shop/environments/development/traffic?hours=1&minutes=60").await;
        let sum = |field: &str| traffic["items"].as_array().expect("a list").iter().filter_map(|item| item[field].as_u64()).sum::<u64>();
        (sum("requests"), sum("errors"))
    };
    // What the start asked until it was answered is written by the end.
    daemon.terminate().await;
    daemon.restart().await;
    daemon.answers("shop", "development", "here").await;
    daemon.terminate().await;
    daemon.restart().await;
    let before = counted(&daemon).await;
    assert!(before.0 > 0);
    for _ in 0..6 {
        assert_eq!(daemon.call("shop", "development", "/version").await.0, 200);
    }
    for _ in 0..2 {
        assert_eq!(daemon.call("shop", "development", "/close").await.0, 502);
    }
    assert_eq!(daemon.call("shop", "nowhere", "/version").await.0, 404);
    daemon.terminate().await;
    daemon.restart().await;
    assert_eq!(counted(&daemon).await, (before.0 + 8, before.1 + 2));
    // The place's, not the deployment's: it goes on with the next release.
    copy.edit("server.py", "\"one\"", "\"two\"").commit("Two");
    copy.push(&daemon, "shop");
    daemon.run_ended("shop", 2).await;
    assert!(counted(&daemon).await.0 >= before.0 + 8);
    let (status, refused) =
        daemon.request(reqwest::Method::GET, "/api/v1/webhooks/shop/environments/development/traffic?hours=720", None).await;
    assert_eq!(status, 400, "{refused}");
}
