//! `triggers` and `events`: what starts webhooks, what was received, and delivering it again.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hookwright_core::Clock as _;
use hookwright_trigger::Definitions;
use serde_json::{Value, json};

use crate::arguments::{Events, Replay, SendEvent};
use crate::client::Client;
use crate::configuration::parse_duration;
use crate::output::{self, instant, one_line, plain, say, text};
use crate::system::SystemClock;

/// Characters of a handler's answer that are shown; `--json` has all that is kept.
const ANSWER_SHOWN: usize = 500;

/// The triggers of what is deployed.
pub(crate) async fn triggers(client: &Client, webhook: Option<&str>, json: bool) -> Result<ExitCode> {
    let filter = webhook.map(|name| format!("?webhook={name}")).unwrap_or_default();
    let answer = client.get(&format!("/triggers{filter}")).await?;
    if json {
        output::json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        say!("No trigger is deployed. Declare one under `triggers:` in webhook.yaml and push.");
        return Ok(ExitCode::SUCCESS);
    }
    let row = |trigger: &Value| {
        let local = trigger["address"].as_str().map(|path| format!("{}{path}", client.server));
        let address = trigger["url"].as_str().map(str::to_owned).or(local).unwrap_or_else(|| "-".to_owned());
        vec![
            text(&trigger["webhook"]),
            text(&trigger["environment"]),
            text(&trigger["name"]),
            text(&trigger["source"]),
            text(&trigger["status"]),
            instant(&trigger["last_event_at"]),
            text(&trigger["waiting"]),
            address,
        ]
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    output::table(&["WEBHOOK", "ENVIRONMENT", "TRIGGER", "SOURCE", "STATUS", "LAST EVENT", "WAITING", "ADDRESS"], &rows);
    for trigger in items.iter().filter(|trigger| trigger["steps"].is_string()) {
        let place = format!("{} of {} in {}", text(&trigger["name"]), text(&trigger["webhook"]), text(&trigger["environment"]));
        say!("\n{place} waits for its first event. Until {} knows the address:", text(&trigger["source"]));
        let steps = trigger["steps"].as_str().unwrap_or_default();
        // The daemon names the path alone as long as it is not told its `public_url`; here it is reached under this one.
        let steps = match (trigger["url"].is_null(), trigger["address"].as_str()) {
            (true, Some(path)) => steps.replace(path, &format!("{}{path}", client.server)),
            _ => steps.to_owned(),
        };
        for line in steps.lines() {
            say!("  {}", plain(line));
        }
    }
    for trigger in items.iter().filter(|trigger| trigger["refused"].is_object()) {
        let (place, refused) = (
            format!("{} of {} in {}", text(&trigger["name"]), text(&trigger["webhook"]), text(&trigger["environment"])),
            &trigger["refused"],
        );
        let counts = refused["by_status"].as_array().into_iter().flatten();
        let counts: Vec<String> = counts.map(|one| format!("{}: {}", text(&one["status"]), text(&one["count"]))).collect();
        let counts = if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
        let last = &refused["last"];
        let from = last["from"].as_str().map(|from| format!(" from {}", plain(from))).unwrap_or_default();
        say!(
            "\n{place} refused {} within a day{counts}. The last one came {}{from} and was answered {}: {}",
            text(&refused["last_day"]),
            instant(&last["at"]),
            text(&last["status"]),
            text(&last["reason"])
        );
    }
    for trigger in items.iter().filter(|trigger| trigger["status_reason"].is_string()) {
        say!(
            "\n{} of {} in {}: {}",
            text(&trigger["name"]),
            text(&trigger["webhook"]),
            text(&trigger["environment"]),
            text(&trigger["status_reason"])
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The JSON Schema of an event's payload, or those of all events of a source.
pub(crate) fn schema(source: Option<&str>, kind: Option<&str>) -> Result<Value> {
    let definitions = Definitions::embedded();
    let names = || definitions.names().collect::<Vec<_>>().join(", ");
    let name = source.with_context(|| format!("name an event source: {}", names()))?;
    let definition = definitions.find(name).with_context(|| format!("there is no event source `{name}`; there is {}", names()))?;
    let Some(kind) = kind else {
        return Ok(definition.kinds().filter_map(|kind| Some((kind.to_owned(), definition.event_schema(kind)?))).collect());
    };
    definition.event_schema(kind).with_context(|| {
        let known: Vec<&str> = definition.kinds().collect();
        format!("there is no schema of `{kind}` of {}; there is one of {}", definition.title, known.join(", "))
    })
}

/// Events.
pub(crate) async fn events(client: &Client, events: Events) -> Result<ExitCode> {
    match events.action {
        Some(crate::arguments::EventAction::Show { event, json }) => show(client, &event, json.json).await,
        Some(crate::arguments::EventAction::Replay(replay)) => replay_events(client, &replay).await,
        Some(crate::arguments::EventAction::Send(send)) => send_event(client, &send).await,
        None => list(client, &events).await,
    }
}

async fn list(client: &Client, wish: &Events) -> Result<ExitCode> {
    let limit = wish.limit.to_string();
    let time = |text: &Option<String>| text.as_deref().map(|text| Ok(millis(text)?.to_string())).transpose();
    let (since, until): (Result<Option<String>>, Result<Option<String>>) = (time(&wish.since), time(&wish.until));
    let (since, until) = (since?, until?);
    let pairs = [
        ("webhook", wish.webhook.as_deref()),
        ("environment", wish.environment.as_deref()),
        ("trigger", wish.trigger.as_deref()),
        ("type", wish.kind.as_deref()),
        ("status", wish.status.as_deref()),
        ("payload", wish.payload.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    let answer = client.get(&format!("/events?{query}")).await?;
    if wish.json.json {
        output::json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        say!("No event like that. `hookwright triggers` shows where events are received; `hookwright events send` sends an example.");
        return Ok(ExitCode::SUCCESS);
    }
    let row = |delivery: &Value| {
        vec![
            text(&delivery["event"]),
            instant(&delivery["created_at"]),
            format!("{}/{}/{}", text(&delivery["webhook"]), text(&delivery["environment"]), text(&delivery["trigger"])),
            text(&delivery["type"]),
            if delivery["replay"] == true { format!("{} (replay)", text(&delivery["status"])) } else { text(&delivery["status"]) },
            text(&delivery["attempts"]),
            one_line(&delivery["status_reason"]),
        ]
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    output::table_of_reasons(&["EVENT", "RECEIVED", "FOR", "TYPE", "STATUS", "ATTEMPTS", "REASON"], rows);
    if let (false, Some(last)) = (answer["next_cursor"].is_null(), items.last()) {
        say!("\nThere are more: --limit shows up to 500, and --until {} goes on from here", instant(&last["created_at"]));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, event: &str, json: bool) -> Result<ExitCode> {
    let answer = client.get(&format!("/events/{event}")).await?;
    if json {
        output::json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{} of {}, received {} for {}/{}/{}{}",
        text(&answer["type"]),
        text(&answer["source"]),
        instant(&answer["received_at"]),
        text(&answer["webhook"]),
        text(&answer["environment"]),
        text(&answer["trigger"]),
        if answer["verified"] == true { "" } else { ", not verified" }
    );
    for header in answer["headers"].as_array().map(Vec::as_slice).unwrap_or_default() {
        say!("  {}: {}", text(&header["name"]), text(&header["value"]));
    }
    say!("");
    match answer["body"].as_str() {
        Some(body) => say!("{}", plain(body)),
        None => say!("(a body that is no text; --json has it in base64)"),
    }
    let hidden: Vec<String> = answer["redact"].as_array().into_iter().flatten().map(text).collect();
    match (hidden.is_empty(), answer["redacted"] == true) {
        (true, _) => {}
        (false, false) => say!("\n{} is shown to nobody, and cut out of what is stored once it was delivered", hidden.join(", ")),
        (false, true) => say!("\n{} was cut out of what is stored; a replay is sent without", hidden.join(", ")),
    }
    for part in answer["deliveries"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let delivery = &part["delivery"];
        say!(
            "\n{} in {}: {}{} {}",
            text(&delivery["id"]),
            text(&delivery["environment"]),
            text(&delivery["status"]),
            if delivery["replay"] == true { " (replay)" } else { "" },
            text(&delivery["status_reason"])
        );
        if delivery["status"] == "waiting" && delivery["due_at"].is_number() {
            say!("  next attempt at {}", instant(&delivery["due_at"]));
        }
        for attempt in part["attempts"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let what = attempt["status"].as_u64().map_or_else(|| text(&attempt["error"]), |status| format!("answered {status}"));
            say!(
                "  attempt {} at {}, {} ms: {what}",
                text(&attempt["number"]),
                instant(&attempt["started_at"]),
                text(&attempt["duration_ms"])
            );
            if let Some(answer) = attempt["body"].as_str().filter(|answer| !answer.is_empty()) {
                say!("    {}", plain(answer).chars().take(ANSWER_SHOWN).collect::<String>());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn replay_events(client: &Client, replay: &Replay) -> Result<ExitCode> {
    match (&replay.event, &replay.webhook) {
        (Some(event), None) => {
            let delivery = client.post(&format!("/events/{event}/replay"), &json!({ "environment": replay.to })).await?;
            say!("{event} is delivered again in {}, as {}", text(&delivery["environment"]), text(&delivery["id"]));
            if let Some(note) = delivery["note"].as_str() {
                say!("{}", plain(note));
            }
        }
        (None, Some(webhook)) => {
            let status = if replay.dead { Some("dead") } else { replay.status.as_deref() };
            let wish = json!({ "status": status, "environment": replay.environment, "trigger": replay.trigger, "type": replay.kind, "to": replay.to,
                "since": replay.since.as_deref().map(millis).transpose()?, "until": replay.until.as_deref().map(millis).transpose()? });
            let answer = client.post(&format!("/webhooks/{webhook}/events/replay"), &wish).await?;
            say!("{} deliveries are made again", text(&answer["replayed"]));
            if answer["redacted"].as_u64().is_some_and(|redacted| redacted > 0) {
                say!("{} of them without what their trigger redacts: the stored bodies have lost it", text(&answer["redacted"]));
            }
        }
        _ => bail!("name one event, or a webhook: hookwright events replay EVENT, or hookwright events replay --webhook NAME --dead"),
    }
    Ok(ExitCode::SUCCESS)
}

/// A time, or how long it is ago, in milliseconds since 1970.
fn millis(text: &str) -> Result<i64> {
    if let Some(ago) = parse_duration(text) {
        return Ok(SystemClock::new().now().as_millis() - i64::try_from(ago.as_millis())?);
    }
    let instant: jiff::Timestamp =
        text.parse().with_context(|| format!("`{text}` is no time; write 2026-11-24T08:00:00Z, or 2h or 7d for so long ago"))?;
    Ok(instant.as_millisecond())
}

/// Sends an example event through the front door, as its source would.
async fn send_event(client: &Client, send: &SendEvent) -> Result<ExitCode> {
    let mut set = BTreeMap::new();
    for pair in &send.set {
        let (path, value) = pair.split_once('=').with_context(|| format!("write `--set {pair}=VALUE`"))?;
        set.insert(path.to_owned(), value.to_owned());
    }
    let path = format!("/webhooks/{}/environments/{}/triggers/{}/sample", send.webhook, send.environment, send.trigger);
    let sample = client.post(&path, &json!({ "type": send.event, "set": set })).await?;
    let headers = sample["headers"].as_object().into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let address = format!("{}{}", client.server, text(&sample["path"]));
    let (status, answer) = client.deliver(&address, headers, sample["body"].as_str().unwrap_or_default()).await?;
    if !status.is_success() {
        bail!("the event was refused with {status}: {}", plain(&answer));
    }
    say!("sent to {address}: {status} {}", plain(&answer));
    say!("`hookwright events {}` shows what became of it", send.webhook);
    Ok(ExitCode::SUCCESS)
}
