//! Counting what happens.

use std::time::Duration;

use crate::status::{DeliveryStatus, RunStatus, StageStatus};

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

/// What became of something that was sent to the address of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// It was verified and stored.
    Stored,
    /// It was there already.
    Duplicate,
    /// It is not what its source sends: signature, size, time.
    Refused,
    /// It could not be stored; the source was asked to send it again.
    Failed,
}

impl EventResult {
    /// The word of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// An attempt at a delivery that ended, and that is stored.
#[derive(Clone, Copy, Debug)]
pub struct AttemptMade<'a> {
    /// The webhook and environment.
    pub place: (&'a str, &'a str),
    /// What the delivery is now.
    pub status: DeliveryStatus,
    /// Since the event was received.
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

    /// Something was sent to the address of a trigger in a webhook and environment.
    fn event_received(&self, place: (&str, &str), result: EventResult);

    /// Something of it was refused, with this status.
    fn event_refused(&self, place: (&str, &str), status: u16);

    /// An attempt at a delivery ended, and that is stored.
    fn attempt_made(&self, attempt: AttemptMade<'_>);

    /// Retention measured the room that events take, in bytes.
    fn events_stored(&self, bytes: u64);

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

    fn event_received(&self, _place: (&str, &str), _result: EventResult) {}

    fn event_refused(&self, _place: (&str, &str), _status: u16) {}

    fn attempt_made(&self, _attempt: AttemptMade<'_>) {}

    fn events_stored(&self, _bytes: u64) {}

    fn stage_ended(&self, _end: StageEnd) {}

    fn run_ended(&self, _status: RunStatus) {}

    fn git_polled(&self, _read: bool) {}
}
