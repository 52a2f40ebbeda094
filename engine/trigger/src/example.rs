//! Events to try a webhook with: the example of a definition, with fields put in, signed as the source does it.

use hookwright_core::{Channel, Timestamp};
use serde_json::Value;

use crate::{Binding, Error};

/// An event as its source would send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its type.
    pub kind: String,
    /// The headers, the signature among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Binding {
    /// The example of a type, or the first one; each `(path, value)` of `sets` is put in: `issue.title` is the field `title` of `issue`, and a value
    /// that is no JSON is taken as text. `id` is what the source would call it. It comes through the channel, if one is given.
    ///
    /// # Errors
    /// When there is no such example, a path leads through something that has no fields, or the source alone can sign.
    pub fn example(
        &self,
        kind: Option<&str>,
        sets: &[(String, String)],
        (now, id): (Timestamp, &str),
        channel: Option<&Channel>,
    ) -> Result<Example, Error> {
        let known = &self.definition.events;
        let found = match kind {
            Some(kind) => known.get_key_value(kind),
            None => known.iter().next(),
        };
        let (kind, text) = found.ok_or_else(|| {
            let list: Vec<&str> = self.definition.kinds().collect();
            Error::Example(format!(
                "`{}` has no example of `{}`; there is one of {}",
                self.definition.name,
                kind.unwrap_or_default(),
                list.join(", ")
            ))
        })?;
        let body = self.body(text, sets, id)?;
        let seconds = now.as_millis().div_euclid(1000);
        let fill = |text: &str| {
            let family = kind.split('.').next().unwrap_or(kind);
            let text = text.replace("{event}", family).replace("{kind}", kind).replace("{id}", id);
            text.replace("{timestamp}", &seconds.to_string()).replace("{milliseconds}", &now.as_millis().to_string())
        };
        let mut headers: Vec<(String, String)> = vec![("content-type".to_owned(), "application/json".to_owned())];
        headers.extend(self.definition.example_headers.iter().map(|(name, value)| (name.clone(), fill(value))));
        if let (Some(channels), Some(channel)) = (&self.definition.channels, channel) {
            let sent = channels.sent.headers(channel);
            headers.retain(|(name, _)| !sent.iter().any(|(other, _)| other == name));
            headers.extend(sent);
        } else if let Some(verifier) = &self.verifier {
            headers.extend(verifier.sign(body.as_bytes(), id, seconds)?);
        }
        Ok(Example { kind: kind.clone(), headers, body })
    }

    /// The headers with which a body is sent as its source would send it.
    ///
    /// # Errors
    /// When the source alone can sign.
    pub fn signed(&self, body: &str, (now, id): (Timestamp, &str)) -> Result<Vec<(String, String)>, Error> {
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if let Some(verifier) = &self.verifier {
            headers.extend(verifier.sign(body.as_bytes(), id, now.as_millis().div_euclid(1000))?);
        }
        Ok(headers)
    }

    fn body(&self, text: &str, sets: &[(String, String)], id: &str) -> Result<String, Error> {
        if text.is_empty() {
            return if sets.is_empty() { Ok(String::new()) } else { Err(Error::Example("events of this source have no body".to_owned())) };
        }
        let mut payload: Value = serde_json::from_str(&text.replace("{id}", id)).map_err(|error| Error::Example(error.to_string()))?;
        for (path, value) in sets {
            set(&mut payload, path, value)?;
        }
        Ok(payload.to_string())
    }
}

fn set(payload: &mut Value, path: &str, value: &str) -> Result<(), Error> {
    let nowhere = || Error::Example(format!("`{}` leads nowhere in the example", path.chars().take(100).collect::<String>()));
    let mut at = payload;
    for part in path.split('.') {
        at = match at {
            Value::Object(fields) => fields.entry(part).or_insert(Value::Null),
            Value::Array(list) => part.parse::<usize>().ok().and_then(|place| list.get_mut(place)).ok_or_else(nowhere)?,
            place @ Value::Null => {
                *place = Value::Object(serde_json::Map::new());
                place.as_object_mut().ok_or_else(nowhere)?.entry(part).or_insert(Value::Null)
            }
            _ => return Err(nowhere()),
        };
    }
    *at = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok(())
}
