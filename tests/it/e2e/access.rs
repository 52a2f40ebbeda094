//! Who may: sessions, forms of another session or site, and roles.

use std::path::Path;

use hookwright_testkit::{Daemon, WorkingCopy};
use reqwest::header::{COOKIE, LOCATION, ORIGIN, REFERER, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::json;

use super::BINARY;

/// A person without a browser: keeps one cookie and follows nothing.
struct Person {
    client: Client,
    address: String,
    cookie: String,
}

impl Person {
    async fn signed_in(daemon: &Daemon, token: &str) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().expect("a client");
        let mut person = Self { client, address: daemon.address().to_owned(), cookie: String::new() };
        let answer = person.send("/sign-in", &[("token", token)]).await;
        assert_eq!(answer.status(), 303, "signing in leads on");
        let cookie = answer.headers()[SET_COOKIE].to_str().expect("a text").to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"), "{cookie}");
        person.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        person
    }

    async fn send(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect();
        let request = self.client.post(format!("{}{path}", self.address)).header(COOKIE, &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(pairs.join("&"));
        request.send().await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.address)).header(COOKIE, &self.cookie).header("accept", "text/html");
        request.send().await.expect("an answer")
    }

    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.expect("a text")
    }

    /// The token that forms of this session hold.
    async fn form_token(&self) -> String {
        let page = self.page("/first-push").await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

async fn token(daemon: &Daemon, user: &str, role: &str) -> String {
    let made = daemon.post("/api/v1/tokens", json!({ "user": user, "grants": [{ "role": role, "scope": {} }] })).await;
    made["token"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn a_viewer_sees_what_waits_and_can_neither_find_nor_forge_the_form() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    copy.push(&daemon, "hello-python");
    daemon.waits_for_approval("hello-python", "production").await;
    let list = daemon.get("/api/v1/promotions?webhook=hello-python&environment=production&open=true").await;
    let path = format!("/promotions/{}", list["items"][0]["id"].as_str().expect("an id"));

    let vera = Person::signed_in(&daemon, &token(&daemon, "vera", "viewer").await).await;
    let page = vera.page(&path).await;
    assert!(page.contains("You may look") && !page.contains("value=\"approve\""), "{page}");
    let csrf = vera.form_token().await;
    let decide = format!("{path}/decide");
    assert_eq!(vera.send(&decide, &[("csrf", &csrf), ("decision", "approve")]).await.status(), 403);
    let place = "/webhooks/hello-python/environments/production";
    let page = vera.page(place).await;
    assert!(page.contains("Nobody has held it yet") && !page.contains("Why it is to be held"), "{page}");
    let hold = [("csrf", csrf.as_str()), ("reason", "mine"), ("to", "/")];
    assert_eq!(vera.send(&format!("{place}/hold"), &hold).await.status(), 403);
    assert_eq!(vera.send(&format!("{place}/hold/end"), &hold[..]).await.status(), 403);
    for closed in ["/settings/tokens", "/settings/audit", "/settings/daemon"] {
        assert_eq!(vera.get(closed).await.status(), 403, "{closed}");
    }

    let rosa = Person::signed_in(&daemon, &token(&daemon, "rosa", "approver").await).await;
    assert_eq!(rosa.send(&decide, &[("decision", "approve")]).await.status(), 403, "without the form's token");
    assert_eq!(rosa.send(&decide, &[("csrf", &csrf), ("decision", "approve")]).await.status(), 403, "with another session's token");
    let own = rosa.form_token().await;
    let elsewhere =
        rosa.client.post(format!("{}{decide}", rosa.address)).header(COOKIE, &rosa.cookie).header(ORIGIN, "https://evil.example");
    let elsewhere = elsewhere.header("content-type", "application/x-www-form-urlencoded").body(format!("csrf={own}&decision=approve"));
    assert_eq!(elsewhere.send().await.expect("an answer").status(), 403, "from another site");
    assert_eq!(daemon.call("hello-python", "production", "/").await.0, 404, "nothing of that was an approval");

    assert_eq!(rosa.send(&decide, &[("csrf", &own), ("decision", "approve"), ("reason", "fine by me")]).await.status(), 303);
    daemon.answers("hello-python", "production", "Hello").await;
    let audit = daemon.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("promotion.approved") && audit.contains("fine by me") && audit.contains("session.begun"), "{audit}");
}

#[tokio::test]
async fn a_secret_is_set_in_the_settings_before_anything_was_pushed_and_the_one_that_is_missing_is_said() {
    let daemon = Daemon::start(BINARY).await;
    let page = "/settings/secrets";
    let admin = Person::signed_in(&daemon, daemon.token()).await;
    let csrf = admin.form_token().await;
    let secret = |value| [("csrf", csrf.as_str()), ("webhook", "shop"), ("environment", "development"), ("name", "KEY"), ("value", value)];
    assert_eq!(admin.send(page, &secret("")).await.status(), 422, "a value is asked for");
    assert_eq!(admin.send(page, &secret("canary-of-the-settings")).await.status(), 303);
    let shown = admin.page(page).await;
    assert!(shown.contains("shop in development") && shown.contains("<code class=\"row-link\">KEY</code>"), "{shown}");
    assert!(!shown.contains("canary-of-the-settings") && !shown.contains("missing"), "{shown}");

    let copy = WorkingCopy::new();
    let spec = "version: 1\nname: shop\nhandler: { command: [sh, -c, exec python3 -m http.server $PORT] }\n\
        config:\n  KEY: { type: string, secret: true, required: true, description: What opens the shop }\n\
        environments:\n  development: { promote: automatic }\n  production: { after: [development] }\n";
    copy.write("webhook.yaml", spec).commit("Begin");
    copy.push(&daemon, "shop");
    let missing = async |_: &Daemon| {
        let shown = admin.page(page).await;
        let (_, production) = shown.split_once("shop in production")?;
        (production.contains("missing") && production.contains("What opens the shop")).then_some(())
    };
    daemon.until("production to lack it", missing).await;

    let vera = Person::signed_in(&daemon, &token(&daemon, "vera", "viewer").await).await;
    let shown = vera.page(page).await;
    assert!(shown.contains("shop in production") && !shown.contains("name=\"value\""), "{shown}");
    let own = vera.form_token().await;
    let forged = [("csrf", own.as_str()), ("webhook", "shop"), ("environment", "production"), ("name", "KEY"), ("value", "mine")];
    assert_eq!(vera.send(page, &forged).await.status(), 403);
    let audit = daemon.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("secret.set") && !audit.contains("canary-of-the-settings"), "{audit}");
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_everywhere_at_once() {
    let daemon = Daemon::start(BINARY).await;
    let made = daemon.post("/api/v1/tokens", json!({ "user": "rosa", "grants": [{ "role": "developer", "scope": {} }] })).await;
    let (id, token) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("a token"));
    let (desk, phone) = (Person::signed_in(&daemon, token).await, Person::signed_in(&daemon, token).await);
    let csrf = desk.form_token().await;
    assert_eq!(desk.send("/sign-out-everywhere", &[("csrf", &csrf)]).await.status(), 303);
    for person in [&desk, &phone] {
        let answer = person.get("/runs").await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()[LOCATION].to_str().expect("a text")),
            (303, "/sign-in?to=%2Fruns&said=session-over")
        );
    }

    let again = Person::signed_in(&daemon, token).await;
    again.page("/runs").await;
    let (status, _) = daemon.request(reqwest::Method::DELETE, &format!("/api/v1/tokens/{id}"), None).await;
    assert_eq!(status, 204);
    assert_eq!(again.get("/runs").await.status(), 303, "a session is worth what its token is worth");
}

#[tokio::test]
async fn guessing_tokens_is_held_up_and_a_session_reads_the_api_but_changes_nothing_there() {
    let daemon = Daemon::start(BINARY).await;
    let admin = Person::signed_in(&daemon, daemon.token()).await;
    assert_eq!(admin.get("/api/v1/webhooks").await.status(), 200);
    assert_eq!(admin.send("/api/v1/repositories", &[("name", "x")]).await.status(), 401);

    for _ in 0..10 {
        assert_eq!(admin.send("/sign-in", &[("token", "hw_guess")]).await.status(), 401);
    }
    assert_eq!(admin.send("/sign-in", &[("token", daemon.token())]).await.status(), 429);
}

#[tokio::test]
async fn pages_keep_to_themselves_and_mistakes_name_the_request() {
    let daemon = Daemon::start(BINARY).await;
    let admin = Person::signed_in(&daemon, daemon.token()).await;
    for path in ["/sign-in", "/first-push", "/runs", "/no-such-page", "/webhooks/nobody"] {
        let answer = admin.get(path).await;
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("a text").to_owned()).unwrap_or_default();
        if answer.status() == 303 {
            continue;
        }
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!((header("x-content-type-options").as_str(), header("cache-control").as_str()), ("nosniff", "no-store"), "{path}");
        let id = header("x-request-id");
        if answer.status() == 404 {
            let page = answer.text().await.expect("a text");
            assert!(page.contains(&id), "{path}: {page}");
            assert!(page.contains("class=\"nav\"") && page.contains("id=\"keys\""), "{path} leads on whoever is signed in: {page}");
        }
    }
    let packed = admin.client.get(format!("{}/first-push", admin.address)).header(COOKIE, &admin.cookie).header("accept-encoding", "gzip");
    assert_eq!(packed.send().await.expect("an answer").headers()["content-encoding"], "gzip", "pages are small on the way");
    let outside = admin.send("/theme", &[("theme", "dark"), ("to", "//evil.example")]).await;
    assert_eq!(outside.headers()[LOCATION], "/", "nobody is sent to another site");
}

#[tokio::test]
async fn what_is_set_through_the_pages_is_done_and_written_down_without_secrets() {
    let daemon = Daemon::start(BINARY).await;
    let admin = Person::signed_in(&daemon, daemon.token()).await;
    let csrf = admin.form_token().await;
    let made = admin.send("/settings/tokens", &[("csrf", &csrf), ("user", "rosa"), ("role", "viewer"), ("webhook", "shop")]).await;
    assert_eq!(made.status(), 200);
    let page = made.text().await.expect("a text");
    let (_, rest) = page.split_once("<code>hw_").expect("the token, this once");
    let token = format!("hw_{}", rest.split('<').next().unwrap_or_default());
    Person::signed_in(&daemon, &token).await;

    assert_eq!(admin.send("/settings/repositories", &[("csrf", &csrf), ("name", "shop"), ("url", "")]).await.status(), 303);
    assert_eq!(daemon.get("/api/v1/repositories").await["items"][0]["name"], "shop");

    let secrets = "/webhooks/shop/environments/production/secrets";
    let list = format!("/api/v1{secrets}");
    assert_eq!(admin.send(secrets, &[("csrf", &csrf), ("name", "API_TOKEN"), ("value", "canary-31b7")]).await.status(), 303);
    assert_eq!(daemon.get(&list).await["items"][0]["name"], "API_TOKEN");
    assert_eq!(admin.send(&format!("{secrets}/remove"), &[("csrf", &csrf), ("name", "API_TOKEN")]).await.status(), 303);
    assert_eq!(daemon.get(&list).await["items"], json!([]));

    // The first steps hold a token that pushes, once one is asked for.
    let steps = admin.send("/first-push", &[("csrf", &csrf)]).await;
    assert_eq!(steps.status(), 200);
    let steps = steps.text().await.expect("a text").replace("&#x2f;", "/");
    let host = admin.address.trim_start_matches("http://");
    let (_, rest) = steps.split_once("http://me:").expect("the address with a token");
    let (token, rest) = rest.split_once('@').expect("a token");
    assert!(rest.starts_with(&format!("{host}/git/hello.git")), "{rest}");
    let works = admin.client.get(format!("{}/api/v1/webhooks", admin.address)).bearer_auth(token).send().await.expect("an answer");
    assert_eq!(works.status(), 200, "the token is worth something");
    let machine = admin.page("/settings/daemon").await;
    assert!(
        machine.contains("What doctor says") && machine.contains("git http-backend") && machine.contains("retention.runs"),
        "{machine}"
    );

    let all = admin.page("/settings/audit.csv").await;
    assert!(all.contains("token.created") && all.contains("secret.removed") && all.contains("repository."), "{all}");
    let some = admin.page("/settings/audit.csv?action=secret").await;
    assert!(some.contains("secret.set") && !some.contains("token.created"), "{some}");
    assert!(!all.contains("canary-31b7") && !daemon.log().contains("canary-31b7"), "a value is in no record");
}

#[tokio::test]
async fn the_audit_log_is_looked_through_by_time_alike_on_its_page_in_its_file_and_in_the_interface() {
    let daemon = Daemon::start(BINARY).await;
    for user in ["ann", "ben", "cem"] {
        token(&daemon, user, "viewer").await;
    }
    let made = daemon.get("/api/v1/audit?action=token").await;
    let lines: Vec<(i64, String)> = made["items"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| (line["at"].as_i64().expect("a time"), line["detail"].as_str().expect("a text").to_owned()))
        .collect();
    let at = |user: &str| lines.iter().find(|(_, detail)| detail.contains(user)).expect("a line").0;
    // The clock of a fast machine may stand still between two deeds.
    let (since, until) = (at("ben"), at("ben") + 1);
    let expected: Vec<&String> = lines.iter().filter(|(at, _)| (since..until).contains(at)).map(|(_, detail)| detail).collect();
    let found = daemon.get(&format!("/api/v1/audit?action=token.created&since={since}&until={until}&user=admin")).await;
    let found: Vec<&str> = found["items"].as_array().expect("lines").iter().filter_map(|line| line["detail"].as_str()).collect();
    assert_eq!(found, expected);

    let admin = Person::signed_in(&daemon, daemon.token()).await;
    let time = |millis: i64| jiff::Timestamp::from_millisecond(millis).expect("a time").to_string();
    let query = format!("action=token&since={}&until={}", time(since), time(until));
    let page = admin.page(&format!("/settings/audit?{query}")).await;
    let file = admin.page(&format!("/settings/audit.csv?{query}")).await;
    for text in [&page, &file] {
        assert!(expected.iter().all(|detail| text.contains(detail.as_str())), "{text}");
    }
    assert_eq!(page.matches("data-column=\"What\"").count(), expected.len(), "{page}");
    assert_eq!(file.lines().count(), expected.len() + 1, "{file}");
    let never = admin.page("/settings/audit?until=2001-01-01T00:00").await;
    assert!(never.contains("Nothing matches") && never.contains("value=\"2001-01-01T00:00\""), "{never}");
    let wrong = admin.get("/settings/audit?since=yesterday").await;
    assert_eq!(wrong.status(), 400);
    assert!(wrong.text().await.expect("a text").contains("is no time"));
}

#[tokio::test]
async fn what_a_form_was_refused_leads_back_to_the_page_it_was_on_and_never_elsewhere() {
    let daemon = Daemon::start(BINARY).await;
    let admin = Person::signed_in(&daemon, daemon.token()).await;
    let csrf = admin.form_token().await;
    let refused = async |referer: String| {
        let request = admin.client.post(format!("{}/settings/repositories", admin.address)).header(COOKIE, &admin.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded").header("accept", "text/html");
        let answer = request.header(REFERER, referer).body(format!("csrf={csrf}&name=NOT+A+NAME&url=&username=&password=")).send().await;
        let answer = answer.expect("an answer");
        assert!(answer.status().is_client_error(), "{}", answer.status());
        answer.text().await.expect("a text")
    };
    let page = refused(format!("{}/settings/repositories", admin.address)).await.replace("&#x2f;", "/");
    assert!(page.contains("href=\"/settings/repositories\">Go back"), "{page}");
    let page = refused("https://evil.example/settings/repositories".to_owned()).await;
    assert!(!page.contains("Go back") && page.contains("Go to the board"), "{page}");
}
