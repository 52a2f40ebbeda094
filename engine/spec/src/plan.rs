//! The immutable, expanded DAG for one revision.

use std::collections::BTreeMap;
use std::time::Duration;

use hookwright_core::{ConfigName, Digest, RevisionEvent, StageName, WebhookName};
use serde::{Deserialize, Serialize};

use crate::{CopyEntry, Spec};

/// A file of the webhook's folder at the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// Its path, relative to the folder of the `webhook.yaml`.
    pub path: String,
    /// Its git object id (or any other name of its content).
    pub object: String,
}

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct PlanRequest<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// The path of its file, for problems; its folder is the context.
    pub file: &'a str,
    /// The text it was parsed from, so that problems can point into it; empty when it is not at hand.
    pub text: &'a str,
    /// Every file below the folder.
    pub files: &'a [TreeFile],
    /// What happened.
    pub event: RevisionEvent,
    /// The branch, for a push or pull request.
    pub branch: Option<&'a str>,
    /// The tag.
    pub tag: Option<&'a str>,
    /// Paths that changed, relative to the folder.
    pub changed: &'a [String],
    /// The repository's default branch.
    pub default_branch: Option<&'a str>,
    /// Presets of the repository's own by `name@version`, as YAML text; they win over the built-in ones.
    pub presets: &'a BTreeMap<String, String>,
}

/// The expanded DAG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Whose.
    pub webhook: WebhookName,
    /// The folder of its `webhook.yaml`; empty is the root.
    pub folder: String,
    /// The preset that was merged (`node@1`).
    pub preset: Option<String>,
    /// What is done, each after everything it needs.
    pub stages: Vec<PlannedStage>,
    /// What is not done, and why.
    pub left_out: Vec<LeftOut>,
}

impl Plan {
    /// The hash of the plan: with the revision and the reason it names a run.
    ///
    /// It is over the canonical JSON of the plan, whose maps are ordered.
    pub fn digest(&self) -> Digest {
        // A plan holds only strings, numbers and ordered maps, which always serialise; an empty text could only make two
        // plans look alike that also fail to be stored.
        Digest::of(serde_json::to_vec(self).unwrap_or_default())
    }

    /// The stage of that name.
    pub fn stage(&self, name: &StageName) -> Option<&PlannedStage> {
        self.stages.iter().find(|stage| &stage.name == name)
    }
}

impl Plan {
    /// Takes the deploy stages out, and every stage that needs one.
    pub fn leave_out_deploys(&mut self, reason: &str) {
        let mut gone: Vec<StageName> = Vec::new();
        // The stages are in an order in which each comes after what it needs.
        for stage in &self.stages {
            let needed = stage.needs.iter().find(|need| gone.contains(need));
            if stage.kind == StageKind::Deploy || needed.is_some() {
                let reason = needed.map_or_else(|| reason.to_owned(), |need| format!("it needs `{need}`, which is left out"));
                self.left_out.push(LeftOut { stage: stage.name.clone(), reason });
                gone.push(stage.name.clone());
            }
        }
        self.stages.retain(|stage| !gone.contains(&stage.name));
    }
}

/// A stage that is not part of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Which.
    pub stage: StageName,
    /// Why, as a sentence.
    pub reason: String,
}

/// What a stage does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum StageKind {
    /// Fetches the commit.
    Checkout,
    /// Runs shell text.
    Command {
        /// The text.
        script: String,
    },
    /// Makes the image, from scratch.
    Image {
        /// What it holds.
        copy: Vec<CopyEntry>,
        /// Whether `.dockerignore` or `.gitignore` are obeyed: when the whole folder is copied.
        respect_ignore_files: bool,
        /// Variables baked into the image (`PYTHONPATH`).
        environment: BTreeMap<String, String>,
        /// Where the handler starts.
        working_directory: String,
    },
    /// Cuts the release and promotes it into the first environment.
    Deploy,
}

impl StageKind {
    /// The word for it, as `/metrics` uses it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Command { .. } => "command",
            Self::Image { .. } => "image",
            Self::Deploy => "deploy",
        }
    }
}

/// A stage of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// Its name, unique in the plan (`matrix-test-node-20`).
    pub name: StageName,
    /// The name in the file, the same for all instances of a matrix.
    pub base: StageName,
    /// What it does.
    pub kind: StageKind,
    /// Stages of the plan that must have succeeded (or failed while allowed to).
    pub needs: Vec<StageName>,
    /// Variables, matrix keys included.
    pub env: BTreeMap<String, String>,
    /// Build secrets by name.
    pub secrets: Vec<ConfigName>,
    /// After this its process group is killed.
    pub timeout: Duration,
    /// How often it is tried again when it fails.
    pub retry: u32,
    /// Whether the run goes on when it fails.
    pub allow_failure: bool,
    /// Globs of what the workspace holds; `None` is the whole folder.
    pub inputs: Option<Vec<String>>,
    /// Globs of what it leaves for those that need it.
    pub outputs: Vec<String>,
    /// Folders kept between runs, relative to the workspace.
    pub cache: Vec<String>,
    /// Globs of JUnit reports.
    pub reports: Vec<String>,
    /// Tools whose versions enter the cache key: name and the command that prints the version.
    pub tools: BTreeMap<String, String>,
    /// The preset it comes from or was merged over (`node@1`).
    pub preset: Option<String>,
    /// The part of the cache key that is known now: command, env, declared inputs with their object ids, preset. Upstream outputs, tool versions and
    /// platform are added when the stage gets ready.
    pub cache_material: Digest,
    /// Whether a cached result may stand for it: it has a command and no secrets.
    pub cacheable: bool,
}
