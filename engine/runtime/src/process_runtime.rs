//! The runtime of processes: a task for each deployment looks after its instances; what is on disk outlives the daemon.
//! Layout: `images/<hex>/` unpacked images, `deployments/<id>/<ordinal>/<attempt>/` processes.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hookwright_core::port::{DeploymentSpec, ImageConfig, ImageSource, Notifier, Observed, Runtime, Topic};
use hookwright_core::{Clock, DeploymentId, Digest, InstanceState, LogChunk, LogCursor, PortError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::executor::unusable;
use crate::instance::{Instance, Surroundings, attempts, end_processes};
use crate::log_file;

/// How often instances are looked at until all are ready.
const EAGER: Duration = Duration::from_millis(20);
/// How often afterwards.
const STEADY: Duration = Duration::from_secs(1);

/// What a [`ProcessRuntime`] needs.
pub struct RuntimeOptions {
    /// Where instances and unpacked images are kept.
    pub directory: PathBuf,
    /// The binary that runs `supervise`.
    pub binary: PathBuf,
    /// Where images come from.
    pub images: Arc<dyn ImageSource>,
    /// Woken when an instance changes.
    pub notifier: Arc<dyn Notifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Keeps deployments alive as processes of this machine.
pub struct ProcessRuntime {
    shared: Arc<Shared>,
    kept: Mutex<HashMap<DeploymentId, Kept>>,
}

struct Shared {
    options: RuntimeOptions,
    unpacking: tokio::sync::Mutex<()>,
}

/// A deployment that is looked after.
struct Kept {
    wanted: Arc<Mutex<DeploymentSpec>>,
    observed: Arc<Mutex<Observed>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProcessRuntime {
    /// Opens the folders.
    ///
    /// # Errors
    /// *Errored* when they cannot be made.
    pub fn new(options: RuntimeOptions) -> Result<Self, PortError> {
        for folder in ["images", "deployments"] {
            fs::create_dir_all(options.directory.join(folder)).map_err(unusable)?;
        }
        let shared = Shared { options, unpacking: tokio::sync::Mutex::default() };
        Ok(Self { shared: Arc::new(shared), kept: Mutex::default() })
    }

    fn folder(&self, id: &DeploymentId) -> PathBuf {
        self.shared.options.directory.join("deployments").join(id.to_string())
    }
}

impl Shared {
    /// The folder of an unpacked image, and its settings; unpacked aside and renamed, once for each digest.
    async fn image(&self, digest: &Digest) -> Result<(PathBuf, ImageConfig), PortError> {
        let _one_at_a_time = self.unpacking.lock().await;
        let images = self.options.directory.join("images");
        let (folder, aside) = (images.join(digest.hex()), images.join(format!("{}.new", digest.hex())));
        if !folder.is_dir() {
            let _ = fs::remove_dir_all(&aside);
            fs::create_dir_all(&aside).map_err(unusable)?;
            self.options.images.unpack(digest, &aside).await?;
            fs::rename(&aside, &folder).map_err(unusable)?;
        }
        let settings = self.options.images.settings(digest).await?;
        Ok((folder, settings))
    }
}

async fn look_after(shared: Arc<Shared>, folder: PathBuf, kept: (Arc<Mutex<DeploymentSpec>>, Arc<Mutex<Observed>>, Arc<Notify>)) {
    let (wanted, observed, changed) = kept;
    let began = shared.options.clock.monotonic();
    let mut instances: Vec<Instance> = Vec::new();
    loop {
        let spec = locked(&wanted).clone();
        let result = look(&shared, &folder, &spec, &mut instances).await;
        let mut now = Observed { instances: instances.iter().map(|instance| instance.status.clone()).collect(), given_up: None };
        let late = shared.options.clock.monotonic().saturating_sub(began) > spec.health.startup;
        match result {
            Err(error) if error.blame == hookwright_core::Blame::Failed => now.given_up = Some(error.message),
            Err(error) => tracing::warn!(deployment.id = %spec.id, %error, "an instance could not be looked after"),
            Ok(()) => {}
        }
        if let Some(never) = instances.iter().find(|instance| late && !instance.was_ready()) {
            let why = never.status.reason.clone().unwrap_or_else(|| "it never answered".to_owned());
            now.given_up = Some(format!("not ready after {} s: {why}", spec.health.startup.as_secs()));
        }
        let ready = now.instances.iter().all(|instance| instance.state == InstanceState::Ready) && !now.instances.is_empty();
        let news = {
            let mut observed = locked(&observed);
            let news = *observed != now;
            *observed = now;
            news
        };
        if news {
            shared.options.notifier.wake(Topic::Reconcile);
        }
        // An elapsed pause is as good a reason to look as a change of what is wanted.
        let _ = tokio::time::timeout(if ready { STEADY } else { EAGER }, changed.notified()).await;
    }
}

async fn look(shared: &Shared, folder: &Path, spec: &DeploymentSpec, instances: &mut Vec<Instance>) -> Result<(), PortError> {
    let (root, image) = shared.image(&spec.image).await?;
    let options = &shared.options;
    let around = Surroundings { binary: &options.binary, clock: &*options.clock, wanted: spec, root: &root, image: &image };
    while instances.len() < spec.instances as usize {
        let ordinal = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        instances.push(Instance::open(folder, ordinal)?);
    }
    while instances.len() > spec.instances as usize {
        if let Some(mut superfluous) = instances.pop() {
            superfluous.end(crate::instance::GRACE)?;
        }
    }
    for instance in instances {
        instance.step(&around).await?;
    }
    Ok(())
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn apply(&self, deployment: &DeploymentSpec) -> Result<(), PortError> {
        let folder = self.folder(&deployment.id);
        fs::create_dir_all(&folder).map_err(unusable)?;
        let mut kept = locked(&self.kept);
        if let Some(known) = kept.get(&deployment.id) {
            *locked(&known.wanted) = deployment.clone();
            known.changed.notify_one();
            return Ok(());
        }
        let (wanted, observed, changed) = (Arc::new(Mutex::new(deployment.clone())), Arc::default(), Arc::<Notify>::default());
        let task = tokio::spawn(look_after(self.shared.clone(), folder, (wanted.clone(), Arc::clone(&observed), changed.clone())));
        kept.insert(deployment.id, Kept { wanted, observed, changed, task });
        Ok(())
    }

    async fn observe(&self, id: &DeploymentId) -> Result<Option<Observed>, PortError> {
        Ok(locked(&self.kept).get(id).map(|kept| locked(&kept.observed).clone()))
    }

    async fn list(&self) -> Result<Vec<DeploymentId>, PortError> {
        let entries = fs::read_dir(self.shared.options.directory.join("deployments")).map_err(unusable)?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    async fn retire(&self, id: &DeploymentId, grace: Duration) -> Result<bool, PortError> {
        if let Some(kept) = locked(&self.kept).remove(id) {
            kept.task.abort();
        }
        let mut ended = true;
        for ordinal in attempts(&self.folder(id)) {
            ended &= end_processes(&self.folder(id).join(ordinal.to_string()), grace)?;
        }
        Ok(ended)
    }

    async fn logs(&self, id: &DeploymentId, from: LogCursor) -> Result<LogChunk, PortError> {
        let folder = self.folder(id);
        let read = move || {
            let mut lines = Vec::new();
            for ordinal in attempts(&folder) {
                for attempt in attempts(&folder.join(ordinal.to_string())) {
                    let process = folder.join(ordinal.to_string()).join(attempt.to_string());
                    lines.extend(log_file::read(&process, LogCursor::default(), true).map_err(unusable)?.lines);
                }
            }
            // The cursor counts lines in the order of their time.
            lines.sort_by_key(|line| line.at);
            let next = LogCursor(lines.len() as u64);
            let lines = lines.into_iter().skip(usize::try_from(from.0).unwrap_or(usize::MAX)).collect();
            Ok(LogChunk { lines, next, complete: false })
        };
        tokio::task::spawn_blocking(read).await.map_err(unusable)?
    }

    async fn forget(&self, id: &DeploymentId) -> Result<(), PortError> {
        match fs::remove_dir_all(self.folder(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unusable(error)),
            _ => Ok(()),
        }
    }
}
