//! What cells are made of, read at once for all of them or for the one of a place.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hookwright_core::status::DeploymentStatus;
use hookwright_core::{Action, EnvironmentName, PromotionId, Timestamp, WebhookName};
use hookwright_store::{FailedDeployment, PromotionFilter, Strip};

use super::cell::{Cell, Failure, health, waits};
use crate::error::Result;
use crate::kept::{Known, failures};
use crate::pages::release::{ReleaseShown, short};
use crate::show::{Badge, Drawing, Moment, visible};
use crate::strips::Strips;
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// The drawing of the last hour has a bar for so many minutes, and so many bars.
const STEP: i64 = 5;
const STEPS: i64 = 12;

fn hour_before(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis() - STEP * STEPS * 60_000)
}

/// Everything the board is made of.
pub(super) struct Facts {
    now: Timestamp,
    pub(super) known: Arc<Known>,
    traffic: Strips,
    /// Open promotions that the visitor has decided already, and that wait for others.
    decided: HashSet<PromotionId>,
}

impl Facts {
    /// With what somebody looks at besides what is known of all.
    pub(super) async fn read(state: &WebState, visitor: &Visitor, known: Arc<Known>) -> Result<Self> {
        let now = state.clock.now();
        let traffic = state.strips.read(&state.store, now, (STEP, STEPS)).await?;
        let decided = state.store.promotion_decided_by(&visitor.caller.actor.user).await?.into_iter().collect();
        Ok(Self { now, known, traffic, decided })
    }

    pub(super) async fn cell(
        &self,
        state: &WebState,
        visitor: &Visitor,
        (webhook, environment): (&WebhookName, &EnvironmentName),
    ) -> Result<Cell> {
        let place = (webhook.clone(), environment.clone());
        let deployments = self.known.deployments.get(&place).map(Vec::as_slice).unwrap_or_default();
        let live = deployments.iter().rev().find(|one| one.status == DeploymentStatus::Live);
        let newest = live.or(deployments.last());
        let (mut badge, mut instances) = (Badge::none("nothing yet"), None);
        if let Some(newest) = newest {
            (badge, instances) = health(state, newest).await?;
        }
        let release =
            newest.and_then(|newest| self.known.releases.get(&newest.release)).map(|release| ReleaseShown::new(release, self.now));
        let failure = self.known.failures.get(&place).map(|failure| self.failure(failure));
        if failure.is_some() && newest.is_none() {
            badge = DeploymentStatus::Failed.into();
        }
        let mine = visitor.caller.actor.may(Action::Approve, Some(webhook), Some(environment));
        let mut waiting = Vec::new();
        for promotion in self.known.promotions.get(&place).into_iter().flatten() {
            waiting.push(waits(promotion, &self.known.releases, (mine, self.decided.contains(&promotion.id)), self.now));
        }
        let held = self.known.holds.get(&place).map(|hold| format!("held by {}", visible(&hold.actor)));
        let (environment, url) = (environment.to_string(), urls::environment(webhook, environment));
        let none = Strip::new();
        let strip = self.traffic.get(&place).unwrap_or(&none);
        let traffic = live.map(|_| Drawing::new(strip, self.now, (STEP, STEPS), "in the last hour"));
        let log = live.map(|live| urls::deployment(live.id));
        Ok(Cell { environment, url, badge, release, instances, traffic, waits: waiting, held, undeclared: None, failure, log })
    }

    fn failure(&self, failed: &FailedDeployment) -> Failure {
        let short = self.known.releases.get(&failed.release).map_or_else(|| failed.release.to_string(), |release| short(&release.commit));
        let reason = failed.reason.as_deref().map_or_else(|| "its log says why".to_owned(), visible);
        Failure { url: urls::deployment(failed.id), short, reason, at: Moment::new(failed.created_at, self.now) }
    }
}

/// The cell of one place, for the pages about it.
pub(crate) async fn cell_of(state: &WebState, visitor: &Visitor, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Cell> {
    let place = (webhook.clone(), environment.clone());
    let now = state.clock.now();
    let mut known = Known { failures: failures(state.store.board_failures(Some((webhook, environment))).await?), ..Known::default() };
    let decided = state.store.promotion_decided_by(&visitor.caller.actor.user).await?.into_iter().collect();
    let strip = state.store.traffic_of((webhook, environment), hour_before(now), STEP).await?;
    let counts = strip.into_iter().map(|(step, traffic)| (step, (traffic.requests, traffic.errors)));
    let traffic = Arc::new(HashMap::from([(place.clone(), counts.collect())]));
    let mut deployments = state.store.deployment_list(webhook, Some(environment), 20).await?;
    deployments.retain(|one| !one.status.is_end());
    deployments.reverse();
    let open =
        PromotionFilter { webhook: Some(webhook.clone()), environment: Some(environment.clone()), open: true, before: None, limit: 20 };
    let promotions = state.store.promotion_list(&open).await?;
    let failed = known.failures.values().map(|one| one.release.clone()).collect::<Vec<_>>();
    for id in deployments.iter().map(|one| &one.release).chain(promotions.iter().map(|one| &one.release)).chain(&failed) {
        if let Some(info) = state.store.release_info(id).await? {
            known.releases.insert(id.clone(), info);
        }
    }
    known.deployments.insert(place.clone(), deployments);
    known.promotions.insert(place.clone(), promotions);
    if let Some(hold) = state.store.hold_fetch(webhook, environment).await? {
        known.holds.insert(place, hold);
    }
    let facts = Facts { now, known: Arc::new(known), traffic, decided };
    facts.cell(state, visitor, (webhook, environment)).await
}
