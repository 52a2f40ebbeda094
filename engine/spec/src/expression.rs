//! CEL conditions, bounded in size and nesting before they are compiled or evaluated.

use cel::{Context, Program, Value};

use crate::payload_field::{missing, payload_fields};

/// The longest expression.
const MAX_LENGTH: usize = 1024;
/// How deep brackets may nest.
const MAX_NESTING: usize = 24;
/// How many operators and macros there may be; bounds the recursion of the parser, whose grammar has one level for each.
const MAX_MACROS: usize = 3;
/// Steps that an expression may take over one payload, estimated before it is evaluated: whoever sends the payload chooses how long its lists are.
const MAX_STEPS: u64 = 5_000_000;
/// The loops of CEL, as they are written.
const LOOPS: [&str; 5] = [".all(", ".exists(", ".exists_one(", ".map(", ".filter("];
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
    let macros: usize = LOOPS.iter().map(|name| text.matches(name).count()).sum();
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

/// How deep loops stand in each other; what stands in a text between quotes may be counted too.
fn loops_in_loops(text: &str) -> u32 {
    let (mut open, mut deepest) = (Vec::new(), 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => {
                open.push(LOOPS.iter().any(|name| text[..=at].ends_with(name)));
                deepest = deepest.max(open.iter().filter(|is_loop| **is_loop).count());
            }
            ')' => drop(open.pop()),
            _ => {}
        }
    }
    u32::try_from(deepest).unwrap_or(u32::MAX)
}

/// The longest list or map of a payload, and the bytes of its longest text.
fn extent(value: &serde_json::Value) -> (u64, u64) {
    let of = |(longest, text): (u64, u64), inner: &serde_json::Value| {
        let (inner_longest, inner_text) = extent(inner);
        (longest.max(inner_longest), text.max(inner_text))
    };
    match value {
        serde_json::Value::String(text) => (0, text.len() as u64),
        serde_json::Value::Array(list) => list.iter().fold((list.len() as u64, 0), of),
        serde_json::Value::Object(fields) => fields.values().fold((fields.len() as u64, 0), of),
        _ => (0, 0),
    }
}

/// A compiled expression over an event: a trigger's `filter` or `order_by`.
pub struct EventExpression {
    program: Program,
    /// How deep its loops stand in each other.
    loops: u32,
    /// The fields of the payload that it names.
    fields: Vec<Vec<String>>,
}

/// How much of a payload's lists an expression sees as `changed`.
const MAX_COMMITS: usize = 100;

impl EventExpression {
    /// Compiles `text`, within the bounds that hold for every expression.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn compile(text: &str) -> Result<Self, String> {
        Ok(Self { program: compile(text)?, loops: loops_in_loops(text), fields: payload_fields(text) })
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

    /// The first field that it names and a payload does not have, as it writes it.
    pub fn missing(&self, payload: &serde_json::Value) -> Option<String> {
        missing(&self.fields, payload)
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
        if self.loops > 0 {
            let (longest, text) = extent(payload);
            // A step that looks through a text takes as long as it is.
            if longest.saturating_pow(self.loops).saturating_mul(1 + text / 1000) > MAX_STEPS {
                return Err(format!("its loops would take too long over this payload, whose longest list has {longest} entries"));
            }
        }
        let mut context = Context::default();
        let reference = payload.get("ref").and_then(serde_json::Value::as_str).unwrap_or_default();
        context.add_variable_from_value("event", event);
        context.add_variable_from_value("branch", reference.strip_prefix("refs/heads/").unwrap_or_default());
        context.add_variable_from_value("tag", reference.strip_prefix("refs/tags/").unwrap_or_default());
        context.add_variable_from_value("changed", changed(payload));
        context.add_variable("payload", payload).map_err(|error| error.to_string())?;
        self.program.execute(&context).map_err(|error| error.to_string())
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
        assert_eq!(holds("payload.issue.labels.exists(l, payload.issue.labels.all(m, m.name == l.name))"), Ok(true));
        let key = |text: &str| EventExpression::compile(text).expect("CEL").key("issues.opened", &payload);
        assert_eq!(key("payload.issue.number"), Ok("7".to_owned()));
        assert!(key("payload.issue").is_err());
    }

    #[test]
    fn loops_over_what_a_stranger_made_long_are_refused_before_they_begin() {
        let long = json!({ "a": vec![0; 20_000], "text": "x" });
        let holds = |text: &str, payload: &serde_json::Value| EventExpression::compile(text).expect("CEL").holds("e", payload);
        assert_eq!(holds("payload.a.exists(x, x == 1)", &long), Ok(false), "one loop over a long list is fine");
        assert_eq!(holds("payload.a.all(x, x == 0) && payload.a.exists(x, x == 0)", &long), Ok(true), "and so is one after another");
        let nested = "payload.a.exists(x, payload.a.exists(y, x + y == 1))";
        let error = holds(nested, &long).expect_err("400 million steps");
        assert!(error.contains("20000 entries"), "{error}");
        assert_eq!(holds(nested, &json!({ "a": [0, 0, 1] })), Ok(true));
        let texts = json!({ "a": vec!["y"; 1000], "text": "x".repeat(10_000_000) });
        assert!(holds("payload.a.exists(x, payload.text.contains(x))", &texts).is_err(), "ten billion bytes to look through");
    }
}
