//! The demo's working copies, driven with the stock git client.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::examples::{Edit, Example};

/// A working copy of an example.
pub(super) struct DemoRepository {
    folder: PathBuf,
}

impl DemoRepository {
    /// Writes the example and commits it.
    pub(super) async fn create(folder: &Path, example: &Example) -> Result<Self> {
        super::fresh_folder(folder)?;
        example.write(folder).with_context(|| format!("cannot write the example {}", example.name))?;
        let copy = Self { folder: folder.to_owned() };
        copy.git(&["init", "--quiet", "--initial-branch=main"], &[]).await?;
        copy.commit("Say hello").await?;
        Ok(copy)
    }

    /// Changes one file and commits it. Running the demo again on the same data changes it anew, so the commit differs.
    pub(super) async fn change(&self, edit: &Edit) -> Result<()> {
        let path = self.folder.join(edit.file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        std::fs::write(&path, text.replace(edit.from, edit.to)).with_context(|| format!("cannot write `{}`", path.display()))?;
        self.commit("Say it differently").await
    }

    /// Pushes `main`; the token goes through the environment, not through the arguments that others can list.
    pub(super) async fn push(&self, url: &str, token: &str) -> Result<()> {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("demo:{token}"));
        let header = format!("Authorization: Basic {basic}");
        let variables = [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "http.extraHeader"), ("GIT_CONFIG_VALUE_0", header.as_str())];
        self.git(&["push", "--quiet", "--force", url, "main"], &variables).await
    }

    async fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all"], &[]).await?;
        let identity = ["-c", "user.name=Demo", "-c", "user.email=demo@hookwright.example", "-c", "commit.gpgsign=false"];
        let mut arguments = identity.to_vec();
        arguments.extend(["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&arguments, &[]).await
    }

    async fn git(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(&self.folder)
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs(variables.iter().copied())
            .output()
            .await
            .context("cannot start git; the demo needs it")?;
        if !output.status.success() {
            bail!("git {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}
