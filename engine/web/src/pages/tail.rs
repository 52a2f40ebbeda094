//! The last lines that the handler of an environment wrote, for the page about its webhook.

use hookwright_core::{EnvironmentName, WebhookName};
use serde::Serialize;

use super::board::Cell;
use crate::error::Result;
use crate::show::{LineShown, Painter};
use crate::{WebState, urls};

/// So many lines are shown; the room for them is always there.
const LINES: usize = 10;

/// The end of a log.
#[derive(Serialize)]
pub(crate) struct Tail {
    environment: String,
    /// Where the whole log is, live.
    log: Option<String>,
    lines: Vec<LineShown>,
    /// Why there are no lines.
    empty: &'static str,
}

impl Tail {
    /// Of what is live in a place, whose cell is known already.
    pub(crate) async fn fetch(state: &WebState, webhook: &WebhookName, environment: &EnvironmentName, cell: &Cell) -> Result<Self> {
        let live = state.store.deployment_current(webhook, environment).await?;
        let lines = match &live {
            Some(live) => state.runtime.last_lines(&live.id, LINES).await?,
            None => Vec::new(),
        };
        let mut painter = Painter::default();
        Ok(Self {
            environment: environment.to_string(),
            empty: match (&live, cell.failure.is_some(), cell.waits.is_empty()) {
                (Some(_), ..) => "The handler has written nothing yet. What it writes to standard output and standard error stands here.",
                (None, true, _) => "Nothing is live here: the newest deployment came to nothing, and its own page has its log.",
                (None, false, false) => "Nothing is live here yet: a release waits for its gates, and the log begins once it is deployed.",
                (None, false, true) => "Nothing is live here yet: the log begins with the first deployment.",
            },
            log: live.map(|live| urls::deployment(live.id)),
            lines: lines.iter().map(|line| painter.line(line)).collect(),
        })
    }

    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        use hookwright_core::{LogLine, LogStream, Timestamp};

        let line = |text: &str| LogLine { at: Timestamp::from_millis(1_790_000_000_000), stream: LogStream::Err, text: text.to_owned() };
        let lines = vec![Painter::default().line(&line("<b>hostile \u{1b}[31mred"))];
        Self { environment: "production".into(), log: Some("/x".into()), lines, empty: "nothing" }
    }
}
