//! The scheduler: one loop that holds every run that has not ended, and a bounded number of slots that prepare and collect stages.
//! Invariant: only this loop writes the status of runs and stage runs. Each pass reads what is new, decides in memory, and writes
//! everything it decided in one transaction, so that a stage that does nothing costs at most two. When a transaction cannot be
//! written, everything in memory is dropped and found again, exactly as after a restart.

mod live;
mod recover;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use hookwright_core::port::{JobEnd, JobOutcome, JobState, Notifier, StageEnd, Topic};
use hookwright_core::status::{PromotionStatus, RunStatus, StageStatus};
use hookwright_core::{PromotionId, RunId, StageRun, StageRunId};
use hookwright_store::{CacheEntry, RunConcurrency, RunStop};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::run::RunContext;
use crate::stage::{self, Finished, Prepared};
use crate::{Deps, Error, Result, Tasks, promotion};

pub(crate) use live::{Ending, LiveRun, Node};

/// What a slot tells the loop; it is acted upon in the next pass. A crash loses it, and recovery finds it again.
struct Progress {
    id: StageRunId,
    news: News,
}

enum News {
    Prepared(Result<Prepared>),
    Collected(Result<Finished>),
}

/// What is being done about a stage that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A slot prepares it, or does its engine work.
    Preparing,
    /// Its job runs; nobody waits for it but the next pass.
    Running { stopping: bool },
    /// A slot stores what it left behind.
    Collecting,
    /// Its promotion is open; it takes no slot.
    Held(PromotionId),
}

struct Working {
    run: RunId,
    place: usize,
    phase: Phase,
}

struct Active {
    live: LiveRun,
    context: Arc<RunContext>,
    concurrency: RunConcurrency,
}

/// Cache entries and artifacts that the next transaction writes along with the moves.
#[derive(Default)]
struct Leavings {
    artifacts: Vec<(RunId, hookwright_core::Artifact)>,
    cache: Vec<CacheEntry>,
}

/// Runs the loop until the engine stops.
pub(crate) async fn run(deps: Deps, tasks: Tasks) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut scheduler = Scheduler {
        deps,
        runs: BTreeMap::new(),
        working: HashMap::new(),
        leavings: Leavings::default(),
        slots: JoinSet::new(),
        sender,
        receiver,
    };
    let stopping = tasks.stopping().clone();
    let mut received = Vec::new();
    while !stopping.is_cancelled() {
        if let Err(cause) = scheduler.pass(std::mem::take(&mut received)).await {
            error!(error = %cause, "a pass of the scheduler failed; everything is read again");
            scheduler.reset().await;
        } else if scheduler.again() {
            continue;
        }
        let tick = scheduler.deps.settings.tick;
        let wakes = scheduler.deps.wakes.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = wakes.wait(Topic::Scheduler, tick) => {}
            _ = scheduler.receiver.recv_many(&mut received, 64) => {}
        }
        while let Ok(progress) = scheduler.receiver.try_recv() {
            received.push(progress);
        }
    }
    scheduler.drain(received).await;
}

struct Scheduler {
    deps: Deps,
    /// Ordered by id, which is the order of creation.
    runs: BTreeMap<RunId, Active>,
    working: HashMap<StageRunId, Working>,
    leavings: Leavings,
    slots: JoinSet<()>,
    sender: mpsc::UnboundedSender<Progress>,
    receiver: mpsc::UnboundedReceiver<Progress>,
}

/// The name of the furthest move of a transaction, for crash tests: one of each transition is enough.
fn transition(changed: &[(RunId, live::Changes)]) -> &'static str {
    let ended = changed.iter().any(|(_, changes)| changes.run_from == Some(RunStatus::Running));
    let statuses = changed.iter().flat_map(|(_, changes)| changes.stages().map(|change| change.row.stage_run.status));
    let furthest = statuses.max_by_key(|status| StageStatus::ALL.iter().position(|known| known == status));
    match furthest {
        _ if ended => "run.ended",
        Some(StageStatus::Waiting | StageStatus::Queued) => "stage.queued",
        Some(StageStatus::Leased) => "stage.leased",
        Some(StageStatus::Running) => "stage.running",
        Some(StageStatus::Held) => "stage.held",
        Some(_) => "stage.ended",
        None => "run.changed",
    }
}

impl Scheduler {
    async fn pass(&mut self, received: Vec<Progress>) -> Result<()> {
        while self.slots.try_join_next().is_some() {}
        self.load().await?;
        for progress in received {
            self.receive(progress).await?;
        }
        self.poll().await?;
        self.advance()?;
        let claimed = self.claim()?;
        self.write().await?;
        for id in claimed {
            self.prepare(id);
        }
        Ok(())
    }

    /// Finds runs that are new and requests to stop that are new.
    async fn load(&mut self) -> Result<()> {
        for open in self.deps.store.run_open().await? {
            if let Some(active) = self.runs.get_mut(&open.id) {
                if active.live.stop.is_none() {
                    active.live.stop = open.stop;
                }
                continue;
            }
            match self.read(open.id).await {
                Ok(Some(active)) => {
                    self.runs.insert(open.id, active);
                    recover::run(self, open.id).await?;
                }
                Ok(None) => {}
                Err(cause @ (Error::Invalid(_) | Error::NotFound(_))) => self.give_up(open.id, &cause).await?,
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    async fn read(&self, id: RunId) -> Result<Option<Active>> {
        let Some(record) = self.deps.store.run_load(id).await? else { return Ok(None) };
        let records = self.deps.store.stage_run_list(id).await?;
        let (stop, concurrency, run) = (record.stop.clone(), record.concurrency, record.run.clone());
        let context = Arc::new(RunContext::read(&self.deps, record).await?);
        let live = LiveRun::new(run, stop, context.nodes(), records)
            .ok_or_else(|| Error::Invalid("its stage runs do not fit its plan; start it again".to_owned()))?;
        Ok(Some(Active { live, context, concurrency }))
    }

    /// Ends a run that cannot even be read, so that it does not stand in the way for ever.
    async fn give_up(&self, id: RunId, cause: &Error) -> Result<()> {
        warn!(run.id = %id, error = %cause, "a run cannot be read");
        let mut tx = self.deps.store.begin().await?;
        self.deps.store.run_give_up_in(&mut tx, id, &cause.to_string()).await?;
        tx.commit("run.ended").await?;
        self.deps.wakes.run_changed(id);
        Ok(())
    }

    async fn receive(&mut self, Progress { id, news }: Progress) -> Result<()> {
        let Some(working) = self.working.get(&id) else { return Ok(()) };
        let (run, place) = (working.run, working.place);
        let now = self.deps.clock.now();
        let Some(active) = self.runs.get_mut(&run) else { return Ok(()) };
        let live = &mut active.live;
        match news {
            News::Prepared(Ok(Prepared::Started { cache_key })) => {
                live.edit(place, |record| record.stage_run.cache_key = cache_key);
                live.to(place, StageStatus::Running, now)?;
                self.phase(id, Phase::Running { stopping: false });
            }
            News::Prepared(Ok(Prepared::Hit { cache_key, entry })) => {
                live.edit(place, |record| {
                    record.stage_run.cache_key = Some(cache_key);
                    record.stage_run.cached_from = Some(entry.run);
                    record.outputs = entry.outputs;
                    record.image = entry.image;
                });
                self.leavings.cache.push(CacheEntry { used_at: now, ..entry });
                self.finish(id, Ending::new(StageStatus::Cached, None))?;
            }
            News::Prepared(Ok(Prepared::Held(promotion))) => {
                live.edit(place, |record| {
                    record.promotion = Some(promotion);
                    record.stage_run.status_reason = Some("waits for its promotion".to_owned());
                });
                live.to(place, StageStatus::Held, now)?;
                self.phase(id, Phase::Held(promotion));
            }
            News::Prepared(Ok(Prepared::Done(finished))) | News::Collected(Ok(finished)) => self.collected(id, finished)?,
            // Nothing is known to be wrong with the stage: it is found again as after a restart.
            News::Prepared(Err(cause)) | News::Collected(Err(cause)) if cause.is_passing() || !self.deps.leadership.may_act() => {
                return Err(cause);
            }
            News::Prepared(Err(cause)) | News::Collected(Err(cause)) => {
                let status = if matches!(cause, Error::Internal { .. }) { StageStatus::Errored } else { StageStatus::Failed };
                if status == StageStatus::Errored {
                    warn!(stage.id = %id, error = ?cause, "a stage could not be carried out");
                }
                let reason = cause.to_string();
                // The note is for whoever reads the log; the reason of the stage says the same.
                let _ = self.deps.executor.note(&id, &reason).await;
                self.finish(id, Ending::new(status, reason))?;
            }
        }
        Ok(())
    }

    fn collected(&mut self, id: StageRunId, finished: Finished) -> Result<()> {
        let Some(working) = self.working.get(&id) else { return Ok(()) };
        let (run, place) = (working.run, working.place);
        let now = self.deps.clock.now();
        if let Some(active) = self.runs.get_mut(&run) {
            let trusted = active.live.run.trusted;
            active.live.edit(place, |record| {
                record.stage_run.exit_code = finished.exit_code;
                record.stage_run.cache_key = finished.cache_key.or(record.stage_run.cache_key);
                record.outputs = finished.outputs;
                record.image = finished.image;
                record.tests = finished.tests;
            });
            let record = active.live.stage(place);
            if let (StageStatus::Succeeded, true, Some(cache_key)) = (finished.ending.status, trusted, record.stage_run.cache_key) {
                let entry = CacheEntry { cache_key, run, outputs: record.outputs, image: record.image, used_at: now };
                self.leavings.cache.push(entry);
            }
        }
        self.leavings.artifacts.extend(finished.artifacts.into_iter().map(|artifact| (run, artifact)));
        self.finish(id, finished.ending)
    }

    /// Ends a stage; one that was asked to stop and did not succeed gets the status it was stopped with.
    fn finish(&mut self, id: StageRunId, mut ending: Ending) -> Result<()> {
        let Some(working) = self.working.remove(&id) else { return Ok(()) };
        let now = self.deps.clock.now();
        let Some(active) = self.runs.get_mut(&working.run) else { return Ok(()) };
        if let Some(stop) = &active.live.stop
            && !ending.status.is_success()
            && !active.live.node(working.place).deploys
        {
            ending = Ending::new(stop.status, stop.reason.clone());
        }
        active.live.end(working.place, ending, now, self.deps.ids.as_ref())?;
        Ok(())
    }

    fn phase(&mut self, id: StageRunId, phase: Phase) {
        if let Some(working) = self.working.get_mut(&id) {
            working.phase = phase;
        }
    }

    /// Asks about everything that runs by itself: jobs and promotions.
    async fn poll(&mut self) -> Result<()> {
        let waiting: Vec<(StageRunId, RunId, Phase)> = self.working.iter().map(|(id, working)| (*id, working.run, working.phase)).collect();
        for (id, run, phase) in waiting {
            let stop = self.runs.get(&run).and_then(|active| active.live.stop.clone());
            match phase {
                Phase::Running { stopping } => match self.deps.executor.poll(&id).await? {
                    JobState::Ended(end) => self.ended(id, end)?,
                    JobState::Unknown => self.lost(id)?,
                    JobState::Running if stop.is_some() && !stopping => {
                        self.deps.executor.stop(&id, self.deps.settings.stop_grace).await?;
                        self.phase(id, Phase::Running { stopping: true });
                    }
                    JobState::Running => {}
                },
                Phase::Held(promotion) => {
                    if let Some(stop) = stop.as_ref().filter(|stop| stop.status == StageStatus::Canceled) {
                        promotion::cancel_of_run(&self.deps, run, promotion, &stop.reason).await?;
                    }
                    self.look_at_promotion(id, (promotion, stop)).await?;
                }
                Phase::Preparing | Phase::Collecting => {}
            }
        }
        Ok(())
    }

    async fn look_at_promotion(&mut self, id: StageRunId, (promotion, stop): (PromotionId, Option<RunStop>)) -> Result<()> {
        let Some(promotion) = self.deps.store.promotion_fetch(promotion).await? else {
            // Promotions go with the webhook that is removed, which stops its runs too.
            let (status, reason) =
                stop.map_or_else(|| (StageStatus::Errored, "its promotion is gone".to_owned()), |stop| (stop.status, stop.reason));
            return self.finish(id, Ending::new(status, reason));
        };
        let status = match promotion.status {
            PromotionStatus::Waiting | PromotionStatus::Deploying => return Ok(()),
            PromotionStatus::Succeeded => StageStatus::Succeeded,
            PromotionStatus::Failed => StageStatus::Failed,
            PromotionStatus::Errored => StageStatus::Errored,
            PromotionStatus::Canceled => StageStatus::Canceled,
            PromotionStatus::Superseded => StageStatus::Superseded,
        };
        let note = format!("the promotion into `{}` {}", promotion.environment, promotion.status);
        // The log of a deploy stage is a courtesy; its end is stored whatever becomes of it.
        let _ = self.deps.executor.note(&id, &note).await;
        self.finish(id, Ending::new(status, promotion.status_reason.filter(|_| !status.is_success())))
    }

    fn ended(&mut self, id: StageRunId, end: JobEnd) -> Result<()> {
        let Some(working) = self.working.get(&id) else { return Ok(()) };
        if end.outcome == JobOutcome::Lost {
            return self.lost(id);
        }
        let (place, Some(active)) = (working.place, self.runs.get(&working.run)) else { return Ok(()) };
        let stage = stage::Context::new(&self.deps, &active.context, &active.live, place);
        self.phase(id, Phase::Collecting);
        let sender = self.sender.clone();
        self.slots.spawn(async move {
            let news = News::Collected(stage::collect(&stage, end).await);
            // The loop ends before its slots only when the engine stops.
            let _ = sender.send(Progress { id, news });
        });
        Ok(())
    }

    /// The job's supervisor is gone without a result: the stage is tried again as a new attempt.
    fn lost(&mut self, id: StageRunId) -> Result<()> {
        let ending = Ending { status: StageStatus::Errored, reason: Some("its supervisor was lost".to_owned()), lost: true };
        self.finish(id, ending)
    }

    fn advance(&mut self) -> Result<()> {
        let now = self.deps.clock.now();
        let mut older = HashSet::new();
        for active in self.runs.values_mut() {
            let line = (active.live.run.webhook.clone(), active.context.reference().clone());
            let waits = active.concurrency == RunConcurrency::All && older.contains(&line);
            active.live.advance(!waits, now)?;
            if !active.live.run.status.is_end() {
                older.insert(line);
            }
        }
        Ok(())
    }

    /// Fills the free slots, oldest run first. Runs of strangers come after all others and leave them a slot, where there are two.
    fn claim(&mut self) -> Result<Vec<StageRunId>> {
        let slots = self.deps.settings.executors.max(1);
        let mut claimed = self.claim_of(true, slots)?;
        claimed.extend(self.claim_of(false, slots.saturating_sub(1).max(1))?);
        Ok(claimed)
    }

    /// Claims stages of the runs that are trusted, or of those that are not, until `slots` are busy.
    fn claim_of(&mut self, trusted: bool, slots: usize) -> Result<Vec<StageRunId>> {
        let busy = self.working.values().filter(|working| !matches!(working.phase, Phase::Held(_))).count();
        let mut free = slots.saturating_sub(busy);
        let now = self.deps.clock.now();
        let mut claimed = Vec::new();
        for (run, active) in self.runs.iter_mut().filter(|(_, active)| active.live.run.trusted == trusted) {
            if free == 0 {
                break;
            }
            let queued: Vec<usize> = active
                .live
                .stages()
                .filter_map(|(place, record)| (record.stage_run.status == StageStatus::Queued).then_some(place))
                .take(free)
                .collect();
            for place in queued {
                active.live.to(place, StageStatus::Leased, now)?;
                let id = active.live.stage(place).stage_run.id;
                self.working.insert(id, Working { run: *run, place, phase: Phase::Preparing });
                claimed.push(id);
                free -= 1;
            }
        }
        Ok(claimed)
    }

    /// Writes everything that was decided, in one transaction.
    async fn write(&mut self) -> Result<()> {
        let mut changed = Vec::new();
        for (id, active) in &mut self.runs {
            let changes = active.live.take_changes();
            if !changes.is_empty() {
                changed.push((*id, changes));
            }
        }
        let leavings = std::mem::take(&mut self.leavings);
        if changed.is_empty() && leavings.artifacts.is_empty() && leavings.cache.is_empty() {
            return Ok(());
        }
        let store = &self.deps.store;
        let mut tx = store.begin().await?;
        for (id, changes) in &changed {
            for change in changes.stages() {
                let written = match change.from {
                    None => store.stage_run_insert_in(&mut tx, &change.row).await.map(|()| true)?,
                    Some(from) => store.stage_run_update_in(&mut tx, from, &change.row).await?,
                };
                if !written {
                    return Err(Error::Conflict(format!("the stored status of stage run {} is not what it was", change.row.stage_run.id)));
                }
            }
            if let (Some(from), Some(active)) = (changes.run_from, self.runs.get(id))
                && !store.run_update_in(&mut tx, from, &active.live.run).await?
            {
                return Err(Error::Conflict(format!("the stored status of run {id} is not what it was")));
            }
        }
        for (run, artifact) in &leavings.artifacts {
            store.artifact_add_in(&mut tx, *run, artifact).await?;
        }
        for entry in &leavings.cache {
            store.cache_put_in(&mut tx, entry).await?;
        }
        tx.commit(transition(&changed)).await?;
        for (id, changes) in &changed {
            self.deps.wakes.run_changed(*id);
            self.count(*id, changes);
        }
        let wakes = self.deps.wakes.clone();
        self.runs.retain(|id, active| {
            let over = active.live.run.status.is_end();
            if over {
                let run = &active.live.run;
                info!(run.id = %id, "run {} of `{}` {}", run.number, run.webhook, run.status);
                wakes.wake(Topic::Outbox);
            }
            !over
        });
        Ok(())
    }

    /// Counts what a transaction brought to its end.
    fn count(&self, run: RunId, changes: &live::Changes) {
        let Some(active) = self.runs.get(&run) else { return };
        let meter = &self.deps.meter;
        for StageRun { stage, status, started_at, ended_at, .. } in changes.stages().map(|change| &change.row.stage_run) {
            let Some(ended) = ended_at.filter(|_| status.is_end()) else { continue };
            let kind = active.context.plan.stage(stage).map_or("command", |stage| stage.kind.name());
            meter.stage_ended(StageEnd { kind, status: *status, took: started_at.map(|started| ended.since(started)) });
        }
        if changes.run_from.is_some() && active.live.run.status.is_end() {
            meter.run_ended(active.live.run.status);
        }
    }

    /// Whether the last pass left something that another pass would do at once: an ended run may have let another one start.
    fn again(&self) -> bool {
        let mut first = HashMap::new();
        self.runs.values().any(|active| {
            let line = (&active.live.run.webhook, active.context.reference());
            let head = !std::mem::replace(first.entry(line).or_insert(false), true);
            head && active.live.stop.is_none()
                && active
                    .live
                    .stages()
                    .all(|(_, record)| matches!(record.stage_run.status, StageStatus::Waiting) || record.stage_run.status.is_end())
        })
    }

    fn prepare(&mut self, id: StageRunId) {
        let Some(working) = self.working.get(&id) else { return };
        let Some(active) = self.runs.get(&working.run) else { return };
        let stage = stage::Context::new(&self.deps, &active.context, &active.live, working.place);
        let sender = self.sender.clone();
        self.slots.spawn(async move {
            let news = News::Prepared(stage::prepare(&stage).await);
            let _ = sender.send(Progress { id, news });
        });
    }

    /// Drops what is in memory; the next pass reads it again as after a restart. Slots are ended first, so that nothing is done twice.
    async fn reset(&mut self) {
        self.slots.shutdown().await;
        while self.receiver.try_recv().is_ok() {}
        self.runs.clear();
        self.working.clear();
        self.leavings = Leavings::default();
    }

    /// Lets the slots finish what they are at and writes it, so that the next start has less to find again.
    async fn drain(&mut self, mut received: Vec<Progress>) {
        while self.slots.join_next().await.is_some() {}
        while let Ok(progress) = self.receiver.try_recv() {
            received.push(progress);
        }
        for progress in received {
            if let Err(cause) = self.receive(progress).await {
                warn!(error = %cause, "the last news of a stage are lost; the next start finds them again");
            }
        }
        let written = match self.advance() {
            Ok(()) => self.write().await,
            Err(cause) => Err(cause),
        };
        if let Err(cause) = written {
            warn!(error = %cause, "the scheduler's last writing failed; the next start finds it again");
        }
    }
}
