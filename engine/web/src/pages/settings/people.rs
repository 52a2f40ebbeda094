//! People who sign in with a password or at the provider: added, linked, given other roles or another password, removed, by admins.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use hookwright_core::{Action, SecretValue};
use serde::{Deserialize, Serialize};

use super::holder::{ChangeForm, Held, Holder};
use crate::pages::{Answer, Layout, said};
use crate::show::{Moment, visible};
use crate::template::{self, View};
use crate::visitor::{Deed, Visitor};
use crate::{WebState, urls, user};

/// So many are shown at most.
const ROWS: u32 = 1_000;

/// People.
#[derive(Serialize)]
pub(crate) struct PeoplePage {
    layout: Layout,
    rows: Vec<Row>,
    create: &'static str,
    password: &'static str,
    change: &'static str,
    remove: &'static str,
    /// Where people come in by a provider: what it is called, and where a name is linked to somebody there.
    openid: Option<Link>,
}

#[derive(Serialize)]
struct Link {
    label: String,
    link: &'static str,
}

#[derive(Serialize)]
struct Row {
    /// As it is, for forms.
    id: String,
    name: String,
    teams: String,
    grants: Vec<Held>,
    created: Moment,
    signed_in: Option<Moment>,
    /// What the provider calls somebody whom it knows; `None`: there is a password here.
    subject: Option<String>,
    /// The same as it is, for forms.
    subject_id: String,
    removed: Option<Moment>,
}

impl View for PeoplePage {
    const TEMPLATE: &'static str = "pages/settings/people.html";

    #[cfg(test)]
    fn sample() -> Self {
        let text = || "<b>hostile".to_owned();
        let row = |signed_in, subject, removed| {
            let (id, name, teams, subject_id, created) = (text(), text(), text(), text(), Moment::sample());
            Row { id, name, teams, grants: vec![Held::sample(), Held::sample()], created, signed_in, subject, subject_id, removed }
        };
        let moment = || Some(Moment::sample());
        let rows = vec![row(None, None, None), row(moment(), Some(text()), None), row(moment(), Some(text()), moment())];
        let openid = Some(Link { label: text(), link: "/l" });
        Self { layout: Layout::sample(), rows, create: "/x", password: "/y", change: "/c", remove: "/z", openid }
    }
}

/// Shows them to admins.
pub(super) async fn show(State(state): State<WebState>, visitor: Visitor) -> Answer {
    visitor.caller.must(Action::Administer)?;
    let now = state.clock.now();
    let users = state.store.user_list(None, ROWS).await?;
    let rows = users.into_iter().map(|user| Row {
        name: visible(&user.name),
        teams: visible(&user.teams.join(", ")),
        grants: user.grants.iter().map(Held::new).collect(),
        created: Moment::new(user.created_at, now),
        signed_in: user.signed_in_at.map(|at| Moment::new(at, now)),
        removed: user.removed_at.map(|at| Moment::new(at, now)),
        subject: user.subject.as_deref().map(visible),
        subject_id: user.subject.unwrap_or_default(),
        id: user.name,
    });
    let layout = Layout::new(&visitor, "settings", "People");
    let (create, password, change, remove) = (urls::PEOPLE, urls::PEOPLE_PASSWORD, urls::PEOPLE_CHANGE, urls::PEOPLE_REMOVE);
    let openid = state.openid.as_ref().map(|openid| Link { label: visible(&openid.label), link: urls::PEOPLE_LINK });
    Ok(template::page(&PeoplePage { layout, rows: rows.collect(), create, password, change, remove, openid }))
}

/// Somebody to add.
#[derive(Deserialize)]
pub(super) struct New {
    password: String,
    #[serde(flatten)]
    holder: Holder,
}

/// Adds somebody.
pub(super) async fn create(State(state): State<WebState>, Deed { visitor, form }: Deed<New>) -> Answer {
    let (name, teams, grants) = form.holder.read()?;
    user::create(&state, &visitor.caller, (&name, SecretValue::new(form.password)), &teams, &grants).await?;
    Ok(Redirect::to(&said(urls::PEOPLE, "user-created")).into_response())
}

/// Changes what somebody may do.
pub(super) async fn change(State(state): State<WebState>, Deed { visitor, form }: Deed<ChangeForm>) -> Answer {
    user::change(&state, &visitor.caller, &form.id, form.change()?).await?;
    Ok(Redirect::to(&said(urls::PEOPLE, "rights-changed")).into_response())
}

/// Another password.
#[derive(Deserialize)]
pub(super) struct Password {
    name: String,
    password: String,
}

/// Sets somebody's password.
pub(super) async fn set_password(State(state): State<WebState>, Deed { visitor, form }: Deed<Password>) -> Answer {
    visitor.caller.must(Action::Administer)?;
    user::set_password(&state, &visitor.caller, &form.name, SecretValue::new(form.password)).await?;
    Ok(Redirect::to(&said(urls::PEOPLE, "password-set")).into_response())
}

/// Somebody whom the provider knows.
#[derive(Deserialize)]
pub(super) struct Known {
    name: String,
    subject: String,
}

/// Makes a name that of somebody whom the provider knows.
pub(super) async fn link(State(state): State<WebState>, Deed { visitor, form }: Deed<Known>) -> Answer {
    user::link(&state, &visitor.caller, form.name.trim(), form.subject.trim()).await?;
    Ok(Redirect::to(&said(urls::PEOPLE, "user-linked")).into_response())
}

/// Somebody to remove.
#[derive(Deserialize)]
pub(super) struct Old {
    name: String,
}

/// Removes somebody.
pub(super) async fn remove(State(state): State<WebState>, Deed { visitor, form }: Deed<Old>) -> Answer {
    user::remove(&state, &visitor.caller, &form.name).await?;
    Ok(Redirect::to(&said(urls::PEOPLE, "user-removed")).into_response())
}
