//! A webhook on its way to a row of the board: what the filters ask, before it is known which columns there are.

use std::collections::BTreeMap;

use hookwright_core::{EnvironmentName, WebhookName};

use super::cell::Cell;
use super::facts::Facts;
use super::{Row, RunShown, TriggersShown};
use crate::error::Result;
use crate::kept::{Outline, Place};
use crate::show::{Badge, visible};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// A webhook before it is known which columns there are.
pub(super) struct Draft {
    pub(super) name: WebhookName,
    pub(super) title: Option<String>,
    pub(super) owners: Vec<String>,
    pub(super) run: Option<RunShown>,
    pub(super) places: Vec<EnvironmentName>,
    pub(super) cells: BTreeMap<EnvironmentName, Cell>,
}

impl Draft {
    /// A webhook with its cells, as far as the visitor sees them.
    pub(super) async fn read(
        state: &WebState,
        visitor: &Visitor,
        facts: &Facts,
        (name, run): (WebhookName, Option<RunShown>),
    ) -> Result<Self> {
        let Outline { title, owners, environments } = facts.known.specs.get(&name).cloned().unwrap_or_default();
        let (mut places, mut cells) = (Vec::new(), BTreeMap::new());
        for Place { name: environment } in environments {
            if visitor.caller.sees_in(&name, &environment) {
                cells.insert(environment.clone(), facts.cell(state, visitor, (&name, &environment)).await?);
            }
            places.push(environment);
        }
        for environment in facts.known.undeclared.get(&name).into_iter().flatten() {
            if visitor.caller.sees_in(&name, environment) {
                cells.insert(environment.clone(), facts.cell(state, visitor, (&name, environment)).await?.undeclared(&name));
            }
            places.push(environment.clone());
        }
        places.retain(|place| cells.contains_key(place));
        let (title, owners) = (title.as_deref().map(visible), owners.iter().map(|owner| visible(owner)).collect());
        Ok(Self { name, title, owners, run, places, cells })
    }

    pub(super) fn waits(&self) -> bool {
        self.cells.values().any(|cell| cell.waits.iter().any(|one| one.badge.tone == "wait"))
    }

    pub(super) fn mine(&self) -> bool {
        self.cells.values().any(|cell| cell.waits.iter().any(|one| one.mine))
    }

    pub(super) fn fails(&self) -> bool {
        let bad = |badge: &Badge| matches!(badge.tone, "bad" | "warn");
        self.cells.values().any(|cell| bad(&cell.badge) || cell.failure.is_some()) || self.run.as_ref().is_some_and(|run| bad(&run.badge))
    }

    /// Whether every word of the filter is somewhere in the row.
    pub(super) fn matches(&self, text: &str) -> bool {
        if text.trim().is_empty() {
            return true;
        }
        let mut haystack = format!("{} {} {} ", self.name, self.title.as_deref().unwrap_or_default(), self.owners.join(" "));
        for cell in self.cells.values() {
            haystack += &cell.badge.word;
            let waits = cell.waits.iter().map(|one| (one.short.as_str(), one.title.as_str(), ""));
            let live = cell.release.iter().map(|one| (one.short.as_str(), one.title.as_str(), one.author.as_str()));
            for (short, title, author) in live.chain(waits) {
                haystack += &format!(" {short} {title} {author} ");
            }
        }
        let haystack = haystack.to_lowercase();
        text.to_lowercase().split_whitespace().all(|word| haystack.contains(word))
    }

    pub(super) fn row(self, columns: &[EnvironmentName], triggers: Option<TriggersShown>) -> Row {
        let Self { name, title, owners, run, mut cells, .. } = self;
        Row {
            title,
            owners: owners.join(", "),
            url: urls::webhook(&name),
            triggers,
            name: name.to_string(),
            run,
            cells: columns.iter().map(|column| cells.remove(column)).collect(),
        }
    }
}
