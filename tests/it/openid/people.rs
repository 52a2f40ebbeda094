//! What a name and groups from a provider are worth: no name is two people's, groups decide, and rights end when they do.

use hookwright_testkit::{DaemonOptions, MovedClock};
use reqwest::Method;
use serde_json::json;

use super::person::Person;
use super::provider::Provider;
use super::{BINARY, daemon_of, daemon_with, refused};
use crate::cluster::leads;

#[tokio::test]
async fn somebody_in_no_group_with_a_role_is_told_so_and_everybodys_role_lets_them_in() {
    let provider = Provider::start();
    let mut daemon = daemon_of(&provider).await;
    let mut nora = Person::new(&daemon, "203.0.113.1");
    provider.person("sub-nora", "nora", &["choir", "<b>hostile`"]);
    let answer = nora.signs_in("%2Fruns").await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    for part in
        ["Acme knows you as <code>nora</code>", "<code>choir</code>", "&lt;b&gt;hostile", "Ask an admin", "openid.roles", "to=%2Fruns"]
    {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    assert!(!nora.is_in());
    let line = refused(&daemon).await.remove(0);
    assert!(line.contains("nora, subject sub-nora: no role for the groups `choir`"), "{line}");
    provider.script().groups = json!(null);
    assert!(nora.signs_in("%2F").await.text.contains("there is no claim <code>groups</code>"));
    provider.person("sub-nora", "nora", &[]);
    assert!(nora.signs_in("%2F").await.text.contains("you are in no group"));

    daemon.set("HOOKWRIGHT_OPENID_DEFAULT_ROLE", "viewer");
    daemon.terminate().await;
    daemon.restart().await;
    assert_eq!(nora.signs_in("%2Fruns").await.location, "/runs");
    assert_eq!(nora.sees("/settings/tokens").await, 403);
}

#[tokio::test]
async fn a_name_is_one_persons_until_an_admin_says_otherwise() {
    let provider = Provider::start();
    let daemon = daemon_of(&provider).await;
    let viewer = json!([{ "role": "viewer", "scope": {} }]);
    daemon.post("/api/v1/tokens", json!({ "user": "robot", "grants": viewer })).await;
    daemon.post("/api/v1/users", json!({ "name": "rosa", "password": "three words do", "grants": viewer })).await;
    let mut rosa = Person::new(&daemon, "203.0.113.1");
    for taken in ["robot", "Rosa", "admin", "hookwright"] {
        provider.person("sub-rosa", taken, &["staff"]);
        let answer = rosa.signs_in("%2F").await;
        assert_eq!(answer.status, 403, "{taken}: {}", answer.text);
        assert!(answer.text.contains(&format!("hookwright user link {taken} --subject sub-rosa")), "{taken}: {}", answer.text);
        assert!(!rosa.is_in(), "{taken}");
    }
    assert!(refused(&daemon).await[0].contains("the name is somebody's here"));

    // An admin says that they are one: the password of the name is gone, and groups decide.
    provider.person("sub-rosa", "rosa", &["staff"]);
    assert_eq!(daemon.request(Method::PUT, "/api/v1/users/rosa/identity", Some(json!({ "subject": "sub-rosa" }))).await.0, 204);
    assert_eq!(rosa.sends("/sign-in", &[("user", "rosa"), ("password", "three words do")]).await.status, 401);
    assert_eq!(rosa.signs_in("%2F").await.status, 303);
    let (status, problem) = daemon.request(Method::PUT, "/api/v1/users/robot/identity", Some(json!({ "subject": "sub-rosa" }))).await;
    assert_eq!(status, 409, "{problem}");
    let change = json!({ "grants": [{ "role": "admin", "scope": {} }] });
    assert_eq!(daemon.request(Method::PUT, "/api/v1/users/rosa", Some(change)).await.0, 404, "the settings decide, not the list");

    // Somebody else who calls herself rosa there is not she; and rosa stays rosa whatever she is called.
    let mut other = Person::new(&daemon, "203.0.113.2");
    provider.person("sub-other", "rosa", &["leads"]);
    assert_eq!(other.signs_in("%2F").await.status, 403);
    provider.person("sub-rosa", "rosa-maria", &["staff"]);
    let mut phone = Person::new(&daemon, "203.0.113.3");
    assert_eq!(phone.signs_in("%2F").await.status, 303);
    assert!(phone.opens("/settings/account").await.text.contains("<bdi>rosa</bdi>"));
}

#[tokio::test]
async fn rights_end_with_the_group_the_person_and_the_settings() {
    let provider = Provider::start();
    let mut daemon = daemon_of(&provider).await;
    let (mut desk, mut phone) = (Person::new(&daemon, "203.0.113.1"), Person::new(&daemon, "203.0.113.2"));
    assert_eq!(desk.signs_in("%2F").await.status, 303);
    assert!(desk.opens("/settings/account").await.text.contains("approver of"));
    // Groups are read at each sign-in, and hold for every session of the person.
    provider.person("sub-rosa", "rosa", &["staff"]);
    assert_eq!(phone.signs_in("%2F").await.status, 303);
    assert!(!desk.opens("/settings/account").await.text.contains("approver of"));

    // Other settings hold from the start of the daemon on, for whoever is signed in too.
    daemon.set("HOOKWRIGHT_OPENID_ROLES", "[{ group: staff, role: developer, webhook: shop }]");
    daemon.terminate().await;
    daemon.restart().await;
    assert!(desk.opens("/settings/account").await.text.contains("developer of shop"));
    daemon.set("HOOKWRIGHT_OPENID_ROLES", "[{ group: nobody, role: viewer }]");
    daemon.terminate().await;
    daemon.restart().await;
    assert_eq!(desk.opens("/runs").await.location, "/sign-in?to=%2Fruns&said=session-over");
    let audit = daemon.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("`openid` of the settings was changed"), "{audit}");

    daemon.set("HOOKWRIGHT_OPENID_ROLES", "[{ group: staff, role: viewer }]");
    daemon.terminate().await;
    daemon.restart().await;
    assert_eq!(desk.signs_in("%2F").await.status, 303);
    assert_eq!(phone.signs_in("%2F").await.status, 303);
    let csrf = desk.form_token().await;
    assert_eq!(desk.sends("/sign-out-everywhere", &[("csrf", &csrf)]).await.status, 303);
    assert_eq!((desk.sees("/runs").await, phone.sees("/runs").await), (303, 303));

    // Whoever is removed stays outside, whatever the provider says, until an admin lets them in.
    assert_eq!(phone.signs_in("%2F").await.status, 303);
    assert_eq!(daemon.request(Method::DELETE, "/api/v1/users/rosa", None).await.0, 204);
    assert_eq!(phone.sees("/runs").await, 303);
    phone.cookies.clear();
    let answer = phone.signs_in("%2F").await;
    assert!(answer.status == 403 && answer.text.contains("<code>rosa</code> was removed here"), "{}", answer.text);
    assert_eq!(daemon.request(Method::PUT, "/api/v1/users/rosa/identity", Some(json!({ "subject": "sub-rosa" }))).await.0, 204);
    assert_eq!(phone.signs_in("%2F").await.status, 303);

    // Out of the only group that had a role: every session ends with the try that shows it.
    provider.person("sub-rosa", "rosa", &["choir"]);
    let mut tablet = Person::new(&daemon, "203.0.113.3");
    assert_eq!(tablet.signs_in("%2F").await.status, 403);
    assert_eq!(phone.sees("/runs").await, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_settings_hold_from_the_moment_on_that_the_daemon_that_has_them_leads() {
    let provider = Provider::start();
    let mut leader = daemon_of(&provider).await;
    if leader.database().is_none() {
        return;
    }
    let mut desk = Person::new(&leader, "203.0.113.1");
    assert_eq!(desk.signs_in("%2F").await.status, 303);
    let others = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_OPENID_ROLES", "[{ group: nobody, role: viewer }]");
    let follower = leader.start_beside("log-of-second", others).await;
    assert_eq!(desk.sees("/runs").await, 200, "one that follows changes nothing");
    leader.kill();
    leads(&follower).await;
    let audit = follower.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("rosa: `openid` of the settings was changed"), "{audit}");
}

#[tokio::test]
async fn a_session_from_a_provider_lasts_as_long_as_the_settings_say_and_forms_lead_back() {
    let (provider, clock) = (Provider::start(), MovedClock::new());
    let options: DaemonOptions = clock.options(BINARY).variable("HOOKWRIGHT_OPENID_SESSION", "1h");
    let daemon = daemon_with(&provider, options).await;
    let mut rosa = Person::new(&daemon, "203.0.113.1");
    assert_eq!(rosa.signs_in("%2F").await.status, 303);
    clock.jump("+59m");
    assert_eq!(rosa.sees("/runs").await, 200);
    clock.jump("+61m");
    let over = rosa.opens("/runs?webhook=a").await;
    assert_eq!((over.status, over.location.as_str()), (303, "/sign-in?to=%2Fruns%3Fwebhook%3Da&said=session-over"));
    assert!(rosa.opens(&over.location).await.text.contains("Your session is over"));
    // A clock that is an hour off is no reason to believe a token.
    let answer = rosa.signs_in("%2F").await;
    assert!(answer.status == 401 && answer.text.contains("too old; do the clocks agree?"), "{}", answer.text);
    clock.jump("+0");
    rosa.cookies.clear();
    assert_eq!(rosa.signs_in("%2F").await.status, 303);
}

#[tokio::test]
async fn signing_out_leads_to_signing_out_there_and_doctor_says_whether_the_provider_answers() {
    let provider = Provider::start();
    let daemon = daemon_of(&provider).await;
    let mut rosa = Person::new(&daemon, "203.0.113.1");
    assert_eq!(rosa.signs_in("%2F").await.status, 303);
    let csrf = rosa.form_token().await;
    let out = rosa.sends("/sign-out", &[("csrf", &csrf)]).await;
    let page = rosa.opens(&out.location).await.text;
    assert!(page.contains("Sign out there too"), "{page}");
    let there = rosa.opens("/sign-in/openid/sign-out").await.location;
    assert_eq!(there, format!("{}/end?client_id=hookwright", provider.address));
    let audit = daemon.get("/api/v1/audit").await.to_string();
    assert!(audit.contains("session.ended"), "{audit}");
    // Whoever comes by another address than the public one is led there first: the cookie has to be where the provider sends people.
    let other = daemon.address().replace("127.0.0.1", "localhost");
    let moved = rosa.opens(&format!("{other}/sign-in/openid?to=%2Fruns")).await.location;
    assert_eq!(moved, format!("{}/sign-in/openid?to=%2Fruns&moved=true", daemon.address()));

    let doctor = |variables: &[(&str, &str)]| {
        let options = provider.known_to(DaemonOptions::new(BINARY), "https://hooks.example.com");
        let mut command = std::process::Command::new(BINARY);
        let folder = tempfile::tempdir().expect("a folder");
        command.args(["doctor", "--json"]).envs(options.variables).envs(variables.iter().copied()).current_dir(folder.path());
        let output = command.output().expect("the client runs");
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let finding = found.as_array().expect("a list").iter().find(|one| one["name"] == "sign-in").expect("a finding").clone();
        (finding["level"].as_str().expect("a level").to_owned(), finding["text"].as_str().expect("a text").to_owned())
    };
    let (level, text) = doctor(&[]);
    assert!(level == "ok" && text.contains("`https://hooks.example.com/sign-in/openid/back` is the redirect address"), "{level} {text}");
    let (level, text) = doctor(&[("HOOKWRIGHT_PUBLIC_URL", "")]);
    assert!(level == "broken" && text.contains("`public_url` is empty; set it to"), "{level} {text}");
    let (level, text) = doctor(&[("HOOKWRIGHT_OPENID_ISSUER", "http://127.0.0.1:9")]);
    assert!(level == "missing" && text.contains("does not answer"), "{level} {text}");
}
