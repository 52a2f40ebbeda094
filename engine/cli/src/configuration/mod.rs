//! The daemon's settings: embedded defaults, then `hookwright.yaml`, then `HOOKWRIGHT_*`, then arguments; the later wins.
//! The defaults file is the documentation and the list of what exists: an unknown key is refused with the nearest one.

mod openid;
mod schema;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hookwright_control::PullRequests;
use hookwright_core::SecretValue;
use hookwright_trigger::{Credential, KeyFile};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) use openid::{OpenIdConfiguration, OpenIdSettings};
pub(crate) use schema::schema;

/// The commented defaults.
pub(crate) const DEFAULTS: &str = include_str!("defaults.yaml");

/// The name of the settings file, looked for in the working directory.
pub(crate) const FILE: &str = "hookwright.yaml";

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    pub(crate) listen: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) database: String,
    pub(crate) log: String,
    pub(crate) executors: usize,
    #[serde(deserialize_with = "sandbox")]
    pub(crate) sandbox: Sandbox,
    pub(crate) limits: LimitsConfiguration,
    #[serde(deserialize_with = "duration")]
    pub(crate) shutdown: Duration,
    pub(crate) public_url: String,
    #[serde(deserialize_with = "networks")]
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) openid: OpenIdConfiguration,
    pub(crate) providers: BTreeMap<String, ProviderConfiguration>,
    pub(crate) cluster: ClusterConfiguration,
    pub(crate) gateway: GatewayConfiguration,
    pub(crate) api: ApiConfiguration,
    pub(crate) metrics: MetricsConfiguration,
    pub(crate) git: GitConfiguration,
    pub(crate) retention: RetentionConfiguration,
}

/// Whether stages and handlers run in bubblewrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// The daemon does not start without it.
    Required,
    /// Where it works, else not.
    Preferred,
    /// Never.
    Off,
}

/// What stages and handlers may use; 0 is without a limit, a memory of -1 three quarters of the machine's.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsConfiguration {
    pub(crate) stage_memory: i64,
    pub(crate) handler_memory: i64,
    pub(crate) stage_processes: u64,
    pub(crate) handler_processes: u64,
    pub(crate) stage_disk: u64,
    pub(crate) handler_disk: u64,
}

/// How an event source is asked.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderConfiguration {
    #[serde(default)]
    pub(crate) token: String,
    /// A key file, or its text.
    #[serde(default)]
    pub(crate) credentials: String,
    /// An application's name, and its secret.
    #[serde(default)]
    pub(crate) client_id: String,
    #[serde(default)]
    pub(crate) client_secret: String,
    /// A token that is exchanged once.
    #[serde(default)]
    pub(crate) refresh_token: String,
    /// Whose data a service account asks for.
    #[serde(default)]
    pub(crate) subject: String,
    pub(crate) api: String,
}

impl ProviderConfiguration {
    /// Whether there is anything to ask the source with.
    pub(crate) fn is_set(&self) -> bool {
        [&self.token, &self.credentials, &self.client_secret, &self.refresh_token].into_iter().any(|setting| !setting.trim().is_empty())
    }

    /// The credential, if there is one.
    ///
    /// # Errors
    /// When the key file cannot be read, with what to do.
    pub(crate) fn credential(&self) -> anyhow::Result<Option<Credential>> {
        let written = self.credentials.trim();
        if !self.refresh_token.trim().is_empty() {
            return Ok(Some(Credential::SingleUse(SecretValue::new(self.refresh_token.trim()))));
        }
        if !self.client_secret.trim().is_empty() {
            anyhow::ensure!(!self.client_id.trim().is_empty(), "`client_secret` is set and `client_id` is not");
            let secret = SecretValue::new(self.client_secret.trim());
            return Ok(Some(Credential::Client { id: self.client_id.trim().to_owned(), secret }));
        }
        if written.is_empty() {
            return Ok(Some(Credential::Token(SecretValue::new(self.token.trim()))).filter(|_| !self.token.trim().is_empty()));
        }
        let text = if written.starts_with('{') {
            written.to_owned()
        } else {
            std::fs::read_to_string(written).with_context(|| format!("cannot read the key file `{written}`"))?
        };
        let file = KeyFile::parse(&text, Some(self.subject.trim()).filter(|subject| !subject.is_empty()))?;
        Ok(Some(Credential::KeyFile(Box::new(file))))
    }
}

impl std::fmt::Debug for ProviderConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderConfiguration").field("api", &self.api).finish_non_exhaustive()
    }
}

/// What concerns the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewayConfiguration {
    #[serde(deserialize_with = "optional_address")]
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) body_limit: u64,
    pub(crate) event_limit: u64,
    #[serde(deserialize_with = "duration")]
    pub(crate) header_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) response_timeout: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) drain: Duration,
}

/// What concerns several daemons on one PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterConfiguration {
    pub(crate) advertise: String,
    pub(crate) claim: bool,
}

/// What concerns the API.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiConfiguration {
    #[serde(deserialize_with = "duration")]
    pub(crate) heartbeat: Duration,
}

/// What concerns `/metrics`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsConfiguration {
    pub(crate) public: bool,
}

/// What concerns watched repositories.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GitConfiguration {
    #[serde(deserialize_with = "duration")]
    pub(crate) poll_interval: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) quiet_interval: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) hooked_interval: Duration,
    #[serde(deserialize_with = "pull_requests")]
    pub(crate) pull_requests: PullRequests,
}

/// How long things are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionConfiguration {
    #[serde(deserialize_with = "duration")]
    pub(crate) runs: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) interval: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) deployments: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) cache: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) events: Duration,
    pub(crate) event_bytes: u64,
    #[serde(deserialize_with = "duration")]
    pub(crate) event_keys: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) dead_letters: Duration,
    #[serde(deserialize_with = "duration")]
    pub(crate) traffic: Duration,
}

impl Configuration {
    /// What people at the status page want to know: name, value, and what it means. Nothing that is secret.
    pub(crate) fn for_people(&self) -> Vec<[String; 3]> {
        let time = |time: Duration| match time.as_secs() {
            seconds if seconds >= 172_800 && seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
            seconds if seconds >= 3_600 && seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
            seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
            seconds => format!("{seconds} s"),
        };
        let room = |bytes: u64| match bytes {
            0 => "without a limit".to_owned(),
            bytes if bytes % (1 << 30) == 0 => format!("{} GiB", bytes >> 30),
            bytes => format!("{} MiB", bytes >> 20),
        };
        let database = self.database.split(':').next().filter(|kind| !kind.is_empty()).unwrap_or("sqlite");
        let rows: [(&str, String, &str); 17] = [
            ("data", self.data.display().to_string(), "Where the daemon keeps everything."),
            ("database", database.to_owned(), "Which database holds it."),
            ("sandbox", format!("{:?}", self.sandbox).to_lowercase(), "Whether stages and handlers run in bubblewrap."),
            ("openid.issuer", self.openid.issuer().to_owned(), "At which provider people sign in; empty: with a password or a token."),
            ("retention.runs", time(self.retention.runs), "How long ended runs, their logs and their artifacts are kept."),
            ("retention.deployments", time(self.retention.deployments), "How long logs and files of a replaced deployment are kept."),
            ("retention.cache", time(self.retention.cache), "How long outputs that nobody used again stay in the cache."),
            ("retention.events", time(self.retention.events), "How long received events are kept."),
            ("retention.event_bytes", room(self.retention.event_bytes), "How much room events may take."),
            ("retention.event_keys", time(self.retention.event_keys), "How long an event is known again that comes a second time."),
            ("retention.dead_letters", time(self.retention.dead_letters), "How long given-up events keep fields that are redacted."),
            ("retention.traffic", time(self.retention.traffic), "How long it is kept how many requests there were in which minute."),
            ("retention.interval", time(self.retention.interval), "How often what is too old is looked for."),
            ("git.poll_interval", time(self.git.poll_interval), "How often the refs of watched remotes are read."),
            ("git.quiet_interval", time(self.git.quiet_interval), "How rarely the refs of quiet remotes are read."),
            ("git.hooked_interval", time(self.git.hooked_interval), "How rarely the refs of remotes are read whose forge tells of pushes."),
            ("gateway.drain", time(self.gateway.drain), "How long a replaced deployment may finish its requests."),
        ];
        rows.map(|(name, value, meaning)| [name.to_owned(), value, meaning.to_owned()]).into()
    }
}

/// Settings that cannot be used, in words for whoever starts the daemon.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("`{}` is not valid YAML: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("`{place}` has no setting `{key}`{}", hint.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownKey { place: String, key: String, hint: Option<String> },
    #[error("{place}: {message}")]
    Value { place: String, message: String },
}

/// Reads the settings. `explicit` is a file that must exist; without it `hookwright.yaml` is used when it is there.
pub(crate) fn load(explicit: Option<&Path>, variables: &BTreeMap<String, String>) -> Result<Configuration, Error> {
    let mut settings = parse_object(Path::new("defaults"), DEFAULTS)?;
    let known = settings.clone();
    let default_file = Path::new(FILE);
    if let Some(path) = explicit.or_else(|| default_file.exists().then_some(default_file)) {
        let text = std::fs::read_to_string(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        let own = parse_object(path, &text)?;
        merge(&mut settings, own, &path.display().to_string(), "")?;
    }
    let mut leaves = Vec::new();
    leaf_paths(&known, &mut Vec::new(), &mut leaves);
    for path in leaves {
        let variable = format!("HOOKWRIGHT_{}", path.join("_").to_uppercase());
        if let Some(text) = variables.get(&variable) {
            set(&mut settings, &path, scalar_like(lookup(&known, &path), text));
        }
    }
    serde_json::from_value(Value::Object(settings))
        .map_err(|error| Error::Value { place: "the settings cannot be used".to_owned(), message: error.to_string() })
}

fn parse_object(path: &Path, text: &str) -> Result<Map<String, Value>, Error> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| Error::Syntax { path: path.to_owned(), message: error.to_string() })?;
    match value {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        _ => Err(Error::Syntax { path: path.to_owned(), message: "the file must be a list of `name: value` lines".to_owned() }),
    }
}

fn merge(base: &mut Map<String, Value>, own: Map<String, Value>, file: &str, prefix: &str) -> Result<(), Error> {
    for (key, value) in own {
        let place = if prefix.is_empty() { file.to_owned() } else { format!("{prefix}` in `{file}") };
        let Some(slot) = base.get_mut(&key) else {
            let hint = nearest(&key, base.keys().map(String::as_str));
            return Err(Error::UnknownKey { place, key, hint });
        };
        match (slot, value) {
            (Value::Object(inner), Value::Object(own)) => merge(inner, own, file, &key)?,
            (Value::Object(_), _) => {
                return Err(Error::Value {
                    place: file.to_owned(),
                    message: format!("`{key}` holds settings of its own; indent them below it"),
                });
            }
            (slot, value) => *slot = value,
        }
    }
    Ok(())
}

fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .map(|(_, name)| name.to_owned())
}

fn leaf_paths(object: &Map<String, Value>, prefix: &mut Vec<String>, into: &mut Vec<Vec<String>>) {
    for (key, value) in object {
        prefix.push(key.clone());
        match value {
            Value::Object(inner) => leaf_paths(inner, prefix, into),
            _ => into.push(prefix.clone()),
        }
        prefix.pop();
    }
}

fn lookup<'a>(object: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = object.get(first)?;
    if rest.is_empty() { Some(value) } else { lookup(value.as_object()?, rest) }
}

fn set(object: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        object.insert(first.clone(), value);
    } else if let Some(Value::Object(inner)) = object.get_mut(first) {
        set(inner, rest, value);
    }
}

/// An environment variable is text; numbers and booleans follow the default's type.
fn scalar_like(default: Option<&Value>, text: &str) -> Value {
    match default {
        Some(Value::Number(_)) => text.parse::<u64>().map(Value::from).unwrap_or_else(|_| Value::from(text)),
        Some(Value::Bool(_)) => text.parse::<bool>().map(Value::from).unwrap_or_else(|_| Value::from(text)),
        _ => Value::from(text),
    }
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a duration; write `30s`, `10m`, `2h` or `90d`")))
}

pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    let seconds = span.total(jiff::SpanTotal::from(jiff::Unit::Second).days_are_24_hours()).ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The words, and the two that this setting had before.
fn sandbox<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Sandbox, D::Error> {
    let setting = Value::deserialize(deserializer)?;
    // A variable is text where the file has a boolean.
    match setting.as_str().map(str::to_owned).unwrap_or_else(|| setting.to_string()).as_str() {
        "required" => Ok(Sandbox::Required),
        "preferred" | "true" => Ok(Sandbox::Preferred),
        "off" | "false" => Ok(Sandbox::Off),
        other => Err(serde::de::Error::custom(format!("`sandbox` is `required`, `preferred` or `off`, not `{other}`"))),
    }
}

fn pull_requests<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PullRequests, D::Error> {
    let setting = Value::deserialize(deserializer)?;
    match setting.as_str().map(str::to_owned).unwrap_or_else(|| setting.to_string()).as_str() {
        "all" => Ok(PullRequests::All),
        "own" => Ok(PullRequests::Own),
        "off" | "false" => Ok(PullRequests::Ignored),
        other => Err(serde::de::Error::custom(format!("`git.pull_requests` is `all`, `own` or `off`, not `{other}`"))),
    }
}

/// Networks with commas between them; a single address is a network of its own.
fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read = |part: &str| part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
    parts
        .map(|part| read(part).map_err(|_| serde::de::Error::custom(format!("`{part}` is no network; write `10.0.0.0/8` or `10.1.2.3`"))))
        .collect()
}

fn optional_address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| serde::de::Error::custom(format!("`{text}` is not an address; write `127.0.0.1:8081`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Configuration, Error> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(FILE);
        std::fs::write(&path, text).expect("a written file");
        load(Some(&path), &variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_defaults_file_is_valid_and_complete() {
        let configuration = load_text("", &[]).expect("valid defaults");
        assert_eq!(configuration.listen.port(), 8080);
        assert_eq!(configuration.retention.runs, Duration::from_secs(90 * 86_400));
    }

    #[test]
    fn a_mistyped_setting_is_refused_with_the_nearest_name() {
        let error = load_text("gateway:\n  body_limt: 1\n", &[]).expect_err("an unknown key");
        assert!(error.to_string().contains("did you mean `body_limit`?"), "{error}");
    }

    #[test]
    fn a_variable_wins_over_the_file() {
        let configuration = load_text("executors: 3\n", &[("HOOKWRIGHT_EXECUTORS", "5"), ("HOOKWRIGHT_GATEWAY_LISTEN", "127.0.0.1:9")])
            .expect("valid settings");
        assert_eq!(configuration.executors, 5);
        assert_eq!(configuration.gateway.listen.map(|address| address.port()), Some(9));
    }

    #[test]
    fn a_sandbox_is_required_preferred_or_off() {
        for (text, wanted) in [("required", Sandbox::Required), ("off", Sandbox::Off), ("true", Sandbox::Preferred)] {
            assert_eq!(load_text(&format!("sandbox: {text}\n"), &[]).expect("valid settings").sandbox, wanted);
        }
        for (text, wanted) in [("required", Sandbox::Required), ("false", Sandbox::Off)] {
            assert_eq!(load_text("", &[("HOOKWRIGHT_SANDBOX", text)]).expect("valid settings").sandbox, wanted);
        }
        let error = load_text("sandbox: maybe\n", &[]).expect_err("an unknown word");
        assert!(error.to_string().contains("`required`, `preferred` or `off`"), "{error}");
    }

    #[test]
    fn a_bad_duration_says_how_to_write_one() {
        let error = load_text("shutdown: soon\n", &[]).expect_err("a bad duration");
        assert!(error.to_string().contains("write `30s`"), "{error}");
    }
}
