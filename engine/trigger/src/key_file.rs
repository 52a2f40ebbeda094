//! Key files as Google writes them: of a service account, or of a person who let an application in. What they are exchanged for is asked for here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookwright_core::{SecretValue, Timestamp};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;
use url::{Host, Url};

use crate::Error;

/// Where Google exchanges what a file without an address holds.
const GOOGLE: &str = "https://oauth2.googleapis.com/token";

/// How long what is signed may be used, in seconds; Google takes no more.
const LIFE: i64 = 3600;

/// See the module.
#[derive(Clone, Debug)]
pub struct KeyFile {
    pub(crate) token_url: Url,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Service { email: String, key_id: Option<String>, key: Arc<RsaKeyPair>, subject: Option<String> },
    Person { client: String, client_secret: SecretValue, refresh_token: SecretValue },
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    token_uri: Option<String>,
}

impl KeyFile {
    /// Reads a file; `subject` is whose data a service account asks for, where its domain lets it.
    ///
    /// # Errors
    /// [`Error::KeyFile`] with what is wrong, and nothing of the key.
    pub fn parse(text: &str, subject: Option<&str>) -> Result<Self, Error> {
        let unusable = |message: &str| Error::KeyFile(message.to_owned());
        // What serde says of a file could show a part of it.
        let written: Written = serde_json::from_str(text).map_err(|_| unusable("it is no JSON object as Google writes it"))?;
        let missing = |field: &str| Error::KeyFile(format!("`{field}` is missing"));
        let kind = match written.kind.as_deref() {
            Some("service_account") => Kind::Service {
                email: written.client_email.ok_or_else(|| missing("client_email"))?,
                key_id: written.private_key_id,
                key: Arc::new(key(&written.private_key.ok_or_else(|| missing("private_key"))?)?),
                subject: subject.map(str::to_owned),
            },
            Some("authorized_user") => Kind::Person {
                client: written.client_id.ok_or_else(|| missing("client_id"))?,
                client_secret: SecretValue::new(written.client_secret.ok_or_else(|| missing("client_secret"))?),
                refresh_token: SecretValue::new(written.refresh_token.ok_or_else(|| missing("refresh_token"))?),
            },
            _ => return Err(unusable("its `type` is neither `service_account` nor `authorized_user`")),
        };
        let token_url =
            Url::parse(written.token_uri.as_deref().unwrap_or(GOOGLE)).map_err(|_| unusable("its `token_uri` is no address"))?;
        let is_here = match token_url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            _ => false,
        };
        if token_url.scheme() != "https" && !(token_url.scheme() == "http" && is_here) {
            return Err(unusable("its `token_uri` is not https: secrets are sent there"));
        }
        Ok(Self { token_url, kind })
    }

    /// The form that is exchanged for a token.
    pub(crate) fn grant(&self, scope: &str, now: Timestamp) -> Result<Vec<(&'static str, String)>, Error> {
        match &self.kind {
            Kind::Person { client, client_secret, refresh_token } => Ok(vec![
                ("grant_type", "refresh_token".to_owned()),
                ("client_id", client.clone()),
                ("client_secret", client_secret.expose().to_owned()),
                ("refresh_token", refresh_token.expose().to_owned()),
            ]),
            Kind::Service { email, key_id, key, subject } => {
                let issued = now.as_millis().div_euclid(1000);
                let mut header = json!({ "alg": "RS256", "typ": "JWT" });
                let mut claims = json!({ "iss": email, "scope": scope, "aud": self.token_url, "iat": issued, "exp": issued + LIFE });
                if let Some(id) = key_id {
                    header["kid"] = id.as_str().into();
                }
                if let Some(subject) = subject {
                    claims["sub"] = subject.as_str().into();
                }
                let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
                    .map_err(|_| Error::KeyFile("its key does not sign".to_owned()))?;
                Ok(vec![
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()),
                    ("assertion", format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))),
                ])
            }
        }
    }
}

/// A private key in PKCS#8, as PEM.
fn key(pem: &str) -> Result<RsaKeyPair, Error> {
    let unusable = || Error::KeyFile("its `private_key` is no RSA key in PKCS#8".to_owned());
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----").ok_or_else(unusable)?;
    let (encoded, _) = rest.split_once("-----END PRIVATE KEY-----").ok_or_else(unusable)?;
    let encoded: String = encoded.split_whitespace().collect();
    let decoded = STANDARD.decode(encoded).map_err(|_| unusable())?;
    RsaKeyPair::from_pkcs8(&decoded).map_err(|_| unusable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_that_cannot_be_used_is_refused_with_the_reason_and_without_what_it_holds() {
        for (text, words) in [
            ("hunter2", "no JSON object"),
            ("{}", "its `type`"),
            (r#"{"type":"service_account"}"#, "`client_email` is missing"),
            (r#"{"type":"service_account","client_email":"a","private_key":"hunter2"}"#, "no RSA key"),
            (
                r#"{"type":"authorized_user","client_id":"a","client_secret":"hunter2","refresh_token":"b","token_uri":"http://example.com"}"#,
                "not https",
            ),
        ] {
            let error = KeyFile::parse(text, None).expect_err(text).to_string();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }
}
