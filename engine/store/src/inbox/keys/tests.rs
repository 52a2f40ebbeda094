//! An event that comes again is known as such wherever its keys stand at that moment, and no longer than it is kept.

use std::collections::HashSet;
use std::time::Duration;

use hookwright_core::SubscriptionId;

use super::{Change, Key, Keys, MANY, PACE, Row};
use crate::inbox::NewEvent;
use crate::inbox::tests::{Bench, is_new};
use crate::{Result, Store};

/// Puts all keys where they belong, as the writer does while nothing comes.
async fn tidy(store: &Store) {
    loop {
        let Some(mut keys) = store.event_keys().await else { return };
        let mut tx = store.begin_beside().await.expect("a transaction");
        let change = keys.tidy(&mut tx).await.expect("tidied");
        keys.commit(tx, "event_keys.moved", change, Duration::ZERO).await.expect("committed");
        if keys.pause(Duration::ZERO).is_none() {
            return;
        }
    }
}

async fn count(store: &Store, statement: &'static str) -> Result<i64> {
    store.fetch_optional(statement, Vec::new()).await?.map_or(Ok(0), |row: Row| row.integer("many"))
}

/// How many keys are in their place, and how many rows hold others.
async fn standing(store: &Store) -> (i64, i64) {
    let placed = count(store, "SELECT COUNT(*) AS many FROM event_keys").await.expect("a number");
    (placed, count(store, "SELECT COUNT(*) AS many FROM new_event_keys").await.expect("a number"))
}

async fn knows(bench: &Bench, id: &str) -> bool {
    let known = !is_new(&bench.inbox.accept(bench.event(id, 10)).await.expect("accepted"));
    let by_signature = NewEvent { replay_keys: [None, Some(format!("signature/{id}"))], ..bench.event(id, 10) };
    known && !is_new(&bench.inbox.accept(by_signature).await.expect("accepted"))
}

async fn has(bench: &Bench, id: &str) -> bool {
    bench.store.event_is_stored(bench.subscription.id, &format!("id/{id}")).await.expect("a look")
}

#[tokio::test]
async fn an_event_is_known_again_before_its_keys_are_in_their_place_and_after() {
    let bench = Bench::set_up().await;
    bench.accept(bench.event("1", 10)).await;
    assert!(knows(&bench, "1").await && has(&bench, "1").await && !has(&bench, "2").await);
    tidy(&bench.store).await;
    if bench.database.is_none() {
        assert_eq!(standing(&bench.store).await, (2, 0));
    }
    assert!(knows(&bench, "1").await && has(&bench, "1").await && !has(&bench, "2").await);
    bench.accept(bench.event("2", 10)).await;
    assert_eq!(bench.stored().await, 2);
}

#[tokio::test]
async fn a_key_counts_at_its_own_place_and_in_its_own_subscription_and_nothing_without_keys_is_known() {
    let bench = Bench::set_up().await;
    let with = |keys: [Option<&str>; 2]| NewEvent { replay_keys: keys.map(|key| key.map(str::to_owned)), ..bench.event("x", 10) };
    let elsewhere = SubscriptionId::new(&*bench.store.inner.ids);
    for new in [
        with([Some("a"), None]),
        with([None, Some("a")]),
        NewEvent { subscription: elsewhere, ..with([Some("a"), None]) },
        with([None, None]),
        with([None, None]),
    ] {
        bench.accept(new).await;
    }
    assert!(!is_new(&bench.inbox.accept(with([Some("b"), Some("a")])).await.expect("accepted")));
    bench.accept(with([Some("b"), Some("b")])).await;
    assert_eq!(bench.stored().await, 6, "of what is known no key is kept");
}

#[tokio::test]
async fn a_daemon_that_is_killed_before_or_while_keys_are_moved_knows_every_event_afterwards() {
    let mut bench = Bench::set_up().await;
    for number in 0..20 {
        bench.accept(bench.event(&number.to_string(), 10)).await;
    }
    bench = bench.killed().await;
    assert!(knows(&bench, "7").await, "nothing was moved");
    if bench.database.is_none() {
        // Half of them are moved, and nothing is removed yet.
        let mut keys = bench.store.event_keys().await.expect("SQLite");
        let mut tx = bench.store.begin_beside().await.expect("a transaction");
        keys.begin();
        let mut change = Change::default();
        keys.move_some(&mut tx, 20, &mut change).await.expect("moved");
        keys.commit(tx, "event_keys.moved", change, Duration::ZERO).await.expect("committed");
        drop(keys);
        let (placed, rows) = standing(&bench.store).await;
        assert!(placed == 20 && rows > 0, "{placed} are moved, {rows} rows are left");
    }
    bench = bench.killed().await;
    for number in 0..20 {
        assert!(knows(&bench, &number.to_string()).await, "{number} is known");
    }
    tidy(&bench.store).await;
    if bench.database.is_none() {
        assert_eq!(standing(&bench.store).await, (40, 0));
    }
    bench = bench.killed().await;
    assert!(knows(&bench, "7").await, "all were moved");
    assert_eq!(bench.stored().await, 20);
}

#[tokio::test]
async fn what_could_not_be_stored_is_new_when_it_comes_again() {
    let bench = Bench::set_up().await;
    let Some(mut keys) = bench.store.event_keys().await else { return };
    // A transaction that somebody gives up, after everything but the commit.
    let key: Key = [7; 16];
    let mut tx = bench.store.begin_beside().await.expect("a transaction");
    keys.read(&mut tx).await.expect("read");
    drop(keys.append(&mut tx, vec![key]).await.expect("appended"));
    drop(tx);
    assert!(!keys.holds(&key));
    // One of which nobody learns what it came to.
    let mut tx = bench.store.begin_beside().await.expect("a transaction");
    let change = keys.append(&mut tx, vec![key]).await.expect("appended");
    let Keys { memory, .. } = &mut *keys;
    *memory = super::Memory::UnlessAppended;
    tx.commit("events.written").await.expect("committed");
    drop(change);
    assert!(!keys.holds(&key));
    let mut tx = bench.store.begin_beside().await.expect("a transaction");
    keys.read(&mut tx).await.expect("read");
    assert!(keys.holds(&key), "it is looked up");
    drop((tx, keys));

    let limit = async |pages: &'static str| {
        let mut tx = bench.store.begin().await.expect("a transaction");
        tx.fetch_all(pages, Vec::new()).await.expect("a limit");
    };
    limit("PRAGMA max_page_count = 400").await;
    let sizes = [10, 4_000_000, 10, 10];
    let together = sizes.iter().enumerate().map(|(number, size)| bench.inbox.accept(bench.event(&number.to_string(), *size)));
    let taken: Vec<bool> = futures_util::future::join_all(together).await.into_iter().map(|taken| taken.is_ok()).collect();
    assert_eq!(taken, [true, false, true, true]);
    limit("PRAGMA max_page_count = 100000").await;
    assert!(is_new(&bench.inbox.accept(bench.event("1", 4_000_000)).await.expect("there is room")), "it was refused");
    for number in 0..4 {
        assert!(knows(&bench, &number.to_string()).await, "{number} is stored");
    }
}

#[tokio::test]
async fn with_an_event_its_keys_go_wherever_they_stand() {
    let bench = Bench::set_up().await;
    for placed in [false, true] {
        bench.accept(NewEvent { skipped: Some("a ping".to_owned()), ..bench.event("gone", 10) }).await;
        bench.accept(bench.event(&format!("kept {placed}"), 10)).await;
        if placed {
            tidy(&bench.store).await;
        }
        bench.forget_all(1 << 40).await;
        assert!(!has(&bench, "gone").await && has(&bench, &format!("kept {placed}")).await);
    }
    let bench = bench.killed().await;
    assert!(!has(&bench, "gone").await && knows(&bench, "kept false").await && knows(&bench, "kept true").await);
    if bench.database.is_none() {
        tidy(&bench.store).await;
        assert_eq!(standing(&bench.store).await, (4, 0), "of each that is kept there are two");
    }
}

#[tokio::test]
async fn many_keys_are_moved_a_few_at_a_time_while_others_come_and_none_is_unknown_meanwhile() {
    let bench = Bench::set_up().await;
    let Some(mut keys) = bench.store.event_keys().await else { return };
    let made = |number: u64| -> Key {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(number.to_be_bytes());
        *digest.first_chunk().expect("a digest is longer")
    };
    let all: Vec<Key> = (0..MANY as u64 * 2).map(made).collect();
    let (mut most, mut placed) = (0, HashSet::new());
    for part in all.chunks(4096) {
        let mut tx = bench.store.begin_beside().await.expect("a transaction");
        keys.read(&mut tx).await.expect("read");
        let mut change = keys.append(&mut tx, part.to_vec()).await.expect("appended");
        keys.keep_up(&mut tx, &mut change).await.expect("moved");
        assert!(change.moved() <= PACE * part.len());
        let from = keys.moving.moved;
        placed.extend(keys.moving.keys[from..from + change.moved()].iter().copied());
        keys.commit(tx, "events.written", change, Duration::ZERO).await.expect("committed");
        most = most.max(keys.new.len());
    }
    assert!(most <= MANY, "{most} were held back");
    assert_eq!(placed.len(), MANY, "the first half is moved while the second one comes");
    for key in &all {
        assert!(keys.holds(key) || placed.contains(key));
    }
    drop(keys);
    tidy(&bench.store).await;
    assert_eq!(standing(&bench.store).await, (MANY as i64 * 2, 0));
}
