//! Writes what attempts came to, many at a time.

use std::collections::HashSet;
use std::sync::LazyLock;

use hookwright_core::DeliveryId;

use super::AttemptEnd;
use super::rows::{self, Statements};
use crate::sql::{args, json_text};
use crate::{Result, Tx};

const END_COLUMNS: usize = 7;
static UPDATE: LazyLock<Statements> = LazyLock::new(|| {
    rows::statements(
        "WITH ended (delivery, was, becomes, reason, made, due, done_at) AS (VALUES ",
        END_COLUMNS,
        ") UPDATE deliveries SET status = becomes, status_reason = reason, attempts = made, due_at = due, ended_at = done_at
        FROM ended WHERE id = delivery AND status = was RETURNING id",
    )
});

const ATTEMPT_COLUMNS: usize = 8;
static INSERT_ATTEMPTS: LazyLock<Statements> = LazyLock::new(|| {
    rows::statements(
        "INSERT INTO attempts (delivery, number, started_at, duration_ms, status_code, error, headers, body) VALUES ",
        ATTEMPT_COLUMNS,
        " ON CONFLICT (delivery, number) DO NOTHING",
    )
});

/// Writes ends; for each, in their order, whether its delivery was in the status it is said to come from. If not, nothing of it is written.
pub(super) async fn write(tx: &mut Tx, ends: Vec<&AttemptEnd>) -> Result<Vec<bool>> {
    let mut written = Vec::with_capacity(ends.len());
    let mut rest = ends.as_slice();
    while !rest.is_empty() {
        // Of two ends of one delivery the second meets what the first has left.
        let mut known = HashSet::new();
        let together = rest.iter().take_while(|end| known.insert(end.delivery.id)).count();
        let (now, later) = rest.split_at(together);
        let moved = update(tx, now).await?;
        let attempts: Vec<&AttemptEnd> = now.iter().copied().filter(|end| moved.contains(&end.delivery.id)).collect();
        insert_attempts(tx, &attempts).await?;
        written.extend(now.iter().map(|end| moved.contains(&end.delivery.id)));
        rest = later;
    }
    Ok(written)
}

/// Moves deliveries; returns which.
async fn update(tx: &mut Tx, ends: &[&AttemptEnd]) -> Result<HashSet<DeliveryId>> {
    let mut moved = HashSet::with_capacity(ends.len());
    for (statement, part) in rows::parts(&UPDATE, tx.is_shared(), ends) {
        let mut values = Vec::with_capacity(part.len() * END_COLUMNS);
        for AttemptEnd { delivery, from, .. } in part {
            if *from != delivery.status {
                from.to(delivery.status)?;
            }
            let reason = delivery.status_reason.clone();
            values.extend(args![delivery.id, *from, delivery.status, reason, delivery.attempts, delivery.due_at, delivery.ended_at]);
        }
        for row in tx.fetch_all(statement, values).await? {
            moved.insert(row.parse("id")?);
        }
    }
    Ok(moved)
}

async fn insert_attempts(tx: &mut Tx, ends: &[&AttemptEnd]) -> Result<()> {
    let attempts: Vec<_> = ends.iter().filter_map(|end| end.attempt.as_ref()).collect();
    for (statement, part) in rows::parts(&INSERT_ATTEMPTS, tx.is_shared(), &attempts) {
        let mut values = Vec::with_capacity(part.len() * ATTEMPT_COLUMNS);
        for attempt in part {
            let answer = attempt.answer.as_ref();
            values.extend(args![
                attempt.delivery,
                attempt.number,
                attempt.started_at,
                attempt.duration_ms,
                answer.map(|answer| i64::from(answer.status)),
                attempt.error,
                answer.map(|answer| json_text(&answer.headers)),
                answer.map(|answer| answer.body.replace('\0', "\u{fffd}"))
            ]);
        }
        tx.execute(statement, values).await?;
    }
    Ok(())
}
