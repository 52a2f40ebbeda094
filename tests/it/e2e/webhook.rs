//! The pages about a webhook's file and its releases.

use std::path::Path;

use hookwright_testkit::{Daemon, WorkingCopy};

use super::BINARY;
use super::browser::{Browser, Script};
use super::look::inspect;

#[tokio::test]
async fn what_changed_between_releases_is_told_and_a_mistake_in_the_spec_is_marked_in_place() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    copy.write("notes.txt", "one").commit("<b>First</b> \u{202e}of two");
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    copy.write("webhook.yaml", &format!("{spec}config:\n  OPENS_THE_SHOP: {{ type: string, secret: true }}\n"));
    copy.edit("server.py", "Hello from Python", "A much longer greeting than before from Python").commit("Greet at length");
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 2).await;
    let releases = daemon.get("/api/v1/releases?webhook=hello-python").await["items"].clone();
    let (newest, oldest) = (releases[0]["id"].as_str().expect("an id"), releases[1]["id"].as_str().expect("an id"));

    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    browser.open(&format!("/webhooks/hello-python/compare?before={oldest}&after={newest}")).await;
    let text = browser.until_text("the commits", "main", "Come with it").await;
    assert!(text.contains("Greet at length") && text.contains("<b>First</b> ⟨U+202E⟩of two"), "{text}");
    let names = browser.until_text("the names under config", ".names", "OPENS_THE_SHOP").await;
    assert!(names.contains("new"), "{names}");
    assert!(text.contains("image size") && !text.contains("Are not in it any more"), "{text}");
    let mut found = inspect(&browser, "compare-commits").await;
    browser.open(&format!("/webhooks/hello-python/compare?before={newest}&after={oldest}")).await;
    browser.until_text("what goes with it", "main", "Are not in it any more").await;

    browser.open("/webhooks/hello-python/releases").await;
    browser.until_text("both releases", ".rows", "Greet at length").await;
    assert_eq!(browser.count(".rows .row").await, 2);
    found.extend(inspect(&browser, "releases").await);
    browser.press("main form button").await;
    browser.until_text("the comparison", "h1", "What changed").await;

    browser.open("/webhooks/hello-python/spec").await;
    browser.until_text("that all is well", ".facts", "no mistakes").await;
    copy.edit("webhook.yaml", "handler:", "handlr:").commit("Mistype");
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 3).await;
    browser.open("/webhooks/hello-python").await;
    browser.press(".facts a[href$='/spec']").await;
    browser.until_text("the mistake in its place", ".source .wrong mark", "handlr").await;
    browser.until_text("what is wrong", ".remark", "handlr").await;
    assert!(browser.count(".remark code").await > 0, "what stands between backticks is code");
    found.extend(inspect(&browser, "spec-wrong").await);
    assert!(found.is_empty(), "{}", found.join("\n"));
}
