//! The payload of an event as a value, for types, ids and filters. Verification never uses it: that is on the raw bytes.

use serde_json::{Map, Value};

/// More fields than this in a form are no event.
const MOST_FIELDS: usize = 500;

/// Reads JSON, or a form: its field `payload` where that is JSON, as GitHub and Slack send it, else all its fields as texts. `None` when it is
/// neither; nesting is bounded by the JSON parser at 128 levels.
pub fn payload(content_type: Option<&str>, body: &[u8]) -> Option<Value> {
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/x-www-form-urlencoded" {
        return Some(form(body));
    }
    // A byte order mark is no part of the JSON text (RFC 8259, section 8.1).
    serde_json::from_slice(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok()
}

fn form(body: &[u8]) -> Value {
    let mut fields = Map::new();
    for (name, value) in url::form_urlencoded::parse(body).take(MOST_FIELDS) {
        // The first of several wins, so that none can be hidden behind another one.
        fields.entry(name.into_owned()).or_insert_with(|| Value::String(value.into_owned()));
    }
    let inner = fields.get("payload").and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
    inner.unwrap_or(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_both_kinds_of_forms_are_read_and_nothing_else_is() {
        assert_eq!(payload(Some("application/json; charset=utf-8"), b"\xef\xbb\xbf{\"a\":1}"), Some(json!({ "a": 1 })));
        assert_eq!(payload(Some("application/x-www-form-urlencoded"), b"payload=%7B%22a%22%3A1%7D"), Some(json!({ "a": 1 })));
        assert_eq!(payload(Some("Application/X-WWW-Form-Urlencoded"), b"command=%2Fx&a=1&a=2"), Some(json!({ "command": "/x", "a": "1" })));
        assert_eq!(payload(None, b"<xml/>"), None);
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert_eq!(payload(None, deep.as_bytes()), None, "deep nesting is refused and does not end the process");
    }
}
