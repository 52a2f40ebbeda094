//! States of a subscription.

super::statuses! {
    /// Where a subscription stands with its provider.
    SubscriptionStatus ("subscription") {
        /// Its provider is to be asked.
        Pending = "pending" => [Manual, Active, Failing, Off];
        /// No credentials: a person registers the address; active with the first verified event.
        Manual = "manual" => [Pending, Active, Failing, Off];
        /// The provider knows it, or has sent a verified event.
        Active = "active" => [Pending, Manual, Failing, Off];
        /// The provider refuses or does not answer; it is asked again.
        Failing = "failing" => [Pending, Manual, Active, Off];
        /// The trigger does not fire in this environment (any more), and the provider has been told.
        Off = "off" => [Pending, Manual, Active, Failing];
    }
}
