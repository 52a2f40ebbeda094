//! `hookwright doctor`: what this machine offers, what is missing, and what to do about it.

use std::path::Path;
use std::process::{Command, ExitCode};

use hookwright_runtime::Bubblewrap;
use hookwright_trigger::Definitions;
use hookwright_web::OpenId;
use serde::Serialize;

use crate::configuration::Configuration;
use crate::open_files::OpenFiles;
use crate::wiring::openid_provider;
use crate::{exit, output};

/// Fewer connections than this at a time are few for a team with its browsers and event sources.
const ENOUGH_CONNECTIONS: usize = 1000;

/// How a finding is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Fine.
    Ok,
    /// Something is not offered; the rest works.
    Missing,
    /// The daemon cannot work.
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// What.
    pub(crate) name: &'static str,
    /// How it stands.
    pub(crate) level: Level,
    /// What was found, and what to do.
    pub(crate) text: String,
}

/// Prints what was found; fails when the daemon could not work here.
pub(crate) async fn doctor(configuration: &Configuration, json: bool) -> anyhow::Result<ExitCode> {
    let findings = findings(configuration).await;
    if json {
        output::json(&serde_json::to_value(&findings)?);
    } else {
        let level = |level| match level {
            Level::Ok => "ok",
            Level::Missing => "missing",
            Level::Broken => "BROKEN",
        };
        let row = |finding: &Finding| vec![level(finding.level).to_owned(), finding.name.to_owned(), finding.text.clone()];
        output::table(&["", "WHAT", "FOUND"], &findings.iter().map(row).collect::<Vec<_>>());
    }
    let broken = findings.iter().any(|finding| finding.level == Level::Broken);
    Ok(if broken { ExitCode::from(exit::FAILED) } else { ExitCode::SUCCESS })
}

/// Everything that is looked at, in the order it is shown.
pub(crate) async fn findings(configuration: &Configuration) -> Vec<Finding> {
    let mut findings = examine(&configuration.data);
    findings.extend(sign_in(configuration).await);
    findings.extend(event_sources(configuration));
    findings.push(kept_events(configuration));
    findings
}

/// A program and what it is for.
struct Program {
    name: &'static str,
    version: &'static [&'static str],
    required: bool,
    purpose: &'static str,
    advice: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program { name: "git", version: &["git", "--version"], required: true, purpose: "hosts and reads repositories", advice: "install git" },
    Program {
        name: "git http-backend",
        version: &["git", "http-backend", "--version"],
        required: true,
        purpose: "serves pushes and clones",
        advice: "install the complete git package",
    },
    Program {
        name: "python",
        version: &["python3", "--version"],
        required: false,
        purpose: "the preset python@1",
        advice: "install python3",
    },
    Program {
        name: "node",
        version: &["node", "--version"],
        required: false,
        purpose: "the preset node@1",
        advice: "install nodejs and npm",
    },
    Program { name: "rust", version: &["cargo", "--version"], required: false, purpose: "the preset rust@1", advice: "install Rust" },
    Program { name: "go", version: &["go", "version"], required: false, purpose: "the preset go@1", advice: "install golang" },
    Program {
        name: "maven",
        version: &["mvn", "--version"],
        required: false,
        purpose: "the preset java@1",
        advice: "install maven and a JDK",
    },
];

/// What the machine has.
fn examine(data: &Path) -> Vec<Finding> {
    let mut findings: Vec<Finding> = PROGRAMS.iter().map(program).collect();
    findings.push(sandbox(Bubblewrap::find().map(|_| ())));
    findings.push(processors(hookwright_runtime::try_processor_share()));
    findings.push(open_files());
    findings.push(data_folder(data));
    findings
}

/// Whether the OpenID provider answers, when there is one.
async fn sign_in(configuration: &Configuration) -> Option<Finding> {
    let finding = |level, text| Some(Finding { name: "sign-in", level, text });
    let settings = match configuration.openid() {
        Ok(None) => return finding(Level::Missing, "by token or password; set `openid` to have people sign in at a provider".to_owned()),
        Ok(Some(settings)) => settings,
        Err(why) => return finding(Level::Broken, why),
    };
    let issuer = &settings.issuer;
    let provider = match openid_provider(&settings) {
        Ok(provider) => provider,
        Err(error) => return finding(Level::Broken, error.to_string()),
    };
    match provider.examine().await {
        Ok(()) => {
            let back = format!("{}{}", configuration.public_url.trim_end_matches('/'), OpenId::BACK);
            finding(Level::Ok, format!("`{issuer}` answers; `{back}` is the redirect address to register there"))
        }
        // People with a token or a password come in all the same.
        Err(error) => {
            let cause = error.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            finding(Level::Missing, format!("`{issuer}`: {error}{cause}"))
        }
    }
}

/// Which event sources the daemon registers triggers at, and the least rights that its tokens need.
fn event_sources(configuration: &Configuration) -> Vec<Finding> {
    let definitions = Definitions::embedded();
    let sources: Vec<_> = definitions.names().filter_map(|name| definitions.find(name)).collect();
    let name = "event source";
    let mut findings = Vec::new();
    for (provider, rights) in sources.iter().flat_map(|source| source.rights()) {
        let settings = configuration.providers.get(provider);
        let is_set = settings.is_some_and(crate::configuration::ProviderConfiguration::is_set);
        if let Some(Err(error)) = settings.map(crate::configuration::ProviderConfiguration::credential) {
            findings.push(Finding { name, level: Level::Broken, text: format!("{provider}: {error:#}") });
            continue;
        }
        findings.push(match (is_set, configuration.public_url.is_empty()) {
            (true, false) => Finding { name, level: Level::Ok, text: format!("{provider}: triggers are registered; that takes {rights}") },
            (true, true) => Finding {
                name,
                level: Level::Missing,
                text: format!("{provider}: there are credentials; set `public_url`, so that it can be told where to send"),
            },
            (false, _) => {
                let variable = format!("HOOKWRIGHT_PROVIDERS_{}_{}", provider.to_uppercase(), credential(provider));
                let text = format!("{provider}: triggers are registered by hand; to have it done set {variable}. It takes {rights}");
                Finding { name, level: Level::Missing, text }
            }
        });
    }
    findings
}

/// The setting of a provider that its credentials stand in.
fn credential(provider: &str) -> &'static str {
    match provider {
        "google_calendar" => "CREDENTIALS",
        "slack" => "REFRESH_TOKEN",
        _ => "TOKEN",
    }
}

/// How long events are kept, and how much room they may take.
fn kept_events(configuration: &Configuration) -> Finding {
    let retention = &configuration.retention;
    let days = retention.events.as_secs_f64() / 86_400.0;
    let (level, room) = match retention.event_bytes {
        0 => (Level::Missing, "without a limit of the room they take; set `retention.event_bytes`, or they fill the disk".to_owned()),
        bytes => (Level::Ok, format!("up to {:.1} GiB", bytes as f64 / f64::from(1 << 30))),
    };
    Finding { name: "events", level, text: format!("kept for {days:.1} days, {room}") }
}

/// Without the sequences by which terminals colour: some programs write them wherever they write to.
fn plain(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest))
}

fn program(program: &Program) -> Finding {
    let level = if program.required { Level::Broken } else { Level::Missing };
    let Some((command, arguments)) = program.version.split_first() else {
        return Finding { name: program.name, level, text: String::new() };
    };
    match Command::new(command).args(arguments).output() {
        // `git http-backend` knows no --version; that it starts is enough.
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let text = plain(&text);
            let found = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
            let works = output.status.success() || (program.name == "git http-backend" && output.status.code() != Some(1));
            if works {
                let shown = if output.status.success() && program.name != "git http-backend" { found } else { "present" };
                Finding { name: program.name, level: Level::Ok, text: format!("{shown}: {}", program.purpose) }
            } else {
                Finding { name: program.name, level, text: format!("does not start: {}; {}", program.purpose, program.advice) }
            }
        }
        Err(_) => Finding { name: program.name, level, text: format!("not found: {}; {}", program.purpose, program.advice) },
    }
}

/// Installed is not enough: a sandbox has to come up.
fn sandbox(tried: Result<(), String>) -> Finding {
    let name = "sandbox";
    match tried {
        Ok(()) => {
            Finding { name, level: Level::Ok, text: "bubblewrap works: keeps stages and handlers apart from this machine".to_owned() }
        }
        Err(why) => Finding {
            name,
            level: Level::Missing,
            text: format!("{why}; until then stages and handlers run as plain processes, and nothing runs with `sandbox: required`"),
        },
    }
}

/// Whether `resources.cpu` holds.
fn processors(tried: Result<(), String>) -> Finding {
    let name = "processors";
    match tried {
        Ok(()) => Finding { name, level: Level::Ok, text: "handlers are held to their `resources.cpu` by control groups".to_owned() },
        Err(why) => Finding { name, level: Level::Missing, text: format!("handlers are not held to their `resources.cpu`: {why}") },
    }
}

/// Whether the daemon may have as many open files as a busy one needs. It takes all that it may have by itself.
fn open_files() -> Finding {
    let allowed = OpenFiles::allowed();
    let (name, connections) = ("open files", allowed.connections());
    let text = format!("{allowed}, which is {connections} connections at a time");
    if connections >= ENOUGH_CONNECTIONS {
        return Finding { name, level: Level::Ok, text };
    }
    let advice = "allow the daemon more for busy days (`LimitNOFILE=65536` in its systemd unit, `ulimit -Hn` of whoever starts it)";
    Finding { name, level: Level::Missing, text: format!("{text}; {advice}") }
}

fn data_folder(data: &Path) -> Finding {
    let existing = data.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    match tempfile::tempfile_in(existing) {
        Ok(_) => Finding { name: "data folder", level: Level::Ok, text: format!("`{}` can be written", data.display()) },
        Err(error) => Finding {
            name: "data folder",
            level: Level::Broken,
            text: format!("`{}` cannot be written ({error}); choose another with --data", data.display()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_that_does_not_come_up_is_missing_with_the_reason() {
        let finding = sandbox(Err("bubblewrap does not work here: no permissions".to_owned()));
        assert_eq!(finding.level, Level::Missing);
        assert!(finding.text.contains("no permissions"), "{}", finding.text);
    }

    #[test]
    fn a_data_folder_that_cannot_be_written_is_broken() {
        assert_eq!(data_folder(Path::new("/proc/self/hookwright")).level, Level::Broken);
    }

    #[test]
    fn what_colours_a_version_is_left_out() {
        assert_eq!(plain("\u{1b}[1mApache Maven 3.8.7\u{1b}[m and more"), "Apache Maven 3.8.7 and more");
    }

    #[test]
    fn git_is_found_where_tests_run() {
        let findings = examine(&std::env::temp_dir());
        let git = findings.iter().find(|finding| finding.name == "git").expect("git is looked at");
        assert_eq!(git.level, Level::Ok, "{}", git.text);
    }
}
