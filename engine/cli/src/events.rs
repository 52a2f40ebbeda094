//! Server-sent events of the daemon, taken up again where they broke off.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::client::{Client, Refused};

/// How long a broken stream is left alone before it is asked for again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long the daemon may be away, for example for an upgrade.
const AWAY: Duration = Duration::from_secs(60);
/// More than any event of the daemon.
const LARGEST: usize = 64 << 20;

/// An event.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Event {
    /// Its kind.
    pub(crate) name: String,
    /// Where to go on after it.
    pub(crate) id: Option<String>,
    /// What it says.
    pub(crate) data: Value,
}

/// A stream of events below `/api/v1`.
pub(crate) struct Events<'a> {
    client: &'a Client,
    path: String,
    response: Option<Response>,
    parser: Parser,
    last: Option<String>,
    well: Instant,
}

impl<'a> Events<'a> {
    /// A stream that is asked for with the first event.
    pub(crate) fn new(client: &'a Client, path: impl Into<String>) -> Self {
        Self { client, path: path.into(), response: None, parser: Parser::default(), last: None, well: Instant::now() }
    }

    /// The next event; `None` when the daemon says that there is none any more.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.event() {
                self.last = event.id.clone().or(self.last.take());
                if event.name == "refused" {
                    let detail = event.data["detail"].as_str().unwrap_or("the token does not cover it any more").to_owned();
                    return Err(Refused::Answered { status: StatusCode::FORBIDDEN, detail }.into());
                }
                return Ok(Some(event));
            }
            if self.response.is_none() && !self.connect().await? {
                return Ok(None);
            }
            let Some(response) = &mut self.response else { continue };
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    self.well = Instant::now();
                    self.parser.push(&bytes)?;
                }
                Ok(None) | Err(_) => self.response = None,
            }
        }
    }

    /// Asks for the stream until the daemon answers; `false` when there is nothing more.
    async fn connect(&mut self) -> Result<bool> {
        self.parser = Parser::default();
        loop {
            match self.client.stream(&self.path, self.last.as_deref()).await {
                Ok(response) if response.status() == StatusCode::NO_CONTENT => return Ok(false),
                Ok(response) => {
                    self.response = Some(response);
                    return Ok(true);
                }
                Err(error) => {
                    let away = matches!(error.downcast_ref(), Some(Refused::Unreachable { .. }));
                    if !away || self.last.is_none() || self.well.elapsed() > AWAY {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Cuts bytes into events, as the HTML standard says.
#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    ready: VecDeque<Event>,
    event: Event,
    data: String,
}

impl Parser {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() + self.data.len() > LARGEST {
            bail!("the daemon sends an event that has no end");
        }
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            self.line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<()> {
        if line.is_empty() {
            let (data, event) = (std::mem::take(&mut self.data), std::mem::take(&mut self.event));
            if !data.is_empty() {
                let data = serde_json::from_str(&data)?;
                self.ready.push_back(Event { data, ..event });
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => self.data.push_str(value),
            _ => {}
        }
        Ok(())
    }

    fn event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_whole_wherever_the_network_cuts_them() {
        let text = ": \n\nevent: log\nid: 1.20\ndata: {\"lines\":[\"é\"]}\n\n:\n\nevent: end\r\nid: 1.20.end\r\ndata: {}\r\n\r\n";
        for cut in 0..text.len() {
            let mut parser = Parser::default();
            parser.push(&text.as_bytes()[..cut]).expect("readable");
            parser.push(&text.as_bytes()[cut..]).expect("readable");
            let log = Event { name: "log".into(), id: Some("1.20".into()), data: json!({ "lines": ["é"] }) };
            assert_eq!(parser.event(), Some(log), "cut at {cut}");
            let end = Event { name: "end".into(), id: Some("1.20.end".into()), data: json!({}) };
            assert_eq!(parser.event(), Some(end), "cut at {cut}");
            assert_eq!(parser.event(), None);
        }
    }
}
