//! The public status page and the badges for a README: no sign-in, and nothing on them but what an admin made public.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use hookwright_core::{EnvironmentName, WebhookName};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{Answer, Layout, said};
use crate::error::{Path, Problem};
use crate::public::{self, PublicWebhook};
use crate::show::Badge;
use crate::template::{self, View};
use crate::visitor::{Deed, Theme};
use crate::{WebState, urls};

/// How long browsers and proxies keep what they were told.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=30");

/// The public status page.
#[derive(Serialize)]
pub(crate) struct StatusPage {
    layout: Layout,
    webhooks: Vec<PublicWebhook>,
    /// All of it in one state.
    whole: Badge,
}

impl View for StatusPage {
    const TEMPLATE: &'static str = "pages/status.html";

    #[cfg(test)]
    fn sample() -> Self {
        let badge = || Badge::new("good", "check", "operational");
        let place = public::PublicPlace {
            environment: "production".into(),
            badge: badge(),
            since: Some(crate::show::Moment::sample()),
            well: Some("99.99 %".into()),
        };
        let name = WebhookName::new("shop").expect("a valid name");
        let webhooks = vec![PublicWebhook { name, title: "<b>hostile".into(), places: vec![place] }];
        Self { layout: Layout::sample(), webhooks, whole: badge() }
    }
}

/// Shows it to anybody.
pub(super) async fn show(State(state): State<WebState>, headers: HeaderMap) -> Answer {
    let webhooks = state.public.all(&state).await?.as_ref().clone();
    let has = |tone: &str| webhooks.iter().flat_map(|webhook| &webhook.places).any(|place| place.badge.tone == tone);
    let whole = match (has("bad"), has("warn"), webhooks.is_empty()) {
        (true, ..) => Badge::new("bad", "cross", "Something is down"),
        (_, true, _) => Badge::new("warn", "alert", "Something is degraded"),
        (_, _, true) => Badge::none("Nothing is shown here"),
        _ => Badge::new("good", "check", "Everything works"),
    };
    let layout = Layout::open(Theme::chosen(&headers), "Status").with_nav(&headers);
    let mut response = template::page(&StatusPage { layout, webhooks, whole });
    // The chosen colours are in the page.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=30"));
    Ok(response)
}

/// Draws the badge of a place; a webhook that is not public and one that does not exist look the same.
pub(super) async fn badge(
    State(state): State<WebState>,
    Path((webhook, file)): Path<(String, String)>,
) -> std::result::Result<Response, Response> {
    let unknown = || Problem::not_found("there is no such badge: its webhook is not public, or not deployed there").into_response();
    let environment = file.strip_suffix(".svg").and_then(|name| EnvironmentName::new(name).ok()).ok_or_else(unknown)?;
    let place = public::place(&state, &webhook, &environment).await.map_err(IntoResponse::into_response)?.ok_or_else(unknown)?;
    let svg = drawn(environment.as_str(), &place.badge);
    let mut response = (StatusCode::OK, svg).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    response.headers_mut().insert(header::CACHE_CONTROL, KEPT);
    Ok(response)
}

/// A badge of two fields. Both texts are names of ours: an environment's (a DNS label) and a state's.
fn drawn(label: &str, state: &Badge) -> String {
    // White on each is above 4.5 to 1.
    let colour = match state.tone {
        "good" => "#146c43",
        "warn" => "#8a5300",
        _ => "#b3261e",
    };
    let wide = |text: &str| text.chars().count() * 7 + 14;
    let (left, right) = (wide(label), wide(&state.word));
    let (whole, middle, end) = (left + right, left / 2, left + right / 2);
    let word = &state.word;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"20\" role=\"img\" aria-label=\"{label}: {word}\">\
         <title>{label}: {word}</title><clipPath id=\"round\"><rect width=\"{whole}\" height=\"20\" rx=\"3\"/></clipPath>\
         <g clip-path=\"url(#round)\"><rect width=\"{left}\" height=\"20\" fill=\"#3d4757\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{colour}\"/></g>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
         <text x=\"{middle}\" y=\"14\">{label}</text><text x=\"{end}\" y=\"14\">{word}</text></g></svg>"
    )
}

/// Whether the status is to be public.
#[derive(Deserialize)]
pub(super) struct Wish {
    public: bool,
}

/// Makes a webhook's status public, or hides it.
pub(super) async fn publish(State(state): State<WebState>, Path(webhook): Path<WebhookName>, deed: Deed<Wish>) -> Answer {
    public::set(&state, &deed.visitor.caller, &webhook, deed.form.public).await?;
    let word = if deed.form.public { "published" } else { "hidden" };
    Ok(Redirect::to(&said(&urls::webhook(&webhook), word)).into_response())
}
