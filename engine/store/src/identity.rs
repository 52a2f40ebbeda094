//! People whom an identity provider knows, by its issuer and its subject. Invariants: a name belongs to one of them for ever, so that approvals never
//! count two people as one nor one as two; a name that is anybody else's is taken only when an admin links it; rights are those that the map in
//! force gives to the groups that the provider said last.

use hookwright_core::{RoleMap, Standing};

use crate::session::NewSession;
use crate::sql::{args, json_text};
use crate::{Error, Result, Tx};

/// Names that the engine itself uses in its records.
const OURS: [&str; 2] = ["hookwright", "somebody unknown"];

const FIND: &str = "SELECT name, removed_at FROM users WHERE issuer = $1 AND subject = $2";
const TAKEN: &str = "SELECT 1 AS one FROM users WHERE LOWER(name) = LOWER($1)
    UNION ALL SELECT 1 AS one FROM tokens WHERE LOWER(user_name) = LOWER($1)
    UNION ALL SELECT 1 AS one FROM approvals WHERE LOWER(user_name) = LOWER($1) LIMIT 1";
const INSERT: &str = "INSERT INTO users (name, issuer, subject, teams, grants, created_at) VALUES ($1, $2, $3, '[]', '[]', $4)
    ON CONFLICT DO NOTHING";
const SETTLE: &str = "UPDATE users SET provider_groups = $1, teams = $2, grants = $3 WHERE name = $4";
const LINK: &str = "UPDATE users SET issuer = $1, subject = $2, password = NULL, removed_at = NULL, provider_groups = '[]', teams = '[]',
    grants = '[]' WHERE name = $3";
const KNOWN: &str = "SELECT name, issuer, provider_groups, teams, grants FROM users WHERE issuer IS NOT NULL AND removed_at IS NULL
    ORDER BY name";
const SIGNED_IN: &str = "UPDATE users SET signed_in_at = $1 WHERE name = $2";

/// Somebody whom the provider knows and who was here before, or whom an admin let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPerson {
    /// The name here.
    pub name: String,
    /// Whether an admin removed the person.
    pub removed: bool,
}

impl Tx {
    /// Whom the provider means.
    pub async fn identity_find(&mut self, issuer: &str, subject: &str) -> Result<Option<KnownPerson>> {
        let Some(row) = self.fetch_optional(FIND, args![issuer, subject]).await? else { return Ok(None) };
        Ok(Some(KnownPerson { name: row.text("name")?, removed: row.optional_instant("removed_at")?.is_some() }))
    }

    /// Gives somebody new a name; `false` when it is anybody's already: a user's, a token's, or somebody's who decided something once. Capitals
    /// make no other name.
    pub async fn identity_add(&mut self, issuer: &str, subject: &str, name: &str) -> Result<bool> {
        let is_ours = OURS.iter().any(|own| own.eq_ignore_ascii_case(name));
        if is_ours || self.fetch_optional(TAKEN, args![name]).await?.is_some() {
            return Ok(false);
        }
        let now = self.clock.now();
        Ok(self.execute(INSERT, args![name, issuer, subject, now]).await? > 0)
    }

    /// Writes down what the provider said of somebody and what that is worth, which holds at once; worth nothing, every session ends.
    pub async fn identity_settle(&mut self, name: &str, groups: &[String], standing: Option<&Standing>) -> Result<()> {
        let nothing = Standing { teams: Vec::new(), grants: Vec::new() };
        let Standing { teams, grants } = standing.unwrap_or(&nothing);
        self.execute(SETTLE, args![json_text(&groups), json_text(teams), json_text(grants), name]).await?;
        if standing.is_none() {
            self.user_sessions_end(name).await?;
        }
        Ok(())
    }

    /// Begins a session of somebody who was settled.
    pub async fn session_begin_of_identity(&mut self, name: &str, lasts: std::time::Duration) -> Result<NewSession> {
        let now = self.clock.now();
        self.execute(SIGNED_IN, args![now, name]).await?;
        let secret = self.session_insert(None, Some(name.to_owned()), lasts).await?;
        Ok(NewSession { secret, user: name.to_owned() })
    }

    /// Makes a name that of somebody whom the provider knows, whoever had it: a password of the name is gone, its sessions are over, and who was removed
    /// may come again.
    ///
    /// # Errors
    /// [`Error::Taken`] when that somebody has another name here.
    pub async fn identity_link(&mut self, name: &str, issuer: &str, subject: &str) -> Result<()> {
        if let Some(known) = self.identity_find(issuer, subject).await?.filter(|known| known.name != name) {
            return Err(Error::Taken { message: format!("the provider's `{subject}` is `{}` here already", known.name) });
        }
        let now = self.clock.now();
        if self.execute(LINK, args![issuer, subject, name]).await? == 0 {
            self.execute(INSERT, args![name, issuer, subject, now]).await?;
        }
        self.user_sessions_end(name).await
    }

    /// Holds everybody whom a provider knows against the settings in force, which may have changed since they signed in; returns whose rights are
    /// others now. Without an issuer, or with another one, they are worth nothing.
    pub async fn identity_measure(&mut self, issuer: Option<&str>, map: &RoleMap) -> Result<Vec<String>> {
        let mut changed = Vec::new();
        for row in self.fetch_all(KNOWN, Vec::new()).await? {
            let (name, groups): (String, Vec<String>) = (row.text("name")?, row.json("provider_groups")?);
            let is_asked = issuer == Some(row.text("issuer")?.as_str());
            let standing = map.standing(&groups).filter(|_| is_asked);
            let (teams, grants) = (row.json("teams")?, row.json("grants")?);
            let was = Standing { teams, grants };
            if standing.as_ref().map_or(!was.grants.is_empty(), |now| *now != was) {
                self.identity_settle(&name, &groups, standing.as_ref()).await?;
                changed.push(name);
            }
        }
        Ok(changed)
    }
}
