//! What a source says of deliveries that failed: its list, read as far as needed and believed no further than that something may be asked for again.

use std::collections::HashSet;
use std::time::Duration;

use hookwright_core::port::{ListedDeliveries, ListedDelivery};
use hookwright_core::{PortError, Timestamp};
use reqwest::Method;
use serde_json::Value;

use crate::asked::{Asked, Said};
use crate::binding::id_key;
use crate::registration::Undelivered;

/// Pages that are read in one look: a longer absence is caught up with no further back.
const MOST_PAGES: usize = 20;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Asked<'_> {
    /// The deliveries of a hook that failed. The newest page is always read whole, because deliveries are listed when they end and numbered when
    /// they begin; further pages while they hold anything newer than `after`.
    pub(crate) async fn undelivered(&self, hook: &str, (after, now): (u64, Timestamp)) -> Result<Option<ListedDeliveries>, PortError> {
        let registration = self.registration()?;
        let Some(how) = &registration.undelivered else { return Ok(None) };
        let (mut failed, mut seen, mut newest) = (Vec::new(), HashSet::new(), after);
        let mut path = how.list.clone();
        for _ in 0..MOST_PAGES {
            let reply = self.call(Method::GET, &path, Said { id: hook, ..Said::default() }).await?;
            let mut is_news = false;
            for entry in self.list(reply.value, "deliveries")? {
                let Some(number) = entry.pointer(&how.number).and_then(Value::as_u64) else {
                    return Err(PortError::errored(format!("{} lists a delivery without a number", self.definition.title)));
                };
                newest = newest.max(number);
                is_news |= number > after;
                // The list has the newest first: what is made of an event last is what counts.
                let Some(event) = how.event_id.iter().find_map(|place| entry.pointer(place)?.as_str().filter(|id| !id.is_empty())) else {
                    continue;
                };
                let is_first = seen.insert(event.to_owned());
                if is_first && how.has_failed(&entry) && how.is_young(&entry, now) && !self.is_ping(&entry) {
                    failed.push(ListedDelivery { id: number.to_string(), replay_key: id_key(event) });
                }
            }
            match reply.next.filter(|_| is_news) {
                Some(query) => path = format!("{}?{query}", how.list.split('?').next().unwrap_or_default()),
                None => break,
            }
        }
        failed.reverse();
        Ok(Some(ListedDeliveries { failed, newest, asks: how.asks }))
    }

    /// The source only tried the address out.
    fn is_ping(&self, entry: &Value) -> bool {
        entry.get("event").and_then(Value::as_str).is_some_and(|kind| self.definition.pings.iter().any(|ping| ping == kind))
    }
}

impl Undelivered {
    fn has_failed(&self, entry: &Value) -> bool {
        let status = match entry.pointer(&self.status) {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        !status.is_some_and(|status| (200..300).contains(&status))
    }

    fn is_young(&self, entry: &Value, now: Timestamp) -> bool {
        let made = self.at.as_ref().and_then(|at| entry.pointer(at)?.as_str()?.parse::<jiff::Timestamp>().ok());
        made.is_none_or(|made| now.since(Timestamp::from_millis(made.as_millisecond())) < DAY * self.days)
    }
}
