//! What people decide: promote, approve, reject, override, roll back, and holds. The answer says what happens next.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::read::items;
use crate::arguments::{Decide, Hold, Place};
use crate::client::Client;
use crate::exit;
use crate::output::{paragraph, plain, say, text};

/// How long the gates may take to look at a decision before it is shown as they said before.
const JUDGING: Duration = Duration::from_secs(3);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl From<Place> for Decide {
    fn from(place: Place) -> Self {
        Self { webhook: place.webhook, environment: place.environment, reason: None, release: place.release }
    }
}

/// Promotes, approves, rejects, overrides or rolls back, and says what comes of it.
pub(crate) async fn act(client: &Client, action: &str, what: &Decide) -> Result<ExitCode> {
    // Why it cannot be read is what the decision is answered with.
    let before = promotions(client, what).await.unwrap_or_default();
    let path = format!("/webhooks/{}/environments/{}/{action}", what.webhook, what.environment);
    let promotion = client.post(&path, &json!({ "release": what.release, "reason": what.reason })).await?;
    let note = promotion["note"].as_str().map(plain);
    let promotion = judged(client, what, promotion, &before).await?;
    say!("{}", outcome(action, what, note.as_deref(), &promotion));
    Ok(if is_failed(&promotion) { ExitCode::from(exit::FAILED) } else { ExitCode::SUCCESS })
}

/// The newest promotions into the environment.
async fn promotions(client: &Client, what: &Decide) -> Result<Value> {
    client.get(&format!("/promotions?webhook={}&environment={}&limit=50", what.webhook, what.environment)).await
}

fn find<'a>(list: &'a Value, promotion: &Value) -> Option<&'a Value> {
    items(list).iter().find(|known| known["id"] == promotion["id"])
}

/// The promotion once its gates have looked at the decision.
async fn judged(client: &Client, what: &Decide, mut promotion: Value, before: &Value) -> Result<Value> {
    let verdicts = find(before, &promotion).map(|before| before["verdicts"].clone());
    let until = Instant::now() + JUDGING;
    loop {
        let is_new = promotion["verdicts"].as_array().is_some_and(|verdicts| !verdicts.is_empty());
        let is_looked_at = is_new && verdicts.as_ref() != Some(&promotion["verdicts"]) && obstacle(&promotion).is_some();
        if promotion["status"] != "waiting" || is_looked_at || Instant::now() > until {
            return Ok(promotion);
        }
        tokio::time::sleep(LOOK).await;
        let list = promotions(client, what).await?;
        if let Some(known) = find(&list, &promotion) {
            promotion = known.clone();
        }
    }
}

/// The gate that decides, when one is in the way: a block, else a wait.
pub(super) fn obstacle(promotion: &Value) -> Option<&Value> {
    let verdicts = promotion["verdicts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |kind: &str| verdicts.iter().find(|gate| gate["verdict"]["kind"] == kind);
    of("block").or_else(|| of("wait"))
}

/// Whether nothing came of it.
pub(super) fn is_failed(promotion: &Value) -> bool {
    matches!(promotion["status"].as_str(), Some("failed" | "errored"))
}

/// What a gate waits for, and what moves it.
pub(super) fn wait_of(gate: &Value) -> String {
    let verdict = &gate["verdict"];
    format!("{}\n    {}", paragraph(&verdict["reason"]), paragraph(&verdict["unblock"]))
}

/// Who said yes so far, in the words of the gate.
fn approvals(promotion: &Value) -> Option<String> {
    let verdicts = promotion["verdicts"].as_array().into_iter().flatten();
    let gate =
        verdicts.filter(|gate| gate["gate"] == "approvals" && gate["verdict"]["kind"] == "pass").map(|gate| &gate["verdict"]["reason"]);
    gate.filter_map(Value::as_str).find(|reason| reason.starts_with("approved by")).map(|reason| text(&json!(reason)))
}

fn outcome(action: &str, what: &Decide, note: Option<&str>, promotion: &Value) -> String {
    let Decide { webhook, environment, .. } = what;
    let release = text(&promotion["release"]);
    let done = match action {
        "approve" => match note {
            Some(note) => note.to_owned(),
            None => approvals(promotion).unwrap_or_else(|| "your approval is noted".to_owned()),
        },
        "override" => "overridden".to_owned(),
        "rollback" => format!("{environment} is held, so that nothing else arrives by itself"),
        _ => String::new(),
    };
    let done = if done.is_empty() { done } else { format!("{done}; ") };
    match promotion["status"].as_str().unwrap_or_default() {
        "succeeded" => format!("{done}{release} of {webhook} is live in {environment}"),
        "canceled" if action == "reject" => format!("rejected; {release} of {webhook} does not go to {environment}"),
        "failed" | "errored" | "canceled" | "superseded" => {
            let (status, reason) = (text(&promotion["status"]), paragraph(&promotion["status_reason"]));
            format!("{done}{release} of {webhook} is not live in {environment}, {status}: {reason}")
        }
        status => match obstacle(promotion).filter(|_| status == "waiting") {
            Some(gate) => format!("{done}{release} of {webhook} still waits for {environment}: {}", wait_of(gate)),
            None => {
                format!("{done}{release} of {webhook} goes to {environment} now; `hookwright status {webhook} --wait` says when it is live")
            }
        },
    }
}

/// Sets or ends a hold.
pub(crate) async fn hold(client: &Client, hold: Hold) -> Result<ExitCode> {
    let path = |webhook: &str, environment: &str| format!("/webhooks/{webhook}/environments/{environment}/hold");
    match hold {
        Hold::Set { webhook, environment, reason } => {
            client.send(Method::PUT, &path(&webhook, &environment), Some(&json!({ "reason": reason }))).await?;
            say!("{webhook} is held in {environment}; end it with: hookwright hold end {webhook} {environment}");
        }
        Hold::End { webhook, environment } => {
            client.send(Method::DELETE, &path(&webhook, &environment), None).await?;
            say!("{webhook} is not held in {environment} any more; what waits goes on as its other gates say");
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promotion(status: &str, approvals: (&str, &str)) -> Value {
        let gate = |gate: &str, (kind, reason): (&str, &str)| json!({ "gate": gate, "verdict": { "kind": kind, "reason": reason, "unblock": "do this" } });
        json!({ "release": "rel-1", "status": status, "verdicts": [gate("config", ("pass", "all")), gate("approvals", approvals)] })
    }

    #[test]
    fn a_decision_is_answered_with_what_happens_next() {
        let what = Decide { webhook: "shop".into(), environment: "production".into(), reason: None, release: None };
        let says = |action: &str, promotion: Value| outcome(action, &what, None, &promotion);
        let half = says("approve", promotion("waiting", ("wait", "1 of 2 approvals; it may be given by anyone")));
        assert_eq!(
            half,
            "your approval is noted; rel-1 of shop still waits for production: 1 of 2 approvals; it may be given by anyone\n    do this"
        );
        let again = outcome(
            "approve",
            &what,
            Some("you have approved already; one more person is needed"),
            &promotion("waiting", ("wait", "1 of 2")),
        );
        assert!(again.starts_with("you have approved already; one more person is needed; rel-1 of shop still waits"), "{again}");
        let whole = says("approve", promotion("waiting", ("pass", "approved by otto, rosa")));
        assert!(whole.starts_with("approved by otto, rosa; rel-1 of shop goes to production now"), "{whole}");
        assert_eq!(says("promote", promotion("succeeded", ("pass", "no approval is asked for"))), "rel-1 of shop is live in production");
        assert_eq!(says("reject", promotion("canceled", ("wait", "0 of 1"))), "rejected; rel-1 of shop does not go to production");
    }
}
