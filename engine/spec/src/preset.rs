//! Presets: pipelines as data, in `pipelines/` and in repositories. Written like a spec's stages, and merged under them.

use std::collections::BTreeMap;

use hookwright_core::StageName;

use crate::Stage;
use crate::parse::pipeline::{stage, variables};
use crate::problem::Problems;
use crate::reader::Reader;
use crate::tree::{self, Node, Tree};

/// The built-in presets; detection asks them in this order.
const BUILT_IN: &[(&str, &str)] = &[
    ("rust@1", include_str!("../../../pipelines/rust.yaml")),
    ("go@1", include_str!("../../../pipelines/go.yaml")),
    ("java@1", include_str!("../../../pipelines/java.yaml")),
    ("node@1", include_str!("../../../pipelines/node.yaml")),
    ("python@1", include_str!("../../../pipelines/python.yaml")),
    ("dockerfile@1", include_str!("../../../pipelines/dockerfile.yaml")),
    ("static@1", include_str!("../../../pipelines/static.yaml")),
];

/// A pipeline to merge a spec's stages over.
#[derive(Clone, Debug)]
pub(crate) struct Preset {
    /// `node@1`.
    pub(crate) name: String,
    /// Globs: a folder that holds a match is for this preset.
    pub(crate) detect: Vec<String>,
    /// Tools whose versions enter the cache key, by name.
    pub(crate) tools: BTreeMap<String, String>,
    /// Variables baked into the image.
    pub(crate) environment: BTreeMap<String, String>,
    /// Its stages, in order.
    pub(crate) stages: Vec<PresetStage>,
}

/// A stage, and what must be in the folder for it to have something to do.
#[derive(Clone, Debug)]
pub(crate) struct PresetStage {
    pub(crate) stage: Stage,
    pub(crate) requires: Vec<String>,
}

/// The names of the built-in presets.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The text of a built-in preset.
pub(crate) fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Stages and needs of a preset, for checking names; unknown and undetected ones have the five that all have.
pub(crate) fn skeleton(name: Option<&str>) -> Vec<(StageName, Vec<StageName>)> {
    let text = name.and_then(built_in).or_else(|| built_in("python@1")).unwrap_or_default();
    let preset = read(text, "preset");
    preset
        .map(|preset| preset.stages.into_iter().map(|one| (one.stage.name, one.stage.needs.unwrap_or_default())).collect())
        .unwrap_or_default()
}

/// Reads a preset.
pub(crate) fn read(text: &str, file: &str) -> Result<Preset, Problems> {
    let tree = tree::parse(text, file)?;
    let mut reader = Reader::new(file, text);
    let preset = preset(&mut reader, &tree);
    reader.finish(preset)
}

fn preset(reader: &mut Reader<'_>, tree: &Tree) -> Option<Preset> {
    let fields = reader.fields(tree, "the preset", &["preset", "title", "detect", "tools", "environment", "stages"]);
    let name = match fields.get("preset") {
        Some(node) => reader.text(node, "`preset`", false),
        None => {
            reader.missing(&fields, "preset", "write name and version: `preset: node@1`");
            None
        }
    };
    let detect =
        fields.get("detect").map(|node| reader.texts(node, "`detect`")).unwrap_or_default().into_iter().map(|(text, _)| text).collect();
    let tools = fields.get("tools").map(|node| variables(reader, node, "`tools`")).unwrap_or_default();
    let environment = fields.get("environment").map(|node| variables(reader, node, "`environment`")).unwrap_or_default();
    let mut stages = Vec::new();
    if let Some(node) = fields.get("stages") {
        for (_, key, value) in reader.fields(node, "`stages`", &[]).entries {
            let Some(name) = reader.name::<StageName>(key, "the name of a stage") else { continue };
            let mut requires = Vec::new();
            let mut rest = value.clone();
            if let Node::Map(map) = &mut rest.value {
                map.retain(|(key, value)| {
                    let own = matches!(&key.value, Node::Text(text) if text == "requires");
                    if own {
                        requires.extend(reader.texts(value, "`requires`").into_iter().map(|(text, _)| text));
                    }
                    !own
                });
            }
            stages.push(PresetStage { stage: stage(reader, &rest, name), requires });
        }
    }
    Some(Preset { name: name?, detect, tools, environment, stages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_preset_reads_and_carries_its_name() {
        for (name, text) in BUILT_IN {
            let preset = read(text, name).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(&preset.name, name);
        }
    }
}
