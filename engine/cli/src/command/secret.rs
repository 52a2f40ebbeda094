//! `secret`: set, rotated, listed by name, removed. One that nothing asks for is set, and that is said: it may be asked for by what is pushed next.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::manage::show;
use super::read::items;
use crate::arguments::Secret;
use crate::client::{Client, Refused};
use crate::output::{say, text, warn_of};

/// The environment of build secrets.
const BUILD: &str = "build";

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
pub(crate) async fn run(client: &Client, secret: Secret) -> Result<ExitCode> {
    let base = |webhook: &str, environment: &str| format!("/webhooks/{webhook}/environments/{environment}/secrets");
    match secret {
        Secret::Set { webhook, environment, name } => {
            let value = read_secret()?;
            client.send(Method::PUT, &format!("{}/{name}", base(&webhook, &environment)), Some(&json!({ "value": value }))).await?;
            say!("{name} is set for {webhook} in {environment}");
            for line in unasked(client, (&webhook, &environment), &name).await.unwrap_or_default() {
                warn_of!("{line}");
            }
            let shortest = hookwright_runtime::SHORTEST_MASK;
            if value.len() < shortest {
                warn_of!(
                    "its value is shorter than {shortest} bytes and is not hidden in logs; choose a longer one if it is to stay secret"
                );
            }
            Ok(ExitCode::SUCCESS)
        }
        Secret::Rotate { webhook, environment, name, hours } => {
            let value = json!({ "value": read_secret()?, "previous_seconds": u64::from(hours) * 3600 });
            client.send(Method::PUT, &format!("{}/{name}", base(&webhook, &environment)), Some(&value)).await?;
            say!("{name} is set for {webhook} in {environment}; signatures made with the value before it are accepted for {hours} hours");
            Ok(ExitCode::SUCCESS)
        }
        Secret::List { webhook, environment, json } => {
            Ok(show(&client.get(&base(&webhook, &environment)).await?, json.json, &[("NAME", "name")]))
        }
        Secret::Remove { webhook, environment, name } => {
            client.send(Method::DELETE, &format!("{}/{name}", base(&webhook, &environment)), None).await?;
            say!("{name} is removed from {webhook} in {environment}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What is to be said of a secret that nothing asks for: of a webhook, an environment or a name that nobody knows.
async fn unasked(client: &Client, (webhook, environment): (&str, &str), name: &str) -> Result<Vec<String>> {
    let known = match client.get(&format!("/webhooks/{webhook}")).await {
        Ok(known) => known,
        Err(error) => {
            let is_unknown = matches!(error.downcast_ref(), Some(Refused::Answered { status: StatusCode::NOT_FOUND, .. }));
            if !is_unknown {
                return Err(error);
            }
            let list = client.get("/webhooks?limit=500").await?;
            let names: Vec<String> = items(&list).iter().map(|webhook| text(&webhook["name"])).collect();
            return Ok(vec![format!("there is no webhook `{webhook}` yet{}", suggestion(webhook, &names, "there is"))]);
        }
    };
    Ok(unasked_of(&known, environment, name).into_iter().collect())
}

/// The same of a webhook that is known, as the default branch has it.
fn unasked_of(webhook: &Value, environment: &str, name: &str) -> Option<String> {
    let texts = |list: &Value| list.as_array().into_iter().flatten().map(text).collect::<Vec<String>>();
    let called = text(&webhook["name"]);
    let environments: Vec<String> = webhook["environments"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| one["declared"] != false)
        .map(|one| text(&one["name"]))
        .collect();
    let (names, asks) = match environment {
        BUILD => (texts(&webhook["build_secrets"]), "no stage of"),
        _ => (texts(&webhook["secrets"]), "nothing of"),
    };
    if environment != BUILD && !environments.iter().any(|known| known == environment) {
        let known: Vec<String> = environments.into_iter().chain([BUILD.to_owned()]).collect();
        return Some(format!("`{called}` has no environment `{environment}`{}", suggestion(environment, &known, "there is")));
    }
    let is_asked_for = names.iter().any(|known| known == name);
    (!is_asked_for).then(|| format!("{asks} `{called}` asks for `{name}`{}", suggestion(name, &names, "it asks for")))
}

/// The nearest of the names that there are, or all of them.
fn suggestion(word: &str, names: &[String], intro: &str) -> String {
    let nearest = names.iter().map(|name| (strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase()), name)).min();
    let nearest = nearest.filter(|(distance, name)| *distance <= 1 + name.len() / 3).map(|(_, name)| format!("did you mean `{name}`?"));
    match (nearest, names) {
        (nearest, []) => nearest.map(|nearest| format!("; {nearest}")).unwrap_or_default(),
        (Some(nearest), [_]) => format!("; {nearest}"),
        (Some(nearest), names) => format!("; {nearest} ({intro} {})", names.join(", ")),
        (None, names) => format!("; {intro} {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> Value {
        json!({ "name": "gh-titles", "secrets": ["GITHUB_SECRET", "TOKEN"], "build_secrets": ["NPM_TOKEN"],
            "environments": [{ "name": "development" }, { "name": "production" }] })
    }

    #[test]
    fn a_secret_that_nothing_asks_for_is_told_with_the_nearest_name() {
        let says = |environment: &str, name: &str| unasked_of(&webhook(), environment, name);
        assert_eq!(
            says("development", "GITHUB_SECRT").as_deref(),
            Some("nothing of `gh-titles` asks for `GITHUB_SECRT`; did you mean `GITHUB_SECRET`? (it asks for GITHUB_SECRET, TOKEN)")
        );
        assert_eq!(
            says("prodction", "TOKEN").as_deref(),
            Some("`gh-titles` has no environment `prodction`; did you mean `production`? (there is development, production, build)")
        );
        assert_eq!(says("build", "PASSWORD").as_deref(), Some("no stage of `gh-titles` asks for `PASSWORD`; it asks for NPM_TOKEN"));
        assert_eq!(says("build", "NPM_TOKEN"), None);
        assert_eq!(says("production", "TOKEN"), None);
    }
}
