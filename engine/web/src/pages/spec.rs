//! A webhook's file as it was last pushed, with what is wrong in it marked in place.

use axum::extract::State;
use hookwright_core::{Action, RepoPath, Run, RunId, WebhookName};
use hookwright_spec::Problem as Mistake;
use hookwright_store::RunFilter;
use serde::{Deserialize, Serialize};

use super::release::short;
use super::{Answer, Layout};
use crate::error::{Path, Problem, Query};
use crate::show::{visible, visible_lines};
use crate::template::{self, View};
use crate::visitor::Visitor;
use crate::{WebState, urls};

/// What the file of a webhook is called.
const FILE: &str = "webhook.yaml";

/// The file with its mistakes.
#[derive(Serialize)]
pub(crate) struct SpecPage {
    layout: Layout,
    webhook: String,
    webhook_url: String,
    file: String,
    commit: String,
    run_number: u32,
    run_url: String,
    /// `None` when the file is not there, or the repository not readable at that commit.
    lines: Option<Vec<Line>>,
    /// Those without a place in the file.
    elsewhere: Vec<Remark>,
    mistakes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    number: usize,
    /// The text before, in and behind the part that is meant; all of it is in `before` on lines without a mistake.
    before: String,
    marked: String,
    after: String,
    remarks: Vec<Remark>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Remark {
    message: String,
    help: String,
}

impl From<&Mistake> for Remark {
    fn from(mistake: &Mistake) -> Self {
        Self { message: visible(&mistake.message), help: visible_lines(&mistake.help) }
    }
}

impl Remark {
    /// A mistake that no line of the file shows: it is in another one, an event source of the repository, or has no place.
    fn elsewhere(mistake: &Mistake, file: &str) -> Self {
        let Mistake { file: its, line, column, message, .. } = mistake;
        let place = if its == file { String::new() } else { format!("`{its}:{line}:{column}`: ") };
        Self { message: visible(&format!("{place}{message}")), ..Self::from(mistake) }
    }
}

impl View for SpecPage {
    const TEMPLATE: &'static str = "pages/spec.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let remark = || Remark { message: text(), help: text() };
        let line = Line { number: 1, before: text(), marked: text(), after: text(), remarks: vec![remark()] };
        Self {
            layout: Layout::sample(),
            webhook: "shop".into(),
            webhook_url: "/x".into(),
            file: text(),
            commit: "0123456".into(),
            run_number: 7,
            run_url: "/x".into(),
            lines: Some(vec![line]),
            elsewhere: vec![remark()],
            mistakes: 2,
        }
    }
}

/// The lines of a file with what is wrong in each.
fn marked(text: &str, mistakes: &[Mistake]) -> Vec<Line> {
    let line = |(at, text): (usize, &str)| {
        let here: Vec<&Mistake> = mistakes.iter().filter(|mistake| mistake.line as usize == at + 1).collect();
        let Some(first) = here.first() else {
            return Line { number: at + 1, before: visible_lines(text), marked: String::new(), after: String::new(), remarks: Vec::new() };
        };
        let from = (first.column as usize).saturating_sub(1);
        let to = from + (first.length as usize).max(1);
        let part = |from: usize, to: usize| visible_lines(&text.chars().skip(from).take(to.saturating_sub(from)).collect::<String>());
        Line {
            number: at + 1,
            before: part(0, from),
            marked: part(from, to),
            after: part(to, usize::MAX),
            remarks: here.into_iter().map(Remark::from).collect(),
        }
    };
    text.lines().enumerate().map(line).collect()
}

/// The mistakes that a run's reason tells of: planning finds some that the file alone does not show. They are written
/// `file:line:column: message`, with an excerpt below and what to write instead.
fn told(reason: &str, file: &str) -> Vec<Mistake> {
    let mut found: Vec<Mistake> = Vec::new();
    for line in reason.lines() {
        let place = line.strip_prefix(file).and_then(|rest| rest.strip_prefix(':'));
        let numbered = place.and_then(|rest| {
            let (number, rest) = rest.split_once(':')?;
            let (column, message) = rest.split_once(':')?;
            Some((number.parse().ok()?, column.parse().ok()?, message.trim()))
        });
        let (line_number, column, message) = match (numbered, place) {
            (Some(known), _) => known,
            (None, Some(message)) => (0, 1, message.trim()),
            (None, None) => {
                if let (Some(last), Some(help)) = (found.last_mut(), line.trim().strip_prefix("help: ")) {
                    last.help = help.to_owned();
                }
                if let (Some(last), Some((_, carets))) = (found.last_mut(), line.split_once("| ")) {
                    let count = carets.trim_start().chars().take_while(|c| *c == '^').count();
                    last.length = u32::try_from(count.max(1)).unwrap_or(1);
                }
                continue;
            }
        };
        let (message, excerpt, help) = (message.to_owned(), String::new(), String::new());
        found.push(Mistake { file: file.to_owned(), line: line_number, column, length: 1, excerpt, message, help });
    }
    found
}

/// The file that a run's reason names, of a run whose file could not be read or planned.
fn named(run: &Run) -> Option<String> {
    let reason = run.status_reason.as_deref().filter(|_| run.plan_digest.is_none())?;
    let (file, _) = reason.lines().next()?.split_once(':')?;
    (file == FILE || file.ends_with(&format!("/{FILE}"))).then(|| file.to_owned())
}

/// Which run's.
#[derive(Deserialize)]
pub(super) struct As {
    run: Option<RunId>,
}

/// Shows it as a run found it, or the newest one. A webhook whose very first file could not be read is none yet, and has runs all the same.
pub(super) async fn show(
    State(state): State<WebState>,
    visitor: Visitor,
    Path(name): Path<WebhookName>,
    Query(wanted): Query<As>,
) -> Answer {
    visitor.caller.must_for(Action::Read, Some(&name))?;
    let missing = || Problem::not_found(format!("there is no webhook `{name}`, or nothing of it was pushed yet"));
    let run = match wanted.run {
        Some(id) => state.store.run_fetch(id).await?.filter(|run| run.webhook == name),
        None => {
            let newest = RunFilter { webhook: Some(name.clone()), limit: 1, ..RunFilter::default() };
            state.store.run_list(&newest).await?.into_iter().next()
        }
    };
    let run = run.ok_or_else(missing)?;
    let revision = state.store.revision_fetch(&run.revision).await?.ok_or_else(missing)?;
    let known = state.store.webhook_spec_fetch(&name).await?.map(|stored| stored.file);
    let folder = state.store.webhook_fetch(&name).await?.map(|record| record.folder).filter(|folder| !folder.is_empty());
    let beside = || folder.map_or_else(|| FILE.to_owned(), |folder| format!("{folder}/{FILE}"));
    let file = named(&run).or(known).unwrap_or_else(beside);
    let path = RepoPath::new(&file).map_err(Problem::invalid)?;
    let text = state.control.spec_text(&visitor.caller.actor, &name, (&revision, &path)).await?;
    let mut mistakes = match &text {
        Some(text) => state.control.spec_problems(&visitor.caller.actor, &name, (&revision, &path, text)).await?,
        None => Vec::new(),
    };
    if mistakes.is_empty() {
        mistakes = run.status_reason.as_deref().map(|reason| told(reason, &file)).unwrap_or_default();
    }
    let count = text.as_deref().map_or(0, |text| text.lines().count());
    let count_of_all = mistakes.len();
    let is_placed = |mistake: &Mistake| mistake.file == file && mistake.line > 0 && mistake.line as usize <= count;
    let (here, elsewhere): (Vec<Mistake>, Vec<Mistake>) = mistakes.into_iter().partition(is_placed);
    Ok(template::page(&SpecPage {
        layout: Layout::new(&visitor, "board", format!("{file} · {name}")),
        webhook: name.to_string(),
        webhook_url: urls::webhook(&name),
        file: visible(&file),
        commit: short(&revision.commit),
        run_number: run.number,
        run_url: urls::run(run.id),
        lines: text.as_deref().map(|text| marked(text, &here)),
        elsewhere: elsewhere.iter().map(|mistake| Remark::elsewhere(mistake, &file)).collect(),
        mistakes: count_of_all,
    }))
}

#[cfg(test)]
mod tests {
    use hookwright_spec::parse;

    use super::*;

    #[test]
    fn a_mistake_in_an_event_source_is_said_with_its_file_and_marks_no_line_of_this_one() {
        let mistake = |file: &str| Mistake {
            file: file.to_owned(),
            line: 5,
            column: 1,
            length: 3,
            excerpt: String::new(),
            message: "no field `knd`".to_owned(),
            help: "did you mean `kind`?".to_owned(),
        };
        let remark = Remark::elsewhere(&mistake("triggers/mine.yaml"), "webhook.yaml");
        assert_eq!(remark.message, "`triggers/mine.yaml:5:1`: no field `knd`");
        assert_eq!(Remark::elsewhere(&mistake("webhook.yaml"), "webhook.yaml").message, "no field `knd`");
    }

    #[test]
    fn a_mistake_is_marked_where_it_stands_whether_parsed_or_told() {
        let text = "version: 1\nname: shop\nhandlr: {}\n";
        let Err(problems) = parse(text, "webhook.yaml") else { panic!("a mistake") };
        for mistakes in [problems.0.clone(), told(&problems.to_string(), "webhook.yaml")] {
            let lines = marked(text, &mistakes);
            let wrong = lines.iter().find(|line| line.number == 3).expect("a third line");
            assert_eq!((wrong.before.as_str(), wrong.marked.as_str()), ("", "handlr"), "{mistakes:?}");
            assert!(wrong.remarks.iter().any(|remark| remark.message.contains("handlr")), "{:?}", wrong.remarks);
            assert!(lines[0].remarks.is_empty() && lines[0].before == "version: 1");
        }
    }
}
