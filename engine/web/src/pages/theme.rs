//! Choosing light, dark, or what the system says.

use axum::Form;
use axum::response::{IntoResponse, Redirect, Response};
use http::header;
use serde::Deserialize;

use crate::visitor::{Theme, own_address};

/// What the form sends. It changes nothing but this browser's look, so it takes no session.
#[derive(Deserialize)]
pub(super) struct Choice {
    theme: Theme,
    to: String,
}

/// Remembers the choice in the browser and goes back.
pub(super) async fn choose(Form(choice): Form<Choice>) -> Response {
    ([(header::SET_COOKIE, choice.theme.cookie())], Redirect::to(own_address(&choice.to))).into_response()
}
