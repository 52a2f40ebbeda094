//! Watched remotes: their refs, and the one mirror of each. A credential is given to the remote's own origin and to no other.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hookwright_core::port::{Location, Tip, Tips};
use hookwright_core::{CommitSha, Digest, PortError, RefName, RemoteCredential, RepositoryId};

use crate::address::{Address, Scheme};
use crate::command::Git;
use crate::{GitSource, refs};

/// How long a remote may take to list its refs.
const LISTING: Duration = Duration::from_secs(60);

/// How long the network of a fetch may stand still, in seconds.
const STALL: u64 = 60;

/// Answers git's question for a credential, and only the one for this origin.
const HELPER: &str = "!f() { test \"$1\" = get || exit 0; while IFS== read -r name value; do case \"$name\" in \
    protocol) protocol=$value;; host) host=$value;; esac; done; \
    test \"$protocol://$host\" = \"$HOOKWRIGHT_ORIGIN\" || exit 0; \
    printf 'username=%s\\npassword=%s\\n' \"$HOOKWRIGHT_USER\" \"$HOOKWRIGHT_SECRET\"; }; f";

/// How ssh is called: the machine's configuration, agents and keys are not the remote's to use.
const SSH: &str = "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o \"IdentityFile=$HOOKWRIGHT_KEY\" \
    -o \"UserKnownHostsFile=$HOOKWRIGHT_KNOWN_HOSTS\" -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=accept-new \
    -o ForwardAgent=no -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -o LogLevel=ERROR";

impl GitSource {
    /// The refs of a remote.
    pub(crate) async fn remote_tips(&self, url: &str, location: &Location) -> Result<Tips, PortError> {
        let address = Address::new(url)?;
        address.check(location.credential.as_ref())?;
        match address.path() {
            Some(path) => self.folder_tips(&address, path, location).await,
            None => self.network_tips(&address, location).await,
        }
    }

    /// A folder of this machine: git is asked only when the library sees that something moved, or cannot read it.
    async fn folder_tips(&self, address: &Address, path: PathBuf, location: &Location) -> Result<Tips, PortError> {
        let seen = refs::seen(path, location.pull_requests).await;
        if let Some(seen) = seen
            && let Some(tips) = self.remembered(location.id, seen)
        {
            return Ok(tips);
        }
        let asked = self.remote_git(Path::new("/nonexistent"), address, location)?.args(["ls-remote", "--symref", "--", address.as_str()]);
        let listing = asked.deadline(LISTING).output(&format!("read the refs of `{}`", address.as_str())).await?;
        let tips = parse(&String::from_utf8_lossy(&listing), location.pull_requests);
        if let Some(seen) = seen {
            self.remember(location.id, seen, &tips);
        }
        Ok(tips)
    }

    /// Another machine: only branches and tags are asked for (a ref prefix of protocol v2), and `HEAD` only when one moved. With
    /// pull requests it is everything at once: git knows no prefix for them.
    async fn network_tips(&self, address: &Address, location: &Location) -> Result<Tips, PortError> {
        let nowhere = Path::new("/nonexistent");
        let doing = format!("read the refs of `{}`", address.as_str());
        if location.pull_requests {
            let asked = self.remote_git(nowhere, address, location)?.args(["ls-remote", "--symref", "--", address.as_str()]);
            let listing = asked.deadline(LISTING).output(&doing).await?;
            return Ok(parse(&String::from_utf8_lossy(&listing), true));
        }
        let asked = self.remote_git(nowhere, address, location)?.args(["ls-remote", "--heads", "--tags", "--", address.as_str()]);
        let listing = asked.deadline(LISTING).output(&doing).await?;
        let seen = Digest::of(&listing);
        if let Some(tips) = self.remembered(location.id, seen) {
            return Ok(tips);
        }
        let asked = self.remote_git(nowhere, address, location)?.args(["ls-remote", "--symref", "--", address.as_str(), "HEAD"]);
        let head = asked.deadline(LISTING).output(&doing).await?;
        let head = String::from_utf8_lossy(&head);
        let head: String = head.lines().filter(|line| line.starts_with("ref: ")).flat_map(|line| [line, "\n"]).collect();
        let tips = parse(&format!("{head}{}", String::from_utf8_lossy(&listing)), false);
        self.remember(location.id, seen, &tips);
        Ok(tips)
    }

    /// Brings one tip into the mirror.
    pub(crate) async fn remote_fetch(&self, mirror: &Path, url: &str, location: &Location, tip: &Tip) -> Result<(), PortError> {
        let address = Address::new(url)?;
        address.check(location.credential.as_ref())?;
        if !mirror.join("HEAD").is_file() {
            Git::at(mirror).args(["init", "--quiet", "--bare", "--template="]).output("make a mirror").await?;
        }
        let kept = format!("refs/hookwright/{}", tip.reference.as_str().trim_start_matches("refs/"));
        let here = Git::at(mirror).args(["rev-parse", "--verify", "--quiet", &format!("{kept}^{{commit}}")]);
        if here.output("look into the mirror").await.is_ok_and(|commit| commit.trim_ascii() == tip.commit.as_str().as_bytes()) {
            return Ok(());
        }
        let asked = self
            .remote_git(mirror, &address, location)?
            .args(["-c", "fetch.recurseSubmodules=no"])
            .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", address.as_str()])
            .arg(format!("+{}:{kept}", tip.reference));
        asked.output(&format!("fetch `{}` of `{}`", tip.reference.short(), address.as_str())).await?;
        let found = Git::at(mirror).args(["cat-file", "-e", &format!("{}^{{commit}}", tip.commit)]).blaming_the_owner();
        found.output(&format!("find {} in `{}`; the ref moved meanwhile", tip.commit.short(), address.as_str())).await.map(drop)
    }

    /// Git that may speak to this remote and to nothing else.
    fn remote_git(&self, folder: &Path, address: &Address, location: &Location) -> Result<Git, PortError> {
        let git = Git::at(folder)
            .env("GIT_ALLOW_PROTOCOL", address.protocol())
            .args(["-c", "http.lowSpeedLimit=1", "-c", &format!("http.lowSpeedTime={STALL}"), "-c", "protocol.version=2"])
            .blaming_the_owner();
        match address.scheme() {
            Scheme::File => {
                let files = self.scratch()?;
                let config = files.path().join("config");
                write_privately(&config, safe_directory(address).as_bytes())?;
                Ok(git.env("GIT_CONFIG_GLOBAL", &config).keeping(files))
            }
            Scheme::Http => Ok(match &location.credential {
                Some(RemoteCredential::Password { username, password }) => {
                    with_password(git, address, username, password.expose()).hiding(password)
                }
                _ => git,
            }),
            Scheme::Ssh => {
                let git = git
                    .env("GIT_SSH_COMMAND", SSH)
                    .env("GIT_SSH_VARIANT", "ssh")
                    .env("HOOKWRIGHT_KNOWN_HOSTS", ssh_path(&self.known_hosts));
                let Some(RemoteCredential::SshKey(key)) = &location.credential else {
                    return Ok(git.env("HOOKWRIGHT_KEY", "none"));
                };
                let files = self.scratch()?;
                let path = files.path().join("key");
                // ssh refuses a key whose last line does not end.
                write_privately(&path, format!("{}\n", key.expose().trim()).as_bytes())?;
                Ok(git.env("HOOKWRIGHT_KEY", ssh_path(&path)).hiding(key).keeping(files))
            }
        }
    }

    /// A private folder for files that one command reads.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir, PortError> {
        tempfile::TempDir::new_in(&self.scratch).map_err(|error| PortError::errored("cannot write into the data folder").because(error))
    }

    fn remembered(&self, id: RepositoryId, seen: Digest) -> Option<Tips> {
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(&id).filter(|(before, _)| *before == seen).map(|(_, tips)| tips.clone())
    }

    fn remember(&self, id: RepositoryId, seen: Digest, tips: &Tips) {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.len() >= crate::REMEMBERED {
            known.clear();
        }
        known.insert(id, (seen, tips.clone()));
    }

    /// The refs of a repository of ours.
    pub(crate) async fn own_tips(&self, location: &Location) -> Result<Tips, PortError> {
        let folder = self.folder(location);
        if !folder.join("HEAD").is_file() {
            return Err(PortError::failed(format!("the repository `{}` is not there; push to it, or restore its folder", location.name)));
        }
        let seen = refs::seen(folder.clone(), false).await;
        if let Some(seen) = seen
            && let Some(tips) = self.remembered(location.id, seen)
        {
            return Ok(tips);
        }
        let format = "--format=%(objectname)%09%(refname)%0a%(*objectname)%09%(refname)^{}";
        let listing = Git::at(&folder).args(["for-each-ref", format, "refs/heads", "refs/tags"]).output("list the refs").await?;
        let head = tokio::fs::read_to_string(folder.join("HEAD")).await.unwrap_or_default();
        let head = head.trim().strip_prefix("ref: ").map(|target| format!("ref: {target}\tHEAD\n")).unwrap_or_default();
        let tips = parse(&format!("{head}{}", String::from_utf8_lossy(&listing)), false);
        if let Some(seen) = seen {
            self.remember(location.id, seen, &tips);
        }
        Ok(tips)
    }

    /// Forgets what was remembered of a repository.
    pub(crate) fn forget_tips(&self, id: RepositoryId) {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&id);
    }
}

fn with_password(git: Git, address: &Address, username: &str, password: &str) -> Git {
    let origin = address.origin();
    git.env("HOOKWRIGHT_ORIGIN", &origin)
        .env("HOOKWRIGHT_USER", username)
        .env("HOOKWRIGHT_SECRET", password)
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", format!("credential.{origin}.helper"))
        .env("GIT_CONFIG_VALUE_0", HELPER)
}

/// A folder that another user owns is read all the same, but this one alone: an admin named it.
fn safe_directory(address: &Address) -> String {
    let Some(path) = address.path() else { return String::new() };
    let mut lines = String::from("[safe]\n");
    for suffix in ["", "/.git", ".git", ".git/.git"] {
        let mut folder = path.clone().into_os_string();
        folder.push(suffix);
        let folder = PathBuf::from(folder);
        let folder = folder.canonicalize().unwrap_or(folder);
        let quoted = folder.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        lines.push_str(&format!("\tdirectory = \"{quoted}\"\n"));
    }
    lines
}

/// A path as ssh reads it in an option: quoted, because of spaces, and without its `%` tokens.
fn ssh_path(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('%', "%%"))
}

fn write_privately(path: &Path, content: &[u8]) -> Result<(), PortError> {
    let write = || std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?.write_all(content);
    write().map_err(|error| PortError::errored("cannot write into the data folder").because(error))
}

/// Understands the output of `ls-remote --symref`: `ref: NAME\tHEAD`, then `ID\tNAME` with `^{}` for peeled tags.
pub(crate) fn parse(listing: &str, pull_requests: bool) -> Tips {
    let mut result = Tips::default();
    let mut head = None;
    for (left, name) in listing.lines().filter_map(|line| line.split_once('\t')) {
        if let Some(target) = left.strip_prefix("ref: ").filter(|_| name == "HEAD") {
            head = target.strip_prefix("refs/heads/").map(str::to_owned);
            continue;
        }
        let (name, peeled) = name.strip_suffix("^{}").map_or((name, false), |name| (name, true));
        let (Ok(reference), Ok(commit)) = (RefName::new(name), left.parse::<CommitSha>()) else { continue };
        let is_wanted = reference.branch().is_some() || reference.tag().is_some() || pull_requests && reference.pull_request().is_some();
        if !is_wanted {
            continue;
        }
        // A peeled tag follows its tag.
        match result.tips.last_mut() {
            Some(tip) if peeled && tip.reference == reference => tip.commit = commit,
            _ if peeled => {}
            _ => result.tips.push(Tip { reference, commit }),
        }
    }
    result.tips.sort_by(|a, b| a.reference.cmp(&b.reference));
    result.tips.dedup_by(|a, b| a.reference == b.reference);
    result.default_branch = head.filter(|branch| result.tips.iter().any(|tip| tip.reference.branch() == Some(branch)));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotated_tag_is_peeled_to_its_commit() {
        let (tag, commit) = ("a".repeat(40), "b".repeat(40));
        let tips = parse(&format!("{tag}\trefs/tags/v1\n{commit}\trefs/tags/v1^{{}}\n"), false);
        assert_eq!(tips.tips[0].commit.as_str(), commit);
    }

    #[test]
    fn the_credential_helper_answers_for_its_own_origin_alone() {
        let ask = |question: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            let script = HELPER.trim_start_matches('!');
            let question_file = folder.path().join("question");
            std::fs::write(&question_file, question).expect("a question");
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("{script} get")])
                .env("HOOKWRIGHT_ORIGIN", "https://acme.example:8443")
                .env("HOOKWRIGHT_USER", "rosa")
                .env("HOOKWRIGHT_SECRET", "canary")
                .stdin(std::fs::File::open(&question_file).expect("the question"))
                .output()
                .expect("a shell");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert_eq!(ask("protocol=https\nhost=acme.example:8443\n\n"), "username=rosa\npassword=canary\n");
        for other in
            ["protocol=https\nhost=evil.example\n", "protocol=http\nhost=acme.example:8443\n", "protocol=https\nhost=acme.example\n"]
        {
            assert_eq!(ask(other), "", "{other}");
        }
    }
}
