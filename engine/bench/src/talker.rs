//! The writer behind the log's figure: a stage that writes so many lines a second, each with the time at which it was written.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::figure::now_millis;

/// The mark before a time, and behind it.
pub(crate) const MARK: char = '@';
/// How often it writes, so that lines come evenly.
const STEP: Duration = Duration::from_millis(10);

/// Writes; its arguments are how many lines a second, and for how many seconds.
pub(crate) fn main() -> Result<()> {
    let number = |place: usize| std::env::args().nth(place).and_then(|text| text.parse::<u64>().ok());
    let (rate, seconds) = (number(2).context("how many lines a second?")?, number(3).context("for how many seconds?")?);
    let (began, mut written, mut out) = (Instant::now(), 0, std::io::stdout().lock());
    while written < rate * seconds {
        let due = (began.elapsed().as_micros() as u64 * rate / 1_000_000).min(rate * seconds);
        let now = now_millis() as u64;
        while written < due {
            writeln!(out, "line {written} {MARK}{now}{MARK} compiling a module that has a name of the usual length")?;
            written += 1;
        }
        out.flush()?;
        std::thread::sleep(STEP);
    }
    Ok(())
}
