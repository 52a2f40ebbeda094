//! Sources that send through channels: opened with an id and a token of ours, ended by the source after a time, and closed by us.

use std::collections::BTreeMap;
use std::time::Duration;

use hookwright_core::port::{ChannelToClose, OpenedChannel, WantedChannel};
use hookwright_core::{Channel, PortError, Timestamp};
use http::HeaderMap;
use reqwest::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::asked::{Asked, Said};
use crate::changes::Changes;
use crate::registration::{Refusals, Way, repository};

/// A channel that ends sooner than this could not be renewed in time.
const SHORTEST: Duration = Duration::from_secs(60);

/// The calls of a source with channels; `{id}`, `{url}`, `{token}`, `{seconds}`, `{resource}` and what stands in every path may stand in them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channels {
    #[serde(default)]
    pub(crate) provider: Option<String>,
    #[serde(default)]
    api: Option<String>,
    headers: BTreeMap<String, String>,
    open: Call,
    close: Call,
    /// How what changes is listed, when messages of it may be lost.
    #[serde(default)]
    pub(crate) changes: Option<Changes>,
    /// For how long a channel is asked for.
    seconds: u64,
    /// Where the answer names the channel, what is watched, and when the channel ends (milliseconds since 1970, as a number or a text).
    id: String,
    resource: String,
    expires: String,
    /// The headers by which its messages say through which channel they come.
    pub(crate) sent: Sent,
    /// What credentials are asked for when they are exchanged for a token.
    pub(crate) scope: String,
    pub(crate) rights: String,
    #[serde(default = "repository")]
    whose: String,
    #[serde(default)]
    refusals: Refusals,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Call {
    path: String,
    body: Map<String, Value>,
}

/// Names of headers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    pub(crate) id: String,
    token: String,
    resource: String,
}

impl Channels {
    pub(crate) fn way(&self) -> Way<'_> {
        Way {
            api: self.api.as_deref(),
            headers: &self.headers,
            whose: &self.whose,
            rights: &self.rights,
            refusals: &self.refusals,
            form: false,
        }
    }
}

impl Sent {
    /// The channel that a message says it comes through.
    pub(crate) fn channel_id<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        headers.get(&self.id)?.to_str().ok()
    }

    /// Whether a message comes through a channel: it has the channel's token, and is about what the channel watches.
    pub(crate) fn verify(&self, headers: &HeaderMap, channel: &Channel) -> Result<(), String> {
        let one = |name: &String| {
            let mut values = headers.get_all(name).iter();
            match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
                (Some(value), None) => Ok(value),
                (None, _) => Err(format!("there is no `{name}`")),
                (_, Some(_)) => Err(format!("there is more than one `{name}`")),
            }
        };
        let fits = Sha256::digest(one(&self.token)?).ct_eq(&Sha256::digest(channel.token.expose()));
        if !bool::from(fits) {
            return Err(format!("the token in `{}` is not the one of this channel", self.token));
        }
        let watched = one(&self.resource)?;
        // The first message may come before the answer that says what it is called.
        match &channel.resource {
            Some(resource) if resource != watched => Err("the channel watches something else".to_owned()),
            _ => Ok(()),
        }
    }

    /// The headers of a message that comes through a channel.
    pub(crate) fn headers(&self, channel: &Channel) -> [(String, String); 3] {
        [
            (self.id.clone(), channel.id.clone()),
            (self.token.clone(), channel.token.expose().to_owned()),
            (self.resource.clone(), channel.resource.clone().unwrap_or_default()),
        ]
    }
}

impl Asked<'_> {
    pub(crate) async fn open(
        &self,
        channels: &Channels,
        wanted: WantedChannel<'_>,
        now: Timestamp,
    ) -> Result<Option<OpenedChannel>, PortError> {
        let WantedChannel { wanted, channel } = wanted;
        let seconds = channels.seconds.to_string();
        let values = [("{id}", channel.id.as_str()), ("{url}", &wanted.url), ("{token}", channel.token.expose()), ("{seconds}", &seconds)];
        let body = filled(&channels.open.body, &values);
        let said = Said { body: Some(&body), secret: Some(&channel.token), ..Said::default() };
        let reply = match self.call(Method::POST, &channels.open.path, said).await {
            Ok(reply) => reply.value,
            Err(error) if error.taken => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let title = &self.definition.title;
        if reply.pointer(&channels.id).and_then(Value::as_str) != Some(&channel.id) {
            return Err(PortError::errored(format!("{title} answers with another channel than the one it was asked for")));
        }
        let resource = reply.pointer(&channels.resource).and_then(Value::as_str).filter(|resource| !resource.is_empty());
        let resource = resource.ok_or_else(|| PortError::errored(format!("{title} does not say what the channel watches")))?;
        let expires = match reply.pointer(&channels.expires) {
            Some(Value::String(text)) => text.parse().ok(),
            Some(Value::Number(number)) => number.as_i64(),
            Some(_) => None,
            // Then it lasts for as long as was asked for.
            None => Some(now.plus(Duration::from_secs(channels.seconds)).as_millis()),
        };
        let expires =
            expires.map(Timestamp::from_millis).ok_or_else(|| PortError::errored(format!("{title} does not say when the channel ends")))?;
        if expires < now.plus(SHORTEST) {
            return Err(PortError::errored(format!(
                "{title} ends the channel at {expires}, which is no time from now on; is the clock right?"
            )));
        }
        Ok(Some(OpenedChannel { resource: resource.to_owned(), expires_at: expires }))
    }

    pub(crate) async fn close(&self, channels: &Channels, channel: ChannelToClose<'_>) -> Result<(), PortError> {
        let body = filled(&channels.close.body, &[("{id}", channel.id), ("{resource}", channel.resource)]);
        match self.call(Method::POST, &channels.close.path, Said { body: Some(&body), ..Said::default() }).await {
            Ok(_) => Ok(()),
            Err(error) if error.status == Some(StatusCode::NOT_FOUND) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn filled(template: &Map<String, Value>, values: &[(&str, &str)]) -> Value {
    fn fill(template: &Value, values: &[(&str, &str)]) -> Value {
        match template {
            Value::String(text) => Value::String(values.iter().fold(text.clone(), |text, (name, value)| text.replace(name, value))),
            Value::Object(fields) => Value::Object(fields.iter().map(|(name, value)| (name.clone(), fill(value, values))).collect()),
            other => other.clone(),
        }
    }
    fill(&Value::Object(template.clone()), values)
}
