//! What the daemon knows: `status`, `runs`, `releases`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::wait;
use crate::client::Client;
use crate::exit;
use crate::output::{self, instant, one_line, paragraph, say, text};

/// What a page of a list holds.
pub(super) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What is to be shown of what runs where.
pub(crate) struct StatusWish<'a> {
    /// Only this webhook.
    pub(crate) webhook: Option<&'a str>,
    /// First wait for what is under way.
    pub(crate) wait: bool,
    /// For machines.
    pub(crate) json: bool,
}

/// What runs where, and what waits for whom; with `wait` also how that which was under way ended, as the exit code.
pub(crate) async fn status(client: &Client, wish: &StatusWish<'_>) -> Result<ExitCode> {
    let ended_well = match wish.webhook.filter(|_| wish.wait) {
        Some(webhook) => wait::until_settled(client, webhook, wish.json).await?,
        None => true,
    };
    let code = if ended_well { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) };
    let path = wish.webhook.map_or_else(|| "/webhooks".to_owned(), |name| format!("/webhooks/{name}"));
    if wish.json {
        output::json(&client.get(&path).await?);
    } else if !wish.wait {
        show(client, wish.webhook, &client.get(&path).await?).await?;
    }
    Ok(code)
}

async fn show(client: &Client, webhook: Option<&str>, answer: &Value) -> Result<()> {
    let all = if webhook.is_some() { std::slice::from_ref(answer) } else { items(answer) };
    if all.is_empty() {
        say!("No webhook yet. Push a repository with a webhook.yaml: git push {}/git/NAME.git main", client.server);
        return Ok(());
    }
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for webhook in all {
        for environment in webhook["environments"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let instances = environment["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ready = instances.iter().filter(|instance| instance["state"] == "ready").count();
            rows.push(vec![
                text(&webhook["name"]),
                format!(
                    "{}{}",
                    text(&environment["name"]),
                    if environment["declared"] == false { " (not in webhook.yaml any more)" } else { "" }
                ),
                text(&environment["release"]),
                environment["commit"].as_str().and_then(|commit| commit.get(..12)).unwrap_or("-").to_owned(),
                format!("{ready}/{}", instances.len()),
                format!("{}{}", client.server, text(&environment["address"])),
            ]);
            notes.extend(waiting(environment));
            if environment["declared"] == false {
                let (webhook, name) = (text(&webhook["name"]), text(&environment["name"]));
                notes.push(format!("\n{name} of {webhook} is not in webhook.yaml any more, and runs on; end it with:\n    hookwright undeploy {webhook} {name}"));
            }
            if all.len() == 1 {
                notes.extend(not_deployed(client, &text(&webhook["name"]), &text(&environment["name"])).await?);
            }
        }
        let run = &webhook["last_run"];
        if matches!(run["status"].as_str(), Some("failed" | "errored")) {
            let (number, status) = (text(&run["number"]), text(&run["status"]));
            notes.push(format!("\nrun #{number} of {} {status}: {}", text(&webhook["name"]), paragraph(&run["status_reason"])));
        }
    }
    output::table(&["WEBHOOK", "ENVIRONMENT", "RELEASE", "COMMIT", "READY", "ADDRESS"], &rows);
    for line in notes {
        say!("{line}");
    }
    Ok(())
}

/// Why the release that went to an environment last is not there, if its deployment failed.
async fn not_deployed(client: &Client, webhook: &str, environment: &str) -> Result<Option<String>> {
    let newest = client.get(&format!("/promotions?webhook={webhook}&environment={environment}&limit=1")).await?;
    let failed = items(&newest).first().filter(|newest| matches!(newest["status"].as_str(), Some("failed" | "errored")));
    Ok(failed.map(|promotion| {
        let (release, reason) = (text(&promotion["release"]), paragraph(&promotion["status_reason"]));
        format!(
            "\n{release} {} in {environment}: {reason}\n    hookwright logs --deployment {webhook} {environment}",
            text(&promotion["status"])
        )
    }))
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

/// An empty list of a webhook that there is not tells nobody that its name is mistyped. What is left of a removed one is no empty list.
async fn must_exist(client: &Client, webhook: Option<&str>, list: &Value) -> Result<()> {
    if let Some(webhook) = webhook.filter(|_| items(list).is_empty()) {
        client.get(&format!("/webhooks/{webhook}")).await?;
    }
    Ok(())
}

/// The newest runs.
pub(crate) async fn runs(client: &Client, webhook: Option<&str>, json: bool) -> Result<ExitCode> {
    let filter = webhook.map(|name| format!("?webhook={name}")).unwrap_or_default();
    let answer = client.get(&format!("/runs{filter}")).await?;
    must_exist(client, webhook, &answer).await?;
    if json {
        output::json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let row = |run: &Value| {
        vec![
            text(&run["webhook"]),
            format!("#{}", text(&run["number"])),
            text(&run["status"]),
            instant(&run["created_at"]),
            text(&run["id"]),
            one_line(&run["status_reason"]),
        ]
    };
    let rows: Vec<Vec<String>> = items(&answer).iter().map(row).collect();
    output::table_of_reasons(&["WEBHOOK", "RUN", "STATUS", "CREATED", "ID", "REASON"], rows);
    Ok(ExitCode::SUCCESS)
}

/// What was built.
pub(crate) async fn releases(client: &Client, webhook: Option<&str>, json: bool) -> Result<ExitCode> {
    let filter = webhook.map(|name| format!("?webhook={name}")).unwrap_or_default();
    let answer = client.get(&format!("/releases{filter}")).await?;
    must_exist(client, webhook, &answer).await?;
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
