//! From the moment `git push` is started to the Python example answering in development with the pushed commit.
//!
//! Unit: milliseconds. Targets: p50 at most 1,500 ms on a daemon that has never seen it, at most 800 ms when only a comment changed.
//! Rival: the same files by `git clone`, `docker build` and `docker run`, where docker answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hookwright_testkit::{Daemon, WorkingCopy};

use super::{Bench, PATIENCE, docker, workspace};
use crate::machine;
use crate::report::{Line, Section, Target};
use crate::sample::{Spread, millis};

const NAME: &str = "hello-python";

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    if machine::program("python3").is_none() {
        section.skip("everything: python3 is not installed");
        return Ok(());
    }
    let example = workspace().join("examples").join(NAME);
    ensure!(example.is_dir(), "the example is gone from `{}`", example.display());
    let client = reqwest::Client::new();
    let (mut cold, mut comment) = (Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..bench.amount(5) {
        let daemon = bench.daemon(&[]).await;
        let copy = WorkingCopy::of(&example);
        let commit = copy.commit("Begin");
        cold.push(pushed(&client, (&daemon, &copy), &commit).await?);
        last = Some((daemon, copy));
    }
    let (daemon, copy) = last.context("nothing was deployed")?;
    let text = std::fs::read_to_string(copy.path().join("server.py")).context("the example has no server.py")?;
    for change in 0..bench.amount(20) {
        let commit = copy.write("server.py", &format!("# Change {change}.\n{text}")).commit("Comment");
        comment.push(pushed(&client, (&daemon, &copy), &commit).await?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(daemon);
    let rival = docker::measure(bench, &example).await?;
    let (cold, comment) = (Spread::of(cold), Spread::of(comment));
    let mut cold_line = Line::spread("push to answer, cold", cold, "ms");
    let mut comment_line = Line::spread("push to answer, only a comment changed", comment, "ms");
    match rival {
        docker::Rival::Measured(rival) => {
            let what = "git clone, docker build, docker run";
            cold_line = cold_line.against(what, rival.cold.median);
            comment_line = comment_line.against(what, rival.comment.median);
        }
        docker::Rival::Missing(why) => section.skip(format!("docker beside it: {why}")),
    }
    section.add(cold_line.target(Target::AtMost(1500.0)));
    section.add(comment_line.target(Target::AtMost(800.0)));
    Ok(())
}

/// Pushes, and waits until development answers with the commit.
async fn pushed(client: &reqwest::Client, (daemon, copy): (&Daemon, &WorkingCopy), commit: &str) -> Result<f64> {
    let began = Instant::now();
    copy.push(daemon, NAME);
    let url = format!("{}/w/{NAME}/development/", daemon.address());
    answered(client, &url, &commit[..7], began).await.with_context(|| daemon.log())
}

/// Milliseconds from `began` until the address answers 200 with a text that contains `needle`.
pub(super) async fn answered(client: &reqwest::Client, url: &str, needle: &str, began: Instant) -> Result<f64> {
    loop {
        if let Ok(answer) = client.get(url).send().await
            && answer.status().is_success()
            && answer.text().await.is_ok_and(|text| text.contains(needle))
        {
            return Ok(millis(began.elapsed()));
        }
        ensure!(began.elapsed() < PATIENCE, "`{url}` does not answer with `{needle}`");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
