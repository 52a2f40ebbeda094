//! A daemon that has nothing to do, with 100 webhooks whose handlers serve in development and wait for an approval for production, and 10,000 runs in
//! its store, after a restart.
//! The handlers and their supervisors are processes of their own and not counted. The runs are copies of real ones, stored by the
//! store's own functions while no daemon runs.
//!
//! Units: MiB, milliseconds, and percent of one core. Targets: at most 30 MiB resident, 0.5 % of a core (children included), ready
//! 300 ms after the start. Floor: the same daemon on an empty data folder.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hookwright_testkit::{Daemon, WorkingCopy};

use super::Bench;
use crate::process;
use crate::report::{Line, Section, Target};
use crate::sample::{Spread, millis};
use crate::stock::Stock;

/// How often the daemon is started again to see how long that takes.
const STARTS: usize = 5;

/// What a daemon that does nothing uses.
struct Idle {
    ready: Spread,
    resident: f64,
    /// Percent of one core.
    own: f64,
    children: f64,
}

pub(crate) async fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let (webhooks, runs) = (bench.amount(100), bench.amount(10_000));
    let mut empty = bench.daemon(&[]).await;
    let floor = watch(bench, &mut empty).await?;
    drop(empty);

    let mut daemon = bench.daemon(&[("HOOKWRIGHT_SANDBOX", "off")]).await;
    deploy(bench, &daemon, webhooks).await?;
    daemon.terminate().await;
    let before = Instant::now();
    let stock = Stock::open(&daemon.data(), daemon.database()).await.context("the store cannot be opened")?;
    stock.fill_runs(runs, &[]).await.context("the store cannot be filled")?;
    drop(stock);
    eprintln!("  stored {runs} runs in {:.1} s", before.elapsed().as_secs_f64());
    daemon.restart().await;
    let idle = watch(bench, &mut daemon).await?;

    let what = "an empty daemon";
    section.add(Line::new("resident memory", idle.resident, "MiB").against(what, floor.resident).target(Target::AtMost(30.0)));
    let used = Line::new("of a core, children included", idle.own + idle.children, "%");
    section.add(used.against(what, floor.own + floor.children).target(Target::AtMost(0.5)));
    section.add(Line::new("of a core, the daemon alone", idle.own, "%").against(what, floor.own));
    let ready = Line::spread("from start to ready", idle.ready, "ms");
    section.add(ready.against(what, floor.ready.median).target(Target::AtMost(300.0)));
    Ok(())
}

/// One repository with so many webhooks, each in a folder of its own, all serving in development.
async fn deploy(bench: &Bench, daemon: &Daemon, webhooks: usize) -> Result<()> {
    let copy = WorkingCopy::new();
    for number in 0..webhooks {
        let spec = format!(
            "version: 1\nname: idle-{number}\ntitle: Idle\nhandler: {{ command: [/app/handler, {}] }}\npipeline:\n  uses: static@1\n  stages:\n    \
             compile:\n      needs: [checkout]\n      run: cp '{}' handler\n      inputs: [same.txt]\n      outputs: [handler]\n    \
             image:\n      needs: [compile]\n      image: {{ copy: {{ handler: /app/handler }} }}\n",
            crate::HANDLER,
            bench.own.display()
        );
        copy.write(&format!("services/{number}/webhook.yaml"), &spec).write(&format!("services/{number}/same.txt"), "same\n");
    }
    copy.commit("Begin");
    copy.push(daemon, "idle");
    for number in 0..webhooks {
        daemon.answers(&format!("idle-{number}"), "development", "hello").await;
    }
    Ok(())
}

/// Starts the daemon again and again, then leaves it alone and looks at what it uses.
async fn watch(bench: &Bench, daemon: &mut Daemon) -> Result<Idle> {
    let mut ready = Vec::new();
    for _ in 0..STARTS {
        daemon.terminate().await;
        ready.push(millis(daemon.restart_timed().await));
    }
    // What a start brings is over by then: adopted handlers, the first look at every repository.
    tokio::time::sleep(bench.time(Duration::from_secs(20))).await;
    let window = bench.time(Duration::from_secs(60));
    let (before, began) = (process::cpu(Some(daemon.pid()))?, Instant::now());
    tokio::time::sleep(window).await;
    let (used, passed) = (process::cpu(Some(daemon.pid()))?.since(before), began.elapsed());
    let percent = |used: Duration| used.as_secs_f64() / passed.as_secs_f64() * 100.0;
    Ok(Idle {
        ready: Spread::of(ready),
        resident: process::resident(daemon.pid())?,
        own: percent(used.own),
        children: percent(used.children),
    })
}
