//! What is said of a push to whoever pushed: the runs that it began, and why nothing is built where nothing is.

use hookwright_core::port::PushNews;
use hookwright_core::status::RunStatus;
use hookwright_core::{RefName, RunId};

use super::survey::{Found, Survey};
use crate::{Deps, Result};

/// More than this is not read by anybody who pushes.
const MOST: usize = 20;

/// Of these refs and the runs that came of them.
pub(super) async fn of(deps: &Deps, surveys: &[Survey], created: &[RunId], default_branch: Option<&str>) -> Result<Vec<PushNews>> {
    let mut news: Vec<PushNews> = surveys.iter().flat_map(|survey| left_out(survey, default_branch)).collect();
    for id in created {
        let Some(run) = deps.store.run_fetch(*id).await? else { continue };
        let what = format!("run {} of `{}`", run.number, run.webhook);
        let text = match (run.status, run.status_reason) {
            (RunStatus::Failed, Some(reason)) => format!("{what} failed before it began: {reason}"),
            _ => format!("{what} has begun"),
        };
        news.push(PushNews { text, path: Some(format!("/runs/{id}")) });
    }
    let left = news.len().saturating_sub(MOST);
    if left > 0 {
        news.drain(..left);
        news.insert(0, PushNews { text: format!("{left} more"), path: Some("/runs".to_owned()) });
    }
    Ok(news)
}

/// Why a ref brought no run.
fn left_out(survey: &Survey, default_branch: Option<&str>) -> Vec<PushNews> {
    let reference = &survey.revision.reference;
    if !survey.has_files {
        let text = format!("`{}` holds no `webhook.yaml`, so there is nothing to build; `hookwright init` writes one", reference.short());
        return vec![PushNews { text, path: None }];
    }
    let of_one = |found: &Found| {
        let Found::Webhook { spec, is_built, plan: None, .. } = found else { return None };
        let text = match is_built {
            false => not_built(reference, spec.name.as_str(), (!spec.pipeline.branches.is_empty(), default_branch)),
            true => format!("nothing that `{}` is built from changed since its last success, so nothing is built", spec.name),
        };
        Some(PushNews { text, path: is_built.then(|| format!("/webhooks/{}", spec.name)) })
    };
    survey.found.iter().filter_map(of_one).collect()
}

fn not_built(reference: &RefName, webhook: &str, (names_branches, default_branch): (bool, Option<&str>)) -> String {
    let pushed = reference.short();
    match default_branch {
        _ if names_branches => format!("`{pushed}` is not among the `pipeline.branches` of `{webhook}`, so it is not built"),
        Some(default) => format!(
            "`{pushed}` is not the default branch, which is `{default}`, and `{webhook}` names no others, so it is not built; name it under `pipeline.branches`"
        ),
        None => format!("`{pushed}` is not built: `{webhook}` names no branches"),
    }
}
