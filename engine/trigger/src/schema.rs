//! JSON Schemas: what the payload of each type of a source is like, kept as data in `sources/schemas/`, and what a definition is like.
//! A schema names what the source says is always there and what people ask for most; more may be there too.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::Definition;

/// By source, then by type; the schema of `issues` is that of `issues.opened` too, unless that has one of its own.
pub(crate) const EMBEDDED: &[(&str, &str)] = &[
    ("bitbucket", include_str!("../sources/schemas/bitbucket.yaml")),
    ("cloudevents", include_str!("../sources/schemas/cloudevents.yaml")),
    ("generic", include_str!("../sources/schemas/generic.yaml")),
    ("gitea", include_str!("../sources/schemas/gitea.yaml")),
    ("github", include_str!("../sources/schemas/github.yaml")),
    ("gitlab", include_str!("../sources/schemas/gitlab.yaml")),
    ("google-calendar", include_str!("../sources/schemas/google-calendar.yaml")),
    ("schedule", include_str!("../sources/schemas/schedule.yaml")),
    ("shopify", include_str!("../sources/schemas/shopify.yaml")),
    ("slack", include_str!("../sources/schemas/slack.yaml")),
    ("standard-webhooks", include_str!("../sources/schemas/standard-webhooks.yaml")),
    ("stripe", include_str!("../sources/schemas/stripe.yaml")),
];

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

type Schemas = BTreeMap<String, Value>;

/// # Panics
/// Never: a test reads every one of them.
static SCHEMAS: LazyLock<BTreeMap<&str, Schemas>> = LazyLock::new(|| {
    let read = |(name, text): &(&'static str, &str)| (*name, serde_saphyr::from_str(text).expect("a test reads every embedded schema"));
    EMBEDDED.iter().map(read).collect()
});

impl Definition {
    /// The JSON Schema of the payload of a type; `None` for types that are not known, and for those without a payload.
    pub fn event_schema(&self, kind: &str) -> Option<Value> {
        let known = SCHEMAS.get(self.name.as_str())?;
        let family = kind.split('.').next().unwrap_or(kind);
        let mut schema = known.get(kind).or_else(|| known.get(family))?.clone();
        let fields = schema.as_object_mut()?;
        fields.insert("$schema".to_owned(), DIALECT.into());
        fields.insert("title".to_owned(), format!("{} {kind}", self.title).into());
        Some(schema)
    }
}

/// The JSON Schema of a definition, as it stands in `schemas/event-source.json`. A repository's own has no `registration`, `other_servers`,
/// `channels`, `topics`, `manifest`, `receives` and `by_options`.
pub fn definition_schema() -> Value {
    let mut schema = schemars::schema_for!(Definition).to_value();
    schema["title"] = "event source".into();
    schema
}
