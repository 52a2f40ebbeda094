//! Signing in at an OpenID provider: there, back, and out there too. What it is worth is decided in [`crate::openid`].

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use hookwright_core::{Blame, PortError, SecretValue};
use hookwright_store::NewSession;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tracing::warn;

use super::Answer;
use super::sign_in::{Refusal, Way, audit_refusal, page};
use crate::caller::Caller;
use crate::client::Client;
use crate::error::{Problem, Query, Result};
use crate::openid::{OpenId, Outside, Try, forget, settle};
use crate::show::visible;
use crate::visitor::{Theme, origin, own_address, session_cookie, session_secret};
use crate::{WebState, urls};

/// What leads to the provider.
#[derive(Deserialize)]
pub(super) struct Start {
    #[serde(default)]
    to: String,
    /// Whether the browser was sent to the public address already.
    #[serde(default)]
    moved: bool,
}

/// What comes back from the provider.
#[derive(Deserialize)]
pub(super) struct Back {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
    iss: Option<String>,
}

fn set_up(state: &WebState) -> Result<&OpenId> {
    state.openid.as_ref().ok_or_else(|| Problem::not_found("nobody signs in at a provider here: `openid.issuer` of the settings is empty"))
}

/// Sends the browser to the provider. A link leads here, no form: the policy of our pages lets forms go nowhere else, redirects included.
pub(super) async fn begin(State(state): State<WebState>, client: Client, Query(start): Query<Start>, headers: HeaderMap) -> Answer {
    let openid = set_up(&state)?;
    if let Some(secret) = session_secret(&headers)
        && Caller::signed_in(&state, secret).await.is_ok()
    {
        return Ok(Redirect::to(own_address(&start.to)).into_response());
    }
    // The provider sends people back to the public address, and the cookie has to be there.
    if !start.moved && host(&origin(&headers, client)) != host(&state.public_url) {
        let query = serde_urlencoded::to_string([("to", own_address(&start.to)), ("moved", "true")]).unwrap_or_default();
        return Ok(Redirect::to(&format!("{}{}?{query}", state.public_url, urls::OPENID)).into_response());
    }
    let way = Way { to: start.to, said: None };
    if let Err(wait) = state.tries.begin(client.address, state.clock.monotonic()) {
        return page(&state, Theme::chosen(&headers), (way, String::new()), Some(Refusal::too_many(wait))).await;
    }
    let new = Try::new(&way.to)?;
    match openid.provider.begin(&new.attempt(&state.public_url)).await {
        Ok(address) => {
            state.tries.succeeded(&client.address);
            Ok(([(header::SET_COOKIE, new.cookie(client))], Redirect::to(&address)).into_response())
        }
        Err(error) => refuse(&state, (client, &headers), way, Failed::of(&error, openid)).await,
    }
}

fn host(address: &str) -> Option<&str> {
    address.split_once("://").map(|(_, host)| host.split('/').next().unwrap_or(host))
}

/// Why nobody is signed in, for the person and for the audit log.
struct Failed {
    refusal: Refusal,
    user: Option<String>,
    why: String,
}

impl Failed {
    fn new(status: StatusCode, text: impl Into<String>, why: impl Into<String>) -> Self {
        Self { refusal: Refusal { status, text: text.into() }, user: None, why: why.into() }
    }

    fn of(error: &PortError, openid: &OpenId) -> Self {
        let text = visible(&error.message);
        let cause = error.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        warn!(error = %error.message, %cause, "somebody could not sign in at the provider");
        let status = if error.blame == Blame::Errored { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::UNAUTHORIZED };
        let next = match error.blame {
            Blame::Errored => "Try again in a minute; a token or a password still opens the door meanwhile.",
            Blame::Failed => "Begin again; if it stays so, show this to an admin.",
        };
        Self::new(status, format!("Signing in with {} did not work: {text}. {next}", openid.label), error.message.clone())
    }

    fn outside(outside: Outside) -> Self {
        Self { user: outside.user, ..Self::new(StatusCode::FORBIDDEN, outside.text, outside.why) }
    }
}

/// Shows why not, and writes it down. Tries were counted before, so that nobody fills the audit log.
async fn refuse(state: &WebState, (client, headers): (Client, &HeaderMap), way: Way, failed: Failed) -> Answer {
    let mut tx = state.store.begin().await?;
    let how = format!("with OpenID Connect: {}", failed.why);
    audit_refusal(&mut tx, client, failed.user.as_deref(), &how).await?;
    tx.commit("session.refused").await?;
    page(state, Theme::chosen(headers), (way, String::new()), Some(failed.refusal)).await
}

/// Takes the browser back from the provider.
pub(super) async fn back(State(state): State<WebState>, client: Client, Query(back): Query<Back>, headers: HeaderMap) -> Answer {
    let openid = set_up(&state)?;
    let forgotten = forget(&back.state, client);
    if let Err(wait) = state.tries.begin(client.address, state.clock.monotonic()) {
        let way = Way { to: String::new(), said: None };
        return page(&state, Theme::chosen(&headers), (way, String::new()), Some(Refusal::too_many(wait))).await;
    }
    let own = Try::of(&headers, &back.state);
    let to = own.as_ref().map(|own| own.to.clone()).unwrap_or_default();
    let mut response = match identify(&state, openid, own, back).await? {
        Ok(session) => {
            state.tries.succeeded(&client.address);
            let cookie = session_cookie(Some(&session.secret), openid.session.as_secs(), client);
            ([(header::SET_COOKIE, cookie)], Redirect::to(own_address(&to))).into_response()
        }
        Err(failed) => refuse(&state, (client, &headers), Way { to, said: None }, failed).await?,
    };
    if let Some(cookie) = forgotten {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Who came back, and what they are worth here.
async fn identify(state: &WebState, openid: &OpenId, own: Option<Try>, back: Back) -> Result<std::result::Result<NewSession, Failed>> {
    let unauthorized = |text: String, why: String| Ok(Err(Failed::new(StatusCode::UNAUTHORIZED, text, why)));
    let Some(own) = own else {
        let text = "This sign-in was not begun in this browser, or longer than ten minutes ago, or it was used already. Begin again.";
        return unauthorized(text.to_owned(), "it was not begun in this browser".to_owned());
    };
    if back.iss.as_ref().is_some_and(|issuer| *issuer != openid.issuer) {
        let text = "Another provider sent this browser back than the one it was sent to. Begin again.";
        return unauthorized(text.to_owned(), "another provider answered".to_owned());
    }
    if let Some(error) = back.error {
        let short = |text: &str| visible(&text.chars().take(200).collect::<String>()).replace('`', "'");
        let said = match &back.error_description {
            Some(description) => format!("{}: {}", short(&error), short(description)),
            None => short(&error),
        };
        let text = format!("{} did not let you sign in. It says: {said}", openid.label);
        return unauthorized(text, format!("the provider says {said}"));
    }
    let Some(code) = back.code else {
        return unauthorized("The provider sent this browser back with nothing. Begin again.".to_owned(), "there is no code".to_owned());
    };
    let identity = match openid.provider.identify(&own.attempt(&state.public_url), &SecretValue::new(code)).await {
        Ok(identity) => identity,
        Err(error) => return Ok(Err(Failed::of(&error, openid))),
    };
    let mut tx = state.store.begin().await?;
    let settled = settle(&mut tx, openid, &identity).await?;
    tx.commit("session.begun").await?;
    Ok(settled.map_err(Failed::outside))
}

/// Sends the browser to where it signs out at the provider too.
pub(super) async fn sign_out(State(state): State<WebState>, headers: HeaderMap) -> Result<Response> {
    let openid = set_up(&state)?;
    match openid.provider.sign_out().await {
        Ok(Some(address)) => Ok(Redirect::to(&address).into_response()),
        Ok(None) => {
            let text = format!("{} has no address for signing out; close the browser, or sign out at its own page.", openid.label);
            let refusal = Refusal { status: StatusCode::NOT_FOUND, text };
            page(&state, Theme::chosen(&headers), (Way::default(), String::new()), Some(refusal)).await
        }
        Err(error) => {
            let Failed { refusal, .. } = Failed::of(&error, openid);
            page(&state, Theme::chosen(&headers), (Way::default(), String::new()), Some(refusal)).await
        }
    }
}
