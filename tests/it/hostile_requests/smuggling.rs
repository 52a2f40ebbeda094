//! Bytes that one server reads as one request and another one as two.

use serde_json::Value;

use super::{Target, statuses};

/// What an attacker wants somebody to take for a request.
const HIDDEN: &str = "GET /w/shop/development/hidden HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// A head that begins well, its further lines, and what follows it.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /w/shop/development/shown HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n{rest}")
}

#[tokio::test]
async fn what_has_no_one_length_or_is_no_clear_head_is_refused_and_nothing_of_it_becomes_a_request() {
    let target = Target::open(&[]).await;
    let long = "x".repeat(70_000);
    let refused: Vec<(&str, String, u16)> = vec![
        ("two lengths", post("Content-Length: 0\r\nContent-Length: 65\r\n", HIDDEN), 400),
        ("two lengths in one", post("Content-Length: 0, 65\r\n", HIDDEN), 400),
        ("the same length twice in one", post("Content-Length: 5, 5\r\n", "hello"), 400),
        ("a length with a sign", post("Content-Length: +5\r\n", "hello"), 400),
        ("a negative length", post("Content-Length: -1\r\n", HIDDEN), 400),
        ("a length in hexadecimal", post("Content-Length: 0x5\r\n", "hello"), 400),
        ("a length with a space", post("Content-Length: 5 5\r\n", "hello"), 400),
        ("no length where one is named", post("Content-Length:\r\n", HIDDEN), 400),
        ("a length beyond all numbers", post("Content-Length: 99999999999999999999999\r\n", HIDDEN), 400),
        ("chunks twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
        ("chunks twice in one", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), 400),
        ("chunks and then something else", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", HIDDEN), 400),
        ("something else and then chunks", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
        ("identity", post("Content-Length: 0\r\nTransfer-Encoding: identity\r\n", HIDDEN), 400),
        ("almost chunks", post("Transfer-Encoding: xchunked\r\n", HIDDEN), 400),
        ("chunks behind a vertical tab", post("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"), 400),
        ("a space before the colon", post("Transfer-Encoding : chunked\r\nContent-Length: 0\r\n", HIDDEN), 400),
        ("a tab before the colon", post("Content-Length\t: 5\r\n", "hello"), 400),
        ("a folded line", post("X-Folded: a\r\n b\r\n", ""), 400),
        ("a folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), 400),
        ("a first line that is folded", "GET /w/shop/development/shown HTTP/1.1\r\n Host: shop.example\r\n\r\n".to_owned(), 400),
        ("a name with a space", post("X Y: 1\r\n", ""), 400),
        ("a line without a colon", post("nothing\r\n", ""), 400),
        ("no name", post(": 1\r\n", ""), 400),
        ("a bare carriage return in a value", post("X-Bare: a\rTransfer-Encoding: chunked\r\n", ""), 400),
        ("a bare carriage return between lines", post("X-Bare: a\r\rContent-Length: 5\r\n", "hello"), 400),
        ("a zero byte in a value", post("X-Zero: a\0b\r\n", ""), 400),
        ("a zero byte in a name", post("X\0: a\r\n", ""), 400),
        ("chunks in HTTP/1.0", post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"), 400),
        ("another version", post("", "").replace("HTTP/1.1", "HTTP/1.2"), 400),
        ("no version", "GET /w/shop/development/shown\r\n\r\n".to_owned(), 400),
        ("two spaces", post("", "").replace(" HTTP/1.1", "  HTTP/1.1"), 400),
        ("a tab in the first line", post("", "").replace("POST ", "POST\t"), 400),
        ("a path with a space", post("", "").replace("/shown", "/shown there"), 400),
        ("a method with a line's end", post("", "").replace("POST ", "PO\rST "), 400),
        ("a head without end", format!("GET /w/shop/development/shown HTTP/1.1\r\nHost: shop.example\r\nX-Long: {long}"), 431),
        ("a head too large", post(&format!("X-Long: {long}\r\n"), ""), 431),
        ("too many fields", post(&"X-Many: 1\r\n".repeat(101), ""), 431),
        ("a path too long", post("", "").replace("/shown", &format!("/{long}")), 431),
    ];
    for (name, bytes, status) in refused {
        // Were it read as a whole, what follows would be a request too.
        let answer = target.say(format!("{bytes}{HIDDEN}")).await;
        assert_eq!(statuses(&answer), [status], "{name}: {answer}");
        assert!(target.seen().is_empty(), "{name}: {:?}", target.seen());
        target.honest(name).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_it_says_is_400_and_no_handler_takes_it_for_whole() {
    let target = Target::open(&[]).await;
    let chunked = |rest: &str| post("Transfer-Encoding: chunked\r\n", rest);
    let many = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    let trailers = format!("5\r\nhello\r\n0\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
    let broken = [
        ("a size that is no number", chunked("zz\r\nhello\r\n0\r\n\r\n")),
        ("a size with a sign", chunked("+5\r\nhello\r\n0\r\n\r\n")),
        ("a negative size", chunked("-5\r\nhello\r\n0\r\n\r\n")),
        ("a size with a prefix", chunked("0x5\r\nhello\r\n0\r\n\r\n")),
        ("a size beyond all numbers", chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        ("a size that a bare line feed ends", chunked("5\nhello\r\n0\r\n\r\n")),
        ("an extension that a bare line feed ends", chunked("5;a\nhello\r\n0\r\n\r\n")),
        ("an extension without end", chunked(&many)),
        ("a chunk longer than it says", chunked("3\r\nhello\r\n0\r\n\r\n")),
        ("a chunk that ends as a line does not", chunked("5\r\nhello\n0\r\n\r\n")),
        ("a chunk that ends early", chunked("5\r\nhel")),
        ("no last chunk", chunked("5\r\nhello\r\n")),
        ("an end without its line", chunked("5\r\nhello\r\n0\r\n")),
        ("trailers without end", chunked(&trailers)),
        ("a body that ends early", post("Content-Length: 10\r\n", "hello")),
    ];
    for (name, bytes) in broken {
        let answer = target.say(&bytes).await;
        assert_eq!(statuses(&answer), [400], "{name}: {answer}");
        assert!(answer.contains("application/problem+json") && answer.contains("the body ended early"), "{name}: {answer}");
        assert!(target.seen().is_empty(), "{name}: {:?}", target.seen());
        target.honest(name).await;
    }
}

/// Names of the paths that came, in order.
fn paths(seen: &[Value]) -> Vec<&str> {
    seen.iter().filter_map(|one| one["path"].as_str()).collect()
}

fn header<'a>(request: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = request["headers"].as_array().expect("headers").iter();
    fields.filter(|field| field[0] == name).filter_map(|field| field[1].as_str()).collect()
}

#[tokio::test]
async fn what_may_be_read_one_way_alone_is_written_anew_for_the_handler_and_ends_its_connection_where_it_is_unclear() {
    let target = Target::open(&[]).await;
    // Of both lengths the chunks count (RFC 9112, section 6.3), the other one is not passed on, and nothing after it is read.
    for lines in ["Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"] {
        let answer = target.say(post(lines, &format!("5\r\nhello\r\n0\r\n\r\n{HIDDEN}"))).await;
        assert_eq!(statuses(&answer), [200], "{lines}: {answer}");
        let seen = target.seen();
        assert_eq!((paths(&seen), &seen[0]["body"]), (vec!["/shown"], &Value::from("hello")), "{lines}");
        assert!(header(&seen[0], "content-length").is_empty() && header(&seen[0], "transfer-encoding") == ["chunked"], "{seen:?}");
        target.forget();
        target.honest(lines).await;
    }
    let clear = [
        ("the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        ("chunks with an extension", post("Transfer-Encoding: chunked\r\n", "5;a=\"b\"\r\nhello\r\n0\r\n\r\n")),
        (
            "trailers",
            post(
                "Transfer-Encoding: chunked\r\nTrailer: X-Forwarded-For\r\nTE: trailers\r\n",
                "5\r\nhello\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nContent-Length: 4\r\n\r\n",
            ),
        ),
        ("lines that a bare line feed ends", post("Content-Length: 5\r\n", "").replace("\r\n", "\n") + "hello"),
        ("a connection that names the length", post("Connection: content-length, host\r\nContent-Length: 5\r\n", "hello")),
        (
            "a connection that names the chunks",
            post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        ("capitals", post("TRANSFER-ENCODING: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n")),
        ("an empty line before", format!("\r\n{}", post("Content-Length: 5\r\n", "hello"))),
    ];
    for (name, bytes) in clear {
        let answer = target.say(format!("{bytes}{}", HIDDEN.replace("hidden", "next"))).await;
        assert_eq!(statuses(&answer), [200, 200], "{name}: {answer}");
        let seen = target.seen();
        assert_eq!((paths(&seen), &seen[0]["body"]), (vec!["/shown", "/next"], &Value::from("hello")), "{name}");
        assert_eq!(header(&seen[0], "host"), ["shop.example"], "{name}: {seen:?}");
        let lengths = header(&seen[0], "content-length").len() + header(&seen[0], "transfer-encoding").len();
        assert_eq!(lengths, 1, "{name}: one way to tell the end: {seen:?}");
        assert!(!seen[0].to_string().contains("1.2.3.4"), "{name}: {seen:?}");
        target.forget();
    }
}

#[tokio::test]
async fn an_upgrade_that_was_not_agreed_turns_no_request_into_raw_bytes() {
    let target = Target::open(&[]).await;
    let get = |path: &str, lines: &str| format!("GET /w/shop/development{path} HTTP/1.1\r\nHost: shop.example\r\n{lines}\r\n");
    let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let next = HIDDEN.replace("hidden", "next");
    let cases = [
        // What follows a wish that is not granted is a request like every other.
        ("a wish that the handler does not grant", get("/shown", asks), 200, vec!["/shown", "/next"]),
        ("no wish", get("/unasked", ""), 502, vec!["/unasked", "/next"]),
        ("no wish for this connection", get("/unasked", "Upgrade: websocket\r\n"), 502, vec!["/unasked", "/next"]),
        ("another wish", get("/unasked", "Connection: Upgrade\r\nUpgrade: chat\r\n"), 502, vec!["/unasked", "/next"]),
        ("a protocol without a name", get("/unnamed", asks), 502, vec!["/unnamed", "/next"]),
        (
            "HTTP/2 in the place of what is checked",
            get("/shown", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            200,
            vec!["/shown", "/next"],
        ),
    ];
    for (name, bytes, status, expected) in cases {
        let answer = target.say(format!("{bytes}{next}")).await;
        assert_eq!(statuses(&answer), [status, 200], "{name}: {answer}");
        let seen = target.seen();
        assert_eq!(paths(&seen), expected, "{name}");
        assert_ne!(header(&seen[0], "upgrade"), ["h2c"], "{name}");
        target.forget();
        target.honest(name).await;
    }
    let old = get("/unasked", asks).replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(statuses(&target.say(old).await), [502], "HTTP/1.0 knows no upgrade");
    assert!(header(&target.seen()[0], "upgrade").is_empty(), "{:?}", target.seen());
}

#[tokio::test]
async fn answers_that_can_be_read_in_two_ways_reach_nobody_and_poison_no_next_one() {
    let target = Target::open(&[]).await;
    for path in ["/two-lengths", "/folded", "/spaced", "/no-http"] {
        let answer = target.say(format!("GET /w/shop/development{path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(statuses(&answer), [502], "{path}: {answer}");
        target.honest(path).await;
    }
    let one = "GET /w/shop/development/more HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    for _ in 0..5 {
        let answer = target.say(one.repeat(3)).await;
        assert_eq!(statuses(&answer), [200, 200, 200], "{answer}");
        assert!(!answer.contains("poisoned"), "what came after an answer is nobody's: {answer}");
        target.honest("an answer with another one behind it").await;
    }
}
