//! People with a name and a password: signing in, approving with a second one, changing a password, leaving; with and without a browser.

use std::path::Path;
use std::process::{Command, Stdio};

use hookwright_testkit::{Daemon, MovedClock, WorkingCopy};
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::json;

use super::BINARY;
use super::browser::{Browser, Script};
use super::look::inspect;

const PASSWORD: &str = "correct horse battery";

/// Adds somebody by the command, the password from its standard input.
fn add(daemon: &Daemon, name: &str, role: &str) {
    let mut child = Command::new(BINARY)
        .args(["user", "add", name, "--role", role])
        .env("HOOKWRIGHT_SERVER", daemon.address())
        .env("HOOKWRIGHT_TOKEN", daemon.token())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), format!("{PASSWORD}\n").as_bytes()).expect("the client reads");
    assert!(child.wait_with_output().expect("the client ends").status.success());
}

/// Tries to sign in with a form and these headers: the status, and the cookie if there is one.
async fn try_sign_in(daemon: &Daemon, user: &str, password: &str, headers: &[(&str, &str)]) -> (u16, Option<String>) {
    let client = Client::builder().redirect(Policy::none()).build().expect("a client");
    let body = format!("user={}&password={}", user.replace(' ', "+"), password.replace(' ', "+"));
    let request = client.post(format!("{}/sign-in", daemon.address())).header("content-type", "application/x-www-form-urlencoded");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.body(body).send().await.expect("an answer");
    let cookie = answer.headers().get(SET_COOKIE).map(|cookie| cookie.to_str().expect("a text").to_owned());
    (answer.status().as_u16(), cookie)
}

async fn page_status(daemon: &Daemon, cookie: &str) -> u16 {
    let client = Client::builder().redirect(Policy::none()).build().expect("a client");
    let cookie = cookie.split(';').next().unwrap_or_default();
    client.get(format!("{}/runs", daemon.address())).header(COOKIE, cookie).send().await.expect("an answer").status().as_u16()
}

async fn sign_in(browser: &Browser, user: &str) {
    browser.open("/sign-in").await;
    browser.fill("input[name=user]", user).await;
    browser.fill("input[name=password]", PASSWORD).await;
    browser.press("form:has(input[name=user]) button").await;
    browser.until_text("the name", ".menu-name", user).await;
}

#[tokio::test]
async fn two_people_approve_through_the_pages_and_one_of_them_twice_is_still_one() {
    let daemon = Daemon::start(BINARY).await;
    add(&daemon, "rosa", "approver");
    add(&daemon, "emil", "approver");
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    let spec = std::fs::read_to_string(copy.path().join("webhook.yaml")).expect("a readable spec");
    let gates =
        "environments:\n  development: { promote: automatic }\n  production: { after: development, gates: { approvals: { count: 2 } } }\n";
    copy.write("webhook.yaml", &format!("{}\n{gates}", spec.split("environments:").next().unwrap_or_default())).commit("Ask two people");
    copy.push(&daemon, "hello-python");
    daemon.waits_for_approval("hello-python", "production").await;

    let rosa = Browser::start(&daemon, Script::Off).await;
    sign_in(&rosa, "rosa").await;
    rosa.press("td[data-column=production] .waits").await;
    rosa.press("button[value=approve]").await;
    rosa.until_text("the word about it", ".said", "approval is recorded").await;
    rosa.open("/").await;
    let waits = rosa.until("what waits", "td[data-column=production] .waits").await;
    assert!(waits.contains("Waits for others"), "not for rosa any more: {waits}");
    rosa.open("/?state=mine").await;
    rosa.until_text("that nothing waits for rosa", ".empty", "No webhook matches").await;
    rosa.open("/").await;
    rosa.press("td[data-column=production] .waits").await;
    rosa.until_text("what rosa has done", "#decide", "You have approved").await;
    // The same person with a token is the same person.
    let made = daemon.post("/api/v1/tokens", json!({ "user": "rosa", "grants": [{ "role": "approver", "scope": {} }] })).await;
    let again = Command::new(BINARY)
        .args(["approve", "hello-python", "production"])
        .env("HOOKWRIGHT_SERVER", daemon.address())
        .env("HOOKWRIGHT_TOKEN", made["token"].as_str().expect("a token"))
        .output()
        .expect("the client runs");
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.status.success() && said.contains("you have approved already; one more person is needed"), "{said}");
    rosa.press("button[value=approve]").await;
    rosa.until_text("the same on the page", ".said", "You have approved already; one more person is needed").await;
    rosa.until_text("how far it is", "#gates", "1 of 2 approvals").await;
    let path = "/api/v1/webhooks/hello-python/environments/production/approve";
    let client = Client::new().post(format!("{}{path}", daemon.address())).bearer_auth(made["token"].as_str().expect("a token"));
    let answer: serde_json::Value = client.json(&json!({})).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["note"], "you have approved already; one more person is needed", "{answer}");
    assert_eq!(daemon.call("hello-python", "production", "/").await.0, 404, "one person is not two: {said}");

    let emil = Browser::start(&daemon, Script::On).await;
    sign_in(&emil, "emil").await;
    emil.press("td[data-column=production] .waits").await;
    emil.press("button[value=approve]").await;
    emil.until_text("both decisions", "#decisions", "rosa").await;
    daemon.answers("hello-python", "production", "Hello").await;
    emil.open("/webhooks/hello-python/environments/production").await;
    let history = emil.until_text("who decided", "#history", "approved by rosa").await;
    assert!(history.contains("approved by emil") && history.contains("sha256:"), "{history}");

    // An admin's pages are not theirs; their own account is, and their password.
    emil.open("/settings/people").await;
    emil.until_text("the refusal", "main", "emil is no admin here").await;
    emil.open("/settings/account").await;
    emil.fill("input[name=current]", PASSWORD).await;
    emil.fill("input[name=password]", "another horse entirely").await;
    emil.press("form:has(input[name=current]) button").await;
    emil.until_text("the word about it", ".said", "password is changed").await;
    assert_eq!(try_sign_in(&daemon, "emil", PASSWORD, &[]).await.0, 401);
    assert_eq!(try_sign_in(&daemon, "emil", "another horse entirely", &[]).await.0, 303);
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_look_the_same_and_are_written_down() {
    let daemon = Daemon::start(BINARY).await;
    add(&daemon, "rosa", "viewer");
    assert_eq!(try_sign_in(&daemon, "rosa", "wrong", &[]).await, (401, None));
    assert_eq!(try_sign_in(&daemon, "my-password-by-mistake", PASSWORD, &[]).await, (401, None));
    assert_eq!(try_sign_in(&daemon, "rosa", "", &[]).await, (401, None));
    let audit = daemon.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("session.refused") && audit.contains("from 127.0.0.1, with a password"), "{audit}");
    assert!(!audit.contains("my-password-by-mistake") && !audit.contains(PASSWORD), "{audit}");
    let stored = Command::new("grep").args(["-r", "-a", "-l", "-F", PASSWORD]).arg(daemon.data()).output().expect("grep runs");
    assert!(stored.stdout.is_empty(), "the password is written nowhere");

    // Signing in that works is not counted; failures are, by address as the trusted proxy tells it.
    for _ in 0..12 {
        assert_eq!(try_sign_in(&daemon, "rosa", PASSWORD, &[]).await.0, 303);
    }
    let behind = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")];
    for _ in 0..10 {
        assert_eq!(try_sign_in(&daemon, "nobody", "wrong", &behind).await.0, 401);
    }
    assert_eq!(try_sign_in(&daemon, "rosa", PASSWORD, &behind).await.0, 429);
    let (status, cookie) =
        try_sign_in(&daemon, "rosa", PASSWORD, &[("x-forwarded-for", "203.0.113.8"), ("x-forwarded-proto", "https")]).await;
    assert_eq!(status, 303, "another client of the same proxy is not held up");
    assert!(cookie.expect("a cookie").contains("; Secure"));
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over_or_its_user_goes_and_rights_hold_at_once() {
    let clock = MovedClock::new();
    let daemon = Daemon::start_with(clock.options(BINARY)).await;
    add(&daemon, "rosa", "viewer");
    let old = try_sign_in(&daemon, "rosa", PASSWORD, &[]).await.1.expect("a cookie");
    clock.jump("+29d");
    assert_eq!(page_status(&daemon, &old).await, 200);
    clock.jump("+31d");
    assert_eq!(page_status(&daemon, &old).await, 303, "after thirty days it is over");
    let cookie = try_sign_in(&daemon, "rosa", PASSWORD, &[]).await.1.expect("a cookie");
    assert_eq!(page_status(&daemon, &cookie).await, 200);
    let admin = |grants| json!({ "grants": grants });
    let (status, _) = daemon
        .request(Method::PUT, "/api/v1/users/rosa", Some(admin(json!([{ "role": "viewer", "scope": { "webhook": "other" } }]))))
        .await;
    assert_eq!(status, 204);
    let list = daemon.get("/api/v1/users").await;
    assert_eq!(list["items"][0]["grants"][0]["scope"]["webhook"], "other", "{list}");
    assert!(!list.to_string().contains("argon2"), "no hash is shown");

    assert_eq!(daemon.request(Method::DELETE, "/api/v1/users/rosa", None).await.0, 204);
    assert_eq!(page_status(&daemon, &cookie).await, 303, "whoever is gone is signed out");
    add(&daemon, "rosa", "viewer");
    assert_eq!(page_status(&daemon, &cookie).await, 303, "a new user of the name does not inherit the session");
}

#[tokio::test]
async fn an_admin_changes_a_role_and_takes_it_away_on_the_page_and_it_is_written_down() {
    let daemon = Daemon::start(BINARY).await;
    add(&daemon, "rosa", "viewer");
    let token = daemon.post("/api/v1/tokens", json!({ "user": "emil", "grants": [{ "role": "viewer", "scope": {} }] })).await;
    let cookie = try_sign_in(&daemon, "rosa", PASSWORD, &[]).await.1.expect("a cookie");
    let admin = Browser::start(&daemon, Script::On).await;
    admin.sign_in(daemon.token(), Script::On).await;
    admin.open("/settings/people").await;
    admin.press(".rights summary").await;
    admin.press(".rights select[name=role] option[value=admin]").await;
    admin.press(".rights button[value=change]").await;
    admin.until_text("the word about it", ".said", "The rights are changed").await;
    admin.until_text("the role", ".row", "admin of every webhook in every environment").await;
    assert_eq!(settings_status(&daemon, &cookie).await, 200, "it holds at once, in the session there is");

    admin.press(".rights summary").await;
    admin.fill(".rights input[name=webhook]", "shop").await;
    admin.press(".rights button[value=give]").await;
    admin.until_text("one more role", ".row", "developer of shop in every environment").await;
    admin.press(".rights summary").await;
    admin.press(".rights form button[value=take]").await;
    admin.until("the page with one role left", ".rights:not(:has(button[value=take]))").await;
    let text = admin.until_text("what is left", ".row .row-main", "developer of shop").await;
    assert!(!text.contains("admin of"), "{text}");
    assert_eq!(settings_status(&daemon, &cookie).await, 403, "what is taken away is gone at once");
    admin.press(".rights summary").await;
    admin.until_text("that the last one stays", ".rights", "The last role stays").await;
    admin.fill(".rights input[name=teams]", "acme/leads").await;
    admin.press(".rights button[value=teams]").await;
    admin.until_text("the team", ".row .row-main", "acme/leads").await;
    admin.press(".rights summary").await;
    let mut found = inspect(&admin, "people-role").await;

    admin.open("/settings/tokens").await;
    admin.press(".row:has(button.danger):last-child .rights summary").await;
    admin.press(".row:last-child .rights select[name=role] option[value=approver]").await;
    admin.press(".row:last-child .rights button[value=change]").await;
    admin.until_text("the role of the token", ".row:last-child", "approver of every webhook").await;
    let list = daemon.get("/api/v1/tokens").await;
    let mut tokens = list["items"].as_array().expect("tokens").iter();
    let changed = tokens.find(|one| one["id"] == token["id"]).expect("the token");
    assert_eq!(changed["grants"][0]["role"], "approver", "{list}");

    let audit = daemon.get("/api/v1/audit").await.to_string();
    for line in [
        "rosa: admin of every webhook in every environment; before: viewer of every webhook in every environment",
        "rosa: developer of shop in every environment; before: admin of every webhook",
        "token.changed",
    ] {
        assert!(audit.contains(line), "{line} is missing in {audit}");
    }
    admin.press(".row:last-child .rights summary").await;
    found.extend(inspect(&admin, "tokens-role").await);
    assert!(found.is_empty(), "{}", found.join("\n"));
    // A form that no page of the session holds changes nothing.
    let forged = Client::builder().redirect(Policy::none()).build().expect("a client");
    let admins = try_sign_in_with_token(&daemon).await;
    let request = forged.post(format!("{}/settings/people/change", daemon.address())).header(COOKIE, admins);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body("csrf=0&id=rosa&act=give&role=admin").send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 403);
    assert!(!daemon.get("/api/v1/users").await.to_string().contains("admin"), "a forged form gives no role");
}

async fn settings_status(daemon: &Daemon, cookie: &str) -> u16 {
    let client = Client::builder().redirect(Policy::none()).build().expect("a client");
    let cookie = cookie.split(';').next().unwrap_or_default();
    client.get(format!("{}/settings/people", daemon.address())).header(COOKIE, cookie).send().await.expect("an answer").status().as_u16()
}

/// The admin's cookie.
async fn try_sign_in_with_token(daemon: &Daemon) -> String {
    let client = Client::builder().redirect(Policy::none()).build().expect("a client");
    let request = client.post(format!("{}/sign-in", daemon.address())).header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body(format!("token={}", daemon.token())).send().await.expect("an answer");
    let cookie = answer.headers()[SET_COOKIE].to_str().expect("a text").to_owned();
    cookie.split(';').next().unwrap_or_default().to_owned()
}
