//! A run in the terminal: its stages as a tree with state, time and the last log line; plain lines when it is no terminal.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::OwoColorize;
use serde_json::Value;

use crate::output::mention;

/// Longest part of a log line that is shown beside a stage, in characters.
const LINE: usize = 80;

/// What is shown of a run.
pub(super) struct RunTree {
    bars: Option<MultiProgress>,
    stages: HashMap<String, Shown>,
}

struct Shown {
    bar: Option<ProgressBar>,
    status: String,
}

impl RunTree {
    /// Nothing is shown yet. With `live`, lines are rewritten in place.
    pub(super) fn new(live: bool) -> Self {
        Self { bars: live.then(MultiProgress::new), stages: HashMap::new() }
    }

    /// The stages whose log is worth reading now.
    pub(super) fn running(&self, run: &Value) -> Vec<String> {
        if self.bars.is_none() {
            return Vec::new();
        }
        stages(run).filter(|(_, stage)| stage["status"] == "running").map(|(name, _)| name.to_owned()).collect()
    }

    /// Brings the display up to date.
    pub(super) fn show(&mut self, run: &Value, last_lines: &[(String, String)]) {
        for (name, stage) in stages(run) {
            let status = stage["status"].as_str().unwrap_or_default();
            let line = last_lines.iter().find(|(of, _)| of == name).map(|(_, line)| line.as_str()).unwrap_or_default();
            let text = describe((name, stage), status, line, self.bars.is_some());
            let shown = self.stages.entry(name.to_owned()).or_insert_with(|| Shown {
                bar: self.bars.as_ref().map(|bars| {
                    let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
                    bars.add(ProgressBar::new_spinner().with_style(style))
                }),
                status: String::new(),
            });
            if let Some(bar) = &shown.bar {
                bar.set_message(text);
                if ended(status) && shown.status != status {
                    bar.abandon();
                }
            } else if shown.status != status && !matches!(status, "waiting" | "queued" | "leased") {
                mention!("{text}");
            }
            status.clone_into(&mut shown.status);
        }
    }
}

fn stages(run: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let list = run["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|stage| stage["stage"].as_str().map(|name| (name, stage)))
}

fn ended(status: &str) -> bool {
    !matches!(status, "waiting" | "queued" | "leased" | "running" | "held" | "unknown")
}

fn describe((name, stage): (&str, &Value), status: &str, line: &str, colours: bool) -> String {
    let took = match (stage["started_at"].as_i64(), stage["ended_at"].as_i64()) {
        (Some(start), Some(end)) => format!("{:>6.2} s", (end - start) as f64 / 1000.0),
        _ => "        ".to_owned(),
    };
    let mark = match status {
        "succeeded" => '✓',
        "cached" => '⇢',
        "failed" | "errored" => '✗',
        "running" => '●',
        _ => '·',
    };
    let mark = match status {
        _ if !colours => mark.to_string(),
        "succeeded" => mark.green().to_string(),
        "cached" => mark.cyan().to_string(),
        "failed" | "errored" => mark.red().to_string(),
        "running" => mark.yellow().to_string(),
        _ => mark.dimmed().to_string(),
    };
    let note = if line.is_empty() { stage["status_reason"].as_str().unwrap_or_default() } else { line };
    let note: String = note.chars().filter(|c| !c.is_control()).take(LINE).collect();
    format!("  {mark} {name:<14} {status:<10} {took}  {note}")
}
