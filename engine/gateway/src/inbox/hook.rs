//! A trigger made ready to receive: its source's verification with the secrets, and the compiled expressions.

use std::sync::Arc;
use std::time::Duration;

use hookwright_core::{BoundHook, BoundTrigger, DeliveryPolicy, Digest, Event, HookAddress, SecretValue, redact};
use hookwright_spec::EventExpression;
use hookwright_store::NewEvent;
use hookwright_trigger::{Binding, Definition, Definitions, NewBinding, ReceivedEvent, payload};
use http::HeaderMap;

use crate::delivery::texts;
use crate::table::TriggerRoute;

/// What stands in a stored header in the place of a secret.
const HIDDEN: &str = "[secret]";

/// How much of a filter is shown with what it skipped, in characters.
const FILTER: usize = 200;

/// What receives at an address.
pub(crate) struct Hook {
    pub(crate) route: Arc<TriggerRoute>,
    /// Whether the engine itself is told, and no handler.
    pub(crate) is_engines: bool,
    /// Or why nothing can be verified: then nothing is taken.
    pub(crate) binding: Result<Binding, String>,
    pub(crate) definition: Option<Arc<Definition>>,
    filter: Option<Result<EventExpression, String>>,
    order_by: Option<Result<EventExpression, String>>,
}

impl Hook {
    pub(crate) fn new(route: Arc<TriggerRoute>) -> Self {
        let trigger = &route.trigger;
        let definition = match &trigger.definition {
            Some(text) => Definition::of_a_repository(text).map(Arc::new).map_err(|error| error.to_string()),
            None => Definitions::embedded().find(&trigger.source).ok_or_else(|| format!("there is no event source `{}`", trigger.source)),
        };
        let binding = match &definition {
            Err(reason) => Err(reason.clone()),
            Ok(definition) => Binding::new(NewBinding {
                definition: definition.clone(),
                options: &trigger.options,
                verified: trigger.verified,
                secrets: trigger.secrets.clone(),
            })
            .map_err(|error| error.to_string()),
        };
        let filter = trigger.filter.as_deref().map(EventExpression::compile);
        let order_by = trigger.deliver.order_by.as_deref().map(EventExpression::compile);
        Self { binding, definition: definition.ok(), filter, order_by, is_engines: false, route }
    }

    /// What receives for the engine.
    pub(crate) fn of_engine(hook: BoundHook, address: HookAddress) -> Self {
        let BoundHook { id, place, source, secret, events, .. } = hook;
        // Nothing is delivered by it: the engine reads from the store what came.
        let deliver = DeliveryPolicy {
            path: String::new(),
            sync: false,
            timeout: Duration::ZERO,
            attempts: 1,
            exponential: false,
            concurrency: 1,
            order_by: None,
        };
        let trigger = BoundTrigger {
            subscription: id,
            name: place.trigger,
            source,
            address: Some(address),
            verified: true,
            secrets: vec![secret],
            options: "{}".to_owned(),
            definition: None,
            redact: Vec::new(),
            events,
            filter: None,
            schedule: None,
            deliver,
        };
        let route = TriggerRoute { webhook: place.webhook, environment: place.environment, trigger };
        Self { is_engines: true, ..Self::new(Arc::new(route)) }
    }

    /// An event as it is stored, with the decision whether the handler gets it. `token` is that of the channel it came through.
    pub(crate) fn event(
        &self,
        received: ReceivedEvent,
        headers: &HeaderMap,
        (now, token): (hookwright_core::Timestamp, Option<&SecretValue>),
    ) -> NewEvent {
        let trigger = &self.route.trigger;
        let (skipped, order_key) = self.judge(&received, headers);
        let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let redacted = redact(&trigger.redact, content_type, &received.body);
        // What never reaches the handler loses at once what nobody is to see.
        let body = if skipped.is_some() { redacted.body } else { received.body };
        let source_id = received.source_id.as_deref().filter(|id| !redacted.values.iter().any(|value| value == id));
        let order_key = if trigger.redact.is_empty() { order_key } else { order_key.map(|key| Digest::of(key).hex()) };
        NewEvent {
            subscription: trigger.subscription,
            place: self.place(),
            source: trigger.source.clone(),
            kind: storable(&received.kind),
            source_id: source_id.map(storable),
            verified: trigger.verified,
            received_at: now,
            headers: self.without_secrets(headers, token),
            body,
            redact: trigger.redact.clone(),
            redacted: skipped.is_some() && !trigger.redact.is_empty(),
            replay_keys: received.replay_keys,
            skipped,
            order_key: order_key.as_deref().map(storable),
            not_before: None,
        }
    }

    fn place(&self) -> hookwright_core::TriggerPlace {
        let TriggerRoute { webhook, environment, trigger } = &*self.route;
        hookwright_core::TriggerPlace { webhook: webhook.clone(), environment: environment.clone(), trigger: trigger.name.clone() }
    }

    /// Why the handler does not get an event, and what its order is kept by.
    fn judge(&self, received: &ReceivedEvent, headers: &HeaderMap) -> (Option<String>, Option<String>) {
        if received.ping {
            return (Some("the source tries the address out".to_owned()), None);
        }
        if !is_wanted(&self.route.trigger.events, &received.kind) {
            let whose = if self.is_engines { "the engine" } else { "the trigger" };
            return (Some(format!("{whose} does not ask for events of this type")), None);
        }
        if self.filter.is_none() && self.order_by.is_none() {
            return (None, None);
        }
        let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let payload = payload(content_type, &received.body).unwrap_or(serde_json::Value::Null);
        let skipped = self.filter.as_ref().and_then(|filter| {
            let text: String = self.route.trigger.filter.iter().flat_map(|text| text.chars()).take(FILTER).collect();
            let missing = filter.as_ref().ok().and_then(|filter| filter.missing(&payload));
            let missing = missing.map(|field| format!("; the payload has no `{field}`")).unwrap_or_default();
            match filter.as_ref().map_err(Clone::clone).and_then(|filter| filter.holds(&received.kind, &payload)) {
                Ok(true) => None,
                Ok(false) => Some(format!("the filter `{text}` is false{missing}")),
                Err(error) => Some(format!("the filter `{text}` cannot be answered: {error}{missing}")),
            }
        });
        // What has no key keeps its order among those without one.
        let key = self.order_by.as_ref().map(|order_by| {
            let key = order_by.as_ref().map_err(Clone::clone).and_then(|order_by| order_by.key(&received.kind, &payload));
            key.unwrap_or_default()
        });
        (skipped, key)
    }

    /// The headers as texts. A header that holds the secret itself, as token schemes send it, is stored without it.
    fn without_secrets(&self, headers: &HeaderMap, token: Option<&SecretValue>) -> Vec<(String, String)> {
        let hide = |value: String| {
            let secrets = self.route.trigger.secrets.iter().chain(token).map(|secret| secret.expose()).filter(|secret| !secret.is_empty());
            secrets.fold(value, |value, secret| if value.contains(secret) { value.replace(secret, HIDDEN) } else { value })
        };
        texts(headers).into_iter().map(|(name, value)| (name, hide(value))).collect()
    }
}

/// Whether a trigger that names types asks for this one: `issues` asks for `issues.opened` too, and so does `issues.*`.
fn is_wanted(events: &[String], kind: &str) -> bool {
    let asks = |event: &String| {
        let stem = event.strip_suffix(".*").unwrap_or(event);
        event == "*" || kind == event || kind.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.'))
    };
    events.is_empty() || events.iter().any(asks)
}

/// A text of the source as the databases take it.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The event as it is read back, for whoever delivers it at once.
pub(crate) fn stored(event: &NewEvent, delivery: &hookwright_core::Delivery) -> Event {
    event.clone().stored(delivery.event)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hookwright_core::SecretValue;
    use hookwright_spec::{SourceFiles, parse_beside};
    use hookwright_trigger::{Binding, Definition, Definitions, NewBinding};

    use super::is_wanted;

    #[test]
    fn webhook_yaml_knows_the_event_sources_that_there_are() {
        let mut known = hookwright_spec::EVENT_SOURCES.to_vec();
        known.sort_unstable();
        assert_eq!(Definitions::embedded().names().collect::<Vec<_>>(), known);
        for source in known {
            let definition = Definitions::embedded().find(source).expect("a definition");
            let types = hookwright_spec::event_types(source).or_else(|| hookwright_spec::usual_event_types(source));
            let Some(types) = types else { continue };
            for kind in definition.kinds() {
                assert!(types.iter().any(|known| known == kind), "{source} has an example of `{kind}`, which a trigger may not name");
            }
        }
    }

    /// Everything that an own source may say, accepted by `webhook.yaml`'s reader, is read where it is used; with nothing optional left out.
    #[test]
    fn what_the_reader_of_webhook_yaml_accepts_of_an_own_source_can_be_bound() {
        let whole = r#"
name: mine
title: Ours
documentation: [https://example.org]
deadline_seconds: 5
verify:
  - { secrets: whpk_, ed25519: { headers: [a], prefix: "v1a,", encoding: base64, list: spaces, message: "{id}.{body}", ids: [b], key_prefix: whpk_ } }
  - { secrets: tok_, token: { header: X-Token, prefix: "Bearer " } }
  - hmac: { headers: [X-Sig, Y-Sig], encoding: hex, list: single, message: "{timestamp}{body}", timestamps: [X-Time, Y-Time] }
kind: [{ header: X-Kind, suffix: /action, as: thing }, { join: [{ field: /a }, { header: b }] }]
id: [{ field: /id }]
shapes: { thing: /id }
pings: [ping]
challenge: { field: /type, equals: hello, answer: /challenge }
cloud_events: false
example_headers: { X-Kind: "{event}" }
manual: "Send to {address}"
events: { thing: '{"id":"{id}"}', ping: "" }
"#;
        let small = "name: mine\ntitle: Ours\ndocumentation:\nkind: [{ field: /type }]\nevents: { a: '{}' }\n";
        for (text, verify) in [(whole, "secret: KEY"), (small, "verify: none")] {
            let webhook = format!(
                "version: 1\nname: shop\nhandler: {{ command: [x] }}\nconfig: {{ KEY: {{ type: string, secret: true }} }}\ntriggers:\n  t: {{ source: mine, {verify} }}\n"
            );
            let mut files = SourceFiles::default();
            files.add("mine.yaml");
            files.set("mine", text.to_owned());
            let spec = parse_beside(&webhook, "webhook.yaml", &files).unwrap_or_else(|problems| panic!("{problems}"));
            let definition = Definition::of_a_repository(&spec.sources["mine"].to_string()).expect("a definition");
            let secrets = vec![SecretValue::new("a-secret")];
            let new = NewBinding { definition: Arc::new(definition), options: "{}", verified: verify != "verify: none", secrets };
            assert!(Binding::new(new).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_definition_of_a_repository_that_would_call_somebody_or_verifies_nothing_is_not_bound() {
        let calls = r#"{"name":"x","title":"X","kind":[{"field":"/t"}],"events":{"a":"{}"},"receives":false}"#;
        assert!(Definition::of_a_repository(calls).is_err());
        let open =
            Definition::of_a_repository(r#"{"name":"x","title":"X","kind":[{"field":"/t"}],"events":{"a":"{}"}}"#).expect("a definition");
        let new = NewBinding { definition: Arc::new(open), options: "{}", verified: true, secrets: vec![SecretValue::new("a")] };
        assert!(Binding::new(new).is_err(), "unless `verify: none` is said it fails closed");
    }

    #[test]
    fn a_trigger_gets_the_types_it_names_and_what_lies_below_them() {
        let wanted = |events: &[&str], kind| is_wanted(&events.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>(), kind);
        assert!(wanted(&[], "push"));
        assert!(wanted(&["issues.opened"], "issues.opened"));
        assert!(wanted(&["issues"], "issues.opened"));
        assert!(wanted(&["issues.*"], "issues.opened"));
        assert!(wanted(&["*"], "push"));
        assert!(!wanted(&["issues.opened"], "issues.closed"));
        assert!(!wanted(&["issues"], "issues_other"));
    }
}
