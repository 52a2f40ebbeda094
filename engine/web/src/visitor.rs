//! Who looks at a page: a person with a session. Pages and API share [`Caller`], and with it every question about rights.
//! Invariants: what changes something comes from a form of ours, which holds the session's own token against forged requests; a
//! request that a browser says comes from elsewhere changes nothing.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Redirect, Response};
use hookwright_core::{Digest, SecretValue};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::caller::Caller;
use crate::client::Client;
use crate::error::Problem;
use crate::{WebState, urls};

/// The cookie of a session. The gateway keeps cookies that begin so from handlers.
const SESSION: &str = "hookwright_session";
/// The cookie of the chosen theme.
const THEME: &str = "hookwright_theme";
/// How long the browser keeps a chosen theme, in seconds.
const THEME_KEPT: u32 = 31_536_000;

/// A colour scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Theme {
    /// What the system says.
    #[default]
    System,
    Light,
    Dark,
}

impl Theme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The one that was chosen in this browser.
    pub(crate) fn chosen(headers: &HeaderMap) -> Self {
        match cookie(headers, THEME).as_deref() {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::System,
        }
    }

    /// The header that remembers it.
    pub(crate) fn cookie(self) -> HeaderValue {
        let text = format!("{THEME}={}; Path=/; Max-Age={THEME_KEPT}; SameSite=Lax; HttpOnly", self.as_str());
        HeaderValue::from_str(&text).expect("the words of themes are plain letters")
    }
}

/// The value of a cookie.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then(|| value.to_owned())
    })
}

/// The secret of the session that a request brings along.
pub(crate) fn session_secret(headers: &HeaderMap) -> Option<SecretValue> {
    cookie(headers, SESSION).map(SecretValue::new)
}

/// The header that hands a browser its session; `None` takes it away.
pub(crate) fn session_cookie(secret: Option<&SecretValue>, lasts: u64, client: Client) -> HeaderValue {
    let secure = if client.secure { "; Secure" } else { "" };
    let (value, age) = secret.map_or(("", 0), |secret| (secret.expose(), lasts));
    let text = format!("{SESSION}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).expect("a session's secret is hexadecimal")
}

/// Where people reach the daemon, as their browser says: `http://127.0.0.1:8080`.
pub(crate) fn origin(headers: &HeaderMap, client: Client) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:8080");
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-.:[]_".contains(*c)).collect();
    format!("{}://{host}", if client.secure { "https" } else { "http" })
}

/// Refuses what a browser says that another site sent. Browsers that say nothing are held by the cookie's `SameSite` and the form's token.
pub(crate) fn must_be_same_site(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let elsewhere = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(own)) => own.split_once("://").map(|(_, host)| host) != text("host"),
        (None, None) => false,
    };
    if elsewhere {
        return Err(Problem::new(StatusCode::FORBIDDEN, "this request comes from another site; open the page here and do it again"));
    }
    Ok(())
}

/// The token in the forms of a session: nobody without the cookie can make it.
pub(crate) fn form_token(secret: &SecretValue) -> String {
    Digest::of(format!("form:{}", secret.expose())).hex()
}

/// Somebody who is signed in and looks at a page.
pub(crate) struct Visitor {
    pub(crate) caller: Caller,
    pub(crate) secret: SecretValue,
    pub(crate) theme: Theme,
    /// The address of this page, with its query.
    pub(crate) here: String,
    /// Where people reach the daemon.
    pub(crate) origin: String,
}

impl FromRequestParts<WebState> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Response> {
        let here = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let secret = session_secret(&parts.headers);
        let was_in = secret.is_some();
        let caller = match secret {
            Some(secret) => Caller::signed_in(state, secret.clone()).await.map(|caller| (caller, secret)),
            None => Err(Problem::new(StatusCode::UNAUTHORIZED, "sign in first")),
        };
        match caller {
            Ok((caller, secret)) => {
                let client = Client::of_parts(parts, state);
                Ok(Self { caller, secret, theme: Theme::chosen(&parts.headers), here, origin: origin(&parts.headers, client) })
            }
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED && parts.method == Method::GET => {
                Err(Redirect::to(&sign_in_to(&here, was_in)).into_response())
            }
            // What was sent is not done; the page that it was sent from is where people go on.
            Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
                let from = came_from(&parts.headers).unwrap_or(urls::BOARD);
                Err(Redirect::to(&sign_in_to(from, was_in)).into_response())
            }
            Err(problem) => Err(problem.into_response()),
        }
    }
}

/// The sign-in page that leads back to an address of ours, and says so when somebody was signed in before.
fn sign_in_to(here: &str, was_in: bool) -> String {
    let to = (here != urls::BOARD).then_some(("to", here));
    let pairs: Vec<(&str, &str)> = to.into_iter().chain(was_in.then_some(("said", "session-over"))).collect();
    let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
    if query.is_empty() { urls::SIGN_IN.to_owned() } else { format!("{}?{query}", urls::SIGN_IN) }
}

/// The page of ours that a form was on, as the browser says.
pub(crate) fn came_from(headers: &HeaderMap) -> Option<&str> {
    let text = |name: header::HeaderName| headers.get(name)?.to_str().ok();
    let (_, address) = text(header::REFERER)?.split_once("://")?;
    let path = address.strip_prefix(text(header::HOST)?).filter(|path| path.starts_with('/'))?;
    Some(path.split('#').next().unwrap_or(path))
}

/// An address of ours to go back to; anything else becomes the board.
pub(crate) fn own_address(address: &str) -> &str {
    let own = address.starts_with('/') && !address.starts_with("//") && !address.contains(['\\', '\r', '\n', '\t']);
    if own { address } else { urls::BOARD }
}

/// A form that somebody who is signed in sent from a page of ours.
pub(crate) struct Deed<T> {
    pub(crate) visitor: Visitor,
    pub(crate) form: T,
}

#[derive(Deserialize)]
struct Signed {
    csrf: String,
}

impl<T: DeserializeOwned> FromRequest<WebState> for Deed<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &WebState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, state).await?;
        must_be_same_site(&parts.headers).map_err(IntoResponse::into_response)?;
        let bytes = Bytes::from_request(Request::from_parts(parts, body), state).await.map_err(IntoResponse::into_response)?;
        let refuse =
            || Problem::new(StatusCode::FORBIDDEN, "the form is not of this session; load the page again and repeat it").into_response();
        let signed: Signed = serde_urlencoded::from_bytes(&bytes).map_err(|_| refuse())?;
        // Compared as digests, so that the time it takes tells nothing.
        if Digest::of(signed.csrf) != Digest::of(form_token(&visitor.secret)) {
            return Err(refuse());
        }
        let form = serde_urlencoded::from_bytes(&bytes).map_err(|error| Problem::bad_request(error.to_string()).into_response())?;
        Ok(Self { visitor, form })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_addresses_are_gone_back_to() {
        for address in ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nb"] {
            assert_eq!(own_address(address), "/", "{address}");
        }
        assert_eq!(own_address("/runs?webhook=a"), "/runs?webhook=a");
    }

    #[test]
    fn whoever_was_signed_in_is_told_and_led_back_to_where_the_form_was() {
        assert_eq!(sign_in_to("/", false), "/sign-in");
        assert_eq!(sign_in_to("/runs?webhook=a", true), "/sign-in?to=%2Fruns%3Fwebhook%3Da&said=session-over");
        let from = |referer: &'static str| {
            let headers = HeaderMap::from_iter([
                (header::HOST, HeaderValue::from_static("a.example:1")),
                (header::REFERER, HeaderValue::from_static(referer)),
            ]);
            came_from(&headers).map(str::to_owned)
        };
        assert_eq!(from("http://a.example:1/promotions/1?x#y").as_deref(), Some("/promotions/1?x"));
        assert_eq!((from("http://a.example:10/x"), from("http://evil.example/a.example:1/x"), from("/x")), (None, None, None));
    }

    #[test]
    fn what_another_site_sends_is_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        assert!(must_be_same_site(&headers(&[("sec-fetch-site", "cross-site")])).is_err());
        assert!(must_be_same_site(&headers(&[("origin", "http://evil.example"), ("host", "127.0.0.1:1")])).is_err());
        assert!(must_be_same_site(&headers(&[("origin", "null"), ("host", "127.0.0.1:1")])).is_err());
        assert!(must_be_same_site(&headers(&[("origin", "http://127.0.0.1:1"), ("host", "127.0.0.1:1")])).is_ok());
        assert!(must_be_same_site(&headers(&[("sec-fetch-site", "same-origin")])).is_ok());
    }
}
