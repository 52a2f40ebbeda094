//! Stretches of logs as HTML, the same for the first look at a page and for what its script asks for later.

use axum::response::{IntoResponse, Response};
use hookwright_core::{LogChunk, LogCursor};
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::show::{LineShown, Painter};
use crate::template::{self, View};

/// So many lines are laid out together: the browser skips groups that are not on the screen.
const GROUP: usize = 250;

/// A stretch of a log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LinesView {
    groups: Vec<Vec<Numbered>>,
}

#[derive(Clone, Debug, Serialize)]
struct Numbered {
    number: u64,
    #[serde(flatten)]
    line: LineShown,
}

impl View for LinesView {
    const TEMPLATE: &'static str = "lines.html";

    #[cfg(test)]
    fn sample() -> Self {
        let line = hookwright_core::LogLine {
            at: hookwright_core::Timestamp::from_millis(1_790_000_000_000),
            stream: hookwright_core::LogStream::Err,
            text: "<b>hostile \u{1b}[31mred".to_owned(),
        };
        Self::new([line].iter(), 1)
    }
}

impl LinesView {
    /// Lines in their order, the first of which has this number.
    pub(crate) fn new<'a>(lines: impl Iterator<Item = &'a hookwright_core::LogLine>, first: u64) -> Self {
        let mut painter = Painter::default();
        Self::grouped(lines.zip(first..).map(|(line, number)| Numbered { number, line: painter.line(line) }).collect())
    }

    /// Lines out of their order, each with its number.
    pub(crate) fn picked(lines: &[(u64, hookwright_core::LogLine)]) -> Self {
        Self::grouped(lines.iter().map(|(number, line)| Numbered { number: *number, line: Painter::default().line(line) }).collect())
    }

    fn grouped(lines: Vec<Numbered>) -> Self {
        Self { groups: lines.chunks(GROUP).map(<[Numbered]>::to_vec).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

/// Where a stretch begins.
#[derive(Deserialize)]
pub(crate) struct From {
    #[serde(default)]
    pub(crate) from: LogCursor,
    /// The number of its first line.
    #[serde(default = "one")]
    pub(crate) line: u64,
    pub(crate) attempt: Option<u32>,
    /// Only lines that contain this.
    #[serde(default)]
    pub(crate) find: String,
}

fn one() -> u64 {
    1
}

/// A stretch for the script: where to go on stands in headers.
pub(crate) fn stretch(chunk: &LogChunk, first: u64, ended: bool) -> Response {
    let view = LinesView::new(chunk.lines.iter(), first);
    let mut response = template::page(&view).into_response();
    let number = |value: u64| HeaderValue::from(value);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-log-next"), number(chunk.next.0));
    headers.insert(HeaderName::from_static("x-log-lines"), number(chunk.lines.len() as u64));
    headers.insert(HeaderName::from_static("x-log-ended"), number(u64::from(ended)));
    response
}
