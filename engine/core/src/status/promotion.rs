//! States of a promotion.

super::statuses! {
    /// Where a promotion stands.
    PromotionStatus ("promotion") {
        /// At least one gate waits or blocks; the stored verdicts say which and why.
        Waiting = "waiting" => [Deploying, Canceled, Superseded, Errored];
        /// All gates passed and a deployment of the release was created for it.
        Deploying = "deploying" => [Succeeded, Failed, Errored, Canceled];
        /// The route leads to the release.
        Succeeded = "succeeded" => [];
        /// The release never got ready; what ran before still serves.
        Failed = "failed" => [];
        /// We could not carry it out.
        Errored = "errored" => [];
        /// Rejected by someone, or its webhook was removed or taken out of service there.
        Canceled = "canceled" => [];
        /// A newer release was promoted into the environment.
        Superseded = "superseded" => [];
    }
}
