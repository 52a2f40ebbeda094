//! What people do with runs, repositories and tokens.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hookwright_core::WebhookName;
use reqwest::Method;
use serde_json::{Value, json};

use super::find::{self, RunName};
use crate::arguments::{Credential, Repo, RepoCredential, RunArgument, Token};
use crate::client::Client;
use crate::exit::Misused;
use crate::output::{self, instant, say, text, warn_of};

/// Runs an ended run again, from its failed stage or all of it.
pub(crate) async fn retry(client: &Client, which: &RunArgument, all: bool) -> Result<ExitCode> {
    let old = named(client, which, "retry").await?;
    let all_of_it = if all { "?all=true" } else { "" };
    let run = client.post(&format!("/runs/{}/retry{all_of_it}", text(&old["id"])), &json!({})).await?;
    let webhook = text(&run["webhook"]);
    let what = if all { ", every stage, whatever the cache has" } else { " from its failed stage" };
    say!(
        "run #{} of {webhook} does #{} again{what} ({}); `hookwright status {webhook} --wait` says how it ends",
        text(&run["number"]),
        text(&old["number"]),
        text(&run["id"])
    );
    Ok(ExitCode::SUCCESS)
}

/// Stops a run.
pub(crate) async fn cancel(client: &Client, which: &RunArgument) -> Result<ExitCode> {
    let run = named(client, which, "cancel").await?;
    let run = client.post(&format!("/runs/{}/cancel", text(&run["id"])), &json!({})).await?;
    let name = format!("run #{} of {} ({})", text(&run["number"]), text(&run["webhook"]), text(&run["id"]));
    match run["status"].as_str().unwrap_or_default() {
        "queued" | "running" => say!("{name} is being stopped; it ends as soon as what runs of it has"),
        status => say!("{name} is {status}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The run that somebody changes: the newest one is not guessed.
async fn named(client: &Client, which: &RunArgument, verb: &str) -> Result<Value> {
    let number = which.number.as_deref().map(|text| {
        find::number(text).ok_or_else(|| Misused(format!("`{text}` is no number of a run; write hookwright {verb} {} 2", which.run)))
    });
    let name = RunName { subject: &which.run, number: number.transpose()? };
    match (name.is_id(), name.number) {
        (true, Some(_)) => Err(Misused(format!("a run's id takes no number: hookwright {verb} {}", which.run)).into()),
        (false, None) if WebhookName::new(name.subject).is_ok() => {
            let webhook = name.subject;
            let text = format!("say which run of `{webhook}`: hookwright {verb} {webhook} NUMBER; `hookwright runs {webhook}` shows them");
            Err(Misused(text).into())
        }
        _ => find::run(client, name).await,
    }
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
                Some(url) => say!("{name} is watched at {}", output::plain(url)),
                None => say!("push to {}/git/{name}.git", client.server),
            }
            Ok(ExitCode::SUCCESS)
        }
        Repo::DefaultBranch { name, branch } => {
            let path = format!("/repositories/{name}/default-branch");
            let answer = client.send(Method::PUT, &path, Some(&json!({ "branch": branch }))).await?;
            say!("`{}` is the default branch of {name}", text(&answer["default_branch"]));
            for news in answer["news"].as_array().into_iter().flatten() {
                say!("{}", text(news));
            }
            Ok(ExitCode::SUCCESS)
        }
        Repo::Credential(RepoCredential::Set { name, credential }) => {
            let Some(credential) = read_credential(credential)? else {
                bail!("say which: `--credential-stdin` for a token or password, `--ssh-key FILE` for a key");
            };
            client.send(Method::PUT, &format!("/repositories/{name}/credential"), Some(&credential)).await?;
            say!("{name} is read with the new credential");
            Ok(ExitCode::SUCCESS)
        }
        Repo::Credential(RepoCredential::Remove { name }) => {
            client.send(Method::DELETE, &format!("/repositories/{name}/credential"), None).await?;
            say!("{name} is read without a credential");
            Ok(ExitCode::SUCCESS)
        }
        Repo::Remove { name } => {
            let left = client.send(Method::DELETE, &format!("/repositories/{name}"), None).await?;
            super::removal::left(&name, &left);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Tokens.
pub(crate) async fn token(client: &Client, token: Token) -> Result<ExitCode> {
    match token {
        Token::Create { user, rights } => {
            let made = client.post("/tokens", &json!({ "user": user, "teams": rights.teams, "grants": [rights.grant()] })).await?;
            say!("{}", text(&made["token"]));
            warn_of!("This is the only time it is shown. Revoke it with `hookwright token revoke {}`.", text(&made["id"]));
            Ok(ExitCode::SUCCESS)
        }
        Token::List { json } => {
            let columns = [("ID", "id"), ("USER", "user"), ("CREATED", "created_at"), ("REVOKED", "revoked_at"), ("GRANTS", "grants")];
            Ok(show(&client.get("/tokens").await?, json.json, &columns))
        }
        Token::Change { id, rights } => {
            let wish = json!({ "teams": rights.teams, "grants": [rights.grant()] });
            client.send(Method::PUT, &format!("/tokens/{id}"), Some(&wish)).await?;
            say!("{id} has these rights from now on");
            Ok(ExitCode::SUCCESS)
        }
        Token::Revoke { id } => {
            client.send(Method::DELETE, &format!("/tokens/{id}"), None).await?;
            say!("{id} is worthless from now on");
            Ok(ExitCode::SUCCESS)
        }
    }
}
