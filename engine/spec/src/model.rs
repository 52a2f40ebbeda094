//! What a valid `webhook.yaml` says, with every default filled in. Values of these types have been checked by the reader; they are stored
//! as JSON and read back later, so a new field needs a default.

use std::collections::BTreeMap;
use std::time::Duration;

use hookwright_core::{CatchUp, ConfigName, EnvironmentName, FieldPath, Health, Resources, StageName, TriggerName, WebhookName};
use serde::{Deserialize, Serialize};

/// A validated `webhook.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The version of the format; 1.
    pub version: u32,
    /// The webhook's name.
    pub name: WebhookName,
    /// A name for people.
    #[serde(default)]
    pub title: Option<String>,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
    /// Who answers for it, as written (`@acme/platform`).
    #[serde(default)]
    pub owners: Vec<String>,
    /// Bindings to event sources; none is a plain HTTP webhook.
    #[serde(default)]
    pub triggers: BTreeMap<TriggerName, Trigger>,
    /// The definitions of the event sources that the repository brings itself and a trigger names, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, serde_json::Value>,
    /// How it is built.
    #[serde(default)]
    pub pipeline: Pipeline,
    /// What runs.
    pub handler: Handler,
    /// Its settings.
    #[serde(default)]
    pub config: BTreeMap<ConfigName, ConfigEntry>,
    /// The webhook as a managed API.
    #[serde(default)]
    pub api: Api,
    /// Where it goes, in the order of the file; never empty.
    pub environments: Vec<Environment>,
}

impl Spec {
    /// The environment of that name.
    pub fn environment(&self, name: &EnvironmentName) -> Option<&Environment> {
        self.environments.iter().find(|environment| &environment.name == name)
    }

    /// The environment that the deploy stage promotes into.
    pub fn first_environment(&self) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.after.is_empty()).or(self.environments.first())
    }

    /// The environments that come right after `name`.
    pub fn environments_after<'a>(&'a self, name: &'a EnvironmentName) -> impl Iterator<Item = &'a Environment> {
        self.environments.iter().filter(move |environment| environment.after.contains(name))
    }
}

/// A binding to the events of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// The event source (`github`, `schedule`…).
    pub source: String,
    /// Whose events are meant: a repository at code hosts, a calendar, an app.
    pub repository: Option<String>,
    /// Event types; empty is all.
    pub events: Vec<String>,
    /// The setting that holds the signing secret.
    pub secret: Option<ConfigName>,
    /// Whether deliveries are verified.
    pub verify: Verify,
    /// A CEL condition.
    pub filter: Option<String>,
    /// Fields of the payload that nobody is shown, and that are not kept once the event was delivered.
    #[serde(default)]
    pub redact: Vec<FieldPath>,
    /// When a schedule fires.
    pub cron: Option<String>,
    /// The time zone of `cron`.
    pub timezone: Option<String>,
    /// What happens to times of `cron` that passed while nothing ran.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// By how much times of `cron` are put off at most.
    #[serde(default)]
    pub jitter: Duration,
    /// How a `generic` source is verified and read: `signature`, `token`, `event` and `id` as written.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// How the handler gets events.
    pub deliver: Deliver,
}

/// Whether the deliveries of a trigger are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// As the source does it.
    #[default]
    Source,
    /// Not at all, said aloud.
    None,
}

/// How the handler gets events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deliver {
    /// The path it receives them at.
    pub path: String,
    /// Whether the handler's answer is the answer to the source.
    pub sync: bool,
    /// How long the handler may take.
    pub timeout: Duration,
    /// What happens when it fails.
    pub retry: Retry,
    /// Deliveries at the same time.
    pub concurrency: u32,
    /// A CEL expression: deliveries with the same key never overtake each other.
    pub order_by: Option<String>,
}

/// Attempts of a delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// All attempts, the first included.
    pub attempts: u32,
    /// Whether pauses grow exponentially; otherwise they stay the same.
    pub exponential: bool,
}

/// What is built, and how it differs from its preset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// The preset (`node@1`); `None` is detected from the files.
    pub uses: Option<String>,
    /// Globs of branches that are built; empty is the default branch.
    pub branches: Vec<String>,
    /// Globs of paths, relative to the folder, whose change makes a run; empty is the whole folder.
    pub paths: Vec<String>,
    /// What a newer push does to an older run.
    pub concurrency: PipelineConcurrency,
    /// Merged over the preset's, in the order of the file.
    pub stages: Vec<Stage>,
}

/// What a newer push does to an older run of the branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PipelineConcurrency {
    /// It supersedes it.
    #[default]
    Newest,
    /// Nothing: all run.
    All,
}

/// A stage as written: `None` leaves what the preset says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: StageName,
    /// What must have succeeded before.
    pub needs: Option<Vec<StageName>>,
    /// Shell text.
    pub run: Option<String>,
    /// How the image is made, for an image stage.
    pub image: Option<Image>,
    /// Globs that its cache key covers and that its workspace holds.
    pub inputs: Option<Vec<String>>,
    /// Globs of what it leaves for others.
    pub outputs: Option<Vec<String>>,
    /// Folders kept between runs.
    pub cache: Option<Vec<String>>,
    /// Variables.
    pub env: BTreeMap<String, String>,
    /// Build secrets.
    pub secrets: Vec<ConfigName>,
    /// After this it is killed.
    pub timeout: Option<Duration>,
    /// How often it is tried again.
    pub retry: Option<u32>,
    /// Whether the run goes on without it.
    pub allow_failure: Option<bool>,
    /// A CEL condition over event, branch, tag and changed.
    pub when: Option<String>,
    /// Keys and their values; one instance for each combination.
    pub matrix: BTreeMap<String, Vec<String>>,
    /// Globs of JUnit reports.
    pub reports: Option<Vec<String>>,
    /// Containers beside it.
    pub services: BTreeMap<String, Service>,
}

/// How an image is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// What it starts from; `None` is scratch.
    pub base: Option<String>,
    /// What it holds; `None` is the whole folder at `/app`.
    pub copy: Option<Vec<CopyEntry>>,
    /// A Dockerfile instead.
    pub dockerfile: Option<String>,
}

/// One line of `copy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyEntry {
    /// A path or glob relative to the folder; of a folder the content is copied.
    pub source: String,
    /// An absolute path in the image.
    pub destination: String,
    /// Nobody asked for it by name: it is left out when it is not there.
    #[serde(default)]
    pub optional: bool,
}

/// A container beside a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its image.
    pub image: String,
    /// Its variables.
    pub env: BTreeMap<String, String>,
    /// The port it listens on.
    pub port: Option<u16>,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Handler {
    /// The command; empty is the image's.
    pub command: Vec<String>,
    /// The port inside a container.
    pub port: u16,
    /// How readiness is known.
    pub health: Health,
    /// What an instance may use.
    pub resources: Resources,
    /// How many instances.
    pub scale: Scale,
}

/// How many instances there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// At least; 0 sleeps when idle.
    pub min: u32,
    /// At most.
    pub max: u32,
    /// Requests at a time that one instance takes before another is started.
    pub concurrency: Option<u32>,
    /// After this long without a request it sleeps or shrinks.
    pub idle: Option<Duration>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// Of which type its value is.
    pub kind: ConfigKind,
    /// The value where an environment says nothing, as the handler gets it; never for a secret.
    pub default: Option<String>,
    /// Whether it is set with `secret set` and never shown.
    pub secret: bool,
    /// Whether a promotion is blocked without a value.
    pub required: bool,
    /// What it is for.
    pub description: Option<String>,
}

/// The type of a setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigKind {
    /// Any text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
}

/// The webhook as a managed API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Api {
    /// Whether everybody finds it in the portal.
    pub public: bool,
    /// How callers authenticate.
    pub security: Vec<String>,
    /// For all operations.
    pub rate_limit: Option<RateLimit>,
    /// By method and path (`POST /issues`).
    pub operations: BTreeMap<String, Operation>,
    /// The usage plans it is offered under.
    pub plans: Vec<String>,
    /// Origins that browsers may call it from.
    pub cors_origins: Vec<String>,
    /// Documents beside the reference.
    pub docs: Vec<Doc>,
    /// The author's own OpenAPI document, a path.
    pub openapi: Option<String>,
}

/// How often something may be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// So many requests…
    pub requests: u32,
    /// …in this time.
    pub per: Duration,
    /// So many at once.
    pub burst: Option<u32>,
}

/// What holds for one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its own limit.
    pub rate_limit: Option<RateLimit>,
    /// The scopes a caller needs.
    pub scopes: Vec<String>,
}

/// A document beside the reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Doc {
    /// A file of the folder.
    File {
        /// Its path.
        path: String,
    },
    /// A page elsewhere.
    Link {
        /// What it is called.
        title: String,
        /// Where it is.
        url: String,
    },
    /// Markdown right here.
    Text {
        /// What it is called.
        title: String,
        /// The Markdown.
        text: String,
    },
}

/// A place a release is promoted into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// Where a release must have succeeded before. Unless the file says otherwise: the environment written before it.
    pub after: Vec<EnvironmentName>,
    /// Whether a release goes on by itself. Unless the file says otherwise: into the first one automatically, into others by approval.
    pub promote: Promote,
    /// How many instances, the handler's `scale` included.
    pub scale: Scale,
    /// Which triggers fire here, resolved.
    pub triggers: Vec<TriggerName>,
    /// Settings of this environment, as the handler gets them; defaults are not repeated here.
    pub config: BTreeMap<ConfigName, String>,
    /// Conditions other than approvals.
    pub gates: Gates,
    /// Who must say yes; `None` is nobody. Always there where promotion is manual.
    pub approvals: Option<Approvals>,
}

/// Whether a release goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promote {
    /// As soon as its gates pass.
    Automatic,
    /// After an approval.
    Manual,
}

/// Conditions other than approvals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// By name.
    pub checks: BTreeMap<String, Check>,
    /// When deploying is allowed or denied.
    pub windows: Vec<Window>,
}

/// A condition that is evaluated by the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Check {
    /// The candidate answers a request as it should.
    Http(HttpCheck),
    /// The release has been in the environment before for so long.
    Soak {
        /// How long.
        duration: Duration,
    },
    /// Errors stay rare.
    Errors {
        /// Fewer than this part of requests, from 0 to 1.
        rate_below: f64,
        /// Counted over this time.
        over: Duration,
        /// And only with at least so many requests.
        at_least: u32,
    },
    /// The API does not break.
    Api {
        /// Whether breaking changes are forbidden.
        forbid_breaking_changes: bool,
    },
    /// Recorded events are played against the candidate.
    Replay {
        /// How many.
        events: u32,
        /// The status each answer must have (`2xx`).
        status: String,
    },
    /// Somebody else decides.
    External {
        /// Who is asked.
        url: String,
        /// How long it may take.
        timeout: Duration,
    },
}

/// A request with the answer it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// The path.
    pub path: String,
    /// The status (`200`, `2xx`).
    pub status: String,
}

/// A time in which deploying is allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Whether it allows; otherwise it denies, and a denial wins.
    pub allow: bool,
    /// `Mon-Fri 09:00-16:00`, or dates `2026-12-20/2027-01-03`.
    pub span: String,
    /// An IANA name; UTC unless the file says otherwise.
    pub timezone: String,
    /// Why.
    pub reason: Option<String>,
}

/// Who must say yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// How many distinct people.
    pub count: u32,
    /// Who counts; empty is anyone who may approve.
    pub from: Vec<Approver>,
    /// Whether the author of the commit counts; `None` leaves it to the daemon's configuration, which says yes by default.
    pub by_author: Option<bool>,
    /// A yes is worth nothing after this.
    pub expires: Option<Duration>,
}

/// A person or team whose approval counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Approver {
    /// A team, without the `@` (`acme/leads`).
    Team(String),
    /// A user.
    User(String),
}

impl Approver {
    /// Whether `actor` is meant.
    pub fn includes(&self, actor: &hookwright_core::Actor) -> bool {
        match self {
            Self::Team(team) => actor.teams.contains(team),
            Self::User(user) => actor.user == *user,
        }
    }
}
