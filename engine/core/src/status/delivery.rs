//! States of a delivery.

super::statuses! {
    /// Where a delivery stands. What is sent right now is known to the process that sends it and not stored: after a crash the attempt is made
    /// again, which is what "at least once" means.
    DeliveryStatus ("delivery") {
        /// No attempt has ended; it is sent as soon as its trigger has room.
        Queued = "queued" => [Waiting, Delivered, Dead, Canceled];
        /// An attempt failed; the next one is due at a time.
        Waiting = "waiting" => [Waiting, Queued, Delivered, Dead, Canceled];
        /// The handler took it.
        Delivered = "delivered" => [];
        /// All attempts failed, or the handler said that it never will.
        Dead = "dead" => [];
        /// It is not for the handler: a ping, another type of event, or the filter said no.
        Skipped = "skipped" => [];
        /// Someone stopped it.
        Canceled = "canceled" => [];
    }
}
