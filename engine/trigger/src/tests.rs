//! Published vectors, and everything that must not pass for one.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookwright_core::{Channel, SecretValue, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use proptest::prelude::*;

use crate::{Binding, Definitions, Incoming, NewBinding, Received, ReceivedEvent, Refusal};

pub(crate) fn binding(source: &str, secrets: &[&str]) -> Binding {
    with_options(source, secrets, "{}").expect("a binding")
}

fn with_options(source: &str, secrets: &[&str], options: &str) -> Result<Binding, crate::Error> {
    let definition = Definitions::embedded().find(source).expect("a definition");
    let secrets = secrets.iter().map(|secret| SecretValue::new(*secret)).collect();
    Binding::new(NewBinding { definition, options, verified: true, secrets })
}

/// A request at a time in seconds.
pub(crate) struct Sent {
    pub(crate) headers: HeaderMap,
    body: Bytes,
    at: i64,
}

impl Sent {
    pub(crate) fn new(at: i64, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"));
        }
        Self { headers: map, body: body.into(), at }
    }

    fn to(&self, binding: &Binding) -> Result<Received, Refusal> {
        let (method, uri) = (Method::POST, Uri::from_static("/hooks/x"));
        let now = Timestamp::from_millis(self.at * 1000);
        binding.receive(&Incoming { method: &method, uri: &uri, headers: &self.headers, body: &self.body, now, channel: None })
    }

    pub(crate) fn event(&self, binding: &Binding) -> ReceivedEvent {
        match self.to(binding) {
            Ok(Received::Events(mut events)) if events.len() == 1 => events.remove(0),
            other => panic!("one event, not {other:?}"),
        }
    }

    pub(crate) fn status(&self, binding: &Binding) -> u16 {
        self.to(binding).map_or_else(|refusal| refusal.status, |_| 200)
    }
}

// ---- published vectors ----

const GITHUB: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn github(signature: &str) -> Sent {
    let headers = [("x-github-event", "other"), ("x-github-delivery", "1"), ("x-hub-signature-256", signature)];
    Sent::new(0, &headers, "Hello, World!")
}

#[test]
fn githubs_published_vector_is_verified_and_every_change_of_it_is_not() {
    let github_binding = binding("github", &["It's a Secret to Everybody"]);
    assert_eq!(github(&format!("sha256={GITHUB}")).event(&github_binding).kind, "other");
    let upper = format!("sha256={}", GITHUB.to_uppercase());
    let (short, long) = (format!("sha256={}", &GITHUB[..62]), format!("sha256={GITHUB}00"));
    let (spaced, sha1) = (format!("sha256= {GITHUB}"), format!("sha1={GITHUB}"));
    for signature in ["", "sha256=", "sha256=7", "sha256=zz", GITHUB, &upper, &short, &long, &spaced, &sha1] {
        assert_eq!(github(signature).status(&github_binding), 401, "{signature}");
    }
    let mut twice = github(&format!("sha256={GITHUB}"));
    twice.headers.append("x-hub-signature-256", HeaderValue::from_str(&format!("sha256={GITHUB}")).expect("a value"));
    assert_eq!(twice.status(&github_binding), 401, "two signatures are a trick");
    let joined = format!("sha256={GITHUB},sha256={GITHUB}");
    assert_eq!(github(&joined).status(&github_binding), 401);
    assert_eq!(github(&format!("sha256={GITHUB}")).status(&binding("github", &["another"])), 401);
    let rotated = binding("github", &["another", "It's a Secret to Everybody"]);
    assert_eq!(github(&format!("sha256={GITHUB}")).status(&rotated), 200, "the secret before counts too");
    let third = binding("github", &["a", "b", "It's a Secret to Everybody"]);
    assert_eq!(github(&format!("sha256={GITHUB}")).status(&third), 401, "and no third one");
}

#[test]
fn bitbuckets_published_vector_stands_in_the_header_that_is_sha1_elsewhere() {
    let bitbucket = binding("bitbucket", &["It's a Secret to Everybody"]);
    let signature = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
    let headers = [("x-event-key", "repo:fork"), ("x-request-uuid", "1"), ("x-hub-signature", signature)];
    assert_eq!(Sent::new(0, &headers, "Hello World!").event(&bitbucket).kind, "repo:fork");
    assert_eq!(Sent::new(0, &headers, "Hello World!").status(&binding("github", &["It's a Secret to Everybody"])), 401);
}

const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

fn slack(timestamp: &str, at: i64) -> Sent {
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let kind = ("content-type", "application/x-www-form-urlencoded");
    Sent::new(at, &[kind, ("x-slack-request-timestamp", timestamp), ("x-slack-signature", signature)], SLACK_BODY)
}

#[test]
fn slacks_published_vector_is_a_slash_command_and_holds_for_five_minutes() {
    let secret = binding("slack", &["8f742231b10e8888abcd99yyyzzz85a5"]);
    let event = slack("1531420618", 1_531_420_618).event(&secret);
    assert_eq!(
        (event.kind.as_str(), event.source_id.as_deref()),
        ("slash_command", Some("398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"))
    );
    for off in [-300, 300] {
        assert_eq!(slack("1531420618", 1_531_420_618 + off).status(&secret), 200, "{off}");
    }
    for off in [-301, 301, -1_531_420_618] {
        assert_eq!(slack("1531420618", 1_531_420_618 + off).status(&secret), 401, "{off}");
    }
    for timestamp in ["+1531420618", "-1531420618", "1531420618.0", "1e9", "", " 1531420618", "99999999999999999999", "١"] {
        let mut sent = slack("1531420618", 1_531_420_618);
        sent.headers.insert("x-slack-request-timestamp", HeaderValue::from_bytes(timestamp.as_bytes()).expect("a value"));
        assert_eq!(sent.status(&secret), 401, "{timestamp}");
    }
}

#[test]
fn slacks_question_is_answered_once_it_is_verified() {
    let slack = binding("slack", &["key"]);
    let body = br#"{"type":"url_verification","token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#;
    let signed = slack.verifier.as_ref().expect("a verifier").sign(body, "", 100).expect("signed");
    let headers: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let sent = Sent::new(100, &headers, &body[..]);
    let Ok(Received::Answer(answer)) = sent.to(&slack) else { panic!("an answer") };
    assert_eq!((answer.status, answer.body.as_str()), (200, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"));
    assert_eq!(sent.status(&binding("slack", &["other"])), 401);
}

fn standard(id: &str, at: i64, signature: &str, body: &'static str) -> Sent {
    Sent::new(at, &[("webhook-id", id), ("webhook-timestamp", &at.to_string()), ("webhook-signature", signature)], body)
}

#[test]
fn the_published_vectors_of_standard_webhooks_are_verified_both_shared_and_public() {
    let shared = binding("standard-webhooks", &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "{\"test\": 2432232314}");
    let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let event = standard(id, 1_614_265_330, good, body).event(&shared);
    assert_eq!((event.kind.as_str(), event.source_id.as_deref()), ("event", Some(id)));
    let second = binding("standard-webhooks", &["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]);
    let other = standard(
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        "{\"email\":\"test@example.com\",\"username\":\"test_user\"}",
    );
    assert_eq!(other.status(&second), 200);
    let public = binding("standard-webhooks", &["whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="]);
    let signature = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
    assert_eq!(standard(id, 1_614_265_330, signature, body).status(&public), 200);
    assert_eq!(standard(id, 1_614_265_330, signature, "{\"test\": 1}").status(&public), 401, "the same text over another message");
    assert_eq!(standard(id, 1_614_265_330, signature, body).status(&shared), 401, "the secret says which kind it is");
    assert_eq!(standard(id, 1_614_265_330, good, body).status(&public), 401);

    for list in [format!("v1,AAAA {good}"), format!("v1a,AAAA v1,g0hM {good} v2,x")] {
        assert_eq!(standard(id, 1_614_265_330, &list, body).status(&shared), 200, "{list}");
    }
    for bad in
        ["v1,", "v1", "", ",", &good[3..], &format!("{}=", &good[..good.len() - 4]), "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="]
    {
        assert_eq!(standard(id, 1_614_265_330, bad, body).status(&shared), 401, "{bad}");
    }
    assert_eq!(standard("msg_other", 1_614_265_330, good, body).status(&shared), 401, "the id is signed");

    let svix = [("svix-id", id), ("svix-timestamp", "1614265330"), ("svix-signature", good)];
    assert_eq!(Sent::new(1_614_265_330, &svix, body).status(&shared), 200);
    let mixed = [("svix-id", id), ("svix-timestamp", "1614265330"), ("webhook-signature", good)];
    assert_eq!(Sent::new(1_614_265_330, &mixed, body).status(&shared), 401, "names of two kinds do not mix");
}

#[test]
fn the_same_prefix_is_part_of_the_key_at_stripe_and_not_at_standard_webhooks() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (stripe, standard_webhooks) = (binding("stripe", &[secret]), binding("standard-webhooks", &[secret]));
    let body = br#"{"id":"evt_1","type":"invoice.paid"}"#;
    let signed = stripe.verifier.as_ref().expect("a verifier").sign(body, "", 1000).expect("signed");
    let written = signed[0].1.strip_prefix("t=1000,v1=").expect("pairs").to_owned();
    let expected = {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
        mac.update(b"1000.");
        mac.update(body);
        hex::encode(mac.finalize().into_bytes())
    };
    assert_eq!(written, expected);
    let event = |header: &str| Sent::new(1000, &[("stripe-signature", header)], &body[..]);
    assert_eq!(event(&signed[0].1).event(&stripe).source_id.as_deref(), Some("evt_1"));
    let rolled = format!("t=1000,v1={},v0=00,v1={written}", "0".repeat(64));
    assert_eq!(event(&rolled).status(&stripe), 200, "every v1 is tried while a secret is rolled");
    for bad in [
        format!("v1={written}"),
        format!("t=1000,v0={written}"),
        format!("t=1001,v1={written}"),
        format!("t=1000 v1={written}"),
        "t=1000,v1=".to_owned(),
    ] {
        assert_eq!(event(&bad).status(&stripe), 401, "{bad}");
    }
    let other = STANDARD.encode(hex::decode(&written).expect("hex"));
    assert_eq!(standard("x", 1000, &format!("v1,{other}"), "{}").status(&standard_webhooks), 401);
}

#[test]
fn a_stripe_secret_that_was_rotated_here_first_is_accepted_beside_the_new_one() {
    let stripe = binding("stripe", &["new", "webhook_secret"]);
    let old = binding("stripe", &["webhook_secret"]);
    let body = br#"{"id":"evt_2","type":"customer.created"}"#;
    let signed = old.verifier.as_ref().expect("a verifier").sign(body, "", 1_533_204_620).expect("signed");
    let sent = Sent::new(1_533_204_620, &[("stripe-signature", &signed[0].1)], &body[..]);
    assert_eq!(sent.status(&stripe), 200);
}

// ---- traps ----

#[test]
fn a_gitlab_signing_token_is_never_replaced_by_the_plain_token() {
    let signing = binding("gitlab", &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
    let body = "{\"object_kind\":\"push\"}";
    let plain = [("x-gitlab-token", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), ("webhook-id", "1"), ("webhook-timestamp", "0")];
    assert_eq!(Sent::new(0, &plain, body).status(&signing), 401);
    let legacy = binding("gitlab", &["plain"]);
    let new_server = [("x-gitlab-token", "plain"), ("webhook-id", "1"), ("webhook-timestamp", "0")];
    let event = Sent::new(0, &new_server, body).event(&legacy);
    assert_eq!(
        (event.kind.as_str(), event.replay_keys[1].as_ref()),
        ("push", None),
        "newer servers send an id and no signature; tokens have no fingerprint"
    );
    for token in ["", "plai", "plainx", "Plain"] {
        assert_eq!(Sent::new(0, &[("x-gitlab-token", token)], body).status(&legacy), 401, "{token}");
    }
}

#[test]
fn giteas_empty_signature_of_a_hook_without_secret_fits_nothing() {
    let gitea = binding("gitea", &["key"]);
    let headers = [("x-gitea-event", "push"), ("x-gitea-signature", ""), ("x-hub-signature-256", "sha256=")];
    assert_eq!(Sent::new(0, &headers, "{\"commits\":[]}").status(&gitea), 401);
}

#[test]
fn no_secret_and_an_empty_one_are_refused_when_a_trigger_is_made_ready() {
    for source in Definitions::embedded().names().filter(|name| *name != "schedule" && *name != "generic") {
        // Channels bring their own.
        assert_eq!(with_options(source, &[], "{}").is_ok(), source == "google-calendar", "{source}");
        assert!(with_options(source, &[""], "{}").is_err(), "{source}");
    }
    assert!(with_options("standard-webhooks", &["whsec_"], "{}").is_err());
    assert!(with_options("standard-webhooks", &["whsec_%%%"], "{}").is_err());
    assert!(with_options("standard-webhooks", &["whpk_AAAA"], "{}").is_err());
    let text = with_options("standard-webhooks", &["whsec_%canary%"], "{}").err().expect("an error").to_string();
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn a_type_that_does_not_go_with_the_body_is_refused_although_the_signature_fits() {
    let github = binding("github", &["key"]);
    let body = br#"{"action":"opened","issue":{"number":1}}"#;
    let signed = github.verifier.as_ref().expect("a verifier").sign(body, "", 0).expect("signed");
    let as_kind = |kind: &str| Sent::new(0, &[("x-github-event", kind), (&signed[0].0, &signed[0].1)], &body[..]);
    assert_eq!(as_kind("issues").event(&github).kind, "issues.opened");
    assert_eq!(as_kind("push").status(&github), 400);
    let (one, other) = (as_kind("issues").event(&github), as_kind("unheard_of").event(&github));
    assert_eq!(one.replay_keys[1], other.replay_keys[1], "and otherwise its signature shows that it was there before");
}

#[test]
fn a_shopify_event_of_two_topics_is_two_and_a_repeated_one_is_one() {
    let shopify = binding("shopify", &["client-secret"]);
    let body = b"{}";
    let signed = shopify.verifier.as_ref().expect("a verifier").sign(body, "", 0).expect("signed");
    let key = |topic: &str, id: &str| {
        let headers =
            [("x-shopify-topic", topic), ("x-shopify-shop-domain", "a"), ("x-shopify-event-id", id), (&signed[0].0, &signed[0].1)];
        Sent::new(0, &headers, &body[..]).event(&shopify).replay_keys[0].clone()
    };
    assert_eq!(key("orders/create", "1"), key("orders/create", "1"));
    assert_ne!(key("orders/create", "1"), key("orders/paid", "1"));
}

#[test]
fn google_sends_a_token_no_body_and_first_a_sync_that_is_a_ping() {
    let google = binding("google-calendar", &["0123456789abcdef0123456789abcdef"]);
    let headers = |state: &'static str| {
        [
            ("x-goog-channel-token", "0123456789abcdef0123456789abcdef"),
            ("x-goog-resource-state", state),
            ("x-goog-channel-id", "c"),
            ("x-goog-message-number", "1"),
        ]
    };
    assert_eq!(Sent::new(0, &headers("exists"), "").status(&binding("google-calendar", &["another"])), 401);
    assert_eq!(Sent::new(0, &headers("exists"), "").status(&with_options("google-calendar", &[], "{}").expect("a binding")), 401);
    assert!(Sent::new(0, &headers("sync"), "").event(&google).ping);
    assert_eq!(Sent::new(0, &headers("exists"), "").event(&google).source_id.as_deref(), Some("c/1"));
}

#[test]
fn a_message_of_a_channel_fits_that_channel_alone() {
    let channel = |id: &str, token: &str, resource: Option<&str>| Channel {
        id: id.to_owned(),
        subscription: format!("sub_{}", "0".repeat(32)).parse().expect("an id"),
        token: SecretValue::new(token),
        wanted: String::new(),
        resource: resource.map(str::to_owned),
        created_at: Timestamp::from_millis(0),
        expires_at: None,
    };
    // Also where a person's token is set, which is not the channel's.
    for secrets in [&[] as &[&str], &["by-hand"]] {
        let google = with_options("google-calendar", secrets, "{}").expect("a binding");
        let status = |channel: &Channel, token: &str, resource: &str| {
            let headers = [
                ("x-goog-channel-token", token),
                ("x-goog-resource-state", "exists"),
                ("x-goog-channel-id", "c"),
                ("x-goog-resource-id", resource),
            ];
            let sent = Sent::new(0, &headers, "");
            let (method, uri) = (Method::POST, Uri::from_static("/hooks/x"));
            assert_eq!(google.channel_id(&sent.headers), Some("c"));
            let now = Timestamp::from_millis(0);
            let incoming = Incoming { method: &method, uri: &uri, headers: &sent.headers, body: &sent.body, now, channel: Some(channel) };
            google.receive(&incoming).map_or_else(|refusal| refusal.status, |_| 200)
        };
        let open = channel("c", "right", Some("calendar"));
        assert_eq!(status(&open, "right", "calendar"), 200);
        assert_eq!(status(&channel("c", "right", None), "right", "whatever"), 200, "its first message may come before the answer");
        for (token, resource) in [("wrong", "calendar"), ("", "calendar"), ("by-hand", "calendar"), ("right", "another"), ("right", "")] {
            assert_eq!(status(&open, token, resource), 401, "{token} {resource}");
        }
    }
}

#[test]
fn cloud_events_come_in_three_envelopes_and_ask_first() {
    let cloud = binding("cloudevents", &["token"]);
    let bearer = ("authorization", "Bearer token");
    let binary = Sent::new(0, &[bearer, ("ce-type", "a.b"), ("ce-source", "/%C3%A9"), ("ce-id", "1")], "x").event(&cloud);
    let structured = Sent::new(
        0,
        &[bearer, ("content-type", "application/cloudevents+json; charset=utf-8")],
        "{\"type\":\"a.b\",\"source\":\"/é\",\"id\":\"1\"}",
    )
    .event(&cloud);
    assert_eq!(binary.replay_keys, structured.replay_keys, "source and id name an event, whatever it comes in");
    let batch = "[{\"type\":\"a\",\"source\":\"s\",\"id\":\"1\"},{\"type\":\"b\",\"source\":\"s\",\"id\":\"2\"}]";
    let Ok(Received::Events(events)) = Sent::new(0, &[bearer, ("content-type", "application/cloudevents-batch+json")], batch).to(&cloud)
    else {
        panic!("events")
    };
    assert_eq!(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    for (kind, body) in [
        ("application/cloudevents+json", "{}"),
        ("application/cloudevents+json", "null"),
        ("application/cloudevents-batch+json", "{}"),
        ("text/plain", ""),
    ] {
        assert_eq!(Sent::new(0, &[bearer, ("content-type", kind)], body).status(&cloud), 400, "{kind} {body}");
    }
    assert_eq!(
        Sent::new(0, &[("authorization", "Bearer other"), ("ce-type", "a"), ("ce-source", "s"), ("ce-id", "1")], "").status(&cloud),
        401
    );
    let sent = Sent::new(0, &[("webhook-request-origin", "events.example"), ("webhook-request-rate", "120")], "");
    let (method, uri) = (Method::OPTIONS, Uri::from_static("/hooks/x"));
    let incoming =
        Incoming { method: &method, uri: &uri, headers: &sent.headers, body: &sent.body, now: Timestamp::from_millis(0), channel: None };
    let Ok(Received::Answer(answer)) = cloud.receive(&incoming) else { panic!("an answer") };
    assert!(
        answer.headers.contains(&("webhook-allowed-origin".to_owned(), "events.example".to_owned()))
            && answer.headers.iter().any(|(name, _)| name == "webhook-allowed-rate")
    );
}

#[test]
fn a_generic_source_is_what_its_trigger_says_and_nothing_by_default() {
    assert!(with_options("generic", &["key"], "{}").is_err());
    assert!(
        with_options("generic", &["key"], r#"{"signature":{"header":"x-sig","message":"{timestamp}"}}"#).is_err(),
        "a body that is not signed"
    );
    assert!(with_options("generic", &["key"], r#"{"signature":{"heder":"x-sig"}}"#).is_err());
    let options = r#"{"signature":{"header":"x-sig","encoding":"base64","prefix":"s:"},"event":{"header":"x-kind"},"id":{"field":"/id"}}"#;
    let generic = with_options("generic", &["key"], options).expect("a binding");
    let body = br#"{"id":5}"#;
    let signed = generic.verifier.as_ref().expect("a verifier").sign(body, "", 0).expect("signed");
    let event = Sent::new(0, &[("x-kind", "thing"), (&signed[0].0, &signed[0].1)], &body[..]).event(&generic);
    assert_eq!((event.kind.as_str(), event.source_id.as_deref()), ("thing", Some("5")));
}

#[test]
fn every_source_verifies_its_own_signed_examples() {
    for name in Definitions::embedded().names().filter(|name| *name != "schedule") {
        let secret = if name == "standard-webhooks" { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } else { "a-secret" };
        let options = if name == "generic" { r#"{"token":{"header":"x-token"}}"# } else { "{}" };
        let bound = with_options(name, &[secret], options).expect("a binding");
        for kind in Arc::clone(&bound.definition).kinds() {
            let example = bound
                .example(Some(kind), &[], (Timestamp::from_millis(5000), "id-1"), None)
                .unwrap_or_else(|error| panic!("{name} {kind}: {error}"));
            let headers: Vec<(&str, &str)> = example.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let event = Sent::new(5, &headers, example.body.clone()).event(&bound);
            assert_eq!(event.kind, kind, "{name}");
            assert!(name == "generic" || event.replay_keys[0].is_some(), "{name} {kind} has an id");
        }
    }
}

#[test]
fn fields_are_put_into_an_example_and_a_path_that_leads_nowhere_is_said() {
    let github = binding("github", &["key"]);
    let sets = |list: &[(&str, &str)]| list.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect::<Vec<_>>();
    let at = (Timestamp::from_millis(0), "id");
    let example = github
        .example(Some("issues.opened"), &sets(&[("issue.labels.0.name", "urgent"), ("issue.number", "12"), ("new.deep", "x")]), at, None)
        .expect("an example");
    let body: serde_json::Value = serde_json::from_str(&example.body).expect("JSON");
    assert_eq!(
        (&body["issue"]["labels"][0]["name"], &body["issue"]["number"], &body["new"]["deep"]),
        (&"urgent".into(), &12.into(), &"x".into())
    );
    assert!(github.example(Some("issues.opened"), &sets(&[("issue.labels.9.name", "x")]), at, None).is_err());
    assert!(github.example(Some("issues.opened"), &sets(&[("action.x", "x")]), at, None).is_err());
}

proptest! {
    #[test]
    fn no_request_ends_the_process(
        source in proptest::sample::select(vec!["github", "gitlab", "gitea", "bitbucket", "slack", "google-calendar", "stripe", "shopify", "standard-webhooks", "cloudevents"]),
        verified in any::<bool>(),
        header in "[ -~]{0,80}",
        body in proptest::collection::vec(any::<u8>(), 0..200),
        json in "\\PC{0,80}",
    ) {
        let definition = Definitions::embedded().find(source).expect("a definition");
        let bound = Binding::new(NewBinding { definition, options: "{}", verified, secrets: vec![SecretValue::new("whsec_AAAA")] }).expect("a binding");
        let names = ["x-hub-signature-256", "x-hub-signature", "stripe-signature", "webhook-signature", "webhook-timestamp", "webhook-id", "x-slack-signature",
            "x-slack-request-timestamp", "x-gitlab-token", "x-github-event", "content-type", "ce-type", "ce-id", "ce-source", "x-goog-channel-token"];
        let headers: Vec<(&str, &str)> = names.iter().map(|name| (*name, header.trim())).collect();
        let _ = Sent::new(0, &headers, body).to(&bound);
        let _ = Sent::new(0, &[("content-type", "application/json")], json.into_bytes()).to(&bound);
    }
}
