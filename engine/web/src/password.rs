//! Passwords of people, as far as requests are concerned: what one has to be, and hashing away from the threads that serve.

use std::sync::Arc;

use hookwright_core::SecretValue;
use tokio::sync::Semaphore;

use crate::error::{Problem, Result};

/// How many are hashed at the same time: each takes 19 MiB and a core for tens of milliseconds.
const AT_ONCE: usize = 2;
/// The fewest and the most characters (NIST SP 800-63B asks for length and nothing else).
const LENGTH: std::ops::RangeInclusive<usize> = 12..=256;

/// Hashes and compares.
#[derive(Clone)]
pub(crate) struct Passwords {
    slots: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Passwords {
    /// Refuses what is no password for this user.
    pub(crate) fn check(user: &str, password: &SecretValue) -> Result<()> {
        let text = password.expose();
        if !LENGTH.contains(&text.chars().count()) || text.trim().is_empty() {
            return Err(Problem::invalid(format!("a password has {} to {} characters; a few words do well", LENGTH.start(), LENGTH.end())));
        }
        if text.to_lowercase().contains(&user.to_lowercase()) && user.chars().count() * 2 > text.chars().count() {
            return Err(Problem::invalid("a password must not be the name of its user; take a few words instead"));
        }
        Ok(())
    }

    /// Its hash.
    pub(crate) async fn hash(&self, password: SecretValue) -> Result<String> {
        Ok(self.aside(move || hookwright_store::hash_password(&password)).await??)
    }

    /// Whether it is the one of the hash; as slow without a hash.
    pub(crate) async fn is_right(&self, password: SecretValue, hash: Option<String>) -> Result<bool> {
        self.aside(move || hookwright_store::is_password(&password, hash.as_deref())).await
    }

    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        done.await.map_err(|cause| Problem::ours(&cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_not_the_users_name() {
        let is_taken = |text: &str| Passwords::check("rosalinda.garcia", &SecretValue::new(text)).is_ok();
        assert!(is_taken("three words do"));
        for text in ["short", "            ", "Rosalinda.Garcia1", &"x".repeat(257)] {
            assert!(!is_taken(text), "{text}");
        }
    }
}
