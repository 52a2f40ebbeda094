//! States of a run.

super::statuses! {
    /// Where a run stands.
    RunStatus ("run") {
        /// Created with its stage runs; none has started, or an older run of the branch has to end first.
        Queued = "queued" => [Running, Failed, Errored, Canceled, Superseded];
        /// At least one stage run has started. A retry from the failed stage makes an ended run run again.
        Running = "running" => [Succeeded, Failed, Errored, Canceled, Superseded];
        /// Every stage that must succeed did.
        Succeeded = "succeeded" => [];
        /// A stage failed, or the spec could not be read: the user's fault.
        Failed = "failed" => [];
        /// We could not carry it out.
        Errored = "errored" => [];
        /// Stopped by someone.
        Canceled = "canceled" => [];
        /// Overtaken by a newer revision of the branch.
        Superseded = "superseded" => [];
        /// Nothing had to be done; kept so that the revision has an answer.
        Skipped = "skipped" => [];
    }
}
