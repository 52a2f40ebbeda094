//! Who acts when several daemons work with one database.

/// How a daemon stands among those that work with its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody else can be there.
    Alone,
    /// It leads: everything that acts on the outside is its to do.
    Leads,
    /// It takes events in and passes everything else on.
    Follows {
        /// Where the leader is reached; `None` while nobody is known to lead.
        leader: Option<String>,
        /// Where the leader's handlers are reached.
        gateway: Option<String>,
        /// Why it cannot lead itself; `None` when it can.
        unfit: Option<String>,
    },
}

impl Standing {
    /// Whether it takes events in and no more.
    pub fn follows(&self) -> bool {
        matches!(self, Self::Follows { .. })
    }
}

/// Says who leads. Asked before each call to the outside that must not be made by two daemons at once.
///
/// *Contract*: `may_act` is true only while nobody else can have taken over: it turns false by itself, on the steady clock alone, before
/// anybody else's turns true. What is written to the store is fenced there besides. Calls are cheap and never block.
pub trait Leadership: Send + Sync + 'static {
    /// How this daemon stands.
    fn standing(&self) -> Standing;

    /// Whether this daemon may act at this moment.
    fn may_act(&self) -> bool;
}

/// The leadership of a daemon that has its database for itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Leadership for Alone {
    fn standing(&self) -> Standing {
        Standing::Alone
    }

    fn may_act(&self) -> bool {
        true
    }
}
