//! What 200 open pages cost while nothing happens: each in a browser of its own, with a session of its own and the one stream that a browser
//! holds for all its tabs. Then one thing happens, and every page is to hear of it.
//!
//! Units: percent of one core, and milliseconds. Target: at most 5 % of a core at rest, all of the daemon. Floor: the same daemon without pages.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hookwright_testkit::Daemon;
use serde_json::json;
use tokio::task::JoinSet;

use super::Bench;
use crate::process;
use crate::report::{Line, Section, Target};
use crate::sample::{Spread, millis};
use crate::visitor::Visitor;

const PAGES: usize = 200;
/// How long a change may take to reach the last page before that is given up.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let pages = bench.amount(PAGES);
    let daemon = bench.daemon(&[("HOOKWRIGHT_SANDBOX", "off")]).await;
    let floor = watch(bench, &daemon).await?;
    let mut streams = Vec::new();
    for _ in 0..pages {
        streams.push(Visitor::sign_in(&daemon).await?.stream("/live").await?);
    }
    let own = watch(bench, &daemon).await?;
    section.add(
        Line::new(format!("of a core, {pages} open pages at rest"), own, "%")
            .against("the same daemon without pages", floor)
            .target(Target::AtMost(5.0)),
    );

    let mut heard = JoinSet::new();
    let began = Instant::now();
    for mut stream in streams {
        heard.spawn(async move {
            loop {
                let chunk = stream.chunk().await?.context("a page's stream ended")?;
                if String::from_utf8_lossy(&chunk).contains("changed") {
                    return Ok::<_, anyhow::Error>(began.elapsed());
                }
            }
        });
    }
    daemon.post("/api/v1/repositories", json!({ "name": "something-new" })).await;
    let samples = tokio::time::timeout(PATIENCE, async {
        let mut samples = Vec::new();
        while let Some(page) = heard.join_next().await {
            samples.push(millis(page.context("a page panicked")??));
        }
        Ok::<_, anyhow::Error>(samples)
    });
    let samples = samples.await.context("not every page heard of what happened")??;
    section.add(Line::spread("from what happens until a page hears of it", Spread::of(samples), "ms"));
    Ok(())
}

/// How much of a core the daemon uses, its children included.
async fn watch(bench: &Bench, daemon: &Daemon) -> Result<f64> {
    // What beginning brings is over by then.
    tokio::time::sleep(bench.time(Duration::from_secs(5))).await;
    let (before, began) = (process::cpu(Some(daemon.pid()))?, Instant::now());
    tokio::time::sleep(bench.time(Duration::from_secs(30))).await;
    Ok(process::cpu(Some(daemon.pid()))?.since(before).total().as_secs_f64() / began.elapsed().as_secs_f64() * 100.0)
}
