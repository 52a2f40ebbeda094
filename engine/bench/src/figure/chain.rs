//! What a stage costs when the next one waits for it: no two run at once, so this is the latency of the whole way.
//!
//! Unit: milliseconds for one stage. Target: at most 8 ms. Floor: fork+exec+wait of `true`.

use anyhow::Result;

use super::{Bench, dag};
use crate::report::{Line, Section, Target};
use crate::rival;

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let stages = bench.amount(100);
    let floor = rival::start(&["true".to_owned()], stages)?;
    let cost = dag::run(bench, (stages, 1), false).await?;
    let line = Line::spread(format!("wall of each of {stages} stages in a chain"), cost.wall, "ms");
    section.add(line.against("fork+exec+wait of `true`", floor.wall.median).target(Target::AtMost(8.0)));
    section.add(Line::spread("from lease to end of a stage", cost.stage, "ms"));
    section.add(Line::spread("daemon's own CPU a stage", cost.engine, "ms"));
    section.add(Line::spread("CPU a stage of what the daemon started", cost.children, "ms"));
    Ok(())
}
