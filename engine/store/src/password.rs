//! Passwords of people: stored as Argon2id (RFC 9106) in PHC format, with the cost that OWASP recommends (19 MiB, two passes, one lane).
//! Both functions take tens of milliseconds of a core; callers keep them off the threads that serve.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use hookwright_core::SecretValue;

use crate::{Error, Result};

/// A hash that nothing is known to match: what is compared for people whom nobody knows, so that the time tells nothing.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg5MDEyMzQ1Ng$ZG7Jb7C0Y0nNLlJw1ZmQj2e2ZzS1k4v2m0p3m5u0x9E";

/// Hashes a password with a salt of its own.
///
/// # Errors
/// [`Error::Key`] when the system gives no randomness.
pub fn hash_password(password: &SecretValue) -> Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| Error::Key { message: format!("the system gives no randomness: {error}") })?;
    let hashed = Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt);
    hashed.map(|hash| hash.to_string()).map_err(|error| Error::Key { message: format!("the password cannot be hashed: {error}") })
}

/// Whether the password is the one of the hash. Without a hash it takes as long and is never right.
pub fn is_password(password: &SecretValue, hash: Option<&str>) -> bool {
    let known = hash.and_then(|hash| PasswordHash::new(hash).ok());
    let Some(compared) = known.clone().or_else(|| PasswordHash::new(NOBODY).ok()) else { return false };
    let matches = Argon2::default().verify_password(password.expose().as_bytes(), &compared).is_ok();
    matches && known.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_and_no_other_and_nobody_has_one() {
        let (one, other) = (SecretValue::new("correct horse battery"), SecretValue::new("Correct horse battery"));
        let hash = hash_password(&one).expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hash_password(&one).expect("a hash"), "the salt is its own");
        assert!(is_password(&one, Some(&hash)));
        assert!(!is_password(&other, Some(&hash)));
        assert!(!is_password(&one, None) && !is_password(&one, Some("broken")));
        assert!(PasswordHash::new(NOBODY).is_ok(), "what is compared for nobody can be compared");
    }
}
