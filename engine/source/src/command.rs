//! The git client with everything of its surroundings shut out: no system or user configuration, no prompts, no hooks.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hookwright_core::{PortError, SecretValue};
use tokio::process::Command;

/// No single git command may take longer; a clone of a large repository is the longest.
const DEADLINE: Duration = Duration::from_secs(600);

/// Longest part of git's own words that is passed on, in characters.
const WORDS: usize = 400;

/// Git in a repository, with a cleared environment.
pub(crate) fn git(repository: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("LC_ALL", "C")
        .args(["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"])
        .args(["-c", "protocol.https.allow=always", "-c", "protocol.http.allow=always"])
        .args(["-c", "protocol.ssh.allow=always", "-c", "protocol.file.allow=always"])
        .args(["-c", "safe.directory=*", "-c", "gc.auto=0"])
        .args(["-c", "http.followRedirects=false", "-c", "receive.fsckObjects=true"])
        .arg("--git-dir")
        .arg(repository)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Gives git a credential through its environment, so that it stands in no argument list and no address.
pub(crate) fn with_credential(command: &mut Command, url: &str, credential: Option<&(String, SecretValue)>) {
    let Some((user, secret)) = credential else { return };
    if url.starts_with("ssh://") {
        command.env("HOOKWRIGHT_KEY", secret.expose());
        command.env("GIT_SSH_COMMAND", "ssh -i \"$HOOKWRIGHT_KEY\" -o BatchMode=yes -o StrictHostKeyChecking=accept-new");
    } else {
        let helper = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$HOOKWRIGHT_USER\" \"$HOOKWRIGHT_SECRET\"; }; f";
        command.env("HOOKWRIGHT_USER", user).env("HOOKWRIGHT_SECRET", secret.expose());
        command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "credential.helper").env("GIT_CONFIG_VALUE_0", helper);
    }
}

/// Runs a command to its end and returns what it printed; its failure is *Failed* with git's last words.
pub(crate) async fn output(mut command: Command, doing: &str) -> Result<Vec<u8>, PortError> {
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = tokio::time::timeout(DEADLINE, running)
        .await
        .map_err(|_| PortError::errored(format!("cannot {doing}: git took longer than {} s", DEADLINE.as_secs())))?
        .map_err(|error| PortError::errored(format!("cannot {doing}: git cannot be started")).because(error))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words: String = words.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("; ").chars().take(WORDS).collect();
    Err(PortError::failed(format!("cannot {doing}: {words}")))
}
