//! The gateway's addresses of the engine's own hooks.

use crate::BoundHook;

/// Where the forges of watched repositories send. What arrives is verified and stored as every event is; then the engine is woken, which finds
/// its delivery in the store, and no handler is called.
///
/// *Idempotency*: the list is whole each time, and the same one again changes nothing. *After a restart* there are none, and the engine says them again
/// before the daemon is ready.
pub trait HookTable: Send + Sync + 'static {
    /// Receives at the addresses of these hooks and no others.
    fn set_hooks(&self, hooks: Vec<BoundHook>);
}
