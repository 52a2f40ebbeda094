//! The provider's public keys. A token with a key that is not known yet has them read again, so that a provider changes its keys whenever it likes;
//! how often is bounded, so that strange tokens do not make us ask without end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookwright_core::PortError;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use url::Url;

use crate::client::Client;

/// How often the keys are read within a window, and how long that is.
const READS: usize = 6;
const WINDOW: Duration = Duration::from_secs(60);
/// The most keys that are kept; providers have a handful.
const MOST: usize = 64;

/// The keys of one provider.
#[derive(Default)]
pub(crate) struct Keys {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    keys: Arc<Vec<Jwk>>,
    /// When they were read lately.
    read_at: Vec<Duration>,
}

impl Keys {
    /// What is known.
    pub(crate) fn known(&self) -> Arc<Vec<Jwk>> {
        Arc::clone(&self.held.lock().unwrap_or_else(PoisonError::into_inner).keys)
    }

    /// Reads them anew, at `now` on a monotonic clock.
    ///
    /// # Errors
    /// When they were read too often lately, or cannot be had.
    pub(crate) async fn read(&self, client: &Client, from: &Url, now: Duration) -> Result<Arc<Vec<Jwk>>, PortError> {
        {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.read_at.retain(|at| now < *at + WINDOW);
            if held.read_at.len() >= READS {
                let text = "the ID token is signed with a key that the provider does not publish, and its keys were read often enough for this minute";
                return Err(PortError::failed(text));
            }
            held.read_at.push(now);
        }
        let mut value = client.found(client.get(from.clone()), "its keys").await?;
        let Some(Value::Array(keys)) = value.get_mut("keys").map(Value::take) else {
            return Err(PortError::errored("the provider's answer about its keys has none"));
        };
        // One that we do not understand does not spoil the others.
        let keys = Arc::new(keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).take(MOST).collect());
        self.held.lock().unwrap_or_else(PoisonError::into_inner).keys = Arc::clone(&keys);
        Ok(keys)
    }
}

/// The keys that may have signed a token with this header.
pub(crate) fn fitting(keys: &[Jwk], algorithm: Algorithm, id: Option<&str>) -> Vec<DecodingKey> {
    let named = |key: &&Jwk| id.is_none() || key.common.key_id.as_deref() == id;
    keys.iter().filter(named).filter(|key| fits(key, algorithm)).filter_map(|key| DecodingKey::from_jwk(key).ok()).collect()
}

/// Whether a key is for this algorithm: by its kind and by what it says itself.
fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512) => true,
        (AlgorithmParameters::RSA(_), Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512) => true,
        (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES256) => curve.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES384) => curve.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(curve), Algorithm::EdDSA) => curve.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    kind && signs && key.common.key_algorithm.is_none_or(|own| own == KeyAlgorithm::from(algorithm))
}
