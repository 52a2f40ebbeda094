//! Holds up whoever guesses at sign-in: tries are counted by address and by user, in windows of a minute, before anything is compared, and
//! taken back when they were right. People who mistype never meet it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(60);
/// How many keys are remembered; when there are more, those whose window is over are forgotten, and then everything is.
const KEYS: usize = 10_000;

/// Tries by key.
pub(crate) struct Throttle<K> {
    most: u32,
    tries: Mutex<HashMap<K, (Duration, u32)>>,
}

impl<K: Eq + Hash> Throttle<K> {
    /// Takes `most` tries of a key in a window.
    pub(crate) fn new(most: u32) -> Self {
        Self { most, tries: Mutex::default() }
    }

    /// Counts a try at `now`, on a monotonic clock.
    ///
    /// # Errors
    /// How long the key has to wait, when its window is full; then nothing is counted.
    pub(crate) fn begin(&self, key: K, now: Duration) -> Result<(), Duration> {
        let mut tries = self.tries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if tries.len() >= KEYS {
            tries.retain(|_, (since, _)| now < *since + WINDOW);
            if tries.len() >= KEYS {
                tries.clear();
            }
        }
        let entry = tries.entry(key).or_insert((now, 0));
        if now >= entry.0 + WINDOW {
            *entry = (now, 0);
        }
        if entry.1 >= self.most {
            return Err(entry.0 + WINDOW - now);
        }
        entry.1 += 1;
        Ok(())
    }

    /// Takes a try back: it was right.
    pub(crate) fn succeeded(&self, key: &K) {
        let mut tries = self.tries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, count)) = tries.get_mut(key) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_in_a_minute_are_held_up_until_it_is_over_and_successes_are_not_counted() {
        let throttle = Throttle::new(10);
        for second in 0..10 {
            assert_eq!(throttle.begin("one", Duration::from_secs(second)), Ok(()));
            assert_eq!(throttle.begin("other", Duration::from_secs(second)), Ok(()));
            throttle.succeeded(&"other");
        }
        assert_eq!(throttle.begin("one", Duration::from_secs(10)), Err(Duration::from_secs(50)));
        assert_eq!(throttle.begin("other", Duration::from_secs(10)), Ok(()));
        assert_eq!(throttle.begin("one", Duration::from_secs(60)), Ok(()));
    }
}
