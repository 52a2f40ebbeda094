//! What has changed where a channel watches: sources whose messages get lost list changes too, each list from a mark on that the one before gave.

use hookwright_core::port::{ListedChanges, RegisteredHook};
use hookwright_core::{Channel, PortError, Timestamp};
use reqwest::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::asked::{Asked, Said, encoded};
use crate::channel::Channels;
use crate::{Binding, Error, Example};

/// Pages of one list; with Google's largest pages a quarter of a million entries.
const MOST_PAGES: usize = 100;

/// How a source lists changes. What stands in every path may stand in these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changes {
    /// The list, with a query.
    list: String,
    /// The parameters that a mark and a page are asked for with,
    mark: String,
    page: String,
    /// and where the answer has the next ones.
    next_mark: String,
    next_page: String,
    /// Where the entries stand, and within each when it was changed (RFC 3339).
    entries: String,
    made_at: String,
    /// The type of the event that says of a change,
    kind: String,
    /// and the header in it that says where, with what it says.
    sent: Vec<(String, String)>,
}

impl Asked<'_> {
    /// See [`hookwright_core::port::Subscriber::changes`].
    pub(crate) async fn changes(&self, hook: RegisteredHook<'_>, mark: Option<&str>) -> Result<Option<ListedChanges>, PortError> {
        let Some(changes) = &self.channels()?.changes else { return Ok(None) };
        match self.listed(changes, hook, mark).await {
            Ok(Some(listed)) => Ok(Some(listed)),
            // The mark is too old to be known.
            Ok(None) => {
                let anew = self.listed(changes, hook, None).await?;
                let forgets = || PortError::errored(format!("{} knows no more from where it lists changes", self.definition.title));
                Ok(Some(ListedChanges { made_at: vec![None], ..anew.ok_or_else(forgets)? }))
            }
            Err(error) => Err(error),
        }
    }

    /// `None` when the mark is gone.
    async fn listed(&self, changes: &Changes, hook: RegisteredHook<'_>, mark: Option<&str>) -> Result<Option<ListedChanges>, PortError> {
        let since = mark.map(|mark| format!("&{}={}", changes.mark, encoded(mark))).unwrap_or_default();
        let (mut page, mut made_at) = (String::new(), Vec::new());
        for _ in 0..MOST_PAGES {
            let path = format!("{}{since}{page}", changes.list);
            let reply = match self.call(Method::GET, &path, Said { id: hook.id, ..Said::default() }).await {
                Ok(reply) => reply.value,
                Err(refused) if refused.status == Some(StatusCode::GONE) && mark.is_some() => return Ok(None),
                Err(refused) => return Err(refused.into()),
            };
            let entries = reply.pointer(&changes.entries).and_then(Value::as_array);
            // Without a mark everything is listed, and nothing of it is a change.
            for entry in entries.filter(|_| mark.is_some()).into_iter().flatten() {
                let time = entry.pointer(&changes.made_at).and_then(|at| at.as_str()?.parse::<jiff::Timestamp>().ok());
                made_at.push(time.map(|time| Timestamp::from_millis(time.as_millisecond())));
            }
            let text = |place: &String| reply.pointer(place).and_then(Value::as_str).filter(|text| !text.is_empty());
            match (text(&changes.next_mark), text(&changes.next_page)) {
                (Some(mark), _) => return Ok(Some(ListedChanges { mark: mark.to_owned(), kind: changes.kind.clone(), made_at })),
                (None, Some(next)) => page = format!("&{}={}", changes.page, encoded(next)),
                (None, None) => break,
            }
        }
        let title = &self.definition.title;
        Err(PortError::errored(format!("{title} lists what has changed without an end, so that lost messages are not found")))
    }
}

impl Binding {
    /// The message that says of a change where a channel watches. It is known by the time of the change.
    ///
    /// # Errors
    /// When the source tells no changes.
    pub fn changed(&self, (channel, repository): (&Channel, &str), made_at: Timestamp) -> Result<Example, Error> {
        let none = || Error::Example(format!("`{}` tells no changes", self.definition.name));
        let changes = self.definition.channels.as_ref().and_then(|channels: &Channels| channels.changes.as_ref()).ok_or_else(none)?;
        let mut message = self.example(Some(&changes.kind), &[], (made_at, &channel.id), Some(channel))?;
        message.headers.retain(|(name, _)| !changes.sent.iter().any(|(other, _)| other == name));
        let filled = changes.sent.iter().map(|(name, text)| (name.clone(), text.replace("{encoded_repository}", &encoded(repository))));
        message.headers.extend(filled);
        Ok(message)
    }
}
