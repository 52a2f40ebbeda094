//! All SQL. One concrete [`Store`] over SQLite (the default) or PostgreSQL, one file an aggregate; `sql` explains the idiom.

mod audit;
mod error;
mod key;
mod migrate;
mod pool;
mod repository;
mod revision;
mod secret;
mod sql;
mod token;
mod webhook;

pub use audit::{AuditEntry, NewAudit};
pub use error::{Error, Result};
pub use key::SecretKey;
pub use pool::{Failpoint, Store, StoreOptions, Tx};
pub use token::{TOKEN_PREFIX, TokenInfo};
pub use webhook::WebhookRecord;
