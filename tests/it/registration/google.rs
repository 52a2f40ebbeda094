//! Google Calendar: channels that are opened, replaced before they end, and closed. The server allows what the API's own description allows.

use hookwright_testkit::{Daemon, DaemonOptions, MovedClock, WorkingCopy};
use serde_json::{Value, json};

use super::faults::says;
use super::{BINARY, Forge, trigger_in};

const SERVER: &str = include_str!("google.py");

/// Google's own description of what is called.
const DISCOVERY: &str = include_str!("../../fixtures/google-calendar/calendar.v3.json");

const SERVICE_ACCOUNT: &str = include_str!("../../fixtures/google-calendar/service-account.json");

const MEETINGS: &str =
    "triggers:\n  issues: { source: google-calendar, calendar: team@group.calendar.google.com, deliver: { path: /meetings } }\n";

fn google() -> Forge {
    let description = serde_json::to_string(DISCOVERY).expect("a text");
    Forge::of(&format!("import json\nDISCOVERY = json.loads({description})\n{SERVER}"))
}

fn known_to(forge: &Forge, options: DaemonOptions) -> DaemonOptions {
    let file = SERVICE_ACCOUNT.replace("https://oauth2.googleapis.com", &forge.address);
    options
        .variable("HOOKWRIGHT_PROVIDERS_GOOGLE_CALENDAR_CREDENTIALS", &file)
        .variable("HOOKWRIGHT_PROVIDERS_GOOGLE_CALENDAR_API", &forge.address)
        .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com")
}

fn spec(triggers: &str) -> String {
    format!("version: 1\nname: shop\nhandler: {{ command: [sh, -c, exec python3 -m http.server $PORT] }}\n{triggers}")
}

fn pushed(daemon: &Daemon) -> WorkingCopy {
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", &spec(MEETINGS)).commit("Begin");
    copy.push(daemon, "shop");
    copy
}

fn channels(state: &Value) -> Vec<String> {
    state["channels"].as_object().expect("channels").keys().cloned().collect()
}

/// Has Google send that something changed; returns how the daemon answered.
async fn send(forge: &Forge, daemon: &Daemon, (channel, number): (&str, u64), with: Value) -> u64 {
    forge.change(json!({ "sync_to": daemon.address() })).await;
    let message = json!({ "message": { "channel": channel, "number": number, "with": with } });
    let answer = reqwest::Client::new().post(format!("{}/_", forge.address)).json(&message).send().await.expect("an answer");
    answer.json::<Value>().await.expect("JSON")["status"].as_u64().expect("a status")
}

async fn until_channels(daemon: &Daemon, forge: &Forge, what: &str, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
    let look = async |_: &Daemon| {
        let found = channels(&forge.state().await);
        fits(&found).then_some(found)
    };
    daemon.until(what, look).await
}

#[tokio::test]
async fn a_calendar_is_watched_through_a_channel_whose_messages_alone_are_taken() {
    let forge = google();
    let daemon = Daemon::start_with(known_to(&forge, DaemonOptions::new(BINARY))).await;
    forge.change(json!({ "sync_to": daemon.address(), "number": true })).await;
    let copy = pushed(&daemon);
    trigger_in(&daemon, "active").await;
    let known = async |daemon: &Daemon| daemon.get("/api/v1/triggers").await["items"][0]["expires_at"].is_number().then_some(());
    daemon.until("its end to be known", known).await;
    let state = forge.state().await;
    // The first message is sent before the call that opens the channel is answered. Whether the route is there already is no matter of the channel.
    assert!(state["sync"] == json!([200]) || state["sync"] == json!([404]), "{state}");
    let channel = channels(&state)[0].clone();
    let token = state["channels"][&channel]["token"].as_str().expect("a token").to_owned();
    assert!(token.len() >= 32, "128 bits at least: {token}");

    let routed = async |daemon: &Daemon| (send(&forge, daemon, (&channel, 2), json!({})).await == 200).then_some(());
    daemon.until("a message to be taken", routed).await;
    for (with, what) in [
        (json!({ "token": "guessed" }), "another token"),
        (json!({ "id": "11111111-2222-3333-4444-555555555555" }), "a channel that is not open"),
        (json!({ "resourceId": "something-else" }), "another calendar"),
    ] {
        assert_eq!(send(&forge, &daemon, (&channel, 3), with).await, 401, "{what}");
    }
    let list = daemon.get("/api/v1/events?webhook=shop&type=exists").await;
    let event = daemon.get(&format!("/api/v1/events/{}", list["items"][0]["event"].as_str().expect("an event"))).await;
    assert_eq!((&event["source_id"], &event["verified"]), (&json!(format!("{channel}/2")), &json!(true)));
    assert!(!event.to_string().contains(&token) && !daemon.log().contains(&token), "the token is nobody's to see");

    copy.write("webhook.yaml", &spec("")).commit("Watch no more");
    copy.push(&daemon, "shop");
    until_channels(&daemon, &forge, "the channel to be closed", <[String]>::is_empty).await;
    let state = forge.state().await;
    assert_eq!((&state["wrong"], &state["calls"]), (&json!([]), &json!(["watch", "stop"])));
    assert_eq!(state["grants"].as_array().map(Vec::len), Some(1), "a token is kept until it ends: {state}");
}

#[tokio::test]
async fn a_channel_is_replaced_before_it_ends_and_both_are_taken_until_the_old_one_is_closed() {
    let forge = google();
    let clock = MovedClock::new();
    let mut daemon = Daemon::start_with(known_to(&forge, clock.options(BINARY))).await;
    let _copy = pushed(&daemon);
    trigger_in(&daemon, "active").await;
    let first = channels(&forge.state().await)[0].clone();
    let ends = daemon.get("/api/v1/triggers").await["items"][0]["expires_at"].as_u64().expect("its end");

    forge.change(json!({ "offset": 5 * 24 * 3_600_000_u64 })).await;
    clock.jump("+5d");
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
    assert_eq!(channels(&forge.state().await), std::slice::from_ref(&first), "two days are left");

    let (days, hours) = (6 * 24 * 3_600_000_u64, 3_600_000_u64);
    forge.change(json!({ "offset": days + hours, "stop_answer": 500 })).await;
    clock.jump("+145h");
    let both = until_channels(&daemon, &forge, "a second channel", |found| found.len() == 2).await;
    let second = both.iter().find(|id| **id != first).expect("a new one").clone();
    // Google knows of it before the daemon has written down that it does; a daemon that is killed between the two asks for another one.
    let opened = async |daemon: &Daemon| {
        let until = daemon.get("/api/v1/triggers").await["items"][0]["expires_at"].as_u64()?;
        (until > ends).then_some(())
    };
    daemon.until("the second channel to be written down", opened).await;
    for channel in [&first, &second] {
        let routed = async |daemon: &Daemon| (send(&forge, daemon, (channel, 7), json!({})).await == 200).then_some(());
        daemon.until("a message through either", routed).await;
    }
    assert_eq!(forge.state().await["calls"], json!(["watch", "watch"]), "the old one outlives the opening of the new one");
    forge.change(json!({ "stop_answer": Value::Null })).await;
    daemon.kill();
    daemon.restart().await;
    until_channels(&daemon, &forge, "the old one to be closed", |found| found == [second.clone()]).await;
    assert_eq!(forge.state().await["wrong"], json!([]));
}

/// Starts the daemon anew, so many minutes from now, by its clock and by Google's: it looks at once what has changed.
async fn begins_anew(forge: &Forge, (daemon, clock): (&mut Daemon, &MovedClock), minutes: u64) {
    forge.change(json!({ "offset": minutes * 60_000 })).await;
    clock.jump(&format!("+{minutes}m"));
    daemon.kill();
    daemon.restart().await;
}

/// An event of the calendar as a list has it, changed at a time in milliseconds.
fn changed(number: usize, at: Option<u64>) -> Value {
    let mut event = json!({ "id": format!("event-{number}") });
    if let Some(at) = at {
        let at = i64::try_from(at).expect("a time");
        event["updated"] = jiff::Timestamp::from_millisecond(at).expect("a time").to_string().into();
    }
    event
}

/// Events of the calendar that the daemon has taken in, the newest first.
async fn told(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/api/v1/events?webhook=shop&type=exists").await["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_change_of_which_no_message_came_is_found_and_told_and_one_that_was_told_is_not_told_twice() {
    let forge = google();
    let clock = MovedClock::new();
    let mut daemon = Daemon::start_with(known_to(&forge, clock.options(BINARY))).await;
    forge.change(json!({ "changes": [changed(1, None), changed(2, None), changed(3, None)], "page": 2 })).await;
    let _copy = pushed(&daemon);
    trigger_in(&daemon, "active").await;
    let listed = async |_: &Daemon| forge.state().await["lists"].as_array().is_some_and(|lists| lists.len() >= 2).then_some(());
    daemon.until("where changes are listed from to be known", listed).await;
    let marks = |state: &Value| state["lists"].as_array().expect("lists").iter().map(|list| list["mark"].clone()).collect::<Vec<_>>();
    assert_eq!(marks(&forge.state().await), [Value::Null, Value::Null], "the first list is read to its end, page by page");
    let is_kept = async |daemon: &Daemon| daemon.log().contains("are found from now on").then_some(());
    daemon.until("that to be kept: who is killed before lists from nowhere again", is_kept).await;
    assert_eq!(told(&daemon).await.len(), 0, "what was there before is no change");

    // A message comes, and what it was about is listed too.
    let channel = channels(&forge.state().await)[0].clone();
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).expect("a time");
    forge.change(json!({ "changes": [changed(1, None), changed(2, None), changed(3, None), changed(4, Some(now))] })).await;
    let routed = async |daemon: &Daemon| (send(&forge, daemon, (&channel, 2), json!({})).await == 200).then_some(());
    daemon.until("a message to be taken", routed).await;
    begins_anew(&forge, (&mut daemon, &clock), 11).await;
    let lists = async |_: &Daemon| marks(&forge.state().await).contains(&json!("mark=3")).then_some(());
    daemon.until("the next list", lists).await;

    // Another one is changed, and no message comes.
    let later = now + 11 * 60_000;
    let changes = [changed(1, None), changed(2, None), changed(3, None), changed(4, Some(now)), changed(5, Some(later))];
    forge.change(json!({ "changes": changes })).await;
    begins_anew(&forge, (&mut daemon, &clock), 22).await;
    let found = async |daemon: &Daemon| (told(daemon).await.len() == 2).then_some(());
    daemon.until("the lost message to be made up for", found).await;
    let events = told(&daemon).await;
    let event = daemon.get(&format!("/api/v1/events/{}", events[0]["event"].as_str().expect("an event"))).await;
    let header = |name: &str| {
        let found = event["headers"].as_array().expect("headers").iter().find(|header| header["name"].as_str() == Some(name)).cloned();
        found.map(|header| header["value"].clone())
    };
    assert_eq!(header("x-hookwright-caught-up"), Some(json!("true")), "{event}");
    let uri = "https://www.googleapis.com/calendar/v3/calendars/team%40group%2Ecalendar%2Egoogle%2Ecom/events?alt=json";
    assert_eq!((header("x-goog-channel-id"), header("x-goog-resource-uri")), (Some(json!(channel)), Some(json!(uri))), "{event}");
    assert_eq!(event["verified"], json!(true));

    // The source forgets the mark: what has changed since is not known, so that it is told once that something may have.
    forge.change(json!({ "oldest_mark": 9 })).await;
    begins_anew(&forge, (&mut daemon, &clock), 33).await;
    let found = async |daemon: &Daemon| (told(daemon).await.len() == 3).then_some(());
    daemon.until("the gap to be told", found).await;
    forge.change(json!({ "oldest_mark": 0 })).await;
    let before = marks(&forge.state().await).len();
    begins_anew(&forge, (&mut daemon, &clock), 44).await;
    let listed = async |_: &Daemon| (marks(&forge.state().await).len() > before).then_some(());
    daemon.until("one more list", listed).await;
    assert_eq!(told(&daemon).await.len(), 3, "and nothing is told of what did not change");
    assert_eq!(forge.state().await["wrong"], json!([]));
}

#[tokio::test]
async fn a_crash_around_the_opening_leaves_one_channel() {
    for place in ["after:channel.created", "before:channel.opened", "after:channel.opened"] {
        let forge = google();
        let options = known_to(&forge, DaemonOptions::new(BINARY)).variable("HOOKWRIGHT_FAILPOINT", place);
        let mut daemon = Daemon::start_with(options).await;
        let _copy = pushed(&daemon);
        daemon.ended().await;
        daemon.unset("HOOKWRIGHT_FAILPOINT");
        daemon.restart().await;
        trigger_in(&daemon, "active").await;
        let left = until_channels(&daemon, &forge, place, |found| found.len() == 1).await;
        let routed = async |daemon: &Daemon| (send(&forge, daemon, (&left[0], 2), json!({})).await == 200).then_some(());
        daemon.until("its messages to be taken", routed).await;
        assert_eq!(forge.state().await["wrong"], json!([]), "{place}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_one_channel() {
    let forge = google();
    forge.change(json!({ "lose_answer": true })).await;
    let mut daemon = Daemon::start_with(known_to(&forge, DaemonOptions::new(BINARY))).await;
    let _copy = pushed(&daemon);
    says(&daemon, "cannot be reached").await;
    forge.change(json!({ "lose_answer": false })).await;
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
    until_channels(&daemon, &forge, "one channel", |found| found.len() == 1).await;
    assert_eq!(forge.state().await["wrong"], json!([]));
}

#[tokio::test]
async fn what_google_refuses_is_said_and_a_person_s_refresh_token_serves_as_well() {
    let forge = google();
    forge.change(json!({ "answer": 404 })).await;
    let file = json!({ "type": "authorized_user", "client_id": "app-1", "client_secret": "app-secret", "refresh_token": "1//refresh",
        "token_uri": format!("{}/token", forge.address) });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.json");
    std::fs::write(&path, file.to_string()).expect("a written file");
    let options = DaemonOptions::new(BINARY)
        .variable("HOOKWRIGHT_PROVIDERS_GOOGLE_CALENDAR_CREDENTIALS", &path.to_string_lossy())
        .variable("HOOKWRIGHT_PROVIDERS_GOOGLE_CALENDAR_API", &forge.address)
        .variable("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com");
    let mut daemon = Daemon::start_with(options).await;
    let _copy = pushed(&daemon);
    let past = json!({ "lie": { "expiration": "1000" } });
    for (fault, words) in [
        (json!({ "answer": 404 }), "knows no calendar `team@group.calendar.google.com`"),
        (json!({ "answer": 400 }), "refuses the hook with 400"),
        (json!({ "answer": 401 }), "does not take the token"),
        (json!({ "answer": "403 forbidden" }), "It needs the scope calendar.events.readonly"),
        (json!({ "answer": "403 rateLimitExceeded" }), "has had enough"),
        (json!({ "answer": 409 }), "refuses the hook with 409"),
        (json!({ "answer": 422 }), "refuses the hook with 422"),
        (json!({ "answer": 429 }), "has had enough"),
        (json!({ "answer": 500 }), "answered 500"),
        (json!({ "answer": "flood" }), "answers with more than"),
        (json!({ "answer": "silence" }), "does not answer in time"),
        (json!({ "answer": Value::Null, "token_answer": 400 }), "does not take the credentials (`invalid_grant`)"),
        (json!({ "token_answer": 503 }), "answered 503 Service Unavailable when it was asked for a token"),
        (json!({ "token_answer": Value::Null, "lie": { "id": "another" } }), "answers with another channel"),
        (json!({ "lie": { "resourceId": Value::Null } }), "does not say what the channel watches"),
        (json!({ "lie": { "expiration": "soon" } }), "does not say when the channel ends"),
        (past, "is the clock right?"),
    ] {
        forge.change(fault).await;
        daemon.kill();
        daemon.restart().await;
        says(&daemon, words).await;
    }
    // What it opened while it lied is there and known by nobody; it is replaced and closed.
    forge.change(json!({ "lie": Value::Null })).await;
    daemon.kill();
    daemon.restart().await;
    trigger_in(&daemon, "active").await;
    until_channels(&daemon, &forge, "one channel", |found| found.len() == 1).await;
    assert!(!daemon.log().contains("app-secret") && !daemon.log().contains("1//refresh"), "{}", daemon.log());
}

#[tokio::test]
async fn a_trigger_without_a_secret_is_not_deployed_where_nobody_hands_one_out() {
    let daemon = Daemon::start_with(DaemonOptions::new(BINARY)).await;
    let _copy = pushed(&daemon);
    let blocked = async |daemon: &Daemon| {
        let list = daemon.get("/api/v1/promotions?webhook=shop").await;
        list["items"][0]["status_reason"].as_str().filter(|reason| reason.contains("names no secret")).map(str::to_owned)
    };
    let reason = daemon.until("the promotion to be blocked", blocked).await;
    assert!(reason.contains("`google-calendar` cannot hand one out"), "{reason}");
}
