//! How large the binary is, which is everything one installs.
//!
//! Unit: MB (10⁶ bytes). Target: at most 40 MB. Floor: the stock git client, which is one of what is needed beside it.

use anyhow::{Context, Result};

use super::Bench;
use crate::machine;
use crate::report::{Line, Section, Target};

fn megabytes(file: &std::path::Path) -> Result<f64> {
    let metadata = file.metadata().with_context(|| format!("`{}` cannot be looked at", file.display()))?;
    Ok(metadata.len() as f64 / 1e6)
}

pub(crate) fn measure(bench: &Bench, section: &mut Section) -> Result<()> {
    let line = Line::new("the binary", megabytes(&bench.binary)?, "MB");
    let line = match machine::program("git") {
        Some(git) => line.against("the git client", megabytes(&git)?),
        None => line,
    };
    section.add(line.target(Target::AtMost(40.0)));
    Ok(())
}
