//! Which addresses a provider may have: what is said there decides who comes in, so that nobody on the way may write it.

use hookwright_core::PortError;
use url::{Host, Url};

/// Refuses an issuer that could not be asked, in words for whoever writes the settings.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn check_issuer(text: &str) -> Result<(), String> {
    let url = read(text)?;
    if url.query().is_some() {
        return Err(format!("`{text}` has a query; an issuer has none"));
    }
    Ok(())
}

/// An address out of the discovery document, where it is named `name`.
pub(crate) fn endpoint(text: &str, name: &str) -> Result<Url, PortError> {
    read(text).map_err(|message| PortError::failed(format!("the provider's `{name}` cannot be used: {message}")))
}

fn read(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("`{text}` is no address; write it as https://login.example.com"))?;
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(format!("`{text}` names no host; write it as https://login.example.com")),
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        _ => return Err(format!("`{text}` is not https; only a provider on this machine may do without")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(format!("`{text}` holds a name, a password or a fragment; leave them out"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_asked() {
        for good in [
            "https://login.example.com",
            "https://login.example.com/realms/acme",
            "http://127.0.0.1:9/x",
            "http://[::1]:9",
            "http://localhost:1",
        ] {
            assert_eq!(check_issuer(good), Ok(()), "{good}");
        }
        for bad in [
            "http://login.example.com",
            "http://127.0.0.1.example.com",
            "ftp://127.0.0.1",
            "login.example.com",
            "https://",
            "https://a:b@login.example.com",
            "https://login.example.com/#x",
            "https://login.example.com/?x",
        ] {
            assert!(check_issuer(bad).is_err(), "{bad}");
        }
    }
}
