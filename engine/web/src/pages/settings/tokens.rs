//! Tokens: who holds which rights; made, shown this once, given other roles, and revoked.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::{Action, TokenId};
use serde::{Deserialize, Serialize};

use super::holder::{ChangeForm, Held, Holder};
use crate::error::{Problem, Result};
use crate::pages::{Answer, Layout, said};
use crate::show::{Moment, visible};
use crate::template::{self, View};
use crate::token;
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// So many are shown at most.
const ROWS: u32 = 1_000;

/// Tokens.
#[derive(Serialize)]
pub(crate) struct TokensPage {
    layout: Layout,
    rows: Vec<Row>,
    /// The token that was just made: it cannot be read again.
    made: Option<Made>,
    create: &'static str,
    change: &'static str,
    revoke: &'static str,
}

#[derive(Serialize)]
struct Row {
    id: String,
    user: String,
    teams: String,
    grants: Vec<Held>,
    created: Moment,
    revoked: Option<Moment>,
}

#[derive(Serialize)]
struct Made {
    user: String,
    token: String,
    link: String,
}

impl View for TokensPage {
    const TEMPLATE: &'static str = "pages/settings/tokens.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let row = |revoked| Row {
            id: "tok_1".into(),
            user: text(),
            teams: text(),
            grants: vec![Held::sample()],
            created: Moment::sample(),
            revoked,
        };
        Self {
            layout: Layout::sample(),
            rows: vec![row(None), row(Some(Moment::sample()))],
            made: Some(Made { user: text(), token: "hw_0".into(), link: text() }),
            create: "/x",
            change: "/c",
            revoke: "/y",
        }
    }
}

async fn page(state: &WebState, visitor: &Visitor, made: Option<Made>) -> Result<TokensPage> {
    let now = state.clock.now();
    let tokens = state.store.token_list(None, ROWS).await?;
    let rows = tokens.into_iter().map(|token| Row {
        id: token.id.to_string(),
        user: visible(&token.user),
        teams: visible(&token.teams.join(", ")),
        grants: token.grants.iter().map(Held::new).collect(),
        created: Moment::new(token.created_at, now),
        revoked: token.revoked_at.map(|at| Moment::new(at, now)),
    });
    let layout = Layout::new(visitor, "settings", "Tokens");
    Ok(TokensPage { layout, rows: rows.collect(), made, create: urls::TOKENS, change: urls::TOKEN_CHANGE, revoke: urls::TOKEN_REVOKE })
}

/// Shows them to admins.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor) -> Answer {
    visitor.caller.must(Action::Administer)?;
    Ok(template::page(&page(&state, &visitor, None).await?))
}

async fn made(state: &WebState, visitor: &Visitor, form: Holder) -> Result<Made> {
    let (user, teams, grants) = form.read()?;
    let (_, token) = token::create(state, &visitor.caller, (&user, &teams), &grants).await?;
    let link = format!("{}{}#{token}", visitor.origin, urls::SIGN_IN);
    Ok(Made { user: visible(&user), token, link })
}

/// Makes a token and shows it, this once: the answer is the page itself, so that the token is in no address and in no history.
pub(super) async fn create(State(state): State<WebState>, Deed { visitor, form }: Deed<Holder>) -> Answer {
    let made = made(&state, &visitor, form).await?;
    Ok(template::page(&page(&state, &visitor, Some(made)).await?))
}

/// Changes what a token may do.
pub(super) async fn change(State(state): State<WebState>, Deed { visitor, form }: Deed<ChangeForm>) -> Answer {
    let id: TokenId = form.id.parse().map_err(Problem::invalid)?;
    token::change(&state, &visitor.caller, &id, form.change()?).await?;
    Ok(Redirect::to(&said(urls::TOKENS, "rights-changed")).into_response())
}

/// A token to revoke.
#[derive(Deserialize)]
pub(super) struct Old {
    id: TokenId,
}

/// Makes a token worthless.
pub(super) async fn revoke(State(state): State<WebState>, Deed { visitor, form }: Deed<Old>) -> Answer {
    token::revoke(&state, &visitor.caller, &form.id).await?;
    Ok(Redirect::to(&said(urls::TOKENS, "token-revoked")).into_response())
}
