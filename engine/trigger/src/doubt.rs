//! Whether a field that somebody asks payloads for is likely to be a mistake. Schemas and examples name what is always there and what people ask for
//! most, so that a field which they do not have is no mistake by itself: it is one where nothing else may be there, and probably one where its name is
//! nearly that of a field that they have.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Definition;

/// Names shorter than this are near to too many others.
const SHORTEST: usize = 4;

/// A field that events of a source probably do not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The field, without what stands below it.
    pub field: Vec<String>,
    /// What was probably meant; `None` where only these fields can be there.
    pub meant: Option<Vec<String>>,
}

impl Definition {
    /// What is doubtful about asking events of these types (as a trigger names them; none is all) for a field.
    pub fn doubt(&self, wanted: &[String], path: &[String]) -> Option<Doubt> {
        let all = wanted.is_empty() || wanted.iter().any(|kind| kind == "*");
        let kinds: Vec<&str> =
            if all { self.kinds().collect() } else { wanted.iter().map(|kind| kind.strip_suffix(".*").unwrap_or(kind)).collect() };
        let (mut found, mut is_open) = (None, false);
        for kind in kinds {
            let schema = self.event_schema(kind).unwrap_or_default();
            match look(&schema, self.example_of(kind).as_ref(), path) {
                // What one of the types has is asked for with good reason.
                Seen::Known => return None,
                Seen::Unlisted => is_open = true,
                Seen::Doubtful(doubt) => found = found.or(Some(doubt)),
            }
        }
        found.filter(|doubt: &Doubt| doubt.meant.is_some() || !is_open)
    }

    /// The example of a type, or of one below it.
    fn example_of(&self, kind: &str) -> Option<Value> {
        let is_meant = |known: &str| known == kind || known.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.'));
        let (_, example) = self.events.iter().find(|(known, _)| is_meant(known))?;
        serde_json::from_str(example).ok()
    }
}

/// What is known of a field of one type.
enum Seen {
    /// It is there, or nothing can be said of what is there.
    Known,
    /// It is not among those that are named, and more may be there.
    Unlisted,
    /// It is hardly there.
    Doubtful(Doubt),
}

fn look(schema: &Value, example: Option<&Value>, path: &[String]) -> Seen {
    let (mut schema, mut example) = (Some(schema), example);
    for (at, name) in path.iter().enumerate() {
        let one_of_several = ["anyOf", "oneOf", "allOf"].iter().any(|word| schema.is_some_and(|schema| schema.get(*word).is_some()));
        let properties = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        let fields = example.and_then(Value::as_object);
        if one_of_several || properties.is_none() && fields.is_none() {
            return Seen::Known;
        }
        let known: BTreeSet<&str> = properties
            .into_iter()
            .flat_map(|known| known.keys())
            .chain(fields.into_iter().flat_map(|known| known.keys()))
            .map(String::as_str)
            .collect();
        if !known.contains(name.as_str()) {
            let is_closed = schema.and_then(|schema| schema.get("additionalProperties")) == Some(&Value::Bool(false));
            let near = known.iter().find(|known| is_near(name, known));
            let up_to = |last: &str| path[..at].iter().cloned().chain([last.to_owned()]).collect::<Vec<_>>();
            return match (near, is_closed) {
                (None, false) => Seen::Unlisted,
                (near, _) => Seen::Doubtful(Doubt { field: up_to(name), meant: near.map(|near| up_to(near)) }),
            };
        }
        schema = properties.and_then(|properties| properties.get(name));
        example = fields.and_then(|fields| fields.get(name));
    }
    Seen::Known
}

/// Whether one name is a mistyped other one. `assignee` and `assignees` are two names.
fn is_near(name: &str, known: &str) -> bool {
    let is_plural = |one: &str, many: &str| many.strip_suffix('s') == Some(one);
    let distance = strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    name.len() >= SHORTEST
        && known.len() >= SHORTEST
        && distance <= 1 + known.len() / 6
        && !is_plural(name, known)
        && !is_plural(known, name)
}

#[cfg(test)]
mod tests {
    use crate::{Definition, Definitions};

    fn doubt(definition: &Definition, kinds: &[&str], path: &str) -> Option<String> {
        let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let doubt = definition.doubt(&kinds, &path)?;
        Some(format!("{} -> {}", doubt.field.join("."), doubt.meant.map(|meant| meant.join(".")).unwrap_or_default()))
    }

    #[test]
    fn a_field_that_is_nearly_another_one_is_doubtful_and_one_that_is_merely_not_listed_is_not() {
        let github = Definitions::embedded().find("github").expect("a definition");
        assert_eq!(doubt(&github, &["issues.opened"], "isue.number").as_deref(), Some("isue -> issue"));
        assert_eq!(doubt(&github, &["issues"], "issue.titel").as_deref(), Some("issue.titel -> issue.title"));
        assert_eq!(doubt(&github, &[], "repositroy.full_name").as_deref(), Some("repositroy -> repository"));
        for good in
            ["issue.title", "issue.labels.name", "issue.assignee.login", "issue.reactions.total", "changes.title.from", "sender.login"]
        {
            assert_eq!(doubt(&github, &["issues.opened", "issues.*"], good), None, "{good}");
        }
        assert_eq!(doubt(&github, &["issues", "pull_request"], "pull_request.title"), None, "one of both has it");
        assert_eq!(doubt(&github, &["gollum"], "pagse.title"), None, "nothing is known of it");
    }

    #[test]
    fn where_nothing_else_can_be_there_every_other_field_is_doubtful() {
        let schedule = Definitions::embedded().find("schedule").expect("a definition");
        assert_eq!(doubt(&schedule, &[], "branch").as_deref(), Some("branch -> "));
        assert_eq!(doubt(&schedule, &[], "scheduled_at"), None);
        let own = r#"{"name":"x","title":"X","kind":[{"field":"/t"}],"events":{"order.paid":"{\"order\":{\"number\":7}}"}}"#;
        let own = Definition::of_a_repository(own).expect("a definition");
        assert_eq!(doubt(&own, &["order"], "order.numbre").as_deref(), Some("order.numbre -> order.number"));
        assert_eq!(doubt(&own, &["order"], "order.total"), None);
    }
}
