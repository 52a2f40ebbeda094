//! Runs of stages that do nothing, in any shape, and what each cost.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::Value;

use super::{Bench, run_ended, time_of};
use crate::process;
use crate::sample::{Spread, millis};

/// How many executors the figures are measured with.
const EXECUTORS: &str = "2";
/// How often a shape is run; the median counts.
const ROUNDS: usize = 3;

/// What one stage of a run cost, each the median of the rounds.
pub(crate) struct Cost {
    /// From the first stage's start to the last one's end, by the number of stages, in milliseconds.
    pub(crate) wall: Spread,
    /// From the lease of a stage to its end, over all stages of all rounds, in milliseconds.
    pub(crate) stage: Spread,
    /// Processor time of the daemon's process alone, push and intake included, by the number of stages, in milliseconds.
    pub(crate) engine: Spread,
    /// Processor time of everything the daemon started and waited for (supervisors, git), likewise.
    pub(crate) children: Spread,
}

/// Columns of stages: each needs the one above and that one's neighbour. `salt` makes every run another one, so that nothing comes from the cache.
fn spec(webhook: &str, stages: usize, width: usize, salt: usize) -> String {
    let mut text = format!(
        "version: 1\nname: {webhook}\nhandler: {{ command: [\"true\"] }}\npipeline:\n  uses: static@1\n  stages:\n    \
         image: {{ when: \"false\" }}\n    deploy: {{ when: \"false\" }}\n"
    );
    for number in 0..stages {
        let (row, column) = (number / width, number % width);
        let needs = match row.checked_sub(1) {
            None => "checkout".to_owned(),
            Some(above) if width == 1 => format!("s{above}-0"),
            Some(above) => format!("s{above}-{column}, s{above}-{}", (column + 1) % width),
        };
        // Writing into a `String` cannot fail.
        let _ = writeln!(text, "    s{row}-{column}: {{ needs: [{needs}], run: \"true # {number} {salt}\" }}");
    }
    text
}

/// Runs `stages` stages in columns `width` wide, [`ROUNDS`] times after a small one that warms up.
pub(crate) async fn run(bench: &Bench, (stages, width): (usize, usize), sandbox: bool) -> Result<Cost> {
    let sandbox = if sandbox { "required" } else { "off" };
    let daemon = bench.daemon(&[("HOOKWRIGHT_SANDBOX", sandbox), ("HOOKWRIGHT_EXECUTORS", EXECUTORS)]).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec("dag", width, width, 0)).commit("Warm up");
    copy.push(&daemon, "dag");
    run_ended(&daemon, "dag", 1).await?;

    let (mut walls, mut each, mut engine, mut children) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        copy.write("webhook.yaml", &spec("dag", stages, width, round)).commit("Go");
        let before = process::cpu(Some(daemon.pid()))?;
        copy.push(&daemon, "dag");
        let run = run_ended(&daemon, "dag", round + 1).await?;
        let used = settled(&daemon).await?.since(before);
        let durations = durations(&run, stages)?;
        walls.push(durations.wall / stages as f64);
        each.extend(durations.each);
        engine.push(millis(used.own) / stages as f64);
        children.push(millis(used.children) / stages as f64);
    }
    Ok(Cost { wall: Spread::of(walls), stage: Spread::of(each), engine: Spread::of(engine), children: Spread::of(children) })
}

/// The daemon's processor time once the last supervisors are waited for.
async fn settled(daemon: &Daemon) -> Result<process::Cpu> {
    let mut last = process::cpu(Some(daemon.pid()))?;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        let now = process::cpu(Some(daemon.pid()))?;
        if now.total() == last.total() {
            return Ok(now);
        }
        last = now;
    }
}

struct Durations {
    wall: f64,
    each: Vec<f64>,
}

fn durations(run: &Value, expected: usize) -> Result<Durations> {
    let stages = run["stages"].as_array().context("a run without stages")?;
    let ran = |stage: &&Value| stage["stage"].as_str().is_some_and(|name| name.starts_with('s'));
    let (mut first, mut last, mut each) = (f64::INFINITY, 0.0_f64, Vec::new());
    for stage in stages.iter().filter(ran) {
        ensure!(stage["status"] == "succeeded", "a stage was {} and not run", stage["status"]);
        let (started, ended) = (time_of(stage, "started_at")?, time_of(stage, "ended_at")?);
        first = first.min(started);
        last = last.max(ended);
        each.push(ended - started);
    }
    ensure!(each.len() == expected, "{} stages ran instead of {expected}", each.len());
    Ok(Durations { wall: last - first, each })
}
