//! What a stage costs that does nothing in the sandbox, with two executors.
//!
//! Unit: milliseconds for one stage. Target: wall at most 1.5 × the sandbox's own start. Floors, each around `true`: the sandbox of stages, which is
//! bubblewrap with the very arguments that a stage was given, and a smaller one with what any program of the system needs.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hookwright_testkit::{Daemon, WorkingCopy};

use super::{Bench, PATIENCE, dag, run_ended};
use crate::report::{Line, Section, Target};
use crate::{machine, rival};

/// What the small sandbox sees of the machine; those that are missing are left out.
const HOST: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/ssl"];

/// A stage that waits until a file is there.
const WAITING: &str = "version: 1\nname: waiting\nhandler: { command: [\"true\"] }\npipeline:\n  uses: static@1\n  stages:\n    \
                       image: { when: \"false\" }\n    deploy: { when: \"false\" }\n    \
                       wait: { needs: [checkout], run: \"while [ ! -e go ]; do sleep 0.05; done\" }\n";

/// What `true` takes in a sandbox, in milliseconds.
struct Floor {
    start: rival::Start,
    at_once: f64,
}

impl Floor {
    fn of(words: &[String], times: usize) -> Result<Self> {
        Ok(Self { start: rival::start(words, times)?, at_once: rival::start_at_once(words, times, 2)? })
    }
}

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let Some(bwrap) = machine::program("bwrap") else {
        section.skip("everything: bubblewrap is not installed; `apt-get install bubblewrap`");
        return Ok(());
    };
    let stages = bench.amount(200);
    let small = match Floor::of(&small(&bwrap), stages) {
        Ok(floor) => floor,
        Err(failure) => {
            section.skip(format!("everything: this machine does not let bubblewrap start: {failure:#}"));
            return Ok(());
        }
    };
    let own = own(bench, stages).await?;
    let cost = dag::run(bench, (stages, 20), true).await?;
    let wall = cost.wall.median;
    let line = Line::spread(format!("wall of each of {stages} sandboxed stages"), cost.wall, "ms");
    section.add(line.against("`true` in the same sandbox", own.start.wall.median).target(Target::RatioAtMost(1.5)));
    let again = |floor, value| Line::new("the same against another floor", wall, "ms").against(floor, value);
    section.add(again("`true` in the same sandbox, two at once", own.at_once));
    section.add(again("`true` in a smaller sandbox", small.start.wall.median));
    section.add(again("`true` in a smaller sandbox, two at once", small.at_once));
    section.add(Line::spread("daemon's own CPU a stage", cost.engine, "ms"));
    section.add(Line::spread("CPU a stage of what the daemon started", cost.children, "ms"));
    section.add(Line::spread("bwrap with a stage's own arguments, `… -- true`", own.start.wall, "ms"));
    section.add(Line::spread(format!("bwrap with {} folders, `… -- true`", HOST.len()), small.start.wall, "ms"));
    Ok(())
}

/// The namespaces of a stage and the programs of the system.
fn small(bwrap: &Path) -> Vec<String> {
    let mut words = vec![bwrap.display().to_string()];
    words.extend(["--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts"].map(str::to_owned));
    words.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"].map(str::to_owned));
    words.extend(HOST.iter().flat_map(|folder| ["--ro-bind-try", folder, folder]).map(str::to_owned));
    words.extend(["--", "true"].map(str::to_owned));
    words
}

/// The sandbox of a stage, measured while the stage waits: its folders are there as long as it is.
async fn own(bench: &Bench, times: usize) -> Result<Floor> {
    let daemon = bench.daemon(&[("HOOKWRIGHT_SANDBOX", "required")]).await;
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", WAITING).commit("Wait");
    copy.push(&daemon, "waiting");
    let mut words = sandbox_of(&daemon).await?;
    let command = words.iter().position(|word| word == "--").context("bubblewrap was given no command")?;
    let workspace = words.windows(2).find_map(|pair| (pair[0] == "--chdir").then(|| pair[1].clone())).context("no working directory")?;
    words.truncate(command + 1);
    words.push("true".to_owned());
    let floor = Floor::of(&words, times);
    fs::write(Path::new(&workspace).join("go"), "")?;
    run_ended(&daemon, "waiting", 1).await?;
    floor
}

/// The words that a daemon started bubblewrap with, which the kernel knows as long as it runs.
async fn sandbox_of(daemon: &Daemon) -> Result<Vec<String>> {
    let (data, begun) = (daemon.data().display().to_string(), Instant::now());
    while begun.elapsed() < PATIENCE {
        for process in fs::read_dir("/proc")?.flatten() {
            // What has ended meanwhile has no words.
            let text = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let words: Vec<String> = text
                .split(|byte| *byte == 0)
                .filter(|word| !word.is_empty())
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            if words.first().is_some_and(|program| program.ends_with("bwrap")) && words.iter().any(|word| word.starts_with(&data)) {
                return Ok(words);
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    bail!("no stage begins in a sandbox:\n{}", daemon.log())
}
