//! Signing in with a token, and out, here or everywhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use hookwright_core::SecretValue;
use hookwright_store::NewAudit;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{Answer, Layout, said};
use crate::caller::Caller;
use crate::error::Query;
use crate::template::{self, View};
use crate::visitor::{Deed, Theme, must_be_same_site, own_address, session_cookie, session_secret};
use crate::{WebState, urls};

/// How long a session lasts.
const LASTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The page with the one field.
#[derive(Serialize)]
pub(crate) struct SignInPage {
    layout: Layout,
    to: String,
    /// Why the last try did not work.
    refused: Option<String>,
}

impl View for SignInPage {
    const TEMPLATE: &'static str = "pages/sign_in.html";

    #[cfg(test)]
    fn sample() -> Self {
        Self { layout: Layout::sample(), to: "/<b>hostile".into(), refused: Some("<b>hostile".into()) }
    }
}

/// What leads to the page.
#[derive(Deserialize)]
pub(super) struct Way {
    #[serde(default)]
    to: String,
    said: Option<String>,
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Credentials {
    token: String,
    #[serde(default)]
    to: String,
}

fn page(theme: Theme, way: Way, status: StatusCode, refused: Option<String>) -> Response {
    let layout = Layout::open(theme, "Sign in").saying(way.said.as_deref());
    let mut response = template::page(&SignInPage { layout, to: own_address(&way.to).to_owned(), refused });
    *response.status_mut() = status;
    response
}

/// Shows the page; whoever is signed in goes on at once.
pub(super) async fn show(State(state): State<WebState>, Query(way): Query<Way>, headers: HeaderMap) -> Answer {
    if let Some(secret) = session_secret(&headers)
        && Caller::signed_in(&state, secret).await.is_ok()
    {
        return Ok(Redirect::to(own_address(&way.to)).into_response());
    }
    Ok(page(Theme::chosen(&headers), way, StatusCode::OK, None))
}

/// Begins a session of whoever holds the token.
pub(super) async fn begin(
    State(state): State<WebState>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Answer {
    must_be_same_site(&headers)?;
    let address: Option<IpAddr> = peer.map(|Extension(ConnectInfo(peer))| peer.ip());
    let (now, theme) = (state.clock.monotonic(), Theme::chosen(&headers));
    let way = Way { to: credentials.to, said: None };
    if let Some(wait) = state.throttle.wait(address, now) {
        let text = format!("Too many tries from your address. Try again in {} seconds.", wait.as_secs() + 1);
        return Ok(page(theme, way, StatusCode::TOO_MANY_REQUESTS, Some(text)));
    }
    let mut tx = state.store.begin().await?;
    let Some(session) = tx.session_begin(credentials.token.trim(), LASTS).await? else {
        state.throttle.failed(address, now);
        let text = "This token is unknown or revoked. Paste a whole one, beginning with hw_, or ask an admin for a new one.";
        return Ok(page(theme, way, StatusCode::UNAUTHORIZED, Some(text.to_owned())));
    };
    tx.audit_append(NewAudit { user: &session.user, action: "session.begun", webhook: None, environment: None, detail: "" }).await?;
    tx.commit("session.begun").await?;
    let cookie = session_cookie(Some(&session.secret), LASTS.as_secs(), &headers);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(own_address(&way.to))).into_response())
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

async fn audit(tx: &mut hookwright_store::Tx, caller: &Caller, action: &str, detail: &str) -> crate::error::Result<()> {
    tx.audit_append(NewAudit { user: &caller.actor.user, action, webhook: None, environment: None, detail }).await?;
    Ok(())
}

fn gone() -> Response {
    let cookie = session_cookie(None::<&SecretValue>, 0, &HeaderMap::new());
    ([(header::SET_COOKIE, cookie)], Redirect::to(&said(urls::SIGN_IN, "signed-out"))).into_response()
}
