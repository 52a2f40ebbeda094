//! A webhook on its way to a row of the board: what counts and filters ask of every one. What is drawn is made of those alone that are shown.

use hookwright_core::EnvironmentName;
use hookwright_core::status::{PromotionStatus, SubscriptionStatus};

use super::facts::{Facts, Glance};
use super::{Row, RunShown, TriggersShown};
use crate::error::Result;
use crate::kept::KnownWebhook;
use crate::show::Badge;
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// A webhook before it is known whether it is shown.
pub(super) struct Draft<'a> {
    known: &'a KnownWebhook,
    run: Option<Badge>,
    /// Of the places that the visitor sees.
    glances: Vec<Glance<'a>>,
}

fn is_bad(badge: &Badge) -> bool {
    matches!(badge.tone, "bad" | "warn")
}

impl<'a> Draft<'a> {
    /// A webhook as far as the visitor sees it.
    pub(super) async fn read(state: &WebState, visitor: &Visitor, facts: &Facts<'a>, known: &'a KnownWebhook) -> Result<Self> {
        let mut glances = Vec::with_capacity(known.places.len());
        for place in known.places.iter().filter(|place| visitor.caller.sees_in(&known.name, &place.environment)) {
            glances.push(facts.glance(state, visitor, (&known.name, place)).await?);
        }
        Ok(Self { known, run: known.run.map(|run| run.status.into()), glances })
    }

    pub(super) fn owners(&self) -> &'a [String] {
        &self.known.owners
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &'a EnvironmentName> {
        self.glances.iter().map(|glance| &glance.place.environment)
    }

    pub(super) fn waits(&self) -> bool {
        let waits = |glance: &Glance<'_>| glance.place.promotions.iter().any(|one| one.status == PromotionStatus::Waiting);
        self.glances.iter().any(waits)
    }

    pub(super) fn mine(&self) -> bool {
        self.glances.iter().any(|glance| glance.mine)
    }

    pub(super) fn fails(&self) -> bool {
        let fails = |glance: &Glance<'_>| is_bad(&glance.badge) || glance.place.failure.is_some();
        self.glances.iter().any(fails) || self.run.as_ref().is_some_and(is_bad)
    }

    /// Whether every word of the filter is somewhere in the row.
    pub(super) fn matches(&self, facts: &Facts<'_>, text: &str) -> bool {
        if text.trim().is_empty() {
            return true;
        }
        let KnownWebhook { name, title, owners, .. } = self.known;
        let head = format!("{name} {} {} ", title.as_deref().unwrap_or_default(), owners.join(" "));
        let haystack = self.glances.iter().fold(head, |all, glance| all + &facts.words(glance)).to_lowercase();
        text.to_lowercase().split_whitespace().all(|word| haystack.contains(word))
    }

    pub(super) fn row(self, facts: &Facts<'_>, columns: &[EnvironmentName]) -> Row {
        let triggers = self.triggers();
        let KnownWebhook { name, title, owners, run, .. } = self.known;
        let run = run.zip(self.run).map(|(run, badge)| RunShown { number: run.number, badge, url: urls::run(run.id) });
        let mut cells: Vec<_> = columns.iter().map(|_| None).collect();
        for glance in self.glances {
            if let Some(at) = columns.iter().position(|column| *column == glance.place.environment) {
                cells[at] = Some(facts.cell(name, glance));
            }
        }
        Row { title: title.clone(), owners: owners.join(", "), url: urls::webhook(name), triggers, name: name.to_string(), run, cells }
    }

    /// What starts it, told by the worst of its states.
    fn triggers(&self) -> Option<TriggersShown> {
        let states: Vec<SubscriptionStatus> = self.glances.iter().flat_map(|glance| glance.place.triggers.iter().copied()).collect();
        let text = match states.len() {
            0 => return None,
            1 => "1 trigger".to_owned(),
            many => format!("{many} triggers"),
        };
        let worst = [SubscriptionStatus::Failing, SubscriptionStatus::Manual, SubscriptionStatus::Pending];
        let worst = worst.into_iter().find(|status| states.contains(status)).unwrap_or(SubscriptionStatus::Active);
        Some(TriggersShown { text, badge: worst.into(), url: urls::triggers(&self.known.name) })
    }
}
