//! CEL conditions, bounded in size and nesting before they are compiled or evaluated.

use cel::{Context, Program, Value};

/// The longest expression.
const MAX_LENGTH: usize = 1024;
/// How deep brackets may nest.
const MAX_NESTING: usize = 24;
/// How many operators and macros there may be; bounds the recursion of the parser, whose grammar has one level for each.
const MAX_MACROS: usize = 3;
/// How many changed paths an expression sees.
const MAX_CHANGED: usize = 1000;

/// Checks that `text` compiles and is small enough.
///
/// # Errors
/// What is wrong, as a sentence.
pub(crate) fn check(text: &str) -> Result<(), String> {
    compile(text).map(drop)
}

fn compile(text: &str) -> Result<Program, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("the expression is longer than {MAX_LENGTH} characters"));
    }
    let mut depth = 0_usize;
    for character in text.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            return Err(format!("brackets nest deeper than {MAX_NESTING}"));
        }
    }
    if text.contains("!!!!") || text.contains("----") {
        return Err("signs are repeated more than three times".to_owned());
    }
    let macros: usize = [".all(", ".exists(", ".exists_one(", ".map(", ".filter("].iter().map(|name| text.matches(name).count()).sum();
    if macros > MAX_MACROS {
        return Err(format!("more than {MAX_MACROS} loops (`all`, `exists`, `map`, `filter`)"));
    }
    Program::compile(text).map_err(|error| {
        let message = error.to_string();
        let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("it is not CEL").trim();
        plain_syntax_error(line).chars().take(200).collect()
    })
}

/// The parser's message without its notation: `ERROR: <input>:1:14: Syntax error: mismatched input '<EOF>' expecting {…}` says where and what.
fn plain_syntax_error(line: &str) -> String {
    let Some((place, what)) = line.strip_prefix("ERROR: <input>:").and_then(|rest| rest.split_once(": ")) else { return line.to_owned() };
    let column = place.rsplit(':').next().and_then(|column| column.parse::<u32>().ok()).unwrap_or(0);
    let what = what.trim_start_matches("Syntax error: ");
    let what = what.split(" expecting ").next().unwrap_or(what);
    let what = what.strip_prefix("mismatched input ").or_else(|| what.strip_prefix("extraneous input ")).unwrap_or(what);
    if what == "'<EOF>'" {
        "it ends too early".to_owned()
    } else {
        format!("it cannot be read from character {} on, at {what}", column + 1)
    }
}

/// What a `when:` sees.
pub(crate) struct Facts<'a> {
    pub(crate) event: &'a str,
    pub(crate) branch: &'a str,
    pub(crate) tag: &'a str,
    pub(crate) changed: &'a [String],
}

/// Evaluates a condition.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(crate) fn holds(text: &str, facts: &Facts<'_>) -> Result<bool, String> {
    let program = compile(text)?;
    let mut context = Context::default();
    context.add_variable_from_value("event", facts.event);
    context.add_variable_from_value("branch", facts.branch);
    context.add_variable_from_value("tag", facts.tag);
    context.add_variable_from_value("changed", facts.changed.iter().take(MAX_CHANGED).cloned().collect::<Vec<_>>());
    match program.execute(&context) {
        Ok(Value::Bool(value)) => Ok(value),
        Ok(_) => Err("the condition is neither true nor false".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The variables that `text` uses and that are not in `known`.
pub(crate) fn unknown_variables(text: &str, known: &[&str]) -> Vec<String> {
    let Ok(program) = compile(text) else { return Vec::new() };
    let references = program.references();
    let mut unknown: Vec<String> = references.variables().into_iter().filter(|name| !known.contains(name)).map(str::to_owned).collect();
    // Loops bind their variable first: `list.exists(item, …)`.
    unknown.retain(|name| !name.starts_with('@') && !text.contains(&format!("({name},")));
    unknown.sort();
    unknown
}

/// A compiled expression over an event: a trigger's `filter` or `order_by`.
pub struct EventExpression(Program);

/// How much of a payload's lists an expression sees as `changed`.
const MAX_COMMITS: usize = 100;

impl EventExpression {
    /// Compiles `text`, within the bounds that hold for every expression.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn compile(text: &str) -> Result<Self, String> {
        compile(text).map(Self)
    }

    /// Whether the condition holds for an event.
    ///
    /// # Errors
    /// What the payload does not have, or that the value is no truth value.
    pub fn holds(&self, event: &str, payload: &serde_json::Value) -> Result<bool, String> {
        match self.value(event, payload)? {
            Value::Bool(value) => Ok(value),
            _ => Err("the condition is neither true nor false".to_owned()),
        }
    }

    /// The value as the text that orders deliveries.
    ///
    /// # Errors
    /// What the payload does not have, or that the value has no short text.
    pub fn key(&self, event: &str, payload: &serde_json::Value) -> Result<String, String> {
        let text = match self.value(event, payload)? {
            Value::String(text) => text.to_string(),
            Value::Int(number) => number.to_string(),
            Value::UInt(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return Err("a key is a text, a number or a truth value".to_owned()),
        };
        if text.len() > MAX_LENGTH { Err(format!("the key is longer than {MAX_LENGTH} bytes")) } else { Ok(text) }
    }

    fn value(&self, event: &str, payload: &serde_json::Value) -> Result<Value, String> {
        let mut context = Context::default();
        let reference = payload.get("ref").and_then(serde_json::Value::as_str).unwrap_or_default();
        context.add_variable_from_value("event", event);
        context.add_variable_from_value("branch", reference.strip_prefix("refs/heads/").unwrap_or_default());
        context.add_variable_from_value("tag", reference.strip_prefix("refs/tags/").unwrap_or_default());
        context.add_variable_from_value("changed", changed(payload));
        context.add_variable("payload", payload).map_err(|error| error.to_string())?;
        self.0.execute(&context).map_err(|error| error.to_string())
    }
}

/// The paths that the commits of a push say they change, as GitHub, GitLab and Gitea list them.
fn changed(payload: &serde_json::Value) -> Vec<String> {
    let commits = payload.get("commits").and_then(serde_json::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let lists = commits.iter().take(MAX_COMMITS).flat_map(|commit| ["added", "modified", "removed"].map(|list| commit.get(list)));
    let paths = lists.flatten().filter_map(serde_json::Value::as_array).flatten().filter_map(serde_json::Value::as_str);
    paths.take(MAX_CHANGED).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_sees_the_payload_the_event_and_what_a_push_changed() {
        let payload = json!({ "ref": "refs/heads/main", "issue": { "number": 7, "labels": [{ "name": "bug" }] },
            "commits": [{ "added": ["a.txt"], "modified": ["src/b.rs"], "removed": [] }] });
        let holds = |text: &str| EventExpression::compile(text).expect("CEL").holds("issues.opened", &payload);
        assert_eq!(holds("payload.issue.labels.exists(l, l.name == \"bug\") && event == \"issues.opened\""), Ok(true));
        assert_eq!(holds("branch == \"main\" && tag == \"\" && \"src/b.rs\" in changed"), Ok(true));
        assert_eq!(holds("payload.issue.number > 9"), Ok(false));
        assert!(holds("payload.pull_request.number > 9").is_err(), "what is not there is an error, not a no");
        let key = |text: &str| EventExpression::compile(text).expect("CEL").key("issues.opened", &payload);
        assert_eq!(key("payload.issue.number"), Ok("7".to_owned()));
        assert!(key("payload.issue").is_err());
    }
}
