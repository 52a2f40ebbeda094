//! Debian's `webhook`, which verifies a signature and starts a command; it stores nothing.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use super::native::SECRET;
use crate::process;

/// Where it takes events.
pub(super) const PATH: &str = "/hooks/bench";

/// Whoever uses no processor for so long rests.
const REST: Duration = Duration::from_millis(100);

/// A running one; it is killed when the value is dropped.
pub(super) struct DebianWebhook {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl DebianWebhook {
    /// Starts `program` with one hook, which is signed as GitHub signs and starts `/bin/true`, and waits until it takes connections.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let address = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).context("no free port")?;
        let parameter = json!({ "source": "header", "name": "X-Hub-Signature-256" });
        let hooks = json!([{
            "id": "bench",
            "execute-command": "/bin/true",
            "trigger-rule": { "match": { "type": "payload-hmac-sha256", "secret": SECRET, "parameter": parameter } },
            // Without it an event with a wrong signature is answered with 200 too.
            "trigger-rule-mismatch-http-response-code": 403,
        }]);
        let file = folder.path().join("hooks.json");
        std::fs::write(&file, hooks.to_string()).context("cannot write the hooks")?;
        let mut command = Command::new(program);
        command.arg("-hooks").arg(&file).args(["-ip", "127.0.0.1", "-port", &address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut started = Self { child: command.spawn().context("`webhook` cannot be started")?, address, _folder: folder };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = started.child.try_wait().context("`webhook` cannot be waited for")?;
            ensure!(ended.is_none() && begun.elapsed() < Duration::from_secs(10), "`webhook` does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(started)
    }

    /// Waits until every command that it has begun has ended: it answers before, and goes on starting them for seconds.
    pub(super) async fn rest(&self) -> Result<()> {
        let pid = self.child.id();
        let mut before = process::cpu(Some(pid))?.total();
        loop {
            tokio::time::sleep(REST).await;
            let now = process::cpu(Some(pid))?.total();
            if now == before {
                return Ok(());
            }
            before = now;
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DebianWebhook {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
