//! What a revision means for webhooks: every `webhook.yaml` in its tree, read, compared with what was built last, and planned.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use hookwright_core::port::{Location, TreeEntry, TreeEntryKind};
use hookwright_core::{Blame, CommitSha, PortError, RefName, RepoPath, Repository, Revision, RevisionEvent, WebhookName};
use hookwright_spec::{Plan, PlanRequest, SOURCE_FOLDER, SourceFiles, Spec, TreeFile, parse_beside};

use crate::{Deps, Result};

/// The name of the file.
const FILE: &str = "webhook.yaml";
/// A spec is small; larger ones are refused.
const LIMIT: u64 = 256 << 10;

/// A revision and the webhooks in it.
pub(super) struct Survey {
    pub(super) revision: Revision,
    pub(super) found: Vec<Found>,
    /// Whether there is any `webhook.yaml`, readable or not.
    pub(super) has_files: bool,
}

/// One `webhook.yaml`.
pub(super) enum Found {
    /// It is readable. Without a plan nothing is to be done: nothing of it changed, or it is not built on this ref, which `is_built` says.
    Webhook { file: RepoPath, spec: Box<Spec>, is_built: bool, plan: Option<std::result::Result<Plan, String>> },
    /// It is not, and this is why.
    Unreadable { webhook: Option<WebhookName>, problem: String },
}

/// Reads a revision. With `only`, that webhook alone is planned, whatever changed and wherever it is.
pub(super) async fn survey(
    deps: &Deps,
    place: &Location,
    repository: &Repository,
    revision: Revision,
    default_branch: Option<&str>,
    only: Option<&WebhookName>,
) -> Result<Survey> {
    let tree = match deps.revisions.tree(place, &revision.commit).await {
        Ok(tree) => tree,
        // A tree that is refused fails a run; it does not keep the other refs of the repository from being read.
        Err(cause) if cause.blame == Blame::Failed => {
            let found = vec![Found::Unreadable { webhook: None, problem: cause.to_string() }];
            return Ok(Survey { revision, found, has_files: true });
        }
        Err(cause) => return Err(cause.into()),
    };
    let (mut found, mut has_files) = (Vec::new(), false);
    for entry in tree.iter().filter(|entry| entry.path.as_str().rsplit('/').next() == Some(FILE)) {
        has_files = true;
        let file = &entry.path;
        let surveyed = match entry.kind {
            TreeEntryKind::Link | TreeEntryKind::Submodule => {
                Some(Found::Unreadable { webhook: None, problem: format!("{file}: a link is not followed; make it a file") })
            }
            TreeEntryKind::File | TreeEntryKind::Executable => {
                let one = One { deps, place, repository, revision: &revision, tree: &tree, file, default_branch, only };
                one.read().await?
            }
        };
        found.extend(surveyed);
    }
    let mut seen: Vec<WebhookName> = Vec::new();
    for one in &mut found {
        if let Found::Webhook { file, spec, .. } = one {
            if seen.contains(&spec.name) {
                let problem = format!("{file}: two files of this repository are named `{}`; choose another `name:`", spec.name);
                *one = Found::Unreadable { webhook: None, problem };
            } else {
                seen.push(spec.name.clone());
            }
        }
    }
    Ok(Survey { revision, found, has_files })
}

/// The event sources that a repository brings itself beside a `webhook.yaml`, as they are in the commit; links are not followed.
pub(crate) async fn own_sources(
    deps: &Deps,
    (place, commit): (&Location, &CommitSha),
    (file, text): (&RepoPath, &str),
    tree: &[TreeEntry],
) -> std::result::Result<SourceFiles, PortError> {
    let folder = file.as_str().rsplit_once('/').map_or(format!("{SOURCE_FOLDER}/"), |(folder, _)| format!("{folder}/{SOURCE_FOLDER}/"));
    let mut sources = SourceFiles::default();
    let mut paths = BTreeMap::new();
    for entry in tree.iter().filter(|entry| matches!(entry.kind, TreeEntryKind::File | TreeEntryKind::Executable)) {
        if let Some(name) = entry.path.as_str().strip_prefix(&folder).and_then(|file_name| sources.add(file_name)) {
            paths.insert(name.to_owned(), &entry.path);
        }
    }
    for name in sources.wanted(text) {
        let Some(path) = paths.get(&name) else { continue };
        if let Some(content) = deps.revisions.read(place, commit, path, LIMIT).await? {
            sources.set(&name, String::from_utf8_lossy(&content).into_owned());
        }
    }
    Ok(sources)
}

struct One<'a> {
    deps: &'a Deps,
    place: &'a Location,
    repository: &'a Repository,
    revision: &'a Revision,
    tree: &'a [TreeEntry],
    file: &'a RepoPath,
    default_branch: Option<&'a str>,
    only: Option<&'a WebhookName>,
}

impl One<'_> {
    async fn read(&self) -> Result<Option<Found>> {
        let content = match self.deps.revisions.read(self.place, &self.revision.commit, self.file, LIMIT).await {
            Ok(Some(content)) => content,
            Ok(None) => return Ok(None),
            Err(cause) if cause.blame == Blame::Failed => return Ok(self.unreadable(None, format!("{}: {cause}", self.file))),
            Err(cause) => return Err(cause.into()),
        };
        let Ok(text) = String::from_utf8(content) else {
            return Ok(self.unreadable(None, format!("{}: it is not UTF-8 text", self.file)));
        };
        let sources = match own_sources(self.deps, (self.place, &self.revision.commit), (self.file, &text), self.tree).await {
            Ok(sources) => sources,
            Err(cause) if cause.blame == Blame::Failed => {
                return Ok(self.unreadable(name_in(&text), format!("{}: {cause}", self.file)));
            }
            Err(cause) => return Err(cause.into()),
        };
        let spec = match parse_beside(&text, self.file.as_str(), &sources) {
            Ok(spec) => spec,
            Err(problems) => return Ok(self.unreadable(name_in(&text), problems.to_string())),
        };
        if self.only.is_some_and(|only| *only != spec.name) {
            return Ok(None);
        }
        let is_built = self.only.is_some() || self.is_built(&spec);
        let changed = if is_built { self.changed(&spec).await? } else { None };
        let plan = changed.map(|changed| self.plan(&spec, &text, &changed));
        Ok(Some(Found::Webhook { file: self.file.clone(), spec: Box::new(spec), is_built, plan }))
    }

    /// A spec that cannot be read fails a run only where it would have been built; elsewhere it is somebody's work in progress.
    fn unreadable(&self, webhook: Option<WebhookName>, problem: String) -> Option<Found> {
        let built = self.only.is_some()
            || self.revision.event == RevisionEvent::PullRequest
            || self.revision.reference.branch().is_some_and(|branch| self.default_branch == Some(branch));
        built.then_some(Found::Unreadable { webhook, problem })
    }

    /// Whether the spec wants this ref built: `branches`, where `tags/<glob>` names tags; without one the default branch. Pull
    /// requests always are.
    fn is_built(&self, spec: &Spec) -> bool {
        let reference = &self.revision.reference;
        if self.revision.event == RevisionEvent::PullRequest {
            return true;
        }
        let name = match (reference.branch(), reference.tag()) {
            (Some(branch), _) => branch.to_owned(),
            (None, Some(tag)) => format!("tags/{tag}"),
            (None, None) => return false,
        };
        if spec.pipeline.branches.is_empty() {
            return reference.branch().is_some_and(|branch| self.default_branch == Some(branch));
        }
        globs(&spec.pipeline.branches).is_match(name)
    }

    fn folder(&self) -> &str {
        self.file.as_str().rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn relative<'p>(&self, path: &'p RepoPath) -> Option<&'p str> {
        match self.folder() {
            "" => Some(path.as_str()),
            folder => path.as_str().strip_prefix(folder)?.strip_prefix('/'),
        }
    }

    /// What changed in its folder since its own last success; `None` when there is nothing to do.
    async fn changed(&self, spec: &Spec) -> Result<Option<Vec<String>>> {
        // What was built before a webhook was removed says nothing about the next one of its name.
        if self.deps.store.webhook_fetch(&spec.name).await?.is_none() {
            return Ok(Some(Vec::new()));
        }
        let Some(built) = self.last_success(spec).await? else {
            return Ok(Some(Vec::new()));
        };
        let Some(paths) = self.deps.revisions.changed(self.place, &built, &self.revision.commit).await? else {
            return Ok(Some(Vec::new()));
        };
        let changed: Vec<String> = paths.iter().filter_map(|path| self.relative(path)).map(str::to_owned).collect();
        let patterns = &spec.pipeline.paths;
        let matching = globs(patterns);
        let is_source = |path: &String| spec.sources.keys().any(|name| *path == format!("{SOURCE_FOLDER}/{name}.yaml"));
        let touched = changed.iter().any(|path| patterns.is_empty() || path == FILE || is_source(path) || matching.is_match(path));
        Ok((touched || self.only.is_some()).then_some(changed))
    }

    /// The commit of its last success on this ref. A pull request starts from that of the default branch.
    async fn last_success(&self, spec: &Spec) -> Result<Option<CommitSha>> {
        let of = async |reference: &RefName| self.deps.store.run_last_success(&spec.name, self.repository.id, reference).await;
        if let Some(built) = of(&self.revision.reference).await? {
            return Ok(Some(built));
        }
        let base = self.default_branch.filter(|_| self.revision.event == RevisionEvent::PullRequest);
        match base.and_then(|branch| RefName::new(format!("refs/heads/{branch}")).ok()) {
            Some(base) => Ok(of(&base).await?),
            None => Ok(None),
        }
    }

    fn plan(&self, spec: &Spec, text: &str, changed: &[String]) -> std::result::Result<Plan, String> {
        let files: Vec<TreeFile> = self
            .tree
            .iter()
            .filter(|entry| entry.kind != TreeEntryKind::Submodule)
            .filter_map(|entry| Some(TreeFile { path: self.relative(&entry.path)?.to_owned(), object: entry.object.clone() }))
            .collect();
        let request = PlanRequest {
            spec,
            file: self.file.as_str(),
            text,
            files: &files,
            event: self.revision.event,
            branch: self.revision.reference.branch(),
            tag: self.revision.reference.tag(),
            changed,
            default_branch: self.default_branch,
            presets: &BTreeMap::new(),
        };
        let mut plan = hookwright_spec::plan(request).map_err(|problems| problems.to_string())?;
        if !self.deps.settings.deploys {
            plan.leave_out_deploys("nothing is deployed here");
        } else if self.revision.event == RevisionEvent::PullRequest {
            plan.leave_out_deploys("a pull request is built and tested, and deployed once it is merged");
        }
        Ok(plan)
    }
}

/// The patterns of a validated spec; one that cannot be compiled all the same matches nothing.
fn globs(patterns: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        if let Ok(glob) = GlobBuilder::new(pattern).literal_separator(true).build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_else(|_| GlobSet::empty())
}

/// The name that an unreadable file gives its webhook, when a line says so plainly.
fn name_in(text: &str) -> Option<WebhookName> {
    let value = text.lines().find_map(|line| line.strip_prefix("name:"))?;
    let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    WebhookName::new(value).ok()
}
