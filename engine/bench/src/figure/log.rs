//! A stage that writes 5,000 lines a second for twenty seconds, read while it does: by a client of the interface, and as its page's script is
//! sent it, rendered. Both at once. Each line holds the time at which it was written.
//!
//! Units: milliseconds. Target: whoever reads is never more than a second behind, and gets every line. Floor: the same stage with 50 lines a
//! second, where only how often the log is read counts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hookwright_testkit::{Daemon, WorkingCopy};

use super::{Bench, now_millis};
use crate::report::{Line, Section, Target};
use crate::sample::Spread;
use crate::talker::MARK;
use crate::visitor::Visitor;

const RATE: u64 = 5_000;
const QUIET_RATE: u64 = 50;
const SECONDS: u64 = 20;

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let daemon = bench.daemon(&[("HOOKWRIGHT_SANDBOX", "off")]).await;
    let seconds = if bench.quick { 3 } else { SECONDS };
    let floor = both(bench, &daemon, ("quiet-talk", QUIET_RATE, seconds)).await?;
    let own = both(bench, &daemon, ("talk", RATE, seconds)).await?;
    for (reader, own, floor) in [("the interface's stream", own.0, floor.0), ("the page's stream", own.1, floor.1)] {
        let what = format!("{QUIET_RATE} lines a second");
        let most = Line::new(format!("behind at most, {reader}, {RATE} lines/s"), own.most, "ms").against(&what, floor.most);
        section.add(most.target(Target::AtMost(1000.0)));
        section.add(Line::spread(format!("behind, {reader}"), own.spread, "ms").against(&what, floor.spread.median));
        section.add(Line::new(format!("lines that are missing, {reader}"), own.missing as f64, "").target(Target::AtMost(0.0)));
    }
    Ok(())
}

/// How far behind a reader was.
#[derive(Clone, Copy)]
struct Behind {
    most: f64,
    spread: Spread,
    missing: u64,
}

/// Runs a stage that talks, and reads its log in both ways.
async fn both(bench: &Bench, daemon: &Daemon, (name, rate, seconds): (&str, u64, u64)) -> Result<(Behind, Behind)> {
    let spec = format!(
        "version: 1\nname: {name}\nhandler: {{ command: [/app/handler] }}\npipeline:\n  uses: static@1\n  stages:\n    \
         talk: {{ needs: [checkout], run: \"exec '{}' {} {rate} {seconds}\" }}\nenvironments:\n  development: {{ promote: manual }}\n",
        bench.own.display(),
        crate::TALKER
    );
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec).commit("Talk");
    copy.push(daemon, name);
    let runs = format!("/api/v1/runs?webhook={name}&limit=1");
    let run = daemon
        .until("the stage to talk", async |daemon: &Daemon| {
            let id = daemon.get(&runs).await["items"][0]["id"].as_str()?.to_owned();
            let run = daemon.get(&format!("/api/v1/runs/{id}")).await;
            let talks = run["stages"].as_array()?.iter().any(|stage| stage["stage"] == "talk" && stage["started_at"].is_i64());
            talks.then_some(id)
        })
        .await;
    let visitor = Visitor::sign_in(daemon).await?;
    let plain = format!("/api/v1/runs/{run}/stages/talk/logs/stream");
    let page = format!("/runs/{run}/stages/talk/follow?attempt=1");
    let time = Duration::from_secs(seconds * 5 + 60);
    let reading = tokio::time::timeout(time, async { tokio::try_join!(read(&visitor, &plain), read(&visitor, &page)) });
    let (plain, page) = reading.await.context("a log's stream does not end")??;
    let wanted = rate * seconds;
    let behind = |samples: Vec<f64>| {
        let missing = wanted.saturating_sub(samples.len() as u64);
        let most = samples.iter().copied().fold(0.0, f64::max);
        Behind { most, missing, spread: Spread::of(samples) }
    };
    Ok((behind(plain), behind(page)))
}

/// Reads a stream to its end: how old each line was when it came. The first second is left to catching up with what was written before.
async fn read(visitor: &Visitor, path: &str) -> Result<Vec<f64>> {
    let mut stream = visitor.stream(path).await?;
    let (mut text, mut samples) = (String::new(), Vec::new());
    loop {
        let chunk = stream.chunk().await?.context("a log's stream breaks off")?;
        let now = now_millis();
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            if event.contains("event: end") || event.contains("event:end") {
                return Ok(samples);
            }
            samples.extend(times(&event).map(|at| (now - at).max(0.0)));
        }
        ensure!(text.len() < 64 << 20, "an event has no end");
    }
}

/// The times between marks.
fn times(event: &str) -> impl Iterator<Item = f64> + '_ {
    event.split(MARK).skip(1).step_by(2).filter_map(|part| part.parse().ok())
}
