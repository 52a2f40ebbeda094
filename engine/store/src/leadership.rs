//! Which of the daemons on one PostgreSQL leads: a row with an epoch and a heartbeat. Nobody compares times of two machines: a taker watches the
//! heartbeat stand still on its own steady clock.
//! Invariant: what a leader writes holds its epoch until the commit, so that nothing is written under an epoch that is over.

use std::sync::atomic::{AtomicI64, Ordering};

use hookwright_core::SecretValue;

use crate::pool::{Inner, Pool};
use crate::sql::{Row, Value, args, bind};
use crate::{Error, Result, Store, Tx};

/// Where the text that checks the key is sealed.
const KEY_CHECK: &str = "leadership/key_check";

macro_rules! columns {
    () => {
        "epoch, beat, holder, address, gateway_address, folder, folder_lock"
    };
}

/// The row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Counts those who led.
    pub epoch: u64,
    /// Counts signs of life.
    pub beat: u64,
    /// Which process leads; `None` when it has let go.
    pub holder: Option<String>,
    /// Where it is reached.
    pub address: Option<String>,
    /// Where its handlers are reached.
    pub gateway_address: Option<String>,
    /// Which data folder is led with; `None` before anybody led.
    pub folder: Option<String>,
    /// Where the lock of that folder is.
    pub folder_lock: Option<String>,
}

/// Who would lead.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The process.
    pub holder: String,
    /// Where it is reached.
    pub address: String,
    /// Where its handlers are reached.
    pub gateway_address: String,
    /// Its data folder.
    pub folder: String,
    /// Where the lock of that folder is.
    pub folder_lock: String,
}

/// How this process stands: alone, following, or leading in an epoch.
#[derive(Debug, Default)]
pub(crate) struct Standing(AtomicI64);

const ALONE: i64 = 0;
const FOLLOWS: i64 = -1;

impl Standing {
    pub(crate) fn follow(&self) {
        self.0.store(FOLLOWS, Ordering::SeqCst);
    }

    /// The epoch that is led in; `None` for who is alone.
    pub(crate) fn epoch(&self) -> Result<Option<u64>> {
        match self.0.load(Ordering::SeqCst) {
            ALONE => Ok(None),
            epoch => u64::try_from(epoch).map(Some).map_err(|_| Error::NotLeading),
        }
    }

    fn lead(&self, epoch: u64) {
        self.0.store(i64::try_from(epoch).unwrap_or(FOLLOWS), Ordering::SeqCst);
    }
}

impl Tx {
    /// Keeps anybody from taking over until the transaction ends.
    pub(crate) async fn hold_leadership(&mut self, epoch: u64) -> Result<()> {
        const HOLD: &str = "SELECT epoch FROM leadership WHERE epoch = $1 FOR KEY SHARE";
        self.fetch_optional(HOLD, args![epoch]).await?.map(drop).ok_or(Error::NotLeading)
    }
}

impl Store {
    /// Who leads, on the connection that is kept for this. `None` in a database that nothing was opened with yet.
    pub async fn leadership_fetch(&self) -> Result<Option<Leader>> {
        const FETCH: &str = concat!("SELECT ", columns!(), " FROM leadership");
        self.heart(FETCH, Vec::new()).await?.map(|row| read(&row)).transpose()
    }

    /// Leads from now on, unless anything has changed since `seen` was read. Waits for what the last leader has under way.
    pub async fn leadership_take(&self, seen: &Leader, by: &Candidate) -> Result<bool> {
        const TAKE: &str =
            "UPDATE leadership SET epoch = epoch + 1, beat = 0, holder = $1, address = $2, gateway_address = $3, folder = $4,
            folder_lock = $5 WHERE epoch = $6 AND beat = $7 RETURNING epoch";
        let values = args![by.holder, by.address, by.gateway_address, by.folder, by.folder_lock, seen.epoch, seen.beat];
        let taken = self.heart(TAKE, values).await?;
        let Some(row) = taken else { return Ok(false) };
        self.inner.standing.lead(row.number("epoch")?);
        Ok(true)
    }

    /// A sign of life; `false` when somebody else leads.
    pub async fn leadership_beat(&self) -> Result<bool> {
        const BEAT: &str = "UPDATE leadership SET beat = beat + 1 WHERE epoch = $1 RETURNING epoch";
        let Some(epoch) = self.inner.standing.epoch()? else { return Ok(true) };
        Ok(self.heart(BEAT, args![epoch]).await?.is_some())
    }

    /// The epoch that this process leads in; 0 when it does not.
    pub fn leadership_epoch(&self) -> u64 {
        self.inner.standing.epoch().ok().flatten().unwrap_or(0)
    }

    /// Lets go, so that another daemon need not wait. Nothing is written any more.
    pub async fn leadership_release(&self) -> Result<()> {
        const RELEASE: &str = "UPDATE leadership SET holder = NULL, beat = beat + 1 WHERE epoch = $1 RETURNING epoch";
        let Ok(Some(epoch)) = self.inner.standing.epoch() else { return Ok(()) };
        self.inner.standing.follow();
        self.heart(RELEASE, args![epoch]).await.map(drop)
    }

    /// One statement on the connection for heartbeats.
    async fn heart(&self, statement: &'static str, values: Vec<Value>) -> Result<Option<Row>> {
        let Inner { pool, refusals, .. } = &*self.inner;
        match pool {
            Pool::Sqlite { writer, .. } => bind!(statement, values).fetch_optional(writer).await.map(|row| row.map(Row::Sqlite)),
            Pool::Postgres { heart, .. } => bind!(statement, values).fetch_optional(heart).await.map(|row| row.map(Row::Postgres)),
        }
        .map_err(|cause| refusals.note(statement, cause))
    }

    /// Compares the key with the one that the database was set up with; the first daemon says which that is.
    pub(crate) async fn check_key(&self) -> Result<()> {
        const FETCH: &str = "SELECT key_check FROM leadership";
        const SEALED: &str = "SELECT webhook, environment, name, sealed FROM secrets LIMIT 1";
        const SET: &str = "INSERT INTO leadership (epoch, place, beat, key_check) VALUES (1, 1, 0, $1)
            ON CONFLICT (place) DO UPDATE SET key_check = COALESCE(leadership.key_check, excluded.key_check)";
        let key = &self.inner.key;
        let known = self.fetch_optional(FETCH, Vec::new()).await?.map_or(Ok(None), |row| row.optional_text("key_check"))?;
        if known.is_none() {
            // One that was set up before keys were checked: what is sealed in it says which key it was.
            if let Some(row) = self.fetch_optional(SEALED, Vec::new()).await? {
                let place = format!("{}/{}/{}", row.text("webhook")?, row.text("environment")?, row.text("name")?);
                key.open(&place, &row.text("sealed")?).map_err(|_| Error::OtherKey)?;
            }
            let mut tx = self.begin_beside().await?;
            tx.execute(SET, args![key.seal(KEY_CHECK, &SecretValue::new("hookwright"))?]).await?;
            tx.commit("key.noted").await?;
        }
        let known = self.fetch_optional(FETCH, Vec::new()).await?.map_or(Ok(None), |row| row.optional_text("key_check"))?;
        key.open(KEY_CHECK, &known.unwrap_or_default()).map(drop).map_err(|_| Error::OtherKey)
    }
}

fn read(row: &Row) -> Result<Leader> {
    Ok(Leader {
        epoch: row.number("epoch")?,
        beat: row.number("beat")?,
        holder: row.optional_text("holder")?,
        address: row.optional_text("address")?,
        gateway_address: row.optional_text("gateway_address")?,
        folder: row.optional_text("folder")?,
        folder_lock: row.optional_text("folder_lock")?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use hookwright_core::{Clock, IdSource, Timestamp};
    use hookwright_testkit::Database;

    use super::*;
    use crate::{SecretKey, StoreOptions};

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1)
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    impl IdSource for Fixed {
        fn uuid(&self) -> uuid::Uuid {
            uuid::Uuid::nil()
        }
    }

    async fn open(url: &str, key: &Path) -> Result<Store> {
        let key = SecretKey::load_or_create(key).expect("a key");
        Store::open(StoreOptions { url: url.to_owned(), clock: Arc::new(Fixed), ids: Arc::new(Fixed), key, failpoint: None }).await
    }

    async fn take(store: &Store, seen: &Leader) -> bool {
        let text = |text: &str| text.to_owned();
        let by = Candidate { holder: text("h"), address: text("a"), gateway_address: text("g"), folder: text("f"), folder_lock: text("l") };
        store.leadership_take(seen, &by).await.expect("an answer")
    }

    /// Makes a store that may be shared the one that writes.
    pub(crate) async fn lead(store: &Store) {
        if store.is_shared() {
            assert!(take(store, &seen(store).await).await, "nobody else does");
        }
    }

    async fn seen(store: &Store) -> Leader {
        store.leadership_fetch().await.expect("an answer").expect("the row")
    }

    const WRITE: &str = "INSERT INTO holds (webhook, environment, release_id, actor, reason, since) VALUES ($1, 'e', 'r', 'a', 'w', 1)";

    #[tokio::test]
    async fn who_follows_or_has_lost_the_lease_writes_nothing_and_a_taker_waits_for_what_is_under_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(database) = Database::of_the_environment() else { return };
        let key = folder.path().join("key");
        let (first, second) = (open(&database.url(), &key).await.expect("open"), open(&database.url(), &key).await.expect("open"));
        assert!(matches!(first.begin().await.err(), Some(Error::NotLeading)), "nobody leads yet");
        let nobody = seen(&first).await;
        assert!(take(&first, &nobody).await && !take(&second, &nobody).await, "one of two is first");

        let mut tx = first.begin().await.expect("the leader writes");
        tx.execute(WRITE, args!["under-way"]).await.expect("written");
        let before = seen(&second).await;
        let taking = take(&second, &before);
        tokio::pin!(taking);
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut taking).await.is_err(), "it waits for the transaction");
        tx.commit("under.way").await.expect("what was under way is written");
        assert!(taking.await, "then it leads");

        assert!(matches!(first.execute("late", WRITE, args!["late"]).await.err(), Some(Error::NotLeading)));
        assert!(!first.leadership_beat().await.expect("an answer"), "and is told with its next heartbeat");
        second.execute("new", WRITE, args!["new"]).await.expect("the new leader writes");
        let before = seen(&first).await;
        assert!(second.leadership_beat().await.expect("an answer"));
        assert!(!take(&first, &before).await, "a sign of life keeps a taker off");
        second.leadership_release().await.expect("given back");
        assert_eq!(seen(&first).await.holder, None);
        assert!(matches!(second.begin().await.err(), Some(Error::NotLeading)));
        first.close().await;
        second.close().await;
    }

    #[tokio::test]
    async fn a_database_is_opened_with_the_key_it_was_set_up_with_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::of_the_environment();
        let url = database.as_ref().map_or_else(|| format!("sqlite://{}", folder.path().join("db").display()), Database::url);
        open(&url, &folder.path().join("key")).await.expect("the first key").close().await;
        let other = open(&url, &folder.path().join("other")).await;
        assert!(matches!(other.err(), Some(Error::OtherKey)));
        open(&url, &folder.path().join("key")).await.expect("the first key again").close().await;
    }
}
