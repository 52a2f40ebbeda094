//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::named;

/// From git push to a webhook in production: one file, one binary.
#[derive(Parser)]
#[command(name = "hookwright", version, about, disable_help_subcommand = false)]
pub(crate) struct Arguments {
    /// Where the daemon is.
    #[arg(long, global = true, env = "HOOKWRIGHT_SERVER", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A webhook in an environment, and which release.
#[derive(Args)]
pub(crate) struct Place {
    /// The webhook.
    #[arg(value_parser = named::webhook)]
    pub(crate) webhook: String,
    /// The environment.
    #[arg(value_parser = named::environment)]
    pub(crate) environment: String,
    /// The release; left out: the one that waits, or the one before for a rollback.
    #[arg(value_parser = named::release)]
    pub(crate) release: Option<String>,
}

/// A decision about what waits.
#[derive(Args)]
pub(crate) struct Decide {
    /// The webhook.
    #[arg(value_parser = named::webhook)]
    pub(crate) webhook: String,
    /// The environment.
    #[arg(value_parser = named::environment)]
    pub(crate) environment: String,
    /// Why; kept in the history.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// The release, when more than one waits.
    #[arg(long, value_parser = named::release)]
    pub(crate) release: Option<String>,
}

/// A run.
#[derive(Args)]
pub(crate) struct RunArgument {
    /// Its id, or its webhook and its number.
    #[arg(value_name = "RUN|WEBHOOK")]
    pub(crate) run: String,
    /// The number of the webhook's run, 2 or '#2'.
    pub(crate) number: Option<String>,
}

/// Whether machines read the answer.
#[derive(Args, Clone, Copy)]
pub(crate) struct Json {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is asked for.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the daemon.
    Serve {
        /// Where everything is kept.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Where to listen.
        #[arg(long)]
        listen: Option<std::net::SocketAddr>,
        /// `postgres://…`; SQLite in the data folder when left out.
        #[arg(long)]
        database: Option<String>,
        /// A settings file; `hookwright.yaml` of the working directory when left out.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// See the whole way on this machine, with the examples.
    Demo {
        /// Approve without asking.
        #[arg(long)]
        yes: bool,
        /// End instead of serving on.
        #[arg(long)]
        once: bool,
        /// Where to listen.
        #[arg(long)]
        listen: Option<std::net::SocketAddr>,
    },
    /// Write a first webhook.yaml for the files of a folder.
    Init {
        /// The folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Show every problem of a webhook.yaml.
    Validate {
        /// The file or its folder.
        #[arg(default_value = ".")]
        path: PathBuf,
        #[command(flatten)]
        json: Json,
    },
    /// Show the stages that a push would run, and which are left out and why.
    Plan {
        /// The file or its folder.
        #[arg(default_value = ".")]
        path: PathBuf,
        #[command(flatten)]
        json: Json,
    },
    /// Run the pipeline of a folder as it is now, uncommitted changes included, without a daemon; nothing is deployed.
    Run {
        /// The webhook's folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
        #[command(flatten)]
        json: Json,
    },
    /// What runs where, and what waits for whom.
    Status {
        /// Only this webhook.
        #[arg(value_parser = named::webhook)]
        webhook: Option<String>,
        /// Return when its newest run has ended and what that deployed is live or waits for somebody; 1 when it failed.
        #[arg(long, requires = "webhook")]
        wait: bool,
        #[command(flatten)]
        json: Json,
    },
    /// The newest runs.
    Runs {
        /// Only of this webhook.
        #[arg(value_parser = named::webhook)]
        webhook: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// The log of a run's stages, or of what is deployed: logs WEBHOOK, logs WEBHOOK 2, logs WEBHOOK 2 test
    Logs {
        /// The run's id, or the webhook, whose newest run it is without a number; with --deployment the webhook.
        #[arg(value_name = "RUN|WEBHOOK")]
        subject: String,
        /// The number of the webhook's run, or the stage; with --deployment the environment.
        #[arg(value_name = "NUMBER|STAGE|ENVIRONMENT")]
        part: Option<String>,
        /// The stage, behind a number.
        stage: Option<String>,
        /// Go on until the run ends.
        #[arg(short, long)]
        follow: bool,
        /// WEBHOOK ENVIRONMENT instead of a run.
        #[arg(long)]
        deployment: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Run an ended run again, on the same commit: from its failed stage, or all of it.
    Retry {
        #[command(flatten)]
        run: RunArgument,
        /// Every stage, whatever the cache has; also of a run that succeeded.
        #[arg(long)]
        all: bool,
    },
    /// Stop a run.
    Cancel(RunArgument),
    /// Promote a release into an environment; lifts a hold.
    Promote(Place),
    /// Say yes to what waits.
    Approve(Decide),
    /// Say no to what waits.
    Reject(Decide),
    /// Go on although a gate that cannot be evaluated blocks (admins, with a reason).
    Override(Decide),
    /// Go back to the release before, and hold the environment.
    Rollback(Place),
    /// Take what is live in an environment out of service; cancels what is on its way there, and ends a hold.
    Undeploy {
        /// The webhook.
        #[arg(value_parser = named::webhook)]
        webhook: String,
        /// The environment.
        #[arg(value_parser = named::environment)]
        environment: String,
        /// Why; kept in the history.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Webhooks: remove one, so that its name is free.
    #[command(subcommand)]
    Webhook(Webhook),
    /// Holds: set one, so that nothing arrives by itself, or end one without promoting anything.
    #[command(subcommand)]
    Hold(Hold),
    /// What was built.
    Releases {
        /// Only of this webhook.
        #[arg(value_parser = named::webhook)]
        webhook: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// What starts webhooks, where its events are received, and how that stands with the source.
    Triggers {
        /// Only of this webhook.
        #[arg(value_parser = named::webhook)]
        webhook: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Events: list, show, deliver again, send an example.
    Events(Box<Events>),
    /// Secrets: set, rotate, list the names, remove.
    #[command(subcommand)]
    Secret(Secret),
    /// Repositories: list, watch a remote, choose the default branch, remove.
    #[command(subcommand)]
    Repo(Repo),
    /// People who sign in with a password: add, list, change, remove.
    #[command(subcommand)]
    User(User),
    /// Daemon tokens: create, list, revoke.
    #[command(subcommand)]
    Token(Token),
    /// Print a schema: of webhook.yaml, of a preset, of an event source, of an event, of the settings, or of the API.
    Schema {
        /// Of what.
        #[arg(default_value = "webhook")]
        kind: SchemaKind,
        /// The event source, for `schema event github issues.opened`.
        source: Option<String>,
        /// The type of the event; all of them when left out.
        event: Option<String>,
    },
    /// What this machine offers and what is missing.
    Doctor {
        #[command(flatten)]
        json: Json,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What there are schemas of.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SchemaKind {
    /// The JSON Schema of `webhook.yaml`.
    Webhook,
    /// The JSON Schema of a preset.
    Preset,
    /// The JSON Schema of the definition of an event source, such as `triggers/mine.yaml`.
    EventSource,
    /// The JSON Schema of the payload of an event: schema event github issues.opened
    Event,
    /// The JSON Schema of `hookwright.yaml`.
    Settings,
    /// The OpenAPI document of the daemon's API.
    Openapi,
}

/// Events that were received; without an action they are listed.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Events {
    /// Only of this webhook.
    #[arg(value_parser = named::webhook)]
    pub(crate) webhook: Option<String>,
    /// Only of this environment.
    #[arg(long, value_parser = named::environment)]
    pub(crate) environment: Option<String>,
    /// Only of this trigger.
    #[arg(long, value_parser = named::trigger)]
    pub(crate) trigger: Option<String>,
    /// Only of this type; `issues.*` is every type below `issues`.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// queued, waiting, delivered, dead, skipped or canceled.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only with this in the payload: issue.number=7
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) payload: Option<String>,
    /// Only received at this time or later: 2026-11-24T08:00:00Z, or so long ago: 2h, 7d
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only received before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) json: Json,
    #[command(subcommand)]
    pub(crate) action: Option<EventAction>,
}

/// What is done with events.
#[derive(Subcommand)]
pub(crate) enum EventAction {
    /// One event with its deliveries and attempts.
    Show {
        /// The event.
        #[arg(value_parser = named::event)]
        event: String,
        #[command(flatten)]
        json: Json,
    },
    /// Deliver one again, or many.
    Replay(Replay),
    /// Send a correctly signed example to a trigger's address.
    Send(SendEvent),
}

/// What is delivered again.
#[derive(Args)]
pub(crate) struct Replay {
    /// One event.
    #[arg(value_parser = named::event)]
    pub(crate) event: Option<String>,
    /// All events of a webhook that the other options select.
    #[arg(long, conflicts_with = "event", value_parser = named::webhook)]
    pub(crate) webhook: Option<String>,
    /// Those that were given up.
    #[arg(long, requires = "webhook", conflicts_with = "status")]
    pub(crate) dead: bool,
    /// Those in this status.
    #[arg(long, requires = "webhook")]
    pub(crate) status: Option<String>,
    /// Those that came for this environment.
    #[arg(long, requires = "webhook", value_parser = named::environment)]
    pub(crate) environment: Option<String>,
    /// Those of this trigger.
    #[arg(long, requires = "webhook", value_parser = named::trigger)]
    pub(crate) trigger: Option<String>,
    /// Those of this type; `issues.*` is every type below `issues`.
    #[arg(long = "type", value_name = "TYPE", requires = "webhook")]
    pub(crate) kind: Option<String>,
    /// Those received at this time or later: 2026-11-24T08:00:00Z, or so long ago: 2h, 7d
    #[arg(long, value_name = "TIME", requires = "webhook")]
    pub(crate) since: Option<String>,
    /// Those received before this time.
    #[arg(long, value_name = "TIME", requires = "webhook")]
    pub(crate) until: Option<String>,
    /// Into another environment.
    #[arg(long, value_parser = named::environment)]
    pub(crate) to: Option<String>,
}

/// An example that is sent.
#[derive(Args)]
pub(crate) struct SendEvent {
    /// The webhook.
    #[arg(value_parser = named::webhook)]
    pub(crate) webhook: String,
    /// The trigger.
    #[arg(value_parser = named::trigger)]
    pub(crate) trigger: String,
    /// The environment.
    #[arg(long, default_value = "development", value_parser = named::environment)]
    pub(crate) environment: String,
    /// The type of the event, such as issues.opened; the source's first one when left out.
    #[arg(long)]
    pub(crate) event: Option<String>,
    /// A field to put in: issue.title=Broken; may be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
}

/// What is done with webhooks.
#[derive(Subcommand)]
pub(crate) enum Webhook {
    /// Remove one: its runs stop, it is undeployed everywhere, its secrets are deleted, and its name is free (admins).
    Remove {
        /// Its name.
        #[arg(value_parser = named::webhook)]
        name: String,
    },
}

/// What is done with holds.
#[derive(Subcommand)]
pub(crate) enum Hold {
    /// Hold an environment: what arrives waits until somebody promotes or ends the hold.
    Set {
        /// The webhook.
        #[arg(value_parser = named::webhook)]
        webhook: String,
        /// The environment.
        #[arg(value_parser = named::environment)]
        environment: String,
        /// Why; everybody reads it whose release waits.
        #[arg(long)]
        reason: String,
    },
    /// End a hold; what waits goes on as its other gates say.
    End {
        /// The webhook.
        #[arg(value_parser = named::webhook)]
        webhook: String,
        /// The environment.
        #[arg(value_parser = named::environment)]
        environment: String,
    },
}

/// What is done with secrets.
#[derive(Subcommand)]
pub(crate) enum Secret {
    /// Set one; the value comes from standard input.
    Set {
        /// The webhook.
        #[arg(value_parser = named::webhook)]
        webhook: String,
        /// The environment; `build` for build secrets.
        #[arg(value_parser = named::environment)]
        environment: String,
        /// The name.
        #[arg(value_parser = named::secret)]
        name: String,
    },
    /// Set one and accept signatures made with the value before it for some time; the value comes from standard input.
    Rotate {
        /// The webhook.
        #[arg(value_parser = named::webhook)]
        webhook: String,
        /// The environment.
        #[arg(value_parser = named::environment)]
        environment: String,
        /// The name.
        #[arg(value_parser = named::secret)]
        name: String,
        /// How many hours the value before it is accepted.
        #[arg(long, default_value_t = 24)]
        hours: u32,
    },
    /// The names that are set.
    List {
        /// The webhook.
        #[arg(value_parser = named::webhook)]
        webhook: String,
        /// The environment.
        #[arg(value_parser = named::environment)]
        environment: String,
        #[command(flatten)]
        json: Json,
    },
    /// Remove one.
    Remove {
        /// The webhook.
        #[arg(value_parser = named::webhook)]
        webhook: String,
        /// The environment.
        #[arg(value_parser = named::environment)]
        environment: String,
        /// The name.
        #[arg(value_parser = named::secret)]
        name: String,
    },
}

/// What is done with repositories.
#[derive(Subcommand)]
pub(crate) enum Repo {
    /// All repositories.
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Watch a remote, or create a hosted repository when no address is given.
    Add {
        /// Its name here.
        #[arg(value_parser = named::repository)]
        name: String,
        /// https://…, ssh://… or file:///…
        url: Option<String>,
        #[command(flatten)]
        credential: Credential,
    },
    /// Make another branch of a hosted repository its default branch: clones check it out, its spec decides, and it is deployed (admins).
    DefaultBranch {
        /// The repository's name.
        #[arg(value_parser = named::repository)]
        name: String,
        /// The branch; it has to be there.
        branch: String,
    },
    /// What a watched remote is read with.
    #[command(subcommand)]
    Credential(RepoCredential),
    /// Forget one.
    Remove {
        /// Its name.
        #[arg(value_parser = named::repository)]
        name: String,
    },
}

/// What a remote is read with. It is never an argument, which every process of the machine can read.
#[derive(Args)]
pub(crate) struct Credential {
    /// Whose token or password it is; forges take any name with a token.
    #[arg(long, requires = "credential_stdin")]
    pub(crate) username: Option<String>,
    /// Read a token or password for https from standard input.
    #[arg(long)]
    pub(crate) credential_stdin: bool,
    /// A private key for ssh, without passphrase; the daemon keeps a copy, encrypted.
    #[arg(long, value_name = "FILE", conflicts_with = "credential_stdin")]
    pub(crate) ssh_key: Option<PathBuf>,
}

/// What is done with credentials of remotes.
#[derive(Subcommand)]
pub(crate) enum RepoCredential {
    /// Give a remote another one; it is tried out first.
    Set {
        /// The repository's name.
        #[arg(value_parser = named::repository)]
        name: String,
        #[command(flatten)]
        credential: Credential,
    },
    /// Remove it.
    Remove {
        /// The repository's name.
        #[arg(value_parser = named::repository)]
        name: String,
    },
}

/// What somebody may do, and where.
#[derive(Args)]
pub(crate) struct Rights {
    /// Which role.
    #[arg(long, default_value = "developer", value_parser = ["viewer", "developer", "approver", "admin"])]
    pub(crate) role: String,
    /// Only for this webhook.
    #[arg(long, value_parser = named::webhook)]
    pub(crate) webhook: Option<String>,
    /// Only for this environment.
    #[arg(long, value_parser = named::environment)]
    pub(crate) environment: Option<String>,
    /// A team of the user, such as acme/leads; may be repeated.
    #[arg(long = "team")]
    pub(crate) teams: Vec<String>,
}

/// People who sign in with a password.
#[derive(Subcommand)]
pub(crate) enum User {
    /// Add somebody; the first password comes from standard input.
    Add {
        /// The name, which approvals count: `user:rosa` in a spec.
        #[arg(value_parser = named::user)]
        name: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// Everybody.
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Give somebody other rights, which hold at once.
    Change {
        /// The name.
        #[arg(value_parser = named::user)]
        name: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// Set somebody's password from standard input, and sign them out.
    Password {
        /// The name.
        #[arg(value_parser = named::user)]
        name: String,
    },
    /// Make a name that of somebody whom the OpenID provider knows; a password of the name is gone then.
    Link {
        /// The name here.
        #[arg(value_parser = named::user)]
        name: String,
        /// What the provider calls them, as they are told when they are refused.
        #[arg(long)]
        subject: String,
    },
    /// Remove somebody and sign them out; tokens of the name stay.
    Remove {
        /// The name.
        #[arg(value_parser = named::user)]
        name: String,
    },
}

/// What is done with tokens.
#[derive(Subcommand)]
pub(crate) enum Token {
    /// Make one; it is shown once.
    Create {
        /// Whose it is; distinct approvers have distinct users.
        user: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// All tokens, without themselves.
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Give one other rights, which hold at once.
    Change {
        /// Its id.
        id: String,
        #[command(flatten)]
        rights: Rights,
    },
    /// Make one worthless.
    Revoke {
        /// Its id.
        #[arg(value_parser = named::token)]
        id: String,
    },
}
