//! Holds: an environment that automation leaves alone. A rollback begins one, and so may a person with a reason; a person ends it, with or
//! without promoting something. Invariant: every begin and every end is in the audit log, in the transaction of the deed.

use hookwright_core::{Action, Actor, Decision, EnvironmentName, Hold, Origin, Promotion, Timestamp, WebhookName};
use hookwright_store::{NewAudit, Tx};

use super::wake_all;
use crate::{Control, Deps, Error, Result, rights};

impl Control {
    /// Holds an environment by hand: what arrives from then on waits, until somebody promotes or ends the hold.
    ///
    /// # Errors
    /// `Forbidden`; `Invalid` without a reason; `NotFound` where the webhook has no such environment; `Conflict` when it is held already.
    pub async fn hold_set(&self, actor: &Actor, webhook: &WebhookName, environment: &EnvironmentName, reason: String) -> Result<Hold> {
        rights::allow(actor, Action::Develop, "hold", Some(webhook), Some(environment))?;
        if reason.trim().is_empty() {
            return Err(Error::Invalid("a hold needs a reason: it is what everybody reads whose release waits".to_owned()));
        }
        let deps = self.deps();
        is_declared(deps, webhook, environment).await?;
        let (webhook, environment, actor_name) = (webhook.clone(), environment.clone(), actor.user.clone());
        let hold = Hold { webhook, environment, release: None, actor: actor_name, reason, since: deps.clock.now() };
        let mut tx = deps.store.begin().await?;
        if let Some(held) = deps.store.hold_fetch_in(&mut tx, &hold.webhook, &hold.environment).await? {
            let (webhook, environment) = (&held.webhook, &held.environment);
            return Err(Error::Conflict(format!(
                "{} holds `{environment}` already since {}: {}; end that hold first with `hookwright hold end {webhook} {environment}`",
                held.actor, held.since, held.reason
            )));
        }
        deps.store.hold_set_in(&mut tx, &hold).await?;
        audit_in(&mut tx, &actor.user, "hold.set", &hold, &hold.reason).await?;
        tx.commit("hold.set").await?;
        wake_all(deps);
        Ok(hold)
    }

    /// Ends a hold and promotes nothing: what waits goes on as its other gates say.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` when nobody holds the environment.
    pub async fn hold_end(&self, actor: &Actor, webhook: &WebhookName, environment: &EnvironmentName) -> Result<()> {
        rights::allow(actor, Action::Develop, "end the hold of", Some(webhook), Some(environment))?;
        let deps = self.deps();
        let mut tx = deps.store.begin().await?;
        let held = deps.store.hold_fetch_in(&mut tx, webhook, environment).await?;
        let missing = || Error::NotFound(format!("nobody holds `{webhook}` in `{environment}`; there is nothing to end"));
        let hold = held.ok_or_else(missing)?;
        deps.store.hold_clear_in(&mut tx, webhook, environment).await?;
        audit_in(&mut tx, &actor.user, "hold.ended", &hold, &format!("set by {}: {}", hold.actor, hold.reason)).await?;
        tx.commit("hold.ended").await?;
        wake_all(deps);
        Ok(())
    }
}

/// Whose word led a promotion through a hold: who asked for it, or who approved it last.
pub(crate) async fn word_of(deps: &Deps, promotion: &Promotion) -> Result<Option<String>> {
    if let Origin::Person { actor } = &promotion.origin {
        return Ok(Some(actor.clone()));
    }
    let approvals = deps.store.approval_list(&promotion.webhook, &promotion.environment, &promotion.release).await?;
    Ok(approvals.into_iter().rev().find(|one| one.decision == Decision::Approve).map(|approval| approval.user))
}

/// Ends the hold that a promotion went through by somebody's word. One that began after its deployment did is not its to end.
pub(crate) async fn lift_in(deps: &Deps, tx: &mut Tx, promotion: &Promotion, (word, deployed_at): (Option<&str>, Timestamp)) -> Result<()> {
    let held = deps.store.hold_fetch_in(tx, &promotion.webhook, &promotion.environment).await?;
    let Some(hold) = held.filter(|hold| hold.since <= deployed_at) else { return Ok(()) };
    deps.store.hold_clear_in(tx, &promotion.webhook, &promotion.environment).await?;
    audit_in(tx, word.unwrap_or(&hold.actor), "hold.ended", &hold, &format!("by promoting {}", promotion.release)).await
}

/// Writes a line of the audit log about a hold.
pub(crate) async fn audit_in(tx: &mut Tx, user: &str, action: &str, hold: &Hold, detail: &str) -> Result<()> {
    let (webhook, environment) = (Some(&hold.webhook), Some(&hold.environment));
    Ok(tx.audit_append(NewAudit { user, action, webhook, environment, detail }).await?)
}

/// Refuses an environment that neither the default branch's spec nor a deployment knows.
async fn is_declared(deps: &Deps, webhook: &WebhookName, environment: &EnvironmentName) -> Result<()> {
    let stored = deps.store.webhook_spec_fetch(webhook).await?;
    let spec: Option<hookwright_spec::Spec> = stored.and_then(|stored| serde_json::from_str(&stored.spec).ok());
    let declares = spec.is_some_and(|spec| spec.environment(environment).is_some());
    if declares || !deps.store.deployment_list(webhook, Some(environment), 1).await?.is_empty() {
        return Ok(());
    }
    Err(Error::NotFound(format!("`{webhook}` declares no environment `{environment}`; `hookwright status {webhook}` names those it has")))
}
