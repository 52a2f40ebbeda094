//! Pushes that no webhook came of: their `webhook.yaml` could not be read, so that no board has a row for them. They are said all the same, because
//! whoever pushed for the first time looks there.

use hookwright_core::WebhookName;
use hookwright_store::RunFilter;

use super::run_list::RunRow;
use crate::WebState;
use crate::error::Result;
use crate::visitor::Visitor;

/// Among so many of the newest runs they are sought.
const NEWEST: u32 = 30;

/// The newest run of each name that the visitor reads and that is no webhook.
pub(crate) async fn strays(state: &WebState, visitor: &Visitor) -> Result<Vec<RunRow>> {
    let (now, board) = (state.clock.now(), state.board.read(&state.store).await?);
    let mut known: Vec<WebhookName> = Vec::new();
    let mut rows = Vec::new();
    for run in state.store.run_list(&RunFilter { limit: NEWEST, ..RunFilter::default() }).await? {
        if known.contains(&run.webhook) || !visitor.caller.sees(&run.webhook) {
            continue;
        }
        known.push(run.webhook.clone());
        // One that could be read, and is no webhook, was removed.
        if run.plan_digest.is_none() && !board.has(&run.webhook) {
            rows.push(RunRow::new(state, run, now).await?);
        }
    }
    Ok(rows)
}
