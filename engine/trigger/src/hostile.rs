//! What strangers send on purpose: bodies that parsers differ about, texts that are to end the process, work that is to keep it busy.

use bytes::Bytes;
use hookwright_core::SecretValue;
use http::HeaderValue;

use crate::tests::{Sent, binding};
use crate::{Binding, Definitions, NewBinding, payload};

/// Bodies that another parser writes differently, or reads differently.
const UNEVEN: [&str; 8] = [
    "{\n  \"action\" : \"opened\",\n  \"issue\": { \"number\": 7 }\n}\n",
    "{\"action\":\"\\u006fpened\",\"issue\":{\"number\":7}}",
    "{\"action\":\"closed\",\"issue\":{\"number\":1},\"action\":\"opened\",\"issue\":{\"number\":7}}",
    "\u{feff}{\"action\":\"opened\",\"issue\":{\"number\":7}}",
    "{\"action\":\"opened\",\r\n\"issue\":{\"number\":7.0e0}}\r\n",
    "{\"action\":\"opened\",\"issue\":{\"number\":12345678901234567890123456789}}",
    "{\"issue\":{\"title\":\"\u{1f600} \u{202e}\"},\"action\":\"opened\"}",
    "{\"action\":\"opened\",\"issue\":{\"number\":1e400}}",
];

/// Bodies that are no event of anybody, and were the end of other receivers.
fn nasty() -> Vec<Vec<u8>> {
    let deep = |open: &str, close: &str, levels: usize| (open.repeat(levels) + &close.repeat(levels)).into_bytes();
    let texts = [
        "",
        "null",
        "true",
        "0",
        "-",
        "\"\"",
        "[]",
        "{}",
        "[null]",
        "{\"type\":null}",
        "{\"type\":[]}",
        "{\"type\":{\"a\":1}}",
        "{\"type\":1e999}",
    ];
    let mut bodies: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.push(deep("[", "]", 10_000));
    bodies.push(deep("{\"a\":", "}", 10_000));
    bodies.push(b"{\"type\":\"\\ud800\"}".to_vec());
    bodies.push(b"{\"type\":\"\\udc00\\ud800\"}".to_vec());
    bodies.push(b"\xff\xfe\x00{".to_vec());
    bodies.push(format!("{{\"type\":{}}}", "9".repeat(100_000)).into_bytes());
    bodies.push(format!("{{\"type\":\"{}\"}}", "x".repeat(1_000_000)).into_bytes());
    bodies.push(format!("{{{}}}", (0..50_000).map(|at| format!("\"{at}\":0")).collect::<Vec<_>>().join(",")).into_bytes());
    bodies
}

#[test]
fn what_is_verified_and_passed_on_are_the_bytes_that_came_however_they_could_be_written_too() {
    let github = binding("github", &["key"]);
    for body in UNEVEN {
        let signed = github.verifier.as_ref().expect("a verifier").sign(body.as_bytes(), "", 0).expect("signed");
        let headers = [("x-github-event", "unheard-of"), (signed[0].0.as_str(), signed[0].1.as_str())];
        let event = Sent::new(0, &headers, body).event(&github);
        assert_eq!(event.body, body.as_bytes(), "{body}");
        let written_anew = serde_json::from_str::<serde_json::Value>(body).map(|value| value.to_string());
        if let Some(other) = written_anew.ok().filter(|other| other != body) {
            assert_eq!(Sent::new(0, &headers, other).status(&github), 401, "{body}");
        }
    }
}

#[test]
fn a_form_is_verified_as_it_came_and_not_as_the_json_inside_it() {
    let (github, inner) = (binding("github", &["key"]), "{\"action\":\"opened\",\"issue\":{\"number\":7}}");
    let form = format!("payload={}", url::form_urlencoded::byte_serialize(inner.as_bytes()).collect::<String>());
    let sent = |signed: &str| {
        let signature = github.verifier.as_ref().expect("a verifier").sign(signed.as_bytes(), "", 0).expect("signed").remove(0);
        let kind = ("content-type", "application/x-www-form-urlencoded");
        Sent::new(0, &[kind, ("x-github-event", "issues"), (&signature.0, &signature.1)], form.clone())
    };
    assert_eq!(sent(&form).event(&github).kind, "issues.opened");
    assert_eq!(sent(inner).status(&github), 401, "there is one text that counts");
}

#[test]
fn no_body_ends_the_process_or_is_taken_for_an_event_that_it_is_not() {
    let types = [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "text/plain",
    ];
    for definition in Definitions::embedded().names().filter_map(|name| Definitions::embedded().find(name)) {
        let secrets = vec![SecretValue::new("key")];
        let bound =
            Binding::new(NewBinding { definition: definition.clone(), options: "{}", verified: false, secrets }).expect("a binding");
        for body in nasty() {
            for kind in types {
                let status = Sent::new(0, &[("content-type", kind)], body.clone()).status(&bound);
                assert!([200, 400, 405, 413, 415].contains(&status), "{} {kind}: {status}", definition.name);
            }
        }
    }
}

#[test]
fn a_multipart_body_names_no_fields_and_no_files() {
    let body = Bytes::from_static(
        b"--x\r\nContent-Disposition: form-data; name=\"payload\"; filename=\"/etc/passwd\"\r\n\r\n{\"type\":\"invoice.paid\"}\r\n--x--\r\n",
    );
    assert_eq!(payload(Some("multipart/form-data; boundary=x"), &body), None);
    // What calls itself multipart and is JSON is the JSON that was signed, and nothing is looked up by what stands in it.
    let json = Bytes::from_static(br#"{"files":{"x":{"filepath":"/etc/passwd"}}}"#);
    assert_eq!(payload(Some("multipart/form-data; boundary=x"), &json), serde_json::from_slice(&json).ok());
}

#[test]
fn a_form_of_a_million_fields_is_read_to_a_bound() {
    let body = Bytes::from((0..1_000_000).map(|at| format!("f{at}=1")).collect::<Vec<_>>().join("&"));
    let fields = payload(Some("application/x-www-form-urlencoded"), &body).expect("a form");
    assert_eq!(fields.as_object().map(serde_json::Map::len), Some(500));
}

#[test]
fn of_many_signatures_in_one_header_a_few_are_tried() {
    let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let with = |before: usize| {
        let list = vec!["v1,AAAA"; before].into_iter().chain([good]).collect::<Vec<_>>().join(" ");
        let headers =
            [("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"), ("webhook-timestamp", "1614265330"), ("webhook-signature", list.as_str())];
        Sent::new(1_614_265_330, &headers, "{\"test\": 2432232314}")
            .status(&binding("standard-webhooks", &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]))
    };
    assert_eq!((with(0), with(15), with(16), with(500)), (200, 200, 401, 401));
    let key = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    let flood = vec!["v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="; 20_000].join(" ");
    let headers = [("webhook-id", "other"), ("webhook-timestamp", "1614265330"), ("webhook-signature", flood.as_str())];
    assert_eq!(Sent::new(1_614_265_330, &headers, "{}").status(&binding("standard-webhooks", &[key])), 401);
}

#[test]
fn a_timestamp_is_digits_and_nothing_else_wherever_a_source_puts_it() {
    let stripe = binding("stripe", &["key"]);
    for timestamp in ["+1000", "-1000", " 1000", "1000 ", "1e3", "1000.0", "0x3e8", "", "9223372036854775808", "18446744073709551616"] {
        // Signed as it is written, so that the timestamp alone is what is refused.
        let mac = hmac_hex(b"key", format!("{timestamp}.{{}}").as_bytes());
        let sent = Sent::new(1000, &[("stripe-signature", &format!("t={timestamp},v1={mac}"))], "{}");
        assert_eq!(sent.status(&stripe), 401, "{timestamp}");
    }
    let mac = hmac_hex(b"key", b"1000.{}");
    assert_eq!(Sent::new(1000, &[("stripe-signature", &format!("t=1000,v1={mac}"))], "{}").status(&stripe), 400, "verified, and no event");
}

#[test]
fn a_request_that_is_packed_is_refused_before_anything_is_unpacked() {
    let github = binding("github", &["key"]);
    for coding in ["gzip", "br", "zstd", "deflate", "identity, gzip", "GZIP"] {
        let mut sent = Sent::new(0, &[("x-github-event", "push")], "x");
        sent.headers.insert("content-encoding", HeaderValue::from_str(coding).expect("a value"));
        assert_eq!(sent.status(&github), 415, "{coding}");
    }
}

/// Secrets and signatures are compared by `subtle` and `ring` alone: nothing of them stands beside `==`.
#[test]
fn nothing_secret_is_compared_by_the_first_byte_that_differs() {
    let code = include_str!("scheme.rs");
    for line in code.lines().filter(|line| line.contains("==") || line.contains("!=") || line.contains("starts_with")) {
        let compared = ["sent", "candidate", "key", "signature", "mac", "token"];
        let is_about_lengths = line.contains("List::") || line.contains("length") || line.contains("is_empty()");
        let names_one = compared.iter().any(|name| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *name));
        assert!(is_about_lengths || !names_one, "{line}");
    }
    assert!(code.contains("ct_eq(candidate)") && code.contains("ct_eq(&sent)"));
}

fn hmac_hex(key: &[u8], message: &[u8]) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key).expect("a key");
    mac.update(message);
    hex::encode(mac.finalize().into_bytes())
}
