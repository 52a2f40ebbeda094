//! One look at all open promotions: overtaken ones end, the others hear their gates, and what passes becomes a deployment. Level-triggered, but a
//! promotion is judged again only when something that its verdicts depend on has changed: most wait for a person, for days.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use hookwright_core::port::{Notifier, Topic};
use hookwright_core::status::{DeploymentStatus, PromotionStatus};
use hookwright_core::{Deployment, DeploymentId, Hold, Origin, Promotion, PromotionId, Release, Timestamp};
use hookwright_spec::Spec;
use hookwright_store::{PromotionFilter, StandingStamp};
use tracing::{info, warn};

use super::{OPEN_LIMIT, end_in, reconfigure_in, spec_of, wake_all};
use crate::{Deps, Error, Result, config, gate};

/// How often all are judged although nothing seems to have changed: an approval may have expired. Longer than any test waits, so that whatever is
/// forgotten in [`By`] fails one.
const ALL_ANEW: Duration = Duration::from_secs(600);

/// What is remembered between two looks.
#[derive(Default)]
pub(super) struct Judged {
    /// What each promotion that waits was judged by.
    by: HashMap<PromotionId, By>,
    /// When all are judged anew.
    anew_at: Duration,
}

/// What a promotion is judged by.
#[derive(PartialEq, Eq)]
struct By {
    stamp: StandingStamp,
    /// Who asked for it last, and when: somebody may take over what waits already.
    asked: (Origin, Timestamp),
    /// Whether another one is being deployed at its place.
    is_busy: bool,
}

/// An open promotion whose release is there.
struct Open {
    promotion: Promotion,
    released_at: Timestamp,
    stamp: StandingStamp,
}

pub(super) async fn pass(deps: &Deps, judged: &mut Judged) -> Result<()> {
    // Before anything is read that is judged by: what changes meanwhile is seen by the next look.
    let standings = deps.store.promotion_standings().await?;
    let mut standings: HashMap<_, _> = standings.into_iter().map(|standing| (standing.promotion, standing)).collect();
    let now = deps.clock.monotonic();
    if now >= judged.anew_at {
        judged.by.clear();
        judged.anew_at = now + ALL_ANEW;
    }
    let open = deps.store.promotion_list(&PromotionFilter { open: true, limit: OPEN_LIMIT, ..PromotionFilter::default() }).await?;
    let mut known = Vec::new();
    for promotion in open.into_iter().rev() {
        // One that was opened since comes with a wake-up.
        let Some(standing) = standings.remove(&promotion.id) else { continue };
        match standing.released_at {
            Some(released_at) => known.push(Open { promotion, released_at, stamp: standing.stamp }),
            None => give_up(deps, &promotion).await?,
        }
    }
    let mut places: HashMap<_, Vec<&Open>> = HashMap::new();
    for open in &known {
        places.entry((&open.promotion.webhook, &open.promotion.environment)).or_default().push(open);
    }
    let waiting: HashSet<PromotionId> = known.iter().map(|open| open.promotion.id).collect();
    judged.by.retain(|id, _| waiting.contains(id));
    // Where this very look began a deployment.
    let mut begun = HashSet::new();
    for open in known.iter().filter(|open| open.promotion.status == PromotionStatus::Waiting) {
        let promotion = &open.promotion;
        let here = places.get(&(&promotion.webhook, &promotion.environment));
        let others = || here.into_iter().flatten().filter(|other| other.promotion.id != promotion.id);
        if let Some(newer) = others().find(|other| overtakes(other, open)) {
            supersede(deps, promotion, &newer.promotion).await?;
            continue;
        }
        let place = (&promotion.webhook, &promotion.environment);
        let busy = begun.contains(&place) || others().any(|other| other.promotion.status == PromotionStatus::Deploying);
        let by = By { stamp: open.stamp.clone(), asked: (promotion.origin.clone(), promotion.created_at), is_busy: busy };
        if judged.by.get(&promotion.id) == Some(&by) {
            continue;
        }
        judged.by.remove(&promotion.id);
        match judge(deps, promotion, busy).await {
            Ok(true) => drop(judged.by.insert(promotion.id, by)),
            Ok(false) => drop(begun.insert(place)),
            Err(error) => {
                warn!(promotion.id = %promotion.id, error = &error as &dyn std::error::Error, "a promotion could not be judged; trying again");
            }
        }
    }
    Ok(())
}

/// Ends a promotion whose release is not there, so that it does not stand in the way for ever.
async fn give_up(deps: &Deps, promotion: &Promotion) -> Result<()> {
    warn!(promotion.id = %promotion.id, "the release of a promotion is gone");
    let mut tx = deps.store.begin().await?;
    end_in(deps, &mut tx, promotion, PromotionStatus::Errored, format!("the release {} is gone", promotion.release)).await?;
    tx.commit("promotion.errored").await?;
    wake_all(deps);
    Ok(())
}

/// Only the newest goes on; what a person asked for yields only to what was asked later.
fn overtakes(newer: &Open, open: &Open) -> bool {
    let (other, promotion) = (&newer.promotion, &open.promotion);
    let automatic = matches!(promotion.origin, Origin::Run { .. } | Origin::Automation);
    let is_newer = (newer.released_at, &other.release) > (open.released_at, &promotion.release);
    other.status == PromotionStatus::Waiting && is_newer && (automatic || other.id > promotion.id)
}

async fn release(deps: &Deps, promotion: &Promotion) -> Result<Release> {
    let missing = || Error::NotFound(format!("the release {} is gone", promotion.release));
    deps.store.release_fetch(&promotion.release).await?.ok_or_else(missing)
}

async fn supersede(deps: &Deps, promotion: &Promotion, newer: &Promotion) -> Result<()> {
    let newer = release(deps, newer).await?;
    let mut tx = deps.store.begin().await?;
    end_in(
        deps,
        &mut tx,
        promotion,
        PromotionStatus::Superseded,
        format!("the newer release of commit `{}` took its place", newer.commit.short()),
    )
    .await?;
    tx.commit("promotion.superseded").await?;
    wake_all(deps);
    Ok(())
}

/// How many more people have to approve what waits.
pub(super) async fn approvals_left(deps: &Deps, promotion: &Promotion) -> Result<usize> {
    let release = release(deps, promotion).await?;
    let (spec, deployed) = (spec_of(&release)?, deps.store.deployment_current(&promotion.webhook, &promotion.environment).await?);
    let hold = deps.store.hold_fetch(&promotion.webhook, &promotion.environment).await?;
    with_facts(deps, promotion, (&release, &spec, deployed.as_ref()), hold.as_ref(), gate::approvals_left).await
}

/// Asks something of all that gates look at.
async fn with_facts<T>(
    deps: &Deps,
    promotion: &Promotion,
    (release, spec, deployed): (&Release, &Spec, Option<&Deployment>),
    hold: Option<&Hold>,
    ask: impl FnOnce(&gate::Facts<'_>) -> T,
) -> Result<T> {
    let (webhook, environment) = (&promotion.webhook, &promotion.environment);
    let mut policies = Vec::new();
    if let Some(text) = deps.store.release_policy_spec(webhook).await? {
        let policy: Spec = serde_json::from_str(&text).map_err(|cause| Error::internal("read the default branch's spec", cause))?;
        policies.extend(policy.environment(environment).cloned());
    }
    if let Some(deployed) = deployed
        && let Some(deployed) = deps.store.release_fetch(&deployed.release).await?
    {
        policies.extend(spec_of(&deployed)?.environment(environment).cloned());
    }
    if policies.is_empty() {
        policies.extend(spec.environment(environment).cloned());
    }
    let approvals = deps.store.approval_list(webhook, environment, &release.id).await?;
    let secrets = deps.store.secret_names(webhook, environment).await?.into_iter().collect();
    let registers = |source: &str| !deps.settings.public_url.is_empty() && deps.subscriber.hands_out_secrets(source);
    let by_hand = spec.triggers.values().map(|trigger| trigger.source.clone()).filter(|source| !registers(source)).collect();
    let revision = deps.store.revision_fetch(&release.revision).await?;
    let proven = deps.store.promotion_has_succeeded(webhook, environment, &release.id).await?;
    Ok(ask(&gate::Facts {
        promotion,
        spec,
        policies: &policies,
        secrets: &secrets,
        by_hand: &by_hand,
        approvals: &approvals,
        hold,
        author: revision.as_ref().and_then(|revision| revision.actor.as_deref()),
        proven,
        now: deps.clock.now(),
    }))
}

/// Asks the gates, and deploys when all pass; whether it waits on.
async fn judge(deps: &Deps, promotion: &Promotion, busy: bool) -> Result<bool> {
    let (webhook, environment) = (&promotion.webhook, &promotion.environment);
    let release = release(deps, promotion).await?;
    let spec = spec_of(&release)?;
    let deployed = deps.store.deployment_current(webhook, environment).await?;
    if let Origin::Reconfigure { actor } = &promotion.origin
        && deployed.as_ref().is_none_or(|deployed| deployed.release != release.id)
    {
        give_way(deps, promotion, actor, deployed.as_ref()).await?;
        return Ok(false);
    }
    let hold = deps.store.hold_fetch(webhook, environment).await?;
    let verdicts = with_facts(deps, promotion, (&release, &spec, deployed.as_ref()), hold.as_ref(), gate::evaluate).await?;
    let mut judged = promotion.clone();
    judged.status_reason = match gate::obstacle(&verdicts) {
        Some(obstacle) => Some(format!("`{}`: {}", obstacle.gate, obstacle.verdict.reason)),
        None if busy => Some("another release is being deployed here; this one is next".to_owned()),
        None => None,
    };
    judged.verdicts = verdicts;
    if judged.status_reason.is_none() {
        deploy(deps, judged, &release, &spec, hold.as_ref()).await?;
        return Ok(false);
    }
    if judged != *promotion {
        let mut tx = deps.store.begin().await?;
        deps.store.promotion_judge_in(&mut tx, &judged).await?;
        tx.commit("promotion.judged").await?;
        deps.wakes.wake(Topic::Scheduler);
    }
    Ok(true)
}

/// Ends a promotion that was to give new values to what is not live any more. What is live instead gets them, unless it began with them.
async fn give_way(deps: &Deps, promotion: &Promotion, actor: &str, live: Option<&Deployment>) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let reason = live.map_or_else(|| "nothing is live any more".to_owned(), |live| format!("{} was deployed meanwhile", live.release));
    end_in(deps, &mut tx, promotion, PromotionStatus::Superseded, reason).await?;
    if let Some(live) = live.filter(|live| live.created_at <= promotion.created_at) {
        reconfigure_in(deps, &mut tx, live, actor).await?;
    }
    tx.commit("promotion.superseded").await?;
    wake_all(deps);
    Ok(())
}

/// Writes the intent to deploy. A hold that was set or lifted since the gates were asked sends the promotion back to them.
async fn deploy(deps: &Deps, mut promotion: Promotion, release: &Release, spec: &Spec, hold: Option<&Hold>) -> Result<()> {
    let from = promotion.status;
    promotion.status = from.to(PromotionStatus::Deploying)?;
    let deployment = Deployment {
        id: DeploymentId::new(&*deps.ids),
        webhook: promotion.webhook.clone(),
        environment: promotion.environment.clone(),
        generation: 0,
        release: release.id.clone(),
        image: release.image,
        promotion: promotion.id,
        config: config::resolve(spec, &promotion.environment),
        instances: spec.environment(&promotion.environment).map_or(1, |environment| environment.scale.min.max(1)),
        status: DeploymentStatus::Pending,
        status_reason: None,
        created_at: deps.clock.now(),
        live_at: None,
        ended_at: None,
    };
    promotion.deployment = Some(deployment.id);
    let mut tx = deps.store.begin().await?;
    let held = deps.store.hold_fetch_in(&mut tx, &promotion.webhook, &promotion.environment).await?;
    if held.as_ref() != hold || !deps.store.promotion_update_in(&mut tx, from, &promotion).await? {
        deps.wakes.wake(Topic::Promotion);
        return Ok(());
    }
    deps.store.deployment_add_in(&mut tx, &deployment).await?;
    tx.commit("promotion.deploying").await?;
    info!(promotion.id = %promotion.id, "{} of `{}` goes to `{}`", release.id, promotion.webhook, promotion.environment);
    deps.wakes.wake(Topic::Reconcile);
    Ok(())
}
