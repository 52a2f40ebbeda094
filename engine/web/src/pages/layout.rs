//! What is around every page: navigation, theme, who is signed in, and a word about what was just done.

use hookwright_core::Action;
use http::HeaderMap;
use serde::Serialize;

use crate::visitor::{Theme, Visitor, form_token, session_secret};
use crate::{asset, urls};

/// What a deed says afterwards: the word in the address and the sentence for people. Only these are shown.
const SAID: &[(&str, &str)] = &[
    ("approved", "Your approval is recorded."),
    ("rejected", "The promotion is rejected."),
    ("overridden", "Your override is recorded."),
    ("promoted", "The release is on its way."),
    (
        "rolled-back",
        "The rollback is on its way. The environment is held: automation leaves it alone until somebody promotes or ends the hold.",
    ),
    ("held", "The environment is held. What arrives waits until somebody promotes or ends the hold."),
    ("approved-already", "You have approved already; nobody else has to."),
    ("approved-already-one", "You have approved already; one more person is needed."),
    ("approved-already-more", "You have approved already; more people are needed. The gate says how many."),
    ("hold-ended", "The hold is ended. What waits goes on as its other gates say."),
    ("undeployed", "What was live here is taken out of service."),
    ("secret-set", "The secret is set."),
    ("secret-removed", "The secret is removed. What is live keeps it until the next deployment."),
    ("canceled", "The run is being stopped."),
    ("retried", "This run repeats the one before from where it ended."),
    ("started", "The run is started."),
    ("sent", "The example is sent. This is what its trigger took in."),
    ("sent-answered", "The example is sent, and the handler answered it. The newest event is on top."),
    ("replayed", "It is delivered again, marked as a replay."),
    ("all-replayed", "They are delivered again, each marked as a replay."),
    ("none-replayed", "Nothing matches any more, so nothing is delivered again."),
    ("delivery-canceled", "The delivery is stopped."),
    ("repository-added", "The repository is added."),
    (
        "repository-removed",
        "The repository is forgotten. What it deployed runs on until it is ended: `hookwright webhook remove NAME` undeploys a webhook and gives its name free.",
    ),
    ("rights-changed", "The rights are changed. They hold at once, also for whoever is signed in."),
    ("token-revoked", "The token is worth nothing any more."),
    ("published", "Anybody may see its status now, at /status."),
    ("hidden", "Its status is hidden."),
    ("user-created", "They may sign in now."),
    ("user-removed", "They are removed and signed out. Tokens of the name stay: revoke them too if they are to go."),
    ("password-set", "The password is set, and they are signed out."),
    ("password-changed", "Your password is changed. Sign in with the new one."),
    ("signed-out", "You are signed out."),
    ("session-over", "Your session is over. Sign in again, and you go on where you were."),
    ("user-linked", "From now on the provider says who that is. They come in by signing in there."),
];

/// What is around a page.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Layout {
    title: String,
    /// Which entry of the navigation is marked.
    section: &'static str,
    /// Who is signed in; `None` on pages for anybody.
    user: Option<String>,
    /// Whether the ways to the other pages are shown: on a page for anybody to whoever has a session.
    nav: bool,
    admin: bool,
    csrf: String,
    theme: &'static str,
    /// This page, to come back to.
    here: String,
    /// A sentence about what was just done.
    said: Option<&'static str>,
    links: Links,
}

#[derive(Clone, Debug, Serialize)]
struct Links {
    style: String,
    script: String,
    live_script: String,
    icon: String,
    font: String,
    board: &'static str,
    runs: &'static str,
    settings: &'static str,
    secrets: &'static str,
    people: &'static str,
    account: &'static str,
    tokens: &'static str,
    audit: &'static str,
    daemon: &'static str,
    first_push: &'static str,
    sign_in: &'static str,
    sign_out: &'static str,
    sign_out_everywhere: &'static str,
    theme: &'static str,
    live: &'static str,
}

impl Links {
    fn new() -> Self {
        Self {
            style: asset::address("style.css"),
            script: asset::address("page.js"),
            live_script: asset::address("live.js"),
            icon: asset::address("icon.svg"),
            font: asset::address("inter.woff2"),
            board: urls::BOARD,
            runs: urls::RUNS,
            settings: urls::REPOSITORIES,
            secrets: urls::ALL_SECRETS,
            people: urls::PEOPLE,
            account: urls::ACCOUNT,
            tokens: urls::TOKENS,
            audit: urls::AUDIT,
            daemon: urls::DAEMON,
            first_push: urls::FIRST_PUSH,
            sign_in: urls::SIGN_IN,
            sign_out: urls::SIGN_OUT,
            sign_out_everywhere: urls::SIGN_OUT_EVERYWHERE,
            theme: urls::THEME,
            live: urls::LIVE,
        }
    }
}

impl Layout {
    /// Around a page for somebody who is signed in.
    pub(crate) fn new(visitor: &Visitor, section: &'static str, title: impl Into<String>) -> Self {
        let query = visitor.here.split_once('?').map_or("", |(_, query)| query);
        let word = query.split('&').find_map(|pair| pair.strip_prefix("said="));
        let here = visitor.here.replace(&format!("said={}", word.unwrap_or_default()), "");
        Self {
            title: title.into(),
            section,
            user: Some(visitor.caller.actor.user.clone()),
            nav: true,
            admin: visitor.caller.actor.may(Action::Administer, None, None),
            csrf: form_token(&visitor.secret),
            theme: visitor.theme.as_str(),
            here: here.trim_end_matches(['?', '&']).to_owned(),
            said: word.and_then(|word| SAID.iter().find(|(known, _)| *known == word)).map(|(_, sentence)| *sentence),
            links: Links::new(),
        }
    }

    /// Around a page for anybody.
    pub(crate) fn open(theme: Theme, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: "",
            user: None,
            nav: false,
            admin: false,
            csrf: String::new(),
            theme: theme.as_str(),
            here: urls::BOARD.to_owned(),
            said: None,
            links: Links::new(),
        }
    }

    /// The same with a title.
    pub(crate) fn titled(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// With the ways to the other pages, for a browser that has a session, whatever that is worth.
    pub(crate) fn with_nav(mut self, headers: &HeaderMap) -> Self {
        self.nav = session_secret(headers).is_some();
        self
    }

    /// The sentence after signing out, where nobody is signed in.
    pub(crate) fn saying(mut self, word: Option<&str>) -> Self {
        self.said = SAID.iter().find(|(known, _)| Some(*known) == word).map(|(_, sentence)| *sentence);
        self
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            user: Some("<b>hostile".to_owned()),
            nav: true,
            admin: true,
            csrf: "0123".to_owned(),
            ..Self::open(Theme::Dark, "<b>hostile").saying(Some("approved"))
        }
    }
}

/// An address with the word about what was done.
pub(crate) fn said(address: &str, word: &str) -> String {
    let joint = if address.contains('?') { '&' } else { '?' };
    format!("{address}{joint}said={word}")
}
