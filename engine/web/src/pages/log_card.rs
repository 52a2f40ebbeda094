//! The log on a page, the same for stages and for deployments: its lines from a place on or what a search finds in it, and how the script, or whoever
//! follows the links, goes on.

use hookwright_core::{LogChunk, LogCursor, LogLine};
use serde::Serialize;

use super::lines::{From, LinesView, Unfolded};
use crate::error::Result;
use crate::show::{Painter, visible};

/// How many lines a search finds at most.
const FOUND: usize = 1_000;

/// A log.
#[derive(Serialize)]
pub(crate) struct LogCard {
    /// Whether it has a heading of its own on the page.
    heading: bool,
    sections: LinesView,
    empty: bool,
    /// Where the script, or whoever follows the link, goes on.
    more: Option<More>,
    find: String,
    /// How many lines a search found.
    found: Option<usize>,
    /// Whether there may be more of them than are shown.
    cut: bool,
    attempt: Option<u32>,
    /// The log from its beginning.
    whole: String,
    download: String,
}

#[derive(Serialize)]
struct More {
    /// For the script; it adds the line's number and look.
    lines: String,
    /// Where the script follows what is written.
    follow: String,
    /// How the next line looks.
    look: String,
    /// Without a script.
    page: String,
    next_line: u64,
    ended: bool,
}

/// Whose log it is, and where it is found.
pub(crate) struct LogPlace<A> {
    pub(crate) heading: bool,
    /// Which attempt of a stage.
    pub(crate) attempt: Option<u32>,
    /// Whether nothing more is written.
    pub(crate) ended: bool,
    /// The page without a search.
    pub(crate) whole: String,
    /// The address of the next stretch, from a place on.
    pub(crate) lines: A,
    pub(crate) follow: String,
    pub(crate) download: String,
}

impl LogCard {
    /// What is asked for of the log that `read` reads, from a place on.
    pub(crate) async fn read<R>(place: LogPlace<impl Fn(u64) -> String>, from: &From, read: impl Fn(LogCursor) -> R) -> Result<Self>
    where
        R: Future<Output = Result<LogChunk>>,
    {
        let LogPlace { heading, attempt, ended, whole, lines, follow, download } = place;
        let (sections, more, found) = if from.find.is_empty() {
            let chunk = read(from.from).await?;
            let next_line = from.line + chunk.lines.len() as u64;
            let rest = !read(chunk.next).await?.lines.is_empty();
            let mut painter = Painter::resume(&from.look);
            let view = LinesView::new(chunk.lines.iter(), from.line, &mut painter);
            let look = painter.look();
            let joint = if whole.contains('?') { '&' } else { '?' };
            let page = format!("{whole}{joint}from={}&line={next_line}&look={}", chunk.next.0, look.replace(' ', "+"));
            let more = (rest || !ended).then(|| More { lines: lines(chunk.next.0), follow, look, page, next_line, ended });
            let unfolded = match (ended, rest) {
                (false, _) => Unfolded::All,
                (true, false) => Unfolded::Last,
                (true, true) => Unfolded::Nothing,
            };
            (view.unfolding(unfolded), more, None)
        } else {
            let found = search(read, &from.find).await?;
            (LinesView::picked(&found, &whole), None, Some(found.len()))
        };
        let (empty, find, cut) = (sections.is_empty(), visible(&from.find), found == Some(FOUND));
        Ok(Self { heading, sections, empty, more, find, found, cut, attempt, whole, download })
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        use crate::template::View;
        let more = More { lines: "/x".into(), follow: "/x".into(), look: "a-b".into(), page: "/y".into(), next_line: 12, ended: false };
        Self {
            heading: true,
            sections: LinesView::sample(),
            empty: false,
            more: Some(more),
            find: "<b>hostile".into(),
            found: Some(1),
            cut: true,
            attempt: Some(2),
            whole: "/x".into(),
            download: "/x".into(),
        }
    }
}

/// The lines that contain a text, whatever their case, with their numbers.
async fn search<R>(read: impl Fn(LogCursor) -> R, text: &str) -> Result<Vec<(u64, LogLine)>>
where
    R: Future<Output = Result<LogChunk>>,
{
    let (wanted, mut found, mut at, mut number) = (text.to_lowercase(), Vec::new(), LogCursor::default(), 1);
    loop {
        let chunk = read(at).await?;
        for line in chunk.lines {
            if line.text.to_lowercase().contains(&wanted) {
                found.push((number, line));
            }
            number += 1;
            if found.len() == FOUND {
                return Ok(found);
            }
        }
        if chunk.next == at {
            return Ok(found);
        }
        at = chunk.next;
    }
}
