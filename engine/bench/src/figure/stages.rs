//! What a stage costs that does nothing, with two executors and no sandbox: leased, checked out, started under its supervisor,
//! collected, and written down at each step.
//!
//! Unit: milliseconds for one stage. Targets: wall at most 5 ms and at most 6 × fork+exec+wait of `true`; the daemon's own processor time
//! above what fork+exec+wait costs its caller at most 3 ms. Floor: `true`, started and waited for 500 times, one after the other.

use anyhow::Result;

use super::{Bench, dag};
use crate::report::{Line, Section, Target};
use crate::rival;

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let stages = bench.amount(500);
    let floor = rival::start(&["true".to_owned()], stages)?;
    let cost = dag::run(bench, (stages, 20), false).await?;
    let (wall, engine) = (cost.wall.median, cost.engine.median);
    let start = "fork+exec+wait of `true`";
    section.add(Line::spread(format!("wall of each of {stages} stages"), cost.wall, "ms").target(Target::AtMost(5.0)));
    section.add(Line::new("the same against the floor", wall, "ms").against(start, floor.wall.median).target(Target::RatioAtMost(6.0)));
    section.add(Line::new("daemon's own CPU a stage, above the floor's caller", engine - floor.caller, "ms").target(Target::AtMost(3.0)));
    section.add(Line::spread("daemon's own CPU a stage", cost.engine, "ms").against("the floor's caller", floor.caller));
    section.add(Line::spread("CPU a stage of what the daemon started", cost.children, "ms"));
    section.add(Line::spread("from lease to end of a stage", cost.stage, "ms"));
    section.add(Line::spread(start, floor.wall, "ms"));
    Ok(())
}
