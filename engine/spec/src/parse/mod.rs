//! The text of a `webhook.yaml` to a [`Spec`]: one file for each part of the document, all problems at once.

mod api;
mod check;
mod environment;
mod event_types;
mod handler;
pub(crate) mod pipeline;
mod source;
mod trigger;

pub use event_types::{event_doubt, event_types, usual_event_types};
pub use source::{SOURCE_FOLDER, SourceFiles};
pub use trigger::{EVENT_SOURCES, whose};

use std::collections::BTreeMap;

use hookwright_core::WebhookName;

use crate::problem::Problems;
use crate::reader::Reader;
use crate::tree::{self, Node};
use crate::{Handler, Spec};

const FIELDS: &[&str] =
    &["version", "name", "title", "description", "owners", "triggers", "pipeline", "handler", "config", "api", "environments"];

/// Parses and validates the text of a `webhook.yaml` with no files beside it; `file` is its path, for the problems.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &str) -> Result<Spec, Problems> {
    parse_beside(text, file, &SourceFiles::default())
}

/// The same beside a folder `triggers/`.
///
/// # Errors
/// Everything that is wrong with it, and with the event sources that it names.
pub fn parse_beside(text: &str, file: &str, files: &SourceFiles) -> Result<Spec, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = tree::parse(text, file)?;
    let mut reader = Reader::new(file, text);
    let (sources, mut elsewhere) = source::read_all(files, file);
    let spec = read(&mut reader, &tree, &Sources { files, own: &sources });
    match reader.finish(spec) {
        Ok(spec) if elsewhere.is_empty() => Ok(spec),
        Ok(_) => Err(Problems(elsewhere)),
        Err(Problems(mut problems)) => {
            problems.append(&mut elsewhere);
            Err(Problems(problems))
        }
    }
}

/// The event sources that the repository brings itself.
struct Sources<'a> {
    files: &'a SourceFiles,
    own: &'a BTreeMap<String, source::OwnSource>,
}

fn read(reader: &mut Reader<'_>, tree: &tree::Tree, sources: &Sources<'_>) -> Option<Spec> {
    if !matches!(tree.value, Node::Map(_)) {
        reader.problem(
            tree,
            format!("a `webhook.yaml` is a map, but this is {}", tree.value.kind()),
            "start with `version: 1` and `name: …`",
        );
        return None;
    }
    let fields = reader.fields(tree, "the file", FIELDS);
    match fields.get("version") {
        Some(node) if matches!(node.value, Node::Integer(1)) => {}
        Some(node) => reader.problem(node, "this version is not known", "write `version: 1`"),
        None => reader.missing(&fields, "version", "write `version: 1` in the first line"),
    }
    let name: Option<WebhookName> = match fields.get("name") {
        Some(node) => reader.name(node, "the name of a webhook"),
        None => {
            reader.missing(&fields, "name", "write `name: my-webhook`: lower-case letters, digits and `-`");
            None
        }
    };
    let title = fields.get("title").and_then(|node| reader.text(node, "`title`", true));
    let description = fields.get("description").and_then(|node| reader.text(node, "`description`", true));
    let owners =
        fields.get("owners").map(|node| reader.texts(node, "`owners`")).unwrap_or_default().into_iter().map(|(text, _)| text).collect();
    let config = handler::read_config(reader, fields.get("config"));
    let handler: Handler = handler::read(reader, fields.get("handler"));
    let triggers = trigger::read(reader, fields.get("triggers"), (&config, sources));
    let named = sources.own.iter().filter(|(name, _)| triggers.values().any(|trigger| trigger.source == **name));
    let sources = named.map(|(name, source)| (name.clone(), source.definition.clone())).collect();
    let pipeline = pipeline::read(reader, fields.get("pipeline"));
    let api = api::read(reader, fields.get("api"));
    let environments = environment::read(
        reader,
        fields.get("environments"),
        &environment::Around { scale: handler.scale, triggers: &triggers, config: &config },
    );
    Some(Spec { version: 1, name: name?, title, description, owners, triggers, sources, pipeline, handler, config, api, environments })
}
