//! `user`: people who sign in with a password, or at the OpenID provider.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

use super::manage::show;
use crate::arguments::{Rights, User};
use crate::client::Client;
use crate::output::say;

impl Rights {
    /// The one grant, as the API takes it.
    pub(super) fn grant(&self) -> Value {
        json!({ "role": self.role, "scope": { "webhook": self.webhook, "environment": self.environment } })
    }
}

/// People.
pub(crate) async fn run(client: &Client, user: User) -> Result<ExitCode> {
    match user {
        User::Add { name, rights } => {
            let wish = json!({ "name": name, "password": password()?, "teams": rights.teams, "grants": [rights.grant()] });
            client.send(Method::POST, "/users", Some(&wish)).await?;
            say!("{name} may sign in");
        }
        User::List { json } => {
            let columns =
                [("NAME", "name"), ("SIGNED IN", "signed_in_at"), ("ADDED", "created_at"), ("TEAMS", "teams"), ("GRANTS", "grants")];
            return Ok(show(&client.get("/users").await?, json.json, &columns));
        }
        User::Change { name, rights } => {
            let wish = json!({ "teams": rights.teams, "grants": [rights.grant()] });
            client.send(Method::PUT, &address(&name, ""), Some(&wish)).await?;
            say!("{name} has these rights from now on");
        }
        User::Password { name } => {
            client.send(Method::PUT, &address(&name, "/password"), Some(&json!({ "password": password()? }))).await?;
            say!("the password of {name} is set, and every session is over");
        }
        User::Link { name, subject } => {
            client.send(Method::PUT, &address(&name, "/identity"), Some(&json!({ "subject": subject }))).await?;
            say!("{name} is whom the provider calls {subject}; they come in by signing in there");
        }
        User::Remove { name } => {
            client.send(Method::DELETE, &address(&name, ""), None).await?;
            say!("{name} is removed; revoke tokens of that name with `hookwright token revoke`, if there are any");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn address(name: &str, rest: &str) -> String {
    format!("/users/{}{rest}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// The first line of the standard input: in an argument every user of the machine could read it.
fn password() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read the password from standard input")?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    if line.is_empty() {
        bail!("the password is empty; pipe it in: hookwright user … NAME < password.txt");
    }
    Ok(line)
}
