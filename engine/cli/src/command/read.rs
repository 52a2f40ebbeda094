//! What the daemon knows: `status`, `runs`, `releases`, `logs`.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::client::Client;
use crate::events::Events;
use crate::exit;
use crate::output::{self, instant, plain, text};

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What runs where, and what waits for whom.
pub(crate) async fn status(client: &Client, webhook: Option<&str>, json: bool) -> Result<ExitCode> {
    let answer = match webhook {
        Some(name) => client.get(&format!("/webhooks/{name}")).await?,
        None => client.get("/webhooks").await?,
    };
    if json {
        output::json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let all = if webhook.is_some() { std::slice::from_ref(&answer) } else { items(&answer) };
    if all.is_empty() {
        println!("No webhook yet. Push a repository with a webhook.yaml: git push {}/git/NAME.git main", client.server);
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    let mut waits = Vec::new();
    for webhook in all {
        for environment in webhook["environments"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let instances = environment["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ready = instances.iter().filter(|instance| instance["state"] == "ready").count();
            rows.push(vec![
                text(&webhook["name"]),
                text(&environment["name"]),
                text(&environment["release"]),
                environment["commit"].as_str().and_then(|commit| commit.get(..12)).unwrap_or("-").to_owned(),
                format!("{ready}/{}", instances.len()),
                format!("{}{}", client.server, text(&environment["address"])),
            ]);
            waits.extend(waiting(environment));
        }
    }
    output::table(&["WEBHOOK", "ENVIRONMENT", "RELEASE", "COMMIT", "READY", "ADDRESS"], &rows);
    for line in waits {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A line for every gate that does not pass, and for a hold.
fn waiting(environment: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for promotion in environment["promotions"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (release, place) = (text(&promotion["release"]), text(&promotion["environment"]));
        for gate in promotion["verdicts"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let verdict = &gate["verdict"];
            if verdict["kind"] != "pass" {
                let (reason, unblock) = (text(&verdict["reason"]), text(&verdict["unblock"]));
                lines.push(format!("\n{release} waits for {place} ({}): {reason}\n    {unblock}", text(&gate["gate"])));
            }
        }
    }
    if environment["hold"].is_object() {
        let hold = &environment["hold"];
        lines.push(format!("\n{} is held by {} since {}", text(&environment["name"]), text(&hold["actor"]), instant(&hold["since"])));
    }
    lines
}

/// The newest runs.
pub(crate) async fn runs(client: &Client, webhook: Option<&str>, json: bool) -> Result<ExitCode> {
    let filter = webhook.map(|name| format!("?webhook={name}")).unwrap_or_default();
    let answer = client.get(&format!("/runs{filter}")).await?;
    if json {
        output::json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let row = |run: &Value| {
        let reason = text(&run["status_reason"]);
        let reason = reason.lines().next().unwrap_or_default().chars().take(80).collect();
        vec![
            text(&run["webhook"]),
            format!("#{}", text(&run["number"])),
            text(&run["status"]),
            instant(&run["created_at"]),
            text(&run["id"]),
            reason,
        ]
    };
    let rows: Vec<Vec<String>> = items(&answer).iter().map(row).collect();
    output::table(&["WEBHOOK", "RUN", "STATUS", "CREATED", "ID", "REASON"], &rows);
    Ok(ExitCode::SUCCESS)
}

/// What was built.
pub(crate) async fn releases(client: &Client, webhook: Option<&str>, json: bool) -> Result<ExitCode> {
    let filter = webhook.map(|name| format!("?webhook={name}")).unwrap_or_default();
    let answer = client.get(&format!("/releases{filter}")).await?;
    if json {
        output::json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let row = |release: &Value| {
        let commit = release["commit"].as_str().and_then(|commit| commit.get(..12)).unwrap_or("-").to_owned();
        vec![text(&release["webhook"]), text(&release["id"]), commit, instant(&release["created_at"]), text(&release["image"])]
    };
    let rows: Vec<Vec<String>> = items(&answer).iter().map(row).collect();
    output::table(&["WEBHOOK", "RELEASE", "COMMIT", "CREATED", "IMAGE"], &rows);
    Ok(ExitCode::SUCCESS)
}

/// Which log is wanted.
pub(crate) struct LogWish {
    /// A run, or a webhook.
    pub(crate) subject: String,
    /// A stage, or an environment.
    pub(crate) part: Option<String>,
    /// Until the end.
    pub(crate) follow: bool,
    /// A deployment's.
    pub(crate) deployment: bool,
    /// For machines.
    pub(crate) json: bool,
}

/// Prints a log; a followed run's result is the exit code.
pub(crate) async fn logs(client: &Client, wish: &LogWish) -> Result<ExitCode> {
    if wish.deployment {
        let Some(environment) = &wish.part else { bail!("name the environment too: hookwright logs --deployment WEBHOOK ENVIRONMENT") };
        let path = format!("/webhooks/{}/environments/{environment}/logs", wish.subject);
        return if wish.follow { follow_deployment(client, &path, wish).await } else { print_log(client, &path, wish).await };
    }
    if wish.follow {
        return follow_run(client, wish).await;
    }
    let run = client.get(&format!("/runs/{}", wish.subject)).await?;
    let mut seen: Vec<String> = Vec::new();
    for stage in run["stages"].as_array().into_iter().flatten().filter(|stage| wanted(stage, wish)) {
        let name = text(&stage["stage"]);
        if seen.contains(&name) {
            continue;
        }
        announce(stage, wish);
        print_log(client, &format!("/runs/{}/stages/{name}/logs", wish.subject), wish).await?;
        seen.push(name);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a stage has begun, and is asked for.
fn wanted(stage: &Value, wish: &LogWish) -> bool {
    stage["started_at"].is_i64() && wish.part.as_ref().is_none_or(|part| stage["stage"] == part.as_str())
}

fn announce(stage: &Value, wish: &LogWish) {
    if wish.part.is_none() && !wish.json {
        let attempt = stage["attempt"].as_u64().filter(|attempt| *attempt > 1 && wish.follow);
        println!("--- {}{}", text(&stage["stage"]), attempt.map(|attempt| format!(" (attempt {attempt})")).unwrap_or_default());
    }
}

fn print_lines(chunk: &Value, wish: &LogWish) {
    for line in chunk["lines"].as_array().map(Vec::as_slice).unwrap_or_default() {
        if wish.json { println!("{line}") } else { println!("{}", plain(line["text"].as_str().unwrap_or_default())) }
    }
}

async fn print_log(client: &Client, path: &str, wish: &LogWish) -> Result<ExitCode> {
    let mut from = 0;
    loop {
        let chunk = client.get(&format!("{path}?from={from}")).await?;
        print_lines(&chunk, wish);
        let next = chunk["next"].as_u64().unwrap_or(from);
        if chunk["complete"] == true || next == from {
            return Ok(ExitCode::SUCCESS);
        }
        from = next;
    }
}

/// Prints the log of every attempt as it begins, until the run ends.
async fn follow_run(client: &Client, wish: &LogWish) -> Result<ExitCode> {
    let mut events = Events::new(client, format!("/runs/{}/events", wish.subject));
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
                eprintln!("run #{number} {status}");
                return Ok(if status == "succeeded" { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) });
            }
            _ => Vec::new(),
        };
        for stage in begun.into_iter().filter(|stage| wanted(stage, wish)) {
            if printed.insert(text(&stage["id"])) {
                announce(stage, wish);
                let (name, attempt) = (text(&stage["stage"]), text(&stage["attempt"]));
                follow_log(client, &format!("/runs/{}/stages/{name}/logs/stream?attempt={attempt}", wish.subject), wish).await?;
            }
        }
    }
    bail!("the run is gone")
}

async fn follow_log(client: &Client, path: &str, wish: &LogWish) -> Result<()> {
    let mut events = Events::new(client, path);
    while let Some(event) = events.next().await? {
        print_lines(&event.data, wish);
        if event.name == "end" {
            break;
        }
    }
    Ok(())
}

/// Prints the log of what is deployed, and of what is deployed after it, until nothing is.
async fn follow_deployment(client: &Client, path: &str, wish: &LogWish) -> Result<ExitCode> {
    let mut ended: Option<String> = None;
    loop {
        let mut events = Events::new(client, format!("{path}/stream"));
        let mut current = None;
        while let Some(event) = events.next().await? {
            current = event.id.as_deref().and_then(|id| id.split('.').next()).map(str::to_owned);
            if current == ended {
                return Ok(ExitCode::SUCCESS);
            }
            print_lines(&event.data, wish);
            if event.name == "end" {
                break;
            }
        }
        ended = current;
    }
}
