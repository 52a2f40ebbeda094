//! What a source is shown so that it answers: a token from the settings, or one that something else is exchanged for and that lasts for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookwright_core::port::KeptCredentials;
use hookwright_core::{Clock, PortError, SecretValue};
use reqwest::{Client, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::KeyFile;
use crate::asked::{read, retry_after, silent};

/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(60);

/// The longest that a kept token is used before it is looked at again.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long a token is used that says nothing of its end.
const LIFE: Duration = Duration::from_secs(300);

/// How a source is shown who asks.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A token that is used as it is.
    Token(SecretValue),
    /// A key file that is exchanged for tokens.
    KeyFile(Box<KeyFile>),
    /// An application's own name and secret, which are exchanged for tokens.
    Client {
        /// Its name.
        id: String,
        /// Its secret.
        secret: SecretValue,
    },
    /// A token that is exchanged once for another token and for what takes its place; both are kept before they are used.
    SingleUse(SecretValue),
}

/// What is exchanged for a token, and where.
pub(crate) struct Exchange<'a> {
    pub(crate) provider: &'a str,
    pub(crate) title: &'a str,
    pub(crate) credential: &'a Credential,
    pub(crate) scope: &'a str,
    pub(crate) address: String,
}

/// A pair that a single-use token was exchanged for, as it is kept.
#[derive(Serialize, Deserialize)]
struct Pair {
    token: String,
    refresh_token: String,
    /// In seconds since 1970.
    exp: i64,
}

/// Tokens that were exchanged for something, until they end.
pub(crate) struct Keyring {
    clock: Arc<dyn Clock>,
    kept: Arc<dyn KeptCredentials>,
    exchanged: Mutex<BTreeMap<String, Exchanged>>,
}

#[derive(Clone)]
struct Exchanged {
    token: SecretValue,
    /// By the monotonic clock.
    until: Duration,
}

impl Keyring {
    pub(crate) fn new(clock: Arc<dyn Clock>, kept: Arc<dyn KeptCredentials>) -> Self {
        Self { clock, kept, exchanged: Mutex::default() }
    }

    /// The token for a provider. `refused` is one that it did not take: then another one is made, if that can be done.
    pub(crate) async fn token(
        &self,
        client: &Client,
        exchange: &Exchange<'_>,
        refused: Option<&SecretValue>,
    ) -> Result<SecretValue, PortError> {
        let Exchange { provider, title, credential, scope, address } = exchange;
        if let Credential::Token(token) = credential {
            return Ok(token.clone());
        }
        // Held while it is exchanged: whoever comes meanwhile gets the same one.
        let mut exchanged = self.exchanged.lock().await;
        let known = exchanged.get(*provider).filter(|known| known.until > self.clock.monotonic() && Some(&known.token) != refused);
        if let Some(known) = known {
            return Ok(known.token.clone());
        }
        let unusable = |error: crate::Error| PortError::failed(error.to_string());
        let (address, form) = match credential {
            Credential::Token(token) => return Ok(token.clone()),
            Credential::SingleUse(first) => {
                let made = self.rotate(client, exchange, (first, refused)).await?;
                exchanged.insert((*provider).to_owned(), made.clone());
                return Ok(made.token);
            }
            Credential::KeyFile(file) => (file.token_url.as_str(), file.grant(scope, self.clock.now()).map_err(unusable)?),
            Credential::Client { id, secret } => (
                address.as_str(),
                vec![
                    ("grant_type", "client_credentials".to_owned()),
                    ("client_id", id.clone()),
                    ("client_secret", secret.expose().to_owned()),
                ],
            ),
        };
        let value = ask(client, title, (address, form)).await?;
        let token = value["access_token"].as_str().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| PortError::errored(format!("{title} takes the credentials and hands out no token")))?;
        let life = value["expires_in"].as_u64().map_or(LIFE, Duration::from_secs);
        let made = Exchanged { token: SecretValue::new(token), until: self.clock.monotonic() + life.saturating_sub(MARGIN) };
        exchanged.insert((*provider).to_owned(), made.clone());
        Ok(made.token)
    }

    /// The token of the kept pair while it is taken, else the next pair, which is kept before anything of it is used.
    async fn rotate(
        &self,
        client: &Client,
        Exchange { provider, title, address, .. }: &Exchange<'_>,
        (first, refused): (&SecretValue, Option<&SecretValue>),
    ) -> Result<Exchanged, PortError> {
        // Another one in the settings begins anew.
        let basis = hex::encode(Sha256::digest(first.expose()));
        let kept = self.kept.kept(provider, &basis).await?;
        let kept: Option<Pair> = kept.and_then(|kept| serde_json::from_str(kept.expose()).ok());
        let seconds = self.clock.now().as_millis().div_euclid(1000);
        let left = |pair: &Pair| Duration::from_secs(u64::try_from(pair.exp.saturating_sub(seconds)).unwrap_or(0)).saturating_sub(MARGIN);
        let usable = |pair: &Pair, refused: Option<&SecretValue>| {
            let left = left(pair);
            (left > Duration::ZERO && refused.is_none_or(|refused| refused.expose() != pair.token))
                .then(|| Exchanged { token: SecretValue::new(pair.token.as_str()), until: self.clock.monotonic() + left.min(LONGEST) })
        };
        if let Some(found) = kept.as_ref().and_then(|pair| usable(pair, refused)) {
            return Ok(found);
        }
        let single = kept.map_or_else(|| first.expose().to_owned(), |pair| pair.refresh_token);
        let value = ask(client, title, (address, vec![("refresh_token", single)])).await?;
        if value["ok"] == false {
            return Err(refusal(title, (StatusCode::BAD_REQUEST, None), &value));
        }
        let pair: Pair = serde_json::from_value(value)
            .map_err(|_| PortError::errored(format!("{title} hands out something else than a pair of tokens")))?;
        let text =
            serde_json::to_string(&pair).map_err(|error| PortError::errored("the pair of tokens cannot be written").because(error))?;
        self.kept.keep(provider, &basis, &SecretValue::new(text)).await?;
        usable(&pair, None).ok_or_else(|| PortError::errored(format!("{title} hands out a token that has ended; is the clock right?")))
    }
}

/// Sends a form and reads what it is exchanged for.
async fn ask(client: &Client, title: &str, (address, form): (&str, Vec<(&'static str, String)>)) -> Result<Value, PortError> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let request = client.post(address).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let answer = request.send().await.map_err(|error| silent(title, error))?;
    let (status, wait) = (answer.status(), retry_after(&answer));
    let value: Value = serde_json::from_slice(&read(title, answer).await?).unwrap_or_default();
    if status.is_success() { Ok(value) } else { Err(refusal(title, (status, wait), &value)) }
}

impl Credential {
    /// The secret of an application, which some sources sign with.
    pub(crate) fn client_secret(&self) -> Option<&SecretValue> {
        match self {
            Self::Client { secret, .. } => Some(secret),
            _ => None,
        }
    }

    /// Whether another token can be had when the source does not take this one any more.
    pub(crate) fn renews(&self) -> bool {
        !matches!(self, Self::Token(_))
    }
}

fn refusal(title: &str, (status, wait): (StatusCode, Option<Duration>), said: &Value) -> PortError {
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return PortError::errored(format!("{title} answered {status} when it was asked for a token; it is asked again")).after(wait);
    }
    // A word of the standard (RFC 6749, 5.2); anything else that stands there is not repeated.
    let word = said["error"].as_str().filter(|word| word.len() < 50 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
    let word = word.map(|word| format!(" (`{word}`)")).unwrap_or_default();
    PortError::failed(format!(
        "{title} does not take the credentials{word}; they may be revoked or deleted, or the clock is wrong. Name others in the settings"
    ))
}
