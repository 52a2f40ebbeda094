//! The key that secrets are encrypted with, and the sealing itself: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), a random
//! nonce each, and the secret's place as associated data, so that a sealed value is worth nothing elsewhere.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine as _;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use hookwright_core::SecretValue;
use sha2::Sha256;

use crate::{Error, Result};

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// The key; it has no `Debug` and is never stored in the database.
#[derive(Clone)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    /// Reads the key file, or makes one readable by its owner alone.
    ///
    /// # Errors
    /// [`Error::Key`] when it cannot be read or written, has the wrong length, or others may read it.
    pub fn load_or_create(path: &Path) -> Result<Self> {
        let failed = |message: String| Error::Key { message: format!("`{}` {message}", path.display()) };
        match std::fs::File::open(path) {
            Ok(mut file) => {
                let mode = file.metadata().map_err(|error| failed(error.to_string()))?.mode();
                if mode & 0o077 != 0 {
                    return Err(failed(format!("can be read by others (mode {:o}); `chmod 600` it", mode & 0o777)));
                }
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
                let bytes = bytes.try_into().map_err(|_| failed("is not 32 bytes long; restore it from a backup".to_owned()))?;
                Ok(Self(bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = Self::random()?;
                let create = || -> std::io::Result<()> {
                    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
                    file.write_all(&key.0)?;
                    file.sync_all()
                };
                create().map_err(|error| failed(format!("cannot be created: {error}")))?;
                Ok(key)
            }
            Err(error) => Err(failed(format!("cannot be read: {error}"))),
        }
    }

    /// A new key, for tests and for the first start.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| Error::Key { message: format!("the system gives no randomness: {error}") })?;
        Ok(Self(bytes))
    }

    pub(crate) fn seal(&self, place: &str, value: &SecretValue) -> Result<String> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| Error::Key { message: format!("the system gives no randomness: {error}") })?;
        let payload = Payload { msg: value.expose().as_bytes(), aad: place.as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| Error::Secret { what: place.to_owned() })?;
        Ok(format!("{}{}", hex::encode(nonce), hex::encode(sealed)))
    }

    pub(crate) fn open(&self, place: &str, sealed: &str) -> Result<SecretValue> {
        let failed = || Error::Secret { what: place.to_owned() };
        let bytes = hex::decode(sealed).map_err(|_| failed())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(failed)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| failed())?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let plain = self.cipher().decrypt(&XNonce::from(nonce), payload).map_err(|_| failed())?;
        String::from_utf8(plain).map(SecretValue::new).map_err(|_| failed())
    }

    /// A key of its own for a purpose (HMAC-SHA256 over its name), as Standard Webhooks writes keys.
    pub(crate) fn derive(&self, purpose: &str) -> SecretValue {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        SecretValue::new(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_at_its_own_place() {
        let key = SecretKey::random().expect("a key");
        let sealed = key.seal("hello/production/TOKEN", &SecretValue::new("value")).expect("sealed");
        assert_eq!(key.open("hello/production/TOKEN", &sealed).expect("opened").expose(), "value");
        assert!(key.open("hello/development/TOKEN", &sealed).is_err());
        assert!(SecretKey::random().expect("a key").open("hello/production/TOKEN", &sealed).is_err());
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        SecretKey::load_or_create(&path).expect("a new key");
        assert_eq!(std::fs::metadata(&path).expect("metadata").mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed mode");
        assert!(SecretKey::load_or_create(&path).is_err());
    }
}
