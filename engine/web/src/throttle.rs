//! Holds up whoever guesses at sign-in: failures are counted per address and minute. Tokens are 256 random bits, so this protects the daemon's
//! log and time more than it protects tokens; people who mistype never meet it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

/// How many failures of an address a window takes.
const FAILURES: u32 = 10;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(60);
/// How many addresses are remembered; when there are more, those whose window is over are forgotten, and then everything is.
const ADDRESSES: usize = 10_000;

/// Failures by address.
#[derive(Default)]
pub(crate) struct Throttle {
    failures: Mutex<HashMap<Option<IpAddr>, (Duration, u32)>>,
}

impl Throttle {
    /// How long an address has to wait, if it has.
    pub(crate) fn wait(&self, address: Option<IpAddr>, now: Duration) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (since, count) = failures.get(&address)?;
        let over = *since + WINDOW;
        (*count >= FAILURES && now < over).then(|| over - now)
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, address: Option<IpAddr>, now: Duration) {
        let mut failures = self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if failures.len() >= ADDRESSES {
            failures.retain(|_, (since, _)| now < *since + WINDOW);
            if failures.len() >= ADDRESSES {
                failures.clear();
            }
        }
        let entry = failures.entry(address).or_insert((now, 0));
        if now >= entry.0 + WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_in_a_minute_are_held_up_until_it_is_over() {
        let throttle = Throttle::default();
        let (one, other) = (Some(IpAddr::from([127, 0, 0, 1])), Some(IpAddr::from([127, 0, 0, 2])));
        for second in 0..10 {
            assert_eq!(throttle.wait(one, Duration::from_secs(second)), None);
            throttle.failed(one, Duration::from_secs(second));
        }
        assert_eq!(throttle.wait(one, Duration::from_secs(10)), Some(Duration::from_secs(50)));
        assert_eq!(throttle.wait(other, Duration::from_secs(10)), None);
        assert_eq!(throttle.wait(one, Duration::from_secs(60)), None);
    }
}
