//! The commands, one file each or a few that belong together.

mod demo;
pub(crate) mod doctor;
mod event;
mod find;
mod init;
mod local;
mod logs;
mod manage;
mod promotion;
mod read;
mod removal;
mod run;
mod secret;
mod serve;
mod user;
mod wait;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::CommandFactory;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, Command, SchemaKind, Webhook};
use crate::client::Client;
use crate::configuration::{self, Configuration};
use crate::{exit, output};

/// Runs a command.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let client = || Client::new(&arguments.server);
    match arguments.command {
        Command::Serve { data, listen, database, config } => {
            let mut settings = load(config.as_deref())?;
            settings.data = data.unwrap_or(settings.data);
            settings.listen = listen.unwrap_or(settings.listen);
            settings.database = database.unwrap_or(settings.database);
            log_to_stderr(&settings.log);
            serve::serve(settings).await
        }
        Command::Demo { yes, once, listen } => {
            log_to_stderr("warn");
            let search_path = std::env::var_os("PATH").unwrap_or_default();
            let mut settings = load(None)?;
            settings.listen = listen.unwrap_or(settings.listen);
            demo::demo(settings, demo::DemoOptions { yes, once, search_path }).await
        }
        Command::Init { folder } => init::init(&folder),
        Command::Validate { path, json } => local::validate(&path, json.json),
        Command::Plan { path, json } => local::plan(&path, json.json),
        Command::Run { folder, json } => {
            log_to_stderr("warn");
            run::run(load(None)?, &folder, json.json).await
        }
        Command::Schema { kind, source, event } => {
            if source.is_some() && !matches!(kind, SchemaKind::Event) {
                bail!("only events have a source: hookwright schema event github issues.opened");
            }
            output::json(&match kind {
                SchemaKind::Webhook => hookwright_spec::schema(),
                SchemaKind::Preset => hookwright_spec::preset_schema(),
                SchemaKind::EventSource => hookwright_trigger::definition_schema(),
                SchemaKind::Event => event::schema(source.as_deref(), event.as_deref())?,
                SchemaKind::Settings => crate::configuration::schema()?,
                SchemaKind::Openapi => hookwright_web::openapi(),
            });
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor { json } => doctor::doctor(&load(None)?, json.json).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "hookwright", &mut script);
            output::print(String::from_utf8_lossy(&script).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { webhook, wait, json } => {
            read::status(&client()?, &read::StatusWish { webhook: webhook.as_deref(), wait, json: json.json }).await
        }
        Command::Runs { webhook, json } => read::runs(&client()?, webhook.as_deref(), json.json).await,
        Command::Releases { webhook, json } => read::releases(&client()?, webhook.as_deref(), json.json).await,
        Command::Triggers { webhook, json } => event::triggers(&client()?, webhook.as_deref(), json.json).await,
        Command::Events(events) => event::events(&client()?, *events).await,
        Command::Logs { subject, part, stage, follow, deployment, json } => {
            logs::logs(&client()?, &logs::LogWish { subject, part, stage, follow, deployment, json: json.json }).await
        }
        Command::Retry { run, all } => manage::retry(&client()?, &run, all).await,
        Command::Cancel(run) => manage::cancel(&client()?, &run).await,
        Command::Promote(place) => promotion::act(&client()?, "promote", &place.into()).await,
        Command::Rollback(place) => promotion::act(&client()?, "rollback", &place.into()).await,
        Command::Approve(decide) => promotion::act(&client()?, "approve", &decide).await,
        Command::Reject(decide) => promotion::act(&client()?, "reject", &decide).await,
        Command::Override(decide) => promotion::act(&client()?, "override", &decide).await,
        Command::Undeploy { webhook, environment, reason } => {
            removal::undeploy(&client()?, (&webhook, &environment), reason.as_deref()).await
        }
        Command::Webhook(Webhook::Remove { name }) => removal::webhook(&client()?, &name).await,
        Command::Hold(hold) => promotion::hold(&client()?, hold).await,
        Command::Secret(secret) => secret::run(&client()?, secret).await,
        Command::Repo(repo) => manage::repo(&client()?, repo).await,
        Command::Token(token) => manage::token(&client()?, token).await,
        Command::User(user) => user::run(&client()?, user).await,
    }
}

/// The settings; mistakes in them are wrong usage.
fn load(file: Option<&Path>) -> Result<Configuration> {
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    configuration::load(file, &variables).map_err(|error| {
        output::warn_of!("error: {error}");
        std::process::exit(i32::from(exit::USAGE))
    })
}

fn log_to_stderr(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Set once; a second time (in one process) keeps the first.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
}
