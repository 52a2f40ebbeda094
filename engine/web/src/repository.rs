//! `/repositories`: what is hosted and watched. A credential can be set and removed; it is never shown, only its kind.

use std::fmt;

use axum::extract::{Path, State};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use hookwright_core::{Action, RemoteCredential, Repository, RepositoryKind, RepositoryName, SecretValue};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::WebState;
use crate::caller::Caller;
use crate::error::{Body, Problem, Result};

/// Who a token belongs to when nobody says; forges take any name with a token.
const USERNAME: &str = "git";

/// Longest user name, and longest password or key, in bytes.
const USERNAME_LIMIT: usize = 256;
const VALUE_LIMIT: usize = 64 << 10;

pub(crate) fn routes() -> Router<WebState> {
    Router::new()
        .route("/repositories", get(list).post(add))
        .route("/repositories/{name}", delete(remove))
        .route("/repositories/{name}/credential", put(set_credential).delete(remove_credential))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRepository {
    name: RepositoryName,
    /// Left out for a hosted one.
    url: Option<String>,
    credential: Option<NewCredential>,
}

/// A password with or without user name, or an ssh key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCredential {
    username: Option<String>,
    password: Option<Hidden>,
    ssh_key: Option<Hidden>,
}

/// A text whose value is in no error.
struct Hidden(SecretValue);

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Hidden;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Hidden, E> {
                Ok(Hidden(SecretValue::new(text)))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl NewCredential {
    fn check(self) -> Result<RemoteCredential> {
        let fits = |value: &SecretValue| (1..=VALUE_LIMIT).contains(&value.expose().len()) && !value.expose().contains('\0');
        let credential = match self {
            Self { username, password: Some(Hidden(password)), ssh_key: None } if fits(&password) => {
                RemoteCredential::Password { username: username.unwrap_or_else(|| USERNAME.to_owned()), password }
            }
            Self { username: None, password: None, ssh_key: Some(Hidden(key)) } if fits(&key) => RemoteCredential::SshKey(key),
            _ => {
                let text = format!("a credential is `password` with or without `username`, or `ssh_key`, of 1 to {VALUE_LIMIT} bytes");
                return Err(Problem::invalid(text));
            }
        };
        match &credential {
            RemoteCredential::Password { username, .. } if username.len() > USERNAME_LIMIT => {
                Err(Problem::invalid(format!("a user name has at most {USERNAME_LIMIT} bytes")))
            }
            _ => Ok(credential),
        }
    }
}

fn view(repository: &Repository, credential: Option<&str>) -> Value {
    let url = match &repository.kind {
        RepositoryKind::Hosted => None,
        RepositoryKind::Remote { url } => Some(url),
    };
    json!({
        "id": repository.id, "name": repository.name, "url": url, "credential": credential,
        "default_branch": repository.default_branch, "created_at": repository.created_at,
        "polled_at": repository.polled_at, "poll_error": repository.poll_error,
    })
}

async fn list(State(state): State<WebState>, caller: Caller) -> Result<Json<Value>> {
    caller.must(Action::Read)?;
    let kinds = state.store.remote_credential_kinds().await?;
    let repositories = state.store.repository_list().await?;
    let items: Vec<Value> = repositories.iter().map(|repository| view(repository, kinds.get(&repository.id).map(String::as_str))).collect();
    Ok(Json(json!({ "items": items, "next_cursor": null })))
}

async fn add(State(state): State<WebState>, caller: Caller, Body(new): Body<NewRepository>) -> Result<(StatusCode, Json<Value>)> {
    let kind = new.url.map_or(RepositoryKind::Hosted, |url| RepositoryKind::Remote { url });
    let credential = new.credential.map(NewCredential::check).transpose()?;
    let repository = state.control.repository_add(&caller.0, &new.name, &kind, credential.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(view(&repository, credential.as_ref().map(RemoteCredential::kind)))))
}

async fn remove(State(state): State<WebState>, caller: Caller, Path(name): Path<RepositoryName>) -> Result<StatusCode> {
    state.control.repository_remove(&caller.0, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_credential(
    State(state): State<WebState>,
    caller: Caller,
    Path(name): Path<RepositoryName>,
    Body(new): Body<NewCredential>,
) -> Result<StatusCode> {
    state.control.repository_credential_set(&caller.0, &name, &new.check()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_credential(State(state): State<WebState>, caller: Caller, Path(name): Path<RepositoryName>) -> Result<StatusCode> {
    state.control.repository_credential_remove(&caller.0, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
