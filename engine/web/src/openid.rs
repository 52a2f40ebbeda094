//! Signing in at an OpenID provider, as far as a browser and its rights are concerned. What one try needs (state, nonce, the PKCE verifier) comes out of one
//! secret in a cookie of that browser, which lives for minutes: nobody is kept in memory, a restart loses no try, and a code or a state that was begun
//! elsewhere is worth nothing here.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hookwright_core::port::{Identity, IdentityProvider, SignInAttempt};
use hookwright_core::{Digest, RoleMap, SecretValue};
use hookwright_store::{NewAudit, NewSession, Tx, random_text};
use http::{HeaderMap, HeaderValue};

use crate::client::Client;
use crate::error::Result;
use crate::grant::check_name;
use crate::show::visible;
use crate::urls;
use crate::visitor::{cookie, own_address};

/// How long somebody may take at the provider, in seconds.
const TRY_LASTS: u32 = 600;
/// What the cookie of a try is called, before the letters that tell it from other tries of the same browser.
const TRY: &str = "hookwright_sign_in_";
/// The longest address that is gone back to; a longer one becomes the board.
const LONGEST_WAY: usize = 1_500;
/// So many groups are named to somebody whom none of them lets in.
const GROUPS_NAMED: usize = 20;

/// The provider that people sign in at, and what that is worth.
pub struct OpenId {
    /// How it is asked.
    pub provider: Arc<dyn IdentityProvider>,
    /// Its name.
    pub issuer: String,
    /// What people call it: `Sign in with …`.
    pub label: String,
    /// What its groups are worth here.
    pub roles: RoleMap,
    /// The claim that groups are read from, to be named when there is none.
    pub groups_claim: String,
    /// How long a session lasts until the provider is asked again.
    pub session: Duration,
}

impl OpenId {
    /// Where the provider sends browsers back to, below the public address: what is registered there.
    pub const BACK: &'static str = urls::OPENID_BACK;
}

/// A try of a browser to sign in.
pub(crate) struct Try {
    secret: SecretValue,
    /// Where it goes afterwards.
    pub(crate) to: String,
}

impl Try {
    /// A new one.
    pub(crate) fn new(to: &str) -> Result<Self> {
        let to = if to.len() > LONGEST_WAY { urls::BOARD } else { own_address(to) };
        Ok(Self { secret: SecretValue::new(random_text()?), to: to.to_owned() })
    }

    /// The one that this browser began with `state`.
    pub(crate) fn of(headers: &HeaderMap, state: &str) -> Option<Self> {
        let value = cookie(headers, &name_for(state)?)?;
        let (secret, to) = value.split_once('.')?;
        let to = String::from_utf8(URL_SAFE_NO_PAD.decode(to).ok()?).ok()?;
        let found = Self { secret: SecretValue::new(secret), to };
        // Compared as digests, so that the time it takes tells nothing.
        (Digest::of(found.part("state")) == Digest::of(state)).then_some(found)
    }

    fn part(&self, name: &str) -> String {
        Digest::of(format!("{name}:{}", self.secret.expose())).hex()
    }

    /// What the provider is asked with.
    pub(crate) fn attempt(&self, public_url: &str) -> SignInAttempt {
        SignInAttempt {
            redirect: format!("{public_url}{}", urls::OPENID_BACK),
            state: self.part("state"),
            nonce: self.part("nonce"),
            verifier: SecretValue::new(self.part("verifier")),
        }
    }

    /// The header that has the browser remember it.
    pub(crate) fn cookie(&self, client: Client) -> HeaderValue {
        let value = format!("{}.{}", self.secret.expose(), URL_SAFE_NO_PAD.encode(&self.to));
        try_cookie(&self.part("state"), &value, TRY_LASTS, client)
    }
}

/// The header that takes a try away: each is for once.
pub(crate) fn forget(state: &str, client: Client) -> Option<HeaderValue> {
    name_for(state).map(|_| try_cookie(state, "", 0, client))
}

/// The name of a try's cookie; `None` when this is no state of ours.
fn name_for(state: &str) -> Option<String> {
    let is_ours = state.len() == 64 && state.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_ours.then(|| format!("{TRY}{}", &state[..16]))
}

fn try_cookie(state: &str, value: &str, lasts: u32, client: Client) -> HeaderValue {
    let (name, secure) = (name_for(state).unwrap_or_default(), if client.secure { "; Secure" } else { "" });
    let text = format!("{name}={value}; Path={}; Max-Age={lasts}; HttpOnly; SameSite=Lax{secure}", urls::OPENID);
    HeaderValue::from_str(&text).expect("digits and base64 are plain letters")
}

/// Why somebody whom the provider knows does not come in.
pub(crate) struct Outside {
    /// Who it is here, if anybody.
    pub(crate) user: Option<String>,
    /// For the person: what, why, and what to do.
    pub(crate) text: String,
    /// For the audit log.
    pub(crate) why: String,
}

/// Lets somebody in, or says why not. What the provider said is written down in any case.
pub(crate) async fn settle(tx: &mut Tx, openid: &OpenId, identity: &Identity) -> Result<std::result::Result<NewSession, Outside>> {
    let Identity { issuer, subject, .. } = identity;
    let (known, standing) = (tx.identity_find(issuer, subject).await?, openid.roles.standing(&identity.groups));
    let outside = |user: Option<String>, text: String, why: &str| {
        let named = identity.name.as_deref().unwrap_or("nobody by name");
        Ok(Err(Outside { user, text, why: format!("{named}, subject {subject}: {why}") }))
    };
    if let Some(removed) = known.as_ref().filter(|known| known.removed) {
        let text = format!("`{}` was removed here. Ask an admin to let you in again, under Settings, People.", visible(&removed.name));
        return outside(Some(removed.name.clone()), text, "is removed");
    }
    let Some(standing) = standing else {
        if let Some(known) = &known {
            tx.identity_settle(&known.name, &identity.groups, None).await?;
        }
        return outside(known.map(|known| known.name), no_role(openid, identity), &format!("no role for {}", seen(openid, identity)));
    };
    let name = match known {
        Some(known) => known.name,
        None => {
            let Some(name) = identity.name.as_deref().filter(|name| check_name(name).is_ok()) else {
                let text = "The provider knows you and says no name that could be used here. Ask an admin to set `openid.name_claim` to a claim that holds one; an email counts only once the provider has verified it.";
                return outside(None, text.to_owned(), "has no name");
            };
            if !tx.identity_add(issuer, subject, name).await? {
                return outside(None, taken(openid, name, subject), "the name is somebody's here");
            }
            let detail = format!("{name}: subject {subject} at {issuer}");
            audit(tx, name, "user.created", &detail).await?;
            name.to_owned()
        }
    };
    tx.identity_settle(&name, &identity.groups, Some(&standing)).await?;
    let session = tx.session_begin_of_identity(&name, openid.session).await?;
    audit(tx, &name, "session.begun", &format!("with {}", openid.label)).await?;
    Ok(Ok(session))
}

async fn audit(tx: &mut Tx, user: &str, action: &str, detail: &str) -> Result<()> {
    tx.audit_append(NewAudit { user, action, webhook: None, environment: None, detail }).await?;
    Ok(())
}

/// Why a name is not given to whoever comes with it: approvals count names.
fn taken(openid: &OpenId, name: &str, subject: &str) -> String {
    let (name, subject) = (visible(name), visible(subject));
    format!(
        "The name `{name}` is somebody's here already: a user's, a token's, or somebody's who approved something. Approvals count names, so it is not given \
         away. If it is you, ask an admin to run `hookwright user link {name} --subject {subject}`, or to do the same under Settings, People. ({})",
        openid.label
    )
}

/// What groups somebody came with, in words.
fn seen(openid: &OpenId, identity: &Identity) -> String {
    if !identity.tells_groups {
        return format!("no claim `{}`", visible(&openid.groups_claim));
    }
    if identity.groups.is_empty() {
        return "no group".to_owned();
    }
    let named: Vec<String> =
        identity.groups.iter().take(GROUPS_NAMED).map(|group| format!("`{}`", visible(group).replace('`', "'"))).collect();
    let more = identity.groups.len().saturating_sub(GROUPS_NAMED);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("the groups {}{rest}", named.join(", "))
}

/// What to tell somebody whom no group gives a role.
fn no_role(openid: &OpenId, identity: &Identity) -> String {
    let who = identity.name.as_deref().map_or_else(|| "you".to_owned(), |name| format!("you as `{}`", visible(name).replace('`', "'")));
    let label = &openid.label;
    let came = match (identity.tells_groups, identity.groups.is_empty()) {
        (false, _) => format!(
            "It says nothing of groups: there is no claim `{}`. Ask an admin to have the provider send it, which may take a scope in `openid.scopes`.",
            visible(&openid.groups_claim)
        ),
        (true, true) => {
            "It says that you are in no group. Ask whoever manages groups there to put you into one that has a role here.".to_owned()
        }
        (true, false) => format!(
            "You came with {}, and none of them has a role. Ask an admin to map one under `openid.roles`, or whoever manages groups there to put you into one that has.",
            seen(openid, identity)
        ),
    };
    format!("{label} knows {who}, and you have no role here. {came}")
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;

    use super::*;

    fn browser_with(one: &Try) -> HeaderMap {
        let cookie = one.cookie(Client::default());
        let pair = cookie.to_str().expect("a text").split(';').next().expect("a pair").to_owned();
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&pair).expect("a header"))])
    }

    #[test]
    fn a_try_is_found_again_only_by_its_own_state_and_in_its_own_browser() {
        let (mine, other) = (Try::new("/runs?webhook=a").expect("randomness"), Try::new("/").expect("randomness"));
        let (state, strange) = (mine.attempt("").state, other.attempt("").state);
        let headers = browser_with(&mine);
        assert_eq!(Try::of(&headers, &state).map(|found| found.to).as_deref(), Some("/runs?webhook=a"));
        assert!(Try::of(&headers, &strange).is_none());
        assert!(Try::of(&browser_with(&other), &state).is_none());
        assert!(Try::of(&headers, "").is_none() && Try::of(&headers, &state[..63]).is_none());
        // Another state with the same beginning finds the cookie, and is not its.
        assert!(Try::of(&headers, &format!("{}{}", &state[..16], &strange[16..])).is_none());
    }

    #[test]
    fn what_the_provider_sees_does_not_tell_what_it_does_not() {
        let attempt = Try::new("/").expect("randomness").attempt("https://hooks.example.com");
        assert_eq!(attempt.redirect, "https://hooks.example.com/sign-in/openid/back");
        let parts = [attempt.state.as_str(), attempt.nonce.as_str(), attempt.verifier.expose()];
        assert!(parts.iter().all(|part| part.len() == 64) && parts[0] != parts[1] && parts[1] != parts[2]);
    }

    #[test]
    fn nobody_is_led_elsewhere_afterwards() {
        for to in ["https://evil.example", "//evil.example", "/\\evil.example"] {
            assert_eq!(Try::new(to).expect("randomness").to, "/", "{to}");
        }
    }
}
