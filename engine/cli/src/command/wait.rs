//! `status --wait`: until the newest run has ended and what it deployed is live or waits for somebody; a line for each change on the way.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use super::promotion::{is_failed, obstacle, wait_of};
use super::read::items;
use crate::client::Client;
use crate::events::Events;
use crate::output::{paragraph, say, text, warn_of};

/// How long a run may take to begin: a push returns when it is there, a watched remote is read soon.
const BEGIN: Duration = Duration::from_secs(15);

/// How long gates may take to look at what was done just before the command: what they say sooner may be what they said before that.
const JUDGING: Duration = Duration::from_secs(1);

/// How often promotions are looked at, of which there is no stream.
const LOOK: Duration = Duration::from_millis(300);

/// Returns when nothing of the webhook is under way any more that goes on by itself, and whether all of it went well. For machines, who read standard
/// output, the lines go to standard error.
pub(super) async fn until_settled(client: &Client, webhook: &str, for_machines: bool) -> Result<bool> {
    let mut waiting = Waiting { client, since: Instant::now(), webhook, for_machines, said: HashMap::new() };
    let mut run = waiting.newest().await?;
    loop {
        let id = text(&run["id"]);
        if !waiting.follow(&id).await? {
            break;
        }
        run = client.get(&format!("/runs/{id}")).await?;
        let Some(next) = run["superseded_by"].as_str() else { break };
        run = client.get(&format!("/runs/{next}")).await?;
    }
    let run = client.get(&format!("/runs/{}", text(&run["id"]))).await?;
    match run["status"].as_str().unwrap_or_default() {
        // It is held by a promotion that waits for somebody.
        "running" | "succeeded" | "skipped" => waiting.promotions(run["created_at"].as_i64().unwrap_or_default()).await,
        _ => Ok(false),
    }
}

struct Waiting<'a> {
    client: &'a Client,
    since: Instant,
    webhook: &'a str,
    for_machines: bool,
    /// What was said last of a run, a stage or a promotion, by its id.
    said: HashMap<String, String>,
}

impl Waiting<'_> {
    /// Says how something stands, unless that was the last that was said of it.
    fn say(&mut self, id: &Value, line: String) {
        if self.said.get(&text(id)) != Some(&line) {
            if self.for_machines {
                warn_of!("{line}")
            } else {
                say!("{line}")
            }
            self.said.insert(text(id), line);
        }
    }

    async fn newest(&self) -> Result<Value> {
        let until = Instant::now() + BEGIN;
        loop {
            let list = self.client.get(&format!("/runs?webhook={}&limit=1", self.webhook)).await?;
            if let Some(run) = items(&list).first() {
                return Ok(run.clone());
            }
            if Instant::now() > until {
                bail!(
                    "no run of `{0}` began within {1} s; push it: git push {2}/git/{0}.git main",
                    self.webhook,
                    BEGIN.as_secs(),
                    self.client.server
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Follows a run until it has ended, which is `true`, or is held by a promotion that waits for somebody.
    async fn follow(&mut self, id: &str) -> Result<bool> {
        let mut events = Events::new(self.client, format!("/runs/{id}/events"));
        let mut look = tokio::time::interval(LOOK);
        let mut held: Option<String> = None;
        let mut number = String::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event?,
                _ = look.tick(), if held.is_some() => {
                    if self.is_waiting(held.as_deref().unwrap_or_default()).await? {
                        return Ok(false);
                    }
                    continue;
                }
            };
            let Some(event) = event else { bail!("the run is gone") };
            let mut stages: Vec<&Value> = Vec::new();
            match event.name.as_str() {
                "snapshot" => {
                    number = text(&event.data["run"]["number"]);
                    self.run(&event.data["run"]);
                    // Of what is over already the stages are no change.
                    let is_over = !matches!(event.data["run"]["status"].as_str(), Some("queued" | "running"));
                    stages.extend(event.data["stages"].as_array().into_iter().flatten().filter(|_| !is_over));
                }
                "run" => self.run(&event.data),
                "stage" => stages.push(&event.data),
                "end" => return Ok(true),
                _ => {}
            }
            for stage in stages {
                let status = text(&stage["status"]);
                if status == "held" {
                    held = stage["promotion"].as_str().map(str::to_owned);
                }
                self.stage(&number, stage, &status);
            }
        }
    }

    fn run(&mut self, run: &Value) {
        let reason = if run["status_reason"].is_string() { format!(": {}", paragraph(&run["status_reason"])) } else { String::new() };
        self.say(&run["id"], format!("run #{} {}{reason}", text(&run["number"]), text(&run["status"])));
    }

    fn stage(&mut self, number: &str, stage: &Value, status: &str) {
        // What has not begun is no change, and what holds the deploy stage is told by its promotion.
        if matches!(status, "waiting" | "queued" | "leased" | "held" | "unknown") {
            return;
        }
        let failed = matches!(status, "failed" | "errored") && stage["status_reason"].is_string();
        let reason = if failed { format!(": {}", paragraph(&stage["status_reason"])) } else { String::new() };
        self.say(&stage["id"], format!("run #{number} {} {status}{reason}", text(&stage["stage"])));
    }

    /// The gate that a promotion waits at, once it can be believed.
    fn obstacle<'b>(&self, promotion: &'b Value) -> Option<&'b Value> {
        obstacle(promotion).filter(|_| self.since.elapsed() > JUDGING)
    }

    /// Says how a promotion stands.
    fn promotion(&mut self, promotion: &Value) {
        let (release, environment) = (text(&promotion["release"]), text(&promotion["environment"]));
        let line = match promotion["status"].as_str().unwrap_or_default() {
            "succeeded" => format!("{release} is live in {environment}"),
            "deploying" => format!("{release} goes to {environment}"),
            "waiting" => match self.obstacle(promotion) {
                Some(gate) => format!("{release} waits for {environment} ({}): {}", text(&gate["gate"]), wait_of(gate)),
                None => return,
            },
            status => format!("{release} {status} in {environment}: {}", paragraph(&promotion["status_reason"])),
        };
        self.say(&promotion["id"], line);
    }

    /// Whether a promotion waits for somebody.
    async fn is_waiting(&mut self, id: &str) -> Result<bool> {
        let list = self.client.get(&format!("/promotions?webhook={}&open=true&limit=500", self.webhook)).await?;
        let Some(promotion) = items(&list).iter().find(|promotion| promotion["id"] == id) else { return Ok(false) };
        self.promotion(promotion);
        Ok(promotion["status"] == "waiting" && self.obstacle(promotion).is_some())
    }

    /// Follows what goes to environments until all of it is there or waits for somebody; `false` when something that was opened since the run began is not there.
    async fn promotions(&mut self, since: i64) -> Result<bool> {
        loop {
            let list = self.client.get(&format!("/promotions?webhook={}&limit=100", self.webhook)).await?;
            let mut newest: HashMap<String, &Value> = HashMap::new();
            for promotion in items(&list) {
                newest.entry(text(&promotion["environment"])).or_insert(promotion);
            }
            let is_new = |promotion: &Value| promotion["created_at"].as_i64().is_some_and(|at| at >= since);
            let mut moving = false;
            // The oldest first, in the order in which it happened.
            for promotion in items(&list).iter().rev() {
                let (is_deployed, waits) = (promotion["status"] == "deploying", promotion["status"] == "waiting");
                moving |= is_deployed || (waits && self.obstacle(promotion).is_none());
                let is_newest = newest.get(&text(&promotion["environment"])).is_some_and(|newest| newest["id"] == promotion["id"]);
                if is_deployed || waits || (is_newest && is_new(promotion)) || self.said.contains_key(&text(&promotion["id"])) {
                    self.promotion(promotion);
                }
            }
            if !moving {
                return Ok(!newest.into_values().any(|promotion| is_failed(promotion) && is_new(promotion)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
