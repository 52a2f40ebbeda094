//! Lists: repositories, tags, and the manifests about a manifest.

use axum::response::{IntoResponse, Response};
use hookwright_core::{Action, Digest, WebhookName};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::address::Query;
use super::refusal::{Code, Refusal};
use super::{Call, RegistryState};

/// So many entries are on a page, whatever is asked for.
const PAGE: usize = 1000;

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl RegistryState {
    pub(super) async fn catalog(&self, call: &Call) -> Result<Response, Refusal> {
        let mut repositories = self.registry.repositories().await?;
        repositories.retain(|name| call.actor.may(Action::Read, Some(name), None));
        let (page, next) = page(&repositories, &call.query)?;
        Ok(listed(json!({ "repositories": page }), next.map(|next| format!("/v2/_catalog?{next}"))))
    }

    pub(super) async fn tags(&self, repository: &WebhookName, call: &Call) -> Result<Response, Refusal> {
        let unknown = || {
            let text = format!("there is no image in `{repository}`; a run of its pipeline or a push brings the first");
            Refusal::new(StatusCode::NOT_FOUND, Code::NameUnknown, text)
        };
        let tags = self.registry.tags(repository).await?.ok_or_else(unknown)?;
        let (page, next) = page(&tags, &call.query)?;
        Ok(listed(json!({ "name": repository, "tags": page }), next.map(|next| format!("/v2/{repository}/tags/list?{next}"))))
    }

    pub(super) async fn referrers(&self, repository: &WebhookName, subject: &Digest, call: &Call) -> Result<Response, Refusal> {
        let wanted = call.query.get("artifactType");
        let mut referrers = self.registry.referrers(repository, subject).await?;
        referrers.retain(|one| wanted.is_none() || one.artifact_type.as_deref() == wanted);
        let manifests: Vec<Value> = referrers
            .into_iter()
            .map(|one| {
                json!({
                    "mediaType": one.kind.media_type(),
                    "digest": one.digest,
                    "size": one.size,
                    "artifactType": one.artifact_type,
                    "annotations": one.annotations,
                })
            })
            .collect();
        let body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string();
        let mut response = ([(header::CONTENT_TYPE, INDEX)], body).into_response();
        if wanted.is_some() {
            response.headers_mut().insert(FILTERS, HeaderValue::from_static("artifactType"));
        }
        Ok(response)
    }
}

/// What stands on the page after `last`, at most `n` entries, and the parameters of the next page.
fn page<'a, T: AsRef<str>>(all: &'a [T], query: &Query) -> Result<(Vec<&'a str>, Option<String>), Refusal> {
    let invalid = |_| Refusal::new(StatusCode::BAD_REQUEST, Code::Unsupported, "`n` is the number of entries wanted");
    let count = query.get("n").map(str::parse::<usize>).transpose().map_err(invalid)?.unwrap_or(PAGE).min(PAGE);
    let place = |text: &str| (text.to_ascii_lowercase(), text.to_owned());
    let last = query.get("last").map(place);
    let mut rest = all.iter().map(AsRef::as_ref).filter(|text| last.as_ref().is_none_or(|last| place(text) > *last));
    let page: Vec<&str> = rest.by_ref().take(count).collect();
    let next = page.last().filter(|_| rest.next().is_some()).map(|last| format!("n={count}&last={last}"));
    Ok((page, next))
}

fn listed(body: Value, next: Option<String>) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    if let Some(link) = next.and_then(|next| format!("<{next}>; rel=\"next\"").parse().ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 5] = ["alpha", "Beta", "beta", "gamma", "v1"];

    fn of(query: &str) -> (Vec<&'static str>, Option<String>) {
        let query = Query::of(&format!("/v2/x?{query}").parse().expect("an address")).expect("a query");
        page(&ALL, &query).expect("a page")
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let (mut seen, mut next) = (Vec::new(), Some("n=2".to_owned()));
        let mut pages = 0;
        while let Some(query) = next {
            let (page, following) = of(&query);
            seen.extend(page);
            next = following;
            pages += 1;
        }
        assert_eq!((seen, pages), (ALL.to_vec(), 3));
    }

    #[test]
    fn a_page_begins_behind_what_was_last_even_if_that_is_gone() {
        assert_eq!(of("last=delta").0, ["gamma", "v1"]);
        assert_eq!(of("last=zzz"), (vec![], None));
        assert_eq!(of("n=0"), (vec![], None));
        assert_eq!(of("n=5"), (ALL.to_vec(), None));
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        let query = Query::of(&"/v2/x?n=-1".parse().expect("an address")).expect("a query");
        assert!(page(&ALL, &query).is_err());
    }
}
