//! Stretches of logs as HTML, the same for the first look at a page and for what its script is sent later. A stretch is folded by command:
//! the remark `$ npm ci` heads the lines of that command.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hookwright_core::{LogChunk, LogCursor, LogLine, LogStream};
use http::{HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::show::{LineShown, Painter};
use crate::template::{self, View};

/// So many lines are laid out together: the browser skips groups that are not on the screen.
const GROUP: usize = 250;

/// What a remark about a command begins with.
const COMMAND: &str = "$ ";

/// A stretch of a log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LinesView {
    sections: Vec<Section>,
    /// The page of the whole log, where these are lines out of it; empty on that page.
    whole: String,
}

/// The lines of a command.
#[derive(Clone, Debug, Serialize)]
struct Section {
    /// The line that says which; `None` for what goes on with the command before, or belongs to none.
    command: Option<Numbered>,
    open: bool,
    groups: Vec<Vec<Numbered>>,
}

#[derive(Clone, Debug, Serialize)]
struct Numbered {
    number: u64,
    #[serde(flatten)]
    line: LineShown,
}

/// Which commands are shown unfolded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfolded {
    /// While it is written.
    All,
    /// Once it has ended: the last one is where it failed, or what it came to.
    Last,
    /// Nothing of a stretch that is not the last.
    Nothing,
}

impl View for LinesView {
    const TEMPLATE: &'static str = "lines.html";

    #[cfg(test)]
    fn sample() -> Self {
        let line =
            |stream, text: &str| LogLine { at: hookwright_core::Timestamp::from_millis(1_790_000_000_000), stream, text: text.to_owned() };
        let lines = [line(LogStream::Note, "$ <b>hostile"), line(LogStream::Err, "<b>hostile \u{1b}[31mred")];
        Self::new(lines.iter(), 1, &mut Painter::default()).unfolding(Unfolded::Last)
    }
}

impl LinesView {
    /// Lines in their order, the first of which has this number; the painter goes on with the next stretch. All is unfolded.
    pub(crate) fn new<'a>(lines: impl Iterator<Item = &'a LogLine>, first: u64, painter: &mut Painter) -> Self {
        let mut sections: Vec<(Option<Numbered>, Vec<Numbered>)> = Vec::new();
        for (line, number) in lines.zip(first..) {
            let shown = Numbered { number, line: painter.line(line) };
            if line.stream == LogStream::Note && line.text.starts_with(COMMAND) {
                sections.push((Some(shown), Vec::new()));
            } else if let Some((_, lines)) = sections.last_mut() {
                lines.push(shown);
            } else {
                sections.push((None, vec![shown]));
            }
        }
        let section = |(command, lines)| Section { command, open: true, groups: grouped(lines) };
        Self { sections: sections.into_iter().map(section).collect(), whole: String::new() }
    }

    /// Lines out of their order, each with its number, which leads to it in the whole log.
    pub(crate) fn picked(lines: &[(u64, LogLine)], whole: &str) -> Self {
        let lines = lines.iter().map(|(number, line)| Numbered { number: *number, line: Painter::default().line(line) }).collect();
        Self { sections: vec![Section { command: None, open: true, groups: grouped(lines) }], whole: whole.to_owned() }
    }

    /// Folds what is not to be seen at once.
    pub(crate) fn unfolding(mut self, unfolded: Unfolded) -> Self {
        let last = self.sections.len().saturating_sub(1);
        for (at, section) in self.sections.iter_mut().enumerate() {
            section.open = unfolded == Unfolded::All || unfolded == Unfolded::Last && at == last;
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sections.iter().all(|section| section.command.is_none() && section.groups.is_empty())
    }
}

fn grouped(lines: Vec<Numbered>) -> Vec<Vec<Numbered>> {
    lines.chunks(GROUP).map(<[Numbered]>::to_vec).collect()
}

/// Where a stretch begins.
#[derive(Deserialize)]
pub(crate) struct From {
    #[serde(default)]
    pub(crate) from: LogCursor,
    /// The number of its first line.
    #[serde(default = "one")]
    pub(crate) line: u64,
    /// How its first line looks, out of the stretch before.
    #[serde(default)]
    pub(crate) look: String,
    pub(crate) attempt: Option<u32>,
    /// Only lines that contain this.
    #[serde(default)]
    pub(crate) find: String,
}

fn one() -> u64 {
    1
}

/// A stretch for the script: where to go on stands in headers.
pub(crate) fn stretch(chunk: &LogChunk, from: &From, ended: bool) -> Response {
    let mut painter = Painter::resume(&from.look);
    let unfolded = if ended { Unfolded::Nothing } else { Unfolded::All };
    let view = LinesView::new(chunk.lines.iter(), from.line, &mut painter).unfolding(unfolded);
    let mut response = template::page(&view).into_response();
    let number = |value: u64| HeaderValue::from(value);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-log-next"), number(chunk.next.0));
    headers.insert(HeaderName::from_static("x-log-lines"), number(chunk.lines.len() as u64));
    headers.insert(HeaderName::from_static("x-log-ended"), number(u64::from(ended && chunk.next == from.from)));
    let look = HeaderValue::from_str(&painter.look()).unwrap_or(HeaderValue::from_static(""));
    headers.insert(HeaderName::from_static("x-log-look"), look);
    response
}

/// A whole log as a file of plain text, as it was written, read stretch by stretch while it is sent.
pub(crate) fn text_file<R, E>(name: &str, read: impl Fn(LogCursor) -> R + Send + 'static) -> super::Answer
where
    R: Future<Output = std::result::Result<LogChunk, E>> + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let chunks = stream::unfold((Some(LogCursor::default()), read), |(at, read)| async move {
        match read(at?).await {
            Ok(chunk) if Some(chunk.next) == at => None,
            Ok(chunk) => {
                let text: String = chunk.lines.iter().map(|line| format!("{} {}\n", line.at, line.text)).collect();
                Some((Ok(text), (Some(chunk.next), read)))
            }
            Err(error) => Some((Err(error), (None, read))),
        }
    });
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))
        .body(Body::from_stream(chunks));
    Ok(response.map_err(Problem::invalid)?.into_response())
}

/// A stretch for the script that follows a log, in an event.
#[derive(Serialize)]
pub(crate) struct Followed {
    html: String,
    /// Where to go on, should the connection break.
    next: LogCursor,
    lines: usize,
    look: String,
}

impl Followed {
    /// The lines of a chunk, painted on from those before.
    pub(crate) fn new(chunk: &LogChunk, first: u64, painter: &mut Painter) -> Self {
        let html = template::text(&LinesView::new(chunk.lines.iter(), first, painter)).unwrap_or_else(|error| {
            tracing::error!(error = format!("{error:#}"), "lines of a log cannot be rendered");
            String::new()
        });
        Self { html, next: chunk.next, lines: chunk.lines.len(), look: painter.look() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_below_their_command_and_what_ended_is_folded_but_for_the_last() {
        let line = |stream, text: &str| LogLine { at: hookwright_core::Timestamp::from_millis(0), stream, text: text.to_owned() };
        let lines = [
            line(LogStream::Out, "of the stretch before"),
            line(LogStream::Note, "$ npm ci"),
            line(LogStream::Out, "$ not a remark"),
            line(LogStream::Note, "$ npm test"),
            line(LogStream::Note, "timed out"),
        ];
        let view = LinesView::new(lines.iter(), 41, &mut Painter::default()).unfolding(Unfolded::Last);
        let shape: Vec<(Option<u64>, usize, bool)> = view
            .sections
            .iter()
            .map(|one| (one.command.as_ref().map(|line| line.number), one.groups.iter().map(Vec::len).sum(), one.open))
            .collect();
        assert_eq!(shape, [(None, 1, false), (Some(42), 1, false), (Some(44), 1, true)]);
    }
}
