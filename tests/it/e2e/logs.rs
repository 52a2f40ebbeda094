//! A run in a browser: long logs, folded by command, followed as they are written; and failed tests by name.

use std::path::Path;
use std::time::Instant;

use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::{Value, json};

use super::BINARY;
use super::browser::{Browser, Script};
use super::look::inspect;

/// A webhook whose pipeline has one more stage, pushed; returns its first run, once it has begun.
async fn run_with(daemon: &Daemon, stage: &str) -> (WorkingCopy, String) {
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    copy.write("webhook.yaml", &format!("{spec}pipeline:\n  stages:\n{stage}")).commit("Talk");
    copy.push(daemon, "hello-python");
    let known = async |daemon: &Daemon| daemon.get("/api/v1/runs?webhook=hello-python").await["items"][0]["id"].as_str().map(str::to_owned);
    let run = daemon.until("the run", known).await;
    (copy, run)
}

#[tokio::test]
async fn a_log_is_folded_by_command_and_the_one_that_failed_is_open() {
    let daemon = Daemon::start(BINARY).await;
    let stage = "    talk:
      needs: [checkout]
      run: |
        printf '\\033[35mcoloured until further notice\\n'
        for i in 1 2 3; do
          echo \"<img src=x onerror=document.title='owned'> $i \\342\\200\\256gnp.exe\"
        done
        set +e; false
        echo \"the end of that was $?\"
        sh -c 'echo broken >&2; exit 3'
        exit $?
        echo never
";
    let (_copy, run) = run_with(&daemon, stage).await;
    daemon.run_ended("hello-python", 1).await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    browser.open(&format!("/runs/{run}/stages/talk")).await;
    browser.until_text("the command that failed", "#log details[open]", "$ exit $?").await;
    let folded = browser.run("return [...document.querySelectorAll('#log details')].map((one) => [one.open, one.querySelector('summary .line span').textContent])");
    let wanted = [
        json!([false, "$ printf '\\033[35mcoloured until further notice\\n'"]),
        json!([false, "$ for i in 1 2 3; do"]),
        json!([false, "$ set +e; false"]),
        json!([false, "$ echo \"the end of that was $?\""]),
        json!([false, "$ sh -c 'echo broken >&2; exit 3'"]),
        json!([true, "$ exit $?"]),
    ];
    assert_eq!(folded.await, json!(wanted));
    let text = browser.run("return document.querySelector('#log').textContent").await.to_string();
    assert!(text.contains("the end of that was 1"), "what a command ended with reaches the next one: {text}");
    assert!(browser.count("#log img").await == 0 && browser.run("return document.title").await != json!("owned"));
    let stage = daemon.get(&format!("/api/v1/runs/{run}")).await.to_string();
    assert!(stage.contains("exit code 3"), "{stage}");
    // What goes to standard error may stand before what was printed in the same moment.
    let line =
        "return [...document.querySelectorAll('#log details:not([open]) li')].find((one) => one.textContent.includes(\"'owned'> 2\")).id";
    let line = browser.run(line).await.as_str().expect("a line").to_owned();
    browser.open(&format!("/runs/{run}/stages/talk#{line}")).await;
    browser.until("the line that the address names, unfolded", "#log details[open] li.marked").await;
    let found = inspect(&browser, "stage-folded").await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn a_hundred_thousand_lines_are_shown_painted_searched_and_scrolled_without_suffering() {
    let daemon = Daemon::start(BINARY).await;
    let stage = "    talk:
      needs: [checkout]
      run: |
        printf '\\033[32mgreen from here on\\n'
        seq -f 'line %.0f of very many that a stage may write while it works' 1 100000
        echo needle at the end
";
    let (_copy, run) = run_with(&daemon, stage).await;
    daemon.run_ended("hello-python", 1).await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    let began = Instant::now();
    browser.open(&format!("/runs/{run}/stages/talk")).await;
    let first = began.elapsed();
    let all = "const done = arguments[arguments.length - 1]; const look = () => {
        const count = document.querySelectorAll('#log li').length; count >= 100002 ? done(count) : setTimeout(look, 50); }; look();";
    assert_eq!(browser.wait_for(all).await, json!(100_002));
    let whole = began.elapsed();
    assert_eq!(
        browser.run("return document.querySelector('#L100003 i')?.className").await,
        json!("a-f2"),
        "a colour goes on over stretches"
    );
    // The longest time in which the page answers nobody while it is unfolded and scrolled.
    let scroll =
        "const done = arguments[arguments.length - 1]; for (const one of document.querySelectorAll('#log details')) one.open = true;
        const log = document.getElementById('log'); let worst = 0, last = performance.now(), step = 0;
        const frame = () => { const now = performance.now(); worst = Math.max(worst, now - last); last = now;
            log.scrollTop = log.scrollHeight * (step++ / 60); step <= 60 ? requestAnimationFrame(frame) : done(worst); };
        requestAnimationFrame(frame);";
    let worst = browser.wait_for(scroll).await.as_f64().expect("a time");
    println!("100,000 lines: first look {first:?}, all there {whole:?}, longest frame {worst:.0} ms while scrolling");
    assert!(worst < 2000.0, "the page stood still for {worst} ms");
    browser.open(&format!("/runs/{run}/stages/talk?find=needle")).await;
    browser.until_text("what was found", "#log li", "needle at the end").await;
    browser.open(&format!("/runs/{run}/stages/talk#L90000")).await;
    browser.until_text("a line in a later stretch", "#log li.marked", "line 89997 of").await;
}

#[tokio::test]
async fn failed_tests_are_named_first_with_message_and_stack() {
    let daemon = Daemon::start(BINARY).await;
    let report = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><testsuite name=\"cart\"><testcase name=\"adds\" time=\"0.01\"/>\
        <testcase name=\"empties\" classname=\"Cart\"><failure message=\"expected 0 &lt; 1\">at cart.py:7 &f;&#10;&lt;img src=x onerror=alert(1)&gt;</failure></testcase></testsuite>";
    let stage = "    unit:\n      needs: [checkout]\n      run: 'cp report.xml junit.xml; exit 1'\n      reports: [junit.xml]\n";
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    copy.write("report.xml", report).write("webhook.yaml", &format!("{spec}pipeline:\n  stages:\n{stage}")).commit("Test");
    copy.push(&daemon, "hello-python");
    let run: Value = daemon.run_ended("hello-python", 1).await;
    let path = format!("/runs/{}", run["id"].as_str().expect("an id"));
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    browser.open(&path).await;
    let text = browser.until_text("the test", "#failed-tests", "empties").await;
    assert!(text.contains("expected 0 < 1") && text.contains("at cart.py:7 &f;") && text.contains("<img src=x"), "{text}");
    let mut found = inspect(&browser, "run-failed-tests").await;
    browser.open(&format!("{path}/tests")).await;
    browser.press("details.pad summary").await;
    browser.until_text("the other test", ".test-names", "adds").await;
    found.extend(inspect(&browser, "tests").await);
    assert_eq!(browser.count("img").await, 0);
    browser.open(&format!("{path}/tests?find=nothing")).await;
    browser.until_text("that nothing matches", "main", "No test of it matches").await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn the_live_log_of_a_deployment_is_searched_as_that_of_a_stage_is() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    copy.edit(
        "server.py",
        "    print(f\"listening",
        "    for n in range(3000): print('line', n)\n    print('a needle <b>in</b> it', flush=True)\n    print(f\"listening",
    )
    .commit("Talk");
    copy.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "Hello").await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.sign_in(daemon.token(), Script::On).await;
    browser.open("/webhooks/hello-python").await;
    browser.press("#logs .tail a").await;
    browser.until_text("the end of the log", "#log li", "listening on port").await;
    browser.type_keys("/").await;
    browser.type_keys("NEEDLE").await;
    browser.press_key(thirtyfour::Key::Enter).await;
    browser.until_text("how much was found", ".log [role=status]", "1 line contains “NEEDLE”").await;
    browser.until_text("what was found", "#log li", "a needle <b>in</b> it").await;
    assert_eq!(browser.count("#log li").await, 1);
    let found = inspect(&browser, "deployment-searched").await;
    // Its number leads to where it stands in the whole log.
    browser.press("#log li a").await;
    browser.until_text("the line among the others", "#log li.marked", "a needle").await;
    browser.until_text("those around it", "#log li", "line 2999").await;
    assert!(found.is_empty(), "{}", found.join("\n"));

    let plain = Browser::start(&daemon, Script::Off).await;
    plain.sign_in(daemon.token(), Script::Off).await;
    let deployment = browser.path().await;
    plain.open(&deployment).await;
    plain.fill("input[name=find]", "no such words").await;
    plain.press(".log-bar form button").await;
    plain.until_text("that nothing was found", ".log [role=status]", "0 lines contain").await;
    plain.press(".log [role=status] a").await;
    plain.until_text("the whole log", "#log li", "line 1").await;
}
