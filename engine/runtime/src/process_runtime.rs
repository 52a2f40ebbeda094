//! The runtime of processes: a task for each deployment looks after its instances; what is on disk outlives the daemon.
//! Layout: `images/<hex>/` unpacked images, `deployments/<id>/image` which of them it uses, `deployments/<id>/<ordinal>/<attempt>/` processes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hookwright_core::port::{DeploymentSpec, ImageConfig, ImageSource, Limits, Notifier, Observed, Runtime, Topic};
use hookwright_core::{Clock, DeploymentId, Digest, InstanceState, LogChunk, LogCursor, LogLine, PortError, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::executor::unusable;
use crate::instance::{Instance, Surroundings, attempts, end_processes};
use crate::listeners::Listeners;
use crate::nursery::Nursery;
use crate::sandbox::Bubblewrap;
use crate::supervised::{Supervised, remove_tree, write_aside};
use crate::{log_file, process};

/// How often instances are looked at until all are ready, at first and when that takes longer.
const EAGER: Duration = Duration::from_millis(20);
const PATIENT: Duration = Duration::from_millis(100);
/// What is meant by longer.
const LONGER: Duration = Duration::from_secs(3);
/// The longest rest between two looks while an instance waits to be started again.
const RESTING: Duration = Duration::from_secs(1);
/// How often afterwards: the end of a process wakes whoever looks after it, so this is what a lost wake-up costs.
const STEADY: Duration = Duration::from_secs(15);
/// The same where liveness is asked for.
const ALIVE: Duration = Duration::from_secs(5);

/// What a [`ProcessRuntime`] needs.
pub struct RuntimeOptions {
    /// Where instances and unpacked images are kept.
    pub directory: PathBuf,
    /// Where supervisors come from.
    pub nursery: Arc<Nursery>,
    /// Where images come from.
    pub images: Arc<dyn ImageSource>,
    /// Woken when an instance changes.
    pub notifier: Arc<dyn Notifier>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What handlers run in; without it they run as plain process groups.
    pub sandbox: Option<Arc<Bubblewrap>>,
    /// What an instance may use that says nothing about it.
    pub limits: Limits,
}

/// Keeps deployments alive as processes of this machine.
pub struct ProcessRuntime {
    shared: Arc<Shared>,
    kept: Mutex<HashMap<DeploymentId, Kept>>,
}

struct Shared {
    options: RuntimeOptions,
    unpacking: tokio::sync::Mutex<()>,
    listeners: Listeners,
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
        let shared = Shared { options, unpacking: tokio::sync::Mutex::default(), listeners: Listeners::default() };
        Ok(Self { shared: Arc::new(shared), kept: Mutex::default() })
    }

    fn folder(&self, id: &DeploymentId) -> PathBuf {
        self.shared.deployments().join(id.to_string())
    }

    /// Stops looking after a deployment. Once this returns nothing is started for it any more.
    async fn let_go(&self, id: &DeploymentId) {
        let kept = locked(&self.kept).remove(id);
        if let Some(kept) = kept {
            kept.task.abort();
            // It ends as aborted; what counts is that it has.
            let _ = kept.task.await;
        }
    }
}

impl Shared {
    fn deployments(&self) -> PathBuf {
        self.options.directory.join("deployments")
    }

    /// Removes unpacked images that no deployment uses.
    async fn sweep_images(&self) -> Result<(), PortError> {
        let _nothing_is_unpacked = self.unpacking.lock().await;
        let (deployments, images) = (self.deployments(), self.options.directory.join("images"));
        let sweep = move || -> io::Result<()> {
            let mut used = HashSet::new();
            for deployment in fs::read_dir(deployments)? {
                match fs::read_to_string(deployment?.path().join("image")) {
                    Ok(hex) => used.insert(hex.trim().to_owned()),
                    // One that does not say what it uses may use any.
                    Err(_) => return Ok(()),
                };
            }
            for image in fs::read_dir(images)? {
                let image = image?;
                if image.file_name().to_str().is_none_or(|name| !used.contains(name)) {
                    remove_tree(&image.path())?;
                }
            }
            Ok(())
        };
        tokio::task::spawn_blocking(sweep).await.map_err(unusable)?.map_err(unusable)
    }

    /// The folder of an unpacked image, and its settings; unpacked aside and renamed, once for each digest.
    async fn image(&self, digest: &Digest) -> Result<(PathBuf, ImageConfig), PortError> {
        let _one_at_a_time = self.unpacking.lock().await;
        let images = self.options.directory.join("images");
        let (folder, aside) = (images.join(digest.hex()), images.join(format!("{}.new", digest.hex())));
        if !folder.is_dir() {
            remove_tree(&aside).map_err(unusable)?;
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
    let clock = Arc::clone(&shared.options.clock);
    let mut instances: Vec<Instance> = Vec::new();
    let mut image = None;
    let mut waiting_since = clock.monotonic();
    loop {
        let spec = locked(&wanted).clone();
        let result = look(&shared, &folder, &spec, (&mut instances, &mut image, &changed)).await;
        let mut now = Observed { instances: instances.iter().map(|instance| instance.status.clone()).collect(), given_up: None };
        match result {
            Err(error) if error.blame == hookwright_core::Blame::Failed => now.given_up = Some(error.message),
            Err(error) => tracing::warn!(deployment.id = %spec.id, %error, "an instance could not be looked after"),
            Ok(()) => {}
        }
        now.given_up = now.given_up.or_else(|| instances.iter().find_map(|instance| instance.failing.clone()));
        // Of which none is wanted, there is nothing to wait for.
        let ready = now.instances.iter().all(|instance| instance.state == InstanceState::Ready)
            && (!now.instances.is_empty() || spec.instances == 0);
        let news = {
            let mut observed = locked(&observed);
            let news = *observed != now;
            *observed = now;
            news
        };
        if news {
            shared.options.notifier.wake(Topic::Reconcile);
        }
        let at = clock.monotonic();
        if ready {
            waiting_since = at;
        }
        let rest = instances.iter().filter(|instance| instance.status.state != InstanceState::Ready).map(|instance| instance.rests(at));
        // All that are not ready rest: until the first of them may go on.
        let resting = rest.collect::<Option<Vec<_>>>().and_then(|rests| rests.into_iter().min());
        let pause = match resting {
            // Whether it is really unwell is found out sooner.
            _ if ready && instances.iter().any(Instance::is_doubtful) => RESTING,
            _ if ready && spec.health.liveness.is_some() => ALIVE,
            _ if ready => STEADY,
            Some(rest) => rest.clamp(EAGER, RESTING),
            None if at.saturating_sub(waiting_since) > LONGER => PATIENT,
            None => EAGER,
        };
        // An elapsed pause is as good a reason to look as a change of what is wanted.
        let _ = tokio::time::timeout(pause, changed.notified()).await;
    }
}

/// The instances of a deployment, its image once it is unpacked, and what wakes the one who looks after it.
type Looked<'a> = (&'a mut Vec<Instance>, &'a mut Option<(PathBuf, ImageConfig)>, &'a Arc<Notify>);

async fn look(shared: &Shared, folder: &Path, spec: &DeploymentSpec, (instances, known, changed): Looked<'_>) -> Result<(), PortError> {
    if known.is_none() {
        *known = Some(shared.image(&spec.image).await?);
    }
    let Some((root, image)) = known.as_ref() else { return Ok(()) };
    let options = &shared.options;
    let around = Surroundings {
        nursery: &options.nursery,
        clock: &*options.clock,
        wanted: spec,
        root,
        image,
        sandbox: options.sandbox.as_deref(),
        limits: options.limits,
        changed,
        listeners: &shared.listeners,
    };
    while instances.len() < spec.instances as usize {
        let ordinal = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        instances.push(Instance::open(folder, ordinal)?);
    }
    while instances.len() > spec.instances as usize {
        if let Some(mut superfluous) = instances.pop() {
            superfluous.end(crate::instance::GRACE).await?;
        }
    }
    // One that cannot be looked after does not keep the others from it.
    let mut result = Ok(());
    for instance in instances {
        if let Err(error) = instance.step(&around).await {
            result = Err(error);
        }
    }
    result
}

/// The place after a line in the merged log: its millisecond, and how many lines of that millisecond were handed out.
struct Place {
    at: i64,
    count: u64,
}

/// So many lines of one millisecond can be told apart.
const COUNT_BITS: u32 = 20;

impl Place {
    fn of(cursor: LogCursor) -> Self {
        Self { at: i64::try_from(cursor.0 >> COUNT_BITS).unwrap_or(i64::MAX), count: cursor.0 & ((1 << COUNT_BITS) - 1) }
    }

    fn cursor(&self) -> LogCursor {
        LogCursor(u64::try_from(self.at).unwrap_or(0) << COUNT_BITS | self.count.min((1 << COUNT_BITS) - 1))
    }
}

/// The logs of all processes below a deployment's folder from `from` on, in the order of their time.
fn merged(folder: &Path, from: LogCursor) -> io::Result<LogChunk> {
    let mut place = Place::of(from);
    let mut lines: Vec<LogLine> = Vec::new();
    let mut horizon = i64::MAX;
    for ordinal in attempts(folder) {
        let instance = folder.join(ordinal.to_string());
        for attempt in attempts(&instance) {
            let (read, more) = log_file::read_since(&instance.join(attempt.to_string()), Timestamp::from_millis(place.at))?;
            if more {
                // What other processes wrote later has to wait until all of this one is handed out.
                horizon = read.last().map_or(horizon, |line| horizon.min(line.at.as_millis()));
            }
            lines.extend(read);
        }
    }
    lines.retain(|line| line.at.as_millis() <= horizon);
    lines.sort_by_key(|line| line.at);
    let known = lines.iter().take_while(|line| line.at.as_millis() == place.at).count().min(usize::try_from(place.count).unwrap_or(0));
    lines.drain(..known);
    for line in &lines {
        let at = line.at.as_millis();
        place = Place { at, count: if at == place.at { place.count + 1 } else { 1 } };
    }
    Ok(LogChunk { next: place.cursor(), lines, complete: false })
}

/// The last lines of a deployment's instances, in the order of their time. Of each the process that runs is looked at and the one before it: why
/// that one ended is what is looked for when a handler is started again and again.
fn ends(folder: &Path, lines: usize) -> io::Result<Vec<LogLine>> {
    let mut last: Vec<LogLine> = Vec::new();
    for ordinal in attempts(folder) {
        let instance = folder.join(ordinal.to_string());
        for attempt in attempts(&instance).into_iter().rev().take(2) {
            last.extend(log_file::last_lines(&instance.join(attempt.to_string()), lines)?);
        }
    }
    last.sort_by_key(|line| line.at);
    Ok(last.split_off(last.len().saturating_sub(lines)))
}

#[async_trait]
impl Runtime for ProcessRuntime {
    async fn apply(&self, deployment: &DeploymentSpec) -> Result<(), PortError> {
        let folder = self.folder(&deployment.id);
        fs::create_dir_all(&folder).map_err(unusable)?;
        let hex = deployment.image.hex();
        // A start of the daemon applies everything anew: what stands there already is not synced to the disk again.
        if fs::read(folder.join("image")).ok().as_deref() != Some(hex.as_bytes()) {
            write_aside(&folder, "image", hex.as_bytes()).map_err(unusable)?;
        }
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

    async fn measure(&self, id: &DeploymentId) -> Result<Option<Observed>, PortError> {
        let (observed, folder) = (self.observe(id).await?, self.folder(id));
        let Some(mut observed) = observed else { return Ok(None) };
        let measured = tokio::task::spawn_blocking(move || {
            for instance in &mut observed.instances {
                let folder = folder.join(instance.ordinal.to_string());
                let newest = attempts(&folder).last().map(|attempt| Supervised::at(folder.join(attempt.to_string())));
                let Some(record) = newest.and_then(|process| process.record()) else { continue };
                let pids = process::tree(record.supervisor, None);
                if !pids.is_empty() {
                    instance.cpu_millis = Some(process::spent_millis(&pids));
                    instance.memory_bytes = Some(process::usage(&pids).memory);
                }
            }
            observed
        });
        measured.await.map(Some).map_err(unusable)
    }

    async fn list(&self) -> Result<Vec<DeploymentId>, PortError> {
        let entries = fs::read_dir(self.shared.options.directory.join("deployments")).map_err(unusable)?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    async fn retire(&self, id: &DeploymentId, grace: Duration) -> Result<bool, PortError> {
        self.let_go(id).await;
        let mut ended = true;
        for ordinal in attempts(&self.folder(id)) {
            ended &= end_processes(&self.folder(id).join(ordinal.to_string()), grace).await?;
        }
        Ok(ended)
    }

    async fn logs(&self, id: &DeploymentId, from: LogCursor) -> Result<LogChunk, PortError> {
        let folder = self.folder(id);
        tokio::task::spawn_blocking(move || merged(&folder, from)).await.map_err(unusable)?.map_err(unusable)
    }

    async fn last_lines(&self, id: &DeploymentId, lines: usize) -> Result<Vec<LogLine>, PortError> {
        let folder = self.folder(id);
        tokio::task::spawn_blocking(move || ends(&folder, lines)).await.map_err(unusable)?.map_err(unusable)
    }

    async fn forget(&self, id: &DeploymentId) -> Result<(), PortError> {
        self.let_go(id).await;
        let folder = self.folder(id);
        for ordinal in attempts(&folder) {
            let instance = folder.join(ordinal.to_string());
            for attempt in attempts(&instance) {
                Supervised::at(instance.join(attempt.to_string())).remove().await?;
            }
        }
        tokio::task::spawn_blocking(move || remove_tree(&folder)).await.map_err(unusable)?.map_err(unusable)?;
        self.shared.sweep_images().await
    }
}
