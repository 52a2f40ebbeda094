//! From the moment an event is due to be sent until its handler is called: 2,000 events of 1 KB a second, signed as GitHub signs, each accepted, stored and
//! delivered. The rate does not wait for answers: what a slow one holds up is late, and counted from when it was due.
//!
//! Unit: milliseconds. Targets: half within 5 ms, 99 of 100 within 50 ms. Floors: the same rate sent to the handler itself, and `fdatasync` on the disk
//! of the data folder.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::native::{Native, SECRET};
use crate::handler::DELAYS;
use crate::load::{self, Steady};
use crate::report::{Line, Section, Target};
use crate::sample::Spread;
use crate::{machine, process};

const PER_SECOND: u32 = 2000;
const CONNECTIONS: usize = 64;
/// How long the last events may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let triggers = "triggers:\n  sent: { source: github, secret: SIGNING, deliver: { path: /sent, concurrency: 32 } }\n";
    let native = Native::deploy(bench, triggers, "").await?;
    let time = bench.time(Duration::from_secs(20));
    let path = native.trigger("sent").await;
    let load = |address, path, time| Steady { address, path, secret: SECRET, per_second: PER_SECOND, connections: CONNECTIONS, time };
    // What is new to the daemon is so once.
    load::steady(load(native.gateway, &path, time / 10)).await?;
    arrived(&native, PER_SECOND as usize / 10 * time.as_secs() as usize).await?;

    load::steady(load(native.handler, "/", time)).await?;
    let floor = Spread::of(delays(native.handler).await?);
    let synced = machine::sync(&native.daemon.data())?;
    let before = process::cpu(Some(native.daemon.pid()))?;
    let answered = load::steady(load(native.gateway, &path, time)).await?;
    let late = Spread::of(arrived(&native, PER_SECOND as usize * time.as_secs() as usize).await?);
    let spent = process::cpu(Some(native.daemon.pid()))?.since(before).own;

    let direct = "sent to the handler itself";
    let half = Line::new("from due to its handler p50, at 2,000 a second", late.median, "ms");
    section.add(half.against(direct, floor.median).target(Target::AtMost(5.0)));
    let most = Line::new("from due to its handler p99, at 2,000 a second", late.p99, "ms");
    section.add(most.against(direct, floor.p99).target(Target::AtMost(50.0)));
    section.add(Line::new("from due to acknowledged p50", answered.median, "ms"));
    section.add(Line::new("from due to acknowledged p99", answered.p99, "ms"));
    section.add(Line::spread("fdatasync of 4 KiB in the data folder", synced, "ms"));
    section.add(Line::new("processor time an event, accepted and delivered", spent.as_secs_f64() * 1e6 / late.samples as f64, "µs"));
    Ok(())
}

/// How late each of `count` events came, once all have come.
async fn arrived(native: &Native, count: usize) -> Result<Vec<f64>> {
    let began = std::time::Instant::now();
    let mut late = Vec::new();
    while late.len() < count {
        ensure!(began.elapsed() < PATIENCE, "{} of {count} events came\n{}", late.len(), native.daemon.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
        late.extend(delays(native.handler).await?);
    }
    ensure!(late.len() == count, "{} events came, and {count} were sent", late.len());
    Ok(late)
}

async fn delays(handler: SocketAddr) -> Result<Vec<f64>> {
    let answer = reqwest::get(format!("http://{handler}{DELAYS}")).await.context("the handler does not answer")?;
    answer.json().await.context("the handler tells no delays")
}
