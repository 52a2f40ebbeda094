//! What needs no daemon: `validate`, `plan`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, Result};
use hookwright_core::{Clock as _, Digest, RevisionEvent};
use hookwright_spec::{
    Plan, PlanRequest, Problems, SOURCE_FOLDER, SourceFiles, Spec, Timetable, TreeFile, event_doubt, parse_beside, payload_fields,
};
use hookwright_trigger::{Definition, Definitions};

use crate::output::{say, warn_of};
use crate::system::SystemClock;
use crate::{exit, output};

/// How many times of a schedule `plan` shows.
const TIMES_SHOWN: usize = 5;

/// The file that says everything.
pub(super) const FILE: &str = "webhook.yaml";

/// A webhook.yaml as it stands on disk.
pub(super) struct Source {
    pub(super) path: PathBuf,
    text: String,
}

/// Reads the file, or the one in the folder.
pub(super) fn read(path: &Path) -> Result<Source> {
    let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read `{}`; `hookwright init` writes a first one", path.display()))?;
    Ok(Source { path, text })
}

/// The spec, or every problem of it.
pub(super) fn parse(source: &Source) -> std::result::Result<Spec, Problems> {
    let folder = folder_of(source).join(SOURCE_FOLDER);
    let mut sources = SourceFiles::default();
    // Without the folder there are none; links are not followed, as in a commit.
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            sources.add(&entry.file_name().to_string_lossy());
        }
    }
    for name in sources.wanted(&source.text) {
        // One that cannot be read is as good as none, and that is said.
        let content = std::fs::read(folder.join(format!("{name}.yaml"))).unwrap_or_default();
        sources.set(&name, String::from_utf8_lossy(&content).into_owned());
    }
    parse_beside(&source.text, &source.path.display().to_string(), &sources)
}

/// Shows the problems; the exit code says that the spec is invalid.
pub(super) fn refuse(problems: &Problems, json: bool) -> Result<ExitCode> {
    if json {
        output::json(&serde_json::to_value(problems)?)
    } else {
        warn_of!("{problems}")
    }
    Ok(ExitCode::from(exit::USAGE))
}

/// Shows every problem, or that there is none.
pub(crate) fn validate(path: &Path, json: bool) -> Result<ExitCode> {
    let source = read(path)?;
    match parse(&source) {
        Err(problems) => refuse(&problems, json),
        Ok(spec) if json => {
            output::json(&serde_json::json!([]));
            warn(&source, &spec);
            Ok(ExitCode::SUCCESS)
        }
        Ok(spec) => {
            say!("`{}` is valid: webhook {}", source.path.display(), spec.name);
            warn(&source, &spec);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Shows the stages of a push to the default branch.
pub(crate) fn plan(path: &Path, json: bool) -> Result<ExitCode> {
    let source = read(path)?;
    let spec = match parse(&source) {
        Ok(spec) => spec,
        Err(problems) => return refuse(&problems, json),
    };
    match planned(&source, &spec)? {
        Err(problems) => refuse(&problems, json),
        Ok(plan) => {
            if json {
                output::json(&serde_json::to_value(&plan)?)
            } else {
                say!("{}", hookwright_spec::explain(&plan));
                show_sources(&spec)?;
                show_times(&spec);
            }
            warn(&source, &spec);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Says, to standard error, what a trigger asks for that its source hardly sends: a type of event, or a field that a filter compares. It would never
/// come, and that is no error, since sources may send more than is known of them.
fn warn(source: &Source, spec: &Spec) {
    let line_of = |text: &str| {
        let line = source.text.lines().position(|line| line.contains(text));
        line.map(|at| format!(":{}", at + 1)).unwrap_or_default()
    };
    for (name, trigger) in &spec.triggers {
        for (event, help) in trigger.events.iter().filter_map(|event| Some((event, event_doubt(&trigger.source, event)?))) {
            let (place, line) = (source.path.display(), line_of(event));
            warn_of!(
                "warning: {place}{line}: trigger `{name}` asks for `{event}`, which `{}` is not known to send; {help}",
                trigger.source
            );
        }
        let own = spec.sources.get(&trigger.source).and_then(|own| Definition::of_a_repository(&own.to_string()).ok().map(Arc::new));
        let Some(definition) = own.or_else(|| Definitions::embedded().find(&trigger.source)) else { continue };
        let expressions = [("filter", &trigger.filter), ("deliver.order_by", &trigger.deliver.order_by)];
        for (place, text) in expressions.into_iter().filter_map(|(place, text)| Some((place, text.as_deref()?))) {
            for doubt in payload_fields(text).iter().filter_map(|path| definition.doubt(&trigger.events, path)) {
                let field = format!("payload.{}", doubt.field.join("."));
                let line = line_of(&field);
                let help = doubt.meant.map(|meant| format!("; did you mean `payload.{}`?", meant.join("."))).unwrap_or_default();
                warn_of!(
                    "warning: {}{line}: `{place}` of trigger `{name}` asks for `{field}`, which is not known of its events{help}",
                    source.path.display()
                );
            }
        }
    }
}

/// The event sources that the repository brings itself: how each is verified, and its events.
fn show_sources(spec: &Spec) -> Result<()> {
    for (name, source) in &spec.sources {
        let definition = Definition::of_a_repository(&source.to_string())?;
        let kinds: Vec<&str> = definition.kinds().collect();
        say!("\n{name} is an event source of this repository ({SOURCE_FOLDER}/{name}.yaml), registered by hand");
        say!("  verified by {}", definition.verification().unwrap_or_else(|| "nothing".to_owned()));
        say!("  events {}", kinds.join(", "));
    }
    Ok(())
}

/// When the schedules fire next.
fn show_times(spec: &Spec) {
    for (name, trigger) in &spec.triggers {
        let timetable = trigger.cron.as_deref().and_then(|cron| Timetable::new(cron, trigger.timezone.as_deref()).ok());
        let Some(timetable) = timetable else { continue };
        let mut at = SystemClock::new().now();
        say!("\n{name} fires next at");
        for _ in 0..TIMES_SHOWN {
            let Some(next) = timetable.after(at) else { break };
            let zone = trigger.timezone.as_deref().and_then(|zone| jiff::tz::TimeZone::get(zone).ok()).unwrap_or(jiff::tz::TimeZone::UTC);
            let text = jiff::Timestamp::from_millisecond(next.as_millis()).map(|instant| instant.to_zoned(zone).to_string());
            say!("  {}", text.unwrap_or_else(|_| next.to_string()));
            at = next;
        }
    }
}

/// The plan of a push of these files to the default branch.
pub(super) fn planned(source: &Source, spec: &Spec) -> Result<std::result::Result<Plan, Problems>> {
    let folder = folder_of(source);
    let mut files = Vec::new();
    for name in file_names(folder)? {
        let content = std::fs::read(folder.join(&name)).with_context(|| format!("cannot read `{name}`"))?;
        files.push(TreeFile { path: name, object: Digest::of(content).hex() });
    }
    let changed: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    Ok(hookwright_spec::plan(PlanRequest {
        spec,
        file: FILE,
        text: &source.text,
        files: &files,
        event: RevisionEvent::Push,
        branch: Some("main"),
        tag: None,
        changed: &changed,
        default_branch: Some("main"),
        presets: &BTreeMap::new(),
    }))
}

/// The folder of the file.
pub(super) fn folder_of(source: &Source) -> &Path {
    source.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The files that a commit of this folder would hold: what git knows and does not ignore, or all of them outside git.
pub(super) fn file_names(folder: &Path) -> Result<Vec<String>> {
    let listing = Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(folder).output();
    let mut names: Vec<String> = match listing {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).split('\0').map(str::to_owned).collect(),
        _ => walk(folder)?,
    };
    names.retain(|name| !name.is_empty() && folder.join(name).is_file());
    names.sort();
    names.dedup();
    Ok(names)
}

fn walk(root: &Path) -> Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).with_context(|| format!("cannot read `{}`", folder.display()))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() { folders.push(path) } else { found.push(path.to_string_lossy().into_owned()) }
        }
    }
    Ok(found)
}
