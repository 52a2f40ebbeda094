//! The routes, what triggers them, and how many requests are with each deployment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hookwright_core::port::{HookTable, RouteTable, RouteTarget};
use hookwright_core::{BoundHook, BoundTrigger, DeploymentId, EnvironmentName, SubscriptionId, WebhookName};
use tokio::sync::watch;

use crate::Gateway;
use crate::inbox::Hook;
use crate::load::{InFlight, Load};

/// A target, whose turn it is among its backends, and what is with it.
pub(crate) struct Route {
    pub(crate) target: RouteTarget,
    turn: AtomicUsize,
    load: Arc<Load>,
}

impl Route {
    /// The next backend.
    pub(crate) fn backend(&self) -> Option<std::net::SocketAddr> {
        let backends = &self.target.backends;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(backends.len()).and_then(|place| backends.get(place)).copied()
    }
}

type Routes = HashMap<String, HashMap<String, Arc<Route>>>;

/// A trigger of what has a route.
pub(crate) struct TriggerRoute {
    pub(crate) webhook: WebhookName,
    pub(crate) environment: EnvironmentName,
    pub(crate) trigger: BoundTrigger,
}

/// What receives for the engine itself.
#[derive(Default)]
struct EngineHooks {
    bound: Vec<BoundHook>,
    by_address: HashMap<String, Arc<Hook>>,
}

/// Webhook → environment → route.
#[derive(Default)]
pub(crate) struct Table {
    routes: RwLock<Routes>,
    /// Address → what receives there.
    hooks: RwLock<HashMap<String, Arc<Hook>>>,
    triggers: RwLock<HashMap<SubscriptionId, Arc<TriggerRoute>>>,
    engines: RwLock<EngineHooks>,
    loads: Mutex<HashMap<DeploymentId, Arc<Load>>>,
    /// How often a route, or what receives events, has changed.
    changes: watch::Sender<u64>,
}

impl Table {
    /// The route of an address, entered: counted as in flight before the route can be switched away.
    pub(crate) fn enter(&self, webhook: &str, environment: &str) -> Option<(Arc<Route>, InFlight)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let route = routes.get(webhook)?.get(environment)?.clone();
        let in_flight = InFlight::enter(&route.load);
        Some((route, in_flight))
    }

    /// The load of every deployment that has a route, or had one and is not done.
    pub(crate) fn loads(&self) -> Vec<(DeploymentId, Arc<Load>)> {
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.iter().map(|(id, load)| (*id, Arc::clone(load))).collect()
    }

    /// What receives at an address.
    pub(crate) fn hook(&self, address: &str) -> Option<Arc<Hook>> {
        let of_trigger = self.hooks.read().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
        of_trigger.or_else(|| self.engines.read().unwrap_or_else(PoisonError::into_inner).by_address.get(address).cloned())
    }

    /// Whether what comes through a subscription is for the engine itself.
    pub(crate) fn is_engines(&self, subscription: SubscriptionId) -> bool {
        self.engines.read().unwrap_or_else(PoisonError::into_inner).bound.iter().any(|hook| hook.id == subscription)
    }

    /// The trigger behind a subscription, while what it triggers has a route.
    pub(crate) fn trigger(&self, subscription: SubscriptionId) -> Option<Arc<TriggerRoute>> {
        self.triggers.read().unwrap_or_else(PoisonError::into_inner).get(&subscription).cloned()
    }

    /// The triggers that are schedules.
    pub(crate) fn schedules(&self) -> Vec<Arc<TriggerRoute>> {
        let triggers = self.triggers.read().unwrap_or_else(PoisonError::into_inner);
        triggers.values().filter(|route| route.trigger.schedule.is_some()).cloned().collect()
    }

    /// Changes of routes from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether a verified trigger delivers to a path, which is closed to everybody else then: nobody goes around the signature. Handlers read
    /// paths in their own ways, so that every reading counts: escapes, empty and dot segments, parameters, capitals, a slash at the end.
    pub(crate) fn is_closed(route: &Route, path: &str) -> bool {
        let mut closed = route.target.triggers.iter().filter(|trigger| trigger.verified && trigger.address.is_some()).peekable();
        if closed.peek().is_none() {
            return false;
        }
        let asked = plain_path(path);
        closed.any(|trigger| plain_path(&trigger.deliver.path) == asked)
    }

    /// Puts the triggers of a place in the stead of those it had.
    fn bind(&self, (webhook, environment): (&WebhookName, &EnvironmentName), bound: &[BoundTrigger]) {
        let here = |route: &TriggerRoute| route.webhook == *webhook && route.environment == *environment;
        {
            let mut hooks = self.hooks.write().unwrap_or_else(PoisonError::into_inner);
            hooks.retain(|_, hook| !here(&hook.route));
            let mut triggers = self.triggers.write().unwrap_or_else(PoisonError::into_inner);
            triggers.retain(|_, route| !here(route));
            for trigger in bound {
                let route = Arc::new(TriggerRoute { webhook: webhook.clone(), environment: environment.clone(), trigger: trigger.clone() });
                triggers.insert(trigger.subscription, route.clone());
                if let Some(address) = &trigger.address {
                    hooks.insert(address.to_string(), Arc::new(Hook::new(route)));
                }
            }
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn load(&self, deployment: DeploymentId) -> Arc<Load> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner).entry(deployment).or_default().clone()
    }
}

impl HookTable for Gateway {
    fn set_hooks(&self, hooks: Vec<BoundHook>) {
        let mut engines = self.table.engines.write().unwrap_or_else(PoisonError::into_inner);
        if engines.bound == hooks {
            return;
        }
        let receives = |hook: &BoundHook| {
            let address = hook.address.clone()?;
            Some((address.to_string(), Arc::new(Hook::of_engine(hook.clone(), address))))
        };
        let by_address = hooks.iter().filter_map(receives).collect();
        *engines = EngineHooks { bound: hooks, by_address };
        drop(engines);
        self.table.changes.send_modify(|changes| *changes += 1);
    }
}

impl RouteTable for Gateway {
    fn set(&self, webhook: &WebhookName, environment: &EnvironmentName, target: RouteTarget) {
        let mut routes = self.table.routes.write().unwrap_or_else(PoisonError::into_inner);
        let place = routes.entry(webhook.to_string()).or_default();
        let known = place.get(environment.as_str());
        let stale = |known: &Arc<Route>| known.target.generation > target.generation || known.target == target;
        if known.is_some_and(stale) {
            return;
        }
        let rebound = known.is_none_or(|known| known.target.triggers != target.triggers).then(|| target.triggers.clone());
        let load = self.table.load(target.deployment);
        place.insert(environment.to_string(), Arc::new(Route { target, turn: AtomicUsize::new(0), load }));
        drop(routes);
        match rebound {
            Some(triggers) => self.table.bind((webhook, environment), &triggers),
            None => self.table.changes.send_modify(|changes| *changes += 1),
        }
    }

    fn remove(&self, webhook: &WebhookName, environment: &EnvironmentName) {
        let mut routes = self.table.routes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = routes.get_mut(webhook.as_str()) {
            place.remove(environment.as_str());
        }
        drop(routes);
        self.table.bind((webhook, environment), &[]);
    }

    fn in_flight(&self, deployment: &DeploymentId) -> u64 {
        let mut loads = self.table.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let count = loads.get(deployment).map_or(0, |load| load.in_flight());
        // A load that nobody holds and whose counts are written is not needed any more.
        loads.retain(|_, load| load.in_flight() > 0 || Arc::strong_count(load) > 1 || !load.is_taken());
        count
    }
}

/// A path as the most lenient handler would read it.
fn plain_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut decoded = path.to_owned();
    // Escapes may be escaped themselves; what is still changing after some rounds belongs to nobody's route.
    for _ in 0..4 {
        let next = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
        if next == decoded {
            break;
        }
        decoded = next;
    }
    // Whoever decodes first finds a query here too.
    let decoded = decoded.split(['?', '#']).next().unwrap_or_default();
    let mut segments: Vec<String> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        let segment = segment.split(';').next().unwrap_or_default().trim_matches(|character: char| character <= ' ');
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment.to_lowercase()),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::plain_path;

    #[test]
    fn every_way_to_write_a_path_is_the_same_path() {
        for path in [
            "/issues",
            "//issues/",
            "/Issues",
            "/%69ssues",
            "/%2569ssues",
            "/x/../issues",
            "/./issues;a=b",
            "/issues?x",
            "\\issues",
            "/issues%00",
            "/issues%3fx",
            "/issues%2523x",
        ] {
            assert_eq!(plain_path(path), "issues", "{path}");
        }
        assert_eq!(plain_path("/"), "");
        assert_ne!(plain_path("/issues/7"), "issues");
    }
}
