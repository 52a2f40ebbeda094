//! The envelopes of CloudEvents (HTTP protocol binding 1.0.2): binary, structured, batched; and the handshake of its webhook specification.

use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::binding::{Answer, Incoming, ReceivedEvent, Refusal};

/// Events in a batch.
const MOST: usize = 1000;

/// Grants whoever asks politely the right to send: the address cannot be guessed, and each event is verified.
///
/// # Errors
/// 400 without the header that names the sender.
pub(crate) fn handshake(headers: &HeaderMap) -> Result<Answer, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let origin = text("webhook-request-origin").ok_or_else(|| Refusal::new(400, "there is no `WebHook-Request-Origin`"))?;
    let mut answer = vec![("allow".to_owned(), "POST".to_owned()), ("webhook-allowed-origin".to_owned(), origin)];
    if text("webhook-request-rate").is_some() {
        answer.push(("webhook-allowed-rate".to_owned(), "*".to_owned()));
    }
    Ok(Answer { status: 200, headers: answer, body: String::new() })
}

/// Reads the events of a request.
///
/// # Errors
/// 400 when it holds none, 415 for other formats.
pub(crate) fn read(incoming: &Incoming<'_>) -> Result<Vec<ReceivedEvent>, Refusal> {
    let content_type =
        incoming.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let json = || serde_json::from_slice::<Value>(incoming.body).map_err(|_| Refusal::new(400, "the body is no JSON"));
    // The batch's name begins with the other one's.
    if content_type.starts_with("application/cloudevents-batch+json") {
        let Value::Array(list) = json()? else { return Err(Refusal::new(400, "a batch is a list")) };
        if list.len() > MOST {
            return Err(Refusal::new(413, format!("a batch has at most {MOST} events")));
        }
        return list.iter().map(|event| structured(event, Bytes::from(event.to_string()))).collect();
    }
    if content_type.starts_with("application/cloudevents+json") {
        return Ok(vec![structured(&json()?, incoming.body.clone())?]);
    }
    if content_type.starts_with("application/cloudevents") {
        return Err(Refusal::new(415, "events are taken as JSON, one or in a batch, or in binary mode"));
    }
    let attribute = |name: &str| {
        let value = incoming.headers.get(name)?.to_str().ok()?;
        // Values are percent-encoded (section 3.1.3.2 of the binding).
        Some(percent_encoding::percent_decode_str(value).decode_utf8().ok()?.into_owned())
    };
    let event = (attribute("ce-type"), attribute("ce-source"), attribute("ce-id"));
    let (Some(kind), Some(source), Some(id)) = event else {
        return Err(Refusal::new(400, "this is no CloudEvent: `ce-type`, `ce-source` and `ce-id` belong to it"));
    };
    Ok(vec![made(kind, &source, &id, incoming.body.clone())])
}

fn structured(event: &Value, body: Bytes) -> Result<ReceivedEvent, Refusal> {
    let text = |name: &str| event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(kind), Some(source), Some(id)) = (text("type"), text("source"), text("id")) else {
        return Err(Refusal::new(400, "this is no CloudEvent: `type`, `source` and `id` belong to it"));
    };
    Ok(made(kind.to_owned(), source, id, body))
}

fn made(kind: String, source: &str, id: &str, body: Bytes) -> ReceivedEvent {
    let digest = Sha256::new().chain_update(source).chain_update([0]).chain_update(id).finalize();
    let key = Some(format!("id/{}", hex::encode(digest)));
    ReceivedEvent { kind, source_id: Some(id.to_owned()), replay_keys: [key, None], ping: false, body }
}
