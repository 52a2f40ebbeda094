//! What a provider says of a person: the name and the groups. Providers differ in where they say it.

use serde_json::{Map, Value};

/// The most groups that are looked at, and the longest name of one, in characters.
const GROUPS: usize = 1_000;
const GROUP: usize = 256;

/// A claim by its whole name, or else by its path: `realm_access.roles`.
pub(crate) fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

/// The person's name: the claim that the settings name, or else `preferred_username`, or else `email`. An email is believed only when the provider has
/// verified it: some let people write whatever they like.
pub(crate) fn name(claims: &Map<String, Value>, chosen: Option<&str>) -> Option<String> {
    let text = |name: &str| find(claims, name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let email = || text("email").filter(|_| is_true(claims.get("email_verified")));
    match chosen {
        Some("email") => email(),
        Some(name) => text(name),
        None => text("preferred_username").or_else(email),
    }
}

fn is_true(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Bool(true))) || value.and_then(Value::as_str) == Some("true")
}

/// The person's groups; `None` when the claim is not there. A list of names, one name, or an object whose keys are the names.
pub(crate) fn groups(claims: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let names: Vec<&str> = match find(claims, name)? {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one],
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        _ => return None,
    };
    Some(names.into_iter().filter(|name| !name.is_empty() && name.chars().count() <= GROUP).take(GROUPS).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn an_email_is_a_name_only_when_the_provider_verified_it() {
        assert_eq!(name(&claims(json!({ "email": "rosa@acme.example" })), None), None);
        assert_eq!(name(&claims(json!({ "email": "rosa@acme.example", "email_verified": false })), Some("email")), None);
        let verified = claims(json!({ "email": "rosa@acme.example", "email_verified": true }));
        assert_eq!(name(&verified, None).as_deref(), Some("rosa@acme.example"));
        let both = claims(json!({ "preferred_username": "rosa", "email": "x", "email_verified": true, "nick": " r " }));
        assert_eq!((name(&both, None).as_deref(), name(&both, Some("nick")).as_deref()), (Some("rosa"), Some("r")));
        assert_eq!(name(&both, Some("upn")), None, "another claim than the chosen one is not taken instead");
    }

    #[test]
    fn groups_are_found_in_the_shapes_that_providers_use() {
        let said = claims(
            json!({ "groups": ["a", 7, ""], "role": "b", "realm_access": { "roles": ["c"] }, "urn:x.y:roles": { "d": {} }, "n": 3 }),
        );
        let groups = |name: &str| groups(&said, name);
        assert_eq!(groups("groups"), Some(vec!["a".to_owned()]));
        assert_eq!(groups("role"), Some(vec!["b".to_owned()]));
        assert_eq!(groups("realm_access.roles"), Some(vec!["c".to_owned()]));
        assert_eq!(groups("urn:x.y:roles"), Some(vec!["d".to_owned()]));
        assert_eq!((groups("n"), groups("none")), (None, None));
    }
}
