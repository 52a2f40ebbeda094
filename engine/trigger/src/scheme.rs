//! How events are verified: the primitives that definitions choose from. Comparisons take the same time whatever differs.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookwright_core::{SecretValue, Timestamp};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Error;

/// How far a signed timestamp may be off, in seconds.
const TOLERANCE: u64 = 300;

/// Signatures in one request that are looked at.
const MOST_SIGNATURES: usize = 16;

/// A way to verify; exactly one of `hmac`, `ed25519` and `token` is there.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scheme {
    /// It is used for secrets that begin so. The choice is the configuration's: a request cannot fall back to a weaker scheme.
    #[serde(default)]
    pub(crate) secrets: Option<String>,
    /// A keyed hash.
    #[serde(default)]
    pub(crate) hmac: Option<Signature>,
    /// A signature with a public key.
    #[serde(default)]
    pub(crate) ed25519: Option<Signature>,
    /// The secret itself.
    #[serde(default)]
    pub(crate) token: Option<Token>,
}

/// A signature over the raw body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signature {
    /// The header it stands in, under its names; the first that is there counts, and the other headers go by the same place in their lists.
    pub(crate) headers: Vec<String>,
    /// What stands before each signature, such as `sha256=` or `v1,`.
    #[serde(default)]
    pub(crate) prefix: String,
    #[serde(default)]
    pub(crate) encoding: Encoding,
    #[serde(default)]
    pub(crate) list: List,
    /// What is signed: `{body}`, `{timestamp}` and `{id}` and the text between them.
    #[serde(default = "body")]
    pub(crate) message: String,
    /// The header of the timestamp, in seconds since 1970.
    #[serde(default)]
    pub(crate) timestamps: Vec<String>,
    /// The header of the id that is signed.
    #[serde(default)]
    pub(crate) ids: Vec<String>,
    /// What stands before the key in the secret; the rest is in base64. Without it the secret's text is the key.
    #[serde(default)]
    pub(crate) key_prefix: Option<String>,
}

fn body() -> String {
    "{body}".to_owned()
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// Lower-case hexadecimal digits.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}

/// Whether there may be several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum List {
    /// One.
    #[default]
    Single,
    /// Several, separated by spaces.
    Spaces,
    /// `name=value` pairs separated by commas; `t` is the timestamp, and those that begin with the prefix are the signatures.
    Pairs,
}

/// A shared text in a header.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) header: String,
    /// What stands before it, such as `Bearer `.
    #[serde(default)]
    pub(crate) prefix: String,
}

/// What verification says of a request that it lets through.
pub(crate) struct Verified {
    /// A digest of the signature that fitted; `None` for tokens.
    pub(crate) fingerprint: Option<String>,
}

/// A scheme with its keys.
pub(crate) struct Verifier {
    pub(crate) scheme: Scheme,
    keys: Vec<Vec<u8>>,
}

impl Verifier {
    /// The first scheme that takes such secrets, with every secret as a key.
    pub(crate) fn new(source: &str, schemes: &[Scheme], secrets: &[SecretValue]) -> Result<Self, Error> {
        let newest = secrets.first().ok_or_else(|| Error::NoSecret { name: source.to_owned() })?;
        let takes = |scheme: &&Scheme| scheme.secrets.as_ref().is_none_or(|prefix| newest.expose().starts_with(prefix.as_str()));
        let unusable = |message: &str| Error::Secret { name: source.to_owned(), message: message.to_owned() };
        let scheme = schemes.iter().find(takes).ok_or_else(|| unusable("it does not look like one of this source"))?;
        let mut keys = Vec::new();
        for secret in secrets.iter().take(2) {
            match scheme.key(secret.expose()) {
                Ok(key) => keys.push(key),
                // One that was valid for another scheme is of no use any more; the newest one must be.
                Err(_) if !keys.is_empty() => {}
                Err(message) => return Err(unusable(&message)),
            }
        }
        Ok(Self { scheme: scheme.clone(), keys })
    }

    /// Verifies a request.
    ///
    /// # Errors
    /// What is missing or does not fit, as a sentence.
    pub(crate) fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Verified, String> {
        if let Some(token) = &self.scheme.token {
            let sent = one(headers, &token.header)?
                .strip_prefix(&token.prefix)
                .ok_or_else(|| format!("`{}` does not begin as it should", token.header))?;
            // Digests have the same length, so that not even the length of the token shows.
            let sent = Sha256::digest(sent.as_bytes());
            let fits = self.keys.iter().fold(0, |fits, key| fits | Sha256::digest(key).ct_eq(&sent).unwrap_u8());
            return if fits == 1 {
                Ok(Verified { fingerprint: None })
            } else {
                Err(format!("the token in `{}` is not the one that is set", token.header))
            };
        }
        let (signature, is_public) = self.scheme.signature().ok_or("the event source says no way to verify")?;
        let place = signature.headers.iter().position(|name| headers.contains_key(name));
        let place = place.ok_or_else(|| format!("the signature is missing: there is no `{}`", signature.headers.join("` or `")))?;
        let value = one(headers, &signature.headers[place])?;
        let (candidates, paired) = signature.candidates(value)?;
        let timestamp = match (paired, signature.timestamps.get(place)) {
            (Some(text), _) => Some(text),
            (None, Some(header)) => Some(one(headers, header)?),
            (None, None) => None,
        };
        if let Some(timestamp) = timestamp {
            fresh(timestamp, now)?;
        }
        let id = signature.ids.get(place).map(|header| one(headers, header)).transpose()?;
        let message = signature.message(timestamp.unwrap_or_default(), id.unwrap_or_default(), body);
        let fits = |candidate: &[u8]| {
            self.keys.iter().fold(false, |fits, key| {
                let this = if is_public { is_signed(key, &message, candidate) } else { is_hashed(key, &message, candidate) };
                fits | this
            })
        };
        let fitting = candidates.iter().find(|candidate| fits(candidate)).ok_or("the signature does not fit the body and the secret")?;
        Ok(Verified { fingerprint: Some(hex::encode(Sha256::digest(fitting))) })
    }

    /// The headers that sign a message with the newest key.
    ///
    /// # Errors
    /// When only the source has the key.
    pub(crate) fn sign(&self, body: &[u8], id: &str, seconds: i64) -> Result<Vec<(String, String)>, Error> {
        let none = || Error::Example("this source has no secret to sign with".to_owned());
        let key = self.keys.first().ok_or_else(none)?;
        if let Some(token) = &self.scheme.token {
            return Ok(vec![(token.header.clone(), format!("{}{}", token.prefix, String::from_utf8_lossy(key)))]);
        }
        let Some(signature) = &self.scheme.hmac else {
            return Err(Error::Example("the source signs with a private key, which it alone has: no example can be signed".to_owned()));
        };
        let timestamp = seconds.to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(&signature.message(&timestamp, id, body));
        let mac = mac.finalize().into_bytes();
        let written = match signature.encoding {
            Encoding::Hex => hex::encode(mac),
            Encoding::Base64 => STANDARD.encode(mac),
        };
        let value = match signature.list {
            List::Pairs => format!("t={timestamp},{}{written}", signature.prefix),
            List::Single | List::Spaces => format!("{}{written}", signature.prefix),
        };
        let header = |names: &[String], value: String| names.first().map(|name| (name.clone(), value));
        let headers = [header(&signature.headers, value), header(&signature.timestamps, timestamp), header(&signature.ids, id.to_owned())];
        Ok(headers.into_iter().flatten().collect())
    }
}

/// As people are told it: what is compared with what.
impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signature(), &self.token) {
            (Some((signature, is_public)), _) => {
                let way = if is_public { "Ed25519" } else { "HMAC-SHA256" };
                write!(f, "{way} over `{}` in {}", signature.message, signature.headers.join(" or "))
            }
            (None, Some(token)) => write!(f, "a token in {}", token.header),
            (None, None) => f.write_str("nothing"),
        }
    }
}

impl Scheme {
    fn signature(&self) -> Option<(&Signature, bool)> {
        self.hmac.as_ref().map(|signature| (signature, false)).or(self.ed25519.as_ref().map(|signature| (signature, true)))
    }

    fn key(&self, secret: &str) -> Result<Vec<u8>, String> {
        let prefix = self.signature().and_then(|(signature, _)| signature.key_prefix.as_deref());
        let key = match prefix {
            None => secret.as_bytes().to_vec(),
            Some(prefix) => {
                let encoded = secret.strip_prefix(prefix).unwrap_or(secret);
                STANDARD.decode(encoded).map_err(|_| format!("it is `{prefix}` and base64, and this is not"))?
            }
        };
        match (key.len(), self.ed25519.is_some()) {
            (0, _) => Err("it is empty".to_owned()),
            (length, true) if length != 32 => Err("a public key has 32 bytes".to_owned()),
            _ => Ok(key),
        }
    }
}

impl Signature {
    /// The signatures of a header, decoded, and the timestamp where it is among them.
    fn candidates<'a>(&self, value: &'a str) -> Result<(Vec<Vec<u8>>, Option<&'a str>), String> {
        let parts: Vec<&str> = match self.list {
            List::Single => vec![value],
            List::Spaces => value.split(' ').collect(),
            List::Pairs => value.split(',').collect(),
        };
        let timestamp = (self.list == List::Pairs).then(|| parts.iter().find_map(|part| part.strip_prefix("t="))).flatten();
        if self.list == List::Pairs && timestamp.is_none() {
            return Err("the signature has no timestamp".to_owned());
        }
        let written = parts.iter().filter_map(|part| part.strip_prefix(self.prefix.as_str())).take(MOST_SIGNATURES);
        let decoded: Vec<Vec<u8>> = written.filter_map(|text| self.decode(text)).collect();
        if decoded.is_empty() { Err("the signature is not written as this source writes it".to_owned()) } else { Ok((decoded, timestamp)) }
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        match self.encoding {
            Encoding::Hex if text.bytes().any(|byte| byte.is_ascii_uppercase()) => None,
            Encoding::Hex => hex::decode(text).ok(),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        }
    }

    /// What is signed.
    fn message(&self, timestamp: &str, id: &str, body: &[u8]) -> Vec<u8> {
        let (before, after) = self.message.split_once("{body}").unwrap_or((&self.message, ""));
        let fill = |text: &str| text.replace("{timestamp}", timestamp).replace("{id}", id);
        [fill(before).as_bytes(), body, fill(after).as_bytes()].concat()
    }
}

/// The one value of a header: two are a trick, because receivers differ in which one they read.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or_else(|| format!("there is no `{name}`"))?;
    if values.next().is_some() {
        return Err(format!("there is more than one `{name}`"));
    }
    value.to_str().map_err(|_| format!("`{name}` is no text"))
}

fn fresh(text: &str, now: Timestamp) -> Result<(), String> {
    let digits = !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = text.parse().ok().filter(|_| digits).ok_or("the timestamp is no number of seconds since 1970")?;
    if seconds.abs_diff(now.as_millis().div_euclid(1000)) > TOLERANCE {
        return Err(format!("the timestamp is more than {TOLERANCE} s off; an old event was sent again, or a clock is wrong"));
    }
    Ok(())
}

fn is_hashed(key: &[u8], message: &[u8], candidate: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    // Of another length is unequal.
    mac.finalize().into_bytes().as_slice().ct_eq(candidate).into()
}

fn is_signed(key: &[u8], message: &[u8], candidate: &[u8]) -> bool {
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key).verify(message, candidate).is_ok()
}
