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
    browser.resize(360, 740).await;
    let hidden = "return [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1).length";
    assert_eq!(browser.run(hidden).await, serde_json::json!(0), "on a phone what changed is read without moving it aside");
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

#[tokio::test]
async fn a_webhook_shows_the_last_lines_of_each_place_and_a_command_for_everything_that_can_be_called() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let called = "api: { security: [api_key], operations: { 'POST /orders': {}, 'GET /orders/{id}': {} } }
triggers:
  issues: { source: github, secret: GITHUB_SECRET, events: [issues.opened], deliver: { path: /issues } }
  any: { source: generic, verify: none, deliver: { path: /any } }
config:
  GITHUB_SECRET: { type: string, secret: true, required: true }
";
    copy.write("webhook.yaml", &format!("{spec}{called}"));
    copy.edit("server.py", "    print(f\"listening", "    print('\\033[31m<b>red\\033[0m', flush=True)\n    print(f\"listening")
        .commit("Say more");
    // Python's own lines about requests, and about probes that a busy machine gave up, are not what is looked for.
    copy.edit("server.py", "    def do_GET", "    def log_message(self, *line):\n        pass\n\n    def do_GET");
    copy.edit("server.py", "def greeting", "ThreadingHTTPServer.handle_error = lambda *about: None\n\n\ndef greeting").commit("Be quiet");
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    copy.push(&daemon, "hello-python");
    daemon
        .until("the promotion to wait for the secret", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/promotions?webhook=hello-python&open=true").await;
            list["items"][0]["status_reason"].as_str().map(str::to_owned)
        })
        .await;
    browser.open("/webhooks/hello-python").await;
    browser.until_text("why there is no log", "#logs .tail", "a release waits for its gates").await;
    let room = "return [...document.querySelectorAll('.tail-lines')].map((one) => one.getBoundingClientRect().height)";
    let before = browser.run(room).await;
    for environment in ["development", "production"] {
        let path = format!("/api/v1/webhooks/hello-python/environments/{environment}/secrets/GITHUB_SECRET");
        let (status, answer) = daemon.request(reqwest::Method::PUT, &path, Some(serde_json::json!({ "value": "opens-the-door" }))).await;
        assert_eq!(status, 204, "{answer}");
    }
    // The page follows by itself.
    let lines = browser.until_text("the last lines", "#logs .tail", "listening on port").await;
    assert!(lines.contains("<b>red") && browser.count("#logs .a-f1").await == 1, "{lines}");
    assert_eq!(browser.run(room).await, before, "lines take the room that was there for them");

    browser.open("/webhooks/hello-python").await;
    let text = browser.until_text("how it is called", "#addresses", "hookwright events send hello-python issues").await;
    let base = format!("{}/w/hello-python/development", daemon.address());
    for command in [
        format!("-H \"Authorization: Bearer $HOOKWRIGHT_TOKEN\" -H 'Content-Type: application/json' -d '{{}}' {base}/orders"),
        format!("--globoff '{base}/orders/{{id}}'"),
        "--environment development --event issues.opened".to_owned(),
        format!("-d '{{\"message\":\"Hello\"}}' {}/hooks/", daemon.address()),
    ] {
        assert!(text.contains(&command), "{command} is missing in {text}");
    }
    browser.press("#addresses .copy").await;
    browser.until_text("that it is copied", "#addresses .copy", "Copied").await;
    // A page that came neither by TLS nor from this machine is given no clipboard.
    browser.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })").await;
    browser.press("#addresses dl > div:nth-child(2) .copy").await;
    browser.until_text("that it is copied all the same", "#addresses dl > div:nth-child(2) .copy", "Copied").await;
    // What is shown is what a shell runs.
    let generic = text.lines().find(|line| line.contains("/hooks/")).expect("a command").replace("curl -i", "curl -s");
    let answer = std::process::Command::new("sh").args(["-c", &generic]).output().expect("a shell");
    assert!(String::from_utf8_lossy(&answer.stdout).contains("evt_"), "{generic}: {answer:?}");
    let found = inspect(&browser, "webhook-called").await;
    browser.open("/webhooks/hello-python/triggers").await;
    let steps = browser.until_text("what is left to do", ".steps-by-hand", "Payload URL").await;
    assert!(steps.contains(&format!("{}/hooks/", daemon.address())), "the steps name the whole address: {steps}");
    browser.open("/webhooks/hello-python").await;
    browser.press("#logs .tail a").await;
    browser.until("the whole log", "#log").await;
    browser.resize(360, 740).await;
    let aside = "return [...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1).length";
    assert_eq!(browser.run(aside).await, serde_json::json!(0), "on a phone instances are read without moving them aside");
    assert!(found.is_empty(), "{}", found.join("\n"));

    let plain = Browser::start(&daemon, Script::Off).await;
    plain.sign_in(daemon.token(), Script::Off).await;
    plain.open("/webhooks/hello-python").await;
    plain.until_text("the commands without script", "#addresses pre", "curl -i").await;
    plain.until_text("the lines without script", "#logs .tail", "listening on port").await;
}

#[tokio::test]
async fn what_webhook_yaml_does_not_declare_any_more_is_marked_with_the_command_that_ends_it() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let spec = spec.split("environments:").next().unwrap_or_default().to_owned();
    copy.write("webhook.yaml", &format!("{spec}\nenvironments:\n  development: {{}}\n  staging: {{ promote: automatic }}\n"))
        .commit("Begin");
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "Hello").await;
    daemon.answers("hello-python", "staging", "Hello").await;
    copy.write("webhook.yaml", &format!("{spec}\nenvironments:\n  testing: {{}}\n")).commit("Call it testing");
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "testing", "Hello").await;

    let command = "hookwright undeploy hello-python development";
    let browser = Browser::start(&daemon, Script::Off).await;
    browser.sign_in(daemon.token(), Script::Off).await;
    browser.until_text("the mark on the board", "td[data-column=development] .tag", "not in webhook.yaml any more").await;
    browser.open("/webhooks/hello-python").await;
    browser.until_text("the command on the webhook's page", ".flow .command", command).await;
    browser.open("/webhooks/hello-python/environments/testing").await;
    let base = format!("{}/w/hello-python/testing/", daemon.address());
    browser.until_text("how it is called", "#addresses pre", &format!("curl -i {base}")).await;
    assert_eq!(browser.count("#left-over").await, 0, "what is declared is not left over");
    browser.open("/webhooks/hello-python/environments/development").await;
    browser.until_text("the command on the environment's page", "#left-over pre", command).await;
    let shown = browser.until("the command", "#left-over pre").await;

    let looks = Browser::start(&daemon, Script::On).await;
    looks.sign_in(daemon.token(), Script::On).await;
    looks.open("/webhooks/hello-python/environments/development").await;
    let found = inspect(&looks, "environment-left-over").await;
    assert!(found.is_empty(), "{}", found.join("\n"));

    // What is shown is what ends it.
    let words: Vec<&str> = shown.split_whitespace().skip(1).collect();
    let ended = std::process::Command::new(BINARY)
        .args(&words)
        .env("HOOKWRIGHT_SERVER", daemon.address())
        .env("HOOKWRIGHT_TOKEN", daemon.token())
        .output()
        .expect("the client runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    browser.open("/webhooks/hello-python/environments/development").await;
    browser.until_text("that nothing is live", "h1", "hello-python in development").await;
    assert_eq!(browser.count("#left-over").await, 0, "what is ended is not marked any more");
    browser.open("/webhooks/hello-python").await;
    browser.until_text("what is declared", ".flow", "testing").await;
    assert_eq!(browser.count(".flow .flow-step").await, 2, "the other one is still left over");

    // So does the button, for who may.
    browser.open("/webhooks/hello-python/environments/staging").await;
    browser.press("#left-over form button").await;
    browser.until_text("the word about it", ".said", "taken out of service").await;
    let gone = async |daemon: &Daemon| (daemon.call("hello-python", "staging", "/").await.0 == 404).then_some(());
    daemon.until("it to be gone", gone).await;
    let audit = daemon.get("/api/v1/audit").await.to_string();
    assert_eq!(audit.matches("webhook.undeployed").count(), 2, "{audit}");
}
