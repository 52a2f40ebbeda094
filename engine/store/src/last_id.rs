//! The last id that was handed out, as far as the database knows: where a daemon goes on.

use uuid::Uuid;

use crate::{Result, Store};

/// Ids end with 32 hexadecimal digits, and what is listed in their order is written with nearly all else: revisions before runs,
/// releases before promotions.
const LAST: &str = "SELECT MAX(substr(id, length(id) - 31)) AS id FROM (
    SELECT MAX(id) AS id FROM runs UNION ALL SELECT MAX(id) FROM stage_runs UNION ALL SELECT MAX(id) FROM promotions
    UNION ALL SELECT MAX(id) FROM audit UNION ALL SELECT MAX(id) FROM events UNION ALL SELECT MAX(id) FROM tokens) AS newest";

impl Store {
    /// The greatest id of what is listed in the order of ids; `None` in an empty database.
    pub async fn last_id(&self) -> Result<Option<Uuid>> {
        match self.fetch_optional(LAST, Vec::new()).await? {
            Some(row) => row.optional_parse("id"),
            None => Ok(None),
        }
    }
}
