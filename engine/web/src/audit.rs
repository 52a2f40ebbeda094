//! `/audit`: who did what, for admins.

use axum::Json;
use axum::extract::State;
use hookwright_core::{Action, AuditId, EnvironmentName, Timestamp, WebhookName};
use hookwright_store::{AuditEntry, AuditFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Problem, Query, Result};
use crate::page::{Filling, Limit, Page};

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(audit_list))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Only what this user did.
    #[serde(default)]
    #[param(required = false)]
    user: String,
    /// Only this deed, `secret.set`, or all that begin so: `secret`.
    #[serde(default)]
    #[param(required = false)]
    action: String,
    /// Only about this webhook.
    #[serde(default)]
    #[param(required = false)]
    webhook: String,
    /// Only done at this time or later, in milliseconds since 1970.
    #[param(value_type = Option<i64>)]
    since: Option<Timestamp>,
    /// Only done before this time, in milliseconds since 1970.
    #[param(value_type = Option<i64>)]
    until: Option<Timestamp>,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<AuditId>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// A line of the audit log.
#[derive(Serialize, ToSchema)]
struct AuditLine {
    #[schema(value_type = String)]
    id: AuditId,
    /// When, in milliseconds since 1970.
    #[schema(value_type = i64)]
    at: Timestamp,
    /// Who.
    user: String,
    /// What: `promotion.approved`.
    action: String,
    #[schema(value_type = Option<String>)]
    webhook: Option<WebhookName>,
    #[schema(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// The rest, as a sentence.
    detail: String,
}

impl From<AuditEntry> for AuditLine {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { id, at, user, action, webhook, environment, detail } = entry;
        Self { id, at, user, action, webhook, environment, detail }
    }
}

/// Who did what, newest first, as far as the filter lets it through.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditQuery), security(("bearer" = ["admin"])),
    responses((status = 200, description = "A page of the audit log.", body = Page<AuditLine>)))]
async fn audit_list(State(state): State<WebState>, caller: Caller, Query(query): Query<AuditQuery>) -> Result<Json<Page<AuditLine>>> {
    caller.must(Action::Administer)?;
    if let Some(cursor) = query.cursor
        && state.store.audit_fetch(cursor).await?.is_none()
    {
        return Err(Problem::bad_request(format!("the cursor `{cursor}` names no line of the audit log; begin again without one")));
    }
    let AuditQuery { user, action, webhook, since, until, cursor, limit } = query;
    let mut filter = AuditFilter { user, action, webhook, since, until, ..AuditFilter::default() };
    let mut page = Filling::new(cursor, limit, true);
    while let Some((before, limit)) = page.more() {
        (filter.before, filter.limit) = (before, limit);
        page.add(state.store.audit_find(&filter).await?, |entry| entry.id, |_| true);
    }
    Ok(Json(page.page(AuditLine::from)))
}
