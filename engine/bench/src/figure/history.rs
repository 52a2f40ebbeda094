//! Events are accepted and listed with 1,000,000 of them in the store as on an empty one. They are stored and delivered by the store's own writer while no
//! daemon runs: bodies of 1 KB, one attempt each, spread over the hours before. Two daemons, one beside the other, are asked in turn.
//!
//! Units: events per second, milliseconds. Targets: accepting and listing within 0.8 of the empty store, a page of the list within 20 ms, whatever it is
//! filtered by. Floor: the empty store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use hookwright_core::status::DeliveryStatus;
use hookwright_core::{Attempt, AttemptAnswer, Delivery, Subscription, Timestamp};
use hookwright_store::{Accepted, AttemptEnd, Inbox, NewEvent};
use hookwright_testkit::Daemon;
use tokio::task::JoinSet;

use super::Bench;
use super::native::{Native, SECRET};
use crate::load::{self, Load};
use crate::report::{Line, Section, Target};
use crate::sample::{Spread, millis};
use crate::stock::Stock;

const EVENTS: usize = 1_000_000;
/// Events that are on their way to the writer at a time: as many as it takes into one transaction.
const AT_ONCE: usize = 512;
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 3;
/// How often each page is asked for in a round.
const PAGES: usize = 40;

/// The pages, by what they are filtered by.
const LISTS: &[(&str, &str)] = &[
    ("a page", ""),
    ("a page of a webhook", "&webhook=native"),
    ("a page in the middle", "&webhook=native&cursor=500000"),
    ("a page of a type that one in 100,000 has", "&webhook=native&type=issues.transferred"),
    ("a page of what waits", "&webhook=native&status=waiting"),
    ("a page of another trigger", "&webhook=native&trigger=kept"),
    ("a page of a day without events", "&webhook=native&until=1000"),
];

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let triggers = "triggers:\n  kept: { source: github, secret: SIGNING, events: [push], deliver: { path: /kept } }\n  \
        sent: { source: github, secret: SIGNING, deliver: { path: /sent } }\n";
    let (empty, mut full) = (Native::deploy(bench, triggers, "").await?, Native::deploy(bench, triggers, "").await?);
    let count = bench.amount(EVENTS);
    full.daemon.terminate().await;
    let began = Instant::now();
    fill(&full.daemon, count).await.context("the store cannot be filled")?;
    eprintln!("  stored and delivered {count} events in {:.1} s", began.elapsed().as_secs_f64());
    full.restart().await?;

    let time = bench.time(Duration::from_secs(5));
    let (mut rates, mut pages) = ([Vec::new(), Vec::new()], BTreeMap::<_, [Vec<f64>; 2]>::new());
    for _ in 0..ROUNDS {
        for (side, native) in [&empty, &full].into_iter().enumerate() {
            let path = native.trigger("kept").await;
            let load = Load { address: native.gateway, path: &path, secret: Some(SECRET), connections: CONNECTIONS, time };
            rates[side].push(load::run(load).await?.per_second);
            for (what, filter) in LISTS {
                let samples = &mut pages.entry(*what).or_default()[side];
                for _ in 0..bench.amount(PAGES) {
                    let began = Instant::now();
                    native.daemon.get(&format!("/api/v1/events?limit=50{filter}")).await;
                    samples.push(millis(began.elapsed()));
                }
            }
        }
    }
    let [few, many] = rates.map(|rates| Spread::of(rates).median);
    let line = Line::new("events accepted a second, 1,000,000 stored", many, "/s");
    section.add(line.against("the empty store", few).target(Target::RatioAtLeast(0.8)));
    for (what, _) in LISTS {
        let [few, many] = pages.remove(what).unwrap_or_default().map(Spread::of);
        if *what == "a page" {
            let line = Line::new("pages a second, one after the other", 1000.0 / many.median, "/s");
            section.add(line.against("the empty store", 1000.0 / few.median).target(Target::RatioAtLeast(0.8)));
        }
        section.add(Line::new(format!("{what} p99"), many.p99, "ms").against("the empty store", few.p99).target(Target::AtMost(20.0)));
    }
    Ok(())
}

/// Stores so many events of the trigger `sent`, each delivered.
async fn fill(daemon: &Daemon, count: usize) -> Result<()> {
    let store = Stock::open(&daemon.data(), daemon.database()).await?.store;
    let subscriptions = store.subscription_list_all().await?;
    let sent = subscriptions.into_iter().find(|known| known.place.trigger.as_str() == "sent").context("no trigger `sent`")?;
    let (inbox, writer) = store.inbox().await?;
    let writer = tokio::spawn(writer);
    let sent = Arc::new(sent);
    let mut under_way = JoinSet::new();
    for number in 0..count {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await.context("nothing is under way")???;
        }
        under_way.spawn(store_one(inbox.clone(), sent.clone(), number));
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    drop(inbox);
    writer.await?;
    store.close().await;
    Ok(())
}

async fn store_one(inbox: Inbox, sent: Arc<Subscription>, number: usize) -> Result<()> {
    let body = format!(r#"{{"action":"opened","issue":{{"number":{number},"body":"{}"}},"repository":{{}}}}"#, "x".repeat(900));
    let headers = ["accept", "content-type", "host", "user-agent", "x-github-delivery", "x-github-event", "x-hub-signature-256"];
    let event = NewEvent {
        subscription: sent.id,
        place: sent.place.clone(),
        source: "github".to_owned(),
        kind: if number % 100_000 == 7 { "issues.transferred" } else { "issues.opened" }.to_owned(),
        source_id: Some(format!("{number:032x}")),
        verified: true,
        received_at: Timestamp::from_millis(i64::try_from(load::since_epoch().as_millis())?),
        headers: headers.map(|name| (name.to_owned(), format!("{number:040x}"))).to_vec(),
        body: Bytes::from(body),
        replay_keys: [Some(format!("id-{number}")), Some(format!("signature-{number}"))],
        skipped: None,
        order_key: None,
        not_before: None,
        redact: Vec::new(),
        redacted: false,
    };
    let Accepted::New(delivery) = inbox.accept(event).await? else { anyhow::bail!("event {number} was there before") };
    let now = delivery.created_at;
    let answer = AttemptAnswer { status: 200, headers: vec![("content-length".to_owned(), "2".to_owned())], body: "ok".to_owned() };
    let attempt = Attempt { delivery: delivery.id, number: 1, started_at: now, duration_ms: 3, answer: Some(answer), error: None };
    let from = delivery.status;
    let delivery = Delivery { status: DeliveryStatus::Delivered, attempts: 1, ended_at: Some(now), ..*delivery };
    inbox.attempt_ended(AttemptEnd { attempt: Some(attempt), delivery, from }).await?;
    Ok(())
}
