//! A browser of one's own: chromedriver on a free port, one headless chromium, both gone at the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::mem::ManuallyDrop;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hookwright_testkit::Daemon;
use serde_json::{Value, json};
use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, ChromiumLikeCapabilities};

/// How long a page may take to show what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// The accessibility checks; its licence and checksum stand beside it.
const AXE: &str = include_str!("../../fixtures/vendor/axe.js");

/// A browser at a daemon's pages.
pub(super) struct Browser {
    driver: ManuallyDrop<WebDriver>,
    port: u16,
    address: String,
    process: Child,
}

/// What is special about a browser.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    On,
    Off,
}

impl Browser {
    /// A browser in which nobody is signed in.
    pub(super) async fn start(daemon: &Daemon, script: Script) -> Self {
        // The port that a driver chooses may be taken before it listens: then it ends, and another one is started.
        let (process, port) = (0..8).find_map(|_| driver()).expect("chromedriver says its port");
        let mut capabilities = ChromeCapabilities::new();
        for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"] {
            capabilities.add_arg(argument).expect("an argument");
        }
        if script == Script::Off {
            let preferences = json!({ "profile.managed_default_content_settings.javascript": 2 });
            capabilities.add_experimental_option("prefs", preferences).expect("preferences");
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities).await.expect("chromium starts");
        let driver = ManuallyDrop::new(driver);
        let browser = Self { driver, port, address: daemon.address().to_owned(), process };
        browser.resize(1440, 900).await;
        browser
    }

    /// Signs in by the link that the daemon prints, or without script by the form.
    pub(super) async fn sign_in(&self, token: &str, script: Script) {
        match script {
            Script::On => self.open(&format!("/sign-in#{token}")).await,
            Script::Off => {
                self.open("/sign-in").await;
                self.fill("input[name=token]", token).await;
                self.press("#sign-in button").await;
            }
        }
        self.until("somebody to be signed in", "details.menu").await;
    }

    pub(super) async fn open(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.address)).await.expect("the page opens");
    }

    /// Opens a page in a tab more, which is looked at from now on.
    pub(super) async fn open_in_new_tab(&self, path: &str) {
        let tab = self.driver.new_tab().await.expect("a new tab");
        self.driver.switch_to_window(tab).await.expect("the tab is looked at");
        self.open(path).await;
    }

    /// As somebody who asked the system for less motion.
    pub(super) async fn prefer_reduced_motion(&self) {
        let features = json!([{ "name": "prefers-reduced-motion", "value": "reduce" }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    pub(super) async fn path(&self) -> String {
        let url = self.driver.current_url().await.expect("an address");
        url.path().to_owned()
    }

    /// Waits for an element, and returns its text.
    pub(super) async fn until(&self, what: &str, selector: &str) -> String {
        self.until_text(what, selector, "").await
    }

    /// Waits until an element has this in its text, and returns the text.
    pub(super) async fn until_text(&self, what: &str, selector: &str, needle: &str) -> String {
        let start = Instant::now();
        loop {
            for element in self.driver.find_all(By::Css(selector)).await.unwrap_or_default() {
                // An element may be exchanged while it is looked at.
                let text = element.text().await.unwrap_or_default();
                if text.contains(needle) {
                    return text;
                }
            }
            if start.elapsed() > PATIENCE {
                let page = self.driver.source().await.unwrap_or_default();
                panic!("waited in vain for {what} (`{needle}` in {selector}) at {}:\n{page}", self.path().await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) async fn count(&self, selector: &str) -> usize {
        self.driver.find_all(By::Css(selector)).await.expect("a selector").len()
    }

    pub(super) async fn fill(&self, selector: &str, text: &str) {
        let field = self.driver.find(By::Css(selector)).await.expect("a field");
        field.send_keys(text).await.expect("keys are taken");
    }

    /// Types at whatever has the focus.
    pub(super) async fn type_keys(&self, keys: impl Into<String>) {
        self.driver.action_chain().send_keys(keys).perform().await.expect("keys are taken");
    }

    /// Presses a key that is no letter.
    pub(super) async fn press_key(&self, key: Key) {
        self.type_keys(char::from(key)).await;
    }

    /// Presses Tab until what `selector` names has the focus, at most `most` times; each stop on the way must be seen to have it.
    pub(super) async fn tab_to(&self, selector: &str, most: usize) {
        for _ in 0..most {
            self.press_key(Key::Tab).await;
            let script = format!(
                "const at = document.activeElement, style = getComputedStyle(at);
                 const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
                 return [at.matches({}), seen, at.outerHTML.slice(0, 120)]",
                json!(selector)
            );
            let focus = self.run(&script).await;
            assert_eq!(focus[1], json!(true), "the focus is not seen at {}", focus[2]);
            if focus[0] == json!(true) {
                return;
            }
        }
        panic!("{most} times Tab do not lead to {selector}");
    }

    /// Presses what a live update may just be exchanging.
    pub(super) async fn press(&self, selector: &str) {
        let start = Instant::now();
        loop {
            let pressed = match self.driver.find(By::Css(selector)).await {
                Ok(element) => element.click().await,
                Err(error) => Err(error),
            };
            match pressed {
                Ok(()) => return,
                Err(error) => assert!(start.elapsed() < PATIENCE, "cannot press {selector}: {error}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) async fn address_of(&self, selector: &str) -> String {
        let element = self.driver.find(By::Css(selector)).await.expect("a link");
        element.attr("href").await.expect("an attribute").expect("an address")
    }

    /// The exact time behind its words.
    pub(super) async fn time_of(&self, selector: &str) -> String {
        let element = self.driver.find(By::Css(selector)).await.expect("a time");
        element.attr("datetime").await.expect("an attribute").expect("a time")
    }

    pub(super) async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.expect("the script runs").json().clone()
    }

    /// Runs a script that ends by calling its last argument, and returns with what.
    pub(super) async fn wait_for(&self, script: &str) -> Value {
        self.driver.execute_async(script, Vec::new()).await.expect("the script ends").json().clone()
    }

    pub(super) async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    async fn command(&self, name: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(name, parameters).await.expect("chromium takes the command")
    }

    /// What the accessibility checks object to, one line each.
    pub(super) async fn violations(&self) -> Vec<String> {
        self.run(AXE).await;
        let check = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then((result) => done(result.violations.flatMap((one) =>
                one.nodes.map((node) => `${one.id}: ${node.target} ${node.failureSummary.replace(/\\s+/g, ' ')}`))));";
        let found = self.driver.execute_async(check, Vec::new()).await.expect("axe runs").json().clone();
        serde_json::from_value(found).expect("a list of texts")
    }

    fn end_session(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let session = self.driver.session_id();
        write!(stream, "DELETE /session/{session} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.port)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(drop)
    }

    /// Keeps a picture of the whole page.
    pub(super) async fn picture(&self, name: &str) {
        let folder = pictures();
        let shot = self.command("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true })).await;
        let data = shot["data"].as_str().expect("a picture");
        let bytes = data_encoding(data);
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("a writable folder");
    }
}

/// Where pictures are kept.
fn pictures() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let folder = target.join("screenshots");
    std::fs::create_dir_all(&folder).expect("a writable target folder");
    folder
}

fn data_encoding(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session's end is the browser's. Asked for by hand: the driver's own way takes a runtime, and there may be none here any more.
        let _ = self.end_session();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A driver that listens, and where; `None` when it ended instead.
fn driver() -> Option<(Child, u16)> {
    let spawned = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut process = spawned.expect("chromedriver starts; Debian has it in chromium-driver, and tests/run installs it");
    let lines = BufReader::new(process.stdout.take().expect("a piped output")).lines();
    let said = |line: String| line.split_once("successfully on port ")?.1.trim_end_matches('.').parse::<u16>().ok();
    let Some(port) = lines.map_while(Result::ok).find_map(said) else {
        let _ = process.kill();
        let _ = process.wait();
        return None;
    };
    Some((process, port))
}
