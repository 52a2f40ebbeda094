//! Samples of one quantity, and what is said about them.

use std::time::Duration;

use serde::Serialize;

/// How samples are spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The smallest.
    pub(crate) min: f64,
    /// Half are no larger.
    pub(crate) median: f64,
    /// 99 of a hundred are no larger; with fewer than a hundred the largest.
    pub(crate) p99: f64,
    /// How many there are.
    pub(crate) samples: usize,
}

impl Spread {
    /// Of samples in any order; of none everything is not a number.
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (samples.len() as f64 * part).ceil() as usize;
            samples.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Self { min: at(0.0), median: at(0.5), p99: at(0.99), samples: samples.len() }
    }
}

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_samples_that_were_taken() {
        let spread = Spread::of((1..=200).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { min: 1.0, median: 100.0, p99: 198.0, samples: 200 });
        assert_eq!(Spread::of(vec![7.0]), Spread { min: 7.0, median: 7.0, p99: 7.0, samples: 1 });
    }
}
