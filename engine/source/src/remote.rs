//! Watched remotes: which addresses are taken, their refs, and the one mirror of each.

use std::path::Path;

use hookwright_core::port::{Location, Tip, Tips};
use hookwright_core::{CommitSha, PortError, RefName};
use url::{Host, Url};

use crate::command::{git, output, with_credential};

/// Refuses what is no plain remote: other transports, options in disguise, credentials in the address.
pub(crate) fn check_url(text: &str) -> Result<(), PortError> {
    let refused = |why: &str| PortError::failed(format!("the address `{text}` is refused: {why}"));
    let url = Url::parse(text).map_err(|_| refused("write https://…, ssh://… or file:///…"))?;
    let starts_like_option = |part: &str| part.starts_with('-');
    let local = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        _ => false,
    };
    match url.scheme() {
        "https" | "ssh" | "file" => {}
        "http" if local => {}
        _ => return Err(refused("only https, ssh and file are watched")),
    }
    if url.password().is_some() || (!url.username().is_empty() && url.scheme() != "ssh") {
        return Err(refused("give the credential apart from the address"));
    }
    if url.host_str().is_some_and(starts_like_option) || starts_like_option(url.username()) || starts_like_option(url.path()) {
        return Err(refused("a part of it starts with `-`"));
    }
    Ok(())
}

/// Reads the refs of a remote.
pub(crate) async fn tips(url: &str, location: &Location) -> Result<Tips, PortError> {
    check_url(url)?;
    let mut command = git(Path::new("/nonexistent"));
    with_credential(&mut command, url, location.credential.as_ref());
    command.args(["ls-remote", "--symref", "--", url]);
    let listing = output(command, &format!("read the refs of `{url}`")).await?;
    Ok(parse(&String::from_utf8_lossy(&listing)))
}

/// Understands the output of `ls-remote --symref`: `ref: NAME\tHEAD`, then `ID\tNAME` with `^{}` for peeled tags.
pub(crate) fn parse(listing: &str) -> Tips {
    let mut result = Tips::default();
    let mut head = None;
    for (left, name) in listing.lines().filter_map(|line| line.split_once('\t')) {
        if let Some(target) = left.strip_prefix("ref: ").filter(|_| name == "HEAD") {
            head = target.strip_prefix("refs/heads/").map(str::to_owned);
            continue;
        }
        let (name, peeled) = name.strip_suffix("^{}").map_or((name, false), |name| (name, true));
        let (Ok(reference), Ok(commit)) = (RefName::new(name), left.parse::<CommitSha>()) else { continue };
        if reference.branch().is_none() && reference.tag().is_none() {
            continue;
        }
        match result.tips.iter_mut().find(|tip| tip.reference == reference) {
            Some(tip) if peeled => tip.commit = commit,
            Some(_) => {}
            None => result.tips.push(Tip { reference, commit }),
        }
    }
    result.tips.sort_by(|a, b| a.reference.cmp(&b.reference));
    result.default_branch = head.filter(|branch| result.tips.iter().any(|tip| tip.reference.branch() == Some(branch)));
    result
}

/// Brings one tip into the mirror. The commit is kept by a ref of ours, so that a later force push does not lose it.
pub(crate) async fn fetch(mirror: &Path, url: &str, location: &Location, tip: &Tip) -> Result<(), PortError> {
    check_url(url)?;
    if !mirror.join("HEAD").is_file() {
        let mut init = git(mirror);
        init.args(["init", "--quiet", "--bare"]);
        output(init, "make a mirror").await?;
    }
    let mut command = git(mirror);
    with_credential(&mut command, url, location.credential.as_ref());
    let keep = format!("+{}:refs/hookwright/{}", tip.reference, tip.reference.as_str().trim_start_matches("refs/"));
    command.args(["-c", "fetch.fsckObjects=true", "-c", "fetch.recurseSubmodules=no"]);
    command.args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", url, &keep]);
    output(command, &format!("fetch `{}` of `{url}`", tip.reference.short())).await?;
    let mut command = git(mirror);
    command.args(["cat-file", "-e", &format!("{}^{{commit}}", tip.commit)]);
    output(command, &format!("find {} in `{url}`; the ref moved meanwhile", tip.commit.short())).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_run_programs_or_carry_secrets_are_refused() {
        for url in ["ext::sh -c id", "ssh://-oProxyCommand=id/x", "https://u:p@acme.example/x", "http://10.0.0.1/x", "/etc", "file://-x"] {
            assert!(check_url(url).is_err(), "{url}");
        }
        for url in ["https://acme.example/shop.git", "ssh://git@acme.example/shop.git", "file:///srv/shop.git"] {
            assert!(check_url(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn an_annotated_tag_is_peeled_to_its_commit() {
        let (tag, commit) = ("a".repeat(40), "b".repeat(40));
        let tips = parse(&format!("{tag}\trefs/tags/v1\n{commit}\trefs/tags/v1^{{}}\n"));
        assert_eq!(tips.tips[0].commit.as_str(), commit);
    }
}
