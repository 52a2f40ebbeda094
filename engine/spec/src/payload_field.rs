//! The fields of a payload that an expression names, as far as they can be told from its text: `payload.issue.labels` of
//! `payload.issue.labels.exists(l, l.name == "bug")`. What a mistyped one is worth nobody would be told otherwise: nothing is ever equal to it.

use serde_json::Value;

/// The variable that a payload is in.
const ROOT: &str = "payload";

/// The fields that `text` names, from the outermost on; each once, in their order.
pub fn payload_fields(text: &str) -> Vec<Vec<String>> {
    let mut fields: Vec<Vec<String>> = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let code = without_texts(text);
    for (at, _) in code.match_indices(ROOT) {
        let before = code[..at].trim_end().chars().next_back();
        if before.is_some_and(|c| is_word(c) || c == '.') {
            continue;
        }
        let mut rest = &code[at + ROOT.len()..];
        let mut path: Vec<String> = Vec::new();
        while let Some(after) = rest.trim_start().strip_prefix('.') {
            let after = after.trim_start();
            let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
            // A function is called on what stands before it.
            if end == 0 || after[end..].trim_start().starts_with('(') {
                break;
            }
            path.push(after[..end].to_owned());
            rest = &after[end..];
        }
        if !path.is_empty() && !fields.contains(&path) {
            fields.push(path);
        }
    }
    fields
}

/// The expression with what stands between quotes blanked out.
fn without_texts(text: &str) -> String {
    let mut quote = None;
    let mut is_escaped = false;
    let blank = |c: char| match quote {
        None => {
            quote = Some(c).filter(|c| matches!(c, '"' | '\''));
            c
        }
        Some(open) => {
            let closes = c == open && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            if closes {
                quote = None;
            }
            if closes { c } else { ' ' }
        }
    };
    text.chars().map(blank).collect()
}

/// The first of these fields that a payload does not have, as an expression writes it.
pub(crate) fn missing(fields: &[Vec<String>], payload: &Value) -> Option<String> {
    let is_missing = |path: &&Vec<String>| {
        let mut value = payload;
        for name in *path {
            match value {
                // Of a list the entries are asked for, and what a text has are functions.
                Value::Object(fields) => match fields.get(name) {
                    Some(inner) => value = inner,
                    None => return true,
                },
                Value::Null => return true,
                _ => return false,
            }
        }
        false
    };
    fields.iter().find(is_missing).map(|path| format!("{ROOT}.{}", path.join(".")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{missing, payload_fields};

    #[test]
    fn fields_are_told_from_functions_texts_and_other_variables() {
        let told = |text: &str| payload_fields(text).into_iter().map(|path| path.join(".")).collect::<Vec<_>>();
        assert_eq!(
            told("payload.issue.labels.exists(l, l.name == \"payload.x\") && payload.issue . number > 1"),
            ["issue.labels", "issue.number"]
        );
        assert_eq!(told("has(payload.a.b) || my_payload.c == 1 || x.payload.d == 2 || payload[\"e\"].f == 3"), ["a.b"]);
        assert_eq!(told("payload.title.contains('it\\'s payload.no') && payload.title == event"), ["title"]);
        assert_eq!(told("event == \"push\""), Vec::<String>::new());
    }

    #[test]
    fn the_first_field_that_is_not_there_is_named() {
        let payload = json!({ "issue": { "number": 7, "labels": [{ "name": "bug" }], "milestone": null } });
        let of = |text: &str| missing(&payload_fields(text), &payload);
        assert_eq!(of("payload.issue.number > 1 && payload.issue.labels.all(l, true)"), None);
        assert_eq!(of("payload.issue.number > 1 && payload.isue.number > 1").as_deref(), Some("payload.isue.number"));
        assert_eq!(of("payload.issue.milestone.title == \"x\"").as_deref(), Some("payload.issue.milestone.title"));
    }
}
