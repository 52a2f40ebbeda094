//! Requests through the gateway to a small native handler that serves as a webhook: 64 connections kept open, in a closed loop, all on
//! this machine, rivals in turn.
//!
//! Units: requests per second, milliseconds, and microseconds of processor time a request. Target: at least 0.8 of the requests per second of nginx in
//! front of the same handler. Floor: the handler called directly. Latency under load is that of a full machine; what the way through adds to one request
//! is measured with a single connection.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::native::{NAME, Native};
use super::nginx::Nginx;
use crate::load::{self, Answered, Load};
use crate::report::{Line, Section, Target};
use crate::sample::Spread;
use crate::{machine, process};

const CONNECTIONS: usize = 64;
/// How often each is loaded in turn; the medians count.
const ROUNDS: usize = 3;

/// A way to the handler.
struct Way {
    name: &'static str,
    address: SocketAddr,
    path: String,
    rounds: Vec<Answered>,
    /// Processor time of a request in each round, in microseconds, of what stands before the handler.
    spent: Vec<f64>,
    alone: Option<Answered>,
}

impl Way {
    fn new(name: &'static str, address: SocketAddr, path: &str) -> Self {
        Self { name, address, path: path.to_owned(), rounds: Vec::new(), spent: Vec::new(), alone: None }
    }

    fn median(&self, of: impl Fn(&Answered) -> f64) -> f64 {
        Spread::of(self.rounds.iter().map(of).collect()).median
    }
}

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let native = Native::deploy(bench, "", "").await?;
    let nginx = machine::program("nginx").map(|program| Nginx::start(&program, native.handler)).transpose()?;
    let mut ways =
        vec![Way::new("directly", native.handler, "/"), Way::new("hookwright", native.gateway, &format!("/w/{NAME}/development/"))];
    match &nginx {
        Some(nginx) => ways.push(Way::new("nginx", nginx.address(), "/")),
        None => section.skip("nginx: it is not installed; `apt-get install nginx-light`"),
    }
    let cpu = |way: &Way| match (way.name, &nginx) {
        ("hookwright", _) => Ok(process::cpu(Some(native.daemon.pid()))?.own),
        ("nginx", Some(nginx)) => nginx.cpu(),
        _ => Ok(Duration::ZERO),
    };
    let time = bench.time(Duration::from_secs(5));
    for _ in 0..ROUNDS {
        for way in &mut ways {
            let before = cpu(way)?;
            let answered = load::run(Load { address: way.address, path: &way.path, secret: None, connections: CONNECTIONS, time }).await?;
            way.spent.push(cpu(way)?.saturating_sub(before).as_secs_f64() * 1e6 / answered.all as f64);
            way.rounds.push(answered);
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
    let spent = Line::spread("processor time a request", Spread::of(own.spent.clone()), "µs");
    section.add(match rival {
        Some(rival) => spent.against("nginx", Spread::of(rival.spent.clone()).median),
        None => spent,
    });
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
