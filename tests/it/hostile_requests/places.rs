//! Hosts, paths and headers that say one thing to us and another one to somebody else.

use super::{Target, statuses};

fn get(line: &str, lines: &str) -> String {
    format!("GET {line} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")
}

#[tokio::test]
async fn a_request_names_one_host_or_is_refused() {
    let target = Target::open(&[]).await;
    let shown = "/w/shop/development/shown";
    let refused = [
        ("no host", get(shown, "")),
        ("two hosts", get(shown, "Host: shop.example\r\nHost: evil.example\r\n")),
        ("the same host twice", get(shown, "Host: shop.example\r\nHost: shop.example\r\n")),
        ("an empty host", get(shown, "Host:\r\n")),
        ("a host with somebody who signs in", get(shown, "Host: me@shop.example\r\n")),
        ("a host with a path", get(shown, "Host: shop.example/evil\r\n")),
        ("a host with a quote", get(shown, "Host: shop.example\";proto=https\r\n")),
        ("two hosts in one", get(shown, "Host: shop.example, evil.example\r\n")),
        ("a port that is none", get(shown, "Host: shop.example:http\r\n")),
        ("a host besides that of the address", get(&format!("http://shop.example{shown}"), "Host: evil.example\r\n")),
        ("another port", get(&format!("http://shop.example:81{shown}"), "Host: shop.example\r\n")),
        ("no host in HTTP/1.1 to the interface", get("/api/v1/openapi.json", "")),
    ];
    for (name, bytes) in refused {
        let answer = target.say(format!("{bytes}{}", get("/w/shop/development/hidden", "Host: shop.example\r\n"))).await;
        assert_eq!(statuses(&answer), [400], "{name}: {answer}");
        let lower = answer.to_lowercase();
        let is_problem = lower.contains("application/problem+json") && lower.contains("x-request-id: ") && lower.contains("\"detail\":");
        // What is no header at all is refused before anybody can say so in JSON.
        assert!(is_problem || name == "a host with a quote", "{name}: {answer}");
        assert!(target.seen().is_empty(), "{name}: {:?}", target.seen());
        target.honest(name).await;
    }
    let taken = [
        get(&format!("http://shop.example{shown}"), "Host: shop.example\r\n"),
        get(&format!("http://shop.example:80{shown}"), "Host: SHOP.example\r\n"),
        get(shown, "Host: shop.example:8080\r\n"),
        get(shown, "Host: [::1]:8080\r\n"),
        get(shown, "").replace("HTTP/1.1", "HTTP/1.0"),
    ];
    for bytes in &taken {
        assert_eq!(statuses(&target.say(bytes).await), [200], "{bytes}");
    }
    assert_eq!(target.seen().len(), taken.len());
}

#[tokio::test]
async fn no_spelling_of_a_path_goes_around_a_signature_or_to_another_place() {
    let target = Target::open(&[]).await;
    let closed = [
        "/issues",
        "//issues",
        "/issues/",
        "/./issues",
        "/x/../issues",
        "/x/..%2fissues",
        "/x%2f..%2fissues",
        "/%2e%2e/issues",
        "/..%2f..%2fissues",
        "/issues;a=b",
        "/;a/issues",
        "/issues%00",
        "/issues%20",
        "/%69ssues",
        "/%2569ssues",
        "/%252569ssues",
        "/ISSUES",
        "/x/%2e%2e%5cissues",
        "/issues?x",
        "/issues%3fx",
        "/issues%23x",
    ];
    for path in closed {
        let answer = target.say(get(&format!("/w/shop/development{path}"), "Host: shop.example\r\n")).await;
        assert_eq!(statuses(&answer), [403], "{path}: {answer}");
        assert!(target.seen().is_empty(), "{path}: {:?}", target.seen());
    }
    let nowhere = [
        "//w/shop/development/shown",
        "/W/shop/development/shown",
        "/w//shop/development/shown",
        "/w/./shop/development/shown",
        "/w/shop//development/shown",
        "/w/shop%2fdevelopment/shown",
        "/w/shop/development%2fshown",
        "/w/shop/development%00/shown",
        "/w/shop;x/development/shown",
        "/w/shop/production/..%2fdevelopment/shown",
        "/w/shop/production/../development/shown",
        "/x/../w/shop/development/shown",
        "/%77/shop/development/shown",
        "/hooks/../w/shop/development/shown",
        "/api/v1/../../w/shop/development/shown",
        "/w/shop",
        "/w/",
        "/w",
        "*",
    ];
    for path in nowhere {
        let answer = target.say(get(path, "Host: shop.example\r\n")).await;
        assert!(matches!(statuses(&answer)[..], [400 | 404]), "{path}: {answer}");
        assert!(target.seen().is_empty(), "{path}: {:?}", target.seen());
    }
    let private =
        ["/api/v1/runs", "/api//v1/runs", "/api/v1/runs/", "/API/v1/runs", "/api/v1/openapi.json/../runs", "/healthz/..%2fapi/v1/runs"];
    for path in private {
        let answer = target.say(get(path, "Host: shop.example\r\n")).await;
        assert!(statuses(&answer).iter().all(|status| (300..500).contains(status)), "{path}: {answer}");
    }
    // What is no trick arrives as it was written, and nobody reads it otherwise on the way.
    let open = ["/a%2fb", "/a//b", "/a;b=c/d", "/../../x", "/issues/7", "/a%00", "/?a=b#c".split('#').next().expect("a part")];
    for path in open {
        let answer = target.say(get(&format!("/w/shop/development{path}"), "Host: shop.example\r\n")).await;
        assert_eq!(statuses(&answer), [200], "{path}: {answer}");
        assert_eq!(target.seen().pop().map(|one| one["path"].clone()), Some(path.into()), "{path}");
    }
    target.honest("all of them").await;
}

#[tokio::test]
async fn what_only_the_daemon_may_say_reaches_no_handler_from_a_client_in_any_spelling() {
    let target = Target::open(&[]).await;
    let names = [
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "x-forwarded-proto",
        "X_Forwarded_Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
        "X-Forwarded-User",
        "Forwarded",
        "X-Real-IP",
        "X_Real_IP",
        "X-Request-Id",
        "X_Request_Id",
        "X-Hookwright-Replay",
        "X_Hookwright_Replay",
        "X-Hookwright-Passed-On",
        "Webhook_Id",
        "Webhook_Signature",
        "Webhook-Timestamp_",
        "X-Consumer-Id",
        "X_Consumer_Id",
        "Client-Cert",
        "Client_Cert",
        "Transfer_Encoding",
        "Content_Length",
        "Proxy",
        "Proxy-Authorization",
        "Keep-Alive",
    ];
    let lines: String = names.iter().map(|name| format!("{name}: 0forged\r\n")).collect();
    // A client cannot have ours taken away either.
    let lines = format!("Host: shop.example\r\n{lines}Connection: X-Forwarded-Prefix, X-Request-Id, Forwarded, Host\r\nX_Mine: mine\r\n");
    let answer = target.say(get("/w/shop/development/shown", &lines)).await;
    assert_eq!(statuses(&answer), [200], "{answer}");
    let seen = target.seen().pop().expect("the handler got it");
    assert!(!seen.to_string().contains("0forged"), "{seen}");
    let value = |name: &str| {
        let fields = seen["headers"].as_array().expect("headers");
        fields.iter().find(|field| field[0] == name).and_then(|field| field[1].as_str()).map(str::to_owned)
    };
    assert_eq!(value("host").as_deref(), Some("shop.example"));
    assert_eq!(value("x-forwarded-prefix").as_deref(), Some("/w/shop/development"));
    assert_eq!(value("forwarded").as_deref(), Some("for=127.0.0.1;host=\"shop.example\";proto=http"));
    assert!(value("x-request-id").is_some_and(|id| id.len() == 32), "{seen}");
    assert_eq!(value("x_mine").as_deref(), Some("mine"), "what is not like ours is the client's");
    target.honest("forged headers").await;
}
