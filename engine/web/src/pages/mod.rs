//! The status page: what people see in a browser. One file and one template a page; what is read and done goes through the same store, engine and
//! rights as the API. Pages work without any script; the script refreshes what is marked as live.

pub(crate) mod address;
pub(crate) mod board;
pub(crate) mod compare;
pub(crate) mod deployment;
pub(crate) mod environment;
pub(crate) mod event;
pub(crate) mod event_list;
pub(crate) mod failure;
pub(crate) mod first_push;
pub(crate) mod hold;
mod layout;
pub(crate) mod lines;
mod live;
pub(crate) mod log_card;
mod openid;
pub(crate) mod promotion;
mod release;
pub(crate) mod release_list;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod run_list;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod spec;
pub(crate) mod stage;
pub(crate) mod status;
mod stray;
pub(crate) mod tail;
pub(crate) mod test_list;
mod theme;
pub(crate) mod trigger_list;
pub(crate) mod webhook;

use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, header};

pub(crate) use layout::{Layout, said};

use crate::compress::compress;
use crate::urls::pattern;
use crate::{WebState, asset};

/// What a page may load and do: only what this daemon serves, no inline script or style, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
    worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What a handler of a page answers.
type Answer = crate::error::Result<Response>;

/// Every page.
pub(crate) fn routes() -> Router<WebState> {
    Router::new()
        .route(pattern::BOARD, get(board::show))
        .route(pattern::SIGN_IN, get(sign_in::show).post(sign_in::begin))
        .route(pattern::OPENID, get(openid::begin))
        .route(pattern::OPENID_BACK, get(openid::back))
        .route(pattern::OPENID_SIGN_OUT, get(openid::sign_out))
        .route(pattern::SIGN_OUT, post(sign_in::end))
        .route(pattern::SIGN_OUT_EVERYWHERE, post(sign_in::end_everywhere))
        .route(pattern::THEME, post(theme::choose))
        .route(pattern::LIVE, get(live::stream))
        .route(pattern::FIRST_PUSH, get(first_push::show).post(first_push::token))
        .route(pattern::RUNS, get(run_list::show))
        .route(pattern::RUN, get(run::show))
        .route(pattern::RUN_RETRY, post(run::retry))
        .route(pattern::RUN_CANCEL, post(run::cancel))
        .route(pattern::RUN_TESTS, get(test_list::show))
        .route(pattern::STAGE, get(stage::show))
        .route(pattern::STAGE_LINES, get(stage::lines))
        .route(pattern::STAGE_FOLLOW, get(stage::follow))
        .route(pattern::STAGE_TEXT, get(stage::download))
        .route(pattern::WEBHOOK, get(webhook::show))
        .route(pattern::STATUS, get(status::show))
        .route(pattern::STATUS_BADGE, get(status::badge))
        .route(pattern::PUBLISH, post(status::publish))
        .route(pattern::WEBHOOK_RUN, post(webhook::run))
        .route(pattern::SPEC, get(spec::show))
        .route(pattern::RELEASES, get(release_list::show))
        .route(pattern::COMPARE, get(compare::show))
        .route(pattern::TRIGGERS, get(trigger_list::show))
        .route(pattern::TRIGGER_SEND, post(trigger_list::send))
        .route(pattern::EVENTS, get(event_list::show))
        .route(pattern::EVENTS_REPLAY, post(event_list::replay))
        .route(pattern::EVENT, get(event::show))
        .route(pattern::EVENT_BODY, get(event::download))
        .route(pattern::EVENT_REPLAY, post(event::replay))
        .route(pattern::DELIVERY_CANCEL, post(event::cancel))
        .route(pattern::ENVIRONMENT, get(environment::show))
        .route(pattern::UNDEPLOY, post(environment::undeploy))
        .route(pattern::PROMOTE, post(environment::promote))
        .route(pattern::ROLLBACK, get(rollback::show).post(rollback::go))
        .route(pattern::HOLD, post(hold::set))
        .route(pattern::HOLD_END, post(hold::end))
        .route(pattern::SECRETS, post(environment::secret_set))
        .route(pattern::SECRET_REMOVE, post(environment::secret_remove))
        .route(pattern::PROMOTION, get(promotion::show))
        .route(pattern::PROMOTION_DECIDE, post(promotion::decide))
        .route(pattern::DEPLOYMENT, get(deployment::show))
        .route(pattern::DEPLOYMENT_LINES, get(deployment::lines))
        .route(pattern::DEPLOYMENT_FOLLOW, get(deployment::follow))
        .route(pattern::DEPLOYMENT_TEXT, get(deployment::download))
        .merge(settings::routes())
        .layer(axum::middleware::from_fn(protect))
        .route(pattern::ASSET, get(asset::serve))
        .layer(axum::middleware::from_fn(compress))
}

/// Gives an answer the headers that hold for every page.
async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    secure(&mut response);
    response
}

/// The headers that keep a page to itself.
pub(crate) fn secure(response: &mut Response) {
    let own = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in own {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
