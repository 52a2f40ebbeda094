//! What HTTP/2 was abused for: each of these once stopped servers.

use super::Target;
use super::frames::*;

/// The first byte of an answer's head that says 200, which has a number of its own in HPACK.
const OK: u8 = 0x88;

const NEVER: &str = "/w/shop/development/never";

/// How much more memory any of these attacks may take.
const ROOM: u64 = 48 << 20;

#[tokio::test]
async fn streams_that_are_opened_and_taken_back_end_their_connection() {
    // So long counts what is taken back: however slow this machine is.
    let target = Target::open(&[("HOOKWRIGHT_GATEWAY_HEADER_TIMEOUT", "10m")]).await;
    // All at once, as in CVE-2023-44487: most are reset before anybody looks at them.
    let mut attacker = Frames::open(&target).await;
    let flood: Vec<u8> = (0..5000)
        .flat_map(|number| {
            let stream = number * 2 + 1;
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", NEVER)), frame(RESET, 0, stream, &8_u32.to_be_bytes())]
                .concat()
        })
        .collect();
    attacker.send(&flood).await;
    attacker.ends().await;
    target.honest("a rapid reset").await;
    assert!(target.seen().len() < 200, "few were passed on: {}", target.seen().len());

    // Patiently, each only once it has been passed on.
    target.forget();
    let mut patient = Frames::open(&target).await;
    let mut opened = 0;
    for number in 0..1000 {
        let stream = number * 2 + 1;
        if !patient.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", NEVER))).await || !patient.settled().await {
            break;
        }
        opened += 1;
        patient.send(&frame(RESET, 0, stream, &8_u32.to_be_bytes())).await;
    }
    assert!(opened < 600, "the connection was ended after {opened}");
    target.honest("a patient reset").await;
}

#[tokio::test]
async fn streams_that_the_daemon_itself_is_made_to_reset_end_their_connection() {
    let target = Target::open(&[]).await;
    // MadeYouReset, CVE-2025-8671: an increment of nothing is the client's mistake, for which the stream has to be reset.
    let mut attacker = Frames::open(&target).await;
    let flood: Vec<u8> = (0..2000)
        .flat_map(|number| {
            let stream = number * 2 + 1;
            [frame(HEADERS, END_HEADERS, stream, &request("POST", NEVER)), frame(WINDOW, 0, stream, &[0; 4])].concat()
        })
        .collect();
    attacker.send(&flood).await;
    attacker.ends().await;
    assert!(target.seen().is_empty(), "{:?}", target.seen());
    target.honest("streams that had to be reset").await;
}

#[tokio::test]
async fn heads_without_end_and_heads_that_unpack_to_much_more_take_little_memory() {
    let target = Target::open(&[]).await;
    target.honest("nothing").await;
    let before = target.peak_memory();
    let mut endless = Frames::open(&target).await;
    endless.send(&frame(HEADERS, END_STREAM, 1, &request("GET", NEVER))).await;
    for number in 0..20_000 {
        if !endless.send(&frame(CONTINUATION, 0, 1, &field(format!("x-{number}").as_bytes(), &[b'x'; 4000]))).await {
            break;
        }
    }
    endless.ends().await;
    target.honest("continuations without end").await;

    let mut empty = Frames::open(&target).await;
    empty.send(&frame(HEADERS, END_STREAM, 1, &request("GET", NEVER))).await;
    empty.send(&frame(CONTINUATION, 0, 1, &[]).repeat(200_000)).await;
    empty.ends().await;
    target.honest("empty continuations").await;

    // One remembered field of 4 kB, named again with one byte each.
    let mut bomb = Frames::open(&target).await;
    let mut head = request("GET", NEVER);
    head.extend(remembered(b"x", &[b'x'; 4000]));
    head.extend([0xbe; 12_000]);
    bomb.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
    assert_ne!(bomb.answer(1).await, Some(OK));
    target.honest("a head of 48 MB in 16 kB").await;

    let mut many = Frames::open(&target).await;
    let fields: Vec<u8> = (0..200).flat_map(|number| field(format!("x-{number}").as_bytes(), b"1")).collect();
    many.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[request("GET", NEVER), fields].concat())).await;
    assert_ne!(many.answer(1).await, Some(OK));
    assert!(target.seen().is_empty(), "{:?}", target.seen());
    assert!(target.peak_memory() - before < ROOM, "{} bytes more", target.peak_memory() - before);
}

#[tokio::test]
async fn floods_of_frames_that_ask_for_nothing_take_little_memory() {
    let target = Target::open(&[]).await;
    target.honest("nothing").await;
    let before = target.peak_memory();
    // Nothing of what is answered is read, so that it piles up over there.
    let ping = frame(PING, 0, 0, b"hostile!");
    let settings = frame(SETTINGS, 0, 0, &[]);
    let priority = frame(2, 0, 1, &[0, 0, 0, 3, 0]);
    for (name, flood) in [("pings", ping), ("settings", settings), ("priorities", priority)] {
        let mut attacker = Frames::open(&target).await;
        let flood = flood.repeat(1000);
        for _ in 0..200 {
            let sent = tokio::time::timeout(std::time::Duration::from_secs(1), attacker.send(&flood)).await;
            // Either it has had enough, or it reads no more than it can answer.
            if !matches!(sent, Ok(true)) {
                break;
            }
        }
        target.honest(name).await;
    }
    let mut attacker = Frames::open(&target).await;
    attacker.send(&frame(HEADERS, END_HEADERS, 1, &request("POST", "/w/shop/development/shown"))).await;
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), attacker.send(&frame(DATA, 0, 1, &[]).repeat(100_000))).await;
    drop(attacker);
    target.honest("empty parts of a body").await;
    assert!(target.seen().is_empty(), "{:?}", target.seen());
    assert!(target.peak_memory() - before < ROOM, "{} bytes more", target.peak_memory() - before);
}

#[tokio::test]
async fn a_request_that_is_not_wholly_right_reaches_no_handler() {
    let target = Target::open(&[]).await;
    let shown = "/w/shop/development/shown";
    let with = |more: &[(&str, &str)]| [request("GET", shown), fields(more)].concat();
    let only = |list: &[(&str, &str)]| fields(list);
    let wrong = [
        ("a line's end in a value", with(&[("x-a", "b\r\nx-hidden: 1")])),
        ("a line feed in a value", with(&[("x-a", "b\nx-hidden: 1")])),
        ("a zero byte in a value", with(&[("x-a", "b\0c")])),
        ("a line's end in a name", with(&[("x-a: b\r\nx-hidden", "1")])),
        ("a colon in a name", with(&[("x-a:", "1")])),
        ("a space in a name", with(&[("transfer-encoding ", "chunked")])),
        ("capitals in a name", with(&[("X-A", "1")])),
        ("no name", with(&[("", "1")])),
        ("chunks", with(&[("transfer-encoding", "chunked")])),
        ("a connection", with(&[("connection", "x-a")])),
        ("an upgrade", with(&[("upgrade", "websocket")])),
        ("a connection to be kept", with(&[("keep-alive", "1")])),
        ("a proxy's connection", with(&[("proxy-connection", "x-a")])),
        ("trailers that are none", with(&[("te", "gzip")])),
        ("another host", with(&[("host", "evil.example")])),
        ("two hosts", with(&[("host", "shop.example"), ("host", "shop.example")])),
        ("two paths", with(&[(":path", "/w/shop/development/other")])),
        ("a path after the rest", only(&[(":method", "GET"), (":scheme", "http"), ("x-a", "1"), (":path", shown)])),
        ("no path", only(&[(":method", "GET"), (":scheme", "http"), (":authority", "shop.example")])),
        ("no method", only(&[(":scheme", "http"), (":authority", "shop.example"), (":path", shown)])),
        ("no host", only(&[(":method", "GET"), (":scheme", "http"), (":path", shown)])),
        ("an empty path", only(&[(":method", "GET"), (":scheme", "http"), (":authority", "shop.example"), (":path", "")])),
        (
            "a path with a request in it",
            only(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "shop.example"),
                (":path", "/w/shop/development/shown HTTP/1.1\r\nx-hidden: 1"),
            ]),
        ),
        (
            "a method with a request in it",
            only(&[
                (":method", "GET /w/shop/development/shown HTTP/1.1\r\n\r\nGET"),
                (":scheme", "http"),
                (":authority", "shop.example"),
                (":path", shown),
            ]),
        ),
        (
            "a host with a line in it",
            only(&[(":method", "GET"), (":scheme", "http"), (":authority", "shop.example\r\nx-hidden: 1"), (":path", shown)]),
        ),
        ("somebody who signs in", only(&[(":method", "GET"), (":scheme", "http"), (":authority", "me@shop.example"), (":path", shown)])),
        ("a field of our own kind", with(&[(":status", "200")])),
        ("a protocol to connect with", with(&[(":protocol", "websocket")])),
    ];
    for (name, head) in wrong {
        let mut attacker = Frames::open(&target).await;
        attacker.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
        assert_ne!(attacker.answer(1).await, Some(OK), "{name}");
        assert!(target.seen().is_empty(), "{name}: {:?}", target.seen());
    }
    let body = |length: &str| [request("POST", shown), fields(&[("content-length", length)])].concat();
    for (name, length) in [("a body longer than it says", "3"), ("a body shorter than it says", "8"), ("a length that is none", "5, 5")] {
        let mut attacker = Frames::open(&target).await;
        attacker.send(&frame(HEADERS, END_HEADERS, 1, &body(length))).await;
        attacker.send(&frame(DATA, END_STREAM, 1, b"hello")).await;
        assert_ne!(attacker.answer(1).await, Some(OK), "{name}");
        assert!(target.seen().is_empty(), "{name}: {:?}", target.seen());
    }
    target.honest("all of them").await;

    // The same attacker can speak rightly: what is refused above is refused for what it says.
    let mut right = Frames::open(&target).await;
    right.send(&frame(HEADERS, END_HEADERS, 1, &body("5"))).await;
    right.send(&frame(DATA, END_STREAM, 1, b"hello")).await;
    assert_eq!(right.answer(1).await, Some(OK));
    assert_eq!(target.seen()[0]["body"], "hello");
}
