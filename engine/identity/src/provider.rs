//! One provider, as the port of `core` wants it: the authorization code flow with PKCE.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookwright_core::port::{Identity, IdentityProvider, SignInAttempt};
use hookwright_core::{Clock, PortError, SecretValue};
use reqwest::StatusCode;
use ring::digest;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::claims;
use crate::client::{Client, excerpt};
use crate::discovery::{Discovery, Places};
use crate::keys::Keys;
use crate::signature;
use crate::token::{Expected, Refusal, verify};

/// A provider and what we are to it.
pub struct OpenIdOptions {
    /// Its name, which is where its discovery document is; checked by [`check_issuer`](crate::check_issuer).
    pub issuer: String,
    /// What it calls us.
    pub client_id: String,
    /// What we prove that with; `None` for a public client.
    pub client_secret: Option<SecretValue>,
    /// What is asked for; `openid` is among it.
    pub scopes: Vec<String>,
    /// The claim that is a person's name; `None`: `preferred_username`, else a verified `email`.
    pub name_claim: Option<String>,
    /// The claim that holds a person's groups.
    pub groups_claim: String,
    /// A client that follows no redirects.
    pub http: reqwest::Client,
    /// For the ends of tokens, and for how often things are read.
    pub clock: Arc<dyn Clock>,
}

/// An OpenID provider.
pub struct OpenIdProvider {
    options: OpenIdOptions,
    client: Client,
    discovery: Discovery,
    keys: Keys,
}

/// What a token endpoint answers.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
}

/// What it answers when it refuses.
#[derive(Deserialize)]
struct RefusedTokens {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl OpenIdProvider {
    /// A provider that is asked for nothing yet.
    pub fn new(options: OpenIdOptions) -> Self {
        signature::install();
        let (client, discovery) = (Client::new(options.http.clone()), Discovery::new(options.issuer.clone()));
        Self { options, client, discovery, keys: Keys::default() }
    }

    /// Asks the provider for its discovery document and its keys.
    ///
    /// # Errors
    /// What does not answer, or what cannot be used of it.
    pub async fn examine(&self) -> Result<(), PortError> {
        let places = self.places().await?;
        self.keys.read(&self.client, &places.keys, self.options.clock.monotonic()).await.map(drop)
    }

    async fn places(&self) -> Result<Arc<Places>, PortError> {
        self.discovery.places(&self.client, self.options.clock.monotonic()).await
    }

    /// The request for a token, and its body: with the secret where the provider takes it.
    fn token_request(&self, places: &Places, attempt: &SignInAttempt, code: &SecretValue) -> (reqwest::RequestBuilder, String) {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("grant_type", "authorization_code").append_pair("code", code.expose());
        body.append_pair("redirect_uri", &attempt.redirect).append_pair("code_verifier", attempt.verifier.expose());
        let mut request = self.client.post(places.token.clone());
        let id = &self.options.client_id;
        match &self.options.client_secret {
            Some(secret) if places.secret_in_body => {
                body.append_pair("client_id", id).append_pair("client_secret", secret.expose());
            }
            Some(secret) => {
                let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret.expose())));
                request = request.header("authorization", format!("Basic {pair}"));
            }
            None => {
                body.append_pair("client_id", id);
            }
        }
        (request, body.finish())
    }

    async fn exchange(&self, places: &Places, attempt: &SignInAttempt, code: &SecretValue) -> Result<Tokens, PortError> {
        let (request, body) = self.token_request(places, attempt, code);
        let (status, value) = self.client.json(request.body(body), "a token").await?;
        if status.is_success() {
            return serde_json::from_value(value).map_err(|_| PortError::errored("the provider's answer about a token has none"));
        }
        Err(refused(status, value))
    }

    async fn verified(&self, places: &Places, attempt: &SignInAttempt, token: &str) -> Result<Map<String, Value>, PortError> {
        let expected = Expected {
            issuer: &self.options.issuer,
            client: &self.options.client_id,
            nonce: &attempt.nonce,
            algorithms: places.algorithms.as_deref(),
            now: self.options.clock.now(),
        };
        let said = match verify(token, &self.keys.known(), &expected) {
            Err(Refusal::UnknownKey) => {
                let keys = self.keys.read(&self.client, &places.keys, self.options.clock.monotonic()).await?;
                verify(token, &keys, &expected)
            }
            said => said,
        };
        said.map_err(|refusal| match refusal {
            Refusal::UnknownKey => {
                PortError::failed("the provider's ID token is not believed: it is signed with a key that the provider does not publish")
            }
            Refusal::Untrue(why) => PortError::failed(format!("the provider's ID token is not believed: {why}")),
        })
    }

    /// Adds what the provider says elsewhere, when the token leaves out the name or the groups. What the token says stays.
    async fn complete(&self, places: &Places, claims: &mut Map<String, Value>, access: Option<String>) -> Result<(), PortError> {
        let is_whole = claims::name(claims, self.options.name_claim.as_deref()).is_some()
            && claims::find(claims, &self.options.groups_claim).is_some();
        let (false, Some(user_info), Some(access)) = (is_whole, &places.user_info, access) else { return Ok(()) };
        let request = self.client.get(user_info.clone()).bearer_auth(access);
        let Value::Object(more) = self.client.found(request, "the person's data").await? else {
            return Err(PortError::errored("the provider's answer about the person's data has none"));
        };
        if more.get("sub") != claims.get("sub") {
            return Err(PortError::failed("the provider speaks of two people: its ID token of one, its data of another"));
        }
        for (name, value) in more {
            claims.entry(name).or_insert(value);
        }
        Ok(())
    }
}

/// A token endpoint's no, in words. Whose fault it is decides who can mend it.
fn refused(status: StatusCode, value: Value) -> PortError {
    let Ok(RefusedTokens { error, error_description }) = serde_json::from_value(value) else {
        return PortError::errored(format!("the provider answers {} about a token", status.as_u16()));
    };
    let said = excerpt(format!("{error}: {error_description}").trim_end_matches(": "));
    PortError::failed(match error.as_str() {
        "invalid_client" | "unauthorized_client" => {
            format!(
                "the provider does not know this daemon by its `openid.client_id` and secret ({said}); an admin has to mend the settings"
            )
        }
        "invalid_grant" => format!("the provider does not take the code that the browser came back with ({said}); begin again"),
        _ => format!("the provider gives no token ({said})"),
    })
}

#[async_trait]
impl IdentityProvider for OpenIdProvider {
    async fn begin(&self, attempt: &SignInAttempt) -> Result<String, PortError> {
        let mut address = self.places().await?.authorization.clone();
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, attempt.verifier.expose().as_bytes()));
        let pairs = [
            ("response_type", "code"),
            ("client_id", &self.options.client_id),
            ("redirect_uri", &attempt.redirect),
            ("scope", &self.options.scopes.join(" ")),
            ("state", &attempt.state),
            ("nonce", &attempt.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        address.query_pairs_mut().extend_pairs(pairs);
        Ok(address.into())
    }

    async fn identify(&self, attempt: &SignInAttempt, code: &SecretValue) -> Result<Identity, PortError> {
        let places = self.places().await?;
        let Tokens { id_token, access_token } = self.exchange(&places, attempt, code).await?;
        let token = id_token.ok_or_else(|| PortError::failed("the provider gives no ID token; does `openid.scopes` have `openid`?"))?;
        let mut claims = self.verified(&places, attempt, &token).await?;
        self.complete(&places, &mut claims, access_token).await?;
        let groups = claims::groups(&claims, &self.options.groups_claim);
        Ok(Identity {
            issuer: self.options.issuer.clone(),
            subject: claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned(),
            name: claims::name(&claims, self.options.name_claim.as_deref()),
            tells_groups: groups.is_some(),
            groups: groups.unwrap_or_default(),
        })
    }

    async fn sign_out(&self) -> Result<Option<String>, PortError> {
        Ok(self.places().await?.end_session.clone().map(|mut address| {
            address.query_pairs_mut().append_pair("client_id", &self.options.client_id);
            address.into()
        }))
    }
}
