//! Counting what happens.

use std::time::Duration;

use crate::status::{RunStatus, StageStatus};

/// A request that the gateway answered.
#[derive(Clone, Copy, Debug)]
pub struct GatewayRequest<'a> {
    /// The webhook and environment; `None` when there is no such route, so that strangers cannot make labels.
    pub place: Option<(&'a str, &'a str)>,
    /// The status of the answer.
    pub status: u16,
    /// From the request's head to the answer's head.
    pub took: Duration,
}

/// A stage run that ended.
#[derive(Clone, Copy, Debug)]
pub struct StageEnd {
    /// What it does: `checkout`, `command`, `image`, `deploy`.
    pub kind: &'static str,
    /// How it ended.
    pub status: StageStatus,
    /// How long work on it took; `None` when none had begun.
    pub took: Option<Duration>,
}

/// Counts what happens, for `/metrics`. Calls are cheap, never block and never fail; what is counted is lost with the process.
/// A call must name nothing that strangers choose.
pub trait Meter: Send + Sync + 'static {
    /// The gateway answered.
    fn gateway_request(&self, request: GatewayRequest<'_>);

    /// A stage run ended, and that is stored.
    fn stage_ended(&self, end: StageEnd);

    /// A run ended, and that is stored.
    fn run_ended(&self, status: RunStatus);

    /// The refs of a repository were compared though nobody announced a push; whether they could be read.
    fn git_polled(&self, read: bool);
}

/// Counts nothing: for tests, and for whoever does not ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn gateway_request(&self, _request: GatewayRequest<'_>) {}

    fn stage_ended(&self, _end: StageEnd) {}

    fn run_ended(&self, _status: RunStatus) {}

    fn git_polled(&self, _read: bool) {}
}
