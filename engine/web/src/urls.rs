//! Every address that a page links to, in one place; routes take theirs from here as patterns.

use std::fmt::Display;

use hookwright_core::{
    DeliveryId, DeploymentId, EnvironmentName, EventId, PromotionId, ReleaseId, RunId, StageName, TriggerPlace, WebhookName,
};

/// The patterns of the routes, named as the functions below that fill them.
pub(crate) mod pattern {
    pub(crate) const BOARD: &str = "/";
    pub(crate) const SIGN_IN: &str = "/sign-in";
    pub(crate) const OPENID: &str = "/sign-in/openid";
    pub(crate) const OPENID_BACK: &str = "/sign-in/openid/back";
    pub(crate) const OPENID_SIGN_OUT: &str = "/sign-in/openid/sign-out";
    pub(crate) const SIGN_OUT: &str = "/sign-out";
    pub(crate) const SIGN_OUT_EVERYWHERE: &str = "/sign-out-everywhere";
    pub(crate) const THEME: &str = "/theme";
    pub(crate) const LIVE: &str = "/live";
    pub(crate) const ASSET: &str = "/ui/{version}/{file}";
    pub(crate) const FIRST_PUSH: &str = "/first-push";
    pub(crate) const RUNS: &str = "/runs";
    pub(crate) const RUN: &str = "/runs/{run}";
    pub(crate) const RUN_RETRY: &str = "/runs/{run}/retry";
    pub(crate) const RUN_CANCEL: &str = "/runs/{run}/cancel";
    pub(crate) const RUN_TESTS: &str = "/runs/{run}/tests";
    pub(crate) const STAGE: &str = "/runs/{run}/stages/{stage}";
    pub(crate) const STAGE_LINES: &str = "/runs/{run}/stages/{stage}/lines";
    pub(crate) const STAGE_FOLLOW: &str = "/runs/{run}/stages/{stage}/follow";
    pub(crate) const STAGE_TEXT: &str = "/runs/{run}/stages/{stage}/log.txt";
    pub(crate) const WEBHOOK: &str = "/webhooks/{webhook}";
    pub(crate) const STATUS: &str = "/status";
    pub(crate) const STATUS_BADGE: &str = "/status/{webhook}/{file}";
    pub(crate) const PUBLISH: &str = "/webhooks/{webhook}/publish";
    pub(crate) const WEBHOOK_RUN: &str = "/webhooks/{webhook}/run";
    pub(crate) const SPEC: &str = "/webhooks/{webhook}/spec";
    pub(crate) const RELEASES: &str = "/webhooks/{webhook}/releases";
    pub(crate) const COMPARE: &str = "/webhooks/{webhook}/compare";
    pub(crate) const TRIGGERS: &str = "/webhooks/{webhook}/triggers";
    pub(crate) const TRIGGER_SEND: &str = "/webhooks/{webhook}/environments/{environment}/triggers/{trigger}/send";
    pub(crate) const EVENTS: &str = "/webhooks/{webhook}/events";
    pub(crate) const EVENTS_REPLAY: &str = "/webhooks/{webhook}/events/replay";
    pub(crate) const EVENT: &str = "/events/{event}";
    pub(crate) const EVENT_BODY: &str = "/events/{event}/body";
    pub(crate) const EVENT_REPLAY: &str = "/events/{event}/replay";
    pub(crate) const DELIVERY_CANCEL: &str = "/deliveries/{delivery}/cancel";
    pub(crate) const ENVIRONMENT: &str = "/webhooks/{webhook}/environments/{environment}";
    pub(crate) const UNDEPLOY: &str = "/webhooks/{webhook}/environments/{environment}/undeploy";
    pub(crate) const PROMOTE: &str = "/webhooks/{webhook}/environments/{environment}/promote";
    pub(crate) const ROLLBACK: &str = "/webhooks/{webhook}/environments/{environment}/rollback";
    pub(crate) const HOLD: &str = "/webhooks/{webhook}/environments/{environment}/hold";
    pub(crate) const HOLD_END: &str = "/webhooks/{webhook}/environments/{environment}/hold/end";
    pub(crate) const SECRETS: &str = "/webhooks/{webhook}/environments/{environment}/secrets";
    pub(crate) const SECRET_REMOVE: &str = "/webhooks/{webhook}/environments/{environment}/secrets/remove";
    pub(crate) const PROMOTION: &str = "/promotions/{promotion}";
    pub(crate) const PROMOTION_DECIDE: &str = "/promotions/{promotion}/decide";
    pub(crate) const DEPLOYMENT: &str = "/deployments/{deployment}";
    pub(crate) const DEPLOYMENT_LINES: &str = "/deployments/{deployment}/lines";
    pub(crate) const DEPLOYMENT_FOLLOW: &str = "/deployments/{deployment}/follow";
    pub(crate) const DEPLOYMENT_TEXT: &str = "/deployments/{deployment}/log.txt";
    pub(crate) const REPOSITORIES: &str = "/settings/repositories";
    pub(crate) const REPOSITORY_REMOVE: &str = "/settings/repositories/remove";
    pub(crate) const ALL_SECRETS: &str = "/settings/secrets";
    pub(crate) const ACCOUNT: &str = "/settings/account";
    pub(crate) const PEOPLE: &str = "/settings/people";
    pub(crate) const PEOPLE_PASSWORD: &str = "/settings/people/password";
    pub(crate) const PEOPLE_CHANGE: &str = "/settings/people/change";
    pub(crate) const PEOPLE_LINK: &str = "/settings/people/link";
    pub(crate) const PEOPLE_REMOVE: &str = "/settings/people/remove";
    pub(crate) const TOKENS: &str = "/settings/tokens";
    pub(crate) const TOKEN_CHANGE: &str = "/settings/tokens/change";
    pub(crate) const TOKEN_REVOKE: &str = "/settings/tokens/revoke";
    pub(crate) const AUDIT: &str = "/settings/audit";
    pub(crate) const AUDIT_EXPORT: &str = "/settings/audit.csv";
    pub(crate) const DAEMON: &str = "/settings/daemon";
}

pub(crate) use pattern::{
    ACCOUNT, ALL_SECRETS, AUDIT, AUDIT_EXPORT, BOARD, DAEMON, FIRST_PUSH, LIVE, OPENID, OPENID_BACK, OPENID_SIGN_OUT, PEOPLE,
    PEOPLE_CHANGE, PEOPLE_LINK, PEOPLE_PASSWORD, PEOPLE_REMOVE, REPOSITORIES, REPOSITORY_REMOVE, RUNS, SIGN_IN, SIGN_OUT,
    SIGN_OUT_EVERYWHERE, STATUS, THEME, TOKEN_CHANGE, TOKEN_REVOKE, TOKENS,
};

/// The badge of a webhook in an environment, for anybody.
pub(crate) fn status_badge(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/status/{webhook}/{environment}.svg")
}

pub(crate) fn publish(webhook: &WebhookName) -> String {
    format!("/webhooks/{webhook}/publish")
}

pub(crate) fn run(id: RunId) -> String {
    format!("/runs/{id}")
}

pub(crate) fn run_retry(id: RunId) -> String {
    format!("/runs/{id}/retry")
}

pub(crate) fn run_cancel(id: RunId) -> String {
    format!("/runs/{id}/cancel")
}

pub(crate) fn run_tests(id: RunId) -> String {
    format!("/runs/{id}/tests")
}

pub(crate) fn runs_of(webhook: &WebhookName) -> String {
    format!("/runs?webhook={webhook}")
}

pub(crate) fn stage(run: RunId, stage: &StageName) -> String {
    format!("/runs/{run}/stages/{stage}")
}

pub(crate) fn stage_lines(run: RunId, stage: &StageName, attempt: u32, from: impl Display) -> String {
    format!("/runs/{run}/stages/{stage}/lines?attempt={attempt}&from={from}")
}

pub(crate) fn stage_follow(run: RunId, stage: &StageName, attempt: u32) -> String {
    format!("/runs/{run}/stages/{stage}/follow?attempt={attempt}")
}

pub(crate) fn deployment_follow(id: DeploymentId) -> String {
    format!("/deployments/{id}/follow")
}

pub(crate) fn stage_text(run: RunId, stage: &StageName, attempt: u32) -> String {
    format!("/runs/{run}/stages/{stage}/log.txt?attempt={attempt}")
}

pub(crate) fn webhook(name: &WebhookName) -> String {
    format!("/webhooks/{name}")
}

pub(crate) fn webhook_run(name: &WebhookName) -> String {
    format!("/webhooks/{name}/run")
}

pub(crate) fn spec(name: &WebhookName) -> String {
    format!("/webhooks/{name}/spec")
}

/// The file as a run found it.
pub(crate) fn spec_of(name: &WebhookName, run: RunId) -> String {
    format!("/webhooks/{name}/spec?run={run}")
}

pub(crate) fn releases(name: &WebhookName) -> String {
    format!("/webhooks/{name}/releases")
}

pub(crate) fn compare(name: &WebhookName) -> String {
    format!("/webhooks/{name}/compare")
}

pub(crate) fn triggers(name: &WebhookName) -> String {
    format!("/webhooks/{name}/triggers")
}

pub(crate) fn trigger_send(place: &TriggerPlace) -> String {
    format!("/webhooks/{}/environments/{}/triggers/{}/send", place.webhook, place.environment, place.trigger)
}

pub(crate) fn events(name: &WebhookName) -> String {
    format!("/webhooks/{name}/events")
}

pub(crate) fn events_of(place: &TriggerPlace) -> String {
    format!("/webhooks/{}/events?environment={}&trigger={}", place.webhook, place.environment, place.trigger)
}

pub(crate) fn events_replay(name: &WebhookName) -> String {
    format!("/webhooks/{name}/events/replay")
}

pub(crate) fn event(id: EventId) -> String {
    format!("/events/{id}")
}

pub(crate) fn event_body(id: EventId) -> String {
    format!("/events/{id}/body")
}

pub(crate) fn event_replay(id: EventId) -> String {
    format!("/events/{id}/replay")
}

pub(crate) fn delivery_cancel(id: DeliveryId) -> String {
    format!("/deliveries/{id}/cancel")
}

pub(crate) fn environment(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/webhooks/{webhook}/environments/{environment}")
}

pub(crate) fn undeploy(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("{}/undeploy", self::environment(webhook, environment))
}

pub(crate) fn promote(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/webhooks/{webhook}/environments/{environment}/promote")
}

pub(crate) fn rollback(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/webhooks/{webhook}/environments/{environment}/rollback")
}

pub(crate) fn rollback_to(webhook: &WebhookName, environment: &EnvironmentName, release: &ReleaseId) -> String {
    format!("/webhooks/{webhook}/environments/{environment}/rollback?release={release}")
}

pub(crate) fn hold_set(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/webhooks/{webhook}/environments/{environment}/hold")
}

pub(crate) fn hold_end(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/webhooks/{webhook}/environments/{environment}/hold/end")
}

pub(crate) fn secrets(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/webhooks/{webhook}/environments/{environment}/secrets")
}

pub(crate) fn secret_remove(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/webhooks/{webhook}/environments/{environment}/secrets/remove")
}

pub(crate) fn promotion(id: PromotionId) -> String {
    format!("/promotions/{id}")
}

pub(crate) fn promotion_decide(id: PromotionId) -> String {
    format!("/promotions/{id}/decide")
}

pub(crate) fn deployment(id: DeploymentId) -> String {
    format!("/deployments/{id}")
}

pub(crate) fn deployment_lines(id: DeploymentId, from: impl Display) -> String {
    format!("/deployments/{id}/lines?from={from}")
}

pub(crate) fn deployment_text(id: DeploymentId) -> String {
    format!("/deployments/{id}/log.txt")
}

pub(crate) fn events_in(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("/webhooks/{webhook}/events?environment={environment}")
}

pub(crate) fn artifact(id: impl Display) -> String {
    format!("/api/v1/artifacts/{id}")
}

pub(crate) fn asset(version: &str, file: &str) -> String {
    format!("/ui/{version}/{file}")
}
