//! What went wrong, as a page: the sentence of the API, and the request's id to ask about.

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;

use super::Layout;
use crate::show::visible_lines;
use crate::template::{self, View};
use crate::urls;
use crate::visitor::{Theme, came_from, own_address};

/// The page of a request that was not answered as asked.
#[derive(Serialize)]
pub(crate) struct FailurePage {
    layout: Layout,
    status: u16,
    heading: &'static str,
    detail: String,
    request_id: String,
    board: &'static str,
    /// The page of ours that it was asked for from.
    back: Option<String>,
}

impl View for FailurePage {
    const TEMPLATE: &'static str = "pages/failure.html";

    #[cfg(test)]
    fn sample() -> Self {
        let layout = Layout::sample();
        Self {
            layout,
            status: 404,
            heading: "Not found",
            detail: "<b>hostile".into(),
            request_id: "0193".into(),
            board: urls::BOARD,
            back: Some("/x".into()),
        }
    }
}

/// What is known of a browser that asked for a page.
pub(crate) struct Asked {
    layout: Layout,
    from: Option<String>,
}

impl Asked {
    /// Of a request, if it is a browser's for a page.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let (path, headers) = (request.uri().path(), request.headers());
        // A page that cannot be had does not lead to itself.
        let leads_on = |from: &&str| request.method() != Method::GET || *from != path;
        let from = came_from(headers).filter(leads_on).map(|from| own_address(from).to_owned());
        wants_page(path, headers).then(|| Self { layout: Layout::open(Theme::chosen(headers), "").with_nav(headers), from })
    }
}

/// Whether a request is a browser's for a page.
fn wants_page(path: &str, headers: &HeaderMap) -> bool {
    let api = ["/api/", "/metrics", "/healthz", "/readyz"].iter().any(|prefix| path.starts_with(prefix));
    let html = headers.get(http::header::ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/html"));
    !api && html
}

/// The page about a request.
pub(crate) fn page((status, detail): (StatusCode, String), request_id: String, asked: Asked) -> Response {
    let heading = match status {
        StatusCode::NOT_FOUND => "There is nothing here",
        StatusCode::FORBIDDEN => "That is not yours to do",
        StatusCode::CONFLICT => "It has moved on in the meantime",
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "That cannot be taken as it is",
        StatusCode::TOO_MANY_REQUESTS => "Too many tries",
        status if status.is_server_error() => "The daemon could not do it",
        _ => "That did not work",
    };
    let (layout, detail) = (asked.layout.titled(heading), visible_lines(&detail));
    let mut response =
        template::page(&FailurePage { layout, status: status.as_u16(), heading, detail, request_id, board: urls::BOARD, back: asked.from });
    *response.status_mut() = status;
    super::secure(&mut response);
    response
}
