//! What the kernel says of a process, by `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// How many ticks `/proc` counts in a second; the same on every Linux since 2.6.
const TICKS: u64 = 100;

/// Processor time used so far, user and system together; exact to ten milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// By the process itself.
    pub(crate) own: Duration,
    /// By its children that have ended and were waited for, and by theirs.
    pub(crate) children: Duration,
}

impl Cpu {
    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { own: self.own.saturating_sub(before.own), children: self.children.saturating_sub(before.children) }
    }

    /// Both together.
    pub(crate) fn total(self) -> Duration {
        self.own + self.children
    }
}

/// Of a process; `None` for this one.
pub(crate) fn cpu(pid: Option<u32>) -> Result<Cpu> {
    let name = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let text = std::fs::read_to_string(format!("/proc/{name}/stat")).with_context(|| format!("process {name} is gone"))?;
    // The second field may hold blanks; what follows it begins with the third.
    let fields: Vec<&str> = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |place: usize| fields.get(place - 3).and_then(|field| field.parse::<u64>().ok()).context("`/proc` has another form");
    let time = |user: usize| Ok::<_, anyhow::Error>(Duration::from_millis((ticks(user)? + ticks(user + 1)?) * 1000 / TICKS));
    Ok(Cpu { own: time(14)?, children: time(16)? })
}

/// Processor time of the calling thread, exact to the kernel's clock.
pub(crate) fn thread_cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("the kernel keeps no scheduler statistics")?;
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).context("`schedstat` has another form")?;
    Ok(Duration::from_nanos(nanos))
}

/// The children of a process that its first thread started.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).with_context(|| format!("process {pid} is gone"))?;
    text.split_whitespace().map(|child| child.parse().context("`/proc` has another form")).collect()
}

/// Resident memory in MiB.
pub(crate) fn resident(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("`/proc` does not say what is resident")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().context("`VmRSS` has another form")?;
    Ok(kib / 1024.0)
}
