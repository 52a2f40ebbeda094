//! Secrets of every place: which are set and which are missing, and a form to set one, also before anything was pushed. Values are written and never read.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::{Action, ConfigName, EnvironmentName, SecretValue, WebhookName};
use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::pages::webhook::spec_of;
use crate::pages::{Answer, Layout, said};
use crate::secret::check_value;
use crate::show::{Badge, Moment, visible};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls};

/// So many that are set, and so many webhooks, are looked at; a place's own page shows all of its own.
const ROWS: u32 = 1_000;

/// Secrets.
#[derive(Serialize)]
pub(crate) struct SecretsPage {
    layout: Layout,
    places: Vec<Place>,
    may_set: bool,
    set: &'static str,
}

#[derive(Serialize)]
struct Place {
    title: String,
    /// The page where they are set and removed; build secrets have none.
    url: Option<String>,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    description: Option<String>,
    badge: Badge,
    set_at: Option<Moment>,
}

impl View for SecretsPage {
    const TEMPLATE: &'static str = "pages/settings/secrets.html";

    #[cfg(test)]
    fn sample() -> Self {
        let row = |set_at| Row {
            name: "TOKEN".into(),
            description: Some("<b>hostile".into()),
            badge: Badge::new("bad", "alert", "missing"),
            set_at,
        };
        let place = |url| Place { title: "shop in build".into(), url, rows: vec![row(None), row(Some(Moment::sample()))] };
        Self { layout: Layout::sample(), places: vec![place(None), place(Some("/x".into()))], may_set: true, set: "/y" }
    }
}

/// Shows those of the places that the visitor reads.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor) -> Answer {
    visitor.caller.must(Action::Read)?;
    let now = state.clock.now();
    let mut places: BTreeMap<(WebhookName, EnvironmentName), BTreeMap<String, Row>> = BTreeMap::new();
    for webhook in state.store.webhook_list(None, ROWS).await? {
        let Some(spec) = spec_of(&state, &webhook.name).await? else { continue };
        for (name, entry) in spec.config.iter().filter(|(_, entry)| entry.secret) {
            for place in &spec.environments {
                let badge = if entry.required { Badge::new("bad", "alert", "missing") } else { Badge::new("off", "none", "not set") };
                let row = Row { name: name.to_string(), description: entry.description.as_deref().map(visible), badge, set_at: None };
                places.entry((webhook.name.clone(), place.name.clone())).or_default().insert(name.to_string(), row);
            }
        }
    }
    for set in state.store.secret_list_all(ROWS).await? {
        let rows = places.entry((set.webhook, set.environment)).or_default();
        let description = rows.remove(set.name.as_str()).and_then(|row| row.description);
        let badge = Badge::new("good", "check", "set");
        let row = Row { name: set.name.to_string(), description, badge, set_at: Some(Moment::new(set.updated_at, now)) };
        rows.insert(row.name.clone(), row);
    }
    places.retain(|(webhook, environment), _| visitor.caller.sees_in(webhook, environment));
    let places = places.into_iter().map(|((webhook, environment), rows)| Place {
        title: format!("{webhook} in {environment}"),
        url: (environment.as_str() != EnvironmentName::BUILD).then(|| urls::environment(&webhook, &environment)),
        rows: rows.into_values().collect(),
    });
    let page = SecretsPage {
        layout: Layout::new(&visitor, "settings", "Secrets"),
        places: places.collect(),
        may_set: visitor.caller.actor.grants.iter().any(|grant| grant.role >= Action::Develop.least_role()),
        set: urls::ALL_SECRETS,
    };
    Ok(template::page(&page))
}

/// A secret to set somewhere.
#[derive(Deserialize)]
pub(super) struct NewSecret {
    webhook: String,
    environment: String,
    name: String,
    value: String,
}

/// Sets a secret; what is live there is deployed again with it.
pub(super) async fn set(State(state): State<WebState>, Deed { visitor, form }: Deed<NewSecret>) -> Answer {
    let webhook = WebhookName::new(form.webhook.trim()).map_err(Problem::invalid)?;
    let environment = EnvironmentName::new(form.environment.trim()).map_err(Problem::invalid)?;
    let name = ConfigName::new(form.name.trim()).map_err(Problem::invalid)?;
    visitor.caller.must_in(Action::Develop, Some(&webhook), Some(&environment))?;
    check_value(&form.value)?;
    state.control.secret_set(&visitor.caller.actor, (&webhook, &environment), &name, (&SecretValue::new(form.value), None)).await?;
    Ok(Redirect::to(&said(urls::ALL_SECRETS, "secret-set")).into_response())
}
