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
