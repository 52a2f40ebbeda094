//! Names and ids on the command line. What cannot be one is refused before anything is asked of the daemon, with how the right ones are listed;
//! what is accepted can stand in an address as it is.

use std::fmt::Display;

use hookwright_core::{ConfigName, EnvironmentName, EventId, ReleaseId, RepositoryName, TokenId, TriggerName, WebhookName};
use reqwest::Url;

/// A text as it was given, if `read` takes it.
fn checked<T, E: Display>(text: &str, read: impl FnOnce(&str) -> Result<T, E>, list: &str) -> Result<String, String> {
    read(text).map(|_| text.to_owned()).map_err(|error| format!("{error}; {list}"))
}

/// The name of a webhook.
pub(crate) fn webhook(text: &str) -> Result<String, String> {
    checked(text, str::parse::<WebhookName>, of("webhooks"))
}

/// The name of an environment.
pub(crate) fn environment(text: &str) -> Result<String, String> {
    checked(text, str::parse::<EnvironmentName>, "`hookwright status WEBHOOK` lists the environments of a webhook")
}

/// The name of a trigger.
pub(crate) fn trigger(text: &str) -> Result<String, String> {
    checked(text, str::parse::<TriggerName>, "`hookwright triggers` lists those there are")
}

/// The id of an event.
pub(crate) fn event(text: &str) -> Result<String, String> {
    checked(text, str::parse::<EventId>, of("events"))
}

/// The id of a token.
pub(crate) fn token(text: &str) -> Result<String, String> {
    checked(text, str::parse::<TokenId>, of("tokens"))
}

/// The id of a release.
pub(crate) fn release(text: &str) -> Result<String, String> {
    checked(text, str::parse::<ReleaseId>, "`hookwright releases` lists those there are")
}

/// The name of a repository.
pub(crate) fn repository(text: &str) -> Result<String, String> {
    checked(text, str::parse::<RepositoryName>, of("repositories"))
}

/// The name of a secret.
pub(crate) fn secret(text: &str) -> Result<String, String> {
    checked(text, str::parse::<ConfigName>, of("secrets"))
}

/// Whose name it is.
pub(crate) fn user(text: &str) -> Result<String, String> {
    // A provider's people may be called nearly anything, which is percent-encoded; these mean another address however they are written.
    let is_name = !matches!(text, "" | "." | "..");
    checked(text, |text| if is_name { Ok(()) } else { Err(format!("`{text}` is nobody's name")) }, of("users"))
}

/// How those are listed that stand behind this part of an address of the API.
fn of(part: &str) -> &'static str {
    match part {
        "events" => "`hookwright events` lists those there are",
        "tokens" => "`hookwright token list` lists those there are",
        "users" => "`hookwright user list` lists those there are",
        "repositories" => "`hookwright repo list` lists those there are",
        "secrets" => "`hookwright secret list WEBHOOK ENVIRONMENT` lists those there are",
        "runs" => "`hookwright runs` lists those there are",
        "triggers" => "`hookwright triggers` lists those there are",
        _ => "`hookwright status` lists those there are",
    }
}

/// What to look for when something at this address of the API is not there.
pub(crate) fn how_to_list(url: &Url) -> Option<&'static str> {
    const PARTS: [&str; 8] = ["secrets", "triggers", "events", "tokens", "users", "repositories", "runs", "webhooks"];
    let parts: Vec<&str> = url.path().trim_start_matches("/api/v1/").split('/').collect();
    let names_one = |part: &&str| parts.iter().rposition(|known| known == part).is_some_and(|at| at + 1 < parts.len());
    let filters = url.query_pairs().any(|(name, _)| name == "webhook");
    PARTS.into_iter().find(names_one).or(filters.then_some("webhooks")).map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the functions above.
    type Kind = fn(&str) -> Result<String, String>;

    #[test]
    fn what_would_be_another_address_is_no_name_and_is_told_how_the_right_ones_are_listed() {
        let kinds: [(Kind, &str, &str); 8] = [
            (webhook, "shop", "`hookwright status`"),
            (environment, "production", "`hookwright status WEBHOOK`"),
            (trigger, "issues", "`hookwright triggers`"),
            (event, "evt_0190a0b0c0d0e0f0a0b0c0d0e0f0a0b0", "`hookwright events`"),
            (token, "tok_0190a0b0c0d0e0f0a0b0c0d0e0f0a0b0", "`hookwright token list`"),
            (release, "rel-0123456789abcdef", "`hookwright releases`"),
            (repository, "shop", "`hookwright repo list`"),
            (secret, "API_TOKEN", "`hookwright secret list"),
        ];
        for (kind, good, list) in kinds {
            assert_eq!(kind(good).as_deref(), Ok(good));
            for bad in ["", ".", "..", "a/b", "../tokens", "a b", "%2f", "a?x=1", "a&limit=1", "a#b", "\u{1b}[31m"] {
                let said = kind(bad).expect_err(bad);
                assert!(said.starts_with(&format!("`{bad}` ")) && said.contains(list), "{bad}: {said}");
            }
        }
        assert!(user("rosa@acme.example").is_ok() && user("acme/rosa").is_ok());
        assert!(user("..").is_err_and(|said| said.contains("`hookwright user list`")));
    }

    #[test]
    fn an_address_says_what_was_looked_for() {
        let url = |path: &str| format!("http://127.0.0.1{path}").parse::<Url>().expect("an address");
        for (path, list) in [
            ("/api/v1/tokens/tok_1", "token list"),
            ("/api/v1/events/evt_1/replay", "hookwright events"),
            ("/api/v1/webhooks/shop/environments/production/secrets/A", "secret list"),
            ("/api/v1/webhooks/shop/environments/production/secrets", "hookwright status"),
            ("/api/v1/runs/run_1/retry", "hookwright runs"),
            ("/api/v1/events?limit=50&webhook=shop", "hookwright status"),
        ] {
            assert!(how_to_list(&url(path)).is_some_and(|said| said.contains(list)), "{path}");
        }
        assert_eq!(how_to_list(&url("/api/v1/audit")), None);
    }
}
