//! A definition with the secrets of one trigger: verifies requests and reads the events in them.

use std::sync::Arc;

use bytes::Bytes;
use hookwright_core::{Channel, SecretValue, Timestamp};
use http::{HeaderMap, Method, Uri, header};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::definition::Definition;
use crate::locator::Locator;
use crate::payload::payload;
use crate::scheme::{Encoding, List, Scheme, Signature, Token, Verifier};
use crate::{Error, cloud_events};

/// What a binding is made of.
pub struct NewBinding<'a> {
    /// The event source.
    pub definition: Arc<Definition>,
    /// What the trigger says to it, as JSON text: `{}` but for the source `generic`.
    pub options: &'a str,
    /// `false` for `verify: none`.
    pub verified: bool,
    /// Secrets that are accepted, the newest first; two at most are used.
    pub secrets: Vec<SecretValue>,
}

/// A request as it arrived.
pub struct Incoming<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its address.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, byte for byte.
    pub body: &'a Bytes,
    /// When it arrived.
    pub now: Timestamp,
    /// The channel that [`Binding::channel_id`] names, if it is one of this trigger's.
    pub channel: Option<&'a Channel>,
}

/// What a request is.
#[derive(Debug)]
pub enum Received {
    /// Events, one or more.
    Events(Vec<ReceivedEvent>),
    /// A question of the source about the address, with its answer; nothing happened.
    Answer(Answer),
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// Its type in the words of the source.
    pub kind: String,
    /// What the source calls it.
    pub source_id: Option<String>,
    /// The id and the signature, where there are such: an event of the same trigger that has one of them was received before.
    pub replay_keys: [Option<String>; 2],
    /// Whether it only tries the address out.
    pub ping: bool,
    /// Its body; of a batch the part that is this event.
    pub body: Bytes,
}

/// An answer that the source waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What, why and what to do.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// What a trigger of the source `generic` says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    signature: Option<SignatureOptions>,
    token: Option<Token>,
    event: Option<Locator>,
    id: Option<Locator>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureOptions {
    header: String,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    timestamp: Option<String>,
}

impl Options {
    fn scheme(self) -> Result<Scheme, Error> {
        let scheme = Scheme { secrets: None, hmac: None, ed25519: None, token: None };
        match (self.signature, self.token) {
            (Some(signature), None) => {
                let hmac = Signature {
                    headers: vec![signature.header],
                    prefix: signature.prefix,
                    encoding: signature.encoding,
                    list: List::Single,
                    message: signature.message.unwrap_or_else(|| "{body}".to_owned()),
                    timestamps: signature.timestamp.into_iter().collect(),
                    ids: Vec::new(),
                    key_prefix: None,
                };
                if !hmac.message.contains("{body}") {
                    return Err(Error::Options(
                        "`signature.message` does not have `{body}`, so that the body would not be signed".to_owned(),
                    ));
                }
                Ok(Scheme { hmac: Some(hmac), ..scheme })
            }
            (None, Some(token)) => Ok(Scheme { token: Some(token), ..scheme }),
            _ => Err(Error::Options("write either `signature: { header: … }` or `token: { header: … }`, or say `verify: none`".to_owned())),
        }
    }
}

/// What an event is known by that its source calls `id`.
pub(crate) fn id_key(id: &str) -> String {
    format!("id/{}", hex::encode(Sha256::digest(id)))
}

/// See the [crate's documentation](crate).
pub struct Binding {
    pub(crate) definition: Arc<Definition>,
    /// Whether anything is verified at all.
    verified: bool,
    /// `None` for `verify: none`, and when messages of channels alone are taken.
    pub(crate) verifier: Option<Verifier>,
    kind: Vec<Locator>,
    id: Vec<Locator>,
}

impl Binding {
    /// Makes a trigger ready to receive.
    ///
    /// # Errors
    /// [`Error::NoSecret`] and [`Error::Secret`] when nothing could be verified: it fails closed. [`Error::Options`].
    pub fn new(new: NewBinding<'_>) -> Result<Self, Error> {
        let NewBinding { definition, options, verified, secrets } = new;
        let options: Options = serde_json::from_str(options).map_err(|error| Error::Options(error.to_string()))?;
        let places = |own: &Option<Locator>, known: &[Locator]| own.clone().map_or_else(|| known.to_vec(), |own| vec![own]);
        let (kind, id) = (places(&options.event, &definition.kind), places(&options.id, &definition.id));
        let verified = verified && definition.receives;
        let verifier = match (verified, definition.by_options) {
            (false, _) => None,
            // Channels bring tokens of their own.
            (true, _) if definition.channels.is_some() && secrets.is_empty() => None,
            (true, true) => Some(Verifier::new(&definition.name, &[options.scheme()?], &secrets)?),
            (true, false) => Some(Verifier::new(&definition.name, &definition.verify, &secrets)?),
        };
        Ok(Self { definition, verified, verifier, kind, id })
    }

    /// Verifies a request and reads what it holds.
    ///
    /// # Errors
    /// [`Refusal`]: 401 when it cannot be verified, 400 when it is no event of this source, 405, 415.
    pub fn receive(&self, incoming: &Incoming<'_>) -> Result<Received, Refusal> {
        if !self.definition.receives {
            return Err(Refusal::new(405, format!("`{}` receives nothing from outside", self.definition.name)));
        }
        if self.definition.cloud_events && incoming.method == Method::OPTIONS {
            return cloud_events::handshake(incoming.headers).map(Received::Answer);
        }
        if incoming.method != Method::POST {
            return Err(Refusal::new(405, "events are sent with POST"));
        }
        if incoming.headers.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity") {
            return Err(Refusal::new(415, "compressed events are not taken; send the body as it is"));
        }
        let fingerprint = self.verify(incoming).map_err(|why| Refusal::new(401, format!("the event is not verified: {why}")))?;
        if self.definition.cloud_events {
            return cloud_events::read(incoming).map(Received::Events);
        }
        let content_type = incoming.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let payload = payload(content_type, incoming.body).unwrap_or(Value::Null);
        if let Some(answer) = self.challenge(&payload) {
            return Ok(Received::Answer(answer));
        }
        let kind = Locator::first(&self.kind, incoming.headers, &payload);
        let kind = match kind {
            Some(kind) => kind,
            None if self.definition.by_options => "event".to_owned(),
            None => return Err(Refusal::new(400, format!("this is no event of `{}`: its type is missing", self.definition.name))),
        };
        self.check_shape(&kind, &payload)?;
        let source_id = Locator::first(&self.id, incoming.headers, &payload);
        let ping = self.definition.pings.contains(&kind);
        // Ids are the source's texts, as long as they like; what they are compared by is short.
        let id_key = source_id.as_deref().map(id_key);
        let signature_key = fingerprint.map(|fingerprint| format!("signature/{fingerprint}"));
        let event = ReceivedEvent { kind, source_id, replay_keys: [id_key, signature_key], ping, body: incoming.body.clone() };
        Ok(Received::Events(vec![event]))
    }

    /// The channel that a message says it comes through; whoever receives looks whether it is one of this trigger's.
    pub fn channel_id<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.definition.channels.as_ref().filter(|_| self.verified)?.sent.channel_id(headers)
    }

    /// The signature's fingerprint, where there is one.
    fn verify(&self, incoming: &Incoming<'_>) -> Result<Option<String>, String> {
        if let (Some(channels), Some(channel)) = (self.definition.channels.as_ref().filter(|_| self.verified), incoming.channel) {
            return channels.sent.verify(incoming.headers, channel).map(|()| None);
        }
        match &self.verifier {
            Some(verifier) => Ok(verifier.verify(incoming.headers, incoming.body, incoming.now)?.fingerprint),
            None if self.verified => Err("it comes through a channel that is not open".to_owned()),
            None => Ok(None),
        }
    }

    fn challenge(&self, payload: &Value) -> Option<Answer> {
        let challenge = self.definition.challenge.as_ref()?;
        if payload.pointer(&challenge.field)?.as_str()? != challenge.equals {
            return None;
        }
        let body = payload.pointer(&challenge.answer)?.as_str()?.to_owned();
        Some(Answer { status: 200, headers: vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())], body })
    }

    /// A type that no signature covers must go with the body.
    fn check_shape(&self, kind: &str, payload: &Value) -> Result<(), Refusal> {
        let family = kind.split('.').next().unwrap_or(kind);
        match self.definition.shapes.get(kind).or_else(|| self.definition.shapes.get(family)) {
            Some(field) if payload.pointer(field).is_none() => Err(Refusal::new(
                400,
                format!("the headers say `{family}`, and the body is no such event: it has no `{}`", field.trim_start_matches('/')),
            )),
            _ => Ok(()),
        }
    }
}
