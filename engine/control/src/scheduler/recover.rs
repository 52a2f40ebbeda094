//! What the scheduler finds of a run that it does not hold yet: after a restart, or after it dropped what it held.
//! Nothing of the user runs twice unless it was lost: leased stages and engine work begin again, jobs are adopted, promotions looked at.

use hookwright_core::RunId;
use hookwright_core::port::JobState;
use hookwright_core::status::StageStatus;

use super::{Phase, Scheduler, Working};
use crate::Result;

/// Takes up every stage of the run that has begun.
pub(super) async fn run(scheduler: &mut Scheduler, run: RunId) -> Result<()> {
    let now = scheduler.deps.clock.now();
    let Some(active) = scheduler.runs.get_mut(&run) else { return Ok(()) };
    let begun: Vec<usize> = active
        .live
        .stages()
        .filter(|(_, record)| {
            matches!(record.stage_run.status, StageStatus::Leased | StageStatus::Running | StageStatus::Held | StageStatus::Unknown)
        })
        .map(|(place, _)| place)
        .collect();
    for place in begun {
        let record = active.live.stage(place);
        let (id, status, promotion) = (record.stage_run.id, record.stage_run.status, record.promotion);
        let is_job = active.context.is_job(place);
        let phase = match (status, promotion) {
            (StageStatus::Held, Some(promotion)) => Some(Phase::Held(promotion)),
            (StageStatus::Leased | StageStatus::Running | StageStatus::Unknown, _) if is_job => {
                let known = scheduler.deps.executor.poll(&id).await? != JobState::Unknown;
                if status == StageStatus::Unknown || (status == StageStatus::Leased && known) {
                    active.live.to(place, StageStatus::Running, now)?;
                }
                (known || status != StageStatus::Leased).then_some(Phase::Running { stopping: false })
            }
            _ => None,
        };
        match phase {
            Some(phase) => {
                scheduler.working.insert(id, Working { run, place, phase });
            }
            None if status == StageStatus::Held => {
                let ending = super::Ending::new(StageStatus::Errored, "it was held without a promotion".to_owned());
                active.live.end(place, ending, now, scheduler.deps.ids.as_ref())?;
            }
            None => active.live.to(place, StageStatus::Queued, now)?,
        }
    }
    Ok(())
}
