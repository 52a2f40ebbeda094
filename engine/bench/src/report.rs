//! What was measured, for people and as JSON: a value, what it is compared with, the target and whether it was met.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::sample::Spread;

/// What a value should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The value itself at most so much.
    AtMost(f64),
    /// The value divided by what it is compared with, at most.
    RatioAtMost(f64),
    /// The value divided by what it is compared with, at least.
    RatioAtLeast(f64),
}

/// A floor or a rival, measured in the same run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Against {
    /// What it is.
    pub(crate) what: String,
    /// In the unit of the line.
    pub(crate) value: f64,
}

/// One measured quantity.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    what: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

impl Line {
    /// A value with its unit.
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, spread: None, against: None, ratio: None, target: None, met: None }
    }

    /// The median of samples, with their spread.
    pub(crate) fn spread(what: impl Into<String>, spread: Spread, unit: &'static str) -> Self {
        Self { spread: Some(spread), ..Self::new(what, spread.median, unit) }
    }

    /// What it is compared with, in the same unit. There is no ratio to nothing.
    pub(crate) fn against(mut self, what: impl Into<String>, value: f64) -> Self {
        self.ratio = (value > 0.0).then_some(self.value / value);
        self.against = Some(Against { what: what.into(), value });
        self
    }

    /// What it should be; a ratio's target is given after [`against`](Self::against).
    pub(crate) fn target(mut self, target: Target) -> Self {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        self.met = Some(match target {
            Target::AtMost(limit) => self.value <= limit,
            Target::RatioAtMost(limit) => ratio <= limit,
            Target::RatioAtLeast(limit) => ratio >= limit,
        });
        self.target = Some(target);
        self
    }
}

/// A number with as many digits as say something.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, value, unit, .. } = self;
        write!(f, "  {what:<58} {:>9} {unit:<5}", rounded(*value))?;
        match (self.target, self.met) {
            (Some(target), Some(met)) => {
                let target = match target {
                    Target::AtMost(limit) => format!("≤ {} {unit}", rounded(limit)),
                    Target::RatioAtMost(limit) => format!("≤ {} ×", rounded(limit)),
                    Target::RatioAtLeast(limit) => format!("≥ {} ×", rounded(limit)),
                };
                write!(f, " {:<6} {target:<12}", if met { "met" } else { "MISSED" })?;
            }
            _ => write!(f, " {:19}", "")?,
        }
        if let Some(Against { what, value }) = &self.against {
            let ratio = self.ratio.map_or_else(|| "beside".to_owned(), |ratio| format!("{} × of", rounded(ratio)));
            write!(f, " {ratio} {what} ({} {unit})", rounded(*value))?;
        }
        if let Some(spread) = self.spread {
            let Spread { min, median, p99, samples } = spread;
            write!(f, "  [min {}, median {}, p99 {} of {samples}]", rounded(min), rounded(median), rounded(p99))?;
        }
        Ok(())
    }
}

/// A figure: its lines, and what was left out and why.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Section {
    name: &'static str,
    about: &'static str,
    lines: Vec<Line>,
    /// What was not measured, with the reason and what to do.
    skipped: Vec<String>,
    /// Why it could not be measured to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broken: Option<String>,
    /// How long measuring took.
    pub(crate) seconds: f64,
}

impl Section {
    /// An empty one.
    pub(crate) fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about, lines: Vec::new(), skipped: Vec::new(), broken: None, seconds: 0.0 }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Says what is not measured, and why.
    pub(crate) fn skip(&mut self, what: impl Into<String>) {
        self.skipped.push(what.into());
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} — {}", self.name, self.about)?;
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        for skipped in &self.skipped {
            writeln!(f, "  skipped: {skipped}")?;
        }
        if let Some(broken) = &self.broken {
            writeln!(f, "  BROKEN: {broken}")?;
        }
        Ok(())
    }
}

/// Everything of one run.
#[derive(Serialize)]
pub(crate) struct Report {
    /// What it was measured on.
    pub(crate) machine: BTreeMap<&'static str, String>,
    #[serde(rename = "figures")]
    /// The figures, in their order.
    pub(crate) sections: Vec<Section>,
}

impl Report {
    /// How many targets were met, in a line.
    pub(crate) fn verdict(&self) -> String {
        let verdicts = || self.sections.iter().flat_map(|section| &section.lines).filter_map(|line| line.met);
        let (met, all) = (verdicts().filter(|met| *met).count(), verdicts().count());
        let broken = self.sections.iter().filter(|section| section.broken.is_some()).count();
        format!("{met} of {all} targets met, {broken} figures broken")
    }
}

/// What it was measured on; sections are printed as they come.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, value) in &self.machine {
            writeln!(f, "{what:12} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_held_against_its_target_and_a_missed_one_is_said() {
        let slow = Line::new("wall", 7.0, "ms").against("the floor", 1.0).target(Target::RatioAtMost(6.0));
        assert!(slow.to_string().contains("MISSED ≤ 6.00 ×"), "{slow}");
        let fast = Line::new("requests", 90.0, "/s").against("a rival", 100.0).target(Target::RatioAtLeast(0.8));
        assert!(fast.to_string().contains("met"), "{fast}");
    }

    #[test]
    fn a_ratio_without_anything_to_compare_with_is_never_met() {
        assert_eq!(Line::new("wall", 7.0, "ms").target(Target::RatioAtMost(6.0)).met, Some(false));
    }
}
