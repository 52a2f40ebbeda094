//! A person with a browser that a test looks into: it keeps cookies, and goes on only when it is told to.

use std::collections::BTreeMap;

use hookwright_testkit::Daemon;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: String,
    pub(super) text: String,
}

pub(super) struct Person {
    client: reqwest::Client,
    address: String,
    pub(super) cookies: BTreeMap<String, String>,
    /// Where the trusted proxy says the person is.
    pub(super) from: String,
}

impl Person {
    pub(super) fn new(daemon: &Daemon, from: &str) -> Self {
        let client = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        Self { client, address: daemon.address().to_owned(), cookies: BTreeMap::new(), from: from.to_owned() }
    }

    /// Opens an address; cookies go to the daemon alone, as a browser keeps them.
    pub(super) async fn opens(&mut self, address: &str) -> Answer {
        let is_ours = !address.starts_with("http") || address.starts_with(&self.address);
        let url = if address.starts_with("http") { address.to_owned() } else { format!("{}{address}", self.address) };
        let mut request = self.client.get(url).header("accept", "text/html");
        if is_ours {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, cookies.join("; ")).header("x-forwarded-for", &self.from);
        }
        self.took(request.send().await.expect("an answer")).await
    }

    /// Sends a form.
    pub(super) async fn sends(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let mut body = reqwest::Url::parse("http://x").expect("an address");
        body.query_pairs_mut().extend_pairs(form);
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.post(format!("{}{path}", self.address)).header(COOKIE, cookies.join("; "));
        let request = request.header("x-forwarded-for", &self.from).header("content-type", "application/x-www-form-urlencoded");
        self.took(request.body(body.query().unwrap_or_default().to_owned()).send().await.expect("an answer")).await
    }

    async fn took(&mut self, answer: reqwest::Response) -> Answer {
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("a text");
            let (name, rest) = cookie.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default();
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        let location = answer.headers().get(LOCATION).map(|to| to.to_str().expect("a text").to_owned()).unwrap_or_default();
        Answer { status: answer.status().as_u16(), location, text: answer.text().await.expect("a text") }
    }

    /// Goes to the provider and signs in there; returns the address that it sends the browser back to.
    pub(super) async fn is_sent_back(&mut self, to: &str) -> String {
        let begun = self.opens(&format!("/sign-in/openid?to={to}")).await;
        assert_eq!(begun.status, 303, "{}", begun.text);
        let back = self.opens(&begun.location).await;
        assert_eq!(back.status, 302, "{back:?}");
        back.location
    }

    /// The whole way.
    pub(super) async fn signs_in(&mut self, to: &str) -> Answer {
        let back = self.is_sent_back(to).await;
        self.opens(&back).await
    }

    pub(super) fn is_in(&self) -> bool {
        self.cookies.contains_key("hookwright_session")
    }

    /// Whether a page is shown.
    pub(super) async fn sees(&mut self, path: &str) -> u16 {
        self.opens(path).await.status
    }

    /// The token that forms of this session hold.
    pub(super) async fn form_token(&mut self) -> String {
        let page = self.opens("/settings/account").await.text;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}
