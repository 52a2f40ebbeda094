//! What the daemon knows: `status`, `runs`, `releases`, `logs`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::client::Client;
use crate::exit;
use crate::output::{self, instant, plain, text};

/// How often a followed log is asked for more.
const LOOK: Duration = Duration::from_millis(300);

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
        print_log(client, &path, wish).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let run_path = format!("/runs/{}", wish.subject);
    let mut seen: Vec<String> = Vec::new();
    loop {
        let run = client.get(&run_path).await?;
        let stages = run["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let begun = stages.iter().filter(|stage| stage["started_at"].is_i64()).map(|stage| text(&stage["stage"]));
        let wanted: Vec<String> =
            begun.filter(|stage| wish.part.as_ref().is_none_or(|part| part == stage) && !seen.contains(stage)).collect();
        for stage in wanted {
            if wish.part.is_none() && !wish.json {
                println!("--- {stage}");
            }
            print_log(client, &format!("{run_path}/stages/{stage}/logs"), wish).await?;
            seen.push(stage);
        }
        let status = text(&run["status"]);
        if !wish.follow {
            return Ok(ExitCode::SUCCESS);
        }
        if !matches!(status.as_str(), "queued" | "running") {
            eprintln!("run #{} {status}", text(&run["number"]));
            return Ok(if status == "succeeded" { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) });
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn print_log(client: &Client, path: &str, wish: &LogWish) -> Result<()> {
    let mut from = 0;
    loop {
        let chunk = client.get(&format!("{path}?from={from}")).await?;
        let lines = chunk["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
        for line in lines {
            if wish.json { println!("{line}") } else { println!("{}", plain(line["text"].as_str().unwrap_or_default())) }
        }
        let next = chunk["next"].as_u64().unwrap_or(from);
        if chunk["complete"] == true || (!wish.follow && next == from) {
            return Ok(());
        }
        if next == from {
            tokio::time::sleep(LOOK).await;
        }
        from = next;
    }
}
