//! What is sent to the addresses of triggers and not taken: counted here, written down every few seconds, so that whoever runs the webhook sees it.
//! Invariant: strangers fill neither memory nor disk with it. What is kept is a count for each deployed trigger and status, and the last of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookwright_core::{SubscriptionId, Timestamp};
use hookwright_store::{Refused, Store};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How long what was counted waits for more of it; so often at most something is written.
const PAUSE: Duration = Duration::from_secs(2);

/// What is kept of a reason, in characters: some quote what was sent.
const REASON: usize = 300;

/// What was counted and not written yet.
#[derive(Default)]
pub(crate) struct Refusals {
    counted: Mutex<HashMap<(SubscriptionId, u16), Refused>>,
    news: Notify,
}

impl Refusals {
    /// Counts one.
    pub(crate) fn note(&self, subscription: SubscriptionId, (status, reason): (u16, &str), (at, from): (Timestamp, Option<IpAddr>)) {
        let reason = reason.chars().take(REASON).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
        let one =
            Refused { subscription, status, count: 1, last_at: at, last_reason: reason, last_from: from.map(|from| from.to_string()) };
        self.add(one);
        self.news.notify_one();
    }

    /// Adds to what was counted; the later one is the last.
    fn add(&self, more: Refused) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (more.subscription, more.status);
        match counted.get_mut(&key) {
            None => drop(counted.insert(key, more)),
            Some(known) => {
                let count = known.count + more.count;
                if more.last_at >= known.last_at {
                    *known = more;
                }
                known.count = count;
            }
        }
    }

    fn take(&self) -> Vec<Refused> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, refused)| refused).collect()
    }

    async fn write(&self, store: &Store) {
        let taken = self.take();
        if taken.is_empty() {
            return;
        }
        if let Err(error) = store.refusal_add(&taken).await {
            warn!(error = &error as &dyn std::error::Error, "refused events could not be written down; they are kept and written later");
            taken.into_iter().for_each(|one| self.add(one));
            self.news.notify_one();
        }
    }

    /// Writes until the gateway stops, and once more then.
    pub(crate) async fn run(self: Arc<Self>, store: Store, stopping: CancellationToken) {
        loop {
            let stops = tokio::select! {
                () = stopping.cancelled() => true,
                () = self.news.notified() => false,
            };
            self.write(&store).await;
            if stops {
                return;
            }
            tokio::select! {
                () = stopping.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn what_is_refused_a_million_times_is_one_count_and_the_last_of_it() {
        let refusals = Refusals::default();
        let id = |number: u8| format!("sub_{number:032}").parse::<SubscriptionId>().expect("an id");
        let (ours, theirs) = (id(1), id(2));
        let from = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for at in 0..1_000 {
            refusals.note(ours, (401, &"x\0".repeat(at)), (Timestamp::from_millis(i64::try_from(at).unwrap_or_default()), from));
        }
        refusals.note(ours, (413, "too large"), (Timestamp::from_millis(5), None));
        refusals.note(theirs, (401, "no signature"), (Timestamp::from_millis(5), None));
        let mut taken = refusals.take();
        taken.sort_by_key(|one| (one.status, one.count));
        let short: Vec<_> = taken.iter().map(|one| (one.subscription, one.status, one.count, one.last_at.as_millis())).collect();
        assert_eq!(short, [(theirs, 401, 1, 5), (ours, 401, 1_000, 999), (ours, 413, 1, 5)]);
        assert!(taken[1].last_reason.chars().count() == REASON && !taken[1].last_reason.contains('\0'));
        assert_eq!(taken[1].last_from.as_deref(), Some("127.0.0.1"));
        // What could not be written comes again, and is not the last any more.
        let old = taken.remove(1);
        refusals.note(ours, (401, "newer"), (Timestamp::from_millis(2_000), None));
        refusals.add(old);
        let taken = refusals.take();
        assert_eq!((taken[0].count, taken[0].last_reason.as_str()), (1_001, "newer"));
    }
}
