//! Which headers pass between a client and a handler (RFC 9110, section 7.6.1; RFC 7239).

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Cookies whose names begin so are the daemon's.
const OWN_COOKIE: &str = "hookwright_";

const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What handlers on the daemon's own origin may not do: act as this origin.
const SANDBOX: &str = "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts";

/// Headers that belong to the connection they came by.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Headers that say who sent a request and how it came here, which only we may. `proxy` is none: handlers behind CGI take it for their own
/// `HTTP_PROXY`.
fn is_ours(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip" | "x-request-id" | "client-cert" | "client-cert-chain" | "proxy")
        || ["x-forwarded-", "x-hookwright-", "x-consumer-"].iter().any(|start| name.starts_with(start))
}

/// Whether a name with `_` in it would be read as a header that we set or leave out: servers of the family of CGI and WSGI read `_` and `-` as one.
pub(crate) fn is_disguised(name: &str) -> bool {
    if !name.contains('_') {
        return false;
    }
    let name = name.replace('_', "-");
    is_ours(&name) || is_hop_by_hop(&name) || name.starts_with("webhook-") || name == header::CONTENT_LENGTH.as_str()
}

/// What a daemon that follows passed on to the one that leads.
pub(crate) const PASSED_ON: &str = "x-hookwright-passed-on";

/// Removes the headers whose names are unwanted.
fn remove_all(headers: &mut HeaderMap, is_unwanted: impl Fn(&HeaderName) -> bool) {
    let unwanted: Vec<HeaderName> = headers.keys().filter(|name| is_unwanted(name)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// Removes what belongs to the connection, and returns the protocol an upgrade asks for.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Whom a request is for and how long its body is belongs to no connection.
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH))
        .collect();
    let upgrade = named.contains(&header::UPGRADE).then(|| headers.get(header::UPGRADE).cloned()).flatten();
    remove_all(headers, |name| is_hop_by_hop(name.as_str()) || named.contains(name));
    upgrade
}

/// Removes what only we may say, in every spelling.
pub(crate) fn strip_ours(headers: &mut HeaderMap) {
    remove_all(headers, |name| is_ours(name.as_str()) || is_disguised(name.as_str()));
}

/// Whether a protocol is among those that were asked for.
pub(crate) fn is_one_of(protocol: &HeaderValue, asked: &HeaderValue) -> bool {
    let (Ok(protocol), Ok(asked)) = (protocol.to_str(), asked.to_str()) else { return false };
    asked.split(',').any(|asked| asked.trim().eq_ignore_ascii_case(protocol.trim()))
}

/// Whether protocols are none of HTTP's own. A connection that became HTTP/2 (`h2c`) would carry requests past everything that is checked here.
pub(crate) fn is_foreign(protocols: &HeaderValue) -> bool {
    let is_http = |protocol: &str| ["h2", "h3", "http", "tls"].iter().any(|http| protocol.trim().to_ascii_lowercase().starts_with(http));
    protocols.to_str().is_ok_and(|protocols| !protocols.split(',').any(is_http))
}

/// Makes a request's headers fit for a handler.
pub(crate) fn towards_handler(headers: &mut HeaderMap, request_id: &str, peer: IpAddr, prefix: &str) -> Option<HeaderValue> {
    let upgrade = strip_hop_by_hop(headers);
    keep_cookies(headers);
    strip_ours(headers);
    let mut forwarded = match peer {
        IpAddr::V4(peer) => format!("for={peer};host=\""),
        IpAddr::V6(peer) => format!("for=\"[{peer}]\";host=\""),
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    forwarded.extend(host.chars().filter(|character| !matches!(character, '"' | '\\')));
    forwarded.push_str("\";proto=http");
    for (name, value) in [(header::FORWARDED, forwarded.as_str()), (PREFIX, prefix), (REQUEST_ID, request_id)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    upgrade
}

/// Makes an answer's headers fit for a client.
pub(crate) fn towards_client(headers: &mut HeaderMap, request_id: &str, sandbox: bool) -> Option<HeaderValue> {
    let upgrade = strip_hop_by_hop(headers);
    if headers.get_all(header::SET_COOKIE).iter().any(|value| is_own_cookie(value.as_bytes())) {
        let kept: Vec<HeaderValue> =
            headers.get_all(header::SET_COOKIE).iter().filter(|value| !is_own_cookie(value.as_bytes())).cloned().collect();
        headers.remove(header::SET_COOKIE);
        for value in kept {
            headers.append(header::SET_COOKIE, value);
        }
    }
    if sandbox {
        headers.append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    upgrade
}

/// Whether a cookie may come back under one of our names: browsers send a cookie without name (`=hookwright_x`) as its bare value.
fn is_own_cookie(value: &[u8]) -> bool {
    let name = value.trim_ascii_start();
    let name = name.strip_prefix(b"=").unwrap_or(name).trim_ascii_start();
    name.get(..OWN_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_COOKIE.as_bytes()))
}

fn keep_cookies(headers: &mut HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let cookies: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(|cookie| cookie.trim().to_owned())
        .filter(|cookie| !cookie.is_empty() && !is_own_cookie(cookie.as_bytes()))
        .collect();
    headers.remove(header::COOKIE);
    if let (false, Ok(value)) = (cookies.is_empty(), HeaderValue::from_str(&cookies.join("; "))) {
        headers.insert(header::COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_daemons_cookies_and_forged_forwarding_do_not_reach_a_handler() {
        let mut sent = headers(&[("cookie", "a=1; hookwright_session=x"), ("x-forwarded-for", "1.2.3.4")]);
        towards_handler(&mut sent, "id", IpAddr::from([127, 0, 0, 1]), "/w/a/b");
        assert_eq!(sent["cookie"], "a=1");
        assert!(!sent.contains_key("x-forwarded-for"));
    }

    #[test]
    fn what_only_we_may_say_is_said_by_nobody_else_in_any_spelling() {
        let forged = [
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded-user",
            "x_forwarded-proto",
            "x-hookwright-replay",
            "x_hookwright_replay",
            "webhook_id",
            "x_request_id",
            "x-real-ip",
            "x_real_ip",
            "x-consumer-id",
            "client-cert",
            "client_cert",
            "content_length",
            "transfer_encoding",
            "proxy",
        ];
        let mut sent = headers(&forged.map(|name| (name, "forged")));
        // These are a source's own, and the application's.
        sent.extend(headers(&[("webhook-id", "msg"), ("x_api_key", "theirs")]));
        towards_handler(&mut sent, "id", IpAddr::from([127, 0, 0, 1]), "/w/a/b");
        let mut left: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["forwarded", "webhook-id", "x-forwarded-prefix", "x-request-id", "x_api_key"]);
        assert!(sent.values().all(|value| value != "forged"));
    }

    #[test]
    fn a_client_cannot_have_its_host_or_length_taken_for_hop_by_hop() {
        let mut sent = headers(&[("connection", "host, content-length"), ("host", "a.example"), ("content-length", "1")]);
        towards_handler(&mut sent, "id", IpAddr::from([127, 0, 0, 1]), "/w/a/b");
        assert_eq!((&sent["host"], &sent["content-length"]), (&HeaderValue::from_static("a.example"), &HeaderValue::from_static("1")));
    }

    #[test]
    fn a_protocol_is_one_that_was_asked_for_whatever_its_capitals() {
        let is_asked = |protocol, asked| is_one_of(&HeaderValue::from_static(protocol), &HeaderValue::from_static(asked));
        assert!(is_asked("websocket", "h2c, WebSocket"));
        assert!(!is_asked("web", "websocket") && !is_asked("", "websocket") && !is_asked("h2c, websocket", "websocket"));
    }

    #[test]
    fn no_upgrade_to_http_itself_is_passed_on() {
        for protocols in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "TLS/1.0"] {
            assert!(!is_foreign(&HeaderValue::from_static(protocols)), "{protocols}");
        }
        assert!(is_foreign(&HeaderValue::from_static("websocket")));
    }

    #[test]
    fn a_handlers_own_authorization_passes() {
        let mut sent = headers(&[("authorization", "Bearer theirs")]);
        towards_handler(&mut sent, "id", IpAddr::from([127, 0, 0, 1]), "/w/a/b");
        assert_eq!(sent["authorization"], "Bearer theirs");
    }

    #[test]
    fn a_quote_in_the_host_cannot_forge_what_we_say_was_forwarded() {
        let mut sent = headers(&[("host", "a\";proto=https;for=\"9.9.9.9")]);
        towards_handler(&mut sent, "id", IpAddr::from([127, 0, 0, 1]), "/w/a/b");
        assert_eq!(sent["forwarded"], "for=127.0.0.1;host=\"a;proto=https;for=9.9.9.9\";proto=http");
    }

    #[test]
    fn headers_that_the_connection_header_names_are_dropped_but_ours_stay() {
        let mut sent = headers(&[("connection", "x-secret, x-request-id"), ("x-secret", "1")]);
        towards_handler(&mut sent, "id", IpAddr::from([127, 0, 0, 1]), "/w/a/b");
        assert!(!sent.contains_key("x-secret"));
        assert_eq!(sent["x-request-id"], "id");
    }

    #[test]
    fn a_handler_cannot_set_the_daemons_cookies() {
        let mut answered = HeaderMap::new();
        for cookie in [" hookwright_session=evil", "=hookwright_session=evil", "HOOKWRIGHT_session=evil"] {
            answered.append("set-cookie", HeaderValue::from_static(cookie));
        }
        towards_client(&mut answered, "id", true);
        assert!(!answered.contains_key("set-cookie"));
        assert!(answered["content-security-policy"].to_str().is_ok_and(|policy| policy.starts_with("sandbox")));
    }
}
