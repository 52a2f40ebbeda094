//! `logs`: what the stages of a run wrote, or what is deployed; of a run that failed also why.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::Value;

use super::find::{self, RunName};
use crate::client::Client;
use crate::events::Events;
use crate::exit::{self, Misused};
use crate::named;
use crate::output::{paragraph, plain, say, text, warn_of};

/// Which log is wanted.
pub(crate) struct LogWish {
    /// A run, or a webhook.
    pub(crate) subject: String,
    /// A stage, a run's number, or an environment.
    pub(crate) part: Option<String>,
    /// A stage, behind a run's number.
    pub(crate) stage: Option<String>,
    /// Until the end.
    pub(crate) follow: bool,
    /// A deployment's.
    pub(crate) deployment: bool,
    /// For machines.
    pub(crate) json: bool,
}

/// What of a run is shown, and how.
struct Shown<'a> {
    stage: Option<&'a str>,
    follow: bool,
    json: bool,
}

/// Prints a log; a followed run's result is the exit code.
pub(crate) async fn logs(client: &Client, wish: &LogWish) -> Result<ExitCode> {
    if wish.deployment {
        let (Some(environment), None) = (&wish.part, &wish.stage) else {
            bail!("name webhook and environment: hookwright logs --deployment WEBHOOK ENVIRONMENT")
        };
        let (webhook, environment) = (named::webhook(&wish.subject), named::environment(environment));
        let (webhook, environment) = (webhook.map_err(Misused)?, environment.map_err(Misused)?);
        let path = format!("/webhooks/{webhook}/environments/{environment}/logs");
        return match wish.follow {
            true => follow_deployment(client, &path, wish.json).await,
            false => print_log(client, &path, wish.json).await,
        };
    }
    let name = RunName { subject: &wish.subject, number: None };
    let number = wish.part.as_deref().filter(|_| !name.is_id()).and_then(find::number);
    let stage = match (number, &wish.part, &wish.stage) {
        (Some(_), _, stage) => stage.as_deref(),
        (None, part, None) => part.as_deref(),
        (None, ..) => {
            let accepted = "RUN STAGE, WEBHOOK STAGE or WEBHOOK NUMBER STAGE";
            return Err(Misused(format!("that is one word too many; `hookwright logs` takes {accepted}")).into());
        }
    };
    let run = find::run(client, RunName { number, ..name }).await?;
    let shown = Shown { stage, follow: wish.follow, json: wish.json };
    if wish.follow { shown.follow_run(client, &text(&run["id"])).await } else { shown.print_run(client, &run).await }
}

impl Shown<'_> {
    /// Prints the log of the last attempt at each stage, and why the run did not succeed.
    async fn print_run(&self, client: &Client, run: &Value) -> Result<ExitCode> {
        let mut seen: Vec<String> = Vec::new();
        for stage in run["stages"].as_array().into_iter().flatten().filter(|stage| self.wants(stage)) {
            let name = text(&stage["stage"]);
            if seen.contains(&name) {
                continue;
            }
            self.announce(stage);
            print_log(client, &format!("/runs/{}/stages/{name}/logs", text(&run["id"])), self.json).await?;
            seen.push(name);
        }
        if let Some(stage) = self.stage.filter(|_| seen.is_empty()) {
            let known: Vec<String> = run["stages"].as_array().into_iter().flatten().map(|stage| text(&stage["stage"])).collect();
            if !known.iter().any(|known| known == stage) {
                bail!("run #{} has no stage `{stage}`; it has {}", text(&run["number"]), none_or(&known));
            }
        }
        self.explain(run);
        Ok(ExitCode::SUCCESS)
    }

    /// Says how a run ended that did not succeed: its log alone does not tell when no stage began.
    fn explain(&self, run: &Value) {
        let status = text(&run["status"]);
        let ended = matches!(status.as_str(), "failed" | "errored" | "canceled" | "superseded");
        if !ended || !run["status_reason"].is_string() {
            return;
        }
        let line = format!("run #{} of {} {status}: {}", text(&run["number"]), text(&run["webhook"]), paragraph(&run["status_reason"]));
        if self.json { warn_of!("{line}") } else { say!("{line}") }
    }

    /// Whether a stage has begun, and is asked for.
    fn wants(&self, stage: &Value) -> bool {
        stage["started_at"].is_i64() && self.stage.is_none_or(|wanted| stage["stage"] == wanted)
    }

    fn announce(&self, stage: &Value) {
        if self.stage.is_none() && !self.json {
            let attempt = stage["attempt"].as_u64().filter(|attempt| *attempt > 1 && self.follow);
            say!("--- {}{}", text(&stage["stage"]), attempt.map(|attempt| format!(" (attempt {attempt})")).unwrap_or_default());
        }
    }

    /// Prints the log of every attempt as it begins, until the run ends.
    async fn follow_run(&self, client: &Client, id: &str) -> Result<ExitCode> {
        let mut events = Events::new(client, format!("/runs/{id}/events"));
        let mut printed: HashSet<String> = HashSet::new();
        let mut number = String::new();
        while let Some(event) = events.next().await? {
            let begun: Vec<&Value> = match event.name.as_str() {
                "snapshot" => {
                    number = text(&event.data["run"]["number"]);
                    event.data["stages"].as_array().into_iter().flatten().collect()
                }
                "stage" => vec![&event.data],
                "end" => {
                    let status = text(&event.data["status"]);
                    warn_of!("run #{number} {status}");
                    self.explain(&client.get(&format!("/runs/{id}")).await?);
                    return Ok(if status == "succeeded" { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) });
                }
                _ => Vec::new(),
            };
            for stage in begun.into_iter().filter(|stage| self.wants(stage)) {
                if printed.insert(text(&stage["id"])) {
                    self.announce(stage);
                    let (name, attempt) = (text(&stage["stage"]), text(&stage["attempt"]));
                    follow_log(client, &format!("/runs/{id}/stages/{name}/logs/stream?attempt={attempt}"), self.json).await?;
                }
            }
        }
        bail!("the run is gone")
    }
}

fn none_or(names: &[String]) -> String {
    if names.is_empty() { "none: it ended before any began".to_owned() } else { names.join(", ") }
}

fn print_lines(chunk: &Value, json: bool) {
    for line in chunk["lines"].as_array().map(Vec::as_slice).unwrap_or_default() {
        if json { say!("{line}") } else { say!("{}", plain(line["text"].as_str().unwrap_or_default())) }
    }
}

async fn print_log(client: &Client, path: &str, json: bool) -> Result<ExitCode> {
    let mut from = 0;
    loop {
        let chunk = client.get(&format!("{path}?from={from}")).await?;
        print_lines(&chunk, json);
        let next = chunk["next"].as_u64().unwrap_or(from);
        if chunk["complete"] == true || next == from {
            return Ok(ExitCode::SUCCESS);
        }
        from = next;
    }
}

async fn follow_log(client: &Client, path: &str, json: bool) -> Result<()> {
    let mut events = Events::new(client, path);
    while let Some(event) = events.next().await? {
        print_lines(&event.data, json);
        if event.name == "end" {
            break;
        }
    }
    Ok(())
}

/// Prints the log of what is deployed, and of what is deployed after it, until nothing is.
async fn follow_deployment(client: &Client, path: &str, json: bool) -> Result<ExitCode> {
    let mut ended: Option<String> = None;
    loop {
        let mut events = Events::new(client, format!("{path}/stream"));
        let mut current = None;
        while let Some(event) = events.next().await? {
            current = event.id.as_deref().and_then(|id| id.split('.').next()).map(str::to_owned);
            if current == ended {
                return Ok(ExitCode::SUCCESS);
            }
            print_lines(&event.data, json);
            if event.name == "end" {
                break;
            }
        }
        ended = current;
    }
}
