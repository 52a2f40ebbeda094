//! What a supervisor writes down of what it keeps.

use std::path::Path;

use serde_json::Value;

/// Who runs in a folder below `jobs/` or `instances/`, once that is written down: the numbers of the supervisor and of its child.
#[must_use]
pub fn record(folder: &Path) -> Option<Value> {
    serde_json::from_str(std::fs::read_to_string(folder.join("state")).ok()?.lines().nth(1)?).ok()
}
