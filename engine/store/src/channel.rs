//! Channels of event sources: written down before a source is asked for one, kept until it is closed or has ended; and from where their sources list
//! what has changed.

use hookwright_core::{Channel, SecretValue, SubscriptionId, Timestamp};

use crate::sql::{Row, args};
use crate::{Error, Result, Store, Tx};

macro_rules! columns {
    () => {
        "id, subscription, token, wanted, resource, created_at, expires_at"
    };
}

/// Bytes of randomness in a token.
const TOKEN: usize = 32;

/// From where a source lists what has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeMark {
    /// The mark, as the source gave it.
    pub text: String,
    /// When it was read.
    pub read_at: Timestamp,
}

fn place(id: &str) -> String {
    format!("channel/{id}")
}

impl Store {
    /// Writes a new channel down, with a token of its own.
    pub async fn channel_create_in(&self, tx: &mut Tx, subscription: SubscriptionId, wanted: &str) -> Result<Channel> {
        const INSERT: &str = concat!("INSERT INTO channels (", columns!(), ") VALUES ($1, $2, $3, $4, NULL, $5, NULL)");
        let mut bytes = [0; TOKEN];
        getrandom::fill(&mut bytes).map_err(|error| Error::Key { message: format!("the system gives no randomness: {error}") })?;
        let made = Channel {
            id: tx.ids.uuid().to_string(),
            subscription,
            token: SecretValue::new(hex::encode(bytes)),
            wanted: wanted.to_owned(),
            resource: None,
            created_at: tx.clock.now(),
            expires_at: None,
        };
        let sealed = self.inner.key.seal(&place(&made.id), &made.token)?;
        tx.execute(INSERT, args![made.id, subscription, sealed, made.wanted, made.created_at]).await?;
        Ok(made)
    }

    /// A channel.
    pub async fn channel_fetch(&self, id: &str) -> Result<Option<Channel>> {
        const FETCH: &str = concat!("SELECT ", columns!(), " FROM channels WHERE id = $1");
        self.fetch_optional(FETCH, args![id]).await?.map(|row| self.channel(&row)).transpose()
    }

    /// The channels of a subscription, the oldest first.
    pub async fn channel_list(&self, subscription: SubscriptionId) -> Result<Vec<Channel>> {
        const LIST: &str = concat!("SELECT ", columns!(), " FROM channels WHERE subscription = $1 ORDER BY created_at, id");
        self.fetch_all(LIST, args![subscription]).await?.iter().map(|row| self.channel(row)).collect()
    }

    /// From where the changes of what a subscription watches are listed; `None` when they never were.
    pub async fn change_mark(&self, subscription: SubscriptionId, repository: &str) -> Result<Option<ChangeMark>> {
        const FETCH: &str = "SELECT mark, read_at FROM change_marks WHERE subscription = $1 AND repository = $2";
        let row = self.fetch_optional(FETCH, args![subscription, repository]).await?;
        row.map(|row| Ok(ChangeMark { text: row.text("mark")?, read_at: row.instant("read_at")? })).transpose()
    }

    fn channel(&self, row: &Row) -> Result<Channel> {
        let id = row.text("id")?;
        Ok(Channel {
            subscription: row.parse("subscription")?,
            token: self.inner.key.open(&place(&id), &row.text("token")?)?,
            wanted: row.text("wanted")?,
            resource: row.optional_text("resource")?,
            created_at: row.instant("created_at")?,
            expires_at: row.optional_instant("expires_at")?,
            id,
        })
    }
}

impl Tx {
    /// Writes what the source answered.
    pub async fn channel_opened(&mut self, id: &str, (resource, expires_at): (&str, Timestamp)) -> Result<()> {
        const UPDATE: &str = "UPDATE channels SET resource = $1, expires_at = $2 WHERE id = $3";
        self.execute(UPDATE, args![resource, expires_at, id]).await.map(drop)
    }

    /// Writes from where the next list of changes goes on.
    pub async fn change_mark_set(&mut self, (subscription, repository): (SubscriptionId, &str), mark: &str) -> Result<()> {
        const UPSERT: &str = "INSERT INTO change_marks (subscription, repository, mark, read_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (subscription) DO UPDATE SET repository = excluded.repository, mark = excluded.mark, read_at = excluded.read_at";
        let now = self.clock.now();
        self.execute(UPSERT, args![subscription, repository, mark, now]).await.map(drop)
    }

    /// Forgets a channel: what is sent through it is not taken any more.
    pub async fn channel_forget(&mut self, id: &str) -> Result<()> {
        const DELETE: &str = "DELETE FROM channels WHERE id = $1";
        self.execute(DELETE, args![id]).await.map(drop)
    }
}
