//! Every definition has its fixtures, or it is refused here: an example and a schema of each event, a vector that verifies (`vectors/`), and some of it
//! that must not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hookwright_core::{SecretValue, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Deserialize;
use serde_json::Value;

use crate::schema::EMBEDDED;
use crate::{Binding, Definition, Definitions, Incoming, NewBinding, Received, definition_schema};

/// A request that its source signed, and changes of it that no longer fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    /// Who says so.
    origin: Origin,
    secret: String,
    #[serde(default)]
    options: Option<String>,
    /// When it arrives, in seconds since 1970.
    at: i64,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// The body is in this file beside it.
    #[serde(default)]
    file: Option<String>,
    /// What it is, once it is verified.
    kind: String,
    refused: Vec<Change>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    Published,
    Computed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    why: String,
    #[serde(default)]
    at: Option<i64>,
    #[serde(default)]
    secret: Option<String>,
    /// `null` takes a header away.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    body: Option<String>,
}

fn vectors(source: &str) -> Vec<Vector> {
    let path = folder("vectors").join(format!("{source}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{source}` has no vectors: {}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

impl Vector {
    /// What comes of it: the type, or the status that it is refused with.
    fn receive(&self, definition: &Arc<Definition>, change: Option<&Change>) -> Result<String, u16> {
        let secret = change.and_then(|change| change.secret.as_ref()).unwrap_or(&self.secret);
        let options = self.options.as_deref().unwrap_or("{}");
        let secrets = vec![SecretValue::new(secret.as_str())];
        let binding = Binding::new(NewBinding { definition: definition.clone(), options, verified: true, secrets }).expect("a binding");
        let mut texts: BTreeMap<&str, &str> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        for (name, value) in change.iter().flat_map(|change| &change.headers) {
            match value {
                Some(value) => texts.insert(name, value),
                None => texts.remove(name.as_str()),
            };
        }
        let header =
            |(name, value): (&&str, &&str)| (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"));
        let headers: HeaderMap = texts.iter().map(header).collect();
        let whole = match &self.file {
            Some(file) => std::fs::read(folder("vectors").join(file)).expect("a body"),
            None => self.body.clone().into_bytes(),
        };
        let body = Bytes::from(change.and_then(|change| change.body.clone()).map_or(whole, String::into_bytes));
        let at = change.and_then(|change| change.at).unwrap_or(self.at);
        let (method, uri, now) = (Method::POST, Uri::from_static("/hooks/x"), Timestamp::from_millis(at * 1000));
        match binding.receive(&Incoming { method: &method, uri: &uri, headers: &headers, body: &body, now, channel: None }) {
            Ok(Received::Events(events)) => Ok(events[0].kind.clone()),
            Ok(Received::Answer(answer)) => Err(answer.status),
            Err(refusal) => Err(refusal.status),
        }
    }
}

fn receiving() -> Vec<Arc<Definition>> {
    let definitions = Definitions::embedded();
    definitions.names().filter_map(|name| definitions.find(name)).filter(|definition| definition.receives).collect()
}

#[test]
fn every_source_verifies_its_vectors_and_refuses_each_change_of_them() {
    for definition in receiving() {
        let vectors = vectors(&definition.name);
        assert!(!vectors.is_empty() && vectors.iter().map(|vector| vector.refused.len()).sum::<usize>() >= 2, "{}", definition.name);
        for vector in &vectors {
            assert_eq!(vector.receive(&definition, None).as_ref(), Ok(&vector.kind), "{} {:?}", definition.name, vector.origin);
            for change in &vector.refused {
                assert_eq!(vector.receive(&definition, Some(change)), Err(401), "{}: {}", definition.name, change.why);
            }
        }
    }
}

#[test]
fn the_payload_of_stripes_vector_is_the_published_one() {
    use sha2::Digest as _;
    let body = std::fs::read(folder("vectors").join("stripe-event.json")).expect("a body");
    let digest = hex::encode(sha2::Sha256::digest(&body));
    assert_eq!((body.len(), digest.as_str()), (807, "00589da53d8c43f7cabd6f30ecd2db5f0e746c5b99507b4776e4493bf21c27cf"));
}

#[test]
fn every_example_is_what_the_schema_of_its_event_says_and_without_a_field_that_is_always_there_it_is_not() {
    let definitions = Definitions::embedded();
    for definition in definitions.names().filter_map(|name| definitions.find(name)) {
        for (kind, text) in definition.events.iter().filter(|(_, text)| !text.is_empty()) {
            let schema = definition.event_schema(kind).unwrap_or_else(|| panic!("{}: `{kind}` has no schema", definition.name));
            assert!(jsonschema::draft202012::meta::is_valid(&schema), "{} {kind}", definition.name);
            let validator = jsonschema::validator_for(&schema).expect("a schema");
            let example: Value = serde_json::from_str(text).expect("JSON");
            if let Err(error) = validator.validate(&example) {
                panic!("{} {kind}: {error} at {}", definition.name, error.instance_path());
            }
            let required = schema["required"].as_array().expect("each names something that is always there");
            for field in required.iter().filter_map(Value::as_str) {
                let mut without = example.clone();
                without.as_object_mut().expect("an object").remove(field);
                assert!(!validator.is_valid(&without), "{} {kind} without {field}", definition.name);
            }
        }
    }
}

#[test]
fn no_schema_is_of_an_event_that_has_no_example() {
    let definitions = Definitions::embedded();
    assert_eq!(EMBEDDED.iter().map(|(name, _)| *name).collect::<Vec<_>>(), definitions.names().collect::<Vec<_>>());
    for (name, text) in EMBEDDED {
        let definition = definitions.find(name).expect("a definition");
        let schemas: BTreeMap<String, Value> = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for kind in schemas.keys() {
            let is_known = definition.kinds().any(|known| known == kind || known.split('.').next() == Some(kind.as_str()));
            assert!(is_known, "{name}: `{kind}` has a schema and no example");
        }
    }
}

#[test]
fn the_committed_schema_of_definitions_is_that_of_the_code_and_every_definition_is_what_it_says() {
    let schema = definition_schema();
    let shown = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
    let path = folder("../../schemas/event-source.json");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &shown).expect("the schema can be written");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), shown, "run this test with UPDATE_SCHEMAS=1");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    for name in Definitions::embedded().names() {
        let text = std::fs::read_to_string(folder("sources").join(format!("{name}.yaml"))).expect("a definition");
        let definition: Value = serde_saphyr::from_str(&text).expect("YAML");
        if let Err(error) = validator.validate(&definition) {
            panic!("{name}: {error} at {}", error.instance_path());
        }
        let mut mistyped = definition.clone();
        mistyped["verfy"] = Value::Bool(true);
        assert!(!validator.is_valid(&mistyped), "{name}");
    }
}
