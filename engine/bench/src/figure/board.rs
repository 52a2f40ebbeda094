//! The board of the status page with 500 webhooks, each live in four environments with an hour of requests behind it, a fifth of them waiting for
//! an approval, and 100,000 runs. One webhook is deployed for certain; the others are copies of what that left in the store, put there by the
//! store's own functions while no daemon runs. Their deployments want no instance, so that 2,000 handlers need not run.
//!
//! Units: milliseconds and KiB. Targets: first byte p99 at most 50 ms; everything that the page loads at most 150 KiB, packed; usable in a
//! headless chromium 500 ms after the navigation began, by the browser's own timing. Beside the first byte stands the processor time of one answer.
//! Floor: the same board with the one webhook.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hookwright_core::status::PromotionStatus;
use hookwright_core::{Deployment, DeploymentId, Digest, Promotion, PromotionId, Release, ReleaseId, Timestamp, Traffic, WebhookName};
use hookwright_store::PromotionFilter;
use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::json;

use super::{Bench, run_ended};
use crate::chromium::Chromium;
use crate::process;
use crate::report::{Line, Section, Target};
use crate::sample::{Spread, millis};
use crate::stock::Stock;
use crate::visitor::Visitor;

const NAME: &str = "board-0";
const ENVIRONMENTS: [&str; 4] = ["development", "testing", "staging", "production"];
/// How often the board is asked for, and opened in a browser.
const ASKED: usize = 300;
const OPENED: usize = 9;
/// Of so many webhooks one waits for an approval.
const WAITING: usize = 5;
/// A daemon has settled when it uses less than a tenth of a core for so long; after so long it is asked in any case.
const LOOK: Duration = Duration::from_secs(1);
const SETTLING: Duration = Duration::from_secs(60);
/// So many minutes of requests are behind every deployment: as many as the board draws.
const MINUTES: i64 = 60;

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let (webhooks, runs) = (bench.amount(500), bench.amount(100_000));
    let mut daemon = bench.daemon(&[("HOOKWRIGHT_SANDBOX", "off")]).await;
    deploy(bench, &daemon).await?;
    let floor = ask(bench, &daemon).await?;
    daemon.terminate().await;
    let before = Instant::now();
    let stock = Stock::open(&daemon.data(), daemon.database()).await.context("the store cannot be opened")?;
    let names = copy_webhooks(&stock, webhooks).await.context("webhooks cannot be copied")?;
    stock.fill_runs(runs, &names).await.context("runs cannot be copied")?;
    drop(stock);
    eprintln!("  stored {webhooks} webhooks and {runs} runs in {:.1} s", before.elapsed().as_secs_f64());
    daemon.restart().await;
    settled(&daemon).await?;
    let own = ask(bench, &daemon).await?;

    let what = "the board of one webhook";
    let first = Line::new("first byte p99", own.first_byte.p99, "ms").against(what, floor.first_byte.p99);
    section.add(first.target(Target::AtMost(50.0)));
    section.add(Line::spread("first byte", own.first_byte, "ms").against(what, floor.first_byte.median));
    section.add(Line::new("processor time of one answer", own.spent, "ms").against(what, floor.spent));
    section.add(Line::new("the page alone, packed", own.page, "KiB").against(what, floor.page));
    section.add(Line::new("the page with all it loads, packed", own.whole, "KiB").against(what, floor.whole).target(Target::AtMost(150.0)));
    match Chromium::start().await? {
        Some(browser) => {
            browser.sign_in(&daemon).await?;
            look(bench, (&browser, &daemon), section).await?;
            browser.end().await;
        }
        None => section.skip("chromium: it is not installed; `apt-get install chromium chromium-driver`"),
    }
    Ok(())
}

/// Waits until what a start brings is over: 2,000 deployments are taken up again.
async fn settled(daemon: &Daemon) -> Result<()> {
    let (began, mut before) = (Instant::now(), process::cpu(Some(daemon.pid()))?.own);
    while began.elapsed() < SETTLING {
        tokio::time::sleep(LOOK).await;
        let now = process::cpu(Some(daemon.pid()))?.own;
        if now.saturating_sub(before) < LOOK / 10 {
            break;
        }
        before = now;
    }
    Ok(())
}

/// One webhook that is live in all four environments.
async fn deploy(bench: &Bench, daemon: &Daemon) -> Result<()> {
    let places: String = ENVIRONMENTS.iter().enumerate().fold(String::new(), |text, (place, name)| {
        let after = place.checked_sub(1).map_or(String::new(), |before| format!(", after: {}", ENVIRONMENTS[before]));
        // Into the last one somebody has to let a release in, so that newer ones wait there.
        let gate = if place + 1 == ENVIRONMENTS.len() { ", gates: { approvals: { count: 1 } }" } else { "" };
        format!("{text}  {name}: {{ promote: automatic{after}{gate} }}\n")
    });
    let spec = format!(
        "version: 1\nname: {NAME}\ntitle: Takes orders from the shops\nowners: ['@acme/platform', '@acme/shop']\n\
         handler: {{ command: [/app/handler, {}] }}\npipeline:\n  uses: static@1\n  stages:\n    \
         compile: {{ needs: [checkout], run: \"cp '{}' handler\", outputs: [handler] }}\n    \
         image: {{ needs: [compile], image: {{ copy: {{ handler: /app/handler }} }} }}\nenvironments:\n{places}",
        crate::HANDLER,
        bench.own.display()
    );
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec).commit("Take orders from the shops and say what they cost");
    copy.push(daemon, NAME);
    run_ended(daemon, NAME, 1).await?;
    let [.., last] = ENVIRONMENTS;
    let release = daemon.waits_for_approval(NAME, last).await;
    daemon.post(&format!("/api/v1/webhooks/{NAME}/environments/{last}/approve"), json!({ "release": release })).await;
    for environment in ENVIRONMENTS {
        daemon.answers(NAME, environment, "hello").await;
    }
    Ok(())
}

/// What the one webhook left in the store, again for so many others; returns their names.
async fn copy_webhooks(stock: &Stock, webhooks: usize) -> Result<Vec<WebhookName>> {
    let store = &stock.store;
    let model = WebhookName::new(NAME)?;
    let record = store.webhook_fetch(&model).await?.context("the webhook is gone")?;
    let spec = store.webhook_spec_fetch(&model).await?.context("its spec is gone")?;
    let release = store.release_list(Some(&model), None, 1).await?.pop().context("its release is gone")?;
    let deployments = store.deployment_list_live(&model).await?;
    let filter = PromotionFilter { webhook: Some(model), limit: 100, ..PromotionFilter::default() };
    let promotions = store.promotion_list(&filter).await?;
    let (mut names, mut passed) = (Vec::new(), Vec::new());
    let mut tx = store.begin().await?;
    for number in 1..webhooks {
        let name = WebhookName::new(format!("board-{number}"))?;
        tx.webhook_claim(&name, &record.repository, &format!("services/{number}")).await?;
        store.webhook_spec_set_in(&mut tx, &name, &spec).await?;
        let content = Digest::of(format!("release of {name}"));
        let copy = Release { id: ReleaseId::of(&content), content, webhook: name.clone(), ..release.clone() };
        store.release_add_in(&mut tx, &copy).await?;
        for promotion in &promotions {
            let id = PromotionId::new(stock.ids.as_ref());
            let (webhook, release) = (name.clone(), copy.id.clone());
            store
                .promotion_add_in(&mut tx, &Promotion { id, webhook: webhook.clone(), release: release.clone(), ..promotion.clone() })
                .await?;
            let Some(live) = deployments.iter().find(|live| live.promotion == promotion.id) else { continue };
            let (new, instances) = (DeploymentId::new(stock.ids.as_ref()), 0);
            let deployment = Deployment { id: new, webhook, release, promotion: id, instances, ..live.clone() };
            store.deployment_add_in(&mut tx, &deployment).await?;
            passed.push((new, Traffic { requests: 40 + number as u64 % 17, errors: u64::from(number % 9 == 0), ..Traffic::default() }));
        }
        names.push(name);
    }
    tx.commit("bench.copied").await?;
    waiting(stock, &names, &promotions).await?;
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?;
    for minute in 0..MINUTES {
        store.traffic_add(Timestamp::from_millis(now - minute * 60_000), &passed).await?;
    }
    Ok(names)
}

/// A newer release that waits in the last environment of some.
async fn waiting(stock: &Stock, names: &[WebhookName], models: &[Promotion]) -> Result<()> {
    let mut tx = stock.store.begin().await?;
    let model = models.iter().find(|model| model.environment.as_str() == ENVIRONMENTS[3]).context("nothing went into production")?;
    for name in names.iter().step_by(WAITING) {
        let current = stock.store.release_list(Some(name), None, 1).await?.pop().context("a copied release is gone")?;
        let content = Digest::of(format!("newer release of {name}"));
        let newer = Release { id: ReleaseId::of(&content), content, ..current };
        stock.store.release_add_in(&mut tx, &newer).await?;
        let (id, webhook, release) = (PromotionId::new(stock.ids.as_ref()), name.clone(), newer.id);
        let promotion = Promotion {
            id,
            webhook,
            release,
            status: PromotionStatus::Waiting,
            status_reason: Some("`approvals`: 0 of 1 approvals; it may be given by anyone with the role approver".to_owned()),
            deployment: None,
            ended_at: None,
            ..model.clone()
        };
        stock.store.promotion_add_in(&mut tx, &promotion).await?;
    }
    Ok(tx.commit("bench.waiting").await?)
}

/// What asking for the board again and again comes to.
struct Asked {
    first_byte: Spread,
    /// Of the daemon's processor for each, in milliseconds, which a busy machine hardly changes.
    spent: f64,
    /// In KiB, packed.
    page: f64,
    whole: f64,
}

async fn ask(bench: &Bench, daemon: &Daemon) -> Result<Asked> {
    let visitor = Visitor::sign_in(daemon).await?;
    let (mut samples, mut page) = (Vec::new(), Vec::new());
    // The first ones fill what is kept in memory.
    for _ in 0..5 {
        visitor.get("/").await?;
    }
    let before = process::cpu(Some(daemon.pid()))?;
    for _ in 0..bench.amount(ASKED) {
        let answered = visitor.get("/").await?;
        samples.push(millis(answered.first_byte));
        page = answered.body;
    }
    let spent = millis(process::cpu(Some(daemon.pid()))?.since(before).own) / bench.amount(ASKED) as f64;
    let kib = |bytes: usize| bytes as f64 / 1024.0;
    let mut whole = page.len();
    for path in loaded(&visitor).await? {
        whole += visitor.get(&path).await?.body.len();
    }
    Ok(Asked { first_byte: Spread::of(samples), spent, page: kib(page.len()), whole: kib(whole) })
}

/// What every page for somebody who is signed in loads: all that it names below `/ui/`, and what its styles name there.
async fn loaded(visitor: &Visitor) -> Result<BTreeSet<String>> {
    // Slashes are escaped in attributes.
    let text = visitor.text("/").await?.replace("&#x2f;", "/");
    let mut all: BTreeSet<String> = text.split('"').filter(|part| part.starts_with("/ui/")).map(str::to_owned).collect();
    let style = all.iter().find(|path| path.ends_with(".css")).context("the board names no styles")?.clone();
    let (folder, _) = style.rsplit_once('/').unwrap_or_default();
    let text = visitor.text(&style).await?;
    all.extend(text.split("url(\"").skip(1).filter_map(|part| Some(format!("{folder}/{}", part.split_once('"')?.0))));
    Ok(all)
}

/// How soon the board can be used.
async fn look(bench: &Bench, (browser, daemon): (&Chromium, &Daemon), section: &mut Section) -> Result<()> {
    let url = format!("{}/", daemon.address());
    for (empty, cache) in [(true, "an empty cache"), (false, "a filled cache")] {
        let (mut painted, mut loaded) = (Vec::new(), Vec::new());
        for _ in 0..bench.amount(OPENED).max(3) {
            let timing = browser.time(&url, empty).await?;
            painted.push(timing.painted);
            loaded.push(timing.loaded);
        }
        let line = Line::spread(format!("usable in chromium, {cache}"), Spread::of(loaded), "ms");
        section.add(line.target(Target::AtMost(500.0)));
        section.add(Line::spread(format!("first painted, {cache}"), Spread::of(painted), "ms"));
    }
    Ok(())
}
