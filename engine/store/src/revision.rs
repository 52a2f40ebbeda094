//! Revisions: every commit on a ref that was seen, once for each update of the ref.

use hookwright_core::{Revision, RevisionEvent, RevisionId};

use crate::sql::{Row, args, json_text};
use crate::{Error, Result, Store, Tx};

const INSERT: &str = "INSERT INTO revisions
    (id, repository, reference, commit_sha, previous_sha, sequence, event, info, trusted, actor, seen_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (repository, reference, sequence) DO NOTHING";
const FETCH: &str =
    "SELECT id, repository, reference, commit_sha, previous_sha, event, info, trusted, actor, seen_at FROM revisions WHERE id = $1";
const UNPLANNED: &str = "SELECT id, repository, reference, commit_sha, previous_sha, event, info, trusted, actor, seen_at FROM revisions
    WHERE planned_at IS NULL ORDER BY id LIMIT 100";
const PLANNED: &str = "UPDATE revisions SET planned_at = $1 WHERE id = $2";

fn revision(row: &Row) -> Result<Revision> {
    let event = row.text("event")?;
    let event = [RevisionEvent::Push, RevisionEvent::Tag, RevisionEvent::PullRequest]
        .into_iter()
        .find(|known| known.as_str() == event)
        .ok_or_else(|| Error::Corrupt { column: "event", message: format!("`{event}` is not an event") })?;
    Ok(Revision {
        id: row.parse("id")?,
        repository: row.parse("repository")?,
        reference: row.parse("reference")?,
        commit: row.parse("commit_sha")?,
        previous: row.optional_parse("previous_sha")?,
        event,
        info: row.json("info")?,
        trusted: row.flag("trusted")?,
        actor: row.optional_text("actor")?,
        seen_at: row.instant("seen_at")?,
    })
}

impl Tx {
    /// Writes a revision down; `sequence` is that of its ref's update, so that the same update seen twice is one revision.
    pub async fn revision_create(&mut self, revision: &Revision, sequence: u64) -> Result<()> {
        let values = args![
            revision.id,
            revision.repository,
            revision.reference,
            revision.commit,
            revision.previous,
            sequence,
            revision.event.as_str(),
            json_text(&revision.info),
            revision.trusted,
            revision.actor,
            revision.seen_at,
        ];
        self.execute(INSERT, values).await.map(drop)
    }

    /// Marks a revision as planned: its runs exist, or it needs none.
    pub async fn revision_planned(&mut self, id: &RevisionId) -> Result<()> {
        let now = self.clock.now();
        self.execute(PLANNED, args![now, id]).await.map(drop)
    }
}

impl Store {
    /// A revision.
    pub async fn revision_fetch(&self, id: &RevisionId) -> Result<Option<Revision>> {
        self.fetch_optional(FETCH, args![id]).await?.as_ref().map(revision).transpose()
    }

    /// Revisions whose runs have not been made yet, oldest first; also what a crash left behind.
    pub async fn revision_unplanned(&self) -> Result<Vec<Revision>> {
        self.fetch_all(UNPLANNED, Vec::new()).await?.iter().map(revision).collect()
    }
}
