//! Where a request comes from: the address of whoever sent it, and whether people reach the daemon by TLS. What a reverse proxy says about
//! that is believed of the proxies that the settings name, and of nobody else.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::HeaderMap;
use http::request::Parts;
use ipnet::IpNet;

use crate::WebState;

/// Whoever sent a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address; `None` on a connection that has none.
    pub(crate) address: Option<IpAddr>,
    /// Whether people reach the daemon by TLS.
    pub(crate) secure: bool,
}

impl Client {
    /// Reads `X-Forwarded-For` from its end, as far as proxies in `trusted` wrote it, and the `X-Forwarded-Proto` of such a proxy.
    fn of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address.to_canonical()));
        let Some(peer) = peer.map(|peer| peer.to_canonical()) else { return Self::default() };
        if !is_trusted(peer) {
            return Self { address: Some(peer), secure: false };
        }
        let values = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut address = peer;
        for hop in hops.iter().rev() {
            let Ok(hop) = hop.parse::<IpAddr>() else { break };
            address = hop.to_canonical();
            if !is_trusted(address) {
                break;
            }
        }
        let secure = headers.get("x-forwarded-proto").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"));
        Self { address: Some(address), secure }
    }

    /// The same of a request's parts.
    pub(crate) fn of_parts(parts: &Parts, state: &WebState) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        Self::of(peer, &parts.headers, &state.trusted_proxies)
    }
}

/// The address of whoever sent a request that came from `peer`: the one before the proxies in `trusted`.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    Client::of(Some(peer), headers, trusted).address
}

impl FromRequestParts<WebState> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &WebState) -> Result<Self, Infallible> {
        Ok(Self::of_parts(parts, state))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded_for: &'static str) -> Client {
        let mut headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("https"))]);
        if !forwarded_for.is_empty() {
            headers.insert("x-forwarded-for", HeaderValue::from_static(forwarded_for));
        }
        let trusted: Vec<IpNet> = ["127.0.0.0/8", "10.0.0.0/8"].map(|network| network.parse().expect("a network")).into();
        Client::of(Some(peer.parse().expect("an address")), &headers, &trusted)
    }

    #[test]
    fn a_stranger_chooses_neither_address_nor_scheme() {
        assert_eq!(client("203.0.113.9", "198.51.100.1"), Client { address: "203.0.113.9".parse().ok(), secure: false });
    }

    #[test]
    fn behind_proxies_the_last_address_that_none_of_them_has_is_the_clients() {
        let address = |forwarded: &'static str| client("127.0.0.1", forwarded).address.map(|address| address.to_string());
        assert_eq!(
            address("6.6.6.6, 203.0.113.9, 10.1.2.3").as_deref(),
            Some("203.0.113.9"),
            "what stands before was the client's to choose"
        );
        assert_eq!(address("nonsense, 10.1.2.3").as_deref(), Some("10.1.2.3"));
        assert_eq!(address("").as_deref(), Some("127.0.0.1"));
        assert!(client("::ffff:127.0.0.1", "").secure, "an IPv4 address in IPv6 dress is the same one");
    }
}
