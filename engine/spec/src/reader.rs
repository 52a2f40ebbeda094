//! Reads typed values out of a tree and collects every problem on the way, so that one mistake does not hide the next.

use std::time::Duration;

use serde_saphyr::Location;

use crate::problem::{Problem, Problems};
use crate::tree::{Node, Tree, excerpt};

/// Collects problems of one file.
pub(crate) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

/// The entries of a map whose keys are texts, the first of duplicates only.
pub(crate) struct Fields<'t> {
    /// What the map is, for messages.
    pub(crate) what: String,
    /// Where the map is.
    pub(crate) at: &'t Tree,
    /// Its entries.
    pub(crate) entries: Vec<(&'t str, &'t Tree, &'t Tree)>,
}

impl<'t> Fields<'t> {
    /// The value of `name`, unless it is missing or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&'t Tree> {
        self.entries.iter().find(|(key, ..)| *key == name).map(|(_, _, value)| *value).filter(|value| !matches!(value.value, Node::Null))
    }

    /// The key of `name`.
    pub(crate) fn key(&self, name: &str) -> Option<&'t Tree> {
        self.entries.iter().find(|(key, ..)| *key == name).map(|(_, key, _)| *key)
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    /// The value, unless something was wrong.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        self.problems.dedup();
        self.problems.truncate(100);
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(Problems(self.problems)),
        }
    }

    /// Notes a problem at `node`.
    pub(crate) fn problem(&mut self, node: &Tree, message: impl Into<String>, help: impl Into<String>) {
        self.problem_at(node.referenced, message.into(), help.into());
    }

    fn problem_at(&mut self, at: Location, message: String, help: String) {
        let line = usize::try_from(at.line()).unwrap_or(0);
        let excerpt = excerpt(self.text, line);
        let column = u32::try_from(at.column()).unwrap_or(1).max(1);
        let rest = excerpt.trim_end().chars().count().saturating_sub(column as usize - 1);
        let span = usize::try_from(at.span().len()).unwrap_or(1);
        let length = u32::try_from(span.min(rest).max(1)).unwrap_or(1);
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: u32::try_from(line).unwrap_or(0),
            column,
            length,
            excerpt,
            message,
            help,
        });
    }

    /// The map at `node`; refuses keys that are no texts and duplicates. `known` empty means any key.
    pub(crate) fn fields<'t>(&mut self, node: &'t Tree, what: &str, known: &[&str]) -> Fields<'t> {
        let mut fields = Fields { what: what.to_owned(), at: node, entries: Vec::new() };
        match &node.value {
            Node::Map(map) => {
                for (key, value) in map {
                    let Node::Text(name) = &key.value else {
                        self.problem(key, format!("a key of {what} must be a text, but this is {}", key.value.kind()), "put it in quotes");
                        continue;
                    };
                    if fields.entries.iter().any(|(seen, ..)| seen == name) {
                        self.problem(key, format!("`{name}` stands twice in {what}"), "remove one of the two");
                    } else if !known.is_empty() && !known.contains(&name.as_str()) {
                        self.problem(key, format!("{what} has no field `{}`", cut(name)), nearest(name, known));
                    } else {
                        fields.entries.push((name, key, value));
                    }
                }
            }
            Node::Null => {}
            other => {
                let help = match (shorthand(node, known), fields_help(known)) {
                    (Some(example), help) => format!("write {example}; {help}"),
                    (None, help) => help,
                };
                self.problem(node, format!("{what} must be a map, but this is {}", other.kind()), help);
            }
        }
        fields
    }

    /// A text. Numbers and booleans are taken as written where `lenient`.
    pub(crate) fn text(&mut self, node: &Tree, what: &str, lenient: bool) -> Option<String> {
        match &node.value {
            Node::Text(text) => Some(text.clone()),
            Node::Bool(_) | Node::Integer(_) | Node::Float(_) if lenient => Some(self.scalar(node)),
            Node::Null => self.refuse(node, what, "a text"),
            Node::Bool(_) | Node::Integer(_) | Node::Float(_) => {
                let raw = self.scalar(node);
                self.problem(
                    node,
                    format!("{what} must be a text, but this is {}", node.value.kind()),
                    format!("put it in quotes: \"{raw}\""),
                );
                None
            }
            Node::List(_) => {
                self.problem(
                    node,
                    format!("{what} must be a text, but this is {}", node.value.kind()),
                    "write several lines after `|`, one below the other",
                );
                None
            }
            _ => self.refuse(node, what, "a text"),
        }
    }

    /// A scalar as it stands in the file, so that `1.10` stays `1.10`.
    pub(crate) fn scalar(&self, node: &Tree) -> String {
        let span = node.defined.span();
        let raw = span.byte_offset().zip(span.byte_len()).and_then(|(from, length)| {
            let from = usize::try_from(from).ok()?;
            self.text.get(from..from.checked_add(usize::try_from(length).ok()?)?)
        });
        match (&node.value, raw.map(str::trim)) {
            (Node::Text(text), _) => text.clone(),
            (Node::Bool(_) | Node::Integer(_) | Node::Float(_), Some(raw)) if !raw.is_empty() && !raw.contains(['\n', ' ', ':', '*']) => {
                raw.to_owned()
            }
            (Node::Bool(value), _) => value.to_string(),
            (Node::Integer(value), _) => value.to_string(),
            (Node::Float(value), _) => value.to_string(),
            _ => String::new(),
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, node: &Tree, what: &str, bounds: std::ops::RangeInclusive<u32>) -> Option<u32> {
        if let Node::Integer(value) = node.value
            && let Ok(value) = u32::try_from(value)
            && bounds.contains(&value)
        {
            return Some(value);
        }
        self.refuse(node, what, &format!("a whole number from {} to {}", bounds.start(), bounds.end()))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, node: &Tree, what: &str) -> Option<bool> {
        match &node.value {
            Node::Bool(value) => Some(*value),
            _ => self.refuse(node, what, "`true` or `false`"),
        }
    }

    /// A list of texts; a single text is a list of one.
    pub(crate) fn texts<'t>(&mut self, node: &'t Tree, what: &str) -> Vec<(String, &'t Tree)> {
        match &node.value {
            Node::List(items) => {
                items.iter().filter_map(|item| Some((self.text(item, &format!("each item of {what}"), false)?, item))).collect()
            }
            Node::Text(text) => vec![(text.clone(), node)],
            other => {
                let kind = other.kind();
                self.problem(node, format!("{what} must be a list, but this is {kind}"), "write a list: [first, second]");
                Vec::new()
            }
        }
    }

    /// `30s`, `10m`, `1h30m`, `7d`.
    pub(crate) fn duration(&mut self, node: &Tree, what: &str) -> Option<Duration> {
        let parsed = match &node.value {
            Node::Text(text) => parse_duration(text),
            _ => None,
        };
        if parsed.is_none() {
            let raw = self.scalar(node);
            let help = if matches!(node.value, Node::Integer(_)) {
                format!("say the unit: {raw}s, {raw}m or {raw}h")
            } else {
                "write 30s, 10m, 1h30m or 7d".to_owned()
            };
            self.problem(node, format!("{what} is not a duration"), help);
        }
        parsed
    }

    /// One of `known`.
    pub(crate) fn choice(&mut self, node: &Tree, what: &str, known: &[&str]) -> Option<String> {
        let text = self.text(node, what, true)?;
        if known.contains(&text.as_str()) {
            return Some(text);
        }
        self.problem(node, format!("{what} cannot be `{}`", cut(&text)), nearest(&text, known));
        None
    }

    /// A checked name.
    pub(crate) fn name<T: std::str::FromStr<Err = hookwright_core::InvalidName>>(&mut self, node: &Tree, what: &str) -> Option<T> {
        let text = self.text(node, what, false)?;
        text.parse::<T>().map_err(|error| self.problem(node, format!("`{}` cannot be {what}", cut(&text)), rule(&error.to_string()))).ok()
    }

    /// Notes that `node` is not what it must be.
    pub(crate) fn refuse<T>(&mut self, node: &Tree, what: &str, expected: &str) -> Option<T> {
        self.problem(node, format!("{what} must be {expected}, but this is {}", node.value.kind()), format!("write {expected} here"));
        None
    }

    /// Notes that a field is missing.
    pub(crate) fn missing(&mut self, fields: &Fields<'_>, name: &str, help: &str) {
        self.problem(fields.at, format!("{} lacks `{name}`", fields.what), help);
    }
}

/// What somebody who wrote a single value instead of a map most likely meant.
fn shorthand(node: &Tree, known: &[&str]) -> Option<String> {
    let (field, value) = match &node.value {
        Node::Integer(value) => (["count", "min"].into_iter().find(|field| known.contains(field))?, value.to_string()),
        Node::Text(text) if text.starts_with('/') => (["readiness", "path"].into_iter().find(|field| known.contains(field))?, cut(text)),
        Node::Text(text) => (["default", "run", "http"].into_iter().find(|field| known.contains(field))?, cut(text)),
        _ => return None,
    };
    Some(format!("{{ {field}: {value} }}"))
}

/// The rule out of the message of an invalid name.
fn rule(message: &str) -> String {
    message.rsplit_once(": ").map_or(message, |(_, rule)| rule).to_owned()
}

/// At most 60 characters of what somebody wrote.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// What other tools call our fields: (their name, ours), ours where it is known at the place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("approvers", "from"),
    ("args", "command"),
    ("artifacts", "outputs"),
    ("cmd", "command"),
    ("commands", "run"),
    ("continue_on_error", "allow_failure"),
    ("cronjob", "cron"),
    ("depends", "needs"),
    ("depends_on", "needs"),
    ("dependson", "needs"),
    ("entrypoint", "command"),
    ("env", "config"),
    ("environment", "env"),
    ("if", "when"),
    ("jobs", "stages"),
    ("liveness_probe", "liveness"),
    ("on", "triggers"),
    ("outs", "outputs"),
    ("readiness_probe", "readiness"),
    ("replicas", "min"),
    ("required", "count"),
    ("retries", "retry"),
    ("run", "command"),
    ("schedule", "cron"),
    ("script", "run"),
    ("start", "command"),
    ("steps", "stages"),
    ("timeout_seconds", "timeout"),
    ("variables", "env"),
];

/// "did you mean", or what there is.
pub(crate) fn nearest(text: &str, known: &[&str]) -> String {
    let text: String = text.chars().take(60).collect();
    let spelled = text.to_lowercase().replace('-', "_");
    let elsewhere = ELSEWHERE.iter().find(|(theirs, ours)| *theirs == spelled && known.contains(ours));
    if let Some((_, ours)) = elsewhere {
        return format!("it is called `{ours}` here");
    }
    let best = known.iter().map(|name| (strsim::damerau_levenshtein(&text.to_lowercase(), &name.to_lowercase()), name)).min();
    match best {
        Some((distance, name)) if distance <= 1 + name.len() / 3 => format!("did you mean `{name}`?"),
        _ => fields_help(known),
    }
}

fn fields_help(known: &[&str]) -> String {
    if known.is_empty() {
        "write each as `name: …`, one below the other, without dashes".to_owned()
    } else {
        format!("there is: {}", known.join(", "))
    }
}

/// Parses a duration, at most ten years.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut digits = String::new();
    let mut characters = text.trim().chars().peekable();
    characters.peek()?;
    while let Some(character) = characters.next() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let unit = match character {
            'm' if characters.peek() == Some(&'s') => {
                characters.next();
                1
            }
            's' => 1000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            'w' => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    (digits.is_empty() && total <= 315_360_000_000).then(|| Duration::from_millis(total))
}
