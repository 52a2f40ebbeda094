//! What a source says of deliveries that failed: its list, read as far as needed and believed no further than that something may be asked for again.

use std::collections::HashSet;
use std::time::Duration;

use hookwright_core::port::{ListedDeliveries, ListedDelivery, RegisteredHook};
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
    pub(crate) async fn undelivered(
        &self,
        hook: RegisteredHook<'_>,
        (after, now): (u64, Timestamp),
    ) -> Result<Option<ListedDeliveries>, PortError> {
        let Some(how) = self.registration().ok().and_then(|registration| registration.undelivered.as_ref()) else { return Ok(None) };
        let since = self.since(how, hook.id).await?;
        let after = after.max(since);
        let settled = how.settled_after.map(|seconds| u64::try_from(now.as_millis() / 1000).unwrap_or(0).saturating_sub(seconds));
        let (mut failed, mut seen, mut newest) = (Vec::new(), HashSet::new(), after);
        let mut path = how.list.clone();
        for _ in 0..MOST_PAGES {
            let reply = self.call(Method::GET, &path, Said { id: hook.id, ..Said::default() }).await?;
            let mut is_news = false;
            let name = how.name.as_deref().unwrap_or(&how.number);
            let (entries, behind) = self.page(reply.value, (how.entries.as_ref(), how.cursor.as_ref()), (name, "deliveries"))?;
            for entry in entries {
                let Some(number) = entry.pointer(&how.number).and_then(Value::as_u64) else {
                    return Err(PortError::errored(format!("{} lists a delivery without a number", self.definition.title)));
                };
                if settled.is_some_and(|settled| number > settled) {
                    is_news = true;
                    continue;
                }
                newest = newest.max(number);
                is_news |= number > after;
                if number < since || !how.is_wanted(&entry, hook.events) {
                    continue;
                }
                // The list has the newest first: what is made of an event last is what counts.
                let Some(event) = how.event_id.iter().find_map(|place| entry.pointer(place)?.as_str().filter(|id| !id.is_empty())) else {
                    continue;
                };
                let is_first = seen.insert(event.to_owned());
                if is_first && how.has_failed(&entry) && how.is_young(&entry, now) && !self.is_ping(&entry) {
                    let name = how.name.as_ref().and_then(|place| entry.pointer(place)?.as_str()).map(str::to_owned);
                    failed.push(ListedDelivery { id: name.unwrap_or_else(|| number.to_string()), replay_key: id_key(event) });
                }
            }
            match (reply.next, behind) {
                _ if !is_news => break,
                (_, Some(behind)) => path = format!("{}{behind}", how.list),
                (Some(query), None) => path = format!("{}?{query}", how.list.split('?').next().unwrap_or_default()),
                (None, None) => break,
            }
        }
        failed.reverse();
        Ok(Some(ListedDeliveries { failed, newest, asks: how.asks }))
    }

    /// From which number on the hook was sent anything.
    async fn since(&self, how: &Undelivered, hook: &str) -> Result<u64, PortError> {
        let Some(since) = &how.since else { return Ok(0) };
        let reply = self.call(Method::GET, &since.path, Said { id: hook, ..Said::default() }).await?;
        let unknown = || PortError::errored(format!("{} does not say since when it sends", self.definition.title));
        reply.value.pointer(&since.number).and_then(Value::as_u64).ok_or_else(unknown)
    }

    /// Has a delivery made again, or reads its event.
    pub(crate) async fn again(&self, hook: &str, delivery: &str) -> Result<Option<String>, PortError> {
        let how = self.registration()?.undelivered.as_ref();
        let said = Said { id: hook, delivery, ..Said::default() };
        match how.map(|how| (&how.again, &how.read)) {
            Some((Some(again), _)) => {
                self.call(Method::POST, again, said).await?;
                Ok(None)
            }
            Some((None, Some(read))) => Ok(Some(self.call(Method::GET, read, said).await?.value.to_string())),
            _ => Err(PortError::failed("this source repeats no deliveries")),
        }
    }

    /// The source only tried the address out.
    fn is_ping(&self, entry: &Value) -> bool {
        entry.get("event").and_then(Value::as_str).is_some_and(|kind| self.definition.pings.iter().any(|ping| ping == kind))
    }
}

impl Undelivered {
    fn is_wanted(&self, entry: &Value, events: &[String]) -> bool {
        let kind = self.kind.as_ref().and_then(|place| entry.pointer(place)?.as_str());
        kind.is_none_or(|kind| events.is_empty() || events.iter().any(|event| event == kind || event == "*"))
    }

    fn has_failed(&self, entry: &Value) -> bool {
        let Some(place) = &self.status else { return true };
        let status = match entry.pointer(place) {
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
