//! Fields of a payload that nobody is to see: what is shown is shown without them, and they are cut out of the stored body once it was delivered.
//! What cannot be cut field by field is hidden whole: a mistake hides too much, never too little.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What stands in the place of a hidden value.
const HIDDEN: &str = "[redacted]";

/// The longest path, in characters.
const LONGEST: usize = 200;

/// Shorter values are not looked for in what a handler answers: they would be found everywhere.
const SHORTEST: usize = 4;

/// A field of a payload, as in `payload.user.email`; `*` is every item or field, and `payload` alone all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath(Vec<String>);

/// A text that names no field of a payload.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is no field of a payload; write payload.user.email, payload.items.*.card, or payload for all of it")]
pub struct InvalidFieldPath;

impl FromStr for FieldPath {
    type Err = InvalidFieldPath;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let is_payload = parts.next() == Some("payload");
        let path: Vec<String> = parts.map(str::to_owned).collect();
        let is_valid =
            is_payload && text.len() <= LONGEST && path.iter().all(|part| !part.is_empty() && !part.contains(char::is_whitespace));
        is_valid.then_some(Self(path)).ok_or(InvalidFieldPath)
    }
}

impl TryFrom<String> for FieldPath {
    type Error = InvalidFieldPath;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.to_string()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payload")?;
        self.0.iter().try_for_each(|part| write!(f, ".{part}"))
    }
}

/// A body without the fields that nobody is to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The body; byte for byte the one that came where it has no such field.
    pub body: Bytes,
    /// What was cut out, so that it can be hidden wherever else it turns up.
    pub values: Vec<String>,
}

/// Cuts fields out of a body: JSON, or a form whose field `payload` may be JSON. Any other body is hidden whole.
pub fn redact(paths: &[FieldPath], content_type: Option<&str>, body: &Bytes) -> Redacted {
    let mut values = Vec::new();
    if paths.is_empty() || body.is_empty() {
        return Redacted { body: body.clone(), values };
    }
    let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let cut = if kind == "application/x-www-form-urlencoded" {
        form(paths, body, &mut values)
    } else {
        // As the payload is read for filters: a byte order mark is no part of the text.
        serde_json::from_slice::<Value>(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok().map(|mut payload| {
            cut_all(paths, &mut payload, &mut values);
            payload.to_string()
        })
    };
    match cut {
        Some(_) if values.is_empty() => Redacted { body: body.clone(), values },
        Some(text) => Redacted { body: Bytes::from(text), values },
        None => Redacted { body: Bytes::from_static(HIDDEN.as_bytes()), values },
    }
}

/// Hides in a text what was cut out of a body.
pub fn hide(values: &[String], text: &str) -> String {
    let long = values.iter().filter(|value| value.chars().count() >= SHORTEST);
    long.fold(text.to_owned(), |text, value| text.replace(value.as_str(), HIDDEN))
}

fn form(paths: &[FieldPath], body: &[u8], values: &mut Vec<String>) -> Option<String> {
    let mut fields: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let is_json = |value: &str| serde_json::from_str::<Value>(value).ok();
    if let Some(mut payload) = fields.iter().find(|(name, _)| name == "payload").and_then(|(_, value)| is_json(value)) {
        cut_all(paths, &mut payload, values);
        // A second field of that name is nothing that filters saw, and may be anything.
        fields.retain({
            let mut seen = false;
            move |(name, _)| name != "payload" || !std::mem::replace(&mut seen, true)
        });
        let written = payload.to_string();
        fields.iter_mut().filter(|(name, _)| name == "payload").for_each(|(_, value)| value.clone_from(&written));
    } else {
        for (name, value) in &mut fields {
            let is_meant = |path: &FieldPath| path.0.first().is_none_or(|part| part == "*" || part == name);
            if paths.iter().any(is_meant) {
                values.push(std::mem::replace(value, HIDDEN.to_owned()));
            }
        }
    }
    Some(form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
}

fn cut_all(paths: &[FieldPath], payload: &mut Value, values: &mut Vec<String>) {
    for path in paths {
        cut(&path.0, payload, values);
    }
}

fn cut(path: &[String], at: &mut Value, values: &mut Vec<String>) {
    let Some((part, rest)) = path.split_first() else {
        let was = std::mem::replace(at, Value::String(HIDDEN.to_owned()));
        if was == *at {
            return;
        }
        // That something was cut out is told by there being a value, whatever it was.
        values.push(String::new());
        leaves(&was, values);
        return;
    };
    match (at, part.as_str()) {
        (Value::Array(list), "*") => list.iter_mut().for_each(|item| cut(rest, item, values)),
        (Value::Object(fields), "*") => fields.values_mut().for_each(|field| cut(rest, field, values)),
        (Value::Array(list), place) => {
            if let Some(item) = place.parse::<usize>().ok().and_then(|place| list.get_mut(place)) {
                cut(rest, item, values);
            }
        }
        (Value::Object(fields), name) => {
            if let Some(field) = fields.get_mut(name) {
                cut(rest, field, values);
            }
        }
        _ => {}
    }
}

fn leaves(value: &Value, values: &mut Vec<String>) {
    match value {
        Value::String(text) => values.push(text.clone()),
        Value::Number(number) => values.push(number.to_string()),
        Value::Array(list) => list.iter().for_each(|item| leaves(item, values)),
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, values)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Vec<FieldPath> {
        texts.iter().map(|text| text.parse().expect("a path")).collect()
    }

    fn cut(texts: &[&str], content_type: &str, body: &str) -> String {
        let redacted = redact(&paths(texts), Some(content_type), &Bytes::from(body.to_owned()));
        String::from_utf8(redacted.body.to_vec()).expect("a text")
    }

    #[test]
    fn a_path_names_fields_below_the_payload() {
        for text in ["payload", "payload.user.email", "payload.items.*.card", "payload.lines.0"] {
            assert_eq!(text.parse::<FieldPath>().expect(text).to_string(), text);
        }
        for text in ["", "user", "payload.", "payload..a", "payload. a", "$.payload", &format!("payload.{}", "x".repeat(200))] {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn fields_are_cut_out_of_json_wherever_they_stand_and_whatever_they_are() {
        let json = "application/json";
        assert_eq!(cut(&["payload.a.b"], json, r#"{"a":{"b":{"c":1},"d":2}}"#), r#"{"a":{"b":"[redacted]","d":2}}"#);
        assert_eq!(
            cut(&["payload.l.*.x"], json, r#"{"l":[{"x":1,"y":2},{"x":"z"},3]}"#),
            r#"{"l":[{"x":"[redacted]","y":2},{"x":"[redacted]"},3]}"#
        );
        assert_eq!(cut(&["payload.l.1"], json, r#"{"l":[1,2]}"#), r#"{"l":[1,"[redacted]"]}"#);
        assert_eq!(cut(&["payload.b"], json, r#"{"b":true}"#), r#"{"b":"[redacted]"}"#);
        assert_eq!(cut(&["payload"], json, r#"{"b":true}"#), "\"[redacted]\"");
        assert_eq!(cut(&["payload.e"], json, "{\"e\":\"first\",\"e\":\"second\"}"), r#"{"e":"[redacted]"}"#, "the first of two goes too");
    }

    #[test]
    fn a_body_without_the_field_stays_as_it_came_and_one_that_cannot_be_read_is_hidden_whole() {
        assert_eq!(cut(&["payload.x"], "application/json", "{ \"a\" : 1 }"), "{ \"a\" : 1 }");
        for body in ["<card>4242</card>", "{\"card\":", &("[".repeat(10_000) + &"]".repeat(10_000))] {
            assert_eq!(cut(&["payload.card"], "text/xml", body), "[redacted]");
        }
        assert_eq!(cut(&["payload.x"], "text/plain", ""), "");
    }

    #[test]
    fn fields_of_forms_are_cut_out_and_so_is_json_inside_one() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        assert_eq!(
            cut(&["payload.text"], form, "command=%2Fx&text=secret&text=again"),
            "command=%2Fx&text=%5Bredacted%5D&text=%5Bredacted%5D"
        );
        let inner = cut(&["payload.a"], form, "payload=%7B%22a%22%3A1%2C%22b%22%3A2%7D&payload=%7B%22a%22%3A1%7D&k=v");
        assert_eq!(inner, "payload=%7B%22a%22%3A%22%5Bredacted%5D%22%2C%22b%22%3A2%7D&k=v");
    }

    #[test]
    fn what_was_cut_out_is_hidden_in_other_texts_too() {
        let body = Bytes::from_static(br#"{"user":{"email":"rosa@example.org","pin":12}}"#);
        let redacted = redact(&paths(&["payload.user"]), None, &body);
        assert_eq!(hide(&redacted.values, "wrote to rosa@example.org, 12 times"), "wrote to [redacted], 12 times");
    }
}
