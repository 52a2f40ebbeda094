//! Daemon tokens. A token is 256 random bits and shown once; the store keeps its SHA-256, which is as hard to guess.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookwright_core::{Actor, Digest, Grant, Timestamp, TokenId};

use crate::sql::{Row, args, json_text};
use crate::{Error, Result, Store, Tx};

/// What every token starts with, so that scanners and our own gateway recognise it.
pub const TOKEN_PREFIX: &str = "hw_";

/// The token that an `Authorization` header presents: as bearer, or as the password of any user name, as git and registries send it.
pub fn presented_token(authorization: &str) -> Option<String> {
    let (scheme, rest) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// 256 random bits in hexadecimal digits.
pub fn random_text() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::Key { message: format!("the system gives no randomness: {error}") })?;
    Ok(hex::encode(bytes))
}

/// A token as it may be shown: without itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub user: String,
    /// The user's teams.
    pub teams: Vec<String>,
    /// What it grants.
    pub grants: Vec<Grant>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is worth nothing.
    pub revoked_at: Option<Timestamp>,
}

const COLUMNS_BY_DIGEST: &str = "SELECT user_name, teams, grants FROM tokens WHERE digest = $1 AND revoked_at IS NULL";
const LIST: &str = "SELECT id, user_name, teams, grants, created_at, revoked_at FROM tokens WHERE id > $1 ORDER BY id LIMIT $2";
const INSERT: &str = "INSERT INTO tokens (id, digest, user_name, teams, grants, created_at) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (digest) DO NOTHING";
const LOCK: &str = "UPDATE tokens SET grants = grants WHERE id = $1 AND revoked_at IS NULL
    RETURNING id, user_name, teams, grants, created_at, revoked_at";
const CHANGE: &str = "UPDATE tokens SET teams = $1, grants = $2 WHERE id = $3 AND revoked_at IS NULL";
const REVOKE: &str = "UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL RETURNING user_name";

fn info(row: &Row) -> Result<TokenInfo> {
    Ok(TokenInfo {
        id: row.parse("id")?,
        user: row.text("user_name")?,
        teams: row.json("teams")?,
        grants: row.json("grants")?,
        created_at: row.instant("created_at")?,
        revoked_at: row.optional_instant("revoked_at")?,
    })
}

impl Store {
    /// Makes a token; returns it with its id. It cannot be read again.
    pub async fn token_create(&self, user: &str, teams: Vec<String>, grants: Vec<Grant>) -> Result<(TokenId, String)> {
        let mut tx = self.begin().await?;
        let made = tx.token_create(user, &teams, &grants).await?;
        tx.commit("token.created").await?;
        Ok(made)
    }

    /// Takes a token that somebody chose (the first admin's, from the environment). Taking it twice is taking it once.
    pub async fn token_import(&self, user: &str, token: &str, grants: Vec<Grant>) -> Result<TokenId> {
        let mut tx = self.begin().await?;
        let id = tx.token_insert(user, token, &[], &grants).await?;
        tx.commit("token.created").await?;
        Ok(id)
    }

    /// Who holds `token`; `None` when it is unknown or revoked. Looking up by digest leaks nothing of the token by timing.
    pub async fn token_authenticate(&self, token: &str) -> Result<Option<Actor>> {
        let Some(row) = self.fetch_optional(COLUMNS_BY_DIGEST, args![Digest::of(token)]).await? else { return Ok(None) };
        Ok(Some(Actor { user: row.text("user_name")?, teams: row.json("teams")?, grants: row.json("grants")? }))
    }

    /// Tokens, revoked ones too, oldest first, those after `after`.
    pub async fn token_list(&self, after: Option<TokenId>, limit: u32) -> Result<Vec<TokenInfo>> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = self.fetch_all(LIST, args![after, limit]).await?;
        rows.iter().map(info).collect()
    }
}

impl Tx {
    /// Makes a token; returns it with its id. It cannot be read again.
    pub async fn token_create(&mut self, user: &str, teams: &[String], grants: &[Grant]) -> Result<(TokenId, String)> {
        let token = format!("{TOKEN_PREFIX}{}", random_text()?);
        let id = self.token_insert(user, &token, teams, grants).await?;
        Ok((id, token))
    }

    async fn token_insert(&mut self, user: &str, token: &str, teams: &[String], grants: &[Grant]) -> Result<TokenId> {
        let id = TokenId::new(&*self.ids);
        let now = self.clock.now();
        self.execute(INSERT, args![id, Digest::of(token), user, json_text(&teams), json_text(&grants), now]).await?;
        Ok(id)
    }

    /// A valid token whose teams and grants nobody else changes until this ends.
    pub async fn token_lock(&mut self, id: &TokenId) -> Result<Option<TokenInfo>> {
        self.fetch_optional(LOCK, args![id]).await?.as_ref().map(info).transpose()
    }

    /// Gives a valid token other teams and grants, which hold at once; `false` when there is none.
    pub async fn token_change(&mut self, id: &TokenId, teams: &[String], grants: &[Grant]) -> Result<bool> {
        Ok(self.execute(CHANGE, args![json_text(&teams), json_text(&grants), id]).await? > 0)
    }

    /// Makes a token worthless from now on; returns whose it was, `None` when there is none or it was already.
    pub async fn token_revoke(&mut self, id: &TokenId) -> Result<Option<String>> {
        let now = self.clock.now();
        self.fetch_optional(REVOKE, args![now, id]).await?.map(|row| row.text("user_name")).transpose()
    }
}
