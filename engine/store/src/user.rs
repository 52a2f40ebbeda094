//! People: a name, which is the identity that approvals count, with teams and grants, and how they prove who they are.
//! A token made for the same name is the same person.

use hookwright_core::{Grant, Timestamp};

use crate::sql::{Row, args, json_text};
use crate::{Error, Result, Store, Tx};

/// Somebody as may be shown: without password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, unique.
    pub name: String,
    /// The user's teams.
    pub teams: Vec<String>,
    /// What may be done.
    pub grants: Vec<Grant>,
    /// Whether there is a password here.
    pub has_password: bool,
    /// The provider that knows the user, by its issuer.
    pub issuer: Option<String>,
    /// What that provider calls the user.
    pub subject: Option<String>,
    /// Since when somebody whom a provider knows is removed.
    pub removed_at: Option<Timestamp>,
    /// When the user was added.
    pub created_at: Timestamp,
    /// When the user signed in last.
    pub signed_in_at: Option<Timestamp>,
}

const LIST: &str = "SELECT name, password, issuer, subject, removed_at, teams, grants, created_at, signed_in_at FROM users
    WHERE name > $1 ORDER BY name LIMIT $2";
const FETCH: &str =
    "SELECT name, password, issuer, subject, removed_at, teams, grants, created_at, signed_in_at FROM users WHERE name = $1";
const ANY: &str = "SELECT 1 AS one FROM users WHERE password IS NOT NULL LIMIT 1";
const PASSWORD: &str = "SELECT password FROM users WHERE name = $1";
const INSERT: &str =
    "INSERT INTO users (name, password, teams, grants, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING";
const LOCK: &str = "UPDATE users SET grants = grants WHERE name = $1 AND issuer IS NULL
    RETURNING name, password, issuer, subject, removed_at, teams, grants, created_at, signed_in_at";
const CHANGE: &str = "UPDATE users SET teams = $1, grants = $2 WHERE name = $3 AND issuer IS NULL";
const PASSWORD_SET: &str = "UPDATE users SET password = $1 WHERE name = $2 AND issuer IS NULL";
const DELETE: &str = "DELETE FROM users WHERE name = $1 AND issuer IS NULL";
const REMOVE: &str = "UPDATE users SET removed_at = $1, teams = '[]', grants = '[]' WHERE name = $2 AND removed_at IS NULL";
const SESSIONS_END: &str = "DELETE FROM sessions WHERE user_name = $1";

fn user(row: &Row) -> Result<User> {
    Ok(User {
        name: row.text("name")?,
        teams: row.json("teams")?,
        grants: row.json("grants")?,
        has_password: row.optional_text("password")?.is_some(),
        issuer: row.optional_text("issuer")?,
        subject: row.optional_text("subject")?,
        removed_at: row.optional_instant("removed_at")?,
        created_at: row.instant("created_at")?,
        signed_in_at: row.optional_instant("signed_in_at")?,
    })
}

impl Store {
    /// People by name, those after `after`.
    pub async fn user_list(&self, after: Option<&str>, limit: u32) -> Result<Vec<User>> {
        self.fetch_all(LIST, args![after.unwrap_or_default(), limit]).await?.iter().map(user).collect()
    }

    /// Somebody.
    pub async fn user_fetch(&self, name: &str) -> Result<Option<User>> {
        self.fetch_optional(FETCH, args![name]).await?.as_ref().map(user).transpose()
    }

    /// Whether anybody signs in with a password.
    pub async fn user_any(&self) -> Result<bool> {
        Ok(self.fetch_optional(ANY, Vec::new()).await?.is_some())
    }

    /// The hash of somebody's password, for [`is_password`](crate::is_password) and nothing else.
    pub async fn user_password_hash(&self, name: &str) -> Result<Option<String>> {
        match self.fetch_optional(PASSWORD, args![name]).await? {
            Some(row) => row.optional_text("password"),
            None => Ok(None),
        }
    }
}

impl Tx {
    /// Adds somebody; `password` is a hash.
    ///
    /// # Errors
    /// [`Error::Taken`] when the name is somebody's.
    pub async fn user_create(&mut self, name: &str, password: Option<&str>, teams: &[String], grants: &[Grant]) -> Result<()> {
        let now = self.clock.now();
        let password = password.map(str::to_owned);
        if self.execute(INSERT, args![name, password, json_text(&teams), json_text(&grants), now]).await? == 0 {
            return Err(Error::Taken { message: format!("there is a user `{name}` already") });
        }
        Ok(())
    }

    /// Somebody whose teams and grants nobody else changes until this ends; `None` when there is nobody of that name, or a provider knows the user:
    /// then the settings decide.
    pub async fn user_lock(&mut self, name: &str) -> Result<Option<User>> {
        self.fetch_optional(LOCK, args![name]).await?.as_ref().map(user).transpose()
    }

    /// Gives somebody other teams and grants, which hold at once, also in sessions; `false` when there is nobody of that name, or a provider
    /// knows the user: then the settings decide.
    pub async fn user_change(&mut self, name: &str, teams: &[String], grants: &[Grant]) -> Result<bool> {
        Ok(self.execute(CHANGE, args![json_text(&teams), json_text(&grants), name]).await? > 0)
    }

    /// Sets the hash of a password and ends every session that began with another one; `false` when there is nobody of that name, or a
    /// provider knows the user.
    pub async fn user_set_password(&mut self, name: &str, password: &str) -> Result<bool> {
        let is_set = self.execute(PASSWORD_SET, args![password, name]).await? > 0;
        if is_set {
            self.user_sessions_end(name).await?;
        }
        Ok(is_set)
    }

    /// Removes somebody with every session; tokens of the name stay. Whom a provider knows is remembered as removed, so that the provider alone does
    /// not let them in again. `false` when there is nobody of that name.
    pub async fn user_delete(&mut self, name: &str) -> Result<bool> {
        self.user_sessions_end(name).await?;
        if self.execute(DELETE, args![name]).await? > 0 {
            return Ok(true);
        }
        let now = self.clock.now();
        Ok(self.execute(REMOVE, args![now, name]).await? > 0)
    }

    /// Ends the sessions that somebody began without a token.
    pub(crate) async fn user_sessions_end(&mut self, name: &str) -> Result<()> {
        self.execute(SESSIONS_END, args![name]).await.map(drop)
    }
}
