//! Floors: what the machine needs for the bare thing, without any engine around it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process;
use crate::sample::{Spread, millis};

/// What starting a program and waiting for its end costs.
pub(crate) struct Start {
    /// From before the start to after the wait, one after the other, in milliseconds.
    pub(crate) wall: Spread,
    /// Processor time that the caller itself spends on one, in milliseconds; the program's own is not in it.
    pub(crate) caller: f64,
}

/// Starts a program `times` times, one after the other, and waits for each.
pub(crate) fn start(words: &[String], times: usize) -> Result<Start> {
    let (program, arguments) = words.split_first().context("no program is named")?;
    let mut samples = Vec::new();
    let before = process::thread_cpu()?;
    for _ in 0..times {
        let began = Instant::now();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().with_context(|| format!("`{program}` cannot be started"))?;
        samples.push(millis(began.elapsed()));
        ensure!(status.success(), "`{}` ends with {status}", words.join(" "));
    }
    let caller = millis(process::thread_cpu()?.saturating_sub(before)) / times as f64;
    Ok(Start { wall: Spread::of(samples), caller })
}

/// The wall time per start when `at_once` threads start programs at the same time, in milliseconds.
pub(crate) fn start_at_once(words: &[String], times: usize, at_once: usize) -> Result<f64> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(|| start(words, times / at_once).map(drop))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    Ok(millis(began.elapsed()) / (times / at_once * at_once) as f64)
}

/// Processor time of one run of a command, its own and that of what it starts, over `times` runs.
pub(crate) fn cpu(mut command: impl FnMut() -> Command, times: u32) -> Result<Duration> {
    let before = process::cpu(None)?;
    for _ in 0..times {
        let status = command().stdin(Stdio::null()).stdout(Stdio::null()).status().context("a rival cannot be started")?;
        ensure!(status.success(), "a rival ends with {status}");
    }
    Ok(process::cpu(None)?.since(before).total() / times)
}
