//! From the moment `git push` is started to the first stage of the run it brings, in a hosted repository that is known already.
//!
//! Unit: milliseconds. Target: p50 at most 150 ms to the first stage's start. Floor: the same `git push` into a bare folder of this
//! machine, without any server. The first stage is the checkout; when the first command of the user runs is said beside it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::Value;

use super::{Bench, now_millis, run_ended, time_of};
use crate::report::{Line, Section, Target};
use crate::sample::{Spread, millis};

/// Prints when it runs, in milliseconds since 1970.
const SPEC: &str = "version: 1
name: pushed
handler: { command: [\"true\"] }
pipeline:
  uses: static@1
  stages:
    image: { when: \"false\" }
    deploy: { when: \"false\" }
    say: { needs: [checkout], run: date +%s%3N }
";

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let pushes = bench.amount(30);
    let daemon = bench.daemon(&[]).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", SPEC).commit("Begin");
    let bare = tempfile::tempdir().context("cannot make a folder")?;
    let bare = bare.path().join("bare.git").display().to_string();
    copy.git(&["init", "--quiet", "--bare", &bare]);
    copy.git(&["push", "--quiet", &bare, "main"]);
    copy.push(&daemon, "pushed");
    run_ended(&daemon, "pushed", 1).await?;

    let (mut first, mut command, mut pushing, mut floor) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for push in 0..pushes {
        copy.write("note.txt", &push.to_string()).commit("Go on");
        let began = Instant::now();
        copy.git(&["push", "--quiet", &bare, "main"]);
        floor.push(millis(began.elapsed()));
        let (began, began_at) = (Instant::now(), now_millis());
        copy.push(&daemon, "pushed");
        pushing.push(millis(began.elapsed()));
        let run = run_ended(&daemon, "pushed", push + 2).await?;
        let stages = run["stages"].as_array().context("a run without stages")?;
        let started = stages.iter().filter_map(|stage| stage["started_at"].as_f64()).fold(f64::INFINITY, f64::min);
        first.push(started - began_at);
        command.push(said(&daemon, &run).await? - began_at);
        // Pushes of people do not follow each other at once.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let floor = Spread::of(floor);
    let line = Line::spread("from the push's start to the first stage's", Spread::of(first), "ms");
    section.add(line.against("`git push` into a folder", floor.median).target(Target::AtMost(150.0)));
    section.add(Line::spread("from the push's start to the user's first command", Spread::of(command), "ms"));
    section.add(Line::spread("`git push` itself", Spread::of(pushing), "ms").against("`git push` into a folder", floor.median));
    section.add(Line::spread("`git push` into a folder", floor, "ms"));
    Ok(())
}

/// The time that the stage `say` printed.
async fn said(daemon: &Daemon, run: &Value) -> Result<f64> {
    let id = run["id"].as_str().context("a run without id")?;
    let log = daemon.get(&format!("/api/v1/runs/{id}/stages/say/logs")).await;
    let text = log["lines"].as_array().into_iter().flatten().find_map(|line| line["text"].as_str()?.parse::<f64>().ok());
    // A machine without GNU date prints no milliseconds; the stage's own start is the next best.
    text.map_or_else(|| time_of(run, "started_at"), Ok)
}
