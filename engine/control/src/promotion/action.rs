//! What people may ask of promotions. Rights are checked here, and the audit line is written in the transaction of the deed.

use std::time::Duration;

use hookwright_core::status::PromotionStatus;
use hookwright_core::{
    Action, Actor, Approval, ApprovalId, ConfigName, Decision, EnvironmentName, Hold, Origin, Promotion, PromotionId, Release, ReleaseId,
    SecretValue, WebhookName,
};
use hookwright_store::{NewAudit, PromotionFilter, Tx};

use super::{OPEN_LIMIT, end_in, open_in, spec_of, wake_all};
use crate::{Control, Deps, Error, Result, rights};

/// What came of saying yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approved {
    /// What was approved.
    pub promotion: PromotionId,
    /// Of somebody who had approved it before: how many others have to. One person counts once.
    pub left: Option<usize>,
}

impl Control {
    /// Promotes a release, or the newest that succeeded in the environments before. It is no approval; after a rollback it lifts the hold.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict` when the release has not succeeded in an environment before.
    pub async fn promote(
        &self,
        actor: &Actor,
        webhook: &WebhookName,
        environment: &EnvironmentName,
        release: Option<&ReleaseId>,
    ) -> Result<PromotionId> {
        rights::allow(actor, Action::Develop, "promote", Some(webhook), Some(environment))?;
        let deps = self.deps();
        let release = match release {
            Some(id) => named(deps, webhook, id).await?,
            None => newest_ready(deps, webhook, environment).await?,
        };
        if !is_ready(deps, &release, environment).await? {
            return Err(Error::Conflict(format!(
                "cannot promote {} into `{environment}`: it has not succeeded in every environment before; promote it there first",
                release.id
            )));
        }
        let origin = Origin::Person { actor: actor.user.clone() };
        let mut tx = deps.store.begin().await?;
        let promotion = take_or_open_in(deps, &mut tx, &release, environment, origin).await?;
        audit_in(&mut tx, actor, "promotion.opened", &promotion, "").await?;
        tx.commit("promotion.opened").await?;
        wake_all(deps);
        Ok(promotion.id)
    }

    /// Says yes to the waiting promotion.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`, `Conflict` when more than one waits and no release is named.
    pub async fn approve(
        &self,
        actor: &Actor,
        webhook: &WebhookName,
        environment: &EnvironmentName,
        release: Option<&ReleaseId>,
        reason: Option<String>,
    ) -> Result<Approved> {
        rights::allow(actor, Action::Approve, "approve", Some(webhook), Some(environment))?;
        let promotion = waiting(self.deps(), webhook, environment, release).await?;
        let before = self.deps().store.approval_list(webhook, environment, &promotion.release).await?;
        let is_again = before.iter().any(|approval| approval.decision == Decision::Approve && approval.user == actor.user);
        // Kept all the same: the one before may have expired, or be older than a hold.
        let id = self.decide(actor, promotion.clone(), Decision::Approve, reason).await?;
        let left = if is_again { Some(self.approvals_left(&promotion).await?) } else { None };
        Ok(Approved { promotion: id, left })
    }

    /// How many more people have to approve what waits.
    ///
    /// # Errors
    /// `NotFound` when its release is gone.
    pub async fn approvals_left(&self, promotion: &Promotion) -> Result<usize> {
        super::judge::approvals_left(self.deps(), promotion).await
    }

    /// Says no: the waiting promotion ends.
    ///
    /// # Errors
    /// As [`approve`](Self::approve).
    pub async fn reject(
        &self,
        actor: &Actor,
        webhook: &WebhookName,
        environment: &EnvironmentName,
        release: Option<&ReleaseId>,
        reason: Option<String>,
    ) -> Result<PromotionId> {
        rights::allow(actor, Action::Approve, "reject", Some(webhook), Some(environment))?;
        let promotion = waiting(self.deps(), webhook, environment, release).await?;
        self.decide(actor, promotion, Decision::Reject, reason).await
    }

    /// Takes the responsibility for gates that this version cannot evaluate. Never for missing config, approvals or a hold.
    ///
    /// # Errors
    /// As [`approve`](Self::approve), and `Invalid` without a reason.
    pub async fn override_gates(
        &self,
        actor: &Actor,
        webhook: &WebhookName,
        environment: &EnvironmentName,
        release: Option<&ReleaseId>,
        reason: String,
    ) -> Result<PromotionId> {
        rights::allow(actor, Action::Administer, "override gates of", Some(webhook), Some(environment))?;
        if reason.trim().is_empty() {
            return Err(Error::Invalid("an override needs a reason: it is kept in the audit log".to_owned()));
        }
        let promotion = waiting(self.deps(), webhook, environment, release).await?;
        self.decide(actor, promotion, Decision::Override, Some(reason)).await
    }

    /// Goes back to the release that came before the present one, or to the named one, and holds the environment.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound` when there is nothing to go back to.
    pub async fn rollback(
        &self,
        actor: &Actor,
        webhook: &WebhookName,
        environment: &EnvironmentName,
        release: Option<&ReleaseId>,
    ) -> Result<PromotionId> {
        rights::allow(actor, Action::Develop, "roll back", Some(webhook), Some(environment))?;
        let deps = self.deps();
        let current = deps.store.deployment_current(webhook, environment).await?;
        let release = match release {
            Some(id) => named(deps, webhook, id).await?,
            None => {
                let past = promotions(deps, webhook, Some(environment), false).await?;
                let missing =
                    || Error::NotFound(format!("no release of `{webhook}` succeeded in `{environment}` before what is there now"));
                let past = past.into_iter().rev().filter(|past| past.status == PromotionStatus::Succeeded).map(|past| past.release);
                let before = release_before(past, current.as_ref().map(|current| &current.release)).ok_or_else(missing)?;
                named(deps, webhook, &before).await?
            }
        };
        let hold = Hold {
            webhook: webhook.clone(),
            environment: environment.clone(),
            release: Some(release.id.clone()),
            actor: actor.user.clone(),
            reason: current.map_or_else(|| "nothing was live".to_owned(), |current| format!("away from {}", current.release)),
            since: deps.clock.now(),
        };
        let mut tx = deps.store.begin().await?;
        let promotion = take_or_open_in(deps, &mut tx, &release, environment, Origin::Rollback { actor: actor.user.clone() }).await?;
        deps.store.hold_set_in(&mut tx, &hold).await?;
        audit_in(&mut tx, actor, "promotion.rollback", &promotion, &hold.reason).await?;
        tx.commit("promotion.rollback").await?;
        wake_all(deps);
        Ok(promotion.id)
    }

    /// Sets a secret; what is live there is deployed again with it, in the same transaction, so that neither happens without the other.
    /// `None` when nothing is live: then gates look again; and when it is being deployed at this moment: then that is looked at when it is live.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn secret_set(
        &self,
        actor: &Actor,
        at: (&WebhookName, &EnvironmentName),
        name: &ConfigName,
        (value, previous): (&SecretValue, Option<Duration>),
    ) -> Result<Option<PromotionId>> {
        let (webhook, environment) = at;
        rights::allow(actor, Action::Develop, "set secrets of", Some(webhook), Some(environment))?;
        let deps = self.deps();
        let release = match deps.store.deployment_current(webhook, environment).await? {
            Some(current) => Some(named(deps, webhook, &current.release).await?),
            None => None,
        };
        let mut tx = deps.store.begin().await?;
        match previous {
            Some(time) => deps.store.secret_rotate_in(&mut tx, at, name, (value, deps.clock.now().plus(time))).await?,
            None => deps.store.secret_set_in(&mut tx, at, name, value).await?,
        }
        let entry = NewAudit {
            user: &actor.user,
            action: "secret.set",
            webhook: Some(webhook),
            environment: Some(environment),
            detail: name.as_str(),
        };
        tx.audit_append(entry).await?;
        let mut opened = None;
        if let Some(release) = release {
            let open = deps.store.promotion_open_in(&mut tx, webhook, environment, &release.id).await?;
            let promotion = match open {
                Some(open) => open,
                None => open_in(deps, &mut tx, &release, environment, Origin::Reconfigure { actor: actor.user.clone() }).await?,
            };
            audit_in(&mut tx, actor, "promotion.reconfigure", &promotion, "").await?;
            opened = (promotion.status == PromotionStatus::Waiting).then_some(promotion.id);
        }
        tx.commit("secret.set").await?;
        wake_all(deps);
        Ok(opened)
    }

    async fn decide(&self, actor: &Actor, promotion: Promotion, decision: Decision, reason: Option<String>) -> Result<PromotionId> {
        let deps = self.deps();
        let approval = Approval {
            id: ApprovalId::new(&*deps.ids),
            promotion: promotion.id,
            release: promotion.release.clone(),
            environment: promotion.environment.clone(),
            webhook: promotion.webhook.clone(),
            user: actor.user.clone(),
            teams: actor.teams.clone(),
            decision,
            reason,
            at: deps.clock.now(),
        };
        let (action, detail) = match decision {
            Decision::Approve => ("promotion.approved", approval.reason.clone().unwrap_or_default()),
            Decision::Reject => ("promotion.rejected", approval.reason.clone().unwrap_or_default()),
            Decision::Override => ("promotion.overridden", approval.reason.clone().unwrap_or_default()),
        };
        let mut tx = deps.store.begin().await?;
        deps.store.approval_add_in(&mut tx, &approval).await?;
        if decision == Decision::Reject {
            let why = approval.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let sentence = format!("rejected by {}{why}", actor.user);
            if !end_in(deps, &mut tx, &promotion, PromotionStatus::Canceled, sentence).await? {
                return Err(Error::Conflict("the promotion does not wait any more; look at its status".to_owned()));
            }
        }
        audit_in(&mut tx, actor, action, &promotion, &detail).await?;
        tx.commit("promotion.decided").await?;
        wake_all(deps);
        Ok(promotion.id)
    }
}

async fn audit_in(tx: &mut Tx, actor: &Actor, action: &str, promotion: &Promotion, detail: &str) -> Result<()> {
    let detail = format!("{} {detail}", promotion.release);
    let (webhook, environment) = (Some(&promotion.webhook), Some(&promotion.environment));
    tx.audit_append(NewAudit { user: &actor.user, action, webhook, environment, detail: detail.trim() }).await?;
    Ok(())
}

async fn promotions(deps: &Deps, webhook: &WebhookName, at: Option<&EnvironmentName>, open: bool) -> Result<Vec<Promotion>> {
    let filter = PromotionFilter { webhook: Some(webhook.clone()), environment: at.cloned(), open, before: None, limit: OPEN_LIMIT };
    Ok(deps.store.promotion_list(&filter).await?)
}

/// The release that came to an environment before `current` did, of those that succeeded there, the oldest first. One counts by when it came first; so
/// going back twice goes back further, and never to what was just left.
fn release_before(succeeded: impl Iterator<Item = ReleaseId>, current: Option<&ReleaseId>) -> Option<ReleaseId> {
    let mut came: Vec<ReleaseId> = Vec::new();
    for release in succeeded {
        if !came.contains(&release) {
            came.push(release);
        }
    }
    match current.and_then(|current| came.iter().position(|release| release == current)) {
        Some(at) => at.checked_sub(1).map(|before| came.swap_remove(before)),
        None => came.pop(),
    }
}

async fn named(deps: &Deps, webhook: &WebhookName, id: &ReleaseId) -> Result<Release> {
    let release = deps.store.release_fetch(id).await?.filter(|release| release.webhook == *webhook);
    release.ok_or_else(|| Error::NotFound(format!("`{webhook}` has no release {id}; `hookwright releases {webhook}` lists them")))
}

/// The one waiting promotion that is meant.
async fn waiting(deps: &Deps, webhook: &WebhookName, environment: &EnvironmentName, release: Option<&ReleaseId>) -> Result<Promotion> {
    let mut found = promotions(deps, webhook, Some(environment), true).await?;
    found.retain(|one| one.status == PromotionStatus::Waiting && release.is_none_or(|release| one.release == *release));
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|one| one.release.as_str()).collect();
        return Err(Error::Conflict(format!("more than one release waits for `{environment}`: name one of {}", names.join(", "))));
    }
    found.pop().ok_or_else(|| Error::NotFound(format!("nothing of `{webhook}` waits for `{environment}`")))
}

/// Whether the release succeeded wherever it must have been before.
async fn is_ready(deps: &Deps, release: &Release, environment: &EnvironmentName) -> Result<bool> {
    let spec = spec_of(release)?;
    let missing = || Error::NotFound(format!("{} declares no environment `{environment}`", release.id));
    let after = &spec.environment(environment).ok_or_else(missing)?.after;
    let past = promotions(deps, &release.webhook, None, false).await?;
    let succeeded = |place: &EnvironmentName| {
        past.iter().any(|one| one.environment == *place && one.release == release.id && one.status == PromotionStatus::Succeeded)
    };
    Ok(after.iter().all(succeeded))
}

async fn newest_ready(deps: &Deps, webhook: &WebhookName, environment: &EnvironmentName) -> Result<Release> {
    for release in deps.store.release_list(Some(webhook), None, OPEN_LIMIT).await? {
        if matches!(is_ready(deps, &release, environment).await, Ok(true)) {
            return Ok(release);
        }
    }
    Err(Error::NotFound(format!(
        "no release of `{webhook}` is ready for `{environment}`; push one, or promote it into the environment before"
    )))
}

/// The waiting promotion of this release with the new origin, or a new one. One that is being deployed cannot be taken over.
async fn take_or_open_in(deps: &Deps, tx: &mut Tx, release: &Release, environment: &EnvironmentName, origin: Origin) -> Result<Promotion> {
    if tx.webhook_hold(&release.webhook).await?.is_none() {
        return Err(Error::NotFound(format!("the webhook `{}` was removed", release.webhook)));
    }
    let open = deps.store.promotion_open_in(tx, &release.webhook, environment, &release.id).await?;
    let Some(mut open) = open else { return open_in(deps, tx, release, environment, origin).await };
    if open.status != PromotionStatus::Waiting {
        return Err(Error::Conflict(format!("{} is being deployed to `{environment}` right now; wait for its end", release.id)));
    }
    open.origin = origin;
    open.created_at = deps.clock.now();
    deps.store.promotion_update_in(tx, PromotionStatus::Waiting, &open).await?;
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_twice_goes_back_further_and_never_to_what_was_just_left() {
        let release = |number: u8| format!("rel-{number:016x}").parse::<ReleaseId>().unwrap_or_else(|error| panic!("{error}"));
        let before = |past: &[u8], current: Option<u8>| {
            let current = current.map(release);
            release_before(past.iter().map(|number| release(*number)), current.as_ref())
        };
        assert_eq!(before(&[1, 2, 3], Some(3)), Some(release(2)));
        assert_eq!(before(&[1, 2, 3, 2], Some(2)), Some(release(1)), "and not the third, which was left");
        assert_eq!(before(&[1, 2, 3, 2, 1], Some(1)), None);
        assert_eq!(before(&[1, 2, 3, 2, 3], Some(3)), Some(release(2)), "it came again, and is where it was");
        assert_eq!(before(&[1, 2], None), Some(release(2)), "nothing is there now");
    }
}
