//! `/metrics` in the text format of Prometheus: what was counted in this process, and what the store and the runtime hold right now.
//! Invariant: labels are statuses, kinds, and names of webhooks and environments that were deployed; nothing that strangers choose.

use std::time::Duration;

use axum::extract::State;
use hookwright_core::port::{AttemptMade, EventResult, GatewayRequest, Meter, StageEnd};
use hookwright_core::status::{DeliveryStatus, DeploymentStatus, PromotionStatus, RunStatus, StageStatus};
use http::{HeaderName, header};
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use tracing::warn;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Problem, Result};

/// Upper bounds of the time to a handler's answer, in seconds.
const ANSWER_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds of the time that a stage takes, in seconds.
const STAGE_SECONDS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];

/// Upper bounds of the time from an event to its delivery, in seconds: retries go on for days.
const DELIVERY_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0, 86_400.0];

/// What is counted as it happens. One for the daemon; it is the `Meter` of the engine and the gateway.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    answers: HistogramVec,
    unrouted: IntCounterVec,
    events: IntCounterVec,
    refused: IntCounterVec,
    attempts: IntCounterVec,
    delivered: HistogramVec,
    stored: IntGauge,
    stages: HistogramVec,
    runs: IntCounterVec,
    polls: IntCounterVec,
}

/// Names and labels are ours and valid; a registry refuses only what is there already.
const OURS: &str = "metrics have valid names, each once";

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect(OURS)
}

fn seconds(name: &str, help: &str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels).expect(OURS)
}

fn add<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(OURS);
    collector
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        let registry = Registry::new();
        let place = ["webhook", "environment"];
        Self {
            requests: add(
                &registry,
                counters(
                    "hookwright_gateway_requests_total",
                    "Requests to handlers, by the class of the answer.",
                    &["webhook", "environment", "class"],
                ),
            ),
            answers: add(
                &registry,
                seconds("hookwright_gateway_answer_seconds", "From a request's head to its answer's head.", &place, ANSWER_SECONDS),
            ),
            unrouted: add(
                &registry,
                counters("hookwright_gateway_unrouted_total", "Requests to addresses below /w/ where nothing is deployed.", &["class"]),
            ),
            events: add(
                &registry,
                counters(
                    "hookwright_events_received_total",
                    "What was sent to the addresses of triggers, by what became of it.",
                    &["webhook", "environment", "result"],
                ),
            ),
            refused: add(
                &registry,
                counters(
                    "hookwright_events_refused_total",
                    "What was refused at the addresses of triggers, by the status that was answered.",
                    &["webhook", "environment", "status"],
                ),
            ),
            attempts: add(
                &registry,
                counters(
                    "hookwright_delivery_attempts_total",
                    "Attempts to give an event to its handler, by what the delivery was afterwards.",
                    &["webhook", "environment", "status"],
                ),
            ),
            delivered: add(
                &registry,
                seconds(
                    "hookwright_delivery_seconds",
                    "From receiving an event, or asking for its replay, to its delivery.",
                    &place,
                    DELIVERY_SECONDS,
                ),
            ),
            stored: add(
                &registry,
                IntGauge::new("hookwright_events_stored_bytes", "The room that events take, as retention last measured it.").expect(OURS),
            ),
            stages: add(
                &registry,
                seconds("hookwright_stage_seconds", "How long stages took that had begun.", &["kind", "status"], STAGE_SECONDS),
            ),
            runs: add(&registry, counters("hookwright_runs_ended_total", "Runs that ended.", &["status"])),
            polls: add(&registry, counters("hookwright_git_polls_total", "Looks at the refs of repositories.", &["result"])),
            registry,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter for Metrics {
    fn gateway_request(&self, GatewayRequest { place, status, took }: GatewayRequest<'_>) {
        let class = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        let Some((webhook, environment)) = place else { return self.unrouted.with_label_values(&[class]).inc() };
        self.requests.with_label_values(&[webhook, environment, class]).inc();
        self.answers.with_label_values(&[webhook, environment]).observe(took.as_secs_f64());
    }

    fn event_received(&self, (webhook, environment): (&str, &str), result: EventResult) {
        self.events.with_label_values(&[webhook, environment, result.as_str()]).inc();
    }

    fn event_refused(&self, (webhook, environment): (&str, &str), status: u16) {
        self.refused.with_label_values(&[webhook, environment, status.to_string().as_str()]).inc();
    }

    fn attempt_made(&self, AttemptMade { place: (webhook, environment), status, took }: AttemptMade<'_>) {
        self.attempts.with_label_values(&[webhook, environment, status.as_str()]).inc();
        if status == DeliveryStatus::Delivered {
            self.delivered.with_label_values(&[webhook, environment]).observe(took.as_secs_f64());
        }
    }

    fn events_stored(&self, bytes: u64) {
        self.stored.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn stage_ended(&self, StageEnd { kind, status, took }: StageEnd) {
        let Some(took) = took.map(|took: Duration| took.as_secs_f64()) else { return };
        self.stages.with_label_values(&[kind, status.as_str()]).observe(took);
    }

    fn run_ended(&self, status: RunStatus) {
        self.runs.with_label_values(&[status.as_str()]).inc();
    }

    fn git_polled(&self, read: bool) {
        self.polls.with_label_values(&[if read { "read" } else { "failed" }]).inc();
    }
}

pub(crate) fn routes() -> OpenApiRouter<WebState> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// What the daemon counts, for Prometheus.
///
/// The token must read everything: no grant with a scope does. The setting `metrics.public` opens it to anybody.
#[utoipa::path(get, path = "/metrics", tag = "health", security(("bearer" = ["viewer"])), responses(
    (status = 200, description = "The text format of Prometheus, version 0.0.4.", body = String, content_type = "text/plain"),
))]
async fn metrics(
    State(state): State<WebState>,
    caller: std::result::Result<Caller, Problem>,
) -> Result<([(HeaderName, &'static str); 1], String)> {
    if !state.metrics_public {
        caller?.must_read_everything()?;
    }
    let mut families = state.metrics.registry.gather();
    families.extend(present(&state).await.gather());
    let text = TextEncoder::new().encode_to_string(&families).map_err(|error| {
        warn!(%error, "metrics cannot be written");
        Problem::new(http::StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written; the daemon's log says why")
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

fn gauge(registry: &Registry, name: &str, help: &str, value: u64) {
    let gauge = add(registry, IntGauge::new(name, help).expect(OURS));
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// A gauge with a line for each state, also for those with nothing in them.
fn states(registry: &Registry, name: &str, help: &str, counts: impl IntoIterator<Item = (&'static str, u64)>) {
    let gauges = add(registry, IntGaugeVec::new(Opts::new(name, help), &["status"]).expect(OURS));
    for (status, count) in counts {
        gauges.with_label_values(&[status]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn count<T: PartialEq>(counts: &[(T, u64)], status: &T) -> u64 {
    counts.iter().find(|(known, _)| known == status).map_or(0, |(_, count)| *count)
}

/// What there is right now. A database that does not answer is said, and hides nothing else.
async fn present(state: &WebState) -> Registry {
    let registry = Registry::new();
    let build = IntGaugeVec::new(Opts::new("hookwright_build_info", "The version that runs."), &["version"]).expect(OURS);
    add(&registry, build).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    gauge(&registry, "hookwright_executor_slots", "How many stages run at the same time.", state.executors as u64);
    let open = crate::STREAMS.saturating_sub(state.streams.available_permits());
    gauge(&registry, "hookwright_event_streams", "Event streams that are open.", open as u64);
    let tally = state.store.tally().await.inspect_err(|error| warn!(%error, "the store cannot be counted")).ok();
    gauge(&registry, "hookwright_store_up", "Whether the database answers.", u64::from(tally.is_some()));
    if let Some(tally) = tally {
        let runs = RunStatus::ALL.iter().filter(|status| !status.is_end()).map(|status| (status.as_str(), count(&tally.runs, status)));
        states(&registry, "hookwright_runs", "Runs that have not ended.", runs);
        let busy = count(&tally.stages, &StageStatus::Leased) + count(&tally.stages, &StageStatus::Running);
        gauge(&registry, "hookwright_executor_slots_busy", "Stages that are prepared or run.", busy);
        let queued = count(&tally.stages, &StageStatus::Queued);
        gauge(&registry, "hookwright_queue_length", "Stages that are ready and wait for a slot.", queued);
        let promotions =
            PromotionStatus::ALL.iter().filter(|status| !status.is_end()).map(|status| (status.as_str(), count(&tally.promotions, status)));
        states(&registry, "hookwright_promotions", "Promotions that have not ended.", promotions);
        let open = DeliveryStatus::ALL.iter().filter(|status| !status.is_end());
        let deliveries = open.map(|status| (status.as_str(), count(&tally.deliveries, status)));
        states(&registry, "hookwright_deliveries", "Deliveries that have not ended.", deliveries);
        let lag = tally.oldest_due.map_or(0, |due| state.clock.now().since(due).as_secs());
        gauge(&registry, "hookwright_delivery_lag_seconds", "For how long the delivery has been due that has been due longest.", lag);
        let open = DeploymentStatus::ALL.iter().filter(|status| !status.is_end());
        let deployments = open.map(|status| (status.as_str(), count(&tally.deployments, status)));
        states(&registry, "hookwright_deployments", "Deployments that have not ended.", deployments);
        restarts(state, &registry).await;
    }
    let leads = !state.leadership.standing().follows();
    gauge(&registry, "hookwright_leads", "Whether this daemon leads; of several on one database one does.", u64::from(leads));
    let errors = IntCounter::new("hookwright_store_errors_total", "Statements that the database refused.").expect(OURS);
    add(&registry, errors).inc_by(state.store.refusals());
    registry
}

async fn restarts(state: &WebState, registry: &Registry) {
    let options = Opts::new("hookwright_handler_restarts", "How often the instances of what is deployed were started again.");
    let gauges = add(registry, IntGaugeVec::new(options, &["webhook", "environment"]).expect(OURS));
    for deployment in state.store.deployment_list_active().await.unwrap_or_default() {
        let Ok(Some(observed)) = state.runtime.observe(&deployment.id).await else { continue };
        let restarts: u32 = observed.instances.iter().map(|instance| instance.restarts).sum();
        gauges.with_label_values(&[deployment.webhook.as_str(), deployment.environment.as_str()]).add(i64::from(restarts));
    }
}
