//! Telling event sources where to send.

use async_trait::async_trait;

use crate::{Channel, PortError, SecretValue, Timestamp};

/// What an event source is to know of a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSubscription {
    /// The event source.
    pub source: String,
    /// Whose events are meant, in the words of the source: `acme/shop`, a calendar; empty where credentials are for one account alone.
    pub repository: String,
    /// Where it is to send. Nobody else has this address, so that it marks what is ours.
    pub url: String,
    /// Types of events that are wanted; empty is all.
    pub events: Vec<String>,
    /// What it is to sign with. `None` when the source hands out the secret and it is not known.
    pub secret: Option<SecretValue>,
}

/// What a source was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What the source calls it.
    pub id: String,
    /// The secret that it handed out. It does so once.
    pub secret: Option<SecretValue>,
}

/// A channel that is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct WantedChannel<'a> {
    /// What it is for.
    pub wanted: &'a WantedSubscription,
    /// The channel, as it is written down.
    pub channel: &'a Channel,
}

/// What a source says of a channel that it has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedChannel {
    /// What it calls what is watched.
    pub resource: String,
    /// When it ends the channel.
    pub expires_at: Timestamp,
}

/// What has changed where a channel watches, as its source lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChanges {
    /// From where the source lists what changes from now on.
    pub mark: String,
    /// The type of the messages that say of changes.
    pub kind: String,
    /// When each of the listed changes was made; `None` when the source does not say.
    pub made_at: Vec<Option<Timestamp>>,
}

/// A channel that is to be closed.
#[derive(Clone, Copy, Debug)]
pub struct ChannelToClose<'a> {
    /// The event source.
    pub source: &'a str,
    /// The channel's id.
    pub id: &'a str,
    /// What the source calls what it watches.
    pub resource: &'a str,
}

/// A hook that the source knows.
#[derive(Clone, Copy, Debug)]
pub struct RegisteredHook<'a> {
    /// The event source.
    pub source: &'a str,
    /// Whose events are meant.
    pub repository: &'a str,
    /// What the source calls the hook.
    pub id: &'a str,
    /// Types of events that are wanted; empty is all.
    pub events: &'a [String],
}

/// A delivery in a source's own list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDelivery {
    /// What the source calls it when it is asked to repeat it.
    pub id: String,
    /// What the inbox knows its event by: its replay key.
    pub replay_key: String,
}

/// What a source says of its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDeliveries {
    /// Those that failed, the oldest first.
    pub failed: Vec<ListedDelivery>,
    /// The newest one, whatever became of it; deliveries are numbered upwards.
    pub newest: u64,
    /// How many it may be asked to repeat within a look.
    pub asks: u32,
}

/// A watched remote as the forge that it is on knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeRepository {
    /// The event source that the forge is.
    pub source: String,
    /// The name that its credentials go by, and that it is registered with: a source may have servers with another API.
    pub provider: String,
    /// The forge's name for people.
    pub title: String,
    /// The repository in its words: `acme/shop`.
    pub repository: String,
    /// The types of events that the engine asks for,
    pub events: Vec<String>,
    /// and those among them that are comments: they say nothing of refs.
    pub comments: Vec<String>,
    /// Whether there are credentials.
    pub has_credentials: bool,
    /// The rights that credentials need, for messages.
    pub rights: String,
}

/// Registers triggers with their event sources.
///
/// *Idempotency*: what is there already, by its address, is brought up to date and never made twice; a crash between the source's answer and our
/// record is mended by the next call. *Errors*: *Failed* when the source says no, which a person mends (credentials, rights, names); *Errored* when it
/// does not answer, answers nonsense, or has had enough. Nothing of a secret is in a message.
#[async_trait]
pub trait Subscriber: Send + Sync + 'static {
    /// Whether subscriptions of this source can be registered: it has a way, and there are credentials.
    fn registers(&self, source: &str) -> bool;

    /// Where a watched remote is, when its address belongs to a forge that can be told of hooks. Pure: nobody is asked.
    fn forge_of(&self, url: &str) -> Option<ForgeRepository>;

    /// The types of events that the engine itself asks a forge for, by the name of its credentials; none of what is no forge.
    fn forge_events(&self, provider: &str) -> Vec<String>;

    /// Whether the secret of this source's events comes from the source itself when it is told, or from us with each channel.
    fn hands_out_secrets(&self, source: &str) -> bool;

    /// Whether this source sends through channels: then `open` and `close` are for it, and not `ensure`, `is_intact` and `remove`.
    fn opens_channels(&self, source: &str) -> bool;

    /// Makes the source know it. What it has with our address and a secret that nobody knows is made anew.
    async fn ensure(&self, wanted: &WantedSubscription) -> Result<Registered, PortError>;

    /// Whether the source still has exactly what is wanted, as far as it tells.
    async fn is_intact(&self, wanted: &WantedSubscription) -> Result<bool, PortError>;

    /// Makes the source forget what sends to this address; it is no error when it knows nothing of it.
    async fn remove(&self, source: &str, repository: &str, url: &str) -> Result<(), PortError>;

    /// What the source could not deliver, among what is newer than `after` and some before it. `None` when it keeps no list, or repeats nothing.
    async fn undelivered(&self, hook: RegisteredHook<'_>, after: u64, now: Timestamp) -> Result<Option<ListedDeliveries>, PortError>;

    /// Has the source make a delivery again, under the id that it had. Where a source cannot do that, its event is returned instead, as its body was.
    async fn deliver_again(&self, hook: RegisteredHook<'_>, delivery: &str) -> Result<Option<String>, PortError>;

    /// What has changed since `mark`, where a source that sends through channels lists that; without one, only from where it lists changes from now
    /// on. A mark that the source knows no more counts as one change of an unknown time. `None` when it lists no changes.
    async fn changes(&self, hook: RegisteredHook<'_>, mark: Option<&str>) -> Result<Option<ListedChanges>, PortError>;

    /// Has the source open a channel. `None` when it has one of that id already, which then cannot be asked about: what it answered is lost.
    async fn open(&self, channel: WantedChannel<'_>, now: Timestamp) -> Result<Option<OpenedChannel>, PortError>;

    /// Has the source close a channel; it is no error when it knows nothing of it.
    async fn close(&self, channel: ChannelToClose<'_>) -> Result<(), PortError>;
}

/// Keeps what providers hand out in exchange for credentials of the settings, sealed.
///
/// *After a crash*: what was kept is there, whole. *Errors*: *Errored* when it cannot be kept; then it is not to be used.
#[async_trait]
pub trait KeptCredentials: Send + Sync + 'static {
    /// What was kept last for a provider and a `basis`, a digest of what it descends from.
    async fn kept(&self, provider: &str, basis: &str) -> Result<Option<SecretValue>, PortError>;

    /// Keeps something in the stead of what was kept for the provider.
    async fn keep(&self, provider: &str, basis: &str, value: &SecretValue) -> Result<(), PortError>;
}
