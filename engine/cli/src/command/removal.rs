//! What takes webhooks out of service: `undeploy`, `webhook remove`, and what `repo remove` says of what stays.

use std::process::ExitCode;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::output::{plain, say, text};

fn texts(list: &Value) -> Vec<String> {
    list.as_array().map(|list| list.iter().map(text).collect()).unwrap_or_default()
}

/// `3 runs`, `1 run`.
fn count(number: &Value, what: &str) -> Option<String> {
    let number = number.as_u64().filter(|number| *number > 0)?;
    Some(format!("{number} {what}{}", if number == 1 { "" } else { "s" }))
}

/// Takes a webhook out of service in an environment.
pub(crate) async fn undeploy(client: &Client, (webhook, environment): (&str, &str), reason: Option<&str>) -> Result<ExitCode> {
    let path = format!("/webhooks/{webhook}/environments/{environment}/undeploy");
    let done = client.post(&path, &json!({ "reason": reason })).await?;
    let releases = texts(&done["releases"]);
    if releases.is_empty() {
        say!("nothing of {webhook} was live in {environment}");
    } else {
        say!("{webhook} goes out of service in {environment}: {} ends once its requests are answered", releases.join(", "));
    }
    if let Some(promotions) = count(&done["promotions_canceled"], "promotion") {
        say!("canceled: {promotions} into {environment}");
    }
    if done["hold_ended"] == true {
        say!("{environment} is not held any more");
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes a webhook and gives its name free.
pub(crate) async fn webhook(client: &Client, name: &str) -> Result<ExitCode> {
    let done = client.send(Method::DELETE, &format!("/webhooks/{name}"), None).await?;
    say!("{name} is removed, and its name is free");
    let environments = texts(&done["environments"]);
    if !environments.is_empty() {
        say!("undeployed in: {}", environments.join(", "));
    }
    let ended = [
        ("runs_stopped", "stopped", "run"),
        ("promotions_canceled", "canceled", "promotion"),
        ("deliveries_canceled", "not delivered any more", "event"),
        ("secrets_deleted", "deleted", "secret"),
    ];
    for (field, word, what) in ended {
        if let Some(number) = count(&done[field], what) {
            say!("{word}: {number}");
        }
    }
    say!("Its runs, events and the audit log stay as history; its releases and their approvals are deleted.");
    if let Some(repository) = done["repository"].as_str() {
        let file = plain(done["file"].as_str().unwrap_or_default());
        say!("While the repository {repository} holds {file}, its next push brings the webhook back: take the file out there first.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what stays of a repository that was removed, and what ends it.
pub(super) fn left(name: &str, left: &Value) {
    say!("{name} is forgotten");
    for webhook in left["webhooks"].as_array().into_iter().flatten() {
        let (webhook, environments) = (text(&webhook["name"]), texts(&webhook["environments"]));
        if environments.is_empty() {
            say!("\nThe webhook {webhook} keeps its name; nothing of it is live. Give the name free with:");
        } else {
            say!(
                "\nThe webhook {webhook} runs on in {}, and keeps its name. End it in one environment, or for good:",
                environments.join(", ")
            );
        }
        for environment in environments {
            say!("    hookwright undeploy {webhook} {environment}");
        }
        say!("    hookwright webhook remove {webhook}");
    }
}
