//! What it costs to watch 1,000 remotes that are folders of this machine and do not change, each polled every 30 s.
//! The daemon reads a quiet remote ever less often, its interval growing by a fifth each time: 25 s are set, and the window begins when each
//! has been read once more, so that the readings within it are 30 to 33 s apart.
//!
//! Unit: percent of one core, the daemon and everything it started together. Target: at most 20 %.
//! Floor: one `git ls-remote` for each, every 30 s.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::json;

use super::{Bench, PATIENCE};
use crate::report::{Line, Section, Target};
use crate::{process, rival};

/// How often a remote is to be polled.
const INTERVAL: Duration = Duration::from_secs(30);
/// The setting with which the second interval of a quiet remote is that.
const SETTING: &str = "25s";
/// In which the first interval of every remote is over.
const FIRST: Duration = Duration::from_millis(27_500);

/// How many remotes have been read; the list comes in pages.
async fn taken_in_of(daemon: &Daemon) -> Result<usize> {
    let (mut count, mut path) = (0, "/api/v1/repositories?limit=200".to_owned());
    loop {
        let list = daemon.get(&path).await;
        let items = list["items"].as_array().context("a list of repositories")?;
        count += items.iter().filter(|one| one["default_branch"].is_string()).count();
        let Some(cursor) = list["next_cursor"].as_str() else { return Ok(count) };
        path = format!("/api/v1/repositories?limit=200&cursor={cursor}");
    }
}

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let remotes = bench.amount(1000);
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let copy = WorkingCopy::new();
    copy.write("README.md", "Nothing to build here.\n").commit("Begin");
    let model = folder.path().join("0.git");
    copy.git(&["clone", "--quiet", "--bare", &copy.path().display().to_string(), &model.display().to_string()]);
    for number in 1..remotes {
        let copied = Command::new("cp").arg("-R").arg(&model).arg(folder.path().join(format!("{number}.git"))).status();
        ensure!(copied.context("cp cannot be started")?.success(), "a repository cannot be copied");
    }
    let address = format!("file://{}", model.display());
    let list = || {
        let mut command = Command::new("git");
        command.args(["ls-remote", "--symref", "--", &address]);
        command
    };
    let floor = rival::cpu(list, 100)?.as_secs_f64() * remotes as f64 / INTERVAL.as_secs_f64() * 100.0;

    let daemon = bench.daemon(&[("HOOKWRIGHT_GIT_POLL_INTERVAL", SETTING)]).await;
    let began = Instant::now();
    for number in 0..remotes {
        let url = format!("file://{}/{number}.git", folder.path().display());
        daemon.post("/api/v1/repositories", json!({ "name": format!("remote-{number}"), "url": url })).await;
    }
    let pid = daemon.pid();
    let start = process::cpu(Some(pid))?;
    loop {
        if taken_in_of(&daemon).await? == remotes {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "the remotes are not taken in:\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let taken_in = process::cpu(Some(pid))?.since(start);
    section.add(Line::new(format!("until {remotes} new remotes are taken in"), began.elapsed().as_secs_f64(), "s"));
    section.add(Line::new("CPU for taking them in, children included", taken_in.total().as_secs_f64(), "s"));

    tokio::time::sleep(FIRST).await;
    let (before, began) = (process::cpu(Some(pid))?, Instant::now());
    tokio::time::sleep(INTERVAL).await;
    let (used, passed) = (process::cpu(Some(pid))?.since(before), began.elapsed().as_secs_f64());
    let percent = |used: Duration| used.as_secs_f64() / passed * 100.0;
    let line = Line::new(format!("of a core for {remotes} quiet remotes"), percent(used.total()), "%");
    section.add(line.against("`git ls-remote` for each", floor).target(Target::AtMost(20.0)));
    section.add(Line::new("of a core, the daemon alone", percent(used.own), "%"));
    Ok(())
}
