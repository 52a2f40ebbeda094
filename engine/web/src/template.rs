//! Renders templates. They are embedded, escape everything, and refuse names that their view does not have. Each has one view type with
//! a sample, and one test renders them all.

use std::sync::LazyLock;

use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;
use tracing::error;

use crate::error::Problem;

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        /// Every template by name.
        const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../ui/templates/", $name)))),*];
    };
}

templates! {
    "layout.html",
    "parts.html",
    "lines.html",
    "log.html",
    "pages/board.html",
    "pages/compare.html",
    "pages/deployment.html",
    "pages/environment.html",
    "pages/event.html",
    "pages/event_list.html",
    "pages/failure.html",
    "pages/first_push.html",
    "pages/promotion.html",
    "pages/release_list.html",
    "pages/rollback.html",
    "pages/run.html",
    "pages/run_list.html",
    "pages/sign_in.html",
    "pages/spec.html",
    "pages/stage.html",
    "pages/test_list.html",
    "pages/trigger_list.html",
    "pages/webhook.html",
    "pages/settings/audit.html",
    "pages/settings/daemon.html",
    "pages/settings/repositories.html",
    "pages/settings/secrets.html",
    "pages/status.html",
    "pages/settings/account.html",
    "pages/settings/people.html",
    "pages/settings/tokens.html",
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let whitespace = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().expect("the usual delimiters");
    environment.set_syntax(whitespace);
    environment.add_filter("prose", prose);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text).expect("templates are parsed by the tests");
    }
    environment
});

/// A sentence of ours: what stands between backticks is code. Everything in it is escaped, because names of strangers stand in our sentences.
fn prose(text: &str) -> Value {
    let mut html = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, code, after)) = rest.split_once('`').and_then(|(before, rest)| {
        let (code, after) = rest.split_once('`')?;
        Some((before, code, after))
    }) {
        html.push_str(&escape(before));
        if code.is_empty() {
            html.push_str("``");
        } else {
            html.push_str("<code>");
            html.push_str(&escape(code));
            html.push_str("</code>");
        }
        rest = after;
    }
    html.push_str(&escape(rest));
    Value::from_safe_string(html)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#x27;")
}

/// What a template is rendered with.
pub(crate) trait View: Serialize {
    /// The name of the template.
    const TEMPLATE: &'static str;

    /// A view with something in every place, for the test that renders all templates.
    #[cfg(test)]
    fn sample() -> Self;
}

/// The text of a view.
pub(crate) fn text<V: View>(view: &V) -> Result<String, minijinja::Error> {
    ENVIRONMENT.get_template(V::TEMPLATE)?.render(Serde(view))
}

/// The page of a view.
pub(crate) fn page<V: View>(view: &V) -> Response {
    match text(view) {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            error!(template = V::TEMPLATE, error = format!("{error:#}"), "a page cannot be rendered");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be shown; the daemon's log says why").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages;

    fn check<V: View>(seen: &mut Vec<&'static str>) {
        let text = text(&V::sample()).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(!text.contains("<b>hostile"), "{} does not escape: {text}", V::TEMPLATE);
        // The sample has a stranger's text, or the line above would check nothing.
        assert!(text.contains("&lt;b&gt;hostile"), "{} has a sample without anything hostile", V::TEMPLATE);
        assert!(!text.contains("style="), "{} has inline style, which its policy forbids", V::TEMPLATE);
        assert!(!text.contains("<script>") && !text.contains("onclick"), "{} has inline script", V::TEMPLATE);
        seen.push(V::TEMPLATE);
    }

    #[test]
    fn what_stands_between_backticks_is_code_and_markup_stays_text() {
        let html = |text: &str| prose(text).to_string();
        assert_eq!(html("`PAYMENT_KEY` is not set"), "<code>PAYMENT_KEY</code> is not set");
        assert_eq!(html("a `<b>x</b>` & ` open"), "a <code>&lt;b&gt;x&lt;/b&gt;</code> &amp; ` open");
        assert_eq!(html("none `` here"), "none `` here");
    }

    #[test]
    fn every_template_renders_its_sample_and_escapes_it() {
        let mut seen = vec!["layout.html", "parts.html", "log.html"];
        check::<pages::lines::LinesView>(&mut seen);
        check::<pages::board::BoardPage>(&mut seen);
        check::<pages::compare::ComparePage>(&mut seen);
        check::<pages::deployment::DeploymentPage>(&mut seen);
        check::<pages::environment::EnvironmentPage>(&mut seen);
        check::<pages::event::EventPage>(&mut seen);
        check::<pages::event_list::EventListPage>(&mut seen);
        check::<pages::failure::FailurePage>(&mut seen);
        check::<pages::first_push::FirstPushPage>(&mut seen);
        check::<pages::promotion::PromotionPage>(&mut seen);
        check::<pages::release_list::ReleaseListPage>(&mut seen);
        check::<pages::rollback::RollbackPage>(&mut seen);
        check::<pages::run::RunPage>(&mut seen);
        check::<pages::run_list::RunListPage>(&mut seen);
        check::<pages::sign_in::SignInPage>(&mut seen);
        check::<pages::spec::SpecPage>(&mut seen);
        check::<pages::stage::StagePage>(&mut seen);
        check::<pages::test_list::TestListPage>(&mut seen);
        check::<pages::trigger_list::TriggerListPage>(&mut seen);
        check::<pages::webhook::WebhookPage>(&mut seen);
        check::<pages::settings::audit::AuditPage>(&mut seen);
        check::<pages::settings::daemon::DaemonPage>(&mut seen);
        check::<pages::settings::repositories::RepositoriesPage>(&mut seen);
        check::<pages::settings::secrets::SecretsPage>(&mut seen);
        check::<pages::status::StatusPage>(&mut seen);
        check::<pages::settings::account::AccountPage>(&mut seen);
        check::<pages::settings::people::PeoplePage>(&mut seen);
        check::<pages::settings::tokens::TokensPage>(&mut seen);
        let all: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).collect();
        seen.sort_unstable();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(seen, sorted, "each template has one view, and each is rendered here");
    }
}
