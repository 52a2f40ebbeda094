//! How every page looks: with hostile text in it, in both themes, wide and on a phone, checked for accessibility, and kept as pictures.

use std::path::Path;

use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::{Value, json};

use super::BINARY;
use super::browser::{Browser, Script};

/// A branch may have all of this in its name, and blanks alone it may not.
const HOSTILE_BRANCH: &str = "<img/src=x/onerror=document.title=`owned`>\u{202e}hctarb";

/// Markup, a turned direction of writing, and a sequence of terminals.
const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\"> \u{202e}gnp.exe \u{1b}[31mred";

fn hostile_webhook() -> WorkingCopy {
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    let spec = "version: 1
name: shop-orders
title: Takes orders <b>from shops</b>
owners: ['@acme/platform']
handler:
  command: [python3, server.py]
  health: { readiness: /readyz }
config:
  PRICE_LIST: { type: string, default: 'https://example.com/prices', description: Where prices are read. }
  PAYMENT_KEY: { type: string, secret: true, description: Opens the payment service. }
environments:
  development: {}
  staging: {}
  production:
    gates: { approvals: { count: 2 } }
api: { operations: { 'POST /orders': {}, 'GET /orders/{id}': {} } }
pipeline:
  branches: ['**']
  stages:
    lint: { needs: [checkout], run: 'printf \"\\033[32mok\\033[0m lint\\n\"' }
    unit-tests: { needs: [checkout], run: 'for i in $(seq 1 40); do echo \"test $i \\033[2mpassed\\033[0m\"; done; printf \"\\033[1;31m<script>alert(1)</script>\\033[0m\\n\"' }
    contract: { needs: [lint, unit-tests], run: 'sleep 1' }
    integration-with-the-payment-provider: { needs: [lint], matrix: { db: [postgres-16, postgres-17] }, run: 'true' }
    browsers: { needs: [lint], matrix: { browser: [chromium-stable, firefox-nightly, webkit], size: [phone, wide] }, run: 'true' }
";
    copy.write("webhook.yaml", spec).commit(HOSTILE);
    copy
}

async fn first(daemon: &Daemon, path: &str) -> Value {
    daemon.get(path).await["items"][0].clone()
}

fn id(value: &Value) -> &str {
    value["id"].as_str().expect("an id")
}

#[tokio::test]
async fn every_page_is_accessible_in_both_themes_and_fits_a_phone_whatever_strangers_wrote() {
    let daemon = Daemon::start(BINARY).await;
    let grants = serde_json::json!([{ "role": "viewer", "scope": { "webhook": "shop-orders" } }]);
    let hostile = serde_json::json!({ "name": "<img src=x onerror=alert(1)>", "password": "three words do", "teams": ["<b>acme/leads"], "grants": grants });
    daemon.post("/api/v1/users", hostile).await;
    let shop = hostile_webhook();
    shop.push(&daemon, "shop-orders");
    let run = daemon.run_ended("shop-orders", 1).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    for environment in ["development", "staging"] {
        if daemon.call("shop-orders", environment, "/").await.0 != 200 {
            daemon
                .request(
                    reqwest::Method::POST,
                    &format!("/api/v1/webhooks/shop-orders/environments/{environment}/approve"),
                    Some(json!({})),
                )
                .await;
        }
        daemon.answers("shop-orders", environment, "Hello").await;
    }
    daemon.waits_for_approval("shop-orders", "production").await;
    shop.edit("server.py", "Hello from Python", "Order taken by Python").commit("Say what was ordered");
    let branch = shop.try_push(&daemon, "shop-orders", daemon.token(), &format!("HEAD:refs/heads/{HOSTILE_BRANCH}"));
    assert!(branch.status.success(), "{}", String::from_utf8_lossy(&branch.stderr));
    let of_branch = daemon.run_ended("shop-orders", 2).await;
    shop.push(&daemon, "shop-orders");
    daemon.run_ended("shop-orders", 3).await;
    shop.edit("webhook.yaml", "sleep 1", "echo broken; exit 3").commit("Break the contract");
    shop.push(&daemon, "shop-orders");
    let failed = daemon.run_ended("shop-orders", 4).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    let hello = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    hello.push(&daemon, "hello-python");
    daemon.answers("hello-python", "development", "Hello").await;
    let published = daemon
        .request(reqwest::Method::PUT, "/api/v1/webhooks/shop-orders/public-status", Some(serde_json::json!({ "public": true })))
        .await;
    assert_eq!(published.0, 204);
    daemon
        .until("the requests to be counted", async |daemon: &Daemon| {
            let traffic = daemon.get("/api/v1/webhooks/hello-python/environments/development/traffic").await;
            traffic["items"][0]["requests"].as_u64()
        })
        .await;
    daemon.waits_for_approval("hello-python", "production").await;

    let waiting = first(&daemon, "/api/v1/promotions?webhook=shop-orders&environment=production&open=true").await;
    let releases = daemon.get("/api/v1/releases?webhook=shop-orders").await["items"].clone();
    let (newest, oldest) = (id(&releases[0]), id(&releases[1]));
    let browser = Browser::start(&daemon, Script::On).await;
    browser.open("/sign-in").await;
    inspect(&browser, "sign-in").await;
    browser.sign_in(daemon.token(), Script::On).await;
    browser.open("/webhooks/shop-orders/environments/development").await;
    let deployment = browser.address_of("#deployments a.row-link").await;
    let pages = [
        ("board", "/".to_owned()),
        ("board-filtered", "/?text=nothing-like-this".to_owned()),
        ("first-push", "/first-push".to_owned()),
        ("runs", "/runs".to_owned()),
        ("run", format!("/runs/{}", id(&run))),
        ("run-of-branch", format!("/runs/{}", id(&of_branch))),
        ("run-failed", format!("/runs/{}", id(&failed))),
        ("stage", format!("/runs/{}/stages/unit-tests", id(&run))),
        ("stage-failed", format!("/runs/{}/stages/contract", id(&failed))),
        ("webhook", "/webhooks/shop-orders".to_owned()),
        ("spec", "/webhooks/shop-orders/spec".to_owned()),
        ("compare", format!("/webhooks/shop-orders/compare?before={oldest}&after={newest}")),
        ("environment", "/webhooks/shop-orders/environments/development".to_owned()),
        ("promotion", format!("/promotions/{}", id(&waiting))),
        ("rollback", format!("/webhooks/shop-orders/environments/development/rollback?release={oldest}")),
        ("deployment", deployment),
        ("repositories", "/settings/repositories".to_owned()),
        ("secrets", "/settings/secrets".to_owned()),
        ("status", "/status".to_owned()),
        ("people", "/settings/people".to_owned()),
        ("account", "/settings/account".to_owned()),
        ("tokens", "/settings/tokens".to_owned()),
        ("audit", "/settings/audit".to_owned()),
        ("daemon", "/settings/daemon".to_owned()),
        ("releases", "/webhooks/shop-orders/releases".to_owned()),
        ("missing", "/webhooks/nobody-knows".to_owned()),
    ];
    let mut found = Vec::new();
    for (name, path) in &pages {
        browser.open(path).await;
        found.extend(inspect(&browser, name).await);
        let title = browser.run("return document.title").await;
        assert!(!title.to_string().contains("owned"), "{name} ran what a stranger wrote");
        let text = browser.run("return document.documentElement.outerHTML").await;
        let obeyed = ['\u{202e}', '\u{1b}'].into_iter().find(|c| text.as_str().unwrap_or_default().contains(*c));
        assert_eq!(obeyed, None, "{name} holds what turns the direction of writing, or speaks to terminals");
        if *name == "stage-failed" {
            browser.resize(360, 740).await;
            let seen = "const done = arguments[arguments.length - 1], look = () => {
                const here = document.querySelector('.side [aria-current]').getBoundingClientRect();
                here.left >= 0 && here.right <= innerWidth ? done(true) : setTimeout(look, 50); }; look();";
            assert_eq!(browser.wait_for(seen).await, json!(true), "on a phone the stage that is shown is seen among the others");
            browser.resize(1440, 900).await;
        }
        if *name == "run" {
            // What tells the stages of a matrix apart is seen, and the whole name of each is said.
            let text = browser
                .run("return [...document.querySelectorAll('.stage text')].map((one) => one.textContent).join('|')")
                .await
                .to_string();
            for label in ["db-postgres-16", "db-postgres-17", "chromium stable size phone", "webkit size wide"] {
                assert!(text.contains(label), "{label} is not seen in {text}");
            }
            let titles = browser.run("return [...document.querySelectorAll('.stage title')].map((one) => one.textContent).join('|')").await;
            assert!(titles.to_string().contains("integration-with-the-payment-provider-db-postgres-16: succeeded"), "{titles}");
            let cut = "return [...document.querySelectorAll('a.stage')].filter((one) => { const box = one.querySelector('rect').getBBox();
                return [...one.querySelectorAll('text')].some((text) => { const own = text.getBBox(); return own.x + own.width > box.x + box.width; });
            }).map((one) => one.textContent)";
            assert_eq!(browser.run(cut).await, json!([]), "a name runs out of its box");
        }
        if matches!(*name, "board" | "webhook" | "run" | "promotion") {
            found.extend(on_a_large_screen(&browser, name).await);
        }
        assert_eq!(browser.count("img, main script").await, 0, "{name} holds a stranger's markup");
    }
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

/// Looks at the page that is open in every way, and returns what is wrong.
pub(super) async fn inspect(browser: &Browser, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for theme in ["light", "dark"] {
        browser.run(&format!("document.documentElement.dataset.theme = '{theme}'")).await;
        for (width, height) in [(1440, 900), (360, 740)] {
            browser.resize(width, height).await;
            browser.picture(&format!("{name}-{theme}-{width}")).await;
            let wide = browser.run("return document.documentElement.scrollWidth").await.as_u64().unwrap_or_default();
            if wide > u64::from(width) {
                found.push(format!("{name} is {wide} wide on a screen of {width}"));
            }
            found.extend(browser.violations().await.into_iter().map(|one| format!("{name} {theme} {width}: {one}")));
        }
    }
    browser.resize(1440, 900).await;
    found
}

/// Keeps a picture of the page as 4K shows it, and says what is too wide even there.
async fn on_a_large_screen(browser: &Browser, name: &str) -> Vec<String> {
    browser.resize(3840, 2160).await;
    browser.picture(&format!("{name}-3840")).await;
    let wide = browser.run("return document.documentElement.scrollWidth").await.as_u64().unwrap_or_default();
    browser.resize(1440, 900).await;
    if wide > 3840 { vec![format!("{name} is {wide} wide on a screen of 3840")] } else { Vec::new() }
}
