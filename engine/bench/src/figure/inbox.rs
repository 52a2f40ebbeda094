//! Events of 1 KB, each signed as GitHub signs and each another one, accepted at `/hooks/`: verified and durable before the answer. 64 connections kept
//! open, in a closed loop, generator on this machine, rivals in turn. The trigger asks for another type, so that nothing is delivered meanwhile.
//!
//! Units: events per second, milliseconds, microseconds of processor time an event, and events a core-second of the daemon. Targets: at least 0.5 of what
//! nginx passes on (0.8 is the aim) to a handler that keeps nothing, five times what Debian's `webhook` takes, which verifies, keeps nothing and starts
//! `/bin/true` after it has answered, so that an event counts when that has ended; 99 of 100 answers within 20 ms. Floors: that handler called directly, and `fdatasync` on the disk of the data folder: in a closed loop an
//! event waits for the one that is under way and for its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::debian_webhook::{self, DebianWebhook};
use super::native::{Native, SECRET};
use super::nginx::Nginx;
use crate::load::{self, Answered, Load};
use crate::report::{Line, Section, Target};
use crate::sample::Spread;
use crate::{machine, process};

const CONNECTIONS: usize = 64;
/// How often each is loaded in turn; the medians count.
const ROUNDS: usize = 3;

/// What events are sent to.
struct Way {
    address: SocketAddr,
    path: String,
    rounds: Vec<Answered>,
    /// Processor time of an event in each round, in microseconds, of what can be looked at.
    spent: Vec<f64>,
}

impl Way {
    fn new(address: SocketAddr, path: &str) -> Self {
        Self { address, path: path.to_owned(), rounds: Vec::new(), spent: Vec::new() }
    }

    async fn round(&mut self, time: Duration, cpu: impl Fn() -> Result<Duration>) -> Result<()> {
        let before = cpu()?;
        let load = Load { address: self.address, path: &self.path, secret: Some(SECRET), connections: CONNECTIONS, time };
        let answered = load::run(load).await?;
        self.spent.push(cpu()?.saturating_sub(before).as_secs_f64() * 1e6 / answered.all as f64);
        self.rounds.push(answered);
        Ok(())
    }

    fn per_second(&self) -> f64 {
        self.median(|answered| answered.per_second)
    }

    fn median(&self, of: impl Fn(&Answered) -> f64) -> f64 {
        Spread::of(self.rounds.iter().map(of).collect()).median
    }
}

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let triggers = "triggers:\n  kept: { source: github, secret: SIGNING, events: [push], deliver: { path: /kept } }\n  \
        sent: { source: github, secret: SIGNING, deliver: { path: /sent, concurrency: 32 } }\n";
    let native = Native::deploy(bench, triggers, "").await?;
    let daemon = native.daemon.pid();
    let own_cpu = || Ok(process::cpu(Some(daemon))?.own);
    let nginx = machine::program("nginx").map(|program| Nginx::start(&program, native.handler)).transpose()?;
    let webhook = machine::program("webhook").map(|program| DebianWebhook::start(&program)).transpose()?;
    let mut own = Way::new(native.gateway, &native.trigger("kept").await);
    let mut floor = Way::new(native.handler, "/");
    let mut passed = nginx.as_ref().map(|nginx| (Way::new(nginx.address(), "/"), nginx));
    let mut started = webhook.as_ref().map(|webhook| (Way::new(webhook.address(), debian_webhook::PATH), webhook, Vec::new()));
    if passed.is_none() {
        section.skip("nginx: it is not installed; `apt-get install nginx-light`");
    }
    if started.is_none() {
        section.skip("Debian's webhook: it is not installed; `apt-get install webhook`");
    }
    let time = bench.time(Duration::from_secs(4));
    let mut synced = Vec::new();
    for _ in 0..ROUNDS {
        floor.round(time / 2, || Ok(Duration::ZERO)).await?;
        own.round(time, own_cpu).await?;
        synced.push(machine::sync(&native.daemon.data())?.median);
        if let Some((way, nginx)) = &mut passed {
            way.round(time, || nginx.cpu()).await?;
        }
        if let Some((way, webhook, done)) = &mut started {
            let began = Instant::now();
            way.round(time / 2, || Ok(Duration::ZERO)).await?;
            webhook.rest().await?;
            done.push(way.rounds.last().map_or(0.0, |answered| answered.all as f64) / began.elapsed().as_secs_f64());
        }
    }

    if let Some((nginx, _)) = &passed {
        let line = Line::new("events accepted a second, durable", own.per_second(), "/s");
        section.add(line.against("nginx, nothing kept", nginx.per_second()).target(Target::RatioAtLeast(0.5)));
    }
    if let Some((way, _, done)) = started {
        let line = Line::new("events accepted a second, durable", own.per_second(), "/s");
        section.add(line.against("Debian's webhook, done", Spread::of(done).median).target(Target::RatioAtLeast(5.0)));
        section.add(Line::new("events a second that Debian's webhook answers before it starts anything", way.per_second(), "/s"));
    }
    let line = Line::new("events accepted a second, durable", own.per_second(), "/s");
    section.add(line.against("the handler alone", floor.per_second()));
    let synced = Spread::of(synced);
    let line = Line::new("events accepted a second, durable", own.per_second(), "/s");
    let limit = CONNECTIONS as f64 / (2.0 * synced.median / 1000.0);
    section.add(line.against("64 connections over two fdatasyncs", limit));
    section.add(Line::spread("fdatasync of 4 KiB in the data folder, between the rounds", synced, "ms"));
    section.add(Line::new("accepting p50, 64 connections", own.median(|answered| answered.latency.median), "ms"));
    let line = Line::new("accepting p99, 64 connections", own.median(|answered| answered.latency.p99), "ms");
    section.add(line.target(Target::AtMost(20.0)));
    let spent = Spread::of(own.spent.clone());
    section.add(Line::new("events a core-second of the daemon", 1e6 / spent.median, ""));
    let line = Line::spread("processor time an event", spent, "µs");
    section.add(match &passed {
        Some((nginx, _)) => line.against("nginx", Spread::of(nginx.spent.clone()).median),
        None => line,
    });

    let sent = native.trigger("sent").await;
    let load = Load { address: native.gateway, path: &sent, secret: Some(SECRET), connections: 4, time };
    let before = own_cpu()?;
    let delivered = load::run(load).await?;
    section.add(Line::new("events a second accepted while as many are delivered, 4 connections", delivered.per_second, "/s"));
    section.add(Line::new("deliveries that wait at its end", native.waiting().await, ""));
    let spent = own_cpu()?.saturating_sub(before).as_secs_f64() * 1e6;
    section.add(Line::new("processor time an event, accepted and delivered", spent / delivered.all as f64, "µs"));
    Ok(())
}
