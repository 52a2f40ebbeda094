//! What people may ask of events: deliver one again, or many, and try a trigger with an example. Rights are checked here.

use std::time::Duration;

use hookwright_core::port::{Notifier, SampleEvent, Topic};
use hookwright_core::status::{DeliveryStatus, SubscriptionStatus};
use hookwright_core::{
    Action, Actor, Blame, Delivery, DeliveryId, EnvironmentName, Event, EventId, RepositoryHook, SubscriptionId, Timestamp, TriggerPlace,
    WebhookName,
};
use hookwright_store::{AttemptEnd, DeliveryFilter, NewAudit};

use crate::{Control, Error, Result, rights};

/// Deliveries that one request may repeat.
const MOST: u64 = 100_000;

/// How often pages are told at most that events came or were delivered.
const NEWS: Duration = Duration::from_secs(1);

/// Read at a time.
const PORTION: u32 = 500;

/// Whether an event is one of those that are sought: what the store cannot ask, as what stands in a body.
pub type IsSought<'a> = dyn Fn(&Event) -> bool + Send + Sync + 'a;

impl Control {
    /// Delivers an event again, to where it came for or to another environment of its webhook. It is marked as a replay. What its trigger hides was
    /// cut out once it was delivered: then it is sent without, and the event says so (`redacted`).
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Conflict` when the trigger is not deployed there.
    pub async fn event_replay(&self, actor: &Actor, id: EventId, environment: Option<&EnvironmentName>) -> Result<(Delivery, Event)> {
        let missing = || Error::NotFound(format!("there is no event {id}"));
        let event = self.deps().store.event_fetch(id).await?.ok_or_else(missing)?;
        let target = self.replay_target(actor, &event.place, environment).await?;
        if !target.is_repositorys && self.webhook_since(&event.place.webhook).await?.is_none_or(|since| event.received_at < since) {
            let text = format!("{id} came for a webhook `{}` that was removed since; it is not sent to the next one", event.place.webhook);
            return Err(Error::Conflict(text));
        }
        let delivery = self.replay(&event, &target).await?;
        self.audit(actor, &target.place, ("event.replay", &format!("{id} as {}", delivery.id))).await?;
        Ok((delivery, event))
    }

    /// Delivers again whatever the filter selects, oldest first and each event once, however often it was delivered before. What was skipped is left out
    /// unless it is asked for; so is what is being delivered there already, and what was given up and delivered there since. Returns how many
    /// there were, and how many of them were redacted.
    ///
    /// # Errors
    /// `Invalid` without a webhook or for more than a hundred thousand; `Forbidden`; `Conflict` when a trigger is not deployed where they go.
    pub async fn event_replay_all(
        &self,
        actor: &Actor,
        filter: &DeliveryFilter,
        environment: Option<&EnvironmentName>,
    ) -> Result<(u64, u64)> {
        self.event_replay_matching(actor, (filter, None), environment).await
    }

    /// The same, less the deliveries whose event `is_sought` does not want.
    ///
    /// # Errors
    /// As [`event_replay_all`](Self::event_replay_all).
    pub async fn event_replay_matching(
        &self,
        actor: &Actor,
        (filter, is_sought): (&DeliveryFilter, Option<&IsSought<'_>>),
        environment: Option<&EnvironmentName>,
    ) -> Result<(u64, u64)> {
        let Some(webhook) = &filter.webhook else { return Err(Error::Invalid("name a webhook".to_owned())) };
        let missing = || Error::NotFound(format!("there is no webhook `{webhook}`"));
        let webhook_since = self.webhook_since(webhook).await?.ok_or_else(missing)?;
        let mut chosen: Vec<Delivery> = Vec::new();
        let mut before = None;
        loop {
            let page = self.deps().store.delivery_list(filter, before, PORTION).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.sequence);
            for delivery in page {
                let is_chosen = match is_sought {
                    None => true,
                    Some(is_sought) => self.deps().store.event_fetch(delivery.event).await?.is_some_and(|event| is_sought(&event)),
                };
                if is_chosen {
                    chosen.push(delivery);
                }
            }
            if chosen.len() as u64 > MOST {
                return Err(Error::Invalid(format!("these are more than {MOST} deliveries; choose a shorter time")));
            }
        }
        let places: std::collections::BTreeSet<&TriggerPlace> = chosen.iter().map(|delivery| &delivery.place).collect();
        let mut targets = std::collections::BTreeMap::new();
        for place in places {
            targets.insert(place.clone(), self.replay_target(actor, place, environment).await?);
        }
        let (mut replayed, mut redacted) = (0, 0);
        let mut done = std::collections::HashSet::new();
        for delivery in chosen.iter().rev() {
            let Some(target) = targets.get(&delivery.place) else { continue };
            let is_skipped = filter.status.is_none() && delivery.status == DeliveryStatus::Skipped;
            // Where a replay went is no place that the event came for, unless that place is asked for.
            let is_elsewhere = filter.status.is_none() && filter.environment.is_none() && delivery.replay;
            if is_skipped || is_elsewhere || done.contains(&(delivery.event, target.subscription)) {
                continue;
            }
            // What came for a webhook that was removed is not for the next one of its name.
            let is_former = !target.is_repositorys && delivery.created_at < webhook_since;
            if is_former || self.is_settled(delivery, target).await? {
                continue;
            }
            let Some(event) = self.deps().store.event_fetch(delivery.event).await? else { continue };
            done.insert((delivery.event, target.subscription));
            self.replay(&event, target).await?;
            replayed += 1;
            redacted += u64::from(event.redacted);
        }
        let mut tx = self.deps().store.begin().await?;
        let detail = format!("{replayed} deliveries");
        let line = NewAudit { user: &actor.user, action: "event.replay", webhook: Some(webhook), environment, detail: &detail };
        tx.audit_append(line).await?;
        tx.commit("event.replayed").await?;
        Ok((replayed, redacted))
    }

    /// Stops a delivery that has not ended.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Conflict` when it has ended.
    pub async fn delivery_cancel(&self, actor: &Actor, id: DeliveryId) -> Result<()> {
        let missing = || Error::NotFound(format!("there is no delivery {id}"));
        let delivery = self.deps().store.delivery_fetch(id).await?.ok_or_else(missing)?;
        let TriggerPlace { webhook, environment, .. } = &delivery.place;
        must(actor, (webhook, environment), "cancel deliveries")?;
        let ended = || Error::Conflict(format!("the delivery {id} has ended"));
        if delivery.status.is_end() {
            return Err(ended());
        }
        let from = delivery.status;
        let canceled = Delivery {
            status: from.to(DeliveryStatus::Canceled)?,
            status_reason: Some(format!("canceled by {}", actor.user)),
            ended_at: Some(self.deps().clock.now()),
            ..delivery.clone()
        };
        if !self.deps().inbox.attempt_ended(AttemptEnd { attempt: None, delivery: canceled, from }).await? {
            return Err(ended());
        }
        self.deps().deliverer.wake(delivery.subscription);
        self.audit(actor, &delivery.place, ("delivery.canceled", &format!("{id} of {}", delivery.event))).await
    }

    /// An example event of a trigger, signed as its source does it; whoever asked sends it.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Invalid` when the source has no such example.
    pub async fn event_sample(
        &self,
        actor: &Actor,
        place: &TriggerPlace,
        (kind, sets): (Option<&str>, &[(String, String)]),
    ) -> Result<SampleEvent> {
        let sample = self.sample(actor, place, (kind, sets)).await?;
        let detail = format!("{} for `{}`", kind.unwrap_or("an example"), place.trigger);
        self.audit(actor, place, ("event.sample", &detail)).await?;
        Ok(sample)
    }

    /// Sends an example event of a trigger to its own address, where it is verified, stored and delivered as if its source had sent it. `None` when
    /// it was taken but the answer does not name it, as a handler's own answer (`mode: sync`) does not.
    ///
    /// # Errors
    /// As for [`event_sample`](Self::event_sample), and `Conflict` when the address refused it.
    pub async fn event_send(
        &self,
        actor: &Actor,
        place: &TriggerPlace,
        (kind, sets): (Option<&str>, &[(String, String)]),
    ) -> Result<Option<EventId>> {
        let sample = self.sample(actor, place, (kind, sets)).await?;
        let answer = self.deps().deliverer.take(sample).await;
        let detail = format!("{} for `{}`, answered {}", kind.unwrap_or("an example"), place.trigger, answer.status);
        self.audit(actor, place, ("event.sent", &detail)).await?;
        let said: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if !(200..300).contains(&answer.status) {
            let why = said["detail"].as_str().unwrap_or(&answer.body);
            return Err(Error::Conflict(format!("the trigger's address refused the event with {}: {why}", answer.status)));
        }
        let Some(id) = said["events"][0].as_str().and_then(|id| id.parse::<EventId>().ok()) else { return Ok(None) };
        // A handler's own answer may say anything.
        let stored = self.deps().store.event_fetch(id).await?;
        Ok(stored.filter(|event| event.place == *place).map(|event| event.id))
    }

    async fn sample(&self, actor: &Actor, place: &TriggerPlace, (kind, sets): (Option<&str>, &[(String, String)])) -> Result<SampleEvent> {
        must(actor, (&place.webhook, &place.environment), "send events")?;
        let target = self.subscription_of(place).await?;
        let sample = self.deps().deliverer.sample(target.subscription, kind, sets, self.deps().clock.now()).await;
        sample.map_err(|error| match error.blame {
            Blame::Failed => Error::Invalid(error.message),
            Blame::Errored => error.into(),
        })
    }

    /// The types of events that there are examples of; none when nothing is deployed.
    pub fn event_kinds(&self, subscription: SubscriptionId) -> Vec<String> {
        self.deps().deliverer.kinds(subscription)
    }

    /// What a person does at the source so that it sends events to `address`.
    pub fn event_steps(&self, subscription: SubscriptionId, address: &str) -> Option<String> {
        self.deps().deliverer.steps(subscription, address)
    }

    /// Since when there is a webhook of that name.
    async fn webhook_since(&self, name: &WebhookName) -> Result<Option<Timestamp>> {
        Ok(self.deps().store.webhook_fetch(name).await?.map(|record| record.created_at))
    }

    /// Whether a delivery need not be made again at a target: it is on its way there, or was given up and delivered there since.
    async fn is_settled(&self, delivery: &Delivery, target: &Target) -> Result<bool> {
        let known = self.deps().store.delivery_list_of_event(delivery.event).await?;
        let mut there = known.iter().filter(|known| known.subscription == target.subscription);
        let given_up = delivery.status == DeliveryStatus::Dead && delivery.subscription == target.subscription;
        Ok(there.any(|known| {
            let is_later = known.sequence > delivery.sequence;
            !known.status.is_end() || given_up && is_later && known.status == DeliveryStatus::Delivered
        }))
    }

    async fn replay(&self, event: &Event, target: &Target) -> Result<Delivery> {
        let deps = self.deps();
        let now = deps.clock.now();
        let known = deps.store.delivery_list_of_event(event.id).await?;
        let delivery = Delivery {
            id: DeliveryId::new(&*deps.ids),
            event: event.id,
            sequence: 0,
            subscription: target.subscription,
            place: target.place.clone(),
            kind: event.kind.clone(),
            status: DeliveryStatus::Queued,
            status_reason: None,
            attempts: 0,
            replay: true,
            order_key: known.into_iter().find_map(|delivery| delivery.order_key),
            created_at: now,
            due_at: now,
            ended_at: None,
        };
        let delivery = deps.inbox.replay(delivery).await?;
        deps.deliverer.wake(target.subscription);
        if target.is_repositorys {
            deps.wakes.wake(Topic::Intake);
        }
        Ok(delivery)
    }

    /// Where a replay goes, if the actor may send there.
    async fn replay_target(&self, actor: &Actor, place: &TriggerPlace, environment: Option<&EnvironmentName>) -> Result<Target> {
        must(actor, (&place.webhook, &place.environment), "replay events")?;
        let environment = environment.unwrap_or(&place.environment);
        must(actor, (&place.webhook, environment), "replay events")?;
        self.subscription_of(&TriggerPlace { environment: environment.clone(), ..place.clone() }).await
    }

    async fn subscription_of(&self, place: &TriggerPlace) -> Result<Target> {
        let store = &self.deps().store;
        let target = |subscription, is_repositorys| Target { subscription, place: place.clone(), is_repositorys };
        let subscriptions = store.subscription_list(&place.webhook, Some(&place.environment)).await?;
        let found = subscriptions.into_iter().find(|subscription| subscription.place.trigger == place.trigger);
        if let Some(found) = found {
            return Ok(target(found.id, false));
        }
        let is_it = |hook: &RepositoryHook| hook.status != SubscriptionStatus::Off && hook.place().is_ok_and(|own| own == *place);
        let found = store.repository_hook_list().await?.into_iter().find(is_it).map(|hook| target(hook.id, true));
        let TriggerPlace { webhook, environment, trigger } = place;
        found.ok_or_else(|| {
            let text = format!("the trigger `{trigger}` of `{webhook}` is not deployed in `{environment}`; `hookwright triggers {webhook}` shows where it is");
            Error::Conflict(text)
        })
    }

    async fn audit(&self, actor: &Actor, place: &TriggerPlace, (action, detail): (&str, &str)) -> Result<()> {
        let mut tx = self.deps().store.begin().await?;
        let (webhook, environment) = (Some(&place.webhook), Some(&place.environment));
        tx.audit_append(NewAudit { user: &actor.user, action, webhook, environment, detail }).await?;
        tx.commit("event.audited").await?;
        Ok(())
    }
}

/// Where deliveries go.
struct Target {
    subscription: SubscriptionId,
    place: TriggerPlace,
    /// Whether it is the hook of a repository, whose events the engine itself reads.
    is_repositorys: bool,
}

fn must(actor: &Actor, (webhook, environment): (&hookwright_core::WebhookName, &EnvironmentName), what: &str) -> Result<()> {
    rights::allow(actor, Action::Develop, &format!("{what} of"), Some(webhook), Some(environment))
}

/// Tells whoever watches everything when events were stored or delivered, at most once a second.
pub(crate) async fn tell_watchers(deps: crate::Deps, tasks: crate::Tasks) {
    let mut written = deps.inbox.written();
    loop {
        tokio::select! {
            changed = written.changed() => if changed.is_err() { return },
            () = tasks.stopping().cancelled() => return,
        }
        deps.wakes.beat();
        tokio::select! {
            () = tokio::time::sleep(NEWS) => {}
            () = tasks.stopping().cancelled() => return,
        }
    }
}
