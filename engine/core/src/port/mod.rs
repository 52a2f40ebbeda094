//! The ports: what the engine asks of the outside world. Each trait's doc comment is its contract: idempotency,
//! concurrency, what holds after a crash, which errors are the user's, and what an implementation must not do.

mod artifact;
mod deliver;
mod executor;
mod git;
mod hook;
mod identity;
mod image;
mod leadership;
mod meter;
mod notifier;
mod registry;
mod route;
mod runtime;
mod subscribe;

pub use artifact::{ArtifactStore, BlobReader, StoredBlob};
pub use deliver::{Deliverer, InboxAnswer, SampleEvent};
pub use executor::{CacheMount, Executor, Isolation, Job, JobEnd, JobOutcome, JobState, Limits, Passed};
pub use git::{
    GitByteStream, GitHost, GitRequest, GitResponse, Location, PushNews, PushSink, Revisions, Selection, Tip, Tips, TreeEntry,
    TreeEntryKind,
};
pub use hook::HookTable;
pub use identity::{Identity, IdentityProvider, SignInAttempt};
pub use image::{BaseImage, BuiltImage, CopyInstruction, ImageBuilder, ImageConfig, ImageRequest, ImageSource};
pub use leadership::{Alone, Leadership, Standing};
pub use meter::{AttemptMade, EventResult, GatewayRequest, Meter, StageEnd, Unmetered};
pub use notifier::{Notifier, Topic};
pub use registry::{
    BlobRange, ImageReference, ImageRegistry, ManifestKind, NewManifest, Referrer, RegistryError, StoredManifest, Upload, UploadChunk,
};
pub use route::{Access, RouteTable, RouteTarget};
pub use runtime::{DeploymentSpec, Observed, Runtime};
pub use subscribe::{
    ChannelToClose, ForgeRepository, KeptCredentials, ListedChanges, ListedDeliveries, ListedDelivery, OpenedChannel, Registered,
    RegisteredHook, Subscriber, WantedChannel, WantedSubscription,
};
