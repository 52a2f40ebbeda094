//! Where a value of an event stands: in a header, in a field of the payload, or in several of them.

use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// The longest value that is taken.
const LONGEST: usize = 512;

/// A place.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Locator {
    /// A header,
    #[serde(default)]
    pub(crate) header: Option<String>,
    /// a field of the payload, as a JSON pointer (RFC 6901),
    #[serde(default)]
    pub(crate) field: Option<String>,
    /// or several places, all of them there, joined with `/`.
    #[serde(default)]
    pub(crate) join: Vec<Locator>,
    /// What comes behind a dot if it is there: `issues` and `opened` are `issues.opened`.
    #[serde(default)]
    pub(crate) suffix: Option<String>,
    /// The value itself does not matter: where it is there, it is this.
    #[serde(default, rename = "as")]
    pub(crate) fixed: Option<String>,
}

impl Locator {
    /// The value, if it is there and is short.
    pub(crate) fn find(&self, headers: &HeaderMap, payload: &Value) -> Option<String> {
        let mut found = match (&self.header, &self.field) {
            (Some(header), _) => headers.get(header)?.to_str().ok()?.to_owned(),
            (None, Some(field)) => text(payload.pointer(field)?)?,
            (None, None) if !self.join.is_empty() => {
                let parts: Option<Vec<String>> = self.join.iter().map(|part| part.find(headers, payload)).collect();
                parts?.join("/")
            }
            (None, None) => return None,
        };
        if let Some(fixed) = &self.fixed {
            found.clone_from(fixed);
        }
        if let Some(suffix) = self.suffix.as_ref().and_then(|field| text(payload.pointer(field)?)) {
            found = format!("{found}.{suffix}");
        }
        (!found.is_empty() && found.len() <= LONGEST).then_some(found)
    }

    /// The first of several places that has a value.
    pub(crate) fn first(places: &[Self], headers: &HeaderMap, payload: &Value) -> Option<String> {
        places.iter().find_map(|place| place.find(headers, payload))
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
