//! Who calls: a daemon token as bearer, or as the password of any user name, as git and registries send it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookwright_core::Actor;
use hookwright_store::Store;
use http::{HeaderMap, StatusCode, header};

use crate::Problem;

/// The token a request presents, if any.
pub fn presented_token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
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
        Err(error) => {
            tracing::error!(%error, "a token could not be looked up");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the database does not answer; try again soon"))
        }
    }
}
