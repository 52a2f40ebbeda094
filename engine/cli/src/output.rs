//! What people and machines read: aligned columns, or JSON. Texts of others are stripped of what a terminal would obey.

use std::io::{IsTerminal as _, Write as _};

use hookwright_core::Timestamp;
use serde_json::Value;

/// Prints a line as `println!` does; a reader that has seen enough, as `head` has, ends the command and is no failure.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::print(&format!($($text)*)) };
}

/// Prints a line of something that goes on also when nobody reads it: a daemon, a run.
macro_rules! mention {
    ($($text:tt)*) => { $crate::output::print_if_read(std::io::stdout(), &format!($($text)*)) };
}

/// Prints a line to standard error, if somebody reads it.
macro_rules! warn_of {
    ($($text:tt)*) => { $crate::output::print_if_read(std::io::stderr(), &format!($($text)*)) };
}

pub(crate) use {mention, say, warn_of};

/// What is left of a terminal's line for a reason has to be so wide, or the line is not cut: a few characters tell nothing.
const ROOM: usize = 24;

/// Prints a value as indented JSON.
pub(crate) fn json(value: &Value) {
    print(&format!("{value:#}"));
}

/// What `say!` does.
pub(crate) fn print(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}

/// What `mention!` and `warn_of!` do.
pub(crate) fn print_if_read(mut to: impl std::io::Write, line: &str) {
    // Whoever does not read it is not waited for.
    let _ = writeln!(to, "{line}");
}

/// How wide the terminal is that is written to; `None` where it is none: a pipe or a file gets everything.
fn width() -> Option<usize> {
    let stdout = std::io::stdout();
    let size = stdout.is_terminal().then(|| terminal_size::terminal_size_of(&stdout)).flatten();
    size.map(|(width, _)| usize::from(width.0))
}

/// As [`table`], the last column of which is a sentence: on a terminal it ends where the line does.
pub(crate) fn table_of_reasons(head: &[&str], rows: Vec<Vec<String>>) {
    let rows = match width() {
        Some(width) => cut_last(head, rows, width),
        None => rows,
    };
    table(head, &rows);
}

fn cut_last(head: &[&str], mut rows: Vec<Vec<String>>, width: usize) -> Vec<Vec<String>> {
    let others = head.len().saturating_sub(1);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|name| name.chars().count())).max().unwrap_or(0) + 2
    };
    let room = width.saturating_sub((0..others).map(widest).sum());
    if room >= ROOM {
        for reason in rows.iter_mut().filter_map(|row| row.get_mut(others)) {
            if reason.chars().count() > room {
                *reason = reason.chars().take(room - 1).chain(['…']).collect();
            }
        }
    }
    rows
}

/// Prints rows in columns as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            std::iter::once(&head).chain(rows).filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in std::iter::once(&head).chain(rows) {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        print(line.join("  ").trim_end());
    }
}

/// A field as plain text, lists with commas, grants in words; what is missing is `-`.
pub(crate) fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(grant) if grant.contains_key("role") && grant.contains_key("scope") => granted(value),
        other => other.to_string(),
    };
    plain(&text)
}

/// A text of several lines as one; what is missing is `-`.
pub(crate) fn one_line(value: &Value) -> String {
    let lines = value.as_str().map(|text| text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" "));
    lines.map_or_else(|| "-".to_owned(), |line| plain(&line))
}

/// A text of several lines, each of them below what is said before; nothing where it is missing.
pub(crate) fn paragraph(value: &Value) -> String {
    let lines = value.as_str().into_iter().flat_map(str::lines);
    lines.map(plain).collect::<Vec<_>>().join("\n    ")
}

/// A grant in words: `approver of shop in production`, or the role alone where it holds everywhere.
fn granted(grant: &Value) -> String {
    let of = |name: &str| grant["scope"][name].as_str();
    let webhook = of("webhook").map(|webhook| format!(" of {webhook}")).unwrap_or_default();
    let environment = of("environment").map(|environment| format!(" in {environment}")).unwrap_or_default();
    format!("{}{webhook}{environment}", grant["role"].as_str().unwrap_or_default())
}

/// Without control characters and overrides of the writing direction.
pub(crate) fn plain(text: &str) -> String {
    let obeyed = |c: &char| c.is_control() && *c != '\t' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !obeyed(c)).collect()
}

/// An instant of the API.
pub(crate) fn instant(value: &Value) -> String {
    value.as_i64().map_or_else(|| "-".to_owned(), |millis| Timestamp::from_millis(millis).to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn grants_and_lists_are_words() {
        let grant = |webhook: Option<&str>| serde_json::json!({ "role": "approver", "scope": { "webhook": webhook, "environment": null } });
        assert_eq!(super::text(&serde_json::json!([grant(Some("shop")), grant(None)])), "approver of shop, approver");
        assert_eq!(super::text(&serde_json::json!(["acme/leads", "x"])), "acme/leads, x");
        assert_eq!(super::text(&serde_json::json!([])), "-");
    }

    #[test]
    fn a_reason_is_cut_where_the_terminal_ends_and_never_to_a_few_characters() {
        let rows = || vec![vec!["shop".to_owned(), "a reason that is longer than the terminal is wide".to_owned()]];
        let cut = super::cut_last(&["WEBHOOK", "REASON"], rows(), 40);
        assert_eq!(cut[0][1], "a reason that is longer than t…");
        assert_eq!("WEBHOOK  ".len() + cut[0][1].chars().count(), 40);
        assert_eq!(super::cut_last(&["WEBHOOK", "REASON"], rows(), 30), rows(), "on a narrow one the terminal breaks the line");
        assert_eq!(super::cut_last(&["WEBHOOK", "REASON"], rows(), 100), rows());
    }

    #[test]
    fn what_has_several_lines_keeps_its_words_apart() {
        let reason = serde_json::json!("line 3: unknown field\n  write `command`\n");
        assert_eq!(super::one_line(&reason), "line 3: unknown field write `command`");
        assert_eq!(super::one_line(&serde_json::Value::Null), "-");
        assert_eq!(super::paragraph(&reason), "line 3: unknown field\n      write `command`");
    }

    #[test]
    fn a_commit_message_cannot_steer_the_terminal() {
        assert_eq!(super::plain("a\u{1b}[2Jb\u{202e}c"), "a[2Jbc");
    }
}
