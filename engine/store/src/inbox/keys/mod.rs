//! What events are known by when they come again, on SQLite. PostgreSQL, which several daemons write to, has unique indexes for it.
//!
//! Keys are digests: one that is written to its place in an index writes a page there, and an event has two. A SQLite database has one writer, which
//! therefore collects them. The keys of a transaction are one row of `new_event_keys`, at its end, and are held in memory. Once there are
//! [`MANY`] they are moved into the table `event_keys` in their order, a few with each further transaction, so that one page takes several of them and
//! nobody waits; when all of them are there their rows are removed. While nothing comes they are moved too, and the memory is free.
//!
//! Invariant: while nobody holds the lock, the keys of every stored event are in one of the two tables, no others are, and those in
//! `new_event_keys` are in memory. What a transaction came to whose commit failed, or was not waited for, is looked up before anything is told from memory.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use hookwright_core::EventId;

use crate::sql::{Row, Value, args};
use crate::{Result, Store, Tx};

/// As many new ones are moved together: over a million events, whose keys take 12,000 pages, that is eleven a page; and 4 MB of memory.
const MANY: usize = 128 << 10;

/// How many of those are moved with each key that is new, so that they are gone long before as many have come again.
const PACE: usize = 2;

/// How many are moved in a transaction of their own.
const PORTION: usize = 1024;

/// How many rows of what was moved are removed in one transaction.
const ROWS: usize = 256;

/// How long new ones are kept when they are few,
const FEW: Duration = Duration::from_secs(5);

/// and for how long nothing may come before a portion is moved beside the events.
const PAUSE: Duration = Duration::from_millis(20);

/// The digest of a key and its place in [`NewEvent::replay_keys`](super::NewEvent::replay_keys).
pub(crate) type Key = [u8; 16];

/// The key of a digest as events hold it. `None` is for what no event holds.
pub(crate) fn key(place: u8, digest: &str) -> Option<Key> {
    let mut key = [0; 16];
    hex::decode_to_slice(digest.get(..30)?, &mut key[..15]).ok()?;
    key[15] = place;
    Some(key)
}

/// The keys of an event's row, which has `replay_key` and `fingerprint`.
pub(crate) fn of_row(row: &Row) -> Result<impl Iterator<Item = Key> + use<>> {
    let digests = [row.optional_text("replay_key")?, row.optional_text("fingerprint")?];
    Ok((0..).zip(digests).filter_map(|(place, digest)| key(place, &digest?)))
}

/// Whether what is in memory is what is stored.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Memory {
    /// It may be anything else.
    #[default]
    Unsure,
    /// It is, unless there is one more row.
    UnlessAppended,
    Sure,
}

/// Those that have no place yet.
#[derive(Default)]
pub(crate) struct Keys {
    memory: Memory,
    /// The number of the last row.
    last: i64,
    new: BTreeSet<Key>,
    /// When the first of them came.
    since: Duration,
    moving: Moving,
}

/// Those that are being moved, in their order.
#[derive(Default)]
struct Moving {
    keys: Vec<Key>,
    /// How many of them are in their place.
    moved: usize,
    /// Which rows hold them: up to this one.
    last: i64,
}

/// What a transaction does to them; it holds once that is committed.
#[derive(Default)]
pub(crate) struct Change {
    /// New ones, for which there is a row.
    appended: Vec<Key>,
    /// How many more are in their place.
    moved: usize,
    /// All that were being moved are, and have no rows any more.
    ended: bool,
    /// All are in their place.
    emptied: bool,
}

impl Change {
    /// How many are put into their place.
    pub(super) fn moved(&self) -> usize {
        self.moved
    }
}

impl Store {
    /// What events are known by, for as long as it is held; before a transaction is begun. `None` for PostgreSQL.
    pub(crate) async fn event_keys(&self) -> Option<tokio::sync::MutexGuard<'_, Keys>> {
        if self.is_shared() { None } else { Some(self.inner.event_keys.lock().await) }
    }
}

/// The keys that stand one after the other in a value.
macro_rules! each {
    ($statement:literal) => {
        concat!(
            "WITH RECURSIVE places (place) AS (SELECT 1 UNION ALL SELECT place + 16 FROM places WHERE place + 16 < LENGTH($1)) ",
            $statement
        )
    };
}

impl Keys {
    /// Reads what has no place yet, unless it is known. At the beginning of a transaction.
    pub(crate) async fn read(&mut self, tx: &mut Tx) -> Result<()> {
        const LAST: &str = "SELECT COALESCE(MAX(number), 0) AS number FROM new_event_keys";
        const READ: &str = "SELECT number, keys FROM new_event_keys ORDER BY number";
        if self.memory == Memory::Sure {
            return Ok(());
        }
        if self.memory == Memory::UnlessAppended {
            let last = tx.fetch_optional(LAST, Vec::new()).await?.map_or(Ok(0), |row| row.integer("number"))?;
            if last <= self.last {
                self.memory = Memory::Sure;
                return Ok(());
            }
        }
        *self = Self::default();
        for row in tx.fetch_all(READ, Vec::new()).await? {
            self.last = row.integer("number")?;
            self.new.extend(row.bytes("keys")?.as_chunks().0);
        }
        self.memory = Memory::Sure;
        Ok(())
    }

    /// Of events that are offered together, in their order, those that are stored already or come twice, and the keys of the others.
    pub(super) async fn judge(&mut self, tx: &mut Tx, events: &[(EventId, [Option<Key>; 2])]) -> Result<(HashSet<EventId>, Vec<Key>)> {
        self.read(tx).await?;
        let offered: Vec<Key> = events.iter().flat_map(|(_, keys)| keys.iter().flatten().copied()).collect();
        let mut known = placed(tx, &offered).await?;
        let (mut seen, mut new) = (HashSet::new(), Vec::with_capacity(offered.len()));
        for (id, keys) in events {
            let keys = keys.iter().flatten();
            if keys.clone().any(|key| known.contains(key) || self.holds(key)) {
                seen.insert(*id);
            } else {
                known.extend(keys.clone());
                new.extend(keys);
            }
        }
        Ok((seen, new))
    }

    /// Whether it is one of those without a place.
    pub(crate) fn holds(&self, key: &Key) -> bool {
        self.new.contains(key) || self.moving.keys.binary_search(key).is_ok()
    }

    /// Writes those of new events down.
    pub(super) async fn append(&self, tx: &mut Tx, new: Vec<Key>) -> Result<Change> {
        const APPEND: &str = "INSERT INTO new_event_keys (keys, number) VALUES ($1, $2)";
        if !new.is_empty() {
            let mut values = vec![Value::Bytes(new.as_flattened().to_vec())];
            values.extend(args![self.last + 1]);
            tx.execute(APPEND, values).await?;
        }
        Ok(Change { appended: new, ..Change::default() })
    }

    /// Moves some, in step with those that are new.
    pub(super) async fn keep_up(&mut self, tx: &mut Tx, change: &mut Change) -> Result<()> {
        if self.moving.keys.is_empty() && self.new.len() >= MANY {
            self.begin();
        }
        let many = PACE * change.appended.len();
        if many > 0 { self.move_some(tx, many, change).await } else { Ok(()) }
    }

    /// Moves a portion of what there is, however little.
    pub(super) async fn tidy(&mut self, tx: &mut Tx) -> Result<Change> {
        self.read(tx).await?;
        if self.moving.keys.is_empty() {
            self.begin();
        }
        let mut change = Change::default();
        self.move_some(tx, PORTION, &mut change).await?;
        Ok(change)
    }

    fn begin(&mut self) {
        self.moving = Moving { keys: std::mem::take(&mut self.new).into_iter().collect(), moved: 0, last: self.last };
    }

    async fn move_some(&self, tx: &mut Tx, many: usize, change: &mut Change) -> Result<()> {
        const REMOVE: &str = "DELETE FROM new_event_keys WHERE number IN
            (SELECT number FROM new_event_keys WHERE number <= $1 ORDER BY number LIMIT $2)";
        let Moving { keys, moved, last } = &self.moving;
        let left = &keys[*moved..];
        if !left.is_empty() {
            change.moved = left.len().min(many);
            place(tx, &left[..change.moved]).await?;
        } else if !keys.is_empty() {
            change.ended = tx.execute(REMOVE, args![last, ROWS as u64]).await? < ROWS as u64;
        }
        Ok(())
    }

    /// Forgets those of events that are removed in this transaction.
    pub(crate) async fn forget(&mut self, tx: &mut Tx, gone: &[Key]) -> Result<Change> {
        const FORGET: &str = each!("DELETE FROM event_keys WHERE key IN (SELECT SUBSTR($1, place, 16) FROM places)");
        const EMPTY: &str = "DELETE FROM new_event_keys";
        let mut change = Change::default();
        if gone.iter().any(|key| self.holds(key)) {
            // Events are kept for days: these came out of the clock's order, or one after the other so soon that none of them has a place.
            place(tx, &self.moving.keys[self.moving.moved..]).await?;
            place(tx, &self.new.iter().copied().collect::<Vec<_>>()).await?;
            tx.execute(EMPTY, Vec::new()).await?;
            change.emptied = true;
        }
        if !gone.is_empty() {
            tx.execute(FORGET, vec![Value::Bytes(gone.as_flattened().to_vec())]).await?;
        }
        Ok(change)
    }

    /// Commits what a transaction does to them, at `now` of the clock that only goes forward.
    pub(crate) async fn commit(&mut self, tx: Tx, transition: &'static str, change: Change, now: Duration) -> Result<()> {
        self.memory = match change {
            Change { ref appended, .. } if !appended.is_empty() => Memory::UnlessAppended,
            Change { moved: 0, ended: false, emptied: false, .. } => self.memory,
            _ => Memory::Unsure,
        };
        tx.commit(transition).await?;
        if self.new.is_empty() {
            self.since = now;
        }
        if change.emptied {
            self.new.clear();
        }
        if change.emptied || change.ended {
            self.moving = Moving::default();
        }
        if !change.appended.is_empty() {
            self.last += 1;
            self.new.extend(change.appended);
        }
        self.moving.moved += change.moved;
        self.memory = Memory::Sure;
        Ok(())
    }

    /// How long nothing is to come until a portion is moved; `None` when there is nothing to move.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        if !self.moving.keys.is_empty() || self.memory != Memory::Sure {
            return Some(PAUSE);
        }
        (!self.new.is_empty()).then(|| (self.since + FEW).saturating_sub(now).max(PAUSE))
    }
}

/// Those of some keys that are in their place.
async fn placed(tx: &mut Tx, keys: &[Key]) -> Result<HashSet<Key>> {
    const PLACED: &str = each!("SELECT key FROM places CROSS JOIN event_keys ON key = SUBSTR($1, place, 16)");
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = tx.fetch_all(PLACED, vec![Value::Bytes(keys.as_flattened().to_vec())]).await?;
    Ok(rows.iter().map(|row| row.bytes("key")).collect::<Result<Vec<_>>>()?.iter().flat_map(|key| key.as_chunks().0).copied().collect())
}

/// Puts keys into their place; some may be there already, when a daemon ended between that and removing their rows.
async fn place(tx: &mut Tx, keys: &[Key]) -> Result<()> {
    const PLACE: &str =
        each!("INSERT INTO event_keys (key) SELECT SUBSTR($1, place, 16) FROM places WHERE TRUE ON CONFLICT (key) DO NOTHING");
    if !keys.is_empty() {
        tx.execute(PLACE, vec![Value::Bytes(keys.as_flattened().to_vec())]).await?;
    }
    Ok(())
}
