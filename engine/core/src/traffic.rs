//! What passed to a deployment's handler in some stretch of time: how many requests, how many went wrong, how long they took.

use std::time::Duration;

/// The upper bounds of the classes of latency, in milliseconds; one more class holds what took longer.
pub const LATENCY_BOUNDS: [u64; 10] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];

/// Requests of a stretch of time; stretches add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that were for the handler, deliveries of events among them.
    pub requests: u64,
    /// Those of them that ended with a status of 500 or more, whether the handler's or the gateway's own, or without any.
    pub errors: u64,
    /// Requests by the class of the time until the answer began.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
}

impl Traffic {
    /// The class of a time.
    pub fn class(took: Duration) -> usize {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        LATENCY_BOUNDS.iter().position(|bound| millis <= *bound).unwrap_or(LATENCY_BOUNDS.len())
    }

    /// Whether nothing passed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another stretch.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        for (own, more) in self.latency.iter_mut().zip(other.latency) {
            *own += more;
        }
    }

    /// The latency, in milliseconds, that `share` of the requests (0.0 to 1.0) did not pass: the bound of the class it falls in. `None` without
    /// requests, and for what took longer than the last bound.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let all: u64 = self.latency.iter().sum();
        let mut below = 0;
        let (place, _) = self.latency.iter().enumerate().find(|(_, count)| {
            below += **count;
            all > 0 && below as f64 >= share * all as f64
        })?;
        LATENCY_BOUNDS.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_bounds_of_classes_and_unknown_without_requests() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.quantile(0.5), None);
        for (millis, count) in [(3, 90), (40, 9), (60_000, 1)] {
            traffic.latency[Traffic::class(Duration::from_millis(millis))] += count;
        }
        assert_eq!((traffic.quantile(0.5), traffic.quantile(0.95), traffic.quantile(1.0)), (Some(5), Some(50), None));
    }
}
