//! States of a deployment: a release in an environment, one generation.

super::statuses! {
    /// Where a deployment stands.
    DeploymentStatus ("deployment") {
        /// The intent is written; the runtime may or may not have heard of it: applying is idempotent.
        Pending = "pending" => [Starting, Failed, Errored, Retired];
        /// The runtime has it; enough instances are not ready yet.
        Starting = "starting" => [Live, Failed, Errored, Retired];
        /// The route leads to it.
        Live = "live" => [Draining, Retired];
        /// A newer generation has the route, or it was undeployed; requests in flight end, then its instances stop.
        Draining = "draining" => [Retired];
        /// Its instances are gone.
        Retired = "retired" => [];
        /// It never got ready; its instances are gone.
        Failed = "failed" => [];
        /// We could not start it; its instances are gone.
        Errored = "errored" => [];
    }
}
