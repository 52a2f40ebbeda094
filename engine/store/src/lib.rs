//! All SQL. One concrete [`Store`] over SQLite (the default) or PostgreSQL, one file an aggregate; `sql` explains the idiom.

mod approval;
mod artifact;
mod audit;
mod cache;
mod deployment;
mod error;
mod hold;
mod key;
mod migrate;
mod pool;
mod promotion;
mod release;
mod remote_credential;
mod repository;
mod revision;
mod run;
mod secret;
mod sql;
mod stage_run;
mod tally;
mod token;
mod webhook;
mod webhook_spec;

pub use audit::{AuditEntry, NewAudit};
pub use cache::CacheEntry;
pub use error::{Error, Result};
pub use key::SecretKey;
pub use pool::{Failpoint, Moment, Store, StoreOptions, Tx};
pub use promotion::PromotionFilter;
pub use run::{NewRunRecord, OpenRun, RunConcurrency, RunFilter, RunRecord, RunStop};
pub use stage_run::StageRecord;
pub use tally::Tally;
pub use token::{TOKEN_PREFIX, TokenInfo, presented_token};
pub use webhook::WebhookRecord;
pub use webhook_spec::WebhookSpec;
