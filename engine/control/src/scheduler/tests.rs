//! The decisions of one run, without a store: order, failure, retry, stopping.

use std::sync::atomic::{AtomicU64, Ordering};

use hookwright_core::status::{RunStatus, StageStatus};
use hookwright_core::{IdSource, RevisionId, Run, RunId, RunReason, StageName, StageRun, StageRunId, Timestamp, WebhookName};
use hookwright_store::{RunStop, StageRecord};

use super::{Ending, LiveRun, Node};

#[derive(Default)]
struct Numbers(AtomicU64);

impl IdSource for Numbers {
    fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

const NOW: Timestamp = Timestamp::from_millis(1);

fn live(ids: &Numbers, stages: &[(&str, &[&str], u32)]) -> LiveRun {
    let name = |text: &str| StageName::new(text).expect("a valid name");
    let run = Run {
        id: RunId::new(ids),
        number: 1,
        webhook: WebhookName::new("hello").expect("a valid name"),
        revision: RevisionId::new(ids),
        reason: RunReason::Revision,
        plan_digest: None,
        trusted: true,
        status: RunStatus::Queued,
        status_reason: None,
        superseded_by: None,
        created_at: NOW,
        started_at: None,
        ended_at: None,
    };
    let record = |stage: &str| StageRecord {
        stage_run: StageRun {
            id: StageRunId::new(ids),
            run: run.id,
            stage: name(stage),
            attempt: 1,
            status: StageStatus::Waiting,
            status_reason: None,
            cache_key: None,
            cached_from: None,
            exit_code: None,
            queued_at: None,
            started_at: None,
            ended_at: None,
        },
        position: 0,
        outputs: None,
        image: None,
        promotion: None,
        tests: None,
    };
    let records = stages.iter().map(|(stage, _, _)| record(stage)).collect();
    let node = |(stage, needs, retries): &(&str, &[&str], u32)| Node {
        name: name(stage),
        needs: needs.iter().map(|need| name(need)).collect(),
        retries: *retries,
        allow_failure: false,
        deploys: false,
    };
    LiveRun::new(run.clone(), None, stages.iter().map(node).collect(), records).expect("rows fit the plan")
}

fn statuses(live: &LiveRun) -> Vec<StageStatus> {
    live.stages().map(|(_, record)| record.stage_run.status).collect()
}

fn finish(live: &mut LiveRun, ids: &Numbers, at: usize, status: StageStatus) {
    live.to(at, StageStatus::Leased, NOW).expect("a legal move");
    live.end(at, Ending::new(status, None), NOW, ids).expect("a legal move");
    live.advance(true, NOW).expect("legal moves");
}

#[test]
fn a_stage_is_ready_when_all_it_needs_has_succeeded() {
    let ids = Numbers::default();
    let mut live = live(&ids, &[("a", &[], 0), ("b", &["a"], 0), ("c", &["a", "b"], 0)]);
    live.advance(true, NOW).expect("legal moves");
    assert_eq!(statuses(&live), [StageStatus::Queued, StageStatus::Waiting, StageStatus::Waiting]);
    finish(&mut live, &ids, 0, StageStatus::Succeeded);
    assert_eq!(statuses(&live), [StageStatus::Succeeded, StageStatus::Queued, StageStatus::Waiting]);
    finish(&mut live, &ids, 1, StageStatus::Cached);
    finish(&mut live, &ids, 2, StageStatus::Succeeded);
    assert_eq!(live.run.status, RunStatus::Succeeded);
}

#[test]
fn what_needs_a_failed_stage_is_skipped_and_the_run_fails() {
    let ids = Numbers::default();
    let mut live = live(&ids, &[("a", &[], 0), ("b", &["a"], 0), ("c", &["b"], 0)]);
    live.advance(true, NOW).expect("legal moves");
    finish(&mut live, &ids, 0, StageStatus::Failed);
    assert_eq!(statuses(&live), [StageStatus::Failed, StageStatus::Skipped, StageStatus::Skipped]);
    assert_eq!(live.run.status, RunStatus::Failed);
}

#[test]
fn a_failed_stage_is_tried_again_as_a_new_attempt() {
    let ids = Numbers::default();
    let mut live = live(&ids, &[("a", &[], 1)]);
    live.advance(true, NOW).expect("legal moves");
    finish(&mut live, &ids, 0, StageStatus::Failed);
    assert_eq!((live.stage(0).stage_run.attempt, live.stage(0).stage_run.status), (2, StageStatus::Queued));
    finish(&mut live, &ids, 0, StageStatus::Failed);
    assert_eq!(live.run.status, RunStatus::Failed);
}

#[test]
fn a_superseded_run_begins_nothing_more() {
    let ids = Numbers::default();
    let mut live = live(&ids, &[("a", &[], 0), ("b", &["a"], 0)]);
    live.stop = Some(RunStop { status: StageStatus::Superseded, reason: "overtaken".to_owned() });
    live.advance(true, NOW).expect("legal moves");
    assert_eq!(live.run.status, RunStatus::Superseded);
}
