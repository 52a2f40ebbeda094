//! Which types of events there are: a mistyped one would never arrive, and nobody would be told. Of some sources the whole list is known, of some the
//! usual one.
//! The lists are data, in `engine/spec/event-types.yaml`; tests hold them against what the vendors publish.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::reader::{cut, nearest};

const EMBEDDED: &str = include_str!("../../event-types.yaml");

/// So many are all named to whoever mistyped one.
const FEW: usize = 20;

/// The lists as the file has them: by source, by family.
type Families = BTreeMap<String, BTreeMap<String, Vec<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists<T> {
    /// All that a source sends.
    whole: T,
    /// What it sends as far as anybody has written it down.
    usual: T,
}

/// # Panics
/// Never: a test reads it.
static KNOWN: LazyLock<Lists<BTreeMap<String, Vec<String>>>> = LazyLock::new(|| {
    let written: Lists<Families> = serde_saphyr::from_str(EMBEDDED).expect("a test reads the embedded list");
    let types = |families: BTreeMap<String, Vec<String>>| {
        let all = |(family, actions): (String, Vec<String>)| {
            let of_it: Vec<String> = actions.iter().map(|action| format!("{family}.{action}")).collect();
            std::iter::once(family).chain(of_it)
        };
        families.into_iter().flat_map(all).collect()
    };
    let all = |sources: Families| sources.into_iter().map(|(source, families)| (source, types(families))).collect();
    Lists { whole: all(written.whole), usual: all(written.usual) }
});

/// Every type of event of a source; `None` when it may send others than anybody has written down. One that ends with `.*` stands for whatever
/// the sender calls it.
pub fn event_types(source: &str) -> Option<&'static [String]> {
    KNOWN.whole.get(source).map(Vec::as_slice)
}

/// The types of events that a source is known to send, where it may send others.
pub fn usual_event_types(source: &str) -> Option<&'static [String]> {
    KNOWN.usual.get(source).map(Vec::as_slice)
}

/// What to write instead of a type that a source is not known to send, though it might.
pub fn event_doubt(source: &str, wanted: &str) -> Option<String> {
    let usual = usual_event_types(source)?;
    (!asks_for_some(wanted, usual)).then(|| instead(wanted, usual))
}

/// Whether what a trigger names is one of these types, or some of them lie below it.
pub(super) fn asks_for_some(wanted: &str, known: &[String]) -> bool {
    let stem = wanted.strip_suffix(".*").unwrap_or(wanted);
    let below = |kind: &str, stem: &str| kind.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.'));
    let is_meant = |kind: &String| kind == wanted || below(kind, stem) || kind.strip_suffix(".*").is_some_and(|open| below(wanted, open));
    wanted == "*" || known.iter().any(is_meant)
}

/// What to write instead of a type that there is not.
pub(super) fn instead(wanted: &str, known: &[String]) -> String {
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let near = nearest(wanted, &names);
    let family = wanted.split('.').next().unwrap_or(wanted);
    let actions: Vec<&str> =
        names.iter().copied().filter(|name| name.strip_prefix(family).is_some_and(|rest| rest.starts_with('.'))).collect();
    match () {
        () if near.starts_with("did you") || names.len() <= FEW => near,
        () if !actions.is_empty() => format!("of `{}` there is: {}", cut(family), actions.join(", ")),
        // Hundreds of names are no help; the families are few.
        () => {
            let mut families: Vec<&str> = names.iter().map(|name| name.split('.').next().unwrap_or(name)).collect();
            families.dedup();
            format!("there is: {}", families.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::{asks_for_some, event_doubt, event_types, instead};

    #[test]
    fn types_families_and_patterns_are_known_and_what_is_mistyped_is_not() {
        let github = event_types("github").expect("a whole list");
        for good in ["*", "push", "issues", "issues.*", "issues.opened", "repository_dispatch.deploy-now"] {
            assert!(asks_for_some(good, github), "{good}");
        }
        for bad in ["issue", "issues.openned", "issues.opened.*", "push.main", "isues.*", "Issues.opened"] {
            assert!(!asks_for_some(bad, github), "{bad}");
        }
        assert_eq!(instead("issues.openned", github), "did you mean `issues.opened`?");
        let help = instead("issues.something-else-entirely", github);
        assert!(help.starts_with("of `issues` there is: issues.assigned, "), "{help}");
        let stripe = event_types("stripe").expect("a whole list");
        assert!(asks_for_some("invoice.*", stripe) && asks_for_some("checkout.session.completed", stripe));
        assert!(!asks_for_some("invoice.payed", stripe));
        assert!(event_types("generic").is_none() && event_types("slack").is_none());
        for (source, good, bad, help) in [
            ("gitlab", "merge_request.open", "issue.opened", "did you mean `issue.open`?"),
            ("gitea", "pull_request.synchronized", "pull_request.synchronize", "did you mean `pull_request.synchronized`?"),
            ("bitbucket", "pr:comment:added", "pullrequest:create", "did you mean `pullrequest:created`?"),
        ] {
            assert!(event_types(source).is_none(), "others are not refused");
            assert_eq!((event_doubt(source, good), event_doubt(source, bad).as_deref()), (None, Some(help)), "{source}");
        }
        assert_eq!(event_doubt("slack", "whatever.slack_says"), None);
    }

    /// A file below `tests/fixtures`; those of `node_modules` are installed by `npm ci` there, as `tests/run` does.
    fn fixture(path: &str) -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(path);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; run `npm ci` there", path.display()));
        serde_json::from_str(&text).expect("JSON")
    }

    /// The actions that a schema of GitHub's description allows.
    fn actions(schema: &Value, document: &Value) -> Vec<String> {
        if let Some(place) = schema["$ref"].as_str() {
            return actions(&document.pointer(place.trim_start_matches('#')).expect("a schema")["properties"], document);
        }
        let schema = if schema["properties"].is_object() { &schema["properties"] } else { schema };
        schema["action"]["enum"].as_array().into_iter().flatten().filter_map(|action| Some(action.as_str()?.to_owned())).collect()
    }

    #[test]
    fn whatever_github_and_stripe_say_they_send_is_known() {
        let github = event_types("github").expect("a whole list");
        let mut seen = 0;
        for server in ["api.github.com", "ghec"] {
            let document = fixture(&format!("github-api/node_modules/@octokit/openapi/generated/{server}.json"));
            for hook in document["x-webhooks"].as_object().expect("webhooks").values() {
                let family = hook["post"]["x-github"]["subcategory"].as_str().expect("a name").replace('-', "_");
                let body = &hook["post"]["requestBody"]["content"]["application/json"]["schema"];
                assert!(asks_for_some(&family, github), "{family}");
                for action in actions(body, &document) {
                    let kind = format!("{family}.{action}");
                    assert!(asks_for_some(&kind, github), "{kind}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 200, "{seen} actions were read of GitHub's description");
        let stripe = event_types("stripe").expect("a whole list");
        let named = fixture("stripe/webhook-endpoints.json");
        let mut texts = vec![&named];
        let mut seen = 0;
        while let Some(value) = texts.pop() {
            match value {
                Value::Array(items) => texts.extend(items),
                Value::Object(fields) => texts.extend(fields.values()),
                Value::String(text) if text.contains('.') && text.chars().all(|c| c.is_ascii_lowercase() || "._".contains(c)) => {
                    assert!(asks_for_some(text, stripe), "{text}");
                    seen += 1;
                }
                _ => {}
            }
        }
        assert!(seen > 200, "{seen} types were read of Stripe's typings");
    }
}
