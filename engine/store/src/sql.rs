//! One SQL text for both databases: values, rows, and the functions that run a statement on whichever pool or transaction it is.
//!
//! ```ignore
//! let rows = store.fetch_all("SELECT id, created_at FROM runs WHERE webhook = $1", args![name]).await?;
//! let created = Timestamp::from_millis(rows[0].integer("created_at")?);
//! let mut tx = store.begin().await?;
//! tx.execute("UPDATE runs SET status = $1 WHERE id = $2", args![status, id]).await?;
//! tx.commit("run.ended").await?;
//! ```
//! Texts use `$1` placeholders, TEXT and BIGINT columns, `ON CONFLICT` and `RETURNING`, and no database-side clock.

use std::fmt::{Display, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use hookwright_core::Timestamp;
use sqlx::{Row as _, postgres::PgRow, sqlite::SqliteRow};

use crate::{Error, Result};

/// A value bound to a placeholder.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// TEXT, in one piece of memory: the thread of SQLite, which gives it back, has half as much to do.
    Text(Option<Arc<str>>),
    /// BIGINT; booleans are 0 and 1.
    Integer(Option<i64>),
    /// BYTEA.
    Bytes(Vec<u8>),
}

/// Whatever can be bound: names, ids, digests and statuses as their text.
pub(crate) trait ToValue {
    /// The value to bind.
    fn to_value(&self) -> Value;
}

macro_rules! bind_as_text {
    ($($kind:ty),* $(,)?) => {$(
        impl ToValue for $kind {
            fn to_value(&self) -> Value {
                Value::Text(Some(text_of(self)))
            }
        }
        impl ToValue for Option<$kind> {
            fn to_value(&self) -> Value {
                Value::Text(self.as_ref().map(|value| text_of(value)))
            }
        }
    )*};
}

/// The text of a value; ids and names are written without asking for memory again.
fn text_of(value: &dyn Display) -> Arc<str> {
    let mut text = String::with_capacity(64);
    write!(text, "{value}").expect("writing to a text does not fail");
    text.into()
}

bind_as_text!(
    String,
    &str,
    hookwright_core::ApprovalId,
    hookwright_core::ArtifactId,
    hookwright_core::AuditId,
    hookwright_core::CommitSha,
    hookwright_core::ConfigName,
    hookwright_core::DeliveryId,
    hookwright_core::DeploymentId,
    hookwright_core::Digest,
    hookwright_core::EnvironmentName,
    hookwright_core::EventId,
    hookwright_core::HookAddress,
    hookwright_core::OutboxId,
    hookwright_core::PromotionId,
    hookwright_core::RefName,
    hookwright_core::ReleaseId,
    hookwright_core::RepositoryId,
    hookwright_core::RepositoryName,
    hookwright_core::RevisionId,
    hookwright_core::RunId,
    hookwright_core::SessionId,
    hookwright_core::StageName,
    hookwright_core::StageRunId,
    hookwright_core::SubscriptionId,
    hookwright_core::TokenId,
    hookwright_core::TriggerName,
    hookwright_core::WebhookName,
    hookwright_core::status::DeliveryStatus,
    hookwright_core::status::DeploymentStatus,
    hookwright_core::status::PromotionStatus,
    hookwright_core::status::RunStatus,
    hookwright_core::status::StageStatus,
    hookwright_core::status::SubscriptionStatus,
);

macro_rules! bind_as_integer {
    ($($kind:ty),*) => {$(
        impl ToValue for $kind {
            fn to_value(&self) -> Value {
                Value::Integer(Some(i64::from(*self)))
            }
        }
        impl ToValue for Option<$kind> {
            fn to_value(&self) -> Value {
                Value::Integer(self.map(i64::from))
            }
        }
    )*};
}

bind_as_integer!(i64, i32, u32, bool);

impl ToValue for u64 {
    fn to_value(&self) -> Value {
        Value::Integer(Some(i64::try_from(*self).unwrap_or(i64::MAX)))
    }
}

impl ToValue for Timestamp {
    fn to_value(&self) -> Value {
        Value::Integer(Some(self.as_millis()))
    }
}

impl ToValue for Option<Timestamp> {
    fn to_value(&self) -> Value {
        Value::Integer(self.map(Timestamp::as_millis))
    }
}

impl<T: ToValue> ToValue for &T {
    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

/// The values of a statement, in the order of its placeholders.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::sql::ToValue::to_value(&$value)),*] };
}
pub(crate) use args;

/// A row of either database.
pub(crate) enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// A TEXT column that may be null.
    pub(crate) fn optional_text(&self, column: &'static str) -> Result<Option<String>> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|cause| Error::Corrupt { column, message: cause.to_string() })
    }

    /// A TEXT column.
    pub(crate) fn text(&self, column: &'static str) -> Result<String> {
        self.optional_text(column)?.ok_or_else(|| Error::Corrupt { column, message: "it is null".to_owned() })
    }

    /// A BYTEA column.
    pub(crate) fn bytes(&self, column: &'static str) -> Result<Vec<u8>> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|cause| Error::Corrupt { column, message: cause.to_string() })
    }

    /// A BIGINT column that may be null.
    pub(crate) fn optional_integer(&self, column: &'static str) -> Result<Option<i64>> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|cause| Error::Corrupt { column, message: cause.to_string() })
    }

    /// A BIGINT column.
    pub(crate) fn integer(&self, column: &'static str) -> Result<i64> {
        self.optional_integer(column)?.ok_or_else(|| Error::Corrupt { column, message: "it is null".to_owned() })
    }

    /// A BIGINT column as a smaller or unsigned number.
    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T> {
        T::try_from(self.integer(column)?).map_err(|_| Error::Corrupt { column, message: "the number is out of range".to_owned() })
    }

    /// A BIGINT column that holds 0 or 1.
    pub(crate) fn flag(&self, column: &'static str) -> Result<bool> {
        Ok(self.integer(column)? != 0)
    }

    /// A BIGINT column that holds an instant.
    pub(crate) fn instant(&self, column: &'static str) -> Result<Timestamp> {
        self.integer(column).map(Timestamp::from_millis)
    }

    /// The same, nullable.
    pub(crate) fn optional_instant(&self, column: &'static str) -> Result<Option<Timestamp>> {
        Ok(self.optional_integer(column)?.map(Timestamp::from_millis))
    }

    /// A TEXT column that holds a name, id, digest or status.
    pub(crate) fn parse<T>(&self, column: &'static str) -> Result<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.text(column)?.parse().map_err(|error: T::Err| Error::Corrupt { column, message: error.to_string() })
    }

    /// The same, nullable.
    pub(crate) fn optional_parse<T>(&self, column: &'static str) -> Result<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        self.optional_text(column)?
            .map(|text| text.parse().map_err(|error: T::Err| Error::Corrupt { column, message: error.to_string() }))
            .transpose()
    }

    /// A TEXT column that holds JSON.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|error| Error::Corrupt { column, message: error.to_string() })
    }
}

/// The JSON text of a value that always has one.
pub(crate) fn json_text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("stored types have string keys and no failing serializers")
}

macro_rules! bind {
    ($statement:expr, $values:expr) => {{
        let mut query = sqlx::query($statement);
        for value in $values {
            query = match value {
                $crate::sql::Value::Text(text) => query.bind(text),
                $crate::sql::Value::Integer(integer) => query.bind(integer),
                $crate::sql::Value::Bytes(bytes) => query.bind(bytes),
            };
        }
        query
    }};
}
pub(crate) use bind;
