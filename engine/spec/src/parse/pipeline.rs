//! `pipeline:`, and the stages of presets, which are written the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hookwright_core::{ConfigName, StageName};

use crate::preset;
use crate::reader::{Reader, cut, nearest};
use crate::tree::{Node, Tree};
use crate::{CopyEntry, Image, Pipeline, PipelineConcurrency, Service, Stage, expression};

const STAGE_FIELDS: &[&str] = &[
    "needs",
    "run",
    "image",
    "inputs",
    "outputs",
    "cache",
    "env",
    "secrets",
    "timeout",
    "retry",
    "allow_failure",
    "when",
    "matrix",
    "reports",
    "services",
];
/// The most instances one matrix may have.
const MAX_MATRIX: usize = 64;

pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Tree>) -> Pipeline {
    let mut pipeline = Pipeline::default();
    let Some(node) = node else { return pipeline };
    let fields = reader.fields(node, "`pipeline`", &["uses", "branches", "paths", "concurrency", "stages"]);
    if let Some(node) = fields.get("uses")
        && let Some(name) = reader.text(node, "`uses`", false)
    {
        if !name.starts_with("./") && !preset::names().any(|known| known == name) {
            let known: Vec<&str> = preset::names().collect();
            reader.problem(node, format!("there is no preset `{}`", cut(&name)), nearest(&name, &known));
        }
        pipeline.uses = Some(name);
    }
    pipeline.branches = fields.get("branches").map(|node| globs(reader, node, "`branches`")).unwrap_or_default();
    pipeline.paths = fields.get("paths").map(|node| globs(reader, node, "`paths`")).unwrap_or_default();
    if fields.get("concurrency").and_then(|node| reader.choice(node, "`concurrency`", &["newest", "all"])).as_deref() == Some("all") {
        pipeline.concurrency = PipelineConcurrency::All;
    }
    if let Some(node) = fields.get("stages") {
        pipeline.stages = stages(reader, node);
        if !pipeline.uses.as_deref().is_some_and(|name| name.starts_with("./")) {
            check_needs(reader, node, &pipeline);
        }
    }
    pipeline
}

/// The stages of a file, each with what the file says of it.
pub(crate) fn stages(reader: &mut Reader<'_>, node: &Tree) -> Vec<Stage> {
    let mut stages = Vec::new();
    for (_, key, value) in reader.fields(node, "`stages`", &[]).entries {
        if stages.len() >= 1000 {
            reader.problem(key, "there are more than 1000 stages", "split the pipeline");
            break;
        }
        if let Some(name) = reader.name::<StageName>(key, "the name of a stage") {
            stages.push(stage(reader, value, name));
        }
    }
    stages
}

/// One stage.
pub(crate) fn stage(reader: &mut Reader<'_>, node: &Tree, name: StageName) -> Stage {
    let what = format!("stage `{name}`");
    let fields = reader.fields(node, &what, STAGE_FIELDS);
    if let (Some(node), Some(_)) = (fields.key("image"), fields.get("run")) {
        reader.problem(node, format!("{what} has both `run` and `image`"), "make two stages, the second needing the first");
    }
    if matches!(name.as_str(), "checkout" | "deploy")
        && let Some(node) = fields.key("run").or(fields.key("image"))
    {
        reader.problem(node, format!("{what} is the engine's own and runs no command"), "give your stage another name");
    }
    let mut stage = Stage {
        needs: fields.get("needs").map(|node| {
            let texts = reader.texts(node, "`needs`");
            texts
                .into_iter()
                .filter_map(|(text, node)| {
                    StageName::new(text.clone())
                        .map_err(|_| reader.problem(node, format!("there is no stage `{}`", cut(&text)), "name stages of this pipeline"))
                        .ok()
                })
                .collect()
        }),
        run: fields.get("run").and_then(|node| reader.text(node, "`run`", false)),
        image: fields.get("image").map(|node| image(reader, node)),
        inputs: fields.get("inputs").map(|node| globs(reader, node, "`inputs`")),
        outputs: fields.get("outputs").map(|node| globs(reader, node, "`outputs`")),
        cache: fields.get("cache").map(|node| paths(reader, node, "`cache`")),
        env: fields.get("env").map(|node| variables(reader, node, "`env`")).unwrap_or_default(),
        secrets: Vec::new(),
        timeout: fields.get("timeout").and_then(|node| reader.duration(node, "`timeout`")),
        retry: fields.get("retry").and_then(|node| reader.number(node, "`retry`", 0..=10)),
        allow_failure: fields.get("allow_failure").and_then(|node| reader.boolean(node, "`allow_failure`")),
        when: fields.get("when").and_then(|node| condition(reader, node, "`when`", Some(&["event", "branch", "tag", "changed"]))),
        matrix: BTreeMap::new(),
        reports: fields.get("reports").map(|node| globs(reader, node, "`reports`")),
        services: BTreeMap::new(),
        name,
    };
    if let Some(node) = fields.get("timeout")
        && stage.timeout == Some(Duration::ZERO)
    {
        reader.problem(node, "`timeout` is zero", "write for example 10m");
    }
    for (text, node) in fields.get("secrets").map(|node| reader.texts(node, "`secrets`")).unwrap_or_default() {
        match ConfigName::new(text.clone()) {
            Ok(name) => stage.secrets.push(name),
            Err(_) => reader.problem(
                node,
                format!("`{}` cannot be the name of a secret", cut(&text)),
                "write it as an environment variable: NPM_TOKEN",
            ),
        }
    }
    if let Some(node) = fields.get("matrix") {
        stage.matrix = matrix(reader, node);
    }
    if let Some(node) = fields.get("services") {
        for (name, _, value) in reader.fields(node, "`services`", &[]).entries {
            let what = format!("service `{}`", cut(name));
            let fields = reader.fields(value, &what, &["image", "env", "port"]);
            match fields.get("image").and_then(|node| reader.text(node, "`image`", false)) {
                Some(image) => {
                    let env = fields.get("env").map(|node| variables(reader, node, "`env`")).unwrap_or_default();
                    let port = fields
                        .get("port")
                        .and_then(|node| reader.number(node, "`port`", 1..=65_535))
                        .and_then(|port| u16::try_from(port).ok());
                    stage.services.insert(name.to_owned(), Service { image, env, port });
                }
                None => reader.missing(&fields, "image", "write for example `image: postgres:16`"),
            }
        }
    }
    stage
}

fn matrix(reader: &mut Reader<'_>, node: &Tree) -> BTreeMap<String, Vec<String>> {
    let mut matrix = BTreeMap::new();
    let mut instances = 1_usize;
    for (name, key, value) in reader.fields(node, "`matrix`", &[]).entries {
        if ConfigName::new(name.replace('-', "_")).is_err() {
            reader.problem(key, format!("`{}` cannot be a matrix key", cut(name)), "use letters, digits, `-` and `_`");
            continue;
        }
        let Node::List(items) = &value.value else {
            reader.problem(
                value,
                format!("the values of `{name}` must be a list, but this is {}", value.value.kind()),
                "write [\"20\", \"22\"]",
            );
            continue;
        };
        let values: Vec<String> = items.iter().filter_map(|item| reader.text(item, "each value of a matrix", true)).collect();
        if values.is_empty() || values.iter().collect::<BTreeSet<_>>().len() != values.len() {
            reader.problem(value, format!("the values of `{name}` are empty or not distinct"), "write each value once");
        }
        instances = instances.saturating_mul(values.len().max(1));
        matrix.insert(name.to_owned(), values);
    }
    if instances > MAX_MATRIX {
        reader.problem(node, format!("this matrix makes {instances} stages, more than {MAX_MATRIX}"), "leave out some values");
    }
    matrix
}

fn image(reader: &mut Reader<'_>, node: &Tree) -> Image {
    let fields = reader.fields(node, "`image`", &["base", "copy", "dockerfile"]);
    if let (Some(node), Some(_)) = (fields.key("dockerfile"), fields.key("copy").or(fields.key("base"))) {
        reader.problem(node, "`dockerfile` stands beside `base` or `copy`", "keep one of the two ways to make an image");
    }
    Image {
        base: fields.get("base").and_then(|node| reader.text(node, "`base`", false)),
        dockerfile: fields.get("dockerfile").and_then(|node| inside(reader, node, "`dockerfile`")),
        copy: fields.get("copy").map(|node| {
            let entries = reader.fields(node, "`copy`", &[]).entries;
            entries
                .into_iter()
                .filter_map(|(source, key, value)| {
                    let source = if source == "." { Some(source.to_owned()) } else { glob(reader, key, source) };
                    let destination = reader.text(value, "the destination", false)?;
                    if !destination.starts_with('/') || destination.split('/').any(|part| part == "..") {
                        reader.problem(
                            value,
                            format!("`{}` is not an absolute path in the image", cut(&destination)),
                            "write for example /app",
                        );
                        return None;
                    }
                    Some(CopyEntry { source: source?, destination, optional: false })
                })
                .collect()
        }),
    }
}

/// Names and texts of environment variables.
pub(crate) fn variables(reader: &mut Reader<'_>, node: &Tree, what: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (name, key, value) in reader.fields(node, what, &[]).entries {
        if ConfigName::new(name).is_err() {
            reader.problem(
                key,
                format!("`{}` cannot be an environment variable", cut(name)),
                "use letters, digits and `_`, not starting with HOOKWRIGHT_",
            );
            continue;
        }
        if let Some(value) = reader.text(value, &format!("`{name}`"), true) {
            variables.insert(name.to_owned(), value);
        }
    }
    variables
}

/// A CEL expression; with `known`, over these variables only.
pub(super) fn condition(reader: &mut Reader<'_>, node: &Tree, what: &str, known: Option<&[&str]>) -> Option<String> {
    let text = reader.text(node, what, true)?;
    if let Err(message) = expression::check(&text) {
        reader.problem(node, format!("{what} is not a CEL expression: {message}"), "write for example event != \"pull_request\"");
        return None;
    }
    if let Some(known) = known {
        for name in expression::unknown_variables(&text, known) {
            reader.problem(node, format!("{what} uses `{}`, which there is not", cut(&name)), nearest(&name, known));
        }
    }
    Some(text)
}

/// Globs inside the folder.
pub(super) fn globs(reader: &mut Reader<'_>, node: &Tree, what: &str) -> Vec<String> {
    reader.texts(node, what).into_iter().filter_map(|(text, node)| glob(reader, node, &text)).collect()
}

/// Paths inside the folder.
fn paths(reader: &mut Reader<'_>, node: &Tree, what: &str) -> Vec<String> {
    globs(reader, node, what)
}

fn glob(reader: &mut Reader<'_>, node: &Tree, text: &str) -> Option<String> {
    if leaves(text) {
        reader.problem(
            node,
            format!("`{}` leaves the folder of the webhook", cut(text)),
            "name paths inside it, without `..` and without a leading `/`",
        );
        return None;
    }
    let bare = text.strip_prefix('!').unwrap_or(text);
    if bare.is_empty() || text.len() > 1024 || globset::Glob::new(bare).is_err() {
        reader.problem(node, format!("`{}` is not a glob", cut(text)), "write for example src/** or *.json, and close brackets");
        return None;
    }
    Some(text.trim_start_matches("./").to_owned())
}

/// A path inside the folder.
pub(super) fn inside(reader: &mut Reader<'_>, node: &Tree, what: &str) -> Option<String> {
    let text = reader.text(node, what, false)?;
    if leaves(&text) || text.is_empty() {
        reader.problem(
            node,
            format!("`{}` leaves the folder of the webhook", cut(&text)),
            "name a path inside it, without `..` and without a leading `/`",
        );
        return None;
    }
    Some(text)
}

fn leaves(text: &str) -> bool {
    let text = text.strip_prefix('!').unwrap_or(text);
    text.starts_with(['/', '~'])
        || text.contains(['\\', '\0'])
        || text.split('/').any(|part| part == ".." || part.eq_ignore_ascii_case(".git"))
}

/// Every `needs` names a stage that there is, and none needs itself by a detour.
fn check_needs(reader: &mut Reader<'_>, node: &Tree, pipeline: &Pipeline) {
    let base: Vec<(StageName, Vec<StageName>)> = preset::skeleton(pipeline.uses.as_deref());
    let mut needs: BTreeMap<String, Vec<String>> =
        base.into_iter().map(|(name, needs)| (name.to_string(), needs.iter().map(ToString::to_string).collect())).collect();
    for stage in &pipeline.stages {
        let entry = needs.entry(stage.name.to_string()).or_default();
        if let Some(own) = &stage.needs {
            *entry = own.iter().map(ToString::to_string).collect();
        }
    }
    let Node::Map(map) = &node.value else { return };
    let known: Vec<&str> = needs.keys().map(String::as_str).collect();
    for (_, value) in map {
        let Node::Map(fields) = &value.value else { continue };
        let Some((_, list)) = fields.iter().find(|(key, _)| matches!(&key.value, Node::Text(text) if text == "needs")) else { continue };
        let items: &[Tree] = match &list.value {
            Node::List(items) => items,
            Node::Text(_) => std::slice::from_ref(list),
            _ => &[],
        };
        for item in items {
            if let Node::Text(text) = &item.value
                && StageName::new(text.clone()).is_ok()
                && !known.contains(&text.as_str())
            {
                reader.problem(item, format!("there is no stage `{text}`"), nearest(text, &known));
            }
        }
    }
    if let Some(cycle) = cycle(&needs) {
        let place = map.iter().find(|(key, _)| matches!(&key.value, Node::Text(text) if cycle.contains(text))).map_or(node, |(key, _)| key);
        reader.problem(place, format!("stages need each other in a circle: {}", cycle.join(" → ")), "remove one of these `needs`");
    }
}

/// A path that ends where it starts, if there is one. Iterative: as many stages as the limits allow cannot exhaust the stack.
pub(crate) fn cycle(needs: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in needs.keys() {
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, next)) = path.last().copied() {
            if done.contains(name) {
                path.pop();
            } else if let Some(need) = needs.get(name).and_then(|list| list.get(next)) {
                if let Some(last) = path.last_mut() {
                    last.1 += 1;
                }
                if let Some(from) = path.iter().position(|(seen, _)| *seen == need.as_str()) {
                    let mut cycle: Vec<String> = path[from..].iter().map(|(name, _)| (*name).to_owned()).collect();
                    cycle.push(need.clone());
                    return Some(cycle);
                }
                path.push((need, 0));
            } else {
                done.insert(name);
                path.pop();
            }
        }
    }
    None
}
