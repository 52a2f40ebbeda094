//! `hookwright demo`: a daemon of its own, the examples pushed by real `git push`, everything shown as it happens.

mod repository;
mod tree;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::repository::DemoRepository;
use self::tree::RunTree;
use crate::client::Client;
use crate::configuration::Configuration;
use crate::examples::{ALL, Example, LEFT_OUT};
use crate::output::mention;
use crate::wiring::Daemon;

/// How often the demo looks at what happens.
const LOOK: Duration = Duration::from_millis(100);

/// How long the demo waits for an answer that should come at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `hookwright demo` was asked.
pub(crate) struct DemoOptions {
    /// Approve without asking.
    pub(crate) yes: bool,
    /// End instead of serving on.
    pub(crate) once: bool,
    /// `PATH`, to see which toolchains are here.
    pub(crate) search_path: std::ffi::OsString,
}

/// Runs the demo to its end, or until Ctrl-C.
pub(crate) async fn demo(mut configuration: Configuration, options: DemoOptions) -> Result<ExitCode> {
    configuration.data = PathBuf::from(".hookwright/demo");
    configuration.database = String::new();
    let scratch = configuration.data.join("working-copies");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch).with_context(|| format!("cannot clear `{}`", scratch.display()))?;
    }
    let daemon = Daemon::start(&configuration).await?;
    let program = program(std::env::current_exe().ok().as_deref(), &options.search_path);
    let demo = Demo { api: Api::new(&daemon)?, scratch, colour: std::io::stdout().is_terminal(), program };
    let until = if options.once { ", until the demo ends" } else { "" };
    mention!("The daemon listens at {}{until}. Its data is in {}.", demo.api.address, configuration.data.display());
    let result = demo.play(&options).await;
    match &result {
        Ok(()) if !options.once => {
            let token = configuration.data.join("admin-token");
            mention!("\nServing until Ctrl-C. See the status page with the token of {}:", token.display());
            mention!("    {}", super::serve::sign_in(&demo.api.address, &demo.api.token));
            mention!("and the same in a terminal:");
            mention!("    HOOKWRIGHT_TOKEN=$(cat {}) {} --server {} status", token.display(), demo.program, demo.api.address);
            super::serve::stopped().await;
        }
        _ => {}
    }
    daemon.shutdown_with_handlers().await?;
    result.map(|()| ExitCode::SUCCESS)
}

struct Demo {
    api: Api,
    scratch: PathBuf,
    colour: bool,
    /// How the binary is called here.
    program: String,
}

impl Demo {
    async fn play(&self, options: &DemoOptions) -> Result<()> {
        let mut first = true;
        let mut played = Vec::new();
        for example in ALL {
            if let Some(program) = example.missing(&options.search_path) {
                mention!("\nSkipping {}: `{program}` is not installed.", example.name);
                continue;
            }
            self.introduce(example, first, options).await.with_context(|| format!("the example {} went wrong", example.name))?;
            first = false;
            played.push(example.name);
        }
        if played.is_empty() {
            bail!("no example can run here: install Rust, Python or Node and try again");
        }
        let left_out: Vec<String> = LEFT_OUT.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        mention!("\nNot shown, but in `examples/`, to be pushed like these: {}.", left_out.join(", "));
        if options.once {
            return Ok(());
        }
        mention!("\nWhat runs now:");
        for name in played {
            mention!("  {}/w/{name}/development/", self.api.address);
        }
        Ok(())
    }

    /// One example; the first one goes all the way to production and back.
    async fn introduce(&self, example: &Example, whole_way: bool, options: &DemoOptions) -> Result<()> {
        let name = example.name;
        mention!("\n== {name}");
        let copy = DemoRepository::create(&self.scratch.join(name), example).await?;
        self.push(&copy, name).await?;
        self.follow(name, 1).await?;
        self.call(name, "development").await?;
        if !whole_way {
            return Ok(());
        }
        let approve = format!("{} --server {} approve {name} production", self.program, self.api.address);
        if !approved(&approve, options.yes)? {
            let later = if options.once { String::new() } else { format!(" `{approve}` does it later.") };
            mention!("Not approved; production stays empty.{later}");
            return Ok(());
        }
        self.decide(name, "approve").await?;
        self.call(name, "production").await?;
        mention!("\nNow a change to {} alone.", example.edit.file);
        copy.change(&example.edit).await?;
        self.push(&copy, name).await?;
        self.follow(name, 2).await?;
        self.call(name, "development").await?;
        self.decide(name, "approve").await?;
        self.call(name, "production").await?;
        mention!("\nAnd back: {} rollback {name} production", self.program);
        self.decide(name, "rollback").await?;
        self.call(name, "production").await
    }

    async fn push(&self, copy: &DemoRepository, name: &str) -> Result<()> {
        mention!("git push {}/git/{name}.git main", self.api.address);
        copy.push(&format!("{}/git/{name}.git", self.api.address), &self.api.token).await
    }

    /// Shows a run until it has ended; an end other than success is the demo's end, with the failed stage's log.
    async fn follow(&self, name: &str, number: u64) -> Result<()> {
        let path = format!("/runs?webhook={name}&limit=20");
        let id = self
            .until("the run to begin", async || {
                let list = self.api.client.get(&path).await.ok()?;
                let run = list["items"].as_array()?.iter().find(|run| run["number"] == number)?.clone();
                run["id"].as_str().map(str::to_owned)
            })
            .await?;
        let mut tree = RunTree::new(self.colour);
        loop {
            let run = self.api.client.get(&format!("/runs/{id}")).await?;
            let mut last_lines = Vec::new();
            for stage in tree.running(&run) {
                let log = self.api.client.get(&format!("/runs/{id}/stages/{stage}/logs")).await.unwrap_or_default();
                let line = log["lines"].as_array().and_then(|lines| lines.last()).and_then(|line| line["text"].as_str());
                last_lines.push((stage, line.unwrap_or_default().to_owned()));
            }
            tree.show(&run, &last_lines);
            match run["status"].as_str().unwrap_or_default() {
                "queued" | "running" => tokio::time::sleep(LOOK).await,
                "succeeded" => return Ok(()),
                status => {
                    self.print_failure(&id, &run).await;
                    bail!("run {number} of {name} ended {status}: {}", run["status_reason"].as_str().unwrap_or("no reason was given"));
                }
            }
        }
    }

    async fn print_failure(&self, id: &str, run: &Value) {
        let stages = run["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
        for stage in stages.iter().filter(|stage| matches!(stage["status"].as_str(), Some("failed" | "errored"))) {
            let name = stage["stage"].as_str().unwrap_or_default();
            mention!("--- {name}: {}", stage["status_reason"].as_str().unwrap_or_default());
            if let Ok(log) = self.api.client.get(&format!("/runs/{id}/stages/{name}/logs")).await {
                for line in log["lines"].as_array().map(Vec::as_slice).unwrap_or_default().iter().rev().take(20).rev() {
                    mention!("    {}", line["text"].as_str().unwrap_or_default());
                }
            }
        }
    }

    /// Approves what waits for production, or rolls production back, and waits until it is so.
    async fn decide(&self, name: &str, action: &str) -> Result<()> {
        let path = format!("/webhooks/{name}/environments/production/{action}");
        let body = json!({ "reason": "shown in the demo" });
        let promotion = self
            .until("the promotion to wait", async || self.api.client.post(&path, &body).await.ok())
            .await
            .with_context(|| format!("cannot {action} {name} in production"))?;
        let id = promotion["promotion"]["id"].as_str().or_else(|| promotion["id"].as_str()).unwrap_or_default().to_owned();
        let list = format!("/promotions?webhook={name}&environment=production");
        let status = self
            .until("the promotion to end", async || {
                let list = self.api.client.get(&list).await.ok()?;
                let found = list["items"].as_array()?.iter().find(|item| item["id"] == id.as_str())?.clone();
                (!matches!(found["status"].as_str()?, "waiting" | "deploying")).then_some(found)
            })
            .await?;
        if status["status"] != "succeeded" {
            bail!("the promotion ended {}: {}", status["status"], status["status_reason"]);
        }
        Ok(())
    }

    /// Calls the webhook as anybody would and prints the answer.
    async fn call(&self, name: &str, environment: &str) -> Result<()> {
        let url = format!("{}/w/{name}/{environment}/", self.api.gateway);
        let text = self.until("the webhook to answer", async || self.api.client.plain(&url).await.ok()).await?;
        mention!("curl {url}\n    {}", text.trim_end());
        Ok(())
    }

    async fn until<T, F: AsyncFnMut() -> Option<T>>(&self, what: &str, mut look: F) -> Result<T> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(value) = look().await {
                return Ok(value);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("waited {} s in vain for {what}", PATIENCE.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// How the program is called: by its name where the search path leads to it, else by where it is.
fn program(here: Option<&Path>, search_path: &std::ffi::OsStr) -> String {
    let Some(here) = here else { return "hookwright".to_owned() };
    let found = std::env::split_paths(search_path).map(|folder| folder.join("hookwright")).find(|path| path.is_file());
    let is_found = found.and_then(|path| path.canonicalize().ok()).is_some_and(|path| here.canonicalize().is_ok_and(|here| here == path));
    if is_found { "hookwright".to_owned() } else { here.display().to_string() }
}

fn approved(command: &str, yes: bool) -> Result<bool> {
    mention!("\nProduction waits for an approval: {command}");
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        mention!("Nobody can be asked here; `--yes` approves.");
        return Ok(false);
    }
    std::io::stdout().write_all(b"Approve? [y/N] ")?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The daemon as the demo uses it: over HTTP, like everybody.
struct Api {
    address: String,
    gateway: String,
    token: String,
    client: Client,
}

impl Api {
    fn new(daemon: &Daemon) -> Result<Self> {
        let address = format!("http://{}", daemon.address);
        let token = daemon.admin_token.clone().context("the demo leads its own folder")?;
        let client = Client::with_token(&address, &token)?;
        Ok(Self { address, gateway: format!("http://{}", daemon.gateway_address), token, client })
    }
}

/// Makes the folder of a working copy.
fn fresh_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_by_its_name_only_where_that_finds_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path().join("hookwright");
        std::fs::write(&here, "").expect("writable");
        assert_eq!(program(Some(&here), folder.path().as_os_str()), "hookwright");
        assert_eq!(program(Some(&here), "/nowhere".as_ref()), here.display().to_string());
    }
}
