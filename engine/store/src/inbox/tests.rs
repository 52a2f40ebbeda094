//! The writer under many hands, under a full disk, and what it says of duplicates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hookwright_core::status::{DeliveryStatus, SubscriptionStatus};
use hookwright_core::{Attempt, AttemptAnswer, Clock, Delivery, DeliveryId, EventId, IdSource, Subscription, Timestamp, TriggerPlace};
use hookwright_testkit::Database;
use tokio::task::JoinHandle;

use super::{Accepted, AttemptEnd, Inbox, NewEvent};
use crate::leadership::tests::lead;
use crate::{DeliveryFilter, Forgotten, SecretKey, Store, StoreOptions};

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000)
    }

    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

#[derive(Default)]
struct Counted(AtomicU64);

impl IdSource for Counted {
    fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

fn options(url: String, folder: &std::path::Path) -> StoreOptions {
    let key = SecretKey::load_or_create(&folder.join("key")).expect("a key");
    StoreOptions { url, clock: Arc::new(Still), ids: Arc::<Counted>::default(), key, failpoint: None }
}

pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) inbox: Inbox,
    writer: JoinHandle<()>,
    pub(super) subscription: Subscription,
    folder: tempfile::TempDir,
    /// How many there have been, so that each makes ids of its own.
    daemons: u64,
    pub(super) database: Option<Database>,
}

impl Bench {
    pub(super) async fn set_up() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::of_the_environment();
        let url = database.as_ref().map_or_else(|| format!("sqlite://{}", folder.path().join("db").display()), Database::url);
        let store = Store::open(options(url, folder.path())).await.expect("a store");
        lead(&store).await;
        let (inbox, writer) = store.inbox().await.expect("an inbox");
        let writer = tokio::spawn(writer);
        let place = TriggerPlace {
            webhook: "shop".parse().expect("a name"),
            environment: "development".parse().expect("a name"),
            trigger: "issues".parse().expect("a name"),
        };
        let mut tx = store.begin().await.expect("a transaction");
        let subscription = tx.subscription_ensure(&place, "github", SubscriptionStatus::Manual).await.expect("a subscription");
        tx.commit("subscription.created").await.expect("a commit");
        Self { store, inbox, writer, subscription, folder, daemons: 1, database }
    }

    /// The next daemon, after this one was killed.
    pub(super) async fn killed(self) -> Self {
        let Self { store, inbox, writer, subscription, folder, daemons, database } = self;
        writer.abort();
        assert!(writer.await.is_err(), "it never ends by itself");
        drop((store, inbox));
        let url = database.as_ref().map_or_else(|| format!("sqlite://{}", folder.path().join("db").display()), Database::url);
        let ids = Arc::new(Counted(AtomicU64::new(daemons << 32)));
        let store = Store::open(StoreOptions { ids, ..options(url, folder.path()) }).await.expect("a store");
        lead(&store).await;
        let (inbox, writer) = store.inbox().await.expect("an inbox");
        Self { store, inbox, writer: tokio::spawn(writer), subscription, folder, daemons: daemons + 1, database }
    }

    pub(super) fn event(&self, id: &str, body: usize) -> NewEvent {
        NewEvent {
            subscription: self.subscription.id,
            place: self.subscription.place.clone(),
            source: "github".to_owned(),
            kind: "issues.opened".to_owned(),
            source_id: Some(id.to_owned()),
            verified: true,
            received_at: Timestamp::from_millis(1_000_000),
            headers: vec![("x".to_owned(), "y".to_owned())],
            body: Bytes::from(vec![7; body]),
            redact: Vec::new(),
            redacted: false,
            replay_keys: [Some(format!("id/{id}")), Some(format!("signature/{id}"))],
            skipped: None,
            order_key: None,
            not_before: None,
        }
    }

    pub(super) async fn stored(&self) -> usize {
        let filter = DeliveryFilter { webhook: Some(self.subscription.place.webhook.clone()), ..DeliveryFilter::default() };
        self.store.delivery_list(&filter, None, 10_000).await.expect("a list").len()
    }
}

pub(super) fn is_new(accepted: &Accepted) -> bool {
    matches!(accepted, Accepted::New(_))
}

#[tokio::test]
async fn of_events_with_one_id_that_arrive_together_exactly_one_is_new_and_each_other_one_is_too() {
    let bench = Bench::set_up().await;
    let many = (0..400).map(|number| bench.inbox.accept(bench.event(&format!("{}", number % 100), 10)));
    let taken: Vec<Accepted> = futures_util::future::join_all(many).await.into_iter().map(|taken| taken.expect("accepted")).collect();
    assert_eq!(taken.iter().filter(|taken| is_new(taken)).count(), 100);
    assert_eq!(bench.stored().await, 100);
    let mut other = bench.event("another id", 10);
    other.replay_keys[1] = Some("signature/5".to_owned());
    assert!(!is_new(&bench.inbox.accept(other).await.expect("accepted")), "the signature alone is enough");
    let known = bench.store.subscription_fetch(bench.subscription.id).await.expect("a row").expect("a subscription");
    assert_eq!((known.status, known.last_event_at.is_some()), (SubscriptionStatus::Active, true), "a first event shows that it works");
}

#[tokio::test]
async fn an_event_is_read_back_byte_for_byte_and_its_sequence_is_that_of_its_acceptance() {
    let bench = Bench::set_up().await;
    let mut sequences = Vec::new();
    for number in 0..20 {
        let event = NewEvent {
            body: Bytes::from((0..=255).cycle().take(number * 1000).collect::<Vec<u8>>()),
            ..bench.event(&number.to_string(), 0)
        };
        let Accepted::New(delivery) = bench.inbox.accept(event.clone()).await.expect("accepted") else { panic!("it is new") };
        sequences.push(delivery.sequence);
        let stored = bench.store.event_fetch(delivery.event).await.expect("a row").expect("an event");
        assert_eq!((stored.body, stored.headers), (event.body, event.headers));
    }
    assert!(sequences.is_sorted() && sequences.first() < sequences.last(), "{sequences:?}");
    assert!(bench.store.event_fetch(EventId::new(&Counted(AtomicU64::new(1 << 40)))).await.expect("a look").is_none());
}

#[tokio::test]
async fn what_another_daemon_stores_under_a_number_that_a_duplicate_left_unused_is_noticed_by_the_leader() {
    let bench = Bench::set_up().await;
    let Some(database) = &bench.database else { return };
    let ids = Arc::new(Counted(AtomicU64::new(1 << 32)));
    let beside = StoreOptions { ids, ..options(database.url(), bench.folder.path()) };
    let (second, writer) = Store::open(beside).await.expect("a store").inbox().await.expect("an inbox");
    tokio::spawn(writer);
    let others = bench.inbox.others();
    let number = |accepted: Accepted| if let Accepted::New(delivery) = accepted { Some(delivery.sequence) } else { None };

    let first = number(bench.inbox.accept(bench.event("1", 10)).await.expect("accepted")).expect("it is new");
    assert!(!is_new(&bench.inbox.accept(bench.event("1", 10)).await.expect("accepted")), "the same again");
    let strange = number(second.accept(bench.event("2", 10)).await.expect("accepted")).expect("it is new");
    assert!(strange > first, "{strange} comes after {first}");
    // Whoever writes next looks first.
    bench.inbox.accept(bench.event("3", 10)).await.expect("accepted");
    assert_eq!(*others.borrow(), strange, "the leader is told that somebody stored something, or nobody delivers it");
}

#[tokio::test]
async fn of_ends_that_are_written_together_each_finds_its_delivery_and_the_second_of_one_is_not_written() {
    let bench = Bench::set_up().await;
    let mut ends = Vec::new();
    for number in 0..90 {
        let Accepted::New(delivery) = bench.inbox.accept(bench.event(&number.to_string(), 10)).await.expect("accepted") else {
            panic!("it is new")
        };
        let answer = AttemptAnswer { status: 200 + number % 2 * 300, headers: Vec::new(), body: format!("answer {number}") };
        let attempt = Attempt {
            delivery: delivery.id,
            number: 1,
            started_at: delivery.created_at,
            duration_ms: u64::from(number),
            answer: Some(answer),
            error: None,
        };
        let (from, due_at) = (delivery.status, delivery.due_at);
        let after = if number % 2 == 0 {
            Delivery { status: DeliveryStatus::Delivered, attempts: 1, ended_at: Some(due_at), ..*delivery }
        } else {
            Delivery { status: DeliveryStatus::Waiting, status_reason: Some(format!("reason {number}")), attempts: 1, ..*delivery }
        };
        ends.push(AttemptEnd { attempt: Some(attempt), delivery: after, from });
    }
    let again = ends[4].clone();
    let written = futures_util::future::join_all(ends.iter().chain([&again]).map(|end| bench.inbox.attempt_ended(end.clone()))).await;
    let written: Vec<bool> = written.into_iter().map(|written| written.expect("written")).collect();
    assert_eq!(written, [vec![true; 90], vec![false]].concat());
    for AttemptEnd { attempt, delivery, .. } in &ends {
        let stored = bench.store.delivery_fetch(delivery.id).await.expect("a row").expect("a delivery");
        assert_eq!(
            (stored.status, &stored.status_reason, stored.attempts, stored.due_at, stored.ended_at),
            (delivery.status, &delivery.status_reason, 1, delivery.due_at, delivery.ended_at)
        );
        assert_eq!(bench.store.attempt_list(delivery.id).await.expect("a list"), attempt.clone().into_iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_full_disk_refuses_events_loses_none_and_takes_them_again_once_there_is_room() {
    let bench = Bench::set_up().await;
    if bench.database.is_some() {
        // How full a PostgreSQL is, it alone knows; what it answers then goes the same way.
        return;
    }
    let limit = async |pages: &'static str| {
        let mut tx = bench.store.begin().await.expect("a transaction");
        tx.fetch_all(pages, Vec::new()).await.expect("a limit");
    };
    limit("PRAGMA max_page_count = 400").await;
    let (mut taken, mut refused) = (Vec::new(), None);
    // Two at a time: what is refused together is tried alone on the same connection, which has the limit.
    for number in (0..200).step_by(2) {
        let both = [number, number + 1].map(|number| bench.inbox.accept(bench.event(&number.to_string(), 20_000)));
        for (number, accepted) in (number..).zip(futures_util::future::join_all(both).await) {
            match accepted {
                Ok(Accepted::New(delivery)) => taken.push(delivery.event),
                Ok(Accepted::Duplicate) => panic!("none came twice"),
                Err(_) => refused = Some(number),
            }
        }
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("the disk is full at some time");
    assert!(!taken.is_empty());
    limit("PRAGMA max_page_count = 100000").await;
    for id in &taken {
        assert!(bench.store.event_fetch(*id).await.expect("a look").is_some(), "what was acknowledged is there");
    }
    let again = bench.inbox.accept(bench.event(&refused.to_string(), 20_000)).await.expect("there is room");
    assert!(is_new(&again), "what was refused is not taken for a duplicate of itself");
    assert_eq!(bench.stored().await, taken.len() + 1);
}

#[tokio::test]
async fn after_the_database_ended_a_transaction_by_itself_what_is_accepted_is_committed() {
    let bench = Bench::set_up().await;
    if bench.database.is_some() {
        return;
    }
    // As SQLite does on a full disk, without a word to whoever counts transactions.
    let mut tx = bench.store.begin().await.expect("a transaction");
    tx.execute("ROLLBACK", Vec::new()).await.expect("it ends");
    drop(tx);
    drop(bench.store.begin().await.expect("a transaction"));
    assert!(is_new(&bench.inbox.accept(bench.event("1", 10)).await.expect("accepted")));
    assert_eq!(bench.stored().await, 1, "others see it");
}

#[tokio::test]
async fn a_large_event_that_is_refused_takes_no_small_one_with_it() {
    let bench = Bench::set_up().await;
    if bench.database.is_some() {
        return;
    }
    let mut tx = bench.store.begin().await.expect("a transaction");
    tx.fetch_all("PRAGMA max_page_count = 400", Vec::new()).await.expect("a limit");
    drop(tx);
    let sizes = [10, 4_000_000, 10, 10];
    let together = sizes.iter().enumerate().map(|(number, size)| bench.inbox.accept(bench.event(&number.to_string(), *size)));
    let taken: Vec<bool> = futures_util::future::join_all(together).await.into_iter().map(|taken| taken.is_ok()).collect();
    assert_eq!(taken, [true, false, true, true]);
}

#[tokio::test]
async fn the_log_is_begun_anew_while_events_never_stop_coming() {
    const BODY: usize = 32_000;
    let bench = Bench::set_up().await;
    if bench.database.is_some() {
        return;
    }
    // Nobody rests until twice as much was written as a commit would move by itself.
    let source = async |number: u64| {
        for event in 0..64 {
            bench.inbox.accept(bench.event(&format!("{number}-{event}"), BODY)).await.expect("accepted");
        }
    };
    futures_util::future::join_all((0..64).map(source)).await;
    let log = bench.folder.path().join("db-wal").metadata().expect("a log").len();
    assert!(log < 56 << 20, "the log has {} MiB, so that a commit had to move it", log >> 20);
}

impl Bench {
    pub(super) async fn forget_all(&self, keys_since: i64) {
        let mut after = None;
        let until = Forgotten::Before(Timestamp::from_millis(1 << 40));
        while let Some(last) = self.store.event_forget(until, Timestamp::from_millis(keys_since), after).await.expect("forgotten") {
            after = Some(last);
        }
    }

    pub(super) async fn accept(&self, event: NewEvent) -> Delivery {
        match self.inbox.accept(event).await.expect("accepted") {
            Accepted::New(delivery) => *delivery,
            Accepted::Duplicate => panic!("it came once"),
        }
    }

    async fn ends(&self, delivery: &Delivery, status: DeliveryStatus) -> Delivery {
        let ended = Delivery { status, ended_at: Some(Timestamp::from_millis(1_000_001)), ..delivery.clone() };
        let end = AttemptEnd { attempt: None, delivery: ended.clone(), from: delivery.status };
        assert!(self.inbox.attempt_ended(end).await.expect("written"));
        ended
    }

    /// The body as it is stored, and whether it is said to be redacted.
    async fn body(&self, id: EventId) -> (String, bool) {
        let event = self.store.event_fetch_whole(id).await.expect("a row").expect("an event");
        (String::from_utf8(event.body.to_vec()).expect("a text"), event.redacted)
    }

    fn personal(&self, id: &str) -> NewEvent {
        NewEvent {
            body: Bytes::from_static(br#"{"user":{"email":"rosa@example.org"}}"#),
            redact: vec!["payload.user.email".parse().expect("a path")],
            ..self.event(id, 0)
        }
    }
}

const WHOLE: &str = r#"{"user":{"email":"rosa@example.org"}}"#;
const CUT: &str = r#"{"user":{"email":"[redacted]"}}"#;

#[tokio::test]
async fn old_events_are_forgotten_and_what_is_still_to_be_delivered_is_not() {
    let bench = Bench::set_up().await;
    bench.accept(NewEvent { skipped: Some("a ping".to_owned()), ..bench.event("old", 10) }).await;
    bench.accept(bench.event("waits", 10)).await;
    bench.forget_all(1 << 40).await;
    let filter = DeliveryFilter { webhook: Some(bench.subscription.place.webhook.clone()), ..DeliveryFilter::default() };
    let left = bench.store.delivery_list(&filter, None, 10).await.expect("a list");
    assert_eq!(left.iter().map(|delivery| delivery.status).collect::<Vec<_>>(), [DeliveryStatus::Queued]);
    assert!(is_new(&bench.inbox.accept(bench.event("old", 10)).await.expect("accepted")), "nothing of it was kept");
}

#[tokio::test]
async fn what_was_forgotten_for_its_size_is_known_again_when_it_comes_a_second_time() {
    let bench = Bench::set_up().await;
    let delivery = bench.accept(bench.event("1", 5000)).await;
    bench.ends(&delivery, DeliveryStatus::Delivered).await;
    bench.forget_all(0).await;
    assert!(bench.store.event_fetch(delivery.event).await.expect("a look").is_none());
    assert!(bench.store.event_sizes(None, 10).await.expect("sizes").is_empty(), "it takes no room");
    assert!(!is_new(&bench.inbox.accept(bench.event("1", 5000)).await.expect("accepted")));
    assert_eq!(bench.store.event_forget_keys(Timestamp::from_millis(1 << 40)).await.expect("removed"), 1);
    assert!(is_new(&bench.inbox.accept(bench.event("1", 5000)).await.expect("accepted")), "after its time it is a new one");
}

#[tokio::test]
async fn the_room_that_events_take_is_told_newest_first_with_what_handlers_answered() {
    let bench = Bench::set_up().await;
    let older = bench.accept(bench.event("1", 1000)).await;
    let newer = bench.accept(bench.event("2", 2000)).await;
    let answer = AttemptAnswer { status: 200, headers: Vec::new(), body: "x".repeat(500) };
    let attempt =
        Attempt { delivery: newer.id, number: 1, started_at: newer.created_at, duration_ms: 1, answer: Some(answer), error: None };
    let delivery = Delivery { status: DeliveryStatus::Delivered, ended_at: Some(newer.created_at), ..newer.clone() };
    bench.inbox.attempt_ended(AttemptEnd { attempt: Some(attempt), delivery, from: newer.status }).await.expect("written");
    let headers = r#"[["x","y"]]"#.len() as u64;
    let first = bench.store.event_sizes(None, 1).await.expect("sizes");
    assert_eq!(first, [(newer.event, 2000 + headers + 500 + 2)]);
    assert_eq!(bench.store.event_sizes(Some(newer.event), 10).await.expect("sizes"), [(older.event, 1000 + headers)]);
    bench.ends(&older, DeliveryStatus::Dead).await;
    bench.store.event_forget(Forgotten::OlderThan(newer.event), Timestamp::from_millis(0), None).await.expect("forgotten");
    assert!(bench.store.event_fetch(older.event).await.expect("a look").is_none());
    assert!(bench.store.event_fetch(newer.event).await.expect("a look").is_some(), "the one it is named after stays");
}

#[tokio::test]
async fn what_nobody_is_to_see_is_shown_to_nobody_and_cut_out_once_it_was_delivered() {
    let bench = Bench::set_up().await;
    let delivery = bench.accept(bench.personal("1")).await;
    assert_eq!(bench.body(delivery.event).await, (WHOLE.to_owned(), false), "the handler gets what the source signed");
    let shown = bench.store.event_fetch(delivery.event).await.expect("a row").expect("an event");
    assert_eq!(shown.body, CUT, "and everybody else does not, meanwhile too");
    let waiting = bench.ends(&delivery, DeliveryStatus::Waiting).await;
    assert_eq!(bench.body(delivery.event).await.0, WHOLE);
    bench.ends(&waiting, DeliveryStatus::Delivered).await;
    assert_eq!(bench.body(delivery.event).await, (CUT.to_owned(), true));
}

#[tokio::test]
async fn an_event_that_was_given_up_stays_whole_for_a_replay_until_its_time_is_over() {
    let bench = Bench::set_up().await;
    let given_up = bench.accept(bench.personal("1")).await;
    bench.ends(&given_up, DeliveryStatus::Dead).await;
    assert_eq!(bench.body(given_up.event).await.0, WHOLE);
    let again = Delivery { id: DeliveryId::new(&Counted(AtomicU64::new(1 << 40))), replay: true, ..given_up.clone() };
    let again = bench.inbox.replay(again).await.expect("replayed");
    assert_eq!(bench.store.event_redact_given_up(Timestamp::from_millis(1 << 40)).await.expect("none"), 0, "it is being delivered");
    bench.ends(&again, DeliveryStatus::Delivered).await;
    assert_eq!(bench.body(given_up.event).await, (CUT.to_owned(), true));

    let other = bench.accept(bench.personal("2")).await;
    bench.ends(&other, DeliveryStatus::Dead).await;
    assert_eq!(bench.store.event_redact_given_up(Timestamp::from_millis(1_000_000)).await.expect("a look"), 0);
    assert_eq!(bench.store.event_redact_given_up(Timestamp::from_millis(1_000_001)).await.expect("redacted"), 1);
    assert_eq!(bench.body(other.event).await, (CUT.to_owned(), true));
}

/// Fifteen hundred events of three triggers in two environments, most of one type and all but some skipped; those with a number that a seventh
/// divides are delivered.
async fn many_kinds(bench: &Bench) -> Vec<Delivery> {
    let places = [("development", "issues"), ("development", "orders"), ("production", "issues")];
    let events = (0..1500_i64).map(|number| {
        let (environment, trigger) = places[usize::from(number % 50 == 0) + usize::from(number % 100 == 0)];
        let place = TriggerPlace {
            environment: environment.parse().expect("a name"),
            trigger: trigger.parse().expect("a name"),
            ..bench.subscription.place.clone()
        };
        let kind = ["issues.opened", "issues.closed", "issues-old", "push"]
            [usize::from(number % 90 == 0) + usize::from(number % 180 == 0) + usize::from(number % 540 == 0)];
        NewEvent {
            place,
            kind: kind.to_owned(),
            received_at: Timestamp::from_millis(1_000 + number),
            skipped: (number % 70 != 0).then(|| "the filter says no".to_owned()),
            ..bench.event(&number.to_string(), 10)
        }
    });
    let mut all = Vec::new();
    for taken in futures_util::future::join_all(events.map(|event| bench.inbox.accept(event))).await {
        let Ok(Accepted::New(delivery)) = taken else { panic!("not stored") };
        let number = delivery.created_at.as_millis() - 1_000;
        all.push(if number % 490 == 0 { bench.ends(&delivery, DeliveryStatus::Delivered).await } else { *delivery });
    }
    all.sort_by_key(|delivery| std::cmp::Reverse(delivery.sequence));
    all
}

#[tokio::test]
async fn a_list_holds_the_same_whatever_index_it_is_read_along() {
    let bench = Bench::set_up().await;
    let all = many_kinds(&bench).await;
    let webhook = &bench.subscription.place.webhook;
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let times = [(None, None), (Some(1_100), None), (None, Some(1_010)), (Some(1_005), Some(1_006)), (None, Some(2_400))];
    for environment in ["", "development", "production", "nowhere"] {
        for trigger in ["", "issues", "orders"] {
            for kind in ["", "issues.opened", "issues.*", "push", "nothing.*"] {
                for status in [None, Some(DeliveryStatus::Skipped), Some(DeliveryStatus::Queued), Some(DeliveryStatus::Delivered)] {
                    for (since, until) in times.map(|(since, until)| (since.map(Timestamp::from_millis), until.map(Timestamp::from_millis)))
                    {
                        let filter = DeliveryFilter {
                            webhook: Some(webhook.clone()),
                            environment: text(environment).map(|name| name.parse().expect("a name")),
                            trigger: text(trigger),
                            kind: text(kind),
                            status,
                            since,
                            until,
                        };
                        let is_asked = |delivery: &&Delivery| {
                            let stem = kind.strip_suffix('*');
                            (environment.is_empty() || delivery.place.environment.as_str() == environment)
                                && (trigger.is_empty() || delivery.place.trigger.as_str() == trigger)
                                && (kind.is_empty() || stem.map_or(delivery.kind == kind, |stem| delivery.kind.starts_with(stem)))
                                && status.is_none_or(|status| delivery.status == status)
                                && since.is_none_or(|since| delivery.created_at >= since)
                                && until.is_none_or(|until| delivery.created_at < until)
                        };
                        let asked: Vec<u64> = all.iter().filter(is_asked).map(|delivery| delivery.sequence).collect();
                        for before in [None, Some(700)] {
                            let rest = asked.iter().copied().filter(|sequence| before.is_none_or(|before| *sequence < before)).take(20);
                            let found = bench.store.delivery_list(&filter, before, 20).await.expect("a list");
                            let found: Vec<u64> = found.iter().map(|delivery| delivery.sequence).collect();
                            assert_eq!(found, rest.collect::<Vec<_>>(), "{filter:?} before {before:?}");
                        }
                    }
                }
            }
        }
    }
}
