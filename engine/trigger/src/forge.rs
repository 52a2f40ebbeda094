//! Which forge a watched remote is on, by its address alone.

use std::collections::BTreeMap;

use hookwright_core::port::ForgeRepository;
use url::Url;

use crate::registration::{Intake, Registration};
use crate::subscriber::is_repository;
use crate::{Definitions, Provider};

/// The forge whose server the address names. A token is sent nowhere for it: an address that only looks like a forge's gets nothing.
pub(crate) fn forge_of(providers: &BTreeMap<String, Provider>, url: &str) -> Option<ForgeRepository> {
    let remote = Url::parse(url).ok()?;
    let definitions = Definitions::embedded();
    let all: Vec<_> = definitions.names().filter_map(|name| definitions.find(name)).collect();
    all.iter().find_map(|definition| {
        definition.registrations().find_map(|(provider, registration)| {
            let (intake, known) = (registration.intake.as_ref()?, providers.get(provider));
            let repository = match known.and_then(|known| known.api.as_deref()) {
                Some(own_api) => on_server(&remote, own_api, intake)?,
                None => on_public_server(&remote, registration, intake)?,
            };
            Some(ForgeRepository {
                source: definition.name.clone(),
                provider: provider.to_owned(),
                title: definition.title.clone(),
                repository,
                events: intake.events(),
                comments: intake.comments.clone(),
                has_credentials: known.is_some(),
                rights: registration.rights.clone(),
            })
        })
    })
}

/// What the engine asks a forge for, by the name of its credentials.
pub(crate) fn events_of(provider: &str) -> Vec<String> {
    let definitions = Definitions::embedded();
    let all = definitions.names().filter_map(|name| definitions.find(name));
    let of_it = |definition: std::sync::Arc<crate::Definition>| {
        let intake = definition.registrations().find(|(name, _)| *name == provider)?.1.intake.as_ref()?;
        Some(intake.events())
    };
    all.filter_map(of_it).next().unwrap_or_default()
}

fn on_public_server(remote: &Url, registration: &Registration, intake: &Intake) -> Option<String> {
    let api = registration.api.as_deref()?;
    let is_git_host = remote.host_str().is_some_and(|host| intake.git_hosts.iter().any(|known| known == host));
    if is_git_host { repository(remote.path(), "", intake) } else { on_server(remote, api, intake) }
}

/// The repository, when the remote is on the server of that API: the same host, and the same port unless ssh has one of its own.
fn on_server(remote: &Url, api: &str, intake: &Intake) -> Option<String> {
    let api = Url::parse(api).ok()?;
    let (host, api_host) = (remote.host_str()?, api.host_str()?);
    let is_here = host == api_host || api_host.strip_prefix("api.") == Some(host);
    let has_port = match remote.scheme() {
        "http" | "https" => remote.scheme() == api.scheme() && remote.port_or_known_default() == api.port_or_known_default(),
        "ssh" => true,
        _ => false,
    };
    (is_here && has_port).then(|| repository(remote.path(), api.path(), intake))?
}

/// `owner/name` out of a path: without the folder that the whole server is in, the one that git is in, and `.git`.
fn repository(path: &str, server_folder: &str, intake: &Intake) -> Option<String> {
    let path = path.trim_matches('/');
    let below = |path: &str, folder: &str| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
    let path = below(path, server_folder.trim_matches('/')).unwrap_or_else(|| path.to_owned());
    let path = intake.git_folder.as_deref().and_then(|folder| below(&path, folder)).unwrap_or(path);
    let name = path.strip_suffix(".git").unwrap_or(&path);
    is_repository(name).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use hookwright_core::SecretValue;

    use super::*;
    use crate::credential::Credential;

    fn forge(providers: &[(&str, &str)], url: &str) -> Option<ForgeRepository> {
        let provider = |(name, api): &(&str, &str)| {
            let api = Some((*api).to_owned()).filter(|api| !api.is_empty());
            ((*name).to_owned(), Provider { credential: Credential::Token(SecretValue::new("x")), api })
        };
        forge_of(&providers.iter().map(provider).collect(), url)
    }

    fn found(providers: &[(&str, &str)], url: &str) -> Option<(String, String)> {
        forge(providers, url).map(|forge| (forge.provider, forge.repository))
    }

    #[test]
    fn public_forges_are_known_by_their_host_and_nothing_that_only_looks_like_it() {
        for (url, provider, repository) in [
            ("https://github.com/acme/shop.git", "github", "acme/shop"),
            ("https://github.com/acme/shop/", "github", "acme/shop"),
            ("ssh://git@github.com/acme/shop.git", "github", "acme/shop"),
            ("ssh://git@ssh.github.com:443/acme/shop.git", "github", "acme/shop"),
            ("https://gitlab.com/acme/team/shop.git", "gitlab", "acme/team/shop"),
            ("https://gitea.com/acme/shop.git", "gitea", "acme/shop"),
            ("https://bitbucket.org/acme/shop.git", "bitbucket", "acme/shop"),
        ] {
            assert_eq!(found(&[], url), Some((provider.to_owned(), repository.to_owned())), "{url}");
        }
        let has_credentials = |providers| forge(providers, "https://github.com/acme/shop").map(|forge| forge.has_credentials);
        assert_eq!((has_credentials(&[]), has_credentials(&[("github", "")])), (Some(false), Some(true)));
        for url in [
            "https://github.com.evil.example/acme/shop.git",
            "https://evil.example/github.com/acme/shop.git",
            "https://notgithub.com/acme/shop.git",
            "https://github.com:8443/acme/shop.git",
            "https://github.com/acme",
            "https://github.com/acme/sh%2Fop",
            "file:///github.com/acme/shop.git",
        ] {
            assert_eq!(found(&[("github", "")], url), None, "{url}");
        }
    }

    #[test]
    fn servers_of_ones_own_are_known_by_the_api_in_the_settings() {
        let ours = [
            ("github", "https://ghe.example.com/api/v3"),
            ("gitlab", "https://dev.example.com/gitlab"),
            ("gitea", "http://127.0.0.1:3000"),
            ("bitbucket_data_center", "https://bucket.example.com"),
        ];
        for (url, provider, repository) in [
            ("https://ghe.example.com/acme/shop.git", "github", "acme/shop"),
            ("https://dev.example.com/gitlab/acme/shop.git", "gitlab", "acme/shop"),
            ("ssh://git@dev.example.com:2222/acme/shop.git", "gitlab", "acme/shop"),
            ("http://127.0.0.1:3000/acme/shop.git", "gitea", "acme/shop"),
            ("https://bucket.example.com/scm/acme/shop.git", "bitbucket_data_center", "acme/shop"),
            ("ssh://git@bucket.example.com:7999/acme/shop.git", "bitbucket_data_center", "acme/shop"),
        ] {
            assert_eq!(found(&ours, url), Some((provider.to_owned(), repository.to_owned())), "{url}");
        }
        assert_eq!(found(&ours, "https://github.com/acme/shop.git"), None, "the token is for another server");
        assert_eq!(found(&ours, "http://127.0.0.1:3001/acme/shop.git"), None);
    }
}
