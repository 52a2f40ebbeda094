//! What people do: promotions, runs, secrets, repositories, tokens.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::arguments::{Credential, Decide, Hold, Place, Repo, RepoCredential, Secret, Token};
use crate::client::Client;
use crate::output::{self, instant, text};

impl From<Place> for Decide {
    fn from(place: Place) -> Self {
        Self { webhook: place.webhook, environment: place.environment, reason: None, release: place.release }
    }
}

/// Promotes, approves, rejects, overrides or rolls back, and says which release it was about.
pub(crate) async fn act(client: &Client, action: &str, what: &Decide) -> Result<ExitCode> {
    let path = format!("/webhooks/{}/environments/{}/{action}", what.webhook, what.environment);
    let promotion = client.post(&path, &json!({ "release": what.release, "reason": what.reason })).await?;
    let (release, status) = (text(&promotion["release"]), text(&promotion["status"]));
    println!("{action}: {release} of {} in {}, {status}", what.webhook, what.environment);
    Ok(ExitCode::SUCCESS)
}

/// Sets or ends a hold.
pub(crate) async fn hold(client: &Client, hold: Hold) -> Result<ExitCode> {
    let path = |webhook: &str, environment: &str| format!("/webhooks/{webhook}/environments/{environment}/hold");
    match hold {
        Hold::Set { webhook, environment, reason } => {
            client.send(Method::PUT, &path(&webhook, &environment), Some(&json!({ "reason": reason }))).await?;
            println!("{webhook} is held in {environment}; end it with: hookwright hold end {webhook} {environment}");
        }
        Hold::End { webhook, environment } => {
            client.send(Method::DELETE, &path(&webhook, &environment), None).await?;
            println!("{webhook} is not held in {environment} any more; what waits goes on as its other gates say");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Retries or cancels a run.
pub(crate) async fn run_action(client: &Client, run: &str, action: &str) -> Result<ExitCode> {
    let run = client.post(&format!("/runs/{run}/{action}"), &json!({})).await?;
    println!("{action}: run #{} of {} ({}), {}", text(&run["number"]), text(&run["webhook"]), text(&run["id"]), text(&run["status"]));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn show(answer: &Value, as_json: bool, columns: &[(&str, &str)]) -> ExitCode {
    if as_json {
        output::json(answer);
        return ExitCode::SUCCESS;
    }
    let head: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let cell = |item: &Value, field: &str| if field.ends_with("_at") { instant(&item[field]) } else { text(&item[field]) };
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = items.iter().map(|item| columns.iter().map(|(_, field)| cell(item, field)).collect()).collect();
    output::table(&head, &rows);
    ExitCode::SUCCESS
}

/// The value that standard input holds.
fn read_secret() -> Result<String> {
    let mut value = String::new();
    std::io::stdin().read_to_string(&mut value).context("cannot read the value from standard input")?;
    let value = value.strip_suffix('\n').unwrap_or(&value);
    if value.is_empty() {
        bail!("the value is empty; pipe it in: printf %s VALUE | hookwright secret set WEBHOOK ENVIRONMENT NAME");
    }
    Ok(value.to_owned())
}

/// Secrets.
pub(crate) async fn secret(client: &Client, secret: Secret) -> Result<ExitCode> {
    let base = |webhook: &str, environment: &str| format!("/webhooks/{webhook}/environments/{environment}/secrets");
    match secret {
        Secret::Set { webhook, environment, name } => {
            let value = read_secret()?;
            client.send(Method::PUT, &format!("{}/{name}", base(&webhook, &environment)), Some(&json!({ "value": value }))).await?;
            println!("{name} is set for {webhook} in {environment}");
            let shortest = hookwright_runtime::SHORTEST_MASK;
            if value.len() < shortest {
                eprintln!(
                    "its value is shorter than {shortest} bytes and is not hidden in logs; choose a longer one if it is to stay secret"
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Secret::Rotate { webhook, environment, name, hours } => {
            let value = json!({ "value": read_secret()?, "previous_seconds": u64::from(hours) * 3600 });
            client.send(Method::PUT, &format!("{}/{name}", base(&webhook, &environment)), Some(&value)).await?;
            println!(
                "{name} is set for {webhook} in {environment}; signatures made with the value before it are accepted for {hours} hours"
            );
            Ok(ExitCode::SUCCESS)
        }
        Secret::List { webhook, environment, json } => {
            Ok(show(&client.get(&base(&webhook, &environment)).await?, json.json, &[("NAME", "name")]))
        }
        Secret::Remove { webhook, environment, name } => {
            client.send(Method::DELETE, &format!("{}/{name}", base(&webhook, &environment)), None).await?;
            println!("{name} is removed from {webhook} in {environment}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The credential that standard input or a file holds, as the API takes it.
fn read_credential(credential: Credential) -> Result<Option<Value>> {
    if let Some(path) = credential.ssh_key {
        let key = std::fs::read_to_string(&path).with_context(|| format!("cannot read the key `{}`", path.display()))?;
        return Ok(Some(json!({ "ssh_key": key })));
    }
    if !credential.credential_stdin {
        return Ok(None);
    }
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password).context("cannot read the credential from standard input")?;
    let password = password.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        bail!("the credential is empty; pipe it in: hookwright repo … --credential-stdin < token.txt");
    }
    Ok(Some(match credential.username {
        Some(username) => json!({ "username": username, "password": password }),
        None => json!({ "password": password }),
    }))
}

/// Repositories.
pub(crate) async fn repo(client: &Client, repo: Repo) -> Result<ExitCode> {
    match repo {
        Repo::List { json } => {
            let columns = [
                ("NAME", "name"),
                ("WATCHED AT", "url"),
                ("WITH", "credential"),
                ("DEFAULT BRANCH", "default_branch"),
                ("TOLD BY", "told_by"),
                ("LAST ERROR", "poll_error"),
            ];
            let mut list = client.get("/repositories").await?;
            if !json.json {
                for item in list["items"].as_array_mut().into_iter().flatten() {
                    let hook = &item["hook"];
                    let told_by = hook["source"].as_str().map(|source| match (hook["alive"].as_bool(), &hook["status_reason"]) {
                        (Some(true), _) | (_, Value::Null) => source.to_owned(),
                        (_, reason) => format!("{source}: {}: {}", text(&hook["status"]), text(reason)),
                    });
                    item["told_by"] = json!(told_by);
                }
            }
            Ok(show(&list, json.json, &columns))
        }
        Repo::Add { name, url, credential } => {
            let credential = read_credential(credential)?;
            let added = client.post("/repositories", &json!({ "name": name, "url": url, "credential": credential })).await?;
            match added["url"].as_str() {
                Some(url) => println!("{name} is watched at {}", output::plain(url)),
                None => println!("push to {}/git/{name}.git", client.server),
            }
            Ok(ExitCode::SUCCESS)
        }
        Repo::Credential(RepoCredential::Set { name, credential }) => {
            let Some(credential) = read_credential(credential)? else {
                bail!("say which: `--credential-stdin` for a token or password, `--ssh-key FILE` for a key");
            };
            client.send(Method::PUT, &format!("/repositories/{name}/credential"), Some(&credential)).await?;
            println!("{name} is read with the new credential");
            Ok(ExitCode::SUCCESS)
        }
        Repo::Credential(RepoCredential::Remove { name }) => {
            client.send(Method::DELETE, &format!("/repositories/{name}/credential"), None).await?;
            println!("{name} is read without a credential");
            Ok(ExitCode::SUCCESS)
        }
        Repo::Remove { name } => {
            client.send(Method::DELETE, &format!("/repositories/{name}"), None).await?;
            println!("{name} is forgotten; what it deployed stays");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Tokens.
pub(crate) async fn token(client: &Client, token: Token) -> Result<ExitCode> {
    match token {
        Token::Create { user, rights } => {
            let made = client.post("/tokens", &json!({ "user": user, "teams": rights.teams, "grants": [rights.grant()] })).await?;
            println!("{}", text(&made["token"]));
            eprintln!("This is the only time it is shown. Revoke it with `hookwright token revoke {}`.", text(&made["id"]));
            Ok(ExitCode::SUCCESS)
        }
        Token::List { json } => {
            let columns = [("ID", "id"), ("USER", "user"), ("CREATED", "created_at"), ("REVOKED", "revoked_at"), ("GRANTS", "grants")];
            Ok(show(&client.get("/tokens").await?, json.json, &columns))
        }
        Token::Revoke { id } => {
            client.send(Method::DELETE, &format!("/tokens/{id}"), None).await?;
            println!("{id} is worthless from now on");
            Ok(ExitCode::SUCCESS)
        }
    }
}
