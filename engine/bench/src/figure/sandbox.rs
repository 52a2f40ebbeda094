//! What a stage costs that does nothing in the sandbox, with two executors.
//!
//! Unit: milliseconds for one stage. Target: wall at most 1.5 × the sandbox's own start. Floor: bubblewrap with the namespaces and the
//! folders that stages are given, around `true`, one after the other.

use anyhow::Result;

use super::{Bench, dag};
use crate::report::{Line, Section, Target};
use crate::{machine, rival};

/// What stages see of the machine; those that are missing are left out.
const HOST: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/ssl"];

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let Some(bwrap) = machine::program("bwrap") else {
        section.skip("everything: bubblewrap is not installed; `apt-get install bubblewrap`");
        return Ok(());
    };
    let mut words = vec![bwrap.display().to_string()];
    words.extend(["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts"].map(str::to_owned));
    words.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"].map(str::to_owned));
    words.extend(HOST.iter().flat_map(|folder| ["--ro-bind-try", folder, folder]).map(str::to_owned));
    words.extend(["--", "true"].map(str::to_owned));
    let stages = bench.amount(200);
    let floor = match rival::start(&words, stages) {
        Ok(floor) => floor,
        Err(failure) => {
            section.skip(format!("everything: this machine does not let bubblewrap start: {failure:#}"));
            return Ok(());
        }
    };
    let both = rival::start_at_once(&words, stages, 2)?;
    let cost = dag::run(bench, (stages, 20), true).await?;
    let line = Line::spread(format!("wall of each of {stages} sandboxed stages"), cost.wall, "ms");
    section.add(line.against("`bwrap … true`", floor.wall.median).target(Target::RatioAtMost(1.5)));
    section.add(Line::new("the same against two at once", cost.wall.median, "ms").against("`bwrap … true`, two at once", both));
    section.add(Line::spread("daemon's own CPU a stage", cost.engine, "ms"));
    section.add(Line::spread("CPU a stage of what the daemon started", cost.children, "ms"));
    section.add(Line::spread("`bwrap … true`", floor.wall, "ms"));
    Ok(())
}
