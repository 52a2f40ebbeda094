//! Who is signed in at the status page. The cookie holds 256 random bits, the store their SHA-256.
//! Invariant: a session is worth what its token or its user is worth at that moment, so that revoking the token or removing the user
//! ends it.

use std::time::Duration;

use hookwright_core::{Actor, Digest, SecretValue, SessionId};

use crate::sql::args;
use crate::token::random_text;
use crate::{Result, Store, Tx};

const TOKEN: &str = "SELECT id, user_name FROM tokens WHERE digest = $1 AND revoked_at IS NULL";
const INSERT: &str = "INSERT INTO sessions (id, digest, token, user_name, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
const HOLDER: &str = "SELECT COALESCE(users.name, tokens.user_name) AS user_name, COALESCE(users.teams, tokens.teams) AS teams,
    COALESCE(users.grants, tokens.grants) AS grants
    FROM sessions LEFT JOIN tokens ON tokens.id = sessions.token AND tokens.revoked_at IS NULL
    LEFT JOIN users ON users.name = sessions.user_name AND users.removed_at IS NULL
    WHERE sessions.digest = $1 AND sessions.expires_at > $2 AND (users.name IS NOT NULL OR tokens.id IS NOT NULL)";
const USER: &str = "UPDATE users SET signed_in_at = $1 WHERE name = $2 AND password = $3";
const END: &str = "DELETE FROM sessions WHERE digest = $1";
const END_OF_USER: &str = "DELETE FROM sessions
    WHERE user_name = $1 OR token IN (SELECT id FROM tokens WHERE user_name = $1)";
const FORGET: &str = "DELETE FROM sessions WHERE expires_at <= $1";

/// A session that was just begun.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// What the cookie holds; it cannot be read again.
    pub secret: SecretValue,
    /// Who signed in.
    pub user: String,
}

impl Store {
    /// Whoever is signed in with this cookie; `None` when the session is unknown or over, its token revoked or its user gone.
    pub async fn session_authenticate(&self, secret: &str) -> Result<Option<Actor>> {
        let now = self.inner.clock.now();
        let Some(row) = self.fetch_optional(HOLDER, args![Digest::of(secret), now]).await? else { return Ok(None) };
        Ok(Some(Actor { user: row.text("user_name")?, teams: row.json("teams")?, grants: row.json("grants")? }))
    }
}

impl Tx {
    /// Begins a session of whoever holds `token`; `None` when the token is unknown or revoked. Sessions that are over are forgotten.
    pub async fn session_begin(&mut self, token: &str, lasts: Duration) -> Result<Option<NewSession>> {
        let Some(row) = self.fetch_optional(TOKEN, args![Digest::of(token)]).await? else { return Ok(None) };
        let (token, user) = (row.text("id")?, row.text("user_name")?);
        let secret = self.session_insert(Some(token), None, lasts).await?;
        Ok(Some(NewSession { secret, user }))
    }

    /// Begins a session of somebody whose password was compared with this hash; `None` when it is not the user's any more.
    pub async fn session_begin_of_user(&mut self, user: &str, hash: &str, lasts: Duration) -> Result<Option<NewSession>> {
        let now = self.clock.now();
        if self.execute(USER, args![now, user, hash]).await? == 0 {
            return Ok(None);
        }
        let secret = self.session_insert(None, Some(user.to_owned()), lasts).await?;
        Ok(Some(NewSession { secret, user: user.to_owned() }))
    }

    pub(crate) async fn session_insert(&mut self, token: Option<String>, user: Option<String>, lasts: Duration) -> Result<SecretValue> {
        let now = self.clock.now();
        self.execute(FORGET, args![now]).await?;
        let (id, secret) = (SessionId::new(&*self.ids), random_text()?);
        self.execute(INSERT, args![id, Digest::of(&secret), token, user, now, now.plus(lasts)]).await?;
        Ok(SecretValue::new(secret))
    }

    /// Ends a session.
    pub async fn session_end(&mut self, secret: &str) -> Result<()> {
        self.execute(END, args![Digest::of(secret)]).await.map(drop)
    }

    /// Ends every session of a user; returns how many there were.
    pub async fn session_end_all(&mut self, user: &str) -> Result<u64> {
        self.execute(END_OF_USER, args![user]).await
    }
}
