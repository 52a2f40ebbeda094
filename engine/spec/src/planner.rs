//! A spec and a tree to a plan: the preset is merged under the spec's stages, stages with nothing to do are left out, matrices are expanded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use hookwright_core::{Digest, Sha256, StageName};

use crate::expression::{self, Facts};
use crate::parse::pipeline::cycle;
use crate::plan::{LeftOut, Plan, PlanRequest, PlannedStage, StageKind, TreeFile};
use crate::preset::{self, Preset};
use crate::problem::{Problem, Problems};
use crate::reader::nearest;
use crate::tree::excerpt;
use crate::{CopyEntry, Image, Pipeline, Stage};

/// A stage that says nothing is killed after this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The most stages a plan may have, matrices expanded.
const MAX_STAGES: usize = 1000;
/// Where the folder stands in an image.
const HOME: &str = "/app";

/// Plans a run.
///
/// # Errors
/// What the spec asks for and cannot be planned: an unknown preset, a circle, or something that this version cannot do yet.
#[expect(clippy::needless_pass_by_value, reason = "the request is a bundle of borrows, made for one call")]
pub fn plan(request: PlanRequest<'_>) -> Result<Plan, Problems> {
    let mut planner = Planner { request: &request, problems: Vec::new(), left_out: Vec::new() };
    let plan = planner.plan()?;
    if planner.problems.is_empty() { Ok(plan) } else { Err(Problems(planner.problems)) }
}

struct Planner<'a> {
    request: &'a PlanRequest<'a>,
    problems: Vec<Problem>,
    left_out: Vec<LeftOut>,
}

impl Planner<'_> {
    fn plan(&mut self) -> Result<Plan, Problems> {
        let spec = self.request.spec;
        let preset = self.preset()?;
        let mut stages = self.merge(preset.as_ref());
        self.check(&stages);
        let graph: BTreeMap<String, Vec<String>> =
            stages.iter().map(|one| (one.name.to_string(), needs(one).iter().map(ToString::to_string).collect())).collect();
        if let Some(cycle) = cycle(&graph) {
            self.problem("needs", format!("stages need each other in a circle: {}", cycle.join(" → ")), "remove one of these `needs`");
        }
        if !self.problems.is_empty() {
            return Err(Problems(std::mem::take(&mut self.problems)));
        }
        self.leave_out(&mut stages, preset.as_ref());
        let planned = self.expand(stages, preset.as_ref());
        if planned.len() > MAX_STAGES {
            self.problem(
                "matrix",
                format!("the plan has {} stages, more than {MAX_STAGES}", planned.len()),
                "leave out some values of a matrix",
            );
        }
        let folder = self.request.file.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let left_out = std::mem::take(&mut self.left_out);
        Ok(Plan { webhook: spec.name.clone(), folder, preset: preset.map(|preset| preset.name), stages: sorted(planned), left_out })
    }

    /// The named preset, or the one that the files call for.
    fn preset(&mut self) -> Result<Option<Preset>, Problems> {
        let request = self.request;
        if let Some(name) = &request.spec.pipeline.uses {
            if let Some(text) = request.presets.get(name).map(String::as_str).or_else(|| preset::built_in(name)) {
                return preset::read(text, name).map(Some);
            }
            let known: Vec<&str> = preset::names().collect();
            self.problem("uses", format!("there is no preset `{name}`"), &nearest(name, &known));
            return Err(Problems(std::mem::take(&mut self.problems)));
        }
        for name in preset::names() {
            let text = request.presets.get(name).map(String::as_str).or_else(|| preset::built_in(name)).unwrap_or_default();
            let preset = preset::read(text, name)?;
            if any_file(request.files, &preset.detect) {
                return Ok(Some(preset));
            }
        }
        preset::read(preset::built_in("static@1").unwrap_or_default(), "static@1").map(Some)
    }

    /// The preset's stages with the spec's fields over them, then the spec's own.
    fn merge(&self, preset: Option<&Preset>) -> Vec<Stage> {
        let mut stages: Vec<Stage> = preset.map(|preset| preset.stages.iter().map(|one| one.stage.clone()).collect()).unwrap_or_default();
        for own in &self.request.spec.pipeline.stages {
            match stages.iter_mut().find(|stage| stage.name == own.name) {
                Some(stage) => overlay(stage, own),
                None => stages.push(own.clone()),
            }
        }
        stages
    }

    /// Refuses what cannot be done, with what is missing.
    fn check(&mut self, stages: &[Stage]) {
        let spec = self.request.spec;
        let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
        for stage in stages {
            let name = &stage.name;
            for need in needs(stage) {
                if !names.contains(&need.as_str()) {
                    self.problem(
                        name.as_str(),
                        format!("stage `{name}` needs `{need}`, which there is not"),
                        &nearest(need.as_str(), &names),
                    );
                }
            }
            if let Some(image) = &stage.image {
                if image.dockerfile.is_some() {
                    let help = "an image builder for Dockerfiles is not part of this version; use `image: { copy: { .: /app } }` and say `uses:` for the language";
                    self.problem("dockerfile", format!("stage `{name}` builds a Dockerfile, which needs BuildKit"), help);
                }
                if let Some(base) = image.base.as_ref().filter(|base| *base != "scratch") {
                    let help = "leave `base` out: on scratch the process runtime lends the machine's interpreters";
                    self.problem("base", format!("stage `{name}` starts from `{base}`, which needs a container runtime to run"), help);
                }
            }
            if !stage.services.is_empty() {
                self.problem(
                    "services",
                    format!("stage `{name}` has `services`, which need a container runtime"),
                    "start what the stage needs in `run`, or leave `services` out",
                );
            }
        }
        let sleeps = spec.handler.scale.min == 0 || spec.environments.iter().any(|one| one.scale.min == 0);
        if sleeps {
            self.problem("min", "`scale.min: 0` needs a runtime that wakes sleeping instances".to_owned(), "write `min: 1`");
        }
        if spec.handler.command.is_empty() && stages.iter().any(|stage| stage.image.is_some()) && self.problems.is_empty() {
            let help = "write what starts it, for example `handler: { command: [python3, server.py] }`";
            self.problem("handler", "the handler has no command, and an image from scratch brings none".to_owned(), help);
        }
    }

    /// Leaves out what has nothing to do or whose `when` is false, and hands its needs on to those that needed it.
    fn leave_out(&mut self, stages: &mut Vec<Stage>, preset: Option<&Preset>) {
        let request = self.request;
        let facts = Facts {
            event: request.event.as_str(),
            branch: request.branch.unwrap_or(""),
            tag: request.tag.unwrap_or(""),
            changed: request.changed,
        };
        let mut gone: BTreeMap<StageName, Vec<StageName>> = BTreeMap::new();
        let mut dropped: BTreeSet<StageName> = BTreeSet::new();
        for stage in stages.iter() {
            let own = request.spec.pipeline.stages.iter().any(|one| one.name == stage.name && one.run.is_some());
            let requires = preset.and_then(|preset| preset.stages.iter().find(|one| one.stage.name == stage.name)).filter(|_| !own);
            if let Some(condition) = &stage.when {
                match expression::holds(condition, &facts) {
                    Ok(true) => {}
                    Ok(false) => {
                        dropped.insert(stage.name.clone());
                        self.left_out.push(LeftOut { stage: stage.name.clone(), reason: format!("`when: {condition}` is false") });
                        continue;
                    }
                    Err(message) => self.problem(
                        "when",
                        format!("the condition of stage `{}` cannot be evaluated: {message}", stage.name),
                        "use event, branch, tag and changed",
                    ),
                }
            }
            let reason = match (requires, &stage.run) {
                (Some(requires), _) if !requires.requires.is_empty() && !any_file(request.files, &requires.requires) => {
                    Some(format!("nothing to do: the folder has no {}", requires.requires.join(", ")))
                }
                (_, Some(run)) if run.trim().is_empty() => Some("nothing to do".to_owned()),
                (_, None) if stage.image.is_none() && !matches!(stage.name.as_str(), "checkout" | "deploy") => {
                    Some("nothing to do: it has no `run`".to_owned())
                }
                _ => None,
            };
            if let Some(reason) = reason {
                gone.insert(stage.name.clone(), needs(stage));
                self.left_out.push(LeftOut { stage: stage.name.clone(), reason });
            }
        }
        // What needs a stage whose `when` is false is left out with it; there is nothing it could build on.
        loop {
            let more: Vec<(StageName, StageName)> = stages
                .iter()
                .filter(|stage| !dropped.contains(&stage.name) && !gone.contains_key(&stage.name))
                .filter_map(|stage| {
                    Some((stage.name.clone(), needs_through(stage, &gone).into_iter().find(|need| dropped.contains(need))?))
                })
                .collect();
            if more.is_empty() {
                break;
            }
            for (stage, need) in more {
                self.left_out.push(LeftOut { stage: stage.clone(), reason: format!("it needs `{need}`, which is left out") });
                dropped.insert(stage);
            }
        }
        stages.retain(|stage| !gone.contains_key(&stage.name) && !dropped.contains(&stage.name));
        for stage in stages.iter_mut() {
            stage.needs = Some(needs_through(stage, &gone));
        }
    }

    fn expand(&self, stages: Vec<Stage>, preset: Option<&Preset>) -> Vec<PlannedStage> {
        let mut instances: BTreeMap<StageName, Vec<StageName>> = BTreeMap::new();
        let mut expanded: Vec<(StageName, BTreeMap<String, String>, &Stage)> = Vec::new();
        let mut taken: BTreeSet<StageName> = stages.iter().map(|stage| stage.name.clone()).collect();
        for stage in &stages {
            for combination in combinations(&stage.matrix) {
                let name = if combination.is_empty() { stage.name.clone() } else { instance_name(&stage.name, &combination, &mut taken) };
                instances.entry(stage.name.clone()).or_default().push(name.clone());
                let env = combination.into_iter().map(|(key, value)| (key.to_uppercase().replace('-', "_"), value)).collect();
                expanded.push((name, env, stage));
            }
        }
        let planned = expanded.into_iter().map(|(name, matrix, stage)| {
            let needs: Vec<StageName> = needs(stage).iter().flat_map(|need| instances.get(need).cloned().unwrap_or_default()).collect();
            let kind = self.kind(stage, &stages, preset);
            let mut env = stage.env.clone();
            env.extend(matrix);
            let command = matches!(kind, StageKind::Command { .. });
            let tools = if command { preset.map(|preset| preset.tools.clone()).unwrap_or_default() } else { BTreeMap::new() };
            let preset =
                preset.filter(|preset| preset.stages.iter().any(|one| one.stage.name == stage.name)).map(|preset| preset.name.clone());
            let mut planned = PlannedStage {
                name,
                base: stage.name.clone(),
                kind,
                needs,
                env,
                secrets: stage.secrets.clone(),
                timeout: stage.timeout.unwrap_or(DEFAULT_TIMEOUT),
                retry: stage.retry.unwrap_or(0),
                allow_failure: stage.allow_failure.unwrap_or(false),
                inputs: stage.inputs.clone(),
                outputs: stage.outputs.clone().unwrap_or_default(),
                cache: stage.cache.clone().unwrap_or_default(),
                reports: stage.reports.clone().unwrap_or_default(),
                tools,
                preset,
                cache_material: Digest::of(""),
                cacheable: command && stage.secrets.is_empty(),
            };
            planned.cache_material = self.material(&planned);
            planned
        });
        planned.collect()
    }

    fn kind(&self, stage: &Stage, stages: &[Stage], preset: Option<&Preset>) -> StageKind {
        match (stage.name.as_str(), &stage.image, &stage.run) {
            ("checkout", ..) => StageKind::Checkout,
            ("deploy", ..) => StageKind::Deploy,
            (_, Some(image), _) => {
                let built = upstream_folders(stage, stages);
                let (copy, whole): (Vec<CopyEntry>, bool) = match &image.copy {
                    Some(copy) => (copy.iter().filter(|entry| self.exists(&entry.source, stage, stages)).cloned().collect(), false),
                    None => {
                        let whole = CopyEntry { source: ".".to_owned(), destination: HOME.to_owned(), optional: false };
                        // What was built is often named by `.gitignore`; it belongs into the image all the same.
                        let implied = |folder| CopyEntry { destination: format!("{HOME}/{folder}"), source: folder, optional: true };
                        let rest = built.into_iter().map(implied);
                        (std::iter::once(whole).chain(rest).collect(), true)
                    }
                };
                let respect_ignore_files = whole || copy.iter().any(|entry| entry.source == ".");
                let environment = preset.map(|preset| preset.environment.clone()).unwrap_or_default();
                StageKind::Image { copy, respect_ignore_files, environment, working_directory: HOME.to_owned() }
            }
            (_, _, run) => StageKind::Command { script: run.clone().unwrap_or_default() },
        }
    }

    /// Whether a preset's copy has a source: what a left-out stage would have made is not copied. What the spec itself names is always asked for.
    fn exists(&self, source: &str, stage: &Stage, stages: &[Stage]) -> bool {
        let written = self
            .request
            .spec
            .pipeline
            .stages
            .iter()
            .any(|one| one.name == stage.name && one.image.as_ref().is_some_and(|image| image.copy.is_some()));
        written || source == "." || upstream_folders(stage, stages).iter().any(|folder| folder == source)
    }

    /// What is known of a stage's cache key before it runs.
    fn material(&self, stage: &PlannedStage) -> Digest {
        let mut hash = Sha256::default();
        hash.part(serde_json::to_vec(&stage.kind).unwrap_or_default());
        for list in [&stage.outputs, &stage.cache, &stage.reports] {
            hash.part(serde_json::to_vec(list).unwrap_or_default());
        }
        hash.part(serde_json::to_vec(&stage.env).unwrap_or_default());
        hash.part(stage.preset.as_deref().unwrap_or(""));
        let inputs = stage.inputs.as_ref().map(|globs| Globs::new(globs));
        let mut files: Vec<&TreeFile> =
            self.request.files.iter().filter(|file| inputs.as_ref().is_none_or(|globs| globs.matches(&file.path))).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        for file in files {
            hash.part(&file.path).part(&file.object);
        }
        hash.finish()
    }

    /// Notes a problem at the first line of the text that has `key`.
    fn problem(&mut self, key: &str, message: String, help: &str) {
        let text = self.request.text;
        let place = text.lines().enumerate().find_map(|(index, line)| Some((index, key_column(line, key)?)));
        let (line, column, length) = place.map_or((0, 1, 1), |(index, column)| (index + 1, column + 1, key.len()));
        self.problems.push(Problem {
            file: self.request.file.to_owned(),
            line: u32::try_from(line).unwrap_or(0),
            column: u32::try_from(column).unwrap_or(1),
            length: u32::try_from(length).unwrap_or(1),
            excerpt: excerpt(text, line),
            message,
            help: help.to_owned(),
        });
    }
}

/// The column, in characters from 0, where `key:` stands as a word of its own.
fn key_column(line: &str, key: &str) -> Option<usize> {
    let at = line.find(&format!("{key}:"))?;
    let before = &line[..at];
    let free = before.chars().last().is_none_or(|last| !last.is_alphanumeric() && last != '_' && last != '-');
    (free && !before.contains('#')).then(|| before.chars().count())
}

/// What a stage needs; without `needs`, every stage but checkout starts from the checkout.
fn needs(stage: &Stage) -> Vec<StageName> {
    match &stage.needs {
        Some(needs) => needs.clone(),
        None if stage.name.as_str() == "checkout" => Vec::new(),
        None => StageName::new("checkout").into_iter().collect(),
    }
}

/// What a stage needs, seen through stages that are gone.
fn needs_through(stage: &Stage, gone: &BTreeMap<StageName, Vec<StageName>>) -> Vec<StageName> {
    let mut found: Vec<StageName> = Vec::new();
    let mut seen: BTreeSet<StageName> = BTreeSet::new();
    let mut open: Vec<StageName> = needs(stage).into_iter().rev().collect();
    while let Some(need) = open.pop() {
        if !seen.insert(need.clone()) {
            continue;
        }
        match gone.get(&need) {
            Some(further) => open.extend(further.iter().rev().cloned()),
            None => found.push(need),
        }
    }
    found
}

/// The folders that outputs of the stages before `stage` name (`dist/**` is `dist`).
fn upstream_folders(stage: &Stage, stages: &[Stage]) -> Vec<String> {
    let mut seen: BTreeSet<StageName> = BTreeSet::new();
    let mut open = needs(stage);
    let mut folders = BTreeSet::new();
    while let Some(name) = open.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let Some(before) = stages.iter().find(|one| one.name == name) else { continue };
        open.extend(needs(before));
        for glob in before.outputs.iter().flatten() {
            if let Some(folder) = glob.strip_suffix("/**").or_else(|| glob.strip_suffix('/'))
                && !folder.is_empty()
                && !folder.contains(['*', '?', '[', '{', '!'])
            {
                folders.insert(folder.to_owned());
            }
        }
    }
    folders.into_iter().collect()
}

/// What the spec says wins; variables are merged.
fn overlay(stage: &mut Stage, own: &Stage) {
    let own = own.clone();
    stage.needs = own.needs.or(stage.needs.take());
    if own.run.is_some() {
        stage.run = own.run;
        stage.image = None;
    }
    if let Some(image) = own.image {
        let before = stage.image.take().unwrap_or_default();
        stage.run = None;
        let dockerfile = image.dockerfile.or(if image.copy.is_none() && image.base.is_none() { before.dockerfile } else { None });
        stage.image = Some(Image { base: image.base.or(before.base), copy: image.copy.or(before.copy), dockerfile });
    }
    stage.inputs = own.inputs.or(stage.inputs.take());
    stage.outputs = own.outputs.or(stage.outputs.take());
    stage.cache = own.cache.or(stage.cache.take());
    stage.env.extend(own.env);
    stage.secrets.extend(own.secrets);
    stage.timeout = own.timeout.or(stage.timeout);
    stage.retry = own.retry.or(stage.retry);
    stage.allow_failure = own.allow_failure.or(stage.allow_failure);
    stage.when = own.when.or(stage.when.take());
    if !own.matrix.is_empty() {
        stage.matrix = own.matrix;
    }
    stage.reports = own.reports.or(stage.reports.take());
    stage.services.extend(own.services);
}

/// All combinations of a matrix; one that is empty for no matrix.
fn combinations(matrix: &BTreeMap<String, Vec<String>>) -> Vec<Vec<(String, String)>> {
    matrix.iter().fold(vec![Vec::new()], |before, (key, values)| {
        let extend = |one: &Vec<(String, String)>, value: &String| one.iter().cloned().chain([(key.clone(), value.clone())]).collect();
        before.iter().flat_map(|one| values.iter().map(move |value| extend(one, value))).collect()
    })
}

/// `matrix-test-node-20`, made unique and a DNS label.
fn instance_name(base: &StageName, combination: &[(String, String)], taken: &mut BTreeSet<StageName>) -> StageName {
    let mut text = base.to_string();
    for (key, value) in combination {
        text.push_str(&format!("-{key}-{value}"));
    }
    let mut label: String = text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(52).collect();
    label.truncate(label.trim_end_matches('-').len());
    let plain = text.len() <= 52;
    let digest = &Digest::of(&text).hex()[..8];
    let candidates = [plain.then(|| label.clone()), Some(format!("{label}-{digest}"))];
    for candidate in candidates.into_iter().flatten() {
        if let Ok(name) = StageName::new(candidate)
            && taken.insert(name.clone())
        {
            return name;
        }
    }
    base.clone()
}

/// Each stage after everything it needs, otherwise in the order given.
fn sorted(mut stages: Vec<PlannedStage>) -> Vec<PlannedStage> {
    let mut done: BTreeSet<StageName> = BTreeSet::new();
    let mut sorted = Vec::with_capacity(stages.len());
    while !stages.is_empty() {
        let (ready, rest): (Vec<_>, Vec<_>) = stages.into_iter().partition(|stage| stage.needs.iter().all(|need| done.contains(need)));
        if ready.is_empty() {
            sorted.extend(rest);
            break;
        }
        done.extend(ready.iter().map(|stage| stage.name.clone()));
        sorted.extend(ready);
        stages = rest;
    }
    sorted
}

fn any_file(files: &[TreeFile], globs: &[String]) -> bool {
    let globs = Globs::new(globs);
    files.iter().any(|file| globs.matches(&file.path))
}

/// A list of globs in which `!` takes away again; the last match wins.
struct Globs(Vec<(bool, GlobMatcher)>);

impl Globs {
    fn new(globs: &[String]) -> Self {
        let compiled = globs.iter().filter_map(|glob| {
            let (adds, glob) = glob.strip_prefix('!').map_or((true, glob.as_str()), |rest| (false, rest));
            Some((adds, GlobBuilder::new(glob).literal_separator(true).build().ok()?.compile_matcher()))
        });
        Self(compiled.collect())
    }

    fn matches(&self, path: &str) -> bool {
        let hit = |glob: &GlobMatcher| glob.is_match(path) || path.match_indices('/').any(|(at, _)| glob.is_match(&path[..at]));
        self.0.iter().rev().find(|(_, glob)| hit(glob)).is_some_and(|(adds, _)| *adds)
    }
}

impl Pipeline {
    /// Whether a change of these paths (relative to the folder) makes a run.
    pub fn concerns(&self, changed: &[String]) -> bool {
        let globs = Globs::new(&self.paths);
        self.paths.is_empty() || changed.iter().any(|path| globs.matches(path))
    }

    /// Whether pushes to `branch` are built.
    pub fn builds_branch(&self, branch: &str, default_branch: Option<&str>) -> bool {
        if self.branches.is_empty() {
            default_branch.is_none_or(|default| default == branch)
        } else {
            Globs::new(&self.branches).matches(branch)
        }
    }
}
