//! Artifacts: what stages left behind, by content.

use std::collections::HashSet;

use hookwright_core::{Artifact, ArtifactId, ArtifactKind, Digest, RunId};

use crate::sql::{Row, args};
use crate::{Error, Result, Store, Tx};

macro_rules! select_artifacts {
    ($rest:literal) => {
        concat!("SELECT id, stage_run, kind, name, digest, size, created_at FROM artifacts ", $rest)
    };
}

const ARTIFACT_ADD: &str = "INSERT INTO artifacts (id, run, stage_run, kind, name, digest, size, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
const ARTIFACT_LIST: &str = select_artifacts!("WHERE run = $1 ORDER BY id");
const ARTIFACT_FETCH: &str = select_artifacts!("WHERE id = $1");
const ARTIFACT_RUN: &str = "SELECT run FROM artifacts WHERE id = $1";
const ARTIFACT_DIGESTS: &str = "SELECT digest AS blob FROM artifacts \
    UNION SELECT outputs AS blob FROM stage_runs WHERE outputs IS NOT NULL \
    UNION SELECT outputs AS blob FROM stage_cache WHERE outputs IS NOT NULL \
    UNION SELECT image AS blob FROM stage_cache WHERE image IS NOT NULL";

impl Store {
    /// Records an artifact of a run.
    pub async fn artifact_add_in(&self, tx: &mut Tx, run: RunId, artifact: &Artifact) -> Result<()> {
        let values = args![
            artifact.id,
            run,
            artifact.stage_run,
            text(artifact.kind),
            artifact.name,
            artifact.digest,
            artifact.size,
            artifact.created_at,
        ];
        tx.execute(ARTIFACT_ADD, values).await.map(drop)
    }

    /// All artifacts of a run.
    pub async fn artifact_list(&self, run: RunId) -> Result<Vec<Artifact>> {
        self.fetch_all(ARTIFACT_LIST, args![run]).await?.iter().map(artifact).collect()
    }

    /// An artifact.
    pub async fn artifact_fetch(&self, id: ArtifactId) -> Result<Option<Artifact>> {
        self.fetch_optional(ARTIFACT_FETCH, args![id]).await?.map(|row| artifact(&row)).transpose()
    }

    /// The run whose artifact it is.
    pub async fn artifact_run(&self, id: ArtifactId) -> Result<Option<RunId>> {
        self.fetch_optional(ARTIFACT_RUN, args![id]).await?.map(|row| row.parse("run")).transpose()
    }

    /// Every blob that a run or a cache entry names.
    pub async fn artifact_digests(&self) -> Result<HashSet<Digest>> {
        self.fetch_all(ARTIFACT_DIGESTS, Vec::new()).await?.iter().map(|row| row.parse("blob")).collect()
    }
}

const fn text(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::Outputs => "outputs",
        ArtifactKind::Report => "report",
        ArtifactKind::Image => "image",
    }
}

fn artifact(row: &Row) -> Result<Artifact> {
    let kind = match row.text("kind")?.as_str() {
        "outputs" => ArtifactKind::Outputs,
        "report" => ArtifactKind::Report,
        "image" => ArtifactKind::Image,
        other => return Err(Error::Corrupt { column: "kind", message: format!("`{other}` is no kind of artifact") }),
    };
    Ok(Artifact {
        id: row.parse("id")?,
        stage_run: row.parse("stage_run")?,
        kind,
        name: row.text("name")?,
        digest: row.parse("digest")?,
        size: row.number("size")?,
        created_at: row.instant("created_at")?,
    })
}
