//! Signing in at a real OpenID provider in a real browser: `oidc-provider` from the npm registry, started by node.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use hookwright_testkit::{Daemon, DaemonOptions, MovedClock, WorkingCopy};

use super::BINARY;
use super::browser::{Browser, Script};
use super::look::inspect;

/// The provider, and where it sends people back to.
struct Provider {
    process: Child,
    issuer: String,
    redirect: String,
}

/// How long node may take to begin, and how often it is tried: node 20 can block for ever while it exports a key that was just made.
const BEGINNING: Duration = Duration::from_secs(30);
const TRIES: usize = 4;

impl Provider {
    fn start(port: &str, redirect: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oidc-provider");
        assert!(folder.join("node_modules").is_dir(), "the provider is not installed; tests/run does it with `npm ci`");
        for _ in 0..TRIES {
            let mut command = Command::new("node");
            let command = command.args(["server.mjs", port, redirect]).current_dir(&folder).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut process = command.spawn().expect("node starts");
            let output = process.stdout.take().expect("a piped output");
            let (said, heard) = mpsc::channel();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(output).lines().map_while(Result::ok);
                // Nobody listens any more when it came too late.
                let _ = said.send(lines.find(|line| line.starts_with("http://")));
            });
            match heard.recv_timeout(BEGINNING) {
                Ok(issuer) => {
                    let issuer = issuer.expect("the provider says where it is");
                    return Self { process, issuer, redirect: redirect.to_owned() };
                }
                Err(_) => {
                    let _ = process.kill();
                    let _ = process.wait();
                }
            }
        }
        panic!("the provider does not begin");
    }

    /// The same one, begun again: it has another key, and has forgotten who was signed in.
    fn start_again(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let port = self.issuer.rsplit(':').next().unwrap_or_default().to_owned();
        *self = Self::start(&port, &self.redirect.clone());
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn begin(options: DaemonOptions) -> (Provider, Daemon) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let public_url = format!("http://{}", socket.local_addr().expect("an address"));
    let provider = Provider::start("0", &format!("{public_url}/sign-in/openid/back"));
    let options = options
        .variable("HOOKWRIGHT_PUBLIC_URL", &public_url)
        .variable("HOOKWRIGHT_OPENID_ISSUER", &provider.issuer)
        .variable("HOOKWRIGHT_OPENID_CLIENT_ID", "hookwright")
        .variable("HOOKWRIGHT_OPENID_CLIENT_SECRET", "provider-secret-77d1")
        .variable("HOOKWRIGHT_OPENID_LABEL", "Acme Login")
        .variable("HOOKWRIGHT_OPENID_ROLES", "[{ group: leads, role: approver, teams: [acme/leads] }, { group: staff, role: viewer }]");
    (provider, Daemon::start_on(Some(socket), options).await)
}

/// Presses the button and signs in on the provider's own page.
async fn sign_in(browser: &Browser, name: &str) {
    browser.press("a[href*='/sign-in/openid?']").await;
    browser.until("the provider's page", "input[name=login]").await;
    browser.fill("input[name=login]", name).await;
    browser.press("button").await;
}

#[tokio::test]
async fn a_group_at_the_provider_makes_an_approver_who_approves_and_comes_back_to_where_the_session_ended() {
    let clock = MovedClock::new();
    let (mut provider, daemon) = begin(clock.options(BINARY)).await;
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    copy.push(&daemon, "hello-python");
    daemon.waits_for_approval("hello-python", "production").await;
    let rosa = Browser::start(&daemon, Script::On).await;
    rosa.open("/").await;
    sign_in(&rosa, "rosa").await;
    rosa.until_text("the name", ".menu-name", "rosa").await;
    rosa.press("td[data-column=production] .waits").await;
    rosa.press("button[value=approve]").await;
    rosa.until_text("the word about it", ".said", "approval is recorded").await;
    daemon.answers("hello-python", "production", "Hello").await;

    clock.jump("+13h");
    rosa.open("/webhooks/hello-python").await;
    rosa.until_text("the word about the session", ".said", "Your session is over").await;
    clock.jump("+0");
    // The provider still knows the browser, and asks nothing.
    rosa.press("a[href*='/sign-in/openid?']").await;
    rosa.until_text("the page from before", "h1", "hello-python").await;
    assert_eq!(rosa.path().await, "/webhooks/hello-python");

    // The provider has another key, and nobody restarts anything.
    provider.start_again();
    let emil = Browser::start(&daemon, Script::On).await;
    emil.open("/runs").await;
    sign_in(&emil, "emil").await;
    emil.until_text("the page asked for", "h1", "Runs").await;
    emil.open("/settings/account").await;
    emil.until_text("both groups", "main", "viewer of every webhook").await;
    emil.press("details.menu summary").await;
    emil.press("form[action='/sign-out'] button").await;
    emil.until_text("the word about it", ".said", "You are signed out").await;
    emil.press("a[href='/sign-in/openid/sign-out']").await;
    emil.until_text("the provider's question", "h1", "sign-out from").await;
}

#[tokio::test]
async fn without_any_script_somebody_in_no_group_with_a_role_is_told_which_and_others_come_in() {
    let (_provider, daemon) = begin(DaemonOptions::new(BINARY)).await;
    let nora = Browser::start(&daemon, Script::Off).await;
    nora.open("/runs").await;
    sign_in(&nora, "nora").await;
    let said = nora.until_text("the refusal", ".notice", "you have no role here").await;
    assert!(said.contains("nora") && said.contains("choir") && said.contains("Ask an admin"), "{said}");
    assert_eq!(nora.path().await, "/sign-in/openid/back");

    let rosa = Browser::start(&daemon, Script::Off).await;
    rosa.open("/runs").await;
    sign_in(&rosa, "rosa").await;
    rosa.until_text("the name", ".menu-name", "rosa").await;
    assert_eq!(rosa.path().await, "/runs");
}

#[tokio::test]
async fn the_pages_of_signing_in_at_a_provider_look_well_everywhere() {
    let (_provider, daemon) = begin(DaemonOptions::new(BINARY)).await;
    let browser = Browser::start(&daemon, Script::On).await;
    browser.open("/sign-in?said=signed-out").await;
    let mut found = inspect(&browser, "sign-in-openid").await;
    browser.open("/sign-in").await;
    sign_in(&browser, "nora").await;
    browser.until_text("the refusal", ".notice", "you have no role here").await;
    found.extend(inspect(&browser, "sign-in-refused").await);
    let people = Browser::start(&daemon, Script::On).await;
    people.open("/sign-in").await;
    sign_in(&people, "rosa").await;
    people.until_text("the name", ".menu-name", "rosa").await;
    daemon.request(reqwest::Method::DELETE, "/api/v1/users/rosa", None).await;
    browser.open(&format!("/sign-in#{}", daemon.token())).await;
    browser.until("somebody to be signed in", "details.menu").await;
    browser.open("/settings/people").await;
    browser.until_text("who was removed", "main", "known by the provider as").await;
    found.extend(inspect(&browser, "people-openid").await);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    browser.press("form:has(input[name=subject][type=hidden]) button").await;
    browser.until_text("the word about it", ".said", "the provider says who that is").await;
    people.open("/sign-in").await;
    people.press("a[href*='/sign-in/openid?']").await;
    people.until_text("the name", ".menu-name", "rosa").await;
}
