//! `/promotions`, and what people do with them under `/webhooks/{webhook}/environments/{environment}/…`.

use axum::Json;
use axum::extract::State;
use hookwright_control::Approved;
use hookwright_core::status::PromotionStatus;
use hookwright_core::{
    Action, DeploymentId, EnvironmentName, GateVerdict, Origin, Promotion, PromotionId, ReleaseId, RunId, Timestamp, VerdictKind,
    WebhookName,
};
use hookwright_store::PromotionFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::error::{Body, Path, Problem, Query, Result};
use crate::page::{Filling, Limit, Page};
use crate::{WebState, words};

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new()
        .routes(routes!(promotion_list))
        .routes(routes!(promote))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(override_gates))
        .routes(routes!(rollback))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PromotionQuery {
    /// Only of this webhook.
    #[param(value_type = Option<String>)]
    webhook: Option<WebhookName>,
    /// Only into this environment.
    #[param(value_type = Option<String>)]
    environment: Option<EnvironmentName>,
    /// Only those that have not ended.
    #[serde(default)]
    #[param(default = false, required = false)]
    open: bool,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<PromotionId>,
    /// At most so many.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<Limit>,
}

/// Who or what opened a promotion.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = Origin)]
enum OriginView {
    /// The deploy stage of a run.
    Run {
        #[schema(value_type = String)]
        run: RunId,
    },
    /// The release succeeded in the environment before.
    Automation,
    /// Somebody asked for it.
    Person { actor: String },
    /// Somebody went back to an older release.
    Rollback { actor: String },
    /// A secret or a setting changed: the same release again.
    Reconfigure { actor: String },
}

impl From<Origin> for OriginView {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Run { run } => Self::Run { run },
            Origin::Automation => Self::Automation,
            Origin::Person { actor } => Self::Person { actor },
            Origin::Rollback { actor } => Self::Rollback { actor },
            Origin::Reconfigure { actor } => Self::Reconfigure { actor },
        }
    }
}

/// What one gate said last.
#[derive(Serialize, ToSchema)]
#[schema(as = GateVerdict)]
struct GateView {
    /// Which: `approvals`, `config`, `hold`, `checks.smoke`.
    gate: String,
    verdict: VerdictView,
}

/// A gate's answer.
#[derive(Serialize, ToSchema)]
#[schema(as = Verdict)]
struct VerdictView {
    #[schema(value_type = words::VerdictWord)]
    kind: VerdictKind,
    /// Why, as a sentence.
    reason: String,
    /// What moves it: a command, a person, a time.
    unblock: String,
    /// When it is asked again at the latest.
    #[schema(value_type = Option<i64>)]
    next_look: Option<Timestamp>,
}

impl From<GateVerdict> for GateView {
    fn from(GateVerdict { gate, verdict }: GateVerdict) -> Self {
        let hookwright_core::Verdict { kind, reason, unblock, next_look } = verdict;
        Self { gate, verdict: VerdictView { kind, reason, unblock, next_look } }
    }
}

/// A release on its way into an environment.
#[derive(Serialize, ToSchema)]
#[schema(as = Promotion)]
pub(crate) struct PromotionView {
    #[schema(value_type = String)]
    id: PromotionId,
    #[schema(value_type = String)]
    webhook: WebhookName,
    #[schema(value_type = String)]
    environment: EnvironmentName,
    #[schema(value_type = String)]
    release: ReleaseId,
    origin: OriginView,
    #[schema(value_type = words::PromotionState)]
    status: PromotionStatus,
    /// Why, as a sentence.
    status_reason: Option<String>,
    verdicts: Vec<GateView>,
    #[schema(value_type = Option<String>)]
    deployment: Option<DeploymentId>,
    /// In milliseconds since 1970.
    #[schema(value_type = i64)]
    created_at: Timestamp,
    #[schema(value_type = Option<i64>)]
    ended_at: Option<Timestamp>,
    /// What is to be said of what was just done, as a sentence: that somebody had approved it before, and how many others have to.
    note: Option<String>,
}

impl From<Promotion> for PromotionView {
    fn from(promotion: Promotion) -> Self {
        let Promotion { id, webhook, environment, release, origin, status, status_reason, verdicts, deployment, created_at, ended_at } =
            promotion;
        let (origin, verdicts) = (origin.into(), verdicts.into_iter().map(GateView::from).collect());
        Self { id, webhook, environment, release, origin, status, status_reason, verdicts, deployment, created_at, ended_at, note: None }
    }
}

/// Promotions, newest first, into environments that the caller reads.
#[utoipa::path(get, path = "/promotions", tag = "promotions", params(PromotionQuery), security(("bearer" = ["viewer"])),
    responses((status = 200, description = "A page of promotions.", body = Page<PromotionView>)))]
async fn promotion_list(
    State(state): State<WebState>,
    caller: Caller,
    Query(query): Query<PromotionQuery>,
) -> Result<Json<Page<PromotionView>>> {
    caller.must_in(Action::Read, query.webhook.as_ref(), query.environment.as_ref())?;
    let PromotionQuery { webhook, environment, open, cursor, limit } = query;
    let mut filter = PromotionFilter { webhook, environment, open, ..PromotionFilter::default() };
    let sees = |promotion: &Promotion| caller.sees_in(&promotion.webhook, &promotion.environment);
    let mut page = Filling::new(cursor, limit, true);
    while let Some((before, limit)) = page.more() {
        (filter.before, filter.limit) = (before, limit);
        page.add(state.store.promotion_list(&filter).await?, |promotion| promotion.id, sees);
    }
    Ok(Json(page.page(PromotionView::from)))
}

/// Which release, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Decision)]
struct Choice {
    /// The release; left out: the one that waits, or for a rollback the one before.
    #[schema(value_type = Option<String>)]
    release: Option<ReleaseId>,
    /// Why; kept in the history.
    reason: Option<String>,
}

type Place = Path<(WebhookName, EnvironmentName)>;

/// The longest reason, in bytes.
const REASON: usize = 4096;

fn check(choice: Choice) -> Result<Choice> {
    check_reason(choice.reason.as_deref())?;
    Ok(choice)
}

/// Refuses a reason that cannot be kept.
pub(crate) fn check_reason(reason: Option<&str>) -> Result<()> {
    if reason.is_some_and(|reason| reason.len() > REASON || reason.contains('\0')) {
        return Err(Problem::invalid(format!("a reason has at most {REASON} bytes, none of them zero")));
    }
    Ok(())
}

async fn answer(state: &WebState, id: PromotionId) -> Result<Json<PromotionView>> {
    let missing = || Problem::not_found(format!("the promotion {id} is gone"));
    Ok(Json(state.store.promotion_fetch(id).await?.ok_or_else(missing)?.into()))
}

/// Promotes a release into an environment; lifts a hold. It is no approval.
#[utoipa::path(post, path = "/webhooks/{webhook}/environments/{environment}/promote", tag = "promotions", request_body = Choice,
    security(("bearer" = ["developer"])), responses(
        (status = 200, description = "The promotion.", body = PromotionView),
        (status = 409, description = "It has not succeeded in an environment before, or is being deployed."),
    ))]
async fn promote(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Place,
    Body(choice): Body<Choice>,
) -> Result<Json<PromotionView>> {
    let choice = check(choice)?;
    answer(&state, state.control.promote(&caller.actor, &webhook, &environment, choice.release.as_ref()).await?).await
}

/// Says yes to what waits. A person counts once; whoever says it again is told so.
#[utoipa::path(post, path = "/webhooks/{webhook}/environments/{environment}/approve", tag = "promotions", request_body = Choice,
    security(("bearer" = ["approver"])), responses(
        (status = 200, description = "The promotion.", body = PromotionView),
        (status = 409, description = "More than one release waits; name one."),
    ))]
async fn approve(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Place,
    Body(choice): Body<Choice>,
) -> Result<Json<PromotionView>> {
    let Choice { release, reason } = check(choice)?;
    let Approved { promotion, left } = state.control.approve(&caller.actor, &webhook, &environment, release.as_ref(), reason).await?;
    let Json(view) = answer(&state, promotion).await?;
    Ok(Json(PromotionView { note: left.map(approved_already), ..view }))
}

/// What somebody is told who had approved it before.
pub(crate) fn approved_already(left: usize) -> String {
    match left {
        0 => "you have approved already; nobody else has to".to_owned(),
        1 => "you have approved already; one more person is needed".to_owned(),
        many => format!("you have approved already; {many} more people are needed"),
    }
}

/// Says no to what waits: the promotion ends.
#[utoipa::path(post, path = "/webhooks/{webhook}/environments/{environment}/reject", tag = "promotions", request_body = Choice,
    security(("bearer" = ["approver"])), responses(
        (status = 200, description = "The promotion.", body = PromotionView),
        (status = 409, description = "More than one release waits, or it does not wait any more."),
    ))]
async fn reject(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Place,
    Body(choice): Body<Choice>,
) -> Result<Json<PromotionView>> {
    let Choice { release, reason } = check(choice)?;
    answer(&state, state.control.reject(&caller.actor, &webhook, &environment, release.as_ref(), reason).await?).await
}

/// Takes the responsibility for gates that cannot be evaluated. It needs a reason.
#[utoipa::path(post, path = "/webhooks/{webhook}/environments/{environment}/override", tag = "promotions", request_body = Choice,
    security(("bearer" = ["admin"])), responses(
        (status = 200, description = "The promotion.", body = PromotionView),
        (status = 409, description = "More than one release waits; name one."),
    ))]
async fn override_gates(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Place,
    Body(choice): Body<Choice>,
) -> Result<Json<PromotionView>> {
    let Choice { release, reason } = check(choice)?;
    let reason = reason.unwrap_or_default();
    answer(&state, state.control.override_gates(&caller.actor, &webhook, &environment, release.as_ref(), reason).await?).await
}

/// Goes back to an older release, and holds the environment.
#[utoipa::path(post, path = "/webhooks/{webhook}/environments/{environment}/rollback", tag = "promotions", request_body = Choice,
    security(("bearer" = ["developer"])), responses(
        (status = 200, description = "The promotion.", body = PromotionView),
        (status = 409, description = "The release is being deployed right now."),
    ))]
async fn rollback(
    State(state): State<WebState>,
    caller: Caller,
    Path((webhook, environment)): Place,
    Body(choice): Body<Choice>,
) -> Result<Json<PromotionView>> {
    let choice = check(choice)?;
    answer(&state, state.control.rollback(&caller.actor, &webhook, &environment, choice.release.as_ref()).await?).await
}
