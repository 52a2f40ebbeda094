//! A headless chromium, asked through chromedriver how long it took until a page could be used: its own navigation timing.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use hookwright_testkit::Daemon;
use serde_json::{Value, json};

/// One browser with one window; both programs are gone when it is dropped.
pub(crate) struct Chromium {
    driver: Child,
    client: reqwest::Client,
    session: String,
}

/// What the browser says of one navigation, in milliseconds from its beginning.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    /// The first content is painted.
    pub(crate) painted: f64,
    /// Everything is loaded and every script that was waited for has run.
    pub(crate) loaded: f64,
}

impl Chromium {
    /// Starts it; `None` when chromedriver is not installed.
    pub(crate) async fn start() -> Result<Option<Self>> {
        let spawned = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut driver) = spawned else { return Ok(None) };
        let lines = BufReader::new(driver.stdout.take().context("a piped output")?).lines();
        let said = |line: String| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok();
        let Some(port) = lines.map_while(Result::ok).find_map(said) else {
            let _ = driver.kill();
            let _ = driver.wait();
            bail!("chromedriver does not say its port");
        };
        let mut browser = Self { driver, client: reqwest::Client::new(), session: format!("http://127.0.0.1:{port}/session") };
        let arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1440,900"];
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments } } } });
        let begun = browser.post("", wanted).await?;
        let id = begun["sessionId"].as_str().context("chromedriver begins no session")?;
        browser.session = format!("{}/{id}", browser.session);
        Ok(Some(browser))
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        let answer = self.client.post(format!("{}{path}", self.session)).json(&body).send().await?;
        let (status, mut answer) = (answer.status(), answer.json::<Value>().await?);
        if !status.is_success() {
            bail!("chromedriver refuses {path}: {}", answer["value"]["message"]);
        }
        Ok(answer["value"].take())
    }

    /// Signs in as the admin, by the link that the daemon prints.
    pub(crate) async fn sign_in(&self, daemon: &Daemon) -> Result<()> {
        self.open(&format!("{}/sign-in#{}", daemon.address(), daemon.token())).await?;
        let script =
            "const done = arguments[0], look = () => document.querySelector('details.menu') ? done(true) : setTimeout(look, 20); look();";
        self.post("/execute/async", json!({ "script": script, "args": [] })).await.map(drop).context("nobody is signed in")
    }

    async fn open(&self, url: &str) -> Result<()> {
        self.post("/url", json!({ "url": url })).await.map(drop)
    }

    /// Opens a page; with `empty` as if nothing of it had been loaded before.
    pub(crate) async fn time(&self, url: &str, empty: bool) -> Result<Timing> {
        let command = |name: &str, parameters: Value| json!({ "cmd": name, "params": parameters });
        self.post("/goog/cdp/execute", command("Network.enable", json!({}))).await?;
        self.post("/goog/cdp/execute", command("Network.setCacheDisabled", json!({ "cacheDisabled": empty }))).await?;
        self.open(url).await?;
        let script = "const done = arguments[0], look = () => { \
            const page = performance.getEntriesByType('navigation')[0], paint = performance.getEntriesByName('first-contentful-paint')[0]; \
            page.loadEventEnd > 0 && paint ? done([paint.startTime, page.loadEventEnd]) : setTimeout(look, 20); }; look();";
        let answer = self.post("/execute/async", json!({ "script": script, "args": [] })).await?;
        let number = |at: usize| answer[at].as_f64().with_context(|| format!("chromium tells no time: {answer}"));
        Ok(Timing { painted: number(0)?, loaded: number(1)? })
    }

    /// Ends the browser.
    pub(crate) async fn end(self) {
        // Without it the driver is killed, and with it the browser.
        let _ = self.client.delete(&self.session).send().await;
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
