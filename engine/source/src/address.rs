//! Addresses of watched remotes: which are taken, and what a credential for one of them must look like.

use std::path::PathBuf;

use hookwright_core::{PortError, RemoteCredential};
use url::{Host, Position, Url};

/// A remote's address in one spelling, which is the one that git is given too: two readers that disagree cannot be played off.
#[derive(Clone, Debug)]
pub(crate) struct Address(Url);

/// How a remote is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `https`, and `http` to this machine.
    Http,
    Ssh,
    /// A folder of this machine.
    File,
}

impl Address {
    /// Refuses what is no plain remote: other transports, options in disguise, credentials in the address.
    pub(crate) fn new(text: &str) -> Result<Self, PortError> {
        let refused = |why: &str| PortError::failed(format!("the address is refused: {why}"));
        let url = Url::parse(text).map_err(|_| refused("write https://…, ssh://… or file:///…"))?;
        let starts_like_option = |part: &str| part.starts_with('-');
        let local = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        match url.scheme() {
            "https" | "ssh" | "file" => {}
            "http" if local => {}
            "http" => return Err(refused("http sends the credential and the code in the clear; use https")),
            _ => return Err(refused("only https, ssh and file are watched")),
        }
        if url.password().is_some() || (!url.username().is_empty() && url.scheme() != "ssh") {
            return Err(refused("give the credential apart from the address, with --credential-stdin or --ssh-key"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("a repository has no `?` or `#` in its address"));
        }
        let host = url.host_str().unwrap_or_default();
        if url.scheme() == "file" && (!host.is_empty() || url.to_file_path().is_err()) {
            return Err(refused("a folder of this machine is written file:///…"));
        }
        if url.scheme() != "file" && host.is_empty() {
            return Err(refused("it names no host"));
        }
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic() && !b"%*\\\"'`$".contains(&byte));
        if !plain(host) || !plain(url.username()) {
            return Err(refused("its host or user name is none"));
        }
        if starts_like_option(host) || starts_like_option(url.username()) || starts_like_option(url.path()) {
            return Err(refused("a part of it starts with `-`"));
        }
        Ok(Self(url))
    }

    /// The address as git is given it.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn scheme(&self) -> Scheme {
        match self.0.scheme() {
            "ssh" => Scheme::Ssh,
            "file" => Scheme::File,
            _ => Scheme::Http,
        }
    }

    /// The one transport that git may use for it.
    pub(crate) fn protocol(&self) -> &str {
        self.0.scheme()
    }

    /// Scheme, host and port, as git asks for their credential.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.0.scheme(), &self.0[Position::BeforeHost..Position::AfterPort])
    }

    /// The folder of a `file` remote.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        if self.scheme() == Scheme::File { self.0.to_file_path().ok() } else { None }
    }

    /// Refuses a credential that does not fit, or that could say more to git or ssh than it is.
    pub(crate) fn check(&self, credential: Option<&RemoteCredential>) -> Result<(), PortError> {
        let refused = |why: &str| Err(PortError::failed(format!("the credential is refused: {why}")));
        match (self.scheme(), credential) {
            (_, None) => Ok(()),
            (Scheme::File, Some(_)) => refused("a folder of this machine needs none"),
            (Scheme::Ssh, Some(RemoteCredential::Password { .. })) => refused("ssh takes a key; give one with --ssh-key"),
            (Scheme::Http, Some(RemoteCredential::SshKey(_))) => refused("a key is for ssh; give a token with --credential-stdin"),
            (Scheme::Http, Some(RemoteCredential::Password { username, password })) => {
                let lines = |text: &str| text.is_empty() || text.chars().any(char::is_control);
                if lines(username) || lines(password.expose()) {
                    return refused("user name and password are one line each, and not empty");
                }
                Ok(())
            }
            (Scheme::Ssh, Some(RemoteCredential::SshKey(key))) => {
                let key = key.expose().trim();
                if !key.starts_with("-----BEGIN ") || !key.ends_with("PRIVATE KEY-----") {
                    return refused("this is no private key as `ssh-keygen` writes it");
                }
                if key.contains("ENCRYPTED") {
                    return refused("the key has a passphrase; make one without for this daemon");
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hookwright_core::SecretValue;

    use super::*;

    #[test]
    fn addresses_that_run_programs_or_carry_secrets_are_refused() {
        for url in [
            "ext::sh -c id",
            "ssh://-oProxyCommand=id/x",
            "ssh://%2DoProxyCommand=id/x",
            "ssh://$(id)/x",
            "https://u:p@acme.example/x",
            "https://token@acme.example/x",
            "http://10.0.0.1/x",
            "http://acme.example/x",
            "https://*/x",
            "https://acme.example/x?y",
            "/etc",
            "file://-x",
            "file://host/x",
            "git://acme.example/x",
            "https:///x y",
        ] {
            let taken = Address::new(url);
            assert!(taken.is_err() || url == "https:///x y" && !taken.as_ref().is_ok_and(|a| a.as_str().contains(' ')), "{url}: {taken:?}");
        }
        for url in ["https://acme.example/shop.git", "ssh://git@acme.example:2222/shop.git", "file:///srv/shop.git", "http://[::1]:80/x"] {
            assert!(Address::new(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn an_address_in_an_error_is_never_repeated_because_it_may_hold_a_secret() {
        let error = Address::new("https://u:canary-77@acme.example/x").expect_err("refused");
        assert!(!error.message.contains("canary-77"), "{}", error.message);
    }

    #[test]
    fn the_origin_is_spelled_as_git_asks_for_it() {
        let origin = |text| Address::new(text).expect("an address").origin();
        assert_eq!(origin("https://ACME.example:443/shop.git"), "https://acme.example");
        assert_eq!(origin("http://127.0.0.1:8080/git/shop.git"), "http://127.0.0.1:8080");
    }

    #[test]
    fn a_credential_that_would_say_more_than_itself_is_refused() {
        let https = Address::new("https://acme.example/shop.git").expect("an address");
        let ssh = Address::new("ssh://git@acme.example/shop.git").expect("an address");
        let password = |username: &str, password: &str| {
            Some(RemoteCredential::Password { username: username.to_owned(), password: SecretValue::new(password) })
        };
        assert!(https.check(password("git", "token").as_ref()).is_ok());
        assert!(https.check(password("git\nhost=evil.example", "token").as_ref()).is_err());
        assert!(https.check(password("git", "token\nurl=x").as_ref()).is_err());
        assert!(ssh.check(password("git", "token").as_ref()).is_err());
        assert!(ssh.check(Some(&RemoteCredential::SshKey(SecretValue::new("ProxyCommand id")))).is_err());
    }
}
