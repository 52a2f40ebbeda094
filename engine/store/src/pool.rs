//! The databases behind one handle: SQLite with one writer and several readers, or PostgreSQL; and the transaction over either.

use std::fs::File;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookwright_core::{Clock, IdSource};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Postgres, Sqlite, Transaction};

use crate::inbox::keys::Keys;
use crate::leadership::Standing;
use crate::sql::{Row, Value, bind};
use crate::{Error, Result, SecretKey, migrate};

/// How many connections read a SQLite database at the same time: one a core, within these. Each costs a megabyte.
const SQLITE_READERS: std::ops::RangeInclusive<usize> = 2..=4;

/// How much of the database each of them keeps in memory, in KiB: the upper levels of the indexes. The rest is in the kernel's cache, which a
/// read costs a microsecond to ask, and which all share.
const SQLITE_READER_CACHE: u32 = 512;

/// How much of it the writer keeps, in KiB: keys by which events are known again lie anywhere in their indexes.
const SQLITE_WRITER_CACHE: u32 = 8192;

/// Pages in SQLite's log after which a commit itself moves them into the database: 64 MiB. Before, that is done beside the writing.
const LOG_PAGES: &str = "16384";

/// Statements that the writer keeps prepared: those for many events at a time are long, and preparing one takes longer than running it.
const STATEMENTS: usize = 400;

/// Rows that a statement of the writer may be ahead of whoever reads them, so that its thread does not wait.
const ROWS: usize = 512;

/// How many connections a PostgreSQL is asked for.
const POSTGRES_CONNECTIONS: u32 = 10;

/// And how many more for heartbeats: the second for when the first hangs.
const HEART_CONNECTIONS: u32 = 2;

/// How long a statement waits for the writer of a SQLite database,
const ACQUIRE: Duration = Duration::from_secs(30);

/// and how long for a connection to PostgreSQL: when that is gone, whoever asks is told before a source's own patience is over.
const POSTGRES_ACQUIRE: Duration = Duration::from_secs(5);

/// A PostgreSQL ends a transaction in which nothing was said for so long: that of a daemon that hangs keeps nobody else waiting.
const IDLE_IN_TRANSACTION: &str = "8s";

/// How often, and how far apart, the lock of a database is asked for.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The transitions that pass all the time and change nothing but events, deliveries and traffic, and when a source was heard of.
const PASSING: [&str; 3] = ["events.written", "event_keys.moved", "traffic.added"];

/// What the database answers. Boxed here, so that what speaks to the databases is compiled once: an `async fn` is compiled anew into every
/// crate and unit that awaits it, and was nearly a third of the engine's code.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Called with the name of each transition on both sides of its commit; a crash test ends the process there.
pub type Failpoint = Arc<dyn Fn(&'static str, Moment) + Send + Sync>;

/// A side of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the transaction is durable.
    Before,
    /// All of it is, and nobody has acted on it.
    After,
}

/// How to open a store.
pub struct StoreOptions {
    /// `sqlite://PATH`, or `postgres://…`, for tests with `?options=-csearch_path%3Dschema`.
    pub url: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids.
    pub ids: Arc<dyn IdSource>,
    /// What secrets are encrypted with.
    pub key: SecretKey,
    /// For crash tests; `None` otherwise.
    pub failpoint: Option<Failpoint>,
}

/// The database. Cloning it clones a handle.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) pool: Pool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) key: SecretKey,
    failpoint: Option<Failpoint>,
    pub(crate) refusals: Refusals,
    changes: Arc<AtomicU64>,
    pub(crate) standing: Standing,
    /// What events are known by, of SQLite. Taken before a transaction is begun.
    pub(crate) event_keys: tokio::sync::Mutex<Keys>,
    /// Held as long as the store lives, so that no second daemon opens a SQLite database.
    _lock: Option<nix::fcntl::Flock<File>>,
}

pub(crate) enum Pool {
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        /// Moves the log into the database while others write; opened when that is first needed.
        checkpointer: SqlitePool,
    },
    /// The heart is for the leader's heartbeat alone, so that slow statements do not hold it up.
    Postgres { pool: PgPool, heart: PgPool },
}

impl Store {
    /// Opens the database and brings it up to date.
    ///
    /// # Errors
    /// [`Error::InUse`] when another daemon has the SQLite file; [`Error::OtherKey`] when its secrets were sealed with another key;
    /// [`Error::Open`] with what to do otherwise.
    pub async fn open(options: StoreOptions) -> Result<Self> {
        let store = Self::connect(options).await?;
        migrate::run(&store).await?;
        store.check_key().await?;
        if store.is_shared() {
            store.inner.standing.follow();
        }
        Ok(store)
    }

    /// Whether several daemons may work with the database: it is a PostgreSQL. Then whoever opens it follows until it leads.
    pub fn is_shared(&self) -> bool {
        matches!(self.inner.pool, Pool::Postgres { .. })
    }

    /// Opens the database as it is.
    pub(crate) async fn connect(options: StoreOptions) -> Result<Self> {
        let (pool, lock) = if let Some(path) = options.url.strip_prefix("sqlite://") {
            let lock = lock_file(Path::new(path)).await?;
            (open_sqlite(path).await?, Some(lock))
        } else {
            (open_postgres(&options.url).await?, None)
        };
        let StoreOptions { clock, ids, key, failpoint, .. } = options;
        let (refusals, standing) = (Refusals::default(), Standing::default());
        let (changes, event_keys) = (Arc::default(), tokio::sync::Mutex::default());
        let inner = Inner { pool, clock, ids, key, failpoint, refusals, changes, standing, event_keys, _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Lets go of every connection; what is asked afterwards fails.
    pub async fn close(&self) {
        match &self.inner.pool {
            Pool::Sqlite { writer, readers, checkpointer } => {
                checkpointer.close().await;
                writer.close().await;
                readers.close().await;
            }
            Pool::Postgres { pool, heart } => {
                pool.close().await;
                heart.close().await;
            }
        }
    }

    /// Begins a transaction of the leader. On SQLite it has the one writer: keep it short and call nothing outside meanwhile.
    ///
    /// # Errors
    /// [`Error::NotLeading`] when this daemon follows, or another one has taken over; as long as the transaction lasts nobody does.
    pub fn begin(&self) -> Answer<'_, Tx> {
        Box::pin(async move {
            let epoch = self.inner.standing.epoch()?;
            let mut tx = self.begin_beside().await?;
            if let Some(epoch) = epoch {
                tx.hold_leadership(epoch).await?;
            }
            Ok(tx)
        })
    }

    /// Begins a transaction that is good whoever leads: events are stored by every daemon.
    pub(crate) fn begin_beside(&self) -> Answer<'_, Tx> {
        Box::pin(async move {
            let failpoint = self.inner.failpoint.clone();
            let kind = match &self.inner.pool {
                Pool::Sqlite { writer, .. } => {
                    TxKind::Sqlite(writer.begin().await.map_err(|cause| self.inner.refusals.note("BEGIN", cause))?)
                }
                Pool::Postgres { pool, .. } => {
                    TxKind::Postgres(pool.begin().await.map_err(|cause| self.inner.refusals.note("BEGIN", cause))?)
                }
            };
            let Inner { clock, ids, refusals, changes, .. } = &*self.inner;
            let (clock, ids, refusals, changes) = (clock.clone(), ids.clone(), refusals.clone(), changes.clone());
            Ok(Tx { kind, failpoint, clock, ids, refusals, changes })
        })
    }

    /// Moves what SQLite has in its log into the database, as far as nobody has to wait for it; returns how many pages are left in it.
    /// PostgreSQL does so by itself.
    pub(crate) async fn checkpoint(&self) -> Result<u64> {
        const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";
        let Pool::Sqlite { checkpointer, .. } = &self.inner.pool else { return Ok(0) };
        let moved = sqlx::query(CHECKPOINT).fetch_one(checkpointer).await;
        let moved = Row::Sqlite(moved.map_err(|cause| self.inner.refusals.note(CHECKPOINT, cause))?);
        // Both are -1 while a commit does it.
        let (log, moved) = (moved.integer("log")?, moved.integer("checkpointed")?);
        Ok(u64::try_from(log).map_or(u64::MAX, |log| log.saturating_sub(u64::try_from(moved).unwrap_or_default())))
    }

    /// How often the database has refused or failed since the store was opened; a name that is taken is no failure.
    pub fn refusals(&self) -> u64 {
        self.inner.refusals.0.load(Ordering::Relaxed)
    }

    /// How often anything has been changed, events, deliveries and traffic aside; `None` when another daemon may change it. What was read after
    /// this was asked for holds as long as it says the same.
    pub fn changes(&self) -> Option<u64> {
        let alone = self.inner.standing.epoch().is_ok_and(|epoch| epoch.is_some() || !self.is_shared());
        alone.then(|| self.inner.changes.load(Ordering::Acquire))
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.fetch_all("SELECT 1", Vec::new()).await.map(drop)
    }

    /// All rows of a reading statement.
    pub(crate) fn fetch_all(&self, statement: &'static str, values: Vec<Value>) -> Answer<'_, Vec<Row>> {
        Box::pin(async move {
            match &self.inner.pool {
                Pool::Sqlite { readers, .. } => {
                    bind!(statement, values).fetch_all(readers).await.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
                }
                Pool::Postgres { pool, .. } => {
                    bind!(statement, values).fetch_all(pool).await.map(|rows| rows.into_iter().map(Row::Postgres).collect())
                }
            }
            .map_err(|cause| self.inner.refusals.note(statement, cause))
        })
    }

    /// The row of a reading statement, if there is one.
    pub(crate) fn fetch_optional(&self, statement: &'static str, values: Vec<Value>) -> Answer<'_, Option<Row>> {
        Box::pin(async move {
            match &self.inner.pool {
                Pool::Sqlite { readers, .. } => bind!(statement, values).fetch_optional(readers).await.map(|row| row.map(Row::Sqlite)),
                Pool::Postgres { pool, .. } => bind!(statement, values).fetch_optional(pool).await.map(|row| row.map(Row::Postgres)),
            }
            .map_err(|cause| self.inner.refusals.note(statement, cause))
        })
    }

    /// One writing statement in a transaction of its own; returns the rows it touched. `transition` names its commit.
    pub(crate) fn execute(&self, transition: &'static str, statement: &'static str, values: Vec<Value>) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut tx = self.begin().await?;
            let touched = tx.execute(statement, values).await?;
            tx.commit(transition).await?;
            Ok(touched)
        })
    }
}

/// A transaction; dropped without [`commit`](Self::commit) it is rolled back.
pub struct Tx {
    kind: TxKind,
    failpoint: Option<Failpoint>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    refusals: Refusals,
    changes: Arc<AtomicU64>,
}

enum TxKind {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Whether it is one of PostgreSQL.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.kind, TxKind::Postgres(_))
    }

    /// Makes it durable. `transition` names what happened (`run.created`): crash tests stop right before it.
    pub fn commit(self, transition: &'static str) -> Answer<'static, ()> {
        Box::pin(async move {
            let pass = |moment| self.failpoint.iter().for_each(|failpoint| failpoint(transition, moment));
            pass(Moment::Before);
            match self.kind {
                TxKind::Sqlite(tx) => tx.commit().await,
                TxKind::Postgres(tx) => tx.commit().await,
            }
            .map_err(|cause| self.refusals.note("COMMIT", cause))?;
            if !PASSING.contains(&transition) {
                self.changes.fetch_add(1, Ordering::Release);
            }
            pass(Moment::After);
            Ok(())
        })
    }

    /// Runs a statement; returns the rows it touched.
    pub(crate) fn execute(&mut self, statement: &'static str, values: Vec<Value>) -> Answer<'_, u64> {
        Box::pin(async move {
            match &mut self.kind {
                TxKind::Sqlite(tx) => bind!(statement, values).execute(&mut **tx).await.map(|done| done.rows_affected()),
                TxKind::Postgres(tx) => bind!(statement, values).execute(&mut **tx).await.map(|done| done.rows_affected()),
            }
            .map_err(|cause| self.refusals.note(statement, cause))
        })
    }

    /// All rows of a statement, `RETURNING` included.
    pub(crate) fn fetch_all(&mut self, statement: &'static str, values: Vec<Value>) -> Answer<'_, Vec<Row>> {
        Box::pin(async move {
            match &mut self.kind {
                TxKind::Sqlite(tx) => {
                    bind!(statement, values).fetch_all(&mut **tx).await.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
                }
                TxKind::Postgres(tx) => {
                    bind!(statement, values).fetch_all(&mut **tx).await.map(|rows| rows.into_iter().map(Row::Postgres).collect())
                }
            }
            .map_err(|cause| self.refusals.note(statement, cause))
        })
    }

    /// The row of a statement, if there is one.
    pub(crate) fn fetch_optional(&mut self, statement: &'static str, values: Vec<Value>) -> Answer<'_, Option<Row>> {
        Box::pin(async move {
            match &mut self.kind {
                TxKind::Sqlite(tx) => bind!(statement, values).fetch_optional(&mut **tx).await.map(|row| row.map(Row::Sqlite)),
                TxKind::Postgres(tx) => bind!(statement, values).fetch_optional(&mut **tx).await.map(|row| row.map(Row::Postgres)),
            }
            .map_err(|cause| self.refusals.note(statement, cause))
        })
    }
}

/// Counts what the database refuses.
#[derive(Clone, Default)]
pub(crate) struct Refusals(Arc<AtomicU64>);

impl Refusals {
    pub(crate) fn note(&self, statement: &'static str, cause: sqlx::Error) -> Error {
        let error = Error::Database { statement, cause };
        if !error.is_conflict() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        error
    }
}

/// The lock beside a SQLite database. A daemon that was just killed may leave it for moments with a process that it was about to start.
async fn lock_file(database: &Path) -> Result<nix::fcntl::Flock<File>> {
    let path = database.with_extension("lock");
    let place = || database.display().to_string();
    let mut file =
        File::create(&path).map_err(|error| Error::Open { message: format!("`{}` cannot be created: {error}", path.display()) })?;
    for _ in 0..LOCK_TRIES {
        match nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((same, _)) => file = same,
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Err(Error::InUse { place: place() })
}

async fn open_sqlite(path: &str) -> Result<Pool> {
    let failed = |error: sqlx::Error| Error::Open { message: format!("`{path}` is no usable SQLite database: {error}") };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(ACQUIRE);
    // A connection to a file does not break by itself: asking it first would be one more turn of its thread for each statement. But on a full disk
    // SQLite may end a transaction by itself, of which sqlx does not know: what is begun on that connection later would lie in a transaction
    // that nobody commits. Such a connection is closed.
    let pool = |size| {
        let options = SqlitePoolOptions::new().max_connections(size).acquire_timeout(ACQUIRE).test_before_acquire(false);
        options.before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
    };
    let writer = options
        .clone()
        .pragma("wal_autocheckpoint", LOG_PAGES)
        .pragma("cache_size", format!("-{SQLITE_WRITER_CACHE}"))
        .statement_cache_capacity(STATEMENTS)
        .row_buffer_size(ROWS);
    let writer = pool(1).connect_with(writer).await.map_err(failed)?;
    let cache = format!("-{SQLITE_READER_CACHE}");
    let reader = options.pragma("cache_size", cache);
    let checkpointer = pool(1).connect_lazy_with(reader.clone());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let size = cores.clamp(*SQLITE_READERS.start(), *SQLITE_READERS.end());
    let readers = pool(u32::try_from(size).unwrap_or(u32::MAX)).connect_with(reader).await.map_err(failed)?;
    Ok(Pool::Sqlite { writer, readers, checkpointer })
}

fn postgres_options(url: &str) -> Result<PgConnectOptions> {
    let message =
        |error: sqlx::Error| format!("`--database` is no usable address: {error}; it reads postgres://user:password@host/database");
    PgConnectOptions::from_str(url).map_err(|error| Error::Open { message: message(error) })
}

fn refused(error: sqlx::Error) -> Error {
    Error::Open { message: format!("PostgreSQL does not take the connection: {error}; check --database") }
}

async fn open_postgres(url: &str) -> Result<Pool> {
    let options = postgres_options(url)?.options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)]);
    let pool = |size| PgPoolOptions::new().max_connections(size).acquire_timeout(POSTGRES_ACQUIRE);
    let heart = pool(HEART_CONNECTIONS).connect_lazy_with(options.clone());
    let pool = pool(POSTGRES_CONNECTIONS).connect_with(options).await.map_err(refused)?;
    Ok(Pool::Postgres { pool, heart })
}
