//! Settings: repositories, secrets, people, tokens, one's own account, the audit log, and what the daemon runs with.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod daemon;
mod holder;
pub(crate) mod people;
pub(crate) mod repositories;
pub(crate) mod secrets;
pub(crate) mod tokens;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};

use crate::WebState;
use crate::urls::{self, pattern};

/// Every page of the settings.
pub(crate) fn routes() -> Router<WebState> {
    Router::new()
        .route("/settings", get(|| async { Redirect::to(urls::REPOSITORIES) }))
        .route(pattern::REPOSITORIES, get(repositories::show).post(repositories::add))
        .route(pattern::REPOSITORY_REMOVE, post(repositories::remove))
        .route(pattern::ALL_SECRETS, get(secrets::show).post(secrets::set))
        .route(pattern::ACCOUNT, get(account::show).post(account::change))
        .route(pattern::PEOPLE, get(people::show).post(people::create))
        .route(pattern::PEOPLE_PASSWORD, post(people::set_password))
        .route(pattern::PEOPLE_CHANGE, post(people::change))
        .route(pattern::PEOPLE_LINK, post(people::link))
        .route(pattern::PEOPLE_REMOVE, post(people::remove))
        .route(pattern::TOKENS, get(tokens::show).post(tokens::create))
        .route(pattern::TOKEN_CHANGE, post(tokens::change))
        .route(pattern::TOKEN_REVOKE, post(tokens::revoke))
        .route(pattern::AUDIT, get(audit::show))
        .route(pattern::AUDIT_EXPORT, get(audit::export))
        .route(pattern::DAEMON, get(daemon::show))
}
