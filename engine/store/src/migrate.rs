//! Brings a database up to date: each migration once, statement by statement, on both databases.
//! A database that a newer version wrote is refused, and so is one whose applied migrations differ from ours.

use hookwright_core::Digest;

use crate::sql::args;
use crate::{Error, Result, Store};

/// Every migration, in order. Applied ones never change.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../migrations/0001_foundation.sql")),
    (2, include_str!("../migrations/0002_runs.sql")),
    (3, include_str!("../migrations/0003_releases.sql")),
];

const CREATE: &str = "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, digest TEXT NOT NULL, applied_at BIGINT NOT NULL)";

pub(crate) async fn run(store: &Store) -> Result<()> {
    let mut tx = store.begin().await?;
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
    for (version, text) in MIGRATIONS {
        let digest = Digest::of(text).to_string();
        match applied.iter().find(|(known, _)| known == version) {
            Some((_, known)) if *known == digest => {}
            Some(_) => return Err(Error::Open { message: format!("its migration {version} differs from this version's") }),
            None => {
                for statement in statements(text) {
                    tx.execute(statement, Vec::new()).await?;
                }
                let now = tx.clock.now();
                tx.execute("INSERT INTO migrations (version, digest, applied_at) VALUES ($1, $2, $3)", args![version, digest, now]).await?;
            }
        }
    }
    tx.commit("migrated").await
}

/// The statements of a migration: they end with `;` at a line's end, comments stand on lines of their own.
fn statements(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split(";\n").filter(|statement| statement.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with("--")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_alone_are_no_statement() {
        assert_eq!(statements("-- a\n\nCREATE x;\n\n-- b\nCREATE y;\n-- end\n").count(), 2);
    }
}
