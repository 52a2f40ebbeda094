//! What people and machines read: aligned columns, or JSON. Texts of others are stripped of what a terminal would obey.

use std::io::Write as _;

use hookwright_core::Timestamp;
use serde_json::Value;

/// Prints a value as indented JSON.
pub(crate) fn json(value: &Value) {
    print(&format!("{value:#}"));
}

/// Prints a line. A reader that has seen enough, as `head` has, ends the command and is no failure.
fn print(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
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
    fn a_commit_message_cannot_steer_the_terminal() {
        assert_eq!(super::plain("a\u{1b}[2Jb\u{202e}c"), "a[2Jbc");
    }
}
