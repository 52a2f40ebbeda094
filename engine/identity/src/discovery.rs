//! Where a provider is asked for what (OpenID Connect Discovery 1.0), read once an hour.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookwright_core::PortError;
use serde::Deserialize;
use url::Url;

use crate::address::endpoint;
use crate::client::{Client, excerpt};

/// How long a document is used before it is read anew.
const FRESH: Duration = Duration::from_secs(3600);

/// A discovery document as it comes.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What a document says, its addresses checked.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) authorization: Url,
    pub(crate) token: Url,
    pub(crate) keys: Url,
    pub(crate) user_info: Option<Url>,
    pub(crate) end_session: Option<Url>,
    /// The algorithms of ID tokens, when the provider says them.
    pub(crate) algorithms: Option<Vec<String>>,
    /// Whether the client's secret goes into the body: the provider takes it there and not in a header.
    pub(crate) secret_in_body: bool,
}

/// The document of one issuer.
pub(crate) struct Discovery {
    issuer: String,
    held: Mutex<Option<(Duration, Arc<Places>)>>,
}

impl Discovery {
    pub(crate) fn new(issuer: String) -> Self {
        Self { issuer, held: Mutex::new(None) }
    }

    /// The document, at `now` on a monotonic clock. An old one does when there is no new one to be had.
    pub(crate) async fn places(&self, client: &Client, now: Duration) -> Result<Arc<Places>, PortError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((since, places)) = &held
            && now < *since + FRESH
        {
            return Ok(Arc::clone(places));
        }
        match (self.fetch(client).await, held) {
            (Ok(places), _) => {
                let places = Arc::new(places);
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&places)));
                Ok(places)
            }
            (Err(_), Some((_, old))) => Ok(old),
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(&self, client: &Client) -> Result<Places, PortError> {
        let what = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let request = client.get(endpoint(&what, "issuer")?);
        let value = client.found(request, "its discovery document").await?;
        let document: Document = serde_json::from_value(value).map_err(|cause| {
            PortError::errored(format!("the provider's discovery document cannot be used: {}", excerpt(&cause.to_string())))
        })?;
        if document.issuer != self.issuer {
            let said = excerpt(&document.issuer);
            let text = format!("the provider calls itself `{said}`; set `openid.issuer` to exactly that instead of `{}`", self.issuer);
            return Err(PortError::failed(text));
        }
        let optional = |text: Option<String>, name| text.map(|text| endpoint(&text, name)).transpose();
        let methods = document.token_endpoint_auth_methods_supported.unwrap_or_default();
        let takes = |method: &str| methods.iter().any(|known| known == method);
        Ok(Places {
            authorization: endpoint(&document.authorization_endpoint, "authorization_endpoint")?,
            token: endpoint(&document.token_endpoint, "token_endpoint")?,
            keys: endpoint(&document.jwks_uri, "jwks_uri")?,
            user_info: optional(document.userinfo_endpoint, "userinfo_endpoint")?,
            end_session: optional(document.end_session_endpoint, "end_session_endpoint")?,
            algorithms: document.id_token_signing_alg_values_supported,
            secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
        })
    }
}
