//! nginx as a plain reverse proxy: a worker a core, connections kept on both sides and for ever, no access log, and the headers that the gateway sets too.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::process;

/// A running nginx; it is killed when the value is dropped.
pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts `program` in front of `backend` and waits until it takes connections.
    pub(crate) fn start(program: &Path, backend: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder")?;
        let address = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).context("no free port")?;
        let place = folder.path().display();
        let temporary: String =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("    {kind}_temp_path {place}/{kind};\n")).concat();
        let configuration = format!(
            "daemon off;\nmaster_process on;\nworker_processes auto;\npid {place}/pid;\nerror_log {place}/error.log;\n\
             events {{ worker_connections 1024; }}\nhttp {{\n    access_log off;\n    keepalive_requests 100000000;\n{temporary}    \
             upstream handler {{ server {backend}; keepalive 64; keepalive_requests 100000000; }}\n    server {{\n        listen {address};\n        \
             location / {{\n            proxy_pass http://handler;\n            proxy_http_version 1.1;\n            \
             proxy_set_header Connection \"\";\n            proxy_set_header Host $host;\n            \
             proxy_set_header Forwarded \"for=$remote_addr;host=$host;proto=http\";\n            \
             proxy_set_header X-Request-Id $request_id;\n        }}\n    }}\n}}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration).context("cannot write the configuration of nginx")?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut nginx = Self { child: command.spawn().context("nginx cannot be started")?, address, _folder: folder };
        nginx.wait()?;
        Ok(nginx)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Processor time used so far by its workers.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        process::children(self.child.id())?.into_iter().map(|worker| Ok(process::cpu(Some(worker))?.own)).sum()
    }

    fn wait(&mut self) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().context("nginx cannot be waited for")?;
            let log = || std::fs::read_to_string(self._folder.path().join("error.log")).unwrap_or_default();
            ensure!(ended.is_none() && begun.elapsed() < Duration::from_secs(10), "nginx does not start: {}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // `kill -9` would leave the workers: the master ends them on SIGTERM.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
