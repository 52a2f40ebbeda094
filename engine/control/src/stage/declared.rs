//! What a stage declares in `webhook.yaml` and did not make. A path that is mistyped there would otherwise be missed long after, in whatever needs it.
//! What a preset names is not asked for: its globs fit many kinds of projects, and no project makes all of it.

use std::collections::BTreeMap;

use hookwright_core::StageName;
use hookwright_spec::Spec;

use super::Context;
use crate::Result;

/// So many names are shown of what is there instead.
const SHOWN: usize = 5;

/// The outputs and the reports that the file itself asks for, of a stage.
fn written<'a>(spec: &'a Spec, base: &StageName) -> (&'a [String], &'a [String]) {
    let stage = spec.pipeline.stages.iter().find(|stage| stage.name == *base);
    let globs = |of: fn(&hookwright_spec::Stage) -> Option<&Vec<String>>| stage.and_then(of).map_or(&[] as &[String], Vec::as_slice);
    (globs(|stage| stage.outputs.as_ref()), globs(|stage| stage.reports.as_ref()))
}

impl Context {
    /// Why the stage fails although its command did not: something under `outputs` is not there.
    pub(super) async fn missing_outputs(&self) -> Result<Option<String>> {
        let (outputs, _) = written(&self.run.spec, &self.stage().base);
        self.missing("outputs", outputs).await
    }

    /// What is to be said of reports that are not there.
    pub(super) async fn missing_reports(&self) -> Result<Option<String>> {
        let (_, reports) = written(&self.run.spec, &self.stage().base);
        self.missing("reports", reports).await
    }

    async fn missing(&self, field: &str, globs: &[String]) -> Result<Option<String>> {
        let root = self.workspace();
        for glob in globs {
            if self.deps.artifacts.list(&root, std::slice::from_ref(glob)).await?.is_empty() {
                let there = self.deps.artifacts.list(&root, &["**".to_owned()]).await?;
                return Ok(Some(format!("it declares `{glob}` under `{field}`, and made no such file; {}", instead(glob, &there))));
            }
        }
        Ok(None)
    }
}

/// What there is near the place that a glob names, in words.
fn instead(glob: &str, files: &[String]) -> String {
    let is_pattern = |part: &str| part.contains(['*', '?', '[', '{']);
    let (mut folder, mut wanted) = (String::new(), None);
    for part in glob.trim_start_matches("./").trim_end_matches('/').split('/') {
        let deeper = format!("{folder}{part}/");
        if is_pattern(part) || !files.iter().any(|file| file.starts_with(&deeper)) {
            wanted = Some(part).filter(|part| !is_pattern(part));
            break;
        }
        folder = deeper;
    }
    // Names in it; folders with a slash behind them.
    let mut entries: BTreeMap<String, usize> = BTreeMap::new();
    for rest in files.iter().filter_map(|file| file.strip_prefix(&folder)) {
        let name = rest.split_inclusive('/').next().unwrap_or(rest);
        let distance = wanted.map_or(0, |wanted| strsim::damerau_levenshtein(wanted, name.trim_end_matches('/')));
        entries.insert(name.to_owned(), distance);
    }
    let mut names: Vec<(usize, String)> = entries.into_iter().map(|(name, distance)| (distance, name)).collect();
    names.sort();
    let place = if folder.is_empty() { String::new() } else { format!("in `{folder}` ") };
    let shown: Vec<String> = names.iter().take(SHOWN).map(|(_, name)| format!("`{name}`")).collect();
    match names.len().saturating_sub(SHOWN) {
        _ if names.is_empty() => "the workspace is empty".to_owned(),
        0 => format!("{place}there is {}", shown.join(", ")),
        more => format!("{place}there is {} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::instead;

    #[test]
    fn what_is_there_instead_is_named_from_the_nearest_on() {
        let files: Vec<String> =
            ["build/app.mjs", "build/maps/a.map", "package.json", "src/a.js", "src/b.js"].iter().map(|&file| file.to_owned()).collect();
        assert_eq!(instead("build/app.js", &files), "in `build/` there is `app.mjs`, `maps/`");
        assert_eq!(instead("bild/app.js", &files), "there is `build/`, `src/`, `package.json`");
        assert_eq!(instead("./build/*.js", &files), "in `build/` there is `app.mjs`, `maps/`");
        assert_eq!(instead("dist/**", &files), "there is `build/`, `src/`, `package.json`");
        assert_eq!(instead("**/*.xml", &files), "there is `build/`, `package.json`, `src/`");
        assert_eq!(instead("dist", &[]), "the workspace is empty");
        let many: Vec<String> = (0..9).map(|number| format!("out-{number}")).collect();
        assert!(instead("out", &many).ends_with("`out-4` and 4 more"));
    }
}
