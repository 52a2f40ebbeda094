//! Requests through the gateway to a small native handler that serves as a webhook: 64 connections kept open, in a closed loop, all on
//! this machine, rivals in turn.
//!
//! Units: requests per second, and milliseconds. Target: at least 0.8 of the requests per second of nginx in front of the same handler.
//! Floor: the handler called directly. Latency under load is that of a full machine; what the way through adds to one request is measured
//! with a single connection.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use hookwright_testkit::{Daemon, WorkingCopy};

use super::nginx::Nginx;
use super::{Bench, run_ended};
use crate::load::{self, Answered, Load};
use crate::machine;
use crate::report::{Line, Section, Target};
use crate::sample::Spread;

pub(super) const NAME: &str = "native";
const CONNECTIONS: usize = 64;
/// How often each is loaded in turn; the medians count.
const ROUNDS: usize = 3;

/// A webhook whose handler is this very program.
pub(super) fn spec(own: &str) -> String {
    format!(
        "version: 1\nname: {NAME}\nhandler: {{ command: [/app/handler, {}] }}\npipeline:\n  uses: static@1\n  stages:\n    compile:\n      \
         needs: [checkout]\n      run: cp '{own}' handler\n      outputs: [handler]\n    image:\n      needs: [compile]\n      image: {{ copy: {{ handler: /app/handler }} }}\n\
         environments:\n  development: {{ promote: automatic }}\n",
        crate::HANDLER
    )
}

/// A way to the handler.
struct Way {
    name: &'static str,
    address: SocketAddr,
    path: String,
    rounds: Vec<Answered>,
    alone: Option<Answered>,
}

impl Way {
    fn new(name: &'static str, address: SocketAddr, path: &str) -> Self {
        Self { name, address, path: path.to_owned(), rounds: Vec::new(), alone: None }
    }

    fn median(&self, of: impl Fn(&Answered) -> f64) -> f64 {
        Spread::of(self.rounds.iter().map(of).collect()).median
    }
}

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let daemon = bench.daemon(&[("HOOKWRIGHT_SANDBOX", "off")]).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(&bench.own.display().to_string())).commit("Begin");
    copy.push(&daemon, NAME);
    run_ended(&daemon, NAME, 1).await?;
    let handler = instance(&daemon).await?;
    let gateway: SocketAddr = daemon.address().trim_start_matches("http://").parse().context("the daemon's address")?;
    let nginx = machine::program("nginx").map(|program| Nginx::start(&program, handler)).transpose()?;

    let mut ways = vec![Way::new("directly", handler, "/"), Way::new("hookwright", gateway, &format!("/w/{NAME}/development/"))];
    match &nginx {
        Some(nginx) => ways.push(Way::new("nginx", nginx.address(), "/")),
        None => section.skip("nginx: it is not installed; `apt-get install nginx-light`"),
    }
    let time = bench.time(Duration::from_secs(5));
    for _ in 0..ROUNDS {
        for way in &mut ways {
            way.rounds.push(load::run(Load { address: way.address, path: &way.path, secret: None, connections: CONNECTIONS, time }).await?);
        }
    }
    for way in &mut ways {
        way.alone = Some(load::run(Load { address: way.address, path: &way.path, secret: None, connections: 1, time }).await?);
    }
    drop(nginx);
    describe(&ways, section);
    Ok(())
}

fn describe(ways: &[Way], section: &mut Section) {
    let Some((floor, proxies)) = ways.split_first() else { return };
    let (Some(own), rival) = (proxies.first(), proxies.get(1)) else { return };
    let per_second = |way: &Way| way.median(|answered| answered.per_second);
    if let Some(rival) = rival {
        let line = Line::new("requests a second through the gateway", per_second(own), "/s");
        section.add(line.against("nginx", per_second(rival)).target(Target::RatioAtLeast(0.8)));
    }
    for way in ways {
        let rounds = Spread::of(way.rounds.iter().map(|answered| answered.per_second).collect());
        let line = Line::spread(format!("requests a second, {}", way.name), rounds, "/s");
        section.add(line.against("the handler alone", per_second(floor)));
    }
    for way in proxies {
        for (name, of) in [("p50", half as fn(&Answered) -> f64), ("p99", most)] {
            let under_load = way.median(of) - floor.median(of);
            section.add(Line::new(format!("added latency {name}, {CONNECTIONS} connections, {}", way.name), under_load, "ms"));
            if let (Some(way_alone), Some(floor_alone)) = (&way.alone, &floor.alone) {
                let added = of(way_alone) - of(floor_alone);
                section.add(Line::new(format!("added latency {name}, 1 connection, {}", way.name), added, "ms"));
            }
        }
    }
}

fn half(answered: &Answered) -> f64 {
    answered.latency.median
}

fn most(answered: &Answered) -> f64 {
    answered.latency.p99
}

/// Where the handler itself listens.
pub(super) async fn instance(daemon: &Daemon) -> Result<SocketAddr> {
    let path = format!("/api/v1/webhooks/{NAME}");
    let address = daemon
        .until("the handler's address", async |daemon: &Daemon| {
            let webhook = daemon.get(&path).await;
            webhook["environments"][0]["instances"][0]["address"].as_str().map(str::to_owned)
        })
        .await;
    address.parse().context("the handler's address")
}
