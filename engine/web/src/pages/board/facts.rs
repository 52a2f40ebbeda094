//! What cells are made of, read at once for all of them or for the one of a place.

use std::collections::HashSet;

use hookwright_core::status::DeploymentStatus;
use hookwright_core::{Action, Deployment, EnvironmentName, PromotionId, Timestamp, WebhookName};
use hookwright_store::{FailedDeployment, PromotionFilter};

use super::cell::{Cell, Failure, health, is_decidable, waits};
use crate::error::Result;
use crate::kept::{Known, KnownPlace};
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
pub(super) struct Facts<'a> {
    now: Timestamp,
    known: &'a Known,
    traffic: Strips,
    /// Open promotions that the visitor has decided already, and that wait for others.
    decided: HashSet<PromotionId>,
}

/// How a place is: what counts and filters ask of every one, before it is known which are shown.
pub(super) struct Glance<'a> {
    pub(super) place: &'a KnownPlace,
    /// What is live, or else what is on its way to be.
    newest: Option<&'a Deployment>,
    pub(super) badge: Badge,
    instances: Option<String>,
    /// Whether the visitor may approve here.
    may: bool,
    /// Whether something waits for the visitor.
    pub(super) mine: bool,
}

impl<'a> Facts<'a> {
    /// With what somebody looks at besides what is known of all.
    pub(super) async fn read(state: &WebState, visitor: &Visitor, known: &'a Known) -> Result<Self> {
        let now = state.clock.now();
        let traffic = state.strips.read(&state.store, state.clock.as_ref(), (STEP, STEPS)).await?;
        let decided = state.store.promotion_decided_by(&visitor.caller.actor.user).await?.into_iter().collect();
        Ok(Self { now, known, traffic, decided })
    }

    pub(super) async fn glance(
        &self,
        state: &WebState,
        visitor: &Visitor,
        (webhook, place): (&WebhookName, &'a KnownPlace),
    ) -> Result<Glance<'a>> {
        let newest = live(place).or(place.deployments.last());
        let (mut badge, mut instances) = (Badge::none("nothing yet"), None);
        if let Some(newest) = newest {
            (badge, instances) = health(state, newest).await?;
        } else if place.failure.is_some() {
            badge = DeploymentStatus::Failed.into();
        }
        let may = !place.promotions.is_empty() && visitor.caller.actor.may(Action::Approve, Some(webhook), Some(&place.environment));
        let mine = may && place.promotions.iter().any(|one| is_decidable(one) && !self.decided.contains(&one.id));
        Ok(Glance { place, newest, badge, instances, may, mine })
    }

    /// The words that a place is found by.
    pub(super) fn words(&self, glance: &Glance<'_>) -> String {
        let releases = glance.newest.iter().map(|newest| &newest.release).chain(glance.place.promotions.iter().map(|one| &one.release));
        let releases = releases.filter_map(|id| self.known.releases.get(id)).map(|release| ReleaseShown::new(release, self.now));
        releases.fold(glance.badge.word.clone(), |words, one| words + &format!(" {} {} {} ", one.short, one.title, one.author))
    }

    /// What is shown of a place.
    pub(super) fn cell(&self, webhook: &WebhookName, glance: Glance<'_>) -> Cell {
        let Glance { place, newest, badge, instances, may, .. } = glance;
        let release =
            newest.and_then(|newest| self.known.releases.get(&newest.release)).map(|release| ReleaseShown::new(release, self.now));
        let decided = |id| self.decided.contains(&id);
        let waits = place.promotions.iter().map(|one| waits(one, &self.known.releases, (may, decided(one.id)), self.now)).collect();
        let live = live(place);
        let traffic = live.map(|_| {
            let strip = self.traffic.get(&(webhook.clone(), place.environment.clone()));
            Drawing::new(&strip, self.now, (STEP, STEPS), "in the last hour")
        });
        Cell {
            environment: place.environment.to_string(),
            url: urls::environment(webhook, &place.environment),
            badge,
            release,
            instances,
            traffic,
            waits,
            held: place.hold.as_ref().map(|hold| format!("held by {}", visible(&hold.actor))),
            undeclared: (!place.declared).then(|| undeploy(webhook, &place.environment)),
            failure: place.failure.as_ref().map(|failure| self.failure(failure)),
            log: live.map(|live| urls::deployment(live.id)),
        }
    }

    fn failure(&self, failed: &FailedDeployment) -> Failure {
        let short = self.known.releases.get(&failed.release).map_or_else(|| failed.release.to_string(), |release| short(&release.commit));
        let reason = failed.reason.as_deref().map_or_else(|| "its log says why".to_owned(), visible);
        Failure { url: urls::deployment(failed.id), short, reason, at: Moment::new(failed.created_at, self.now) }
    }
}

fn live(place: &KnownPlace) -> Option<&Deployment> {
    place.deployments.iter().rev().find(|one| one.status == DeploymentStatus::Live)
}

/// The command that ends what is live in an environment.
fn undeploy(webhook: &WebhookName, environment: &EnvironmentName) -> String {
    format!("hookwright undeploy {webhook} {environment}")
}

/// The cell of one place, for the pages about it.
pub(crate) async fn cell_of(
    state: &WebState,
    visitor: &Visitor,
    webhook: &WebhookName,
    (environment, declared): (&EnvironmentName, bool),
) -> Result<Cell> {
    let now = state.clock.now();
    let mut place = KnownPlace::new(environment.clone(), declared);
    place.failure = state.store.board_failures(Some((webhook, environment))).await?.pop();
    place.deployments = state.store.deployment_list(webhook, Some(environment), 20).await?;
    place.deployments.retain(|one| !one.status.is_end());
    place.deployments.reverse();
    let open =
        PromotionFilter { webhook: Some(webhook.clone()), environment: Some(environment.clone()), open: true, before: None, limit: 20 };
    place.promotions = state.store.promotion_list(&open).await?;
    place.hold = state.store.hold_fetch(webhook, environment).await?;
    let strip = state.store.traffic_of((webhook, environment), hour_before(now), STEP).await?;
    let counts = strip.into_iter().map(|(step, traffic)| (step, (traffic.requests, traffic.errors))).collect();
    let mut known = Known::default();
    let (deployed, promoted) = (place.deployments.iter().map(|one| &one.release), place.promotions.iter().map(|one| &one.release));
    for id in deployed.chain(promoted).chain(place.failure.iter().map(|one| &one.release)) {
        if let Some(info) = state.store.release_info(id).await? {
            known.releases.insert(id.clone(), info);
        }
    }
    let decided = state.store.promotion_decided_by(&visitor.caller.actor.user).await?.into_iter().collect();
    let facts = Facts { now, known: &known, traffic: Strips::of_one((webhook.clone(), environment.clone()), counts), decided };
    let glance = facts.glance(state, visitor, (webhook, &place)).await?;
    Ok(facts.cell(webhook, glance))
}
