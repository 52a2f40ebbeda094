//! The settings of `openid:`, as they are written and as they are meant.

use std::path::PathBuf;
use std::time::Duration;

use hookwright_core::{EnvironmentName, Grant, GroupRule, Role, RoleMap, Scope, SecretValue, WebhookName};
use hookwright_identity::check_issuer;
use serde::Deserialize;
use serde_json::Value;

use super::{Configuration, duration};

/// How people sign in at a provider.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenIdConfiguration {
    issuer: String,
    client_id: String,
    client_secret: String,
    client_secret_file: String,
    label: String,
    scopes: String,
    name_claim: String,
    groups_claim: String,
    #[serde(deserialize_with = "roles")]
    roles: Vec<RoleConfiguration>,
    #[serde(deserialize_with = "role")]
    default_role: Option<Role>,
    #[serde(deserialize_with = "duration")]
    session: Duration,
}

impl std::fmt::Debug for OpenIdConfiguration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenIdConfiguration").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What one group is worth.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleConfiguration {
    group: String,
    role: Option<Role>,
    webhook: Option<WebhookName>,
    environment: Option<EnvironmentName>,
    #[serde(default)]
    teams: Vec<String>,
}

/// The same, checked, and complete.
pub(crate) struct OpenIdSettings {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<SecretValue>,
    pub(crate) label: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) name_claim: Option<String>,
    pub(crate) groups_claim: String,
    pub(crate) roles: RoleMap,
    pub(crate) session: Duration,
}

impl OpenIdConfiguration {
    /// Which provider; empty: none.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }
}

impl Configuration {
    /// How people sign in at a provider; `None`: they do not.
    ///
    /// # Errors
    /// What is missing or wrong, and what to write.
    pub(crate) fn openid(&self) -> Result<Option<OpenIdSettings>, String> {
        let given = &self.openid;
        if given.issuer.is_empty() {
            return Ok(None);
        }
        check_issuer(&given.issuer).map_err(|why| format!("`openid.issuer` cannot be used: {why}"))?;
        if given.client_id.is_empty() {
            return Err(
                "`openid.client_id` is empty; register this daemon at the provider and write down what it is called there".to_owned()
            );
        }
        let public_url = self.public_url.trim_end_matches('/');
        if public_url.is_empty() {
            return Err("`public_url` is empty; set it to the address that people's browsers use, such as https://hooks.example.com: the provider sends them back to /sign-in/openid/back there, which is what to register".to_owned());
        }
        check_issuer(public_url).map_err(|why| format!("`public_url` cannot be used for signing in with `openid`: {why}"))?;
        let scopes: Vec<String> = given.scopes.split_whitespace().map(str::to_owned).collect();
        if !scopes.iter().any(|scope| scope == "openid") {
            return Err("`openid.scopes` has no `openid`, without which a provider says nothing about people".to_owned());
        }
        if given.roles.is_empty() && given.default_role.is_none() {
            return Err("nobody could come in: map a group under `openid.roles`, such as [{ group: staff, role: viewer }], or give everybody a role by `openid.default_role`".to_owned());
        }
        let label = if given.label.is_empty() { host(&given.issuer).to_owned() } else { given.label.clone() };
        Ok(Some(OpenIdSettings {
            issuer: given.issuer.clone(),
            client_id: given.client_id.clone(),
            client_secret: given.secret()?,
            label,
            scopes,
            name_claim: Some(given.name_claim.clone()).filter(|name| !name.is_empty()),
            groups_claim: given.groups_claim.clone(),
            roles: RoleMap { rules: given.roles.iter().map(GroupRule::from).collect(), otherwise: given.default_role },
            session: given.session,
        }))
    }
}

impl OpenIdConfiguration {
    fn secret(&self) -> Result<Option<SecretValue>, String> {
        let text = match (self.client_secret.as_str(), self.client_secret_file.as_str()) {
            ("", "") => return Ok(None),
            (text, "") => text.to_owned(),
            ("", file) => {
                let read = std::fs::read_to_string(PathBuf::from(file));
                read.map_err(|cause| format!("`openid.client_secret_file`: cannot read `{file}`: {cause}"))?
            }
            _ => return Err("`openid.client_secret` and `openid.client_secret_file` are both set; leave one out".to_owned()),
        };
        match text.trim() {
            "" => Err(format!("`openid.client_secret_file`: `{}` is empty", self.client_secret_file)),
            text => Ok(Some(SecretValue::new(text))),
        }
    }
}

impl From<&RoleConfiguration> for GroupRule {
    fn from(given: &RoleConfiguration) -> Self {
        let scope = Scope { webhook: given.webhook.clone(), environment: given.environment.clone() };
        Self { group: given.group.clone(), grant: given.role.map(|role| Grant { role, scope }), teams: given.teams.clone() }
    }
}

fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// A list, or, as a variable has it, the text of one.
fn roles<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<RoleConfiguration>, D::Error> {
    let wrong =
        |why: String| serde::de::Error::custom(format!("`openid.roles`: {why}; write a list such as [{{ group: leads, role: approver }}]"));
    let setting = match Value::deserialize(deserializer)? {
        Value::String(text) if text.trim().is_empty() => Value::Array(Vec::new()),
        Value::String(text) => serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?,
        setting => setting,
    };
    let roles: Vec<RoleConfiguration> = serde_json::from_value(setting).map_err(|error| wrong(error.to_string()))?;
    for given in &roles {
        if given.group.trim().is_empty() {
            return Err(wrong("a group has no name".to_owned()));
        }
        if given.role.is_none() && (given.teams.is_empty() || given.webhook.is_some() || given.environment.is_some()) {
            return Err(wrong(format!("`{}` is given neither a role nor only teams", given.group)));
        }
    }
    Ok(roles)
}

fn role<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Role>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let read = serde_json::from_value(Value::String(text.clone()));
    read.map(Some)
        .map_err(|_| serde::de::Error::custom(format!("`openid.default_role` is viewer, developer, approver or admin, not `{text}`")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::load_text;
    use super::*;

    const WHOLE: &str = "public_url: https://hooks.example.com
openid:
  issuer: https://login.example.com/realms/acme
  client_id: hookwright
  roles:
    - { group: leads, role: approver, environment: production, teams: [acme/leads] }
    - { group: choir, teams: [acme/choir] }
";

    fn settings(text: &str, variables: &[(&str, &str)]) -> Result<Option<OpenIdSettings>, String> {
        load_text(text, variables).map_err(|error| error.to_string())?.openid()
    }

    #[test]
    fn what_is_left_out_is_what_one_would_expect() {
        let read = settings(WHOLE, &[]).expect("valid settings").expect("a provider");
        assert_eq!((read.label.as_str(), read.groups_claim.as_str(), read.name_claim), ("login.example.com", "groups", None));
        assert_eq!((read.scopes.join(" ").as_str(), read.session.as_secs()), ("openid profile email", 12 * 3600));
        assert_eq!(read.roles.standing(&["leads".to_owned()]).expect("a standing").teams, ["acme/leads"]);
        assert!(read.client_secret.is_none() && settings("", &[]).expect("valid settings").is_none());
    }

    #[test]
    fn variables_say_all_of_it_too() {
        let variables = [
            ("HOOKWRIGHT_PUBLIC_URL", "https://hooks.example.com"),
            ("HOOKWRIGHT_OPENID_ISSUER", "https://login.example.com"),
            ("HOOKWRIGHT_OPENID_CLIENT_ID", "hookwright"),
            ("HOOKWRIGHT_OPENID_CLIENT_SECRET", "s3"),
            ("HOOKWRIGHT_OPENID_ROLES", "[{ group: leads, role: approver }]"),
            ("HOOKWRIGHT_OPENID_DEFAULT_ROLE", "viewer"),
        ];
        let read = settings("", &variables).expect("valid settings").expect("a provider");
        assert_eq!(read.roles.rules.len(), 1);
        assert_eq!(read.roles.otherwise, Some(Role::Viewer));
        assert_eq!(read.client_secret.expect("a secret").expose(), "s3");
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_write() {
        let says = |text: &str, wanted: &str| {
            let said = settings(text, &[]).err().unwrap_or_default();
            assert!(said.contains(wanted), "{said}");
        };
        says(
            &WHOLE.replace("public_url: https://hooks.example.com", ""),
            "`public_url` is empty; set it to the address that people's browsers use",
        );
        says(&WHOLE.replace("https://login", "http://login"), "is not https");
        says(&WHOLE.replace("client_id: hookwright", "client_id: ''"), "`openid.client_id` is empty");
        says(&WHOLE.replace("role: approver", "role: owner"), "write a list such as");
        says(&WHOLE.replace("group: choir, teams: [acme/choir]", "group: choir"), "`choir` is given neither a role nor only teams");
        says(&WHOLE[..WHOLE.find("  roles").expect("roles")], "nobody could come in");
        says(&format!("{WHOLE}  scopes: profile\n"), "has no `openid`");
        says(&format!("{WHOLE}  client_secret: a\n  client_secret_file: b\n"), "both set");
        says(&format!("{WHOLE}  client_secret_file: /nowhere\n"), "cannot read `/nowhere`");
        says(&format!("{WHOLE}  default_role: owner\n"), "viewer, developer, approver or admin");
    }

    #[test]
    fn the_secret_is_read_from_a_file_and_shown_to_nobody() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "canary-5a1e\n").expect("a written file");
        let text = format!("{WHOLE}  client_secret_file: {}\n", file.path().display());
        assert_eq!(
            settings(&text, &[]).expect("valid settings").expect("a provider").client_secret.expect("a secret").expose(),
            "canary-5a1e"
        );
        let loaded = load_text(&format!("{WHOLE}  client_secret: canary-5a1e\n"), &[]).expect("valid settings");
        assert!(!format!("{loaded:?}").contains("canary"), "{loaded:?}");
    }
}
