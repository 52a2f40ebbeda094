//! The cache of stages: what a stage with this key left behind, and when somebody needed it last.

use hookwright_core::{Digest, RunId, Timestamp};

use crate::sql::args;
use crate::{Result, Store, Tx};

/// What is known under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The key.
    pub cache_key: Digest,
    /// The run that did the work.
    pub run: RunId,
    /// The archive of its outputs.
    pub outputs: Option<Digest>,
    /// The image it made.
    pub image: Option<Digest>,
    /// When somebody needed it last.
    pub used_at: Timestamp,
}

const CACHE_PUT: &str = "INSERT INTO stage_cache (cache_key, run, outputs, image, used_at) VALUES ($1, $2, $3, $4, $5) \
    ON CONFLICT (cache_key) DO UPDATE SET used_at = excluded.used_at";
const CACHE_FETCH: &str = "SELECT run, outputs, image, used_at FROM stage_cache WHERE cache_key = $1";
const CACHE_EXPIRE: &str = "DELETE FROM stage_cache WHERE used_at < $1";

impl Store {
    /// Stores an entry; one that exists keeps its content and is marked as used.
    pub async fn cache_put_in(&self, tx: &mut Tx, entry: &CacheEntry) -> Result<()> {
        tx.execute(CACHE_PUT, args![entry.cache_key, entry.run, entry.outputs, entry.image, entry.used_at]).await.map(drop)
    }

    /// The entry of a key.
    pub async fn cache_fetch(&self, cache_key: &Digest) -> Result<Option<CacheEntry>> {
        let Some(row) = self.fetch_optional(CACHE_FETCH, args![cache_key]).await? else { return Ok(None) };
        Ok(Some(CacheEntry {
            cache_key: *cache_key,
            run: row.parse("run")?,
            outputs: row.optional_parse("outputs")?,
            image: row.optional_parse("image")?,
            used_at: row.instant("used_at")?,
        }))
    }

    /// Removes what nobody needed since `before`.
    pub async fn cache_expire_in(&self, tx: &mut Tx, before: Timestamp) -> Result<u64> {
        tx.execute(CACHE_EXPIRE, args![before]).await
    }
}
