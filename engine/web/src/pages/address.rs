//! How a webhook is called, as commands to copy: its operations in each environment, and an event for each trigger there.

use hookwright_core::WebhookName;
use hookwright_spec::{Environment, Spec};
use serde::Serialize;

use super::trigger_list::TriggerCard;
use crate::WebState;
use crate::show::visible;
use crate::visitor::Visitor;

/// What is called when the spec names no operation.
const ROOT: &str = "GET /";

/// The addresses in an environment.
#[derive(Serialize)]
pub(crate) struct Addresses {
    pub(crate) environment: String,
    pub(crate) calls: Vec<Call>,
}

/// One way to call it.
#[derive(Serialize)]
pub(crate) struct Call {
    /// `POST /issues`, or the name of a trigger.
    what: String,
    /// What is to be known of it, as a sentence.
    note: Option<String>,
    command: String,
}

impl Call {
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self { what: "<b>hostile".into(), note: Some("<b>hostile".into()), command: "curl -i <b>hostile".into() }
    }
}

/// Whether a command takes a token of whoever runs it.
pub(crate) fn takes_token(addresses: &[Addresses]) -> bool {
    addresses.iter().flat_map(|one| &one.calls).any(|call| call.command.contains(TOKEN))
}

/// Where the token stands in commands; the command line of the daemon reads the same variable.
const TOKEN: &str = "$HOOKWRIGHT_TOKEN";

/// A word of a command line that no shell takes for anything else.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:.-_@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The request of an operation: `POST /issues`.
fn request(base: &str, operation: &str, guarded: bool) -> Call {
    let (method, path) = operation.split_once(' ').unwrap_or(("GET", operation));
    let mut parts = vec!["curl -i".to_owned()];
    if method != "GET" {
        parts.push(format!("-X {}", quoted(method)));
    }
    if guarded {
        parts.push(format!("-H \"Authorization: Bearer {TOKEN}\""));
    }
    if matches!(method, "POST" | "PUT" | "PATCH") {
        parts.push("-H 'Content-Type: application/json' -d '{}'".to_owned());
    }
    let variable = path.contains('{');
    if variable {
        parts.push("--globoff".to_owned());
    }
    parts.push(quoted(&format!("{base}{path}")));
    let note = variable.then(|| "Put a value in the place of what stands in braces.".to_owned());
    Call { what: visible(operation), note, command: visible(&parts.join(" ")) }
}

/// An event for a trigger: by `curl` where nothing is signed, else by the command that signs an example with the trigger's secret.
fn event(base: &str, server: &str, webhook: &WebhookName, card: &TriggerCard) -> Option<Call> {
    let what = format!("trigger {}", card.name);
    if card.source == "schedule" {
        let path = card.path.as_deref()?;
        let note = "What its times send is a POST to this path.".to_owned();
        return Some(Call { what, note: Some(note), command: request(base, &format!("POST {path}"), card.guarded).command });
    }
    if card.unverified && card.source == "generic" {
        let address = quoted(card.address.as_deref()?);
        let command = format!("curl -i -X POST -H 'Content-Type: application/json' -d '{{\"message\":\"Hello\"}}' {address}");
        return Some(Call { what, note: Some("Nothing of it is verified: whoever knows the address may send.".to_owned()), command });
    }
    let kind = card.kinds.first().map(|kind| format!(" --event {}", quoted(kind))).unwrap_or_default();
    card.send.as_ref()?;
    let place = format!("{webhook} {} --environment {}", card.name, card.environment);
    let command = format!("HOOKWRIGHT_SERVER={} HOOKWRIGHT_TOKEN=\"{TOKEN}\" hookwright events send {place}{kind}", quoted(server));
    let note = format!("An example of {}, signed with the trigger’s secret, which plain curl cannot do.", card.source);
    Some(Call { what, note: Some(note), command })
}

/// The addresses in every environment.
pub(crate) fn addresses(
    state: &WebState,
    visitor: &Visitor,
    name: &WebhookName,
    (spec, places): (Option<&Spec>, &[&Environment]),
    cards: &[TriggerCard],
) -> Vec<Addresses> {
    let gateway = state.gateway.clone().unwrap_or_else(|| visitor.origin.clone());
    let server = if state.public_url.is_empty() { &visitor.origin } else { &state.public_url };
    let guarded = spec.is_some_and(|spec| !spec.api.security.is_empty());
    let mut operations: Vec<&str> = spec.iter().flat_map(|spec| spec.api.operations.keys()).map(String::as_str).collect();
    if operations.is_empty() {
        operations.push(ROOT);
    }
    let of = |place: &&Environment| {
        let base = format!("{gateway}/w/{name}/{}", place.name);
        let own = cards.iter().filter(|card| card.environment == place.name.as_str());
        let events = own.filter_map(|card| event(&base, server, name, card));
        let calls = operations.iter().map(|operation| request(&base, operation, guarded)).chain(events).collect();
        Addresses { environment: place.name.to_string(), calls }
    };
    places.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://127.0.0.1:8080/w/shop/production";

    #[test]
    fn an_operation_becomes_a_command_that_a_shell_runs_as_it_stands() {
        assert_eq!(request(BASE, ROOT, false).command, format!("curl -i {BASE}/"));
        let issues = request(BASE, "POST /issues", true);
        let head = "-H \"Authorization: Bearer $HOOKWRIGHT_TOKEN\" -H 'Content-Type: application/json' -d '{}'";
        assert_eq!(issues.command, format!("curl -i -X POST {head} {BASE}/issues"));
        let one = request(BASE, "DELETE /issues/{id}", false);
        assert_eq!(one.command, format!("curl -i -X DELETE --globoff '{BASE}/issues/{{id}}'"));
        assert!(one.note.is_some());
        let hostile = request(BASE, "GET /'; rm -rf ~ #\u{202e}", false);
        assert_eq!(hostile.command, format!("curl -i '{BASE}/'\\''; rm -rf ~ #⟨U+202E⟩'"));
    }

    #[test]
    fn a_trigger_is_tried_by_whatever_can_sign_for_it() {
        let shop: WebhookName = "shop".parse().expect("a name");
        let card = |source: &str, unverified: bool| {
            let mut card = TriggerCard::sample();
            (card.name, card.environment) = ("orders".into(), "production".into());
            (card.source, card.unverified, card.guarded) = (source.into(), unverified, false);
            card.address = Some("https://a.example/hooks/1".into());
            (card.path, card.kinds, card.send) = (Some("/nightly".into()), vec!["issues.opened".into()], Some("/x".into()));
            card
        };
        let command = |card: &TriggerCard| event(BASE, "https://a.example", &shop, card).map(|call| call.command);
        let sent = "HOOKWRIGHT_SERVER=https://a.example HOOKWRIGHT_TOKEN=\"$HOOKWRIGHT_TOKEN\" hookwright events send shop orders";
        let signed = format!("{sent} --environment production --event issues.opened");
        assert_eq!(command(&card("github", false)).as_deref(), Some(signed.as_str()));
        let mut seen = card("github", false);
        seen.send = None;
        assert_eq!(command(&seen), None, "a viewer can send nothing");
        let plain = "curl -i -X POST -H 'Content-Type: application/json' -d '{\"message\":\"Hello\"}' https://a.example/hooks/1";
        assert_eq!(command(&card("generic", true)).as_deref(), Some(plain));
        let schedule = format!("curl -i -X POST -H 'Content-Type: application/json' -d '{{}}' {BASE}/nightly");
        assert_eq!(command(&card("schedule", false)).as_deref(), Some(schedule.as_str()));
    }
}
