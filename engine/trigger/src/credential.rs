//! What a source is shown so that it answers: a token from the settings, or one that something else is exchanged for and that lasts for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hookwright_core::{Clock, PortError, SecretValue};
use reqwest::{Client, StatusCode, header};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::KeyFile;
use crate::asked::{read, retry_after, silent};

/// How long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(60);

/// How long a token is used that says nothing of its end.
const LIFE: Duration = Duration::from_secs(300);

/// How a source is shown who asks.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A token that is used as it is.
    Token(SecretValue),
    /// A key file that is exchanged for tokens.
    KeyFile(Box<KeyFile>),
}

/// Tokens that were exchanged for something, until they end.
pub(crate) struct Keyring {
    clock: Arc<dyn Clock>,
    exchanged: Mutex<BTreeMap<String, Exchanged>>,
}

#[derive(Clone)]
struct Exchanged {
    token: SecretValue,
    /// By the monotonic clock.
    until: Duration,
}

impl Keyring {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, exchanged: Mutex::default() }
    }

    /// The token for a provider. `refused` is one that it did not take: then another one is made, if that can be done.
    pub(crate) async fn token(
        &self,
        client: &Client,
        (provider, title): (&str, &str),
        (credential, scope): (&Credential, &str),
        refused: Option<&SecretValue>,
    ) -> Result<SecretValue, PortError> {
        let file = match credential {
            Credential::Token(token) => return Ok(token.clone()),
            Credential::KeyFile(file) => file,
        };
        // Held while it is exchanged: whoever comes meanwhile gets the same one.
        let mut exchanged = self.exchanged.lock().await;
        let known = exchanged.get(provider).filter(|known| known.until > self.clock.monotonic() && Some(&known.token) != refused);
        if let Some(known) = known {
            return Ok(known.token.clone());
        }
        let form = file.grant(scope, self.clock.now()).map_err(|error| PortError::failed(error.to_string()))?;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = client.post(file.token_url.clone()).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.map_err(|error| silent(title, error))?;
        let (status, wait) = (answer.status(), retry_after(&answer));
        let value: Value = serde_json::from_slice(&read(title, answer).await?).unwrap_or_default();
        if !status.is_success() {
            return Err(refusal(title, (status, wait), &value));
        }
        let token = value["access_token"].as_str().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| PortError::errored(format!("{title} takes the credentials and hands out no token")))?;
        let life = value["expires_in"].as_u64().map_or(LIFE, Duration::from_secs);
        let made = Exchanged { token: SecretValue::new(token), until: self.clock.monotonic() + life.saturating_sub(MARGIN) };
        exchanged.insert(provider.to_owned(), made.clone());
        Ok(made.token)
    }
}

impl Credential {
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
