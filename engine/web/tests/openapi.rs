//! The OpenAPI document: committed as it is generated, and what holds for every operation of it.

use serde_json::Value;

fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().expect("paths").iter().flat_map(|(path, item)| {
        let operations = item.as_object().expect("operations").iter();
        operations.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

#[test]
fn the_committed_document_is_the_one_of_the_handlers() {
    let shown = serde_json::to_string_pretty(&hookwright_web::openapi()).expect("a document is JSON") + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/openapi.json");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(path, &shown).expect("the document can be written");
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), shown, "run this test with UPDATE_SCHEMAS=1");
}

#[test]
fn every_operation_has_a_name_of_its_own_a_summary_and_its_refusals() {
    let document = hookwright_web::openapi();
    let mut names = std::collections::HashSet::new();
    for (name, operation) in operations(&document) {
        assert!(names.insert(operation["operationId"].as_str().expect("an id").to_owned()), "{name}: the id is taken");
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{name} has no summary");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{name} has no tag");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
        assert!(responses.contains_key("500"), "{name} never fails");
        assert_eq!(operation["security"].is_array(), responses.contains_key("401"), "{name}");
        assert_eq!(operation["requestBody"].is_object(), responses.contains_key("422"), "{name}");
    }
}

#[test]
fn only_what_tells_nothing_of_anybody_is_open_to_all() {
    let document = hookwright_web::openapi();
    let open: Vec<String> = operations(&document).filter(|(_, operation)| operation["security"].is_null()).map(|(name, _)| name).collect();
    assert_eq!(open, ["GET /api/v1/openapi.json", "GET /healthz", "GET /readyz"]);
}

#[test]
fn every_schema_of_the_document_is_a_schema_and_every_reference_leads_somewhere() {
    let document = hookwright_web::openapi();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(jsonschema::draft202012::meta::is_valid(schema), "{name}");
    }
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        if let Some(reference) = value["$ref"].as_str() {
            let pointer = reference.strip_prefix('#').expect("a reference into the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        open.extend(value.as_object().into_iter().flat_map(|object| object.values()));
        open.extend(value.as_array().into_iter().flatten());
    }
}
