//! What people do: the first push, watching it arrive, deciding, going back.

use std::path::Path;

use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::json;
use thirtyfour::Key;

use super::BINARY;
use super::browser::{Browser, Script};
use super::look::inspect;

fn example() -> WorkingCopy {
    WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"))
}

#[tokio::test]
async fn a_first_push_is_watched_approved_and_rolled_back_through_the_pages() {
    let daemon = Daemon::start(BINARY).await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    assert_eq!(browser.path().await, "/first-push", "an empty daemon shows the first steps");
    browser.until_text("the push command with the right address", "pre", &format!("{}/git/hello.git", daemon.address())).await;
    assert_eq!(browser.run("return location.hash").await, json!(""), "the token does not stay in the address");

    let copy = example();
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    browser.open("/").await;
    browser.until_text("the row", ".board-name", "hello-python").await;
    // From here on nothing is loaded again by hand: the board follows by itself.
    browser.run("window.untouched = true").await;
    browser.until_text("what is live", "td[data-column=development] .cell-state", "live").await;
    browser.until_text("what waits", "td[data-column=production] .waits", "Waits for you").await;
    assert_eq!(browser.run("return window.untouched").await, json!(true));

    browser.press("td[data-column=production] .waits").await;
    browser.until_text("the gate", "#gates", "enough people said yes").await;
    browser.until_text("the command that does the same", "#gates code", "hookwright approve hello-python production").await;
    browser.fill("textarea[name=reason]", "looks right").await;
    browser.press("button[value=approve]").await;
    browser.until_text("the word about it", ".said", "approval is recorded").await;
    browser.until_text("the decision", "#decisions", "looks right").await;
    browser.until_text("the end", "#promotion .facts .state", "succeeded").await;
    browser.press("#promotion .facts a[href^='/deployments/']").await;
    browser.until_text("what the instance uses", ".table", "MiB").await;
    browser.until_text("its way", "#happened", "requests and events go to it").await;
    daemon.answers("hello-python", "production", "Hello from Python in production").await;

    // From a run one sees where its release is, and from there the deployment; from that, the run again.
    let run = daemon.get("/api/v1/runs?webhook=hello-python").await["items"][0]["id"].as_str().expect("a run").to_owned();
    browser.open(&format!("/runs/{run}")).await;
    let went = browser.until_text("where its release went", "#went", "production").await;
    assert_eq!(went.matches("live there now").count(), 2, "{went}");
    browser.press("#went .row:last-child a[href^='/deployments/']").await;
    browser.until_text("the deployment", "h1", "hello-python in production").await;
    browser.press("#deployment .release-title a").await;
    browser.until("its run", "#run").await;
    assert_eq!(browser.path().await, format!("/runs/{run}"));

    copy.edit("server.py", "Hello from Python", "Good evening from Python").commit("Greet later");
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 2).await;
    let release = daemon.waits_for_approval("hello-python", "production").await;
    daemon.post("/api/v1/webhooks/hello-python/environments/production/approve", json!({ "release": release })).await;
    daemon.answers("hello-python", "production", "Good evening").await;
    // A row is found by what stands in it: commit, author, state, owner.
    for (text, rows) in [("GREET+rosa+live", 1), ("hello-python+later", 1), ("greet+somebody-else", 0)] {
        browser.open(&format!("/?text={text}")).await;
        browser.until("the board", "#board").await;
        assert_eq!(browser.count("#board .board tbody tr").await, rows, "found by {text}");
    }

    browser.open("/webhooks/hello-python/environments/production").await;
    browser.press("#deployments a.button").await;
    browser.until_text("the preview", ".changes", "commit").await;
    browser.press("form.buttons button.primary").await;
    browser.until_text("the word about it", ".said", "held").await;
    daemon.answers("hello-python", "production", "Hello from Python in production").await;
    browser.open("/webhooks/hello-python").await;
    browser.until_text("the hold", ".flow", "held by admin").await;

    browser.open("/webhooks/hello-python/environments/production").await;
    browser.press("#place form[action$='/hold/end'] button").await;
    browser.until_text("the word about it", ".said", "hold is ended").await;
    browser.until_text("the end in the history of holds", "#holds .row", "ended").await;
    assert_eq!(browser.count("#place .notice").await, 0, "nobody holds it any more");
    browser.fill("#holds input[name=reason]", "fair <b>week").await;
    browser.press("#holds form button").await;
    browser.until_text("who holds it and why", "#place .notice", "fair <b>week").await;
    browser.open("/").await;
    browser.until_text("the hold", "td[data-column=production]", "held by admin").await;
}

#[tokio::test]
async fn without_any_script_what_waits_is_read_and_approved() {
    let daemon = Daemon::start(BINARY).await;
    let copy = example();
    copy.push(&daemon, "hello-python");
    daemon.run_ended("hello-python", 1).await;
    daemon.waits_for_approval("hello-python", "production").await;
    let browser = Browser::start(&daemon, Script::Off).await;
    browser.sign_in(daemon.token(), Script::Off).await;
    browser.press("td[data-column=production] .waits").await;
    browser.press("button[value=approve]").await;
    browser.until_text("the word about it", ".said", "approval is recorded").await;
    daemon.answers("hello-python", "production", "Hello from Python in production").await;

    let run = daemon.get("/api/v1/runs?webhook=hello-python").await["items"][0]["id"].as_str().expect("a run").to_owned();
    browser.open(&format!("/runs/{run}")).await;
    browser.until("the graph", "svg .stage").await;
    browser.press("svg a.stage").await;
    browser.until("the log", "#log").await;
}

#[tokio::test]
async fn a_log_is_followed_while_it_is_written_and_searched() {
    let daemon = Daemon::start(BINARY).await;
    let copy = example();
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let stage = "pipeline:\n  stages:\n    talk:\n      needs: [checkout]\n      run: |\n        printf '\\033[31mred\\033[0m\\n'\n        seq 1 3000\n        while [ ! -e /tmp/never ] && [ $((i += 1)) -lt 20 ]; do echo tick $i; sleep 0.2; done\n        echo needle at the end\n";
    copy.write("webhook.yaml", &format!("{spec}{stage}")).commit("Talk");
    copy.push(&daemon, "hello-python");
    let run = daemon
        .until("the run", async |daemon: &Daemon| {
            daemon.get("/api/v1/runs?webhook=hello-python").await["items"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    browser.open(&format!("/runs/{run}/stages/talk")).await;
    browser.until_text("the end of the log, without loading again", "#log li:last-child", "needle at the end").await;
    assert_eq!(browser.run("return document.querySelector('.a-f1').textContent").await, json!("red"));
    assert_eq!(browser.run("return document.querySelectorAll('#log li').length").await, json!(3021));

    browser.open(&format!("/runs/{run}/stages/talk?find=needle")).await;
    browser.until_text("what was found", "#log li", "needle at the end").await;
    // The command that printed it contains it too.
    assert_eq!(browser.count("#log li").await, 2);
    browser.open(&format!("/runs/{run}/stages/talk#L2500")).await;
    browser.until_text("the line that the address names", "#log li.marked", "2497").await;
}

#[tokio::test]
async fn with_a_keyboard_alone_one_signs_in_finds_what_waits_and_approves_it() {
    let daemon = Daemon::start(BINARY).await;
    example().push(&daemon, "hello-python");
    daemon.waits_for_approval("hello-python", "production").await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.open("/sign-in").await;
    // The one field has the focus already.
    browser.type_keys(daemon.token()).await;
    browser.press_key(Key::Enter).await;
    browser.until_text("the row", ".board-name", "hello-python").await;

    browser.type_keys("?").await;
    browser.until("the keys", "#keys[open]").await;
    browser.press_key(Key::Escape).await;
    browser.type_keys("/").await;
    browser.type_keys("nothing of that name").await;
    browser.press_key(Key::Enter).await;
    browser.until_text("the empty state", ".empty", "No webhook matches").await;
    browser.open("/").await;

    browser.tab_to(".skip", 1).await;
    browser.press_key(Key::Enter).await;
    browser.tab_to("td[data-column=production] .waits a, td[data-column=production] a.waits", 20).await;
    browser.press_key(Key::Enter).await;
    browser.until_text("the gate", "#gates", "approvals").await;
    browser.tab_to("button[value=approve]", 30).await;
    browser.press_key(Key::Enter).await;
    browser.until_text("the word about it", ".said", "approval is recorded").await;
    daemon.answers("hello-python", "production", "Hello").await;
    browser.type_keys("gr").await;
    browser.until_text("the runs", "h1", "Runs").await;
    // A page that has nothing to search is left for the board's field.
    browser.open("/webhooks/hello-python").await;
    browser.until("the page", "#flow").await;
    browser.type_keys("/").await;
    browser.until("the board", ".board").await;
    assert_eq!(browser.run("return document.activeElement.name").await, json!("text"));
}

#[tokio::test]
async fn a_first_push_with_a_mistake_is_said_where_people_look_and_a_later_one_names_the_run_its_outputs_came_from() {
    let daemon = Daemon::start(BINARY).await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    assert_eq!(browser.path().await, "/first-push");
    let copy = example();
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let stage =
        "pipeline:\n  stages:\n    made: { needs: [checkout], run: 'echo made > made.txt', inputs: [server.py], outputs: [made.txt] }\n";
    copy.write("webhook.yaml", &format!("{spec}{stage}").replace("handler:", "handlr:")).commit("Begin");
    copy.push(&daemon, "hello-python");
    // The first steps follow by themselves.
    browser.until_text("that it failed", "#strays .row", "failed").await;
    browser.until_text("the way on", "#strays", "Mend it, commit and push again").await;
    let mut found = inspect(&browser, "first-push-failed").await;
    browser.press("#strays .row-link").await;
    let lines = browser.until_text("the mistake", ".notice-lines", "handlr").await;
    let (line, mark) = lines.split_once("^^^^").expect("the place is marked below its line");
    assert!(line.lines().count() >= 3 && mark.contains("did you mean"), "{lines}");
    found.extend(inspect(&browser, "run-with-mistake").await);
    // There is no valid revision yet, and the file is shown all the same, as later ones are.
    browser.press("#run a[href*='/spec']").await;
    browser.until_text("the mistake in its place", ".source .wrong mark", "handlr").await;
    browser.until_text("what is wrong", ".remark", "did you mean").await;
    found.extend(inspect(&browser, "spec-first-wrong").await);
    browser.open("/webhooks/hello-python/spec").await;
    browser.until_text("the same by its own address", ".source .wrong mark", "handlr").await;
    browser.open("/webhooks/hello-python").await;
    browser.until_text("its runs, for there is no webhook yet", "h1", "Runs").await;
    browser.until_text("what went wrong, in a line", ".row-why", "handlr").await;

    copy.edit("webhook.yaml", "handlr:", "handler:");
    let first = daemon.get("/api/v1/runs?webhook=hello-python").await["items"][0]["id"].as_str().expect("a run").to_owned();
    for (number, text) in [(2, "one"), (3, "two")] {
        copy.write("notes.txt", text).commit("Mend");
        copy.push(&daemon, "hello-python");
        daemon.run_ended("hello-python", number).await;
    }
    let run = daemon.get("/api/v1/runs?webhook=hello-python").await["items"][0]["id"].as_str().expect("a run").to_owned();
    browser.open(&format!("/runs/{run}")).await;
    browser.until_text("where the outputs came from", "#run .row-meta a", "from run 2").await;
    browser.open(&format!("/runs/{run}/stages/made")).await;
    browser.until_text("the same beside its log", ".facts a", "from run 2").await;
    browser.open(&format!("/runs/{first}")).await;
    browser.press("#run a[href*='/spec']").await;
    browser.until_text("the file as that run found it", ".source .wrong mark", "handlr").await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}
