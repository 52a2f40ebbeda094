//! Somebody with a browser's session and without a browser: signs in, asks for pages as a browser does, and keeps streams open.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hookwright_testkit::Daemon;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, header};

/// Whoever is signed in.
#[derive(Clone)]
pub(crate) struct Visitor {
    client: Client,
    address: String,
    cookie: String,
}

/// A page that was answered.
pub(crate) struct Answered {
    /// From the request to the first byte of the answer.
    pub(crate) first_byte: Duration,
    /// As it came, packed.
    pub(crate) body: Vec<u8>,
}

impl Visitor {
    /// Signs in with the admin's token.
    pub(crate) async fn sign_in(daemon: &Daemon) -> Result<Self> {
        let client = Client::builder().redirect(Policy::none()).build()?;
        let form = format!("token={}", daemon.token());
        let request =
            client.post(format!("{}/sign-in", daemon.address())).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await?;
        let cookie = answer.headers().get(header::SET_COOKIE).context("signing in gives no cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(Self { client, address: daemon.address().to_owned(), cookie })
    }

    async fn ask(&self, path: &str, encoding: &str) -> Result<Response> {
        let request = self.client.get(format!("{}{path}", self.address)).header(header::COOKIE, &self.cookie);
        let answer = request.header(header::ACCEPT_ENCODING, encoding).send().await?;
        ensure!(answer.status() == 200, "{path} answers {}", answer.status());
        Ok(answer)
    }

    /// A page as text.
    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        Ok(self.ask(path, "identity").await?.text().await?)
    }

    /// A page, to its end.
    pub(crate) async fn get(&self, path: &str) -> Result<Answered> {
        let began = Instant::now();
        let answer = self.ask(path, "gzip").await?;
        let first_byte = began.elapsed();
        Ok(Answered { first_byte, body: answer.bytes().await?.into() })
    }

    /// A stream, open.
    pub(crate) async fn stream(&self, path: &str) -> Result<Response> {
        self.ask(path, "identity").await
    }
}
