//! States of a stage run: one attempt at one stage.

super::statuses! {
    /// Where a stage run stands.
    StageStatus ("stage run") {
        /// Its needs have not all ended well yet.
        Waiting = "waiting" => [Queued, Canceled, Superseded, Skipped];
        /// Ready; no executor slot has taken it.
        Queued = "queued" => [Leased, Canceled, Superseded, Skipped];
        /// Taken by a daemon, which prepares its workspace; nothing of the user has run.
        Leased = "leased" => [Queued, Running, Held, Cached, Succeeded, Failed, Errored, Canceled, Superseded, Skipped];
        /// Its job runs under a supervisor, or its engine work (checkout, image) is being done.
        Running = "running" => [Queued, Succeeded, Failed, Errored, Canceled, Superseded, Unknown];
        /// A deploy stage whose promotion is open: it holds no executor slot.
        Held = "held" => [Succeeded, Failed, Errored, Canceled, Superseded];
        /// Its intent was written, its result was not; observing resolves it, never blind repetition.
        Unknown = "unknown" => [Running, Succeeded, Failed, Errored, Canceled];
        /// Done.
        Succeeded = "succeeded" => [];
        /// Its outputs were restored from an earlier run.
        Cached = "cached" => [];
        /// The user's fault.
        Failed = "failed" => [];
        /// Ours.
        Errored = "errored" => [];
        /// Stopped by someone.
        Canceled = "canceled" => [];
        /// Overtaken.
        Superseded = "superseded" => [];
        /// `when` was false, or something it needs did not succeed.
        Skipped = "skipped" => [];
    }
}

impl StageStatus {
    /// Whether stages that need this one may start.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::Cached)
    }
}
