//! Signing in with a name and a password, or with a token, and out, here or everywhere.

use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use hookwright_core::{Digest, SecretValue};
use hookwright_store::{NewAudit, NewSession};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{Answer, Layout, said};
use crate::caller::Caller;
use crate::client::Client;
use crate::error::{Query, Result};
use crate::show::visible;
use crate::template::{self, View};
use crate::visitor::{Deed, Theme, must_be_same_site, own_address, session_cookie, session_secret};
use crate::{WebState, urls};

/// How long a session lasts.
const LASTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The page with the fields.
#[derive(Serialize)]
pub(crate) struct SignInPage {
    layout: Layout,
    to: String,
    /// Whether anybody has a password here; else only a token is asked for.
    people: bool,
    /// The provider that people sign in at.
    openid: Option<Provider>,
    /// Who tried last.
    user: String,
    /// Why the last try did not work.
    refused: Option<String>,
}

/// A provider that people sign in at.
#[derive(Serialize)]
struct Provider {
    label: String,
    /// Where signing in begins.
    begin: String,
    /// Where whoever just signed out here signs out there.
    sign_out: Option<&'static str>,
}

impl View for SignInPage {
    const TEMPLATE: &'static str = "pages/sign_in.html";

    #[cfg(test)]
    fn sample() -> Self {
        Self {
            layout: Layout::sample(),
            to: "/<b>hostile".into(),
            people: true,
            openid: Some(Provider { label: "<b>hostile".into(), begin: "/x?to=%2F".into(), sign_out: Some("/y") }),
            user: "<b>hostile".into(),
            refused: Some("<b>hostile".into()),
        }
    }
}

/// What leads to the page.
#[derive(Default, Deserialize)]
pub(super) struct Way {
    #[serde(default)]
    pub(super) to: String,
    pub(super) said: Option<String>,
}

/// What the forms send: one of them a name and a password, the other one a token.
#[derive(Deserialize)]
pub(super) struct Credentials {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    to: String,
}

/// Why nobody is signed in.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    fn new(text: &str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, text: text.to_owned() }
    }

    pub(super) fn too_many(wait: Duration) -> Self {
        let text = format!("Too many tries. Try again in {} seconds.", wait.as_secs() + 1);
        Self { status: StatusCode::TOO_MANY_REQUESTS, text }
    }
}

/// The page, with why the last try did not work.
pub(super) async fn page(state: &WebState, theme: Theme, (way, user): (Way, String), refusal: Option<Refusal>) -> Answer {
    let layout = Layout::open(theme, "Sign in").saying(way.said.as_deref());
    let status = refusal.as_ref().map_or(StatusCode::OK, |refusal| refusal.status);
    let (people, to) = (state.store.user_any().await?, own_address(&way.to).to_owned());
    let openid = state.openid.as_ref().map(|openid| Provider {
        label: visible(&openid.label),
        begin: format!("{}?{}", urls::OPENID, serde_urlencoded::to_string([("to", &to)]).unwrap_or_default()),
        sign_out: (way.said.as_deref() == Some("signed-out")).then_some(urls::OPENID_SIGN_OUT),
    });
    let mut response = template::page(&SignInPage { layout, to, people, openid, user, refused: refusal.map(|refusal| refusal.text) });
    *response.status_mut() = status;
    Ok(response)
}

/// Shows the page; whoever is signed in goes on at once.
pub(super) async fn show(State(state): State<WebState>, Query(way): Query<Way>, headers: HeaderMap) -> Answer {
    if let Some(secret) = session_secret(&headers)
        && Caller::signed_in(&state, secret).await.is_ok()
    {
        return Ok(Redirect::to(own_address(&way.to)).into_response());
    }
    page(&state, Theme::chosen(&headers), (way, String::new()), None).await
}

/// Begins a session of whoever gave a name with its password, or a token.
pub(super) async fn begin(
    State(state): State<WebState>,
    client: Client,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Answer {
    must_be_same_site(&headers)?;
    let Credentials { user, password, token, to } = credentials;
    let user = user.trim().to_owned();
    let begun = match user.is_empty() && password.is_empty() {
        true => by_token(&state, client, token.trim()).await?,
        false => by_password(&state, client, &user, SecretValue::new(password)).await?,
    };
    match begun {
        Ok(session) => {
            let cookie = session_cookie(Some(&session.secret), LASTS.as_secs(), client);
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(own_address(&to))).into_response())
        }
        Err(refusal) => page(&state, Theme::chosen(&headers), (Way { to, said: None }, user), Some(refusal)).await,
    }
}

async fn by_token(state: &WebState, client: Client, token: &str) -> Result<std::result::Result<NewSession, Refusal>> {
    if let Err(wait) = state.tries.begin(client.address, state.clock.monotonic()) {
        return Ok(Err(Refusal::too_many(wait)));
    }
    let mut tx = state.store.begin().await?;
    let Some(session) = tx.session_begin(token, LASTS).await? else {
        audit_refusal(&mut tx, client, None, "with a token").await?;
        tx.commit("session.refused").await?;
        let text = "This token is unknown or revoked. Paste a whole one, beginning with hw_, or ask an admin for a new one.";
        return Ok(Err(Refusal::new(text)));
    };
    tx.audit_append(NewAudit { user: &session.user, action: "session.begun", webhook: None, environment: None, detail: "" }).await?;
    tx.commit("session.begun").await?;
    state.tries.succeeded(&client.address);
    Ok(Ok(session))
}

/// Whether there is such a user is not told, neither in words nor by the time it takes.
async fn by_password(
    state: &WebState,
    client: Client,
    user: &str,
    password: SecretValue,
) -> Result<std::result::Result<NewSession, Refusal>> {
    let (now, name) = (state.clock.monotonic(), Digest::of(user));
    let counted = state.tries.begin(client.address, now).and_then(|()| state.tries_of_user.begin(name, now));
    if let Err(wait) = counted {
        return Ok(Err(Refusal::too_many(wait)));
    }
    let hash = state.store.user_password_hash(user).await?;
    let is_right = state.passwords.is_right(password, hash.clone()).await?;
    let mut tx = state.store.begin().await?;
    let session = match hash.as_deref().filter(|_| is_right) {
        Some(hash) => tx.session_begin_of_user(user, hash, LASTS).await?,
        None => None,
    };
    let Some(session) = session else {
        audit_refusal(&mut tx, client, hash.map(|_| user), "with a password").await?;
        tx.commit("session.refused").await?;
        return Ok(Err(Refusal::new("The name or the password is not right. Capitals count; an admin can set a new password.")));
    };
    tx.audit_append(NewAudit { user: &session.user, action: "session.begun", webhook: None, environment: None, detail: "" }).await?;
    tx.commit("session.begun").await?;
    state.tries.succeeded(&client.address);
    state.tries_of_user.succeeded(&name);
    Ok(Ok(session))
}

/// Writes down a try that failed. A name that nobody has is left out: it may be a password in the wrong field.
pub(super) async fn audit_refusal(tx: &mut hookwright_store::Tx, client: Client, user: Option<&str>, how: &str) -> Result<()> {
    let from = client.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
    let detail = format!("from {from}, {how}");
    let user = user.unwrap_or("somebody unknown");
    tx.audit_append(NewAudit { user, action: "session.refused", webhook: None, environment: None, detail: &detail }).await?;
    Ok(())
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Ends this session.
pub(super) async fn end(State(state): State<WebState>, Deed { visitor, .. }: Deed<Nothing>) -> Answer {
    let mut tx = state.store.begin().await?;
    tx.session_end(visitor.secret.expose()).await?;
    audit(&mut tx, &visitor.caller, "session.ended", "").await?;
    tx.commit("session.ended").await?;
    Ok(gone())
}

/// Ends every session of whoever asks.
pub(super) async fn end_everywhere(State(state): State<WebState>, Deed { visitor, .. }: Deed<Nothing>) -> Answer {
    let mut tx = state.store.begin().await?;
    let many = tx.session_end_all(&visitor.caller.actor.user).await?;
    audit(&mut tx, &visitor.caller, "session.ended_everywhere", &format!("{many} sessions")).await?;
    tx.commit("session.ended").await?;
    Ok(gone())
}

async fn audit(tx: &mut hookwright_store::Tx, caller: &Caller, action: &str, detail: &str) -> Result<()> {
    tx.audit_append(NewAudit { user: &caller.actor.user, action, webhook: None, environment: None, detail }).await?;
    Ok(())
}

fn gone() -> Response {
    let cookie = session_cookie(None::<&SecretValue>, 0, Client::default());
    ([(header::SET_COOKIE, cookie)], Redirect::to(&said(urls::SIGN_IN, "signed-out"))).into_response()
}
