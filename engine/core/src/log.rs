//! Log lines as every executor and runtime hands them out.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Which of its outputs a process wrote to, or the engine itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// A remark of the engine (`timed out after 10m`, `log limit of 64 MiB reached`).
    Note,
}

/// One line, secrets masked, without its line end. A line longer than 16 KiB comes in pieces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read from the process.
    pub at: Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A place in a log; opaque but ordered. The start is `LogCursor::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogCursor(pub u64);

/// A stretch of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// The lines after the cursor that was asked from.
    pub lines: Vec<LogLine>,
    /// Where to go on.
    pub next: LogCursor,
    /// Whether nothing will follow.
    pub complete: bool,
}
