//! Which run somebody means: its id, or its webhook and its number, as `runs` shows both.

use anyhow::Result;
use hookwright_core::{RunId, WebhookName};
use serde_json::Value;

use super::read::items;
use crate::client::Client;
use crate::exit::Misused;
use crate::output::text;

/// How many runs are looked through at once; more than the API hands out at once is refused.
const PAGE: u64 = 500;

/// A run as it is named on the command line.
#[derive(Clone, Copy)]
pub(crate) struct RunName<'a> {
    /// A run's id, or a webhook.
    pub(crate) subject: &'a str,
    /// The number of the webhook's run; left out, the newest one.
    pub(crate) number: Option<u64>,
}

impl RunName<'_> {
    /// Whether it is a run's id, which takes no number.
    pub(crate) fn is_id(&self) -> bool {
        self.subject.parse::<RunId>().is_ok()
    }
}

/// A run's number, `2` or `#2`.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.strip_prefix('#').unwrap_or(text).parse().ok()
}

/// The run as the API shows it.
pub(crate) async fn run(client: &Client, name: RunName<'_>) -> Result<Value> {
    let RunName { subject, number } = name;
    if name.is_id() {
        return client.get(&format!("/runs/{subject}")).await;
    }
    if WebhookName::new(subject).is_err() {
        return Err(unknown(subject));
    }
    let mut cursor = String::new();
    loop {
        // The newest come first, and numbers count up.
        let limit = if number.is_some() { PAGE } else { 1 };
        let page = client.get(&format!("/runs?webhook={subject}&limit={limit}{cursor}")).await?;
        let found = match number {
            Some(number) => items(&page).iter().find(|run| run["number"] == number),
            None => items(&page).first(),
        };
        if let Some(run) = found {
            return client.get(&format!("/runs/{}", text(&run["id"]))).await;
        }
        if items(&page).is_empty() && cursor.is_empty() {
            return Err(unknown(subject));
        }
        match (page["next_cursor"].as_str(), number) {
            (Some(next), Some(_)) => cursor = format!("&cursor={next}"),
            (_, number) => {
                let number = number.map(|number| format!("#{number}")).unwrap_or_default();
                anyhow::bail!("there is no run {number} of `{subject}`; `hookwright runs {subject}` shows those there are");
            }
        }
    }
}

/// What is accepted, for whoever gave something else.
fn unknown(subject: &str) -> anyhow::Error {
    Misused(format!(
        "`{subject}` is neither the whole id of a run nor a webhook with runs; give WEBHOOK NUMBER, such as `shop 2`, or the id of 36 characters: \
         `hookwright runs` shows both"
    ))
    .into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_number_may_be_written_as_it_is_shown() {
        assert_eq!(super::number("#2"), Some(2));
        assert_eq!(super::number("12"), Some(12));
        assert_eq!(super::number("compile"), None);
    }
}
