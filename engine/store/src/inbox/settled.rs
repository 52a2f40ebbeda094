//! Cuts the fields that nobody is to see out of events once nothing is to be delivered of them any more.

use std::collections::HashSet;
use std::sync::LazyLock;

use hookwright_core::EventId;

use super::Work;
use super::rows::{self, Statements};
use crate::sql::args;
use crate::{Result, Tx};

/// Of these events those with fields to cut out, when nothing is to be delivered of them any more: none is open, and what was given up
/// was delivered since.
static SETTLED_EVENTS: LazyLock<Statements> = LazyLock::new(|| {
    rows::lists(
        "SELECT id, headers, redact, body FROM events WHERE id IN",
        "AND redact IS NOT NULL AND redacted = 0
            AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event = events.id AND deliveries.status IN ('queued', 'waiting'))
            AND NOT EXISTS (SELECT 1 FROM deliveries AS given_up WHERE given_up.event = events.id AND given_up.status = 'dead'
                AND NOT EXISTS (SELECT 1 FROM deliveries AS later WHERE later.event = events.id
                    AND later.subscription = given_up.subscription AND later.sequence > given_up.sequence
                    AND later.status IN ('delivered', 'canceled')))",
    )
});

/// Cuts the fields that nobody is to see out of events whose deliveries have ended with this batch.
pub(super) async fn redact(tx: &mut Tx, batch: &[Work]) -> Result<()> {
    let ended = batch.iter().filter_map(|work| match work {
        Work::End(end, _) if end.delivery.status.is_end() => Some(end.delivery.event),
        _ => None,
    });
    let ended: Vec<EventId> = ended.collect::<HashSet<_>>().into_iter().collect();
    for (statement, part) in rows::parts(&SETTLED_EVENTS, tx.is_shared(), &ended) {
        let values = part.iter().flat_map(|id| args![id]).collect();
        for row in tx.fetch_all(statement, values).await? {
            crate::event::redact_in(tx, &row).await?;
        }
    }
    Ok(())
}
