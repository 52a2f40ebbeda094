//! A run as the scheduler holds it in memory, and every decision about which of its stages moves next. No I/O.
//! Invariant: what is here equals what is stored, plus the changes that the next transaction writes.

use std::collections::{BTreeMap, HashMap};

use hookwright_core::status::{IllegalMove, RunStatus, StageStatus};
use hookwright_core::{IdSource, Run, StageName, StageRunId, Timestamp};
use hookwright_store::{RunStop, StageRecord};

/// How often a stage is tried again because its supervisor was lost, beside the tries its spec allows.
const LOST_TRIES: u32 = 3;

/// What of a planned stage decides its moves.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: StageName,
    pub(crate) needs: Vec<StageName>,
    pub(crate) retries: u32,
    pub(crate) allow_failure: bool,
    pub(crate) deploys: bool,
}

/// A change of a stored row: a new row, or a row whose stored status was `from`.
#[derive(Clone, Debug)]
pub(crate) struct StageChange {
    pub(crate) from: Option<StageStatus>,
    pub(crate) row: StageRecord,
}

/// Everything of one run that the next transaction writes.
#[derive(Default)]
pub(crate) struct Changes {
    stages: BTreeMap<(usize, u32), StageChange>,
    pub(crate) run_from: Option<RunStatus>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.run_from.is_none()
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = &StageChange> {
        self.stages.values()
    }
}

/// A run that has not ended.
pub(crate) struct LiveRun {
    pub(crate) run: Run,
    pub(crate) stop: Option<RunStop>,
    nodes: Vec<Node>,
    index: HashMap<StageName, usize>,
    dependants: Vec<Vec<usize>>,
    /// The latest attempt of each stage, by its place in the plan.
    latest: Vec<StageRecord>,
    lost: HashMap<usize, u32>,
    open: usize,
    changes: Changes,
}

/// How a stage came to its end.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) status: StageStatus,
    pub(crate) reason: Option<String>,
    /// The supervisor was lost: the stage itself did nothing wrong.
    pub(crate) lost: bool,
}

impl Ending {
    pub(crate) fn new(status: StageStatus, reason: impl Into<Option<String>>) -> Self {
        Self { status, reason: reason.into(), lost: false }
    }
}

impl LiveRun {
    /// A run out of its stored rows; `records` holds every attempt, in any order.
    pub(crate) fn new(run: Run, stop: Option<RunStop>, nodes: Vec<Node>, records: Vec<StageRecord>) -> Option<Self> {
        let index: HashMap<StageName, usize> = nodes.iter().enumerate().map(|(at, node)| (node.name.clone(), at)).collect();
        let mut latest: Vec<Option<StageRecord>> = vec![None; nodes.len()];
        for record in records {
            // Stages that the plan left out have a row for people, and no part in the DAG.
            let Some(&at) = index.get(&record.stage_run.stage) else { continue };
            let slot = &mut latest[at];
            if slot.as_ref().is_none_or(|present| present.stage_run.attempt < record.stage_run.attempt) {
                *slot = Some(record);
            }
        }
        let latest = latest.into_iter().collect::<Option<Vec<_>>>()?;
        let mut dependants = vec![Vec::new(); nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            for need in &node.needs {
                dependants[*index.get(need)?].push(at);
            }
        }
        let open = latest.iter().filter(|record| !record.stage_run.status.is_end()).count();
        Some(Self { run, stop, nodes, index, dependants, latest, lost: HashMap::new(), open, changes: Changes::default() })
    }

    pub(crate) fn stage(&self, at: usize) -> &StageRecord {
        &self.latest[at]
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        &self.nodes[at]
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = (usize, &StageRecord)> {
        self.latest.iter().enumerate()
    }

    /// Every stage that `at` needs, directly or not, in the order of the plan.
    pub(crate) fn upstream(&self, at: usize) -> Vec<usize> {
        let mut seen = vec![false; self.nodes.len()];
        let mut open = vec![at];
        while let Some(next) = open.pop() {
            for need in &self.nodes[next].needs {
                if let Some(&need) = self.index.get(need)
                    && !std::mem::replace(&mut seen[need], true)
                {
                    open.push(need);
                }
            }
        }
        seen.iter().enumerate().filter_map(|(at, seen)| seen.then_some(at)).collect()
    }

    /// Moves a stage on; an end brings what follows from it: another attempt, ready or skipped dependants, the run's end.
    pub(crate) fn to(&mut self, at: usize, status: StageStatus, now: Timestamp) -> Result<(), IllegalMove> {
        let from = self.latest[at].stage_run.status;
        let next = from.to(status)?;
        let attempt = self.latest[at].stage_run.attempt;
        let stage = &mut self.latest[at].stage_run;
        stage.status = next;
        match next {
            StageStatus::Queued => {
                stage.queued_at = Some(now);
                stage.started_at = None;
            }
            StageStatus::Leased => stage.started_at = stage.started_at.or(Some(now)),
            _ if next.is_end() => {
                stage.ended_at = Some(now);
                self.open -= 1;
            }
            _ => {}
        }
        let row = self.latest[at].clone();
        self.changes
            .stages
            .entry((at, attempt))
            .and_modify(|change| change.row = row.clone())
            .or_insert(StageChange { from: Some(from), row });
        if next == StageStatus::Leased && self.run.status == RunStatus::Queued {
            self.run_to(RunStatus::Running, now)?;
            self.run.started_at = Some(now);
        }
        Ok(())
    }

    /// Writes facts about a stage; they are stored with its next move.
    pub(crate) fn edit(&mut self, at: usize, edit: impl FnOnce(&mut StageRecord)) {
        let from = self.latest[at].stage_run.status;
        let attempt = self.latest[at].stage_run.attempt;
        edit(&mut self.latest[at]);
        let row = self.latest[at].clone();
        self.changes
            .stages
            .entry((at, attempt))
            .and_modify(|change| change.row = row.clone())
            .or_insert(StageChange { from: Some(from), row });
    }

    /// Ends a stage. A failed one is tried again while its spec allows and nobody stops the run.
    pub(crate) fn end(&mut self, at: usize, ending: Ending, now: Timestamp, ids: &dyn IdSource) -> Result<(), IllegalMove> {
        self.edit(at, |record| record.stage_run.status_reason.clone_from(&ending.reason));
        self.to(at, ending.status, now)?;
        let tries = self.lost.get(&at).copied().unwrap_or_default();
        let attempt = self.latest[at].stage_run.attempt;
        let again = match ending.status {
            _ if self.stop.is_some() || self.nodes[at].deploys => false,
            _ if ending.lost => tries < LOST_TRIES,
            StageStatus::Failed | StageStatus::Errored => attempt - tries.min(attempt) <= self.nodes[at].retries,
            _ => false,
        };
        if again {
            if ending.lost {
                self.lost.insert(at, tries + 1);
            }
            let mut row = self.latest[at].clone();
            let old = row.stage_run;
            row.stage_run = hookwright_core::StageRun {
                id: StageRunId::new(ids),
                run: old.run,
                stage: old.stage,
                attempt: old.attempt + 1,
                status: StageStatus::Queued,
                status_reason: ending.reason.map(|reason| format!("attempt {}: {reason}", old.attempt)),
                cache_key: None,
                cached_from: None,
                exit_code: None,
                queued_at: Some(now),
                started_at: None,
                ended_at: None,
            };
            row.outputs = None;
            row.image = None;
            row.promotion = None;
            row.tests = None;
            self.open += 1;
            self.changes.stages.insert((at, row.stage_run.attempt), StageChange { from: None, row: row.clone() });
            self.latest[at] = row;
        }
        Ok(())
    }

    /// Whether whatever needs this stage may go on.
    fn satisfied(&self, at: usize) -> bool {
        let status = self.latest[at].stage_run.status;
        status.is_success()
            || (self.nodes[at].allow_failure && matches!(status, StageStatus::Failed | StageStatus::Errored))
            || (status == StageStatus::Skipped && self.left_out(at))
    }

    /// Whether nothing will change any more in what this stage means to those that need it.
    fn settled(&self, at: usize) -> bool {
        let status = self.latest[at].stage_run.status;
        let needs_settled = || self.nodes[at].needs.iter().all(|need| self.index.get(need).is_some_and(|&need| self.settled(need)));
        status.is_end() && (status != StageStatus::Skipped || needs_settled())
    }

    /// Skipped because its `when` was false or it has nothing to do, not because something failed: it stands in nobody's way.
    fn left_out(&self, at: usize) -> bool {
        self.nodes[at].needs.iter().all(|need| self.index.get(need).is_some_and(|&need| self.satisfied(need)))
    }

    /// Draws every conclusion: stops what is to be stopped and has not begun, readies, skips, and ends the run.
    /// `may_start` is false while an older run of the branch has to end first.
    pub(crate) fn advance(&mut self, may_start: bool, now: Timestamp) -> Result<(), IllegalMove> {
        if self.run.status.is_end() {
            return Ok(());
        }
        if let Some(stop) = self.stop.clone() {
            for at in 0..self.nodes.len() {
                if matches!(self.latest[at].stage_run.status, StageStatus::Waiting | StageStatus::Queued) {
                    self.edit(at, |record| record.stage_run.status_reason = Some(stop.reason.clone()));
                    self.to(at, stop.status, now)?;
                }
            }
        } else if may_start {
            let mut look: Vec<usize> = (0..self.nodes.len()).rev().collect();
            while let Some(at) = look.pop() {
                if self.latest[at].stage_run.status != StageStatus::Waiting {
                    continue;
                }
                let needs: Vec<usize> = self.nodes[at].needs.iter().filter_map(|need| self.index.get(need).copied()).collect();
                if needs.iter().any(|&need| !self.settled(need)) {
                    continue;
                }
                if let Some(&bad) = needs.iter().find(|&&need| !self.satisfied(need)) {
                    let reason = format!("`{}`, which it needs, {}", self.nodes[bad].name, past(self.latest[bad].stage_run.status));
                    self.edit(at, |record| record.stage_run.status_reason = Some(reason));
                    self.to(at, StageStatus::Skipped, now)?;
                    look.extend(self.dependants[at].iter().copied());
                } else {
                    self.to(at, StageStatus::Queued, now)?;
                }
            }
        }
        if self.open == 0 { self.conclude(now) } else { Ok(()) }
    }

    fn conclude(&mut self, now: Timestamp) -> Result<(), IllegalMove> {
        let worst =
            [StageStatus::Errored, StageStatus::Failed, StageStatus::Canceled, StageStatus::Superseded].into_iter().find_map(|status| {
                self.latest.iter().enumerate().find(|(at, record)| record.stage_run.status == status && !self.satisfied(*at))
            });
        let (status, reason) = match worst {
            None => (RunStatus::Succeeded, self.remark()),
            Some((_, record)) => {
                let reason = record.stage_run.status_reason.clone();
                match record.stage_run.status {
                    StageStatus::Errored => (RunStatus::Errored, Some(sentence(record, reason))),
                    StageStatus::Canceled => (RunStatus::Canceled, reason),
                    StageStatus::Superseded => (RunStatus::Superseded, reason),
                    _ => (RunStatus::Failed, Some(sentence(record, reason))),
                }
            }
        };
        if self.run.status == RunStatus::Queued && status == RunStatus::Succeeded {
            self.run_to(RunStatus::Running, now)?;
        }
        self.run_to(status, now)?;
        self.run.status_reason = reason;
        self.run.ended_at = Some(now);
        Ok(())
    }

    /// What is to be said of a stage although it succeeded.
    fn remark(&self) -> Option<String> {
        let said = |record: &&StageRecord| record.stage_run.status == StageStatus::Succeeded && record.stage_run.status_reason.is_some();
        self.latest.iter().find(said).map(|record| sentence(record, record.stage_run.status_reason.clone()))
    }

    fn run_to(&mut self, status: RunStatus, _now: Timestamp) -> Result<(), IllegalMove> {
        let from = self.run.status;
        self.run.status = from.to(status)?;
        self.changes.run_from.get_or_insert(from);
        Ok(())
    }

    /// What the next transaction has to write; after it nothing is pending.
    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }
}

fn past(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Failed => "failed",
        StageStatus::Errored => "could not be carried out",
        StageStatus::Skipped => "was skipped",
        StageStatus::Canceled => "was canceled",
        StageStatus::Superseded => "was superseded",
        _ => "did not succeed",
    }
}

fn sentence(record: &StageRecord, reason: Option<String>) -> String {
    let stage = &record.stage_run.stage;
    match reason {
        Some(reason) => format!("stage `{stage}`: {reason}"),
        None => format!("stage `{stage}` {}", past(record.stage_run.status)),
    }
}
