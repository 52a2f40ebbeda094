//! Whether symbolic links stay inside a tree, judged as a file system would: component by component, through every other link.
//! A link alone may look harmless and lead out through another one, so looking at its text is not enough.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use hookwright_core::PortError;

/// So many steps are followed for one link; Linux gives up after 40 links.
const STEPS: usize = 10_000;

/// Place of each link in the tree → what it says.
pub(crate) type Links = HashMap<PathBuf, PathBuf>;

/// Refuses the first of `places` whose link leads out of the tree, or too far to follow.
pub(crate) fn refuse_leaving<'a>(places: impl IntoIterator<Item = &'a PathBuf>, links: &Links) -> Result<(), PortError> {
    for place in places {
        let Some(target) = links.get(place) else { continue };
        if !stays_inside(place, links) {
            let (place, target) = (place.display(), target.display());
            let text = format!(
                "the link `{place}` leads out of the workspace with `{target}`, perhaps through other links; copy the file instead"
            );
            return Err(PortError::failed(text));
        }
    }
    Ok(())
}

enum Step {
    Into(OsString),
    Up,
}

/// The steps of a path; `None` when it is absolute.
fn steps(path: &Path) -> Option<Vec<Step>> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(Some(Step::Into(name.to_owned()))),
        Component::ParentDir => Some(Some(Step::Up)),
        Component::CurDir => Some(None),
        Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().map(step).collect::<Option<Vec<_>>>().map(|steps| steps.into_iter().flatten().collect())
}

fn stays_inside(place: &Path, links: &Links) -> bool {
    let Some(first) = steps(place) else { return false };
    let mut ahead = VecDeque::from(first);
    let mut at = PathBuf::new();
    let mut links_seen = 0;
    for _ in 0..STEPS {
        match ahead.pop_front() {
            None => return true,
            Some(Step::Up) if !at.pop() => return false,
            Some(Step::Up) => {}
            Some(Step::Into(name)) => {
                at.push(name);
                let Some(target) = links.get(&at) else { continue };
                let Some(more) = steps(target) else { return false };
                links_seen += 1;
                if links_seen > 255 {
                    // A circle: it leads nowhere, and nobody follows it further.
                    return true;
                }
                at.pop();
                more.into_iter().rev().for_each(|step| ahead.push_front(step));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(links: &[(&str, &str)]) -> bool {
        let links: Links = links.iter().map(|(place, target)| (PathBuf::from(place), PathBuf::from(target))).collect();
        refuse_leaving(links.keys(), &links).is_err()
    }

    #[test]
    fn a_chain_of_links_that_leads_out_is_refused_though_each_link_looks_harmless() {
        assert!(!refused(&[("a/b/c/up", "../../..")]), "it leads to the root of the tree and no further");
        assert!(!refused(&[("m", "a/b/c/up/../../x")]), "without the other link it stays inside");
        assert!(refused(&[("a/b/c/up", "../../.."), ("m", "a/b/c/up/../../x")]));
    }

    #[test]
    fn links_up_and_absolute_links_are_refused_and_links_inside_are_not() {
        assert!(refused(&[("x", "../../etc/passwd")]));
        assert!(refused(&[("x", "/etc/passwd")]));
        assert!(refused(&[("x", "y"), ("y", "/etc")]));
        assert!(!refused(&[("a/x", "../b/./c"), ("b", "d"), ("latest", "v1/../v2")]));
    }

    #[test]
    fn a_circle_of_links_leads_nowhere_and_is_not_refused() {
        assert!(!refused(&[("a", "b"), ("b", "a"), ("c", "c")]));
    }
}
