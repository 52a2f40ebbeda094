//! Stretches of logs, as the plain routes and the streams show them.

use hookwright_core::{LogChunk, LogCursor, LogLine, LogStream, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::words;

/// Where in a log to begin.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// The `next` of the stretch before; left out: the beginning.
    #[param(value_type = Option<u64>)]
    pub(crate) from: Option<LogCursor>,
}

/// The same, of a stage.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StageLogQuery {
    /// The `next` of the stretch before; left out: the beginning.
    #[param(value_type = Option<u64>)]
    pub(crate) from: Option<LogCursor>,
    /// The attempt; left out: the latest.
    #[param(minimum = 1)]
    pub(crate) attempt: Option<u32>,
}

/// A line, secrets masked. All of it is the user's: escape it.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct LineView {
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    at: Timestamp,
    #[schema(value_type = words::LogSource)]
    stream: LogStream,
    text: String,
}

/// A stretch of a log.
#[derive(Serialize, ToSchema)]
#[schema(as = LogChunk)]
pub(crate) struct LogView {
    lines: Vec<LineView>,
    /// Where to go on.
    #[schema(value_type = u64)]
    next: LogCursor,
    /// Whether nothing follows.
    complete: bool,
}

impl From<LogChunk> for LogView {
    fn from(LogChunk { lines, next, complete }: LogChunk) -> Self {
        let line = |LogLine { at, stream, text }| LineView { at, stream, text };
        Self { lines: lines.into_iter().map(line).collect(), next, complete }
    }
}
