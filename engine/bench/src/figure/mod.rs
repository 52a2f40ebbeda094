//! The figures, one file each, and what they share.

mod board;
mod chain;
mod dag;
mod debian_webhook;
mod delivery;
mod deploy;
mod docker;
mod history;
mod idle;
mod inbox;
mod live;
mod log;
mod native;
mod nginx;
mod outage;
mod proxy;
mod push;
mod sandbox;
mod size;
mod stages;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use hookwright_testkit::{Daemon, DaemonOptions};
use serde_json::Value;

use crate::report::Section;

/// Every figure: its name, and what it measures.
pub(crate) const FIGURES: &[(&str, &str)] = &[
    ("stages", "no-op stages without sandbox, each durable, in one DAG of width 20 on 2 executors"),
    ("chain", "no-op stages without sandbox, one after the other"),
    ("sandbox", "no-op stages in the sandbox, in one DAG of width 20 on 2 executors"),
    ("push", "from `git push` to the first stage of a hosted repository"),
    ("deploy", "from `git push` to the Python example answering in development"),
    ("proxy", "requests through the gateway, against the handler called directly and against nginx"),
    ("inbox", "signed events of 1 KB, durably accepted, against nginx in front of a handler that keeps nothing"),
    ("delivery", "from an event's due time to its handler, at 2,000 events a second"),
    ("history", "1,000,000 stored events: accepting and listing, against an empty store"),
    ("outage", "memory while a handler is down for 200,000 events, and how they drain"),
    ("idle", "a daemon that has nothing to do: 100 webhooks that serve, 10,000 stored runs"),
    ("board", "the board with 500 webhooks in 4 environments and 100,000 stored runs: first byte, size, and in chromium"),
    ("live", "200 open pages with live updates, at rest"),
    ("log", "a log of 5,000 lines a second, read while it is written"),
    ("watch", "1,000 watched remotes on this machine's disk, polled every 30 s"),
    ("size", "the binary"),
];

/// How long anything may take before a figure is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// What every figure is given.
#[derive(Clone)]
pub(crate) struct Bench {
    /// The `hookwright` binary.
    pub(crate) binary: PathBuf,
    /// This program.
    pub(crate) own: PathBuf,
    /// A tenth of everything.
    pub(crate) quick: bool,
}

impl Bench {
    /// How many of something: so many, or a tenth and at least two when it is only tried.
    fn amount(&self, full: usize) -> usize {
        if self.quick { (full / 10).max(2) } else { full }
    }

    /// How long something is watched.
    fn time(&self, full: Duration) -> Duration {
        if self.quick { full / 10 } else { full }
    }

    /// A daemon on an empty data folder, with settings as variables (`HOOKWRIGHT_SANDBOX`).
    async fn daemon(&self, settings: &[(&str, &str)]) -> Daemon {
        let variables = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Daemon::start_with(DaemonOptions { variables, ..DaemonOptions::new(&self.binary) }).await
    }
}

/// Measures one figure.
pub(crate) async fn measure(name: &str, bench: &Bench, section: &mut Section) -> Result<()> {
    match name {
        "stages" => stages::measure(bench, section).await,
        "chain" => chain::measure(bench, section).await,
        "sandbox" => sandbox::measure(bench, section).await,
        "push" => push::measure(bench, section).await,
        "deploy" => deploy::measure(bench, section).await,
        "proxy" => proxy::measure(bench, section).await,
        "inbox" => inbox::measure(bench, section).await,
        "delivery" => delivery::measure(bench, section).await,
        "history" => history::measure(bench, section).await,
        "outage" => outage::measure(bench, section).await,
        "idle" => idle::measure(bench, section).await,
        "board" => board::measure(bench, section).await,
        "live" => live::measure(bench, section).await,
        "log" => log::measure(bench, section).await,
        "watch" => watch::measure(bench, section).await,
        "size" => size::measure(bench, section),
        other => bail!("the figure `{other}` is listed and not written"),
    }
}

/// The wall clock in milliseconds, as the API tells times.
pub(crate) fn now_millis() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

/// A field of an answer that is a time in milliseconds.
fn time_of(value: &Value, field: &str) -> Result<f64> {
    value[field].as_f64().with_context(|| format!("`{field}` is no time in {value}"))
}

/// The workspace this program was built from, for the examples.
fn workspace() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest)
}

/// The end of a webhook's run with this number, looked for seldom, so that looking is not measured.
async fn run_ended(daemon: &Daemon, webhook: &str, number: usize) -> Result<Value> {
    let begun = std::time::Instant::now();
    loop {
        let list = daemon.get(&format!("/api/v1/runs?webhook={webhook}&limit=1")).await;
        let run = &list["items"][0];
        if run["number"] == number && run["ended_at"].is_i64() {
            let id = run["id"].as_str().context("a run without id")?;
            let run = daemon.get(&format!("/api/v1/runs/{id}")).await;
            if run["status"] != "succeeded" {
                bail!("run {number} of `{webhook}` {}: {}\n{}", run["status"], run["status_reason"], daemon.log());
            }
            return Ok(run);
        }
        if begun.elapsed() > PATIENCE {
            bail!("run {number} of `{webhook}` does not end:\n{}", daemon.log());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
