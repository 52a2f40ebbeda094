//! The routes, and how many requests are with each deployment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hookwright_core::port::{RouteTable, RouteTarget};
use hookwright_core::{DeploymentId, EnvironmentName, WebhookName};

use crate::Gateway;

/// A target and whose turn it is among its backends.
pub(crate) struct Route {
    pub(crate) target: RouteTarget,
    turn: AtomicUsize,
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

/// Webhook → environment → route.
#[derive(Default)]
pub(crate) struct Table {
    routes: RwLock<Routes>,
    in_flight: Mutex<HashMap<DeploymentId, Arc<AtomicU64>>>,
}

/// A request that is with a deployment until this is dropped.
pub(crate) struct InFlight(Arc<AtomicU64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Table {
    /// The route of an address, entered: counted as in flight before the route can be switched away.
    pub(crate) fn enter(&self, webhook: &str, environment: &str) -> Option<(Arc<Route>, InFlight)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let route = routes.get(webhook)?.get(environment)?.clone();
        let counter = self.counter(route.target.deployment);
        counter.fetch_add(1, Ordering::AcqRel);
        Some((route, InFlight(counter)))
    }

    /// Whether there is a route for a webhook and environment.
    pub(crate) fn knows(&self, (webhook, environment): (&str, &str)) -> bool {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(webhook).is_some_and(|place| place.contains_key(environment))
    }

    fn counter(&self, deployment: DeploymentId) -> Arc<AtomicU64> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).entry(deployment).or_default().clone()
    }
}

impl RouteTable for Gateway {
    fn set(&self, webhook: &WebhookName, environment: &EnvironmentName, target: RouteTarget) {
        let mut routes = self.table.routes.write().unwrap_or_else(PoisonError::into_inner);
        let place = routes.entry(webhook.to_string()).or_default();
        let stale = |known: &Arc<Route>| known.target.generation > target.generation || known.target == target;
        if !place.get(environment.as_str()).is_some_and(stale) {
            place.insert(environment.to_string(), Arc::new(Route { target, turn: AtomicUsize::new(0) }));
        }
    }

    fn remove(&self, webhook: &WebhookName, environment: &EnvironmentName) {
        let mut routes = self.table.routes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = routes.get_mut(webhook.as_str()) {
            place.remove(environment.as_str());
        }
    }

    fn in_flight(&self, deployment: &DeploymentId) -> u64 {
        let mut counters = self.table.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counters.get(deployment).map_or(0, |counter| counter.load(Ordering::Acquire));
        // A counter that nobody holds is not needed any more.
        counters.retain(|_, counter| counter.load(Ordering::Acquire) > 0 || Arc::strong_count(counter) > 1);
        count
    }
}
