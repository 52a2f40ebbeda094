//! The static files of the pages, embedded. Their address holds the digest of all of them, so that browsers keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use hookwright_core::Digest;
use http::{StatusCode, header};

use crate::error::Problem;
use crate::urls;

/// Name, type and content of each.
const FILES: &[(&str, &str, &[u8])] = &[
    ("style.css", "text/css; charset=utf-8", include_bytes!("../ui/static/style.css")),
    ("page.js", "text/javascript; charset=utf-8", include_bytes!("../ui/static/page.js")),
    ("live.js", "text/javascript; charset=utf-8", include_bytes!("../ui/static/live.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("../ui/static/icon.svg")),
    ("inter.woff2", "font/woff2", include_bytes!("../ui/vendor/inter.woff2")),
];

/// The digest of all files, shortened. It depends on nothing but the binary.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: Vec<u8> = FILES.iter().flat_map(|(_, _, content)| content.iter().copied()).collect();
    Digest::of(all).hex()[..16].to_owned()
});

/// The address of a file.
pub(crate) fn address(file: &str) -> String {
    urls::asset(&VERSION, file)
}

/// Serves a file; of any version, because a page that was loaded before an update may still ask.
pub(crate) async fn serve(Path((version, file)): Path<(String, String)>) -> Response {
    let Some((_, kind, content)) = FILES.iter().find(|(name, _, _)| *name == file) else {
        return Problem::not_found("there is no such file").into_response();
    };
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, keep), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::OK, headers, *content).into_response()
}
