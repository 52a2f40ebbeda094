//! Who calls: a daemon token as bearer, or as the password of any user name, as git and registries send it.

use hookwright_core::Actor;
use hookwright_store::{Store, TOKEN_PREFIX};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::Problem;

/// The token a request presents, if any.
pub fn presented_token(headers: &HeaderMap) -> Option<String> {
    token_in(headers.get(header::AUTHORIZATION)?)
}

fn token_in(value: &HeaderValue) -> Option<String> {
    hookwright_store::presented_token(value.to_str().ok()?)
}

/// Removes every `Authorization` that carries a token of the daemon, whoever chose it, and keeps the handler's own.
///
/// # Errors
/// 503 when the database does not answer: then nothing is passed on.
pub(crate) async fn strip_daemon_tokens(store: &Store, headers: &mut HeaderMap) -> Result<(), Problem> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let mut theirs = Vec::new();
    for value in headers.get_all(header::AUTHORIZATION) {
        let ours = match token_in(value) {
            None => false,
            Some(token) => {
                token.starts_with(TOKEN_PREFIX) || store.token_authenticate(&token).await.map_err(|error| silent(&error))?.is_some()
            }
        };
        if !ours {
            theirs.push(value.clone());
        }
    }
    headers.remove(header::AUTHORIZATION);
    for value in theirs {
        headers.append(header::AUTHORIZATION, value);
    }
    Ok(())
}

fn silent(error: &hookwright_store::Error) -> Problem {
    tracing::error!(%error, "a token could not be looked up");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; try again soon")
}

/// Who a request's token belongs to.
///
/// # Errors
/// 401 without a valid token, 503 when the database does not answer.
pub async fn token_holder(store: &Store, headers: &HeaderMap) -> Result<Actor, Problem> {
    let missing = || Problem::new(StatusCode::UNAUTHORIZED, "give a daemon token: as bearer, or as the password of any user name");
    let token = presented_token(headers).ok_or_else(missing)?;
    match store.token_authenticate(&token).await {
        Ok(Some(actor)) => Ok(actor),
        Ok(None) => Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is unknown or revoked")),
        Err(error) => Err(silent(&error)),
    }
}
