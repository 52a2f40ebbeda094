//! What taking out of service and removing write, each in the caller's transaction: of one environment of a webhook, or of all of it.
//! Invariant: nothing that counts for a webhook is left when its name is given free. What stays is history: runs, events, the audit log, and
//! what is needed to end what still runs and to take hooks away at event sources.

use hookwright_core::{Deployment, EnvironmentName, Promotion, RepositoryId, Subscription, SubscriptionId, WebhookName};

use crate::run::RunStop;
use crate::sql::args;
use crate::webhook::WebhookRecord;
use crate::{Result, Store, Tx, deployment, promotion};

impl Tx {
    /// Whose a webhook is; from then on until the end of the transaction nobody else removes it.
    pub async fn webhook_hold(&mut self, name: &WebhookName) -> Result<Option<RepositoryId>> {
        const HOLD: &str = "UPDATE webhooks SET name = name WHERE name = $1 RETURNING repository";
        self.fetch_optional(HOLD, args![name]).await?.map(|row| row.parse("repository")).transpose()
    }

    /// Gives the name of a webhook free; whether it was taken.
    pub async fn webhook_delete(&mut self, name: &WebhookName) -> Result<bool> {
        const DELETE: &str = "DELETE FROM webhooks WHERE name = $1";
        Ok(self.execute(DELETE, args![name]).await? > 0)
    }

    /// Asks every run of a webhook that has not ended to stop; how many there were.
    pub async fn run_stop_all(&mut self, webhook: &WebhookName, stop: &RunStop) -> Result<u64> {
        const STOP: &str =
            "UPDATE runs SET stop_status = $1, stop_reason = $2 WHERE webhook = $3 AND ended_at IS NULL AND stop_status IS NULL";
        self.execute(STOP, args![stop.status, stop.reason, webhook]).await
    }

    /// The promotions of a webhook that have not ended, into one environment or into any.
    pub async fn promotion_list_open(&mut self, webhook: &WebhookName, environment: Option<&EnvironmentName>) -> Result<Vec<Promotion>> {
        let environment = environment.map(ToString::to_string).unwrap_or_default();
        self.fetch_all(promotion::OPEN_OF_WEBHOOK, args![webhook, environment]).await?.iter().map(promotion::read).collect()
    }

    /// The deployments of a webhook that have or may have instances and are not on their way out, in one environment or in any.
    pub async fn deployment_list_in_service(
        &mut self,
        webhook: &WebhookName,
        environment: Option<&EnvironmentName>,
    ) -> Result<Vec<Deployment>> {
        let environment = environment.map(ToString::to_string).unwrap_or_default();
        self.fetch_all(deployment::IN_SERVICE, args![webhook, environment]).await?.iter().map(deployment::read).collect()
    }

    /// Switches off what receives events for a webhook, in one environment or in any: its addresses answer nobody from then on.
    pub async fn subscription_switch_off(&mut self, webhook: &WebhookName, environment: Option<&EnvironmentName>) -> Result<u64> {
        const OFF: &str = "UPDATE subscriptions SET status = 'off', status_reason = NULL, updated_at = $3
            WHERE webhook = $1 AND ($2 = '' OR environment = $2) AND status <> 'off'";
        let (now, environment) = (self.clock.now(), environment.map(ToString::to_string).unwrap_or_default());
        self.execute(OFF, args![webhook, environment, now]).await
    }

    /// Takes the subscriptions of a removed webhook out of the way of the next one of its name, which gets addresses of its own. They are kept,
    /// under a name that no webhook has, until their sources have been told: see [`is_detached`].
    pub async fn subscription_detach(&mut self, webhook: &WebhookName) -> Result<u64> {
        const DETACH: &str = "UPDATE subscriptions SET webhook = 'removed-' || SUBSTR(id, 5), status = 'off', secret = NULL, updated_at = $2 WHERE webhook = $1";
        let now = self.clock.now();
        self.execute(DETACH, args![webhook, now]).await
    }

    /// Forgets a subscription, and what was remembered of it.
    pub async fn subscription_forget(&mut self, id: SubscriptionId) -> Result<()> {
        const FORGET: [&str; 7] = [
            "DELETE FROM refusals WHERE subscription = $1",
            "DELETE FROM catch_ups WHERE subscription = $1",
            "DELETE FROM missed_deliveries WHERE subscription = $1",
            "DELETE FROM schedules WHERE subscription = $1",
            "DELETE FROM channels WHERE subscription = $1",
            "DELETE FROM change_marks WHERE subscription = $1",
            "DELETE FROM subscriptions WHERE id = $1",
        ];
        for statement in FORGET {
            self.execute(statement, args![id]).await?;
        }
        Ok(())
    }

    /// Stops what was still to be delivered to a webhook; how many deliveries. What came for the repository of that name is the engine's own.
    pub async fn delivery_cancel_all(&mut self, webhook: &WebhookName, reason: &str) -> Result<u64> {
        const CANCEL: &str = "UPDATE deliveries SET status = 'canceled', status_reason = $2, ended_at = $3
            WHERE webhook = $1 AND status IN ('queued', 'waiting')
            AND subscription IN (SELECT id FROM subscriptions WHERE webhook = $1)";
        let now = self.clock.now();
        self.execute(CANCEL, args![webhook, reason, now]).await
    }

    /// Deletes what would count for the next webhook of that name: secrets, approvals, promotions, releases, holds, the spec of the default
    /// branch, and deployments that have ended. Returns how many secrets there were.
    pub async fn webhook_forget(&mut self, webhook: &WebhookName) -> Result<u64> {
        const SECRETS: &str = "DELETE FROM secrets WHERE webhook = $1";
        const REST: [&str; 7] = [
            "DELETE FROM previous_secrets WHERE webhook = $1",
            "DELETE FROM approvals WHERE webhook = $1",
            "DELETE FROM promotions WHERE webhook = $1",
            "DELETE FROM releases WHERE webhook = $1",
            "DELETE FROM holds WHERE webhook = $1",
            "DELETE FROM webhook_specs WHERE webhook = $1",
            "DELETE FROM deployments WHERE webhook = $1 AND status IN ('retired', 'failed', 'errored')",
        ];
        let secrets = self.execute(SECRETS, args![webhook]).await?;
        for statement in REST {
            self.execute(statement, args![webhook]).await?;
        }
        Ok(secrets)
    }
}

impl Store {
    /// The webhooks of a repository, by name.
    pub async fn webhook_list_of(&self, repository: &RepositoryId) -> Result<Vec<WebhookRecord>> {
        const LIST: &str = "SELECT name, repository, folder, created_at FROM webhooks WHERE repository = $1 ORDER BY name";
        self.fetch_all(LIST, args![repository]).await?.iter().map(crate::webhook::read).collect()
    }
}

/// Whether a subscription is of a webhook that was removed, and is kept only until its source has been told.
pub fn is_detached(subscription: &Subscription) -> bool {
    let id = subscription.id.to_string();
    id.split_once('_').is_some_and(|(_, id)| subscription.place.webhook.as_str().strip_prefix("removed-") == Some(id))
}
