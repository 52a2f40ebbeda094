//! Whether a request says one thing only: one host, one way to tell where its body ends. What can be read in two ways is passed to nobody, since a
//! proxy before us and a handler behind us may each read it in its own (request smuggling; RFC 9112, sections 3.2, 6.1 and 7.2; RFC 9113, 8.3.1).
//! Called for every request of every listener, before anything else looks at it.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hookwright_core::IdSource;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};

use crate::{Problem, identify};

/// How many header fields a request may have. hyper counts to the same number in HTTP/1; in HTTP/2 it bounds their size alone. What browsers and
/// event sources send has a third of it.
const FIELDS: usize = 100;

/// Gives a request the one host that it is for, as its header `Host`. Returns the answer to one that is not clear, with which its connection ends:
/// 400, or 431 for too many fields.
pub fn refuse_unclear(request: &mut Request, ids: &dyn IdSource) -> Option<Response> {
    let problem = look(request).err()?;
    let id = ids.uuid().simple().to_string();
    let mut response = problem.about(&id).into_response();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(identify::REQUEST_ID, id);
    }
    if request.version() <= Version::HTTP_11 {
        // Whatever follows on the connection may be a part of what was not understood.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

fn look(request: &mut Request) -> Result<(), Problem> {
    if request.headers().len() > FIELDS {
        let text = format!("the request has more than {FIELDS} header fields; send fewer");
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text));
    }
    check_length(request.headers())?;
    let host = host(request.version(), request.uri(), request.headers())?;
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}

fn unclear(text: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, text)
}

/// A body comes in chunks and in nothing else: what else it is packed in, a handler would not be told.
fn check_length(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_chunked && codings.next().is_none() {
        return Ok(());
    }
    Err(unclear("`Transfer-Encoding` is not the one word `chunked`: send the body as it is, in chunks or with its length"))
}

/// The host that a request is for, if it has to be written into its headers.
fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let mut named = headers.get_all(header::HOST).iter();
    let (named, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(unclear("the request has more than one `Host`; send one"));
    }
    let named = named.map(|named| authority(named.as_bytes())).transpose()?;
    let asked = uri.authority().map(|asked| authority(asked.as_str().as_bytes())).transpose()?;
    match (asked, named) {
        (Some(asked), Some(named)) if !is_same(&asked, &named) => {
            Err(unclear("the request is for one host and its `Host` names another; send the same in both places"))
        }
        (Some(_), Some(_)) | (None, Some(_)) => Ok(None),
        (Some(asked), None) => HeaderValue::from_str(asked.as_str()).map(Some).map_err(|_| unclear("the host cannot be read")),
        // Only HTTP/1.0 goes without.
        (None, None) if version < Version::HTTP_11 => Ok(None),
        (None, None) => Err(unclear("the request has no `Host`; send the host that it is for")),
    }
}

/// A host with its port, and nobody who signs in there.
fn authority(text: &[u8]) -> Result<Authority, Problem> {
    let is_plain = |authority: &Authority| {
        let after = authority.as_str().strip_prefix(authority.host());
        !authority.host().is_empty() && after.is_some_and(|after| matches!(after, "" | ":") || authority.port_u16().is_some())
    };
    Authority::try_from(text)
        .ok()
        .filter(is_plain)
        .ok_or_else(|| unclear("the `Host` is no host with an optional port; send such as `example.org` or `example.org:8080`"))
}

/// The usual ports may be left out.
fn is_same(one: &Authority, other: &Authority) -> bool {
    let port = |authority: &Authority| authority.port_u16().filter(|port| !matches!(port, 80 | 443));
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// What becomes of a request: its host, or the status it is refused with.
    fn cleared(version: Version, uri: &str, headers: &[(&str, &str)]) -> Result<Option<String>, u16> {
        let request = Request::builder().version(version).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let mut request = request.body(Body::empty()).expect("a request");
        look(&mut request).map_err(|problem| problem.status.as_u16())?;
        Ok(request.headers().get(header::HOST).map(|host| host.to_str().expect("a text").to_owned()))
    }

    #[test]
    fn a_request_has_one_host_whichever_way_it_is_said() {
        let (new, old, two) = (Version::HTTP_11, Version::HTTP_10, Version::HTTP_2);
        let said = |host: &str| Ok(Some(host.to_owned()));
        assert_eq!(cleared(new, "/", &[("host", "a.example:8080")]), said("a.example:8080"));
        assert_eq!(cleared(new, "/", &[("host", "[::1]:8080")]), said("[::1]:8080"));
        assert_eq!(cleared(new, "http://a.example/x", &[("host", "A.example:80")]), said("A.example:80"));
        assert_eq!(cleared(two, "http://a.example/x", &[]), said("a.example"));
        assert_eq!(cleared(old, "/", &[]), Ok(None));
        for headers in [
            &[("host", "a"), ("host", "a")][..],
            &[],
            &[("host", "")],
            &[("host", "a b")],
            &[("host", "me@a")],
            &[("host", "a/b")],
            &[("host", "a:http")],
        ] {
            assert_eq!(cleared(new, "/", headers), Err(400), "{headers:?}");
            if !headers.is_empty() {
                assert_eq!(cleared(old, "/", headers), Err(400), "{headers:?}");
            }
        }
        for version in [new, two] {
            assert_eq!(cleared(version, "http://a.example/", &[("host", "b.example")]), Err(400));
            assert_eq!(cleared(version, "http://a.example:81/", &[("host", "a.example")]), Err(400));
        }
    }

    #[test]
    fn a_body_is_in_chunks_and_in_nothing_else() {
        let codings = |codings: &[&'static str]| {
            let headers: Vec<(&str, &str)> = codings.iter().map(|coding| ("transfer-encoding", *coding)).chain([("host", "a")]).collect();
            cleared(Version::HTTP_11, "/", &headers).is_ok()
        };
        assert!(codings(&[]) && codings(&["Chunked"]));
        for unclear in [&["gzip, chunked"][..], &["chunked", "chunked"], &["identity"], &["chunked, chunked"], &[""]] {
            assert!(!codings(unclear), "{unclear:?}");
        }
    }

    #[test]
    fn a_hundred_fields_are_read_and_one_more_is_too_many() {
        let many = |count: usize| {
            let headers: Vec<(&str, &str)> = std::iter::repeat_n(("x-many", "1"), count - 1).chain([("host", "a")]).collect();
            cleared(Version::HTTP_2, "/", &headers).err()
        };
        assert_eq!((many(FIELDS), many(FIELDS + 1)), (None, Some(431)));
    }
}
