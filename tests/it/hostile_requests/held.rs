//! Clients that hold connections, bodies and answers, and ask for little or nothing.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::frames::*;
use super::{Target, key, statuses, to_the_end};

/// A daemon that gives a head one second.
const IMPATIENT: &[(&str, &str)] = &[("HOOKWRIGHT_GATEWAY_HEADER_TIMEOUT", "1s")];

/// How long a connection may be held that is not worth it, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn connections_that_bring_no_request_end_soon_and_keep_nobody_out() {
    let target = Target::open(IMPATIENT).await;
    let settings = frame(SETTINGS, 0, 0, &[]);
    let beginnings: [(&str, Vec<u8>); 8] = [
        ("nothing", vec![]),
        ("one letter", b"G".to_vec()),
        ("a head that stops", b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-".to_vec()),
        ("half of what HTTP/2 begins with", PREFACE[..12].to_vec()),
        ("all but the last byte of it", PREFACE[..PREFACE.len() - 1].to_vec()),
        ("the beginning of HTTP/2 and no more", PREFACE.to_vec()),
        ("HTTP/2 without a request", [PREFACE, &settings].concat()),
        (
            "HTTP/2 with a head that stops",
            [PREFACE, &settings, &frame(HEADERS, 0, 1, &request("GET", "/w/shop/development/shown"))].concat(),
        ),
    ];
    let mut held = Vec::new();
    for (name, beginning) in &beginnings {
        for _ in 0..25 {
            let mut stream = target.connect().await;
            stream.write_all(beginning).await.expect("written");
            held.push((*name, stream));
        }
    }
    target.honest("two hundred connections that are held").await;
    let begun = Instant::now();
    for (name, mut stream) in held {
        to_the_end(&mut stream).await;
        assert!(begun.elapsed() < SOON, "{name} was held for {:?}", begun.elapsed());
    }
    assert!(target.seen().is_empty(), "{:?}", target.seen());
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_ends_its_connection() {
    let target = Target::open(IMPATIENT).await;
    let begun = Instant::now();
    let dripping = async |mut stream: tokio::net::TcpStream, bytes: Vec<u8>| {
        // As slow as may be without being silent, and without end.
        for byte in bytes.into_iter().chain(std::iter::repeat(b'x')) {
            let mut one = [0];
            match tokio::time::timeout(Duration::from_millis(100), stream.read(&mut one)).await {
                Err(_) if stream.write_all(&[byte]).await.is_ok() => {}
                Ok(Ok(1)) => {}
                _ => return,
            }
        }
    };
    let heads = [b"GET /w/shop/development/shown HTTP/1.1\r\nX-Slow: ".to_vec(), PREFACE.to_vec()];
    for head in heads {
        let stream = target.connect().await;
        tokio::time::timeout(SOON, dripping(stream, head)).await.expect("it ends");
    }
    assert!(begun.elapsed() < 2 * SOON);
    target.honest("heads that drip").await;
}

#[tokio::test]
async fn a_connection_of_http2_ends_once_it_is_quiet_and_not_while_a_request_is_in_flight() {
    let target = Target::open(IMPATIENT).await;
    let mut busy = Frames::open(&target).await;
    // Five times as long as a head may take.
    busy.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &request("GET", "/w/shop/development/slow"))).await;
    assert_eq!(busy.answer(1).await, Some(0x88), "it is answered");
    let begun = Instant::now();
    busy.send(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &request("GET", "/w/shop/development/shown"))).await;
    assert_eq!(busy.answer(3).await, Some(0x88), "and the connection is good for another one");
    // It answers pings, and asks for nothing more.
    busy.ends().await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    target.honest("a quiet connection").await;
}

#[tokio::test]
async fn an_answer_without_end_is_read_to_a_bound_and_stored_to_a_smaller_one() {
    let target = Target::open(&[]).await;
    let address = target.address("endless").await;
    let before = target.peak_memory();
    assert_eq!(send(&address, "msg_endless", None).await, 200);
    let delivered = target
        .daemon
        .until("the delivery to end", async |daemon| {
            let list = daemon.get("/api/v1/events?webhook=shop&status=delivered").await;
            list["items"].as_array()?.first().cloned()
        })
        .await;
    let shown = target.daemon.get(&format!("/api/v1/events/{}", delivered["event"].as_str().expect("an id"))).await;
    let kept = shown["deliveries"][0]["attempts"][0]["body"].as_str().expect("a body").len();
    assert_eq!(kept, 16 << 10);
    // A client that asks for such an answer and does not read it is not read ahead for.
    let mut idle = target.connect().await;
    idle.write_all(b"GET /w/shop/development/stream HTTP/1.1\r\nHost: shop.example\r\n\r\n").await.expect("written");
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.expect("an answer");
    assert_eq!(statuses(&String::from_utf8_lossy(&first)), [200]);
    for _ in 0..20 {
        target.honest("an answer that nobody reads").await;
    }
    assert!(target.peak_memory() - before < 32 << 20, "{} bytes more", target.peak_memory() - before);
}

/// Sends an event, signed by us or as given; the status.
async fn send(address: &str, id: &str, signature: Option<&str>) -> u16 {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs().to_string();
    let body = r#"{"type":"thing.made"}"#;
    let own = format!("v1a,{}", STANDARD.encode(key().sign(format!("{id}.{seconds}.{body}").as_bytes()).as_ref()));
    let request = reqwest::Client::new().post(address).header("webhook-id", id).header("webhook-timestamp", seconds);
    let request = request.header("webhook-signature", signature.unwrap_or(&own)).header("content-type", "application/json");
    request.body(body).timeout(super::PATIENCE).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_flood_of_signatures_that_are_costly_to_check_is_refused_one_by_one_and_an_honest_event_is_taken_meanwhile() {
    let target = Target::open(&[]).await;
    let address = target.address("signed").await;
    assert_eq!(send(&address, "msg_before", None).await, 200, "the signature of an honest event is right");
    // Well formed, so that each has to be computed; and as many in one header as fit.
    let forged: Vec<String> =
        (0..200).map(|number| format!("v1a,{}", STANDARD.encode([u8::try_from(number % 64).expect("small"); 64]))).collect();
    let forged = forged.join(" ");
    let attackers: Vec<_> = (0..8)
        .map(|attacker| {
            let (address, forged) = (address.clone(), forged.clone());
            tokio::spawn(async move {
                for number in 0..25 {
                    assert_eq!(send(&address, &format!("msg_forged_{attacker}_{number}"), Some(&forged)).await, 401);
                }
            })
        })
        .collect();
    for number in 0..10 {
        assert_eq!(send(&address, &format!("msg_honest_{number}"), None).await, 200);
    }
    for attacker in attackers {
        attacker.await.expect("every forged event was refused");
    }
    let stored = target.daemon.get("/api/v1/events?webhook=shop&limit=500").await;
    assert_eq!(stored["items"].as_array().map(Vec::len), Some(11), "nothing forged was stored");
}
