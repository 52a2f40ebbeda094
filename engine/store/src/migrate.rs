//! Brings a database up to date: each migration once, statement by statement, on both databases.
//! A database that a newer version wrote is refused, and so is one whose applied migrations differ from ours.

use std::time::Duration;

use hookwright_core::Digest;

use crate::sql::args;
use crate::{Error, Result, Store, Tx};

/// Every migration, in order. Applied ones never change.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../migrations/0001_foundation.sql")),
    (2, include_str!("../migrations/0002_runs.sql")),
    (3, include_str!("../migrations/0003_releases.sql")),
    (4, include_str!("../migrations/0004_remote_credentials.sql")),
    (5, include_str!("../migrations/0005_people.sql")),
    (6, include_str!("../migrations/0006_events.sql")),
    (7, include_str!("../migrations/0007_users.sql")),
    (8, include_str!("../migrations/0008_traffic.sql")),
    (9, include_str!("../migrations/0009_catch_up.sql")),
    (11, include_str!("../migrations/0011_pull_requests.sql")),
    (12, include_str!("../migrations/0012_public_status.sql")),
    (13, include_str!("../migrations/0013_identities.sql")),
    (14, include_str!("../migrations/0014_channels.sql")),
    (15, include_str!("../migrations/0015_redaction.sql")),
    (16, include_str!("../migrations/0016_repository_hooks.sql")),
    (17, include_str!("../migrations/0017_leadership.sql")),
    (18, include_str!("../migrations/0018_board.sql")),
    (19, include_str!("../migrations/0019_lists.sql")),
    (21, include_str!("../migrations/0021_holds_and_audit.sql")),
    (24, include_str!("../migrations/0024_refusals.sql")),
    (25, include_str!("../migrations/0025_changes.sql")),
    (26, include_str!("../migrations/0026_event_keys.sql")),
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, digest TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/// What keeps two daemons from bringing a PostgreSQL up to date at the same time, and away from one whose version does not know of leaders.
const LOCK: i64 = i64::from_be_bytes(*b"hookwrig");

/// How often, and how far apart, the lock is asked for. A daemon that was just killed may hold it for a moment longer.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// How long somebody who leads may take for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// Applies every migration that is missing. A database that another daemon works with is not changed under it.
pub(crate) async fn run(store: &Store) -> Result<()> {
    if store.is_shared() {
        if is_current(store).await? {
            return Ok(());
        }
        refuse_beside_a_leader(store).await?;
    }
    run_to(store, i64::MAX).await
}

/// Whether nothing is missing. One that a newer version wrote is refused by [`run_to`].
async fn is_current(store: &Store) -> Result<bool> {
    const TABLES: &str = "SELECT COUNT(*) AS many FROM information_schema.tables WHERE table_name = 'migrations'
        AND table_schema = ANY (current_schemas(false))";
    let many: i64 = store.fetch_optional(TABLES, Vec::new()).await?.map_or(Ok(0), |row| row.integer("many"))?;
    if many == 0 {
        return Ok(false);
    }
    let rows = store.fetch_all("SELECT version, digest FROM migrations ORDER BY version", Vec::new()).await?;
    let applied = rows.iter().map(|row| Ok((row.integer("version")?, row.text("digest")?))).collect::<Result<Vec<_>>>()?;
    Ok(applied == MIGRATIONS.iter().map(|(version, text)| (*version, Digest::of(text).to_string())).collect::<Vec<_>>())
}

/// A daemon of an older version may lead at this moment; it does not know what a migration makes of its tables.
async fn refuse_beside_a_leader(store: &Store) -> Result<()> {
    const TABLES: &str = "SELECT COUNT(*) AS many FROM information_schema.tables WHERE table_name = 'leadership'
        AND table_schema = ANY (current_schemas(false))";
    let many: i64 = store.fetch_optional(TABLES, Vec::new()).await?.map_or(Ok(0), |row| row.integer("many"))?;
    if many == 0 {
        return Ok(());
    }
    let Some(seen) = store.leadership_fetch().await?.filter(|seen| seen.holder.is_some()) else { return Ok(()) };
    tokio::time::sleep(SIGN_OF_LIFE).await;
    if store.leadership_fetch().await?.is_some_and(|now| now == seen) {
        return Ok(());
    }
    let at = seen.address.unwrap_or_default();
    let message = format!("the daemon at {at} works with it and is of another version; end that one first, then start this one");
    Err(Error::Open { message })
}

/// Holds the lock until the transaction ends.
async fn lock(tx: &mut Tx) -> Result<()> {
    for _ in 0..LOCK_TRIES {
        let row = tx.fetch_optional("SELECT CAST(pg_try_advisory_xact_lock($1) AS INT)::BIGINT AS taken", args![LOCK]).await?;
        if row.map_or(Ok(false), |row| row.flag("taken"))? {
            return Ok(());
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Err(Error::InUse { place: "this PostgreSQL database".to_owned() })
}

/// The same, up to and including a version.
async fn run_to(store: &Store, last: i64) -> Result<()> {
    let mut tx = store.begin().await?;
    if store.is_shared() {
        lock(&mut tx).await?;
    }
    tx.execute(CREATE, Vec::new()).await?;
    let rows = tx.fetch_all("SELECT version, digest FROM migrations ORDER BY version", Vec::new()).await?;
    let newest = MIGRATIONS.last().map_or(0, |(version, _)| *version);
    let mut applied = Vec::new();
    for row in rows {
        let version = row.integer("version")?;
        if version > newest {
            let message =
                format!("it was written by a newer version of Hookwright (migration {version}, this one knows {newest}); use that version");
            return Err(Error::Open { message });
        }
        applied.push((version, row.text("digest")?));
    }
    for (version, text) in MIGRATIONS.iter().filter(|(version, _)| *version <= last) {
        let digest = Digest::of(text).to_string();
        match applied.iter().find(|(known, _)| known == version) {
            Some((_, known)) if *known == digest => {}
            Some(_) => return Err(Error::Open { message: format!("its migration {version} differs from this version's") }),
            None => {
                for statement in statements(text, store.is_shared()) {
                    tx.execute(statement, Vec::new()).await?;
                }
                let now = tx.clock.now();
                tx.execute("INSERT INTO migrations (version, digest, applied_at) VALUES ($1, $2, $3)", args![version, digest, now]).await?;
            }
        }
    }
    tx.commit("migrated").await
}

/// The comment above a statement that PostgreSQL, which is shared, is not asked.
const SQLITE_ALONE: &str = "-- SQLite:";

/// The statements of a migration: they end with `;` at a line's end, comments stand on lines of their own.
fn statements(text: &'static str, shared: bool) -> impl Iterator<Item = &'static str> {
    let is_any = |statement: &&str| statement.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--"));
    text.split(";\n").filter(is_any).filter(move |statement| !(shared && statement.lines().any(|line| line == SQLITE_ALONE)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hookwright_core::{Clock, EventId, IdSource, SubscriptionId, Timestamp, TriggerPlace};
    use hookwright_testkit::Database;

    use super::*;
    use crate::inbox::digest;
    use crate::sql::Value;
    use crate::{Accepted, Forgotten, NewEvent, SecretKey, StoreOptions};

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1)
        }

        fn monotonic(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }

    impl IdSource for Fixed {
        fn uuid(&self) -> uuid::Uuid {
            uuid::Uuid::nil()
        }
    }

    /// The tables of a database in an order in which they can be filled, with their columns and whether each holds numbers.
    async fn tables(store: &Store) -> Vec<(String, Vec<(String, bool)>)> {
        let statement = match &store.inner.pool {
            crate::pool::Pool::Sqlite { .. } => {
                "SELECT tables.name AS \"table\", columns.name AS \"column\", columns.type AS kind FROM sqlite_master AS tables,
                    pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' ORDER BY tables.rowid, columns.cid"
            }
            crate::pool::Pool::Postgres { .. } => {
                "SELECT c.relname::text AS \"table\", a.attname::text AS \"column\", format_type(a.atttypid, NULL) AS kind
                    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relkind = 'r' AND a.attnum > 0
                    AND c.relnamespace = 'public'::regnamespace ORDER BY c.oid, a.attnum"
            }
        };
        let mut tables: Vec<(String, Vec<(String, bool)>)> = Vec::new();
        for row in store.fetch_all(statement, Vec::new()).await.expect("a readable catalogue") {
            let (table, column) = (row.text("table").expect("a name"), row.text("column").expect("a name"));
            let number = ["bigint", "integer"].contains(&row.text("kind").expect("a type").to_lowercase().as_str());
            if table == "migrations" {
                continue;
            }
            if tables.last().is_none_or(|(last, _)| *last != table) {
                tables.push((table.clone(), Vec::new()));
            }
            tables.last_mut().expect("a table").1.push((column, number));
        }
        tables
    }

    async fn count(store: &Store, table: &str) -> i64 {
        let statement = Box::leak(format!("SELECT COUNT(*) AS rows FROM {table}").into_boxed_str());
        store.fetch_all(statement, Vec::new()).await.expect("a readable table")[0].integer("rows").expect("a number")
    }

    /// Opens an empty database, brings it to `version`, puts a row into every table, and takes it to the newest version.
    async fn upgrade_from(version: i64) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::of_the_environment();
        let url = database.as_ref().map_or_else(|| format!("sqlite://{}", folder.path().join("db").display()), Database::url);
        let key = SecretKey::load_or_create(&folder.path().join("key")).expect("a key");
        let options = StoreOptions { url, clock: Arc::new(Fixed), ids: Arc::new(Fixed), key, failpoint: None };
        let store = Store::connect(options).await.expect("an open database");
        run_to(&store, version).await.expect("the old schema");
        let old = tables(&store).await;
        assert!(!old.is_empty());
        let mut tx = store.begin().await.expect("a transaction");
        for (table, columns) in &old {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            let values: Vec<&str> = columns.iter().map(|(_, number)| if *number { "1" } else { "'waiting'" }).collect();
            let statement = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "));
            tx.execute(Box::leak(statement.into_boxed_str()), Vec::new()).await.expect("a row fits");
        }
        tx.commit("filled").await.expect("committed");

        run(&store).await.expect("the newest schema");
        run(&store).await.expect("nothing is left to do");

        let new = tables(&store).await;
        for (table, _) in old.iter().filter(|(table, _)| new.iter().any(|(name, _)| name == table)) {
            assert_eq!(count(&store, table).await, 1, "the row of `{table}` is kept from version {version}");
        }
        store.close().await;
    }

    #[tokio::test]
    async fn every_version_with_data_in_it_is_brought_up_to_date_and_keeps_the_data() {
        for (version, _) in MIGRATIONS {
            upgrade_from(*version).await;
        }
    }

    /// An event by whose keys it is known again, as a version before the one that moves them wrote it.
    async fn store_as_before(store: &Store, subscription: SubscriptionId, number: u64) {
        const INSERT: &str = "INSERT INTO events (id, subscription, webhook, environment, trigger_name, source, kind, verified, received_at,
            replay_key, fingerprint, headers, body, redacted) VALUES ($1, $2, 'shop', 'live', 'issues', 'github', 'push', 1, $3, $4, $5, '[]', $6, 0)";
        let id = EventId::new(&Numbered(number));
        let digests = ["id", "signature"].map(|what| digest(subscription, &format!("{what}/{number}")));
        let mut values = args![id, subscription, Timestamp::from_millis(1), digests[0], digests[1]];
        values.push(Value::Bytes(b"{}".to_vec()));
        let mut tx = store.begin().await.expect("a transaction");
        tx.execute(INSERT, values).await.expect("a row");
        tx.commit("events.written").await.expect("committed");
    }

    struct Numbered(u64);

    impl IdSource for Numbered {
        fn uuid(&self) -> uuid::Uuid {
            uuid::Uuid::from_u128(u128::from(self.0))
        }
    }

    #[tokio::test]
    async fn events_of_an_older_version_are_known_when_they_come_again_and_can_be_forgotten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::of_the_environment();
        let url = database.as_ref().map_or_else(|| format!("sqlite://{}", folder.path().join("db").display()), Database::url);
        let key = SecretKey::load_or_create(&folder.path().join("key")).expect("a key");
        let options = StoreOptions { url, clock: Arc::new(Fixed), ids: Arc::new(Numbered(1 << 40)), key, failpoint: None };
        let store = Store::connect(options).await.expect("an open database");
        run_to(&store, 25).await.expect("the old schema");
        let subscription = SubscriptionId::new(&Numbered(1));
        for number in 0..300 {
            store_as_before(&store, subscription, number).await;
        }

        run(&store).await.expect("the newest schema");

        let (inbox, writer) = store.inbox().await.expect("an inbox");
        tokio::spawn(writer);
        let again = |number: u64, keys: [bool; 2]| NewEvent {
            subscription,
            place: TriggerPlace {
                webhook: "shop".parse().expect("a name"),
                environment: "live".parse().expect("a name"),
                trigger: "issues".parse().expect("a name"),
            },
            source: "github".to_owned(),
            kind: "push".to_owned(),
            source_id: None,
            verified: true,
            received_at: Timestamp::from_millis(2),
            headers: Vec::new(),
            body: "{}".into(),
            redact: Vec::new(),
            redacted: false,
            replay_keys: [keys[0].then(|| format!("id/{number}")), keys[1].then(|| format!("signature/{number}"))],
            skipped: None,
            order_key: None,
            not_before: None,
        };
        for number in 0..300 {
            for keys in [[true, true], [true, false], [false, true]] {
                let accepted = inbox.accept(again(number, keys)).await.expect("accepted");
                assert!(matches!(accepted, Accepted::Duplicate), "{number} by {keys:?}");
            }
            assert!(store.event_is_stored(subscription, &format!("id/{number}")).await.expect("a look"));
        }
        while let Some(last) = store
            .event_forget(Forgotten::Before(Timestamp::from_millis(1 << 40)), Timestamp::from_millis(2), None)
            .await
            .expect("forgotten")
        {
            assert!(store.event_fetch(last).await.expect("a look").is_none());
        }
        assert!(!store.event_is_stored(subscription, "id/7").await.expect("a look"));
        let accepted = inbox.accept(again(7, [true, true])).await.expect("accepted");
        assert!(matches!(accepted, Accepted::New(_)), "what was forgotten is new");
    }

    #[test]
    fn comments_alone_are_no_statement() {
        assert_eq!(statements("-- a\n\nCREATE x;\n\n-- b\nCREATE y;\n-- end\n", true).count(), 2);
    }

    #[test]
    fn what_is_for_sqlite_alone_is_not_asked_of_postgresql() {
        let text = "CREATE x;\n\n-- why\n-- SQLite:\nCREATE y;\n";
        assert_eq!((statements(text, false).count(), statements(text, true).count()), (2, 1));
    }
}
