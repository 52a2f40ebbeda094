//! Names as users write them. A value of one of these types has been checked; nothing downstream checks again.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that cannot be a name, with the rule it breaks.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a valid {what}: {rule}")]
pub struct InvalidName {
    text: String,
    what: &'static str,
    rule: &'static str,
}

const DNS_LABEL: &str = "use 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit";
const VARIABLE: &str =
    "use letters, digits and `_`, not starting with a digit, at most 128 characters, and not starting with `HOOKWRIGHT_`";
const REF: &str = "a ref starts with `refs/` and follows git's rules for ref names";
const PATH: &str = "use a relative path with `/`, without `..`, `.git` or an empty part";
const TAG: &str = "use 1 to 128 letters, digits, `_`, `.` and `-`, starting with a letter, a digit or `_`";

fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}

fn is_variable(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.starts_with("HOOKWRIGHT_")
}

/// The rules of `git check-ref-format`, plus no component that starts with `-`.
fn is_ref(text: &str) -> bool {
    text.len() <= 512
        && text.starts_with("refs/")
        && !text.ends_with('/')
        && !text.ends_with('.')
        && !text.contains("..")
        && !text.contains("@{")
        && text.bytes().all(|byte| byte > 0x20 && byte != 0x7f && !b"~^:?*[\\".contains(&byte))
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock"))
}

/// The rule of the OCI distribution specification. It keeps a tag a plain file name: no `/`, no dot at the start.
fn is_image_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

fn is_repo_path(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 4096
        && !text.contains(['\0', '\\'])
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !is_dot_git(part))
}

/// Whether a file system may take `part` for `.git`: any case, HFS+ ignorable characters, NTFS short names and streams.
fn is_dot_git(part: &str) -> bool {
    let visible: String = part
        .chars()
        .filter(|c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'))
        .collect();
    let stem = visible.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    stem.eq_ignore_ascii_case(".git") || stem.eq_ignore_ascii_case("git~1")
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $check:ident, $rule:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` against the rule of this kind of name.
            ///
            /// # Errors
            /// [`InvalidName`] with the rule in words.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                if $check(&text) { Ok(Self(text)) } else { Err(InvalidName { text, what: $what, rule: $rule }) }
            }

            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// The name of a webhook: a DNS label, unique in the daemon.
    WebhookName, "webhook name", is_dns_label, DNS_LABEL;
    /// The name of a hosted or watched repository: a DNS label.
    RepositoryName, "repository name", is_dns_label, DNS_LABEL;
    /// The name of an environment: a DNS label. `build` is reserved for build secrets.
    EnvironmentName, "environment name", is_dns_label, DNS_LABEL;
    /// The name of a stage of a pipeline, a matrix instance included (`test-node-20`): a DNS label.
    StageName, "stage name", is_dns_label, DNS_LABEL;
    /// The name of a trigger: a DNS label.
    TriggerName, "trigger name", is_dns_label, DNS_LABEL;
    /// The name of a setting or secret, given to the handler as an environment variable of that name.
    ConfigName, "config name", is_variable, VARIABLE;
    /// A full ref name, such as `refs/heads/main`.
    RefName, "ref", is_ref, REF;
    /// A path inside a repository: relative, `/`-separated, never leaving it, never touching `.git`.
    RepoPath, "path", is_repo_path, PATH;
    /// The tag of an image.
    ImageTag, "image tag", is_image_tag, TAG;
}

impl EnvironmentName {
    /// Where build secrets are set: no release goes there.
    pub const BUILD: &str = "build";
}

/// Where forges keep the heads of pull requests: what stands before the number, and after it.
pub const PULL_REQUESTS: [(&str, &str); 3] = [("refs/pull/", "/head"), ("refs/merge-requests/", "/head"), ("refs/pull-requests/", "/from")];

impl RefName {
    /// The branch this ref is, if it is one.
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }

    /// The tag this ref is, if it is one.
    pub fn tag(&self) -> Option<&str> {
        self.0.strip_prefix("refs/tags/")
    }

    /// The number of the pull request whose head this ref is, as forges publish it: `refs/pull/7/head` (GitHub, Gitea),
    /// `refs/merge-requests/7/head` (GitLab) and `refs/pull-requests/7/from` (Bitbucket Data Center).
    pub fn pull_request(&self) -> Option<u64> {
        let number = PULL_REQUESTS.iter().find_map(|(folder, leaf)| self.0.strip_prefix(folder)?.strip_suffix(leaf))?;
        let is_number = number.starts_with(|first: char| ('1'..='9').contains(&first)) && number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse().ok().filter(|_| is_number)
    }

    /// The branch or tag name, `pull/7` for the head of a pull request, or the whole ref for anything else.
    pub fn short(&self) -> &str {
        let pull_request = || {
            self.pull_request()?;
            Some(self.0.strip_prefix("refs/")?.rsplit_once('/')?.0)
        };
        self.branch().or_else(|| self.tag()).or_else(pull_request).unwrap_or(&self.0)
    }
}

impl From<&crate::CommitSha> for ImageTag {
    /// The short commit, which is what the pipeline's images are tagged with.
    fn from(commit: &crate::CommitSha) -> Self {
        Self(commit.short().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_never_a_path() {
        for tag in ["..", ".", "a/b", "../x", "", ".tmp", "-x", "a\0b", "a b", &"x".repeat(129)] {
            assert!(ImageTag::new(tag).is_err(), "{tag}");
        }
        for tag in ["latest", "v1.2-rc_3", "_x", "0", &"x".repeat(128)] {
            assert!(ImageTag::new(tag).is_ok(), "{tag}");
        }
    }

    #[test]
    fn the_head_of_a_pull_request_is_known_by_its_ref_and_nothing_else_is() {
        let number = |text: &str| RefName::new(text).expect("a valid ref").pull_request();
        for text in ["refs/pull/7/head", "refs/merge-requests/7/head", "refs/pull-requests/7/from"] {
            assert_eq!(number(text), Some(7), "{text}");
        }
        for text in [
            "refs/pull/7/merge",
            "refs/pull/07/head",
            "refs/pull/x/head",
            "refs/pull/7/8/head",
            "refs/heads/pull/7/head",
            "refs/pull/+7/head",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(RefName::new("refs/pull/7/head").expect("a valid ref").short(), "pull/7");
    }

    #[test]
    fn paths_that_a_file_system_takes_for_dot_git_are_refused() {
        for path in [".git", ".GIT/config", "a/.Git", "git~1", "GIT~1/hooks", ".git.", ".git ", ".g\u{200c}it", ".git::$INDEX_ALLOCATION"] {
            assert!(RepoPath::new(path).is_err(), "{path}");
        }
        for path in [".github/workflows/ci.yml", "git", ".gitignore", "a/.gitkeep"] {
            assert!(RepoPath::new(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn refs_that_look_like_options_or_escape_are_refused() {
        for name in ["refs/heads/-x", "refs/heads/a..b", "refs/heads/a b", "heads/main", "refs/heads/a.lock", "refs/heads//x"] {
            assert!(RefName::new(name).is_err(), "{name}");
        }
        assert_eq!(RefName::new("refs/heads/feature/x").expect("a valid ref").branch(), Some("feature/x"));
    }
}
