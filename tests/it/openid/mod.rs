//! Signing in at an OpenID provider that lies, breaks, changes its keys or is not there; and what a name and groups from there are worth.

mod people;
mod person;
mod provider;

use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use hookwright_testkit::{Daemon, DaemonOptions};
use serde_json::{Value, json};
use sha2::Sha256;

use person::Person;
use provider::{Key, Maker, Provider, SECRET, parts};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// A daemon that people sign in at this provider for.
async fn daemon_of(provider: &Provider) -> Daemon {
    daemon_with(provider, DaemonOptions::new(BINARY)).await
}

async fn daemon_with(provider: &Provider, options: DaemonOptions) -> Daemon {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let public_url = format!("http://{}", socket.local_addr().expect("an address"));
    Daemon::start_on(Some(socket), provider.known_to(options, &public_url)).await
}

/// What the audit log says of refused tries, newest first.
async fn refused(daemon: &Daemon) -> Vec<String> {
    let lines = daemon.get("/api/v1/audit?limit=500").await;
    let lines = lines["items"].as_array().expect("lines").iter().filter(|line| line["action"] == "session.refused");
    lines.map(|line| format!("{} {}", line["user"].as_str().unwrap_or_default(), line["detail"].as_str().unwrap_or_default())).collect()
}

/// Changes one thing of the right claims, and signs them as it should be.
fn with(name: &'static str, value: impl Fn(&Value) -> Value + Send + 'static) -> Maker {
    Box::new(move |key, mut claims| {
        claims[name] = value(&claims);
        key.token(&claims)
    })
}

#[tokio::test]
async fn whoever_the_token_proves_is_signed_in_and_the_code_is_for_once() {
    let provider = Provider::start();
    let daemon = daemon_of(&provider).await;
    let mut rosa = Person::new(&daemon, "203.0.113.1");
    let page = rosa.opens("/sign-in").await.text;
    assert!(page.contains("Sign in with Acme"), "{page}");
    let back = rosa.is_sent_back("%2Fruns%3Fwebhook%3Da").await;
    let answer = rosa.opens(&back).await;
    assert_eq!((answer.status, answer.location.as_str()), (303, "/runs?webhook=a"), "{}", answer.text);
    assert_eq!(rosa.sees("/runs").await, 200);
    assert_eq!(rosa.cookies.len(), 1, "nothing of the try is kept: {:?}", rosa.cookies);
    let audit = daemon.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("session.begun") && audit.contains("with Acme") && audit.contains("sub-rosa"), "{audit}");

    let again = Person::new(&daemon, "203.0.113.1").opens(&back).await;
    assert_eq!(again.status, 401);
    assert!(again.text.contains("not begun in this browser"), "{}", again.text);
    let account = rosa.opens("/settings/account").await.text;
    assert!(
        account.contains("approver of every webhook") && account.contains("acme&#x2f;leads") && account.contains("Acme says who you are"),
        "{account}"
    );
    assert!(!daemon.log().contains(SECRET) && !audit.contains(SECRET));
}

#[tokio::test]
async fn a_token_that_proves_something_else_signs_nobody_in_and_is_written_down() {
    let provider = Provider::start();
    let daemon = daemon_of(&provider).await;
    let now = |claims: &Value| claims["iat"].as_i64().expect("a time");
    let hmac_with_public_key: Maker = Box::new(|key, claims| {
        let signed = parts(&json!({ "alg": "HS256", "kid": key.id }), &claims);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.point()).expect("a key");
        mac.update(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    });
    let tampered: Maker = Box::new(|key, mut claims| {
        let token = key.token(&claims);
        claims["sub"] = json!("sub-admin");
        let (right, signature) = (parts(&json!({ "alg": "ES256", "kid": key.id, "typ": "JWT" }), &claims), token.rsplit('.').next());
        format!("{right}.{}", signature.expect("a signature"))
    });
    let cases: Vec<(&str, Maker)> = vec![
        ("made for another sign-in", with("nonce", |_| json!("another"))),
        ("made for another sign-in", with("nonce", |_| Value::Null)),
        ("InvalidAudience", with("aud", |_| json!("another-client"))),
        ("does not say which of them", with("aud", |_| json!(["hookwright", "another-client"]))),
        ("another client asked for it", with("azp", |_| json!("another-client"))),
        ("InvalidIssuer", with("iss", |_| json!("https://evil.example"))),
        ("too old", with("exp", move |claims| json!(now(claims) - 61))),
        ("in the future", with("iat", move |claims| json!(now(claims) + 120))),
        ("too long ago", with("iat", move |claims| json!(now(claims) - 3600))),
        ("not valid yet", with("nbf", move |claims| json!(now(claims) + 120))),
        ("names nobody", with("sub", |_| json!(""))),
        ("header is not accepted", Box::new(|_, claims| format!("{}.", parts(&json!({ "alg": "none" }), &claims)))),
        ("HS256, which is not accepted", hmac_with_public_key),
        ("InvalidSignature", tampered),
        ("InvalidSignature", Box::new(|key, claims| Key::new(&key.id).token(&claims))),
        (
            "asks for what is not known here",
            Box::new(|key, claims| key.sign(&json!({ "alg": "ES256", "kid": key.id, "crit": ["x"], "x": 1 }), &claims)),
        ),
        ("does not publish", Box::new(|_, claims| Key::new("unheard-of").token(&claims))),
        ("header is not accepted", Box::new(|_, _| "no token at all".to_owned())),
    ];
    for (at, (why, maker)) in cases.into_iter().enumerate() {
        provider.script().maker = Some(maker);
        let mut rosa = Person::new(&daemon, &format!("203.0.113.{at}"));
        let answer = rosa.signs_in("%2F").await;
        assert_eq!(answer.status, 401, "{why}: {}", answer.text);
        assert!(answer.text.contains("Signing in with Acme did not work") && answer.text.contains(why), "{why}: {}", answer.text);
        assert!(!rosa.is_in(), "{why}");
        let lines = refused(&daemon).await;
        assert_eq!(lines.len(), at + 1, "{why}");
        assert!(lines[0].contains(why) && lines[0].contains(&format!("from 203.0.113.{at}")), "{why}: {lines:?}");
    }
    // Within what clocks differ by, and with a second audience that is named, it holds.
    provider.script().maker = Some(Box::new(move |key, mut claims| {
        claims["exp"] = json!(now(&claims) - 30);
        claims["aud"] = json!(["another-client", "hookwright"]);
        claims["azp"] = json!("hookwright");
        key.token(&claims)
    }));
    let mut rosa = Person::new(&daemon, "203.0.113.99");
    let answer = rosa.signs_in("%2F").await;
    assert!(rosa.is_in(), "{}", answer.text);
}

#[tokio::test]
async fn a_code_or_a_state_of_another_browser_is_worth_nothing() {
    let provider = Provider::start();
    let daemon = daemon_of(&provider).await;
    let (mut rosa, mut eve) = (Person::new(&daemon, "203.0.113.1"), Person::new(&daemon, "203.0.113.2"));
    let hers = rosa.is_sent_back("%2F").await;
    // Eve has rosa's address: in her own browser, or led into rosa's with her own.
    let answer = eve.opens(&hers).await;
    assert!(answer.status == 401 && !eve.is_in(), "{answer:?}");
    let eves = eve.is_sent_back("%2F").await;
    let answer = rosa.opens(&eves).await;
    assert!(answer.status == 401 && !rosa.is_in() && answer.text.contains("not begun in this browser"), "{answer:?}");

    // A stolen code with a state of one's own: the provider compares the verifier.
    let code = |address: &str| {
        let url = reqwest::Url::parse(address).expect("an address");
        url.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned()
    };
    let mixed = eves.replace(&code(&eves), &code(&hers));
    let answer = eve.opens(&mixed).await;
    assert!(answer.status == 401 && !eve.is_in() && answer.text.contains("invalid_grant"), "{answer:?}");

    // What the provider says instead of a code; and another provider that mixes itself in.
    let state = |address: &str| {
        let url = reqwest::Url::parse(address).expect("an address");
        url.query_pairs().find(|(name, _)| name == "state").expect("a state").1.into_owned()
    };
    let (first, second) = (rosa.is_sent_back("%2F").await, rosa.is_sent_back("%2Fruns").await);
    let denied = format!("/sign-in/openid/back?state={}&error=access_denied&error_description=%3Cb%3Enot+you", state(&first));
    let answer = rosa.opens(&denied).await;
    assert!(answer.status == 401 && answer.text.contains("access_denied: &lt;b&gt;not you"), "{}", answer.text);
    let answer = rosa.opens(&format!("{second}&iss=https%3A%2F%2Fevil.example")).await;
    assert!(answer.status == 401 && answer.text.contains("Another provider"), "{}", answer.text);
    assert!(refused(&daemon).await.len() >= 5);

    // Two tabs do not disturb each other, and nobody is led elsewhere afterwards.
    let (one, two) = (rosa.is_sent_back("%2F%2Fevil.example").await, rosa.is_sent_back("%2Fruns").await);
    assert_eq!(rosa.opens(&two).await.location, "/runs");
    assert_eq!(rosa.opens(&one).await.location, "/");
}

#[tokio::test]
async fn guessing_is_held_up_by_the_address_that_the_trusted_proxy_tells() {
    let provider = Provider::start();
    let daemon = daemon_of(&provider).await;
    let mut eve = Person::new(&daemon, "203.0.113.7");
    let guess = format!("/sign-in/openid/back?code=x&state={}", "0".repeat(64));
    for _ in 0..10 {
        assert_eq!(eve.sees(&guess).await, 401);
    }
    let answer = eve.opens(&guess).await;
    assert!(answer.status == 429 && answer.text.contains("Too many tries"), "{answer:?}");
    assert_eq!(eve.sees("/sign-in/openid").await, 429, "the same tries as at the other doors");
    assert_eq!(eve.sends("/sign-in", &[("token", "hw_guess")]).await.status, 429);
    assert_eq!(refused(&daemon).await.len(), 10, "what is held up fills no log");
    let mut rosa = Person::new(&daemon, "203.0.113.8");
    assert_eq!(rosa.signs_in("%2F").await.status, 303, "another client of the same proxy is not held up");
}

#[tokio::test]
async fn keys_change_without_a_restart_and_strange_ones_are_not_asked_for_without_end() {
    let provider = Provider::start();
    let daemon = daemon_of(&provider).await;
    let mut rosa = Person::new(&daemon, "203.0.113.1");
    assert_eq!(rosa.signs_in("%2F").await.status, 303);
    assert_eq!(rosa.opens("/sign-in/openid?to=%2Fruns").await.location, "/runs", "whoever is in goes on at once");
    assert_eq!(provider.script().key_reads, 1);

    provider.script().keys = vec![Key::new("two")];
    let mut emil = Person::new(&daemon, "203.0.113.2");
    assert_eq!(emil.signs_in("%2F").await.status, 303);
    assert_eq!(provider.script().key_reads, 2, "a key that is not known is looked for once");

    provider.script().maker = Some(Box::new(|_, claims| Key::new("unheard-of").token(&claims)));
    for at in 0..12 {
        let mut eve = Person::new(&daemon, &format!("203.0.113.{}", 10 + at));
        assert_eq!(eve.signs_in("%2F").await.status, 401);
    }
    let reads = provider.script().key_reads;
    assert!((3..=6).contains(&reads), "{reads}");
    provider.script().maker = None;
    let mut vera = Person::new(&daemon, "203.0.113.3");
    assert_eq!(vera.signs_in("%2F").await.status, 303, "known keys go on being taken");
}

#[tokio::test]
async fn a_provider_that_is_broken_is_said_to_be_and_everybody_else_still_comes_in() {
    let provider = Provider::start();
    let daemon = daemon_of(&provider).await;
    let discovery = "/.well-known/openid-configuration";
    let strange = json!({ "issuer": "https://other.example", "authorization_endpoint": "https://a.example", "token_endpoint": "https://a.example", "jwks_uri": "https://a.example" });
    let plain = json!({ "issuer": provider.address, "authorization_endpoint": "http://a.example", "token_endpoint": "https://a.example", "jwks_uri": "https://a.example" });
    let cases = [
        (500, "nothing".to_owned(), 503, "is no JSON"),
        (404, "{}".to_owned(), 503, "answers 404"),
        (302, "{}".to_owned(), 503, "redirects are not followed"),
        (200, format!("\"{}\"", "x".repeat(600 << 10)), 503, "larger than"),
        (200, "{}".to_owned(), 503, "cannot be used"),
        (200, strange.to_string(), 401, "calls itself <code>https://other.example</code>"),
        (200, plain.to_string(), 401, "is not https"),
    ];
    for (at, (status, text, wanted, why)) in cases.into_iter().enumerate() {
        provider.script().instead = Some((discovery, status, text));
        let mut rosa = Person::new(&daemon, &format!("203.0.113.{at}"));
        let answer = rosa.opens("/sign-in/openid").await;
        assert_eq!(answer.status, wanted, "{why}: {}", answer.text);
        assert!(answer.text.contains(why) && answer.text.contains("Sign in with a token"), "{why}: {}", answer.text);
        assert_eq!(refused(&daemon).await.len(), at + 1, "{why}");
    }
    provider.script().instead = None;
    let mut rosa = Person::new(&daemon, "203.0.113.20");
    let back = rosa.is_sent_back("%2F").await;
    provider.script().silent = Some("/token");
    let answer = rosa.opens(&back).await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("takes too long to answer"), "{}", answer.text);
    assert!(refused(&daemon).await[0].contains("takes too long"));
    assert_eq!(rosa.sends("/sign-in", &[("token", daemon.token())]).await.status, 303);
}
