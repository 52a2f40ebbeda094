//! The public status page and its badges: what anybody sees, and what nobody does.

use hookwright_testkit::{Daemon, WorkingCopy};
use reqwest::Method;
use serde_json::json;

use super::BINARY;
use super::browser::{Browser, Script};

/// What somebody without any token gets: status, type and text.
async fn anybody(daemon: &Daemon, path: &str) -> (u16, String, String) {
    let answer = reqwest::get(format!("{}{path}", daemon.address())).await.expect("an answer");
    let kind = answer.headers()["content-type"].to_str().expect("a text").to_owned();
    (answer.status().as_u16(), kind, answer.text().await.expect("a text"))
}

#[tokio::test]
async fn anybody_sees_whether_a_published_webhook_works_and_nothing_of_any_other() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    let spec = "version: 1\nname: shop\ntitle: Orders <b>&\nowners: [\"@acme/secret-team\"]\nhandler: { command: [python3, server.py] }\n";
    let server = "import http.server, os\nhttp.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n";
    copy.write("webhook.yaml", spec).write("server.py", server).commit("An internal matter");
    copy.push(&daemon, "shop");
    daemon.run_ended("shop", 1).await;
    let badge = "/status/shop/development.svg";

    let hidden = anybody(&daemon, badge).await;
    assert_eq!((hidden.0, &hidden.2.contains("not public")), (404, &true));
    let unknown = anybody(&daemon, "/status/nobody/development.svg").await;
    let without_id = |text: &str| text.split("request_id").next().unwrap_or_default().to_owned();
    assert_eq!(without_id(&hidden.2), without_id(&unknown.2), "hidden and unknown look the same");
    let (_, _, page) = anybody(&daemon, "/status").await;
    assert!(page.contains("Nothing is shown here") && !page.contains("Orders"), "{page}");

    // An admin publishes it with the button, and finds what to write into a README.
    let browser = Browser::start(&daemon, Script::Off).await;
    browser.sign_in(daemon.token(), Script::Off).await;
    browser.open("/webhooks/shop").await;
    browser.press("#public button").await;
    browser.until_text("the word about it", ".said", "Anybody may see").await;
    browser.until_text("the badge", "#public", badge).await;

    let (status, _, page) = anybody(&daemon, "/status").await;
    assert_eq!(status, 200);
    assert!(page.contains("Everything works") && page.contains("Orders &lt;b&gt;&amp;") && page.contains("development"), "{page}");
    for internal in ["An internal matter", "secret-team", "127.0.0.1", "Rosa", "hw_"] {
        assert!(!page.contains(internal), "`{internal}` is nobody's business: {page}");
    }
    let (status, kind, drawn) = anybody(&daemon, badge).await;
    assert_eq!((status, kind.as_str()), (200, "image/svg+xml"));
    assert!(drawn.starts_with("<svg") && drawn.contains("development: operational"), "{drawn}");
    assert_eq!(anybody(&daemon, "/status/shop/production.svg").await.0, 404, "nothing is deployed there");
    for path in ["/status/shop/..%2f..%2fkey.svg", "/status/shop/development", "/status/shop/%3Cscript%3E.svg"] {
        assert_eq!(anybody(&daemon, path).await.0, 404, "{path}");
    }

    let wish = Some(json!({ "public": false }));
    assert_eq!(daemon.request(Method::PUT, "/api/v1/webhooks/shop/public-status", wish).await.0, 204);
    assert_eq!(anybody(&daemon, badge).await.0, 404, "hidden again at once");
    let audit = daemon.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("status.published") && audit.contains("status.hidden"), "{audit}");
}
