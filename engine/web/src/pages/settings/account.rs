//! One's own account: who one is here, what one may do, and one's password.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::{Digest, SecretValue};
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::grant::grant_text;
use crate::pages::{Answer, Layout, said};
use crate::show::visible;
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls, user};

/// One's own account.
#[derive(Serialize)]
pub(crate) struct AccountPage {
    layout: Layout,
    name: String,
    teams: String,
    grants: Vec<String>,
    /// Where a new password goes; `None` for whoever has none here.
    password: Option<&'static str>,
    /// The provider that says who one is; `None` for whoever has a password or a token.
    provider: Option<String>,
}

impl View for AccountPage {
    const TEMPLATE: &'static str = "pages/settings/account.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        Self { layout: Layout::sample(), name: text(), teams: text(), grants: vec![text()], password: Some("/x"), provider: None }
    }
}

/// Shows it.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor) -> Answer {
    let actor = &visitor.caller.actor;
    let user = state.store.user_fetch(&actor.user).await?;
    let has_password = user.as_ref().is_some_and(|user| user.has_password);
    let provider = user.and_then(|user| user.issuer).and(state.openid.as_ref()).map(|openid| visible(&openid.label));
    let page = AccountPage {
        name: visible(&actor.user),
        teams: visible(&actor.teams.join(", ")),
        grants: actor.grants.iter().map(grant_text).collect(),
        password: has_password.then_some(urls::ACCOUNT),
        provider,
        layout: Layout::new(&visitor, "settings", "Account"),
    };
    Ok(template::page(&page))
}

/// A new password with the one before.
#[derive(Deserialize)]
pub(super) struct Change {
    current: String,
    password: String,
}

/// Changes one's own password and ends every session that the one before began, this one too.
pub(super) async fn change(State(state): State<WebState>, Deed { visitor, form }: Deed<Change>) -> Answer {
    let name = visitor.caller.actor.user.clone();
    let key = Digest::of(&name);
    if let Err(wait) = state.tries_of_user.begin(key, state.clock.monotonic()) {
        let text = format!("too many tries; try again in {} seconds", wait.as_secs() + 1);
        return Err(Problem::new(http::StatusCode::TOO_MANY_REQUESTS, text));
    }
    let hash = state.store.user_password_hash(&name).await?;
    if !state.passwords.is_right(SecretValue::new(form.current), hash).await? {
        return Err(Problem::new(http::StatusCode::FORBIDDEN, "the present password is not right; go back and repeat it"));
    }
    state.tries_of_user.succeeded(&key);
    user::set_password(&state, &visitor.caller, &name, SecretValue::new(form.password)).await?;
    Ok(Redirect::to(&said(urls::SIGN_IN, "password-changed")).into_response())
}
