//! The daemon's memory while a handler is down and events go on coming: what waits belongs into the store. Then the handler comes back and everything
//! that waits is delivered.
//!
//! Unit: MiB. Target: with 200,000 events waiting at most a quarter more is resident than with 20,000. Floor: those 20,000.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Bench;
use super::native::{Native, SECRET};
use crate::handler::END;
use crate::load::{self, Load};
use crate::process;
use crate::report::{Line, Section, Target};

const FEW: usize = 20_000;
const MANY: usize = 200_000;
const CONNECTIONS: usize = 64;
/// How long the handler may take to be back, and events to drain.
const PATIENCE: Duration = Duration::from_secs(900);

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let down = folder.path().join("down");
    let triggers = "triggers:\n  sent: { source: github, secret: SIGNING, deliver: { path: /sent, concurrency: 32 } }\n";
    let native = Native::deploy(bench, triggers, &format!(", {}", down.display())).await?;
    let pid = native.daemon.pid();
    let path = native.trigger("sent").await;
    std::fs::write(&down, "").context("cannot say that the handler is down")?;
    // It ends over the answer.
    let _ = reqwest::get(format!("http://{}{END}", native.handler)).await;

    let few = fill(&native, &path, bench.amount(FEW)).await?;
    let resident_few = process::resident(pid)?;
    let many = fill(&native, &path, bench.amount(MANY)).await?;
    let resident_many = process::resident(pid)?;
    let line = Line::new(format!("resident memory, {many:.0} events waiting"), resident_many, "MiB");
    section.add(line.against(format!("{few:.0} waiting"), resident_few).target(Target::RatioAtMost(1.25)));

    std::fs::remove_file(&down).context("cannot say that the handler is back")?;
    let began = Instant::now();
    let back = loop {
        ensure!(began.elapsed() < PATIENCE, "the handler does not come back:\n{}", native.daemon.log());
        if native.waiting().await < many {
            break Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let mut most = resident_many;
    let before = process::cpu(Some(pid))?;
    while native.waiting().await > 0.0 {
        ensure!(began.elapsed() < PATIENCE, "{} events still wait:\n{}", native.waiting().await, native.daemon.log());
        most = most.max(process::resident(pid)?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (took, spent) = (back.elapsed(), process::cpu(Some(pid))?.since(before).own);
    section.add(Line::new("resident memory at most while they drain", most, "MiB").against("before", resident_many));
    section.add(Line::new("events delivered a second while they drain", many / took.as_secs_f64(), "/s"));
    section.add(Line::new("processor time an event delivered", spent.as_secs_f64() * 1e6 / many, "µs"));
    Ok(())
}

/// Sends until so many wait; returns how many do.
async fn fill(native: &Native, path: &str, count: usize) -> Result<f64> {
    let began = Instant::now();
    loop {
        let waiting = native.waiting().await;
        if waiting >= count as f64 {
            return Ok(waiting);
        }
        ensure!(began.elapsed() < PATIENCE, "only {waiting} events wait");
        let time = Duration::from_millis(if count as f64 - waiting > 20_000.0 { 2000 } else { 250 });
        load::run(Load { address: native.gateway, path, secret: Some(SECRET), connections: CONNECTIONS, time }).await?;
    }
}
