//! Sends text compressed to browsers that take it: a board of many webhooks repeats itself a lot. Streams and what is small pass untouched.
//!
//! Pages hold a session's form token beside text from the address, whose compressed size could tell of the token to whoever can make a browser ask
//! again and again with its cookie; the cookie's `SameSite` keeps other sites from that.

use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Body as _;

use crate::error::Problem;

/// Less than this is not worth it, in bytes.
const SMALL: u64 = 1024;

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["text/html", "text/css", "text/javascript", "image/svg+xml"].iter().any(|text| kind.starts_with(text))
}

/// Compresses an answer whose length is known, which no stream's is.
pub(crate) async fn compress(request: Request, next: Next) -> Response {
    let wanted = takes_gzip(request.headers());
    let response = next.run(request).await;
    let worth = response.body().size_hint().exact().is_some_and(|length| length >= SMALL) && is_text(response.headers());
    if !worth || response.status() == StatusCode::NOT_MODIFIED || response.extensions().get::<Problem>().is_some() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if !wanted {
        return Response::from_parts(parts, body);
    }
    // The whole body is in memory already.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 6), Compression::new(3));
    let Ok(packed) = encoder.write_all(&bytes).and_then(|()| encoder.finish()) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_gzip_gets_it() {
        let with = |text: &'static str| HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(text))]);
        assert!(takes_gzip(&with("br, gzip;q=0.5")));
        assert!(!takes_gzip(&with("br, gzip;q=0")));
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
