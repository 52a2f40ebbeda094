//! A PostgreSQL database of one's own, on the server that `HOOKWRIGHT_TEST_POSTGRES` names; made and removed with `psql`.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Forwarder;

/// The variable that names the server, as `postgres://user@127.0.0.1:5432`, without a database.
const SERVER: &str = "HOOKWRIGHT_TEST_POSTGRES";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A database that is there as long as the value is.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// A new, empty database; `None` when no server is named and tests run on SQLite.
    pub fn of_the_environment() -> Option<Self> {
        let server = std::env::var(SERVER).ok().filter(|server| !server.is_empty())?;
        let name = format!("hookwright_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let database = Self { server: server.trim_end_matches('/').to_owned(), name };
        database.run(&format!("CREATE DATABASE {}", database.name));
        Some(database)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// Its address through a forwarder to the server.
    pub fn url_through(&self, forwarder: &Forwarder) -> String {
        let (user, _) = self.server.rsplit_once('@').unwrap_or(("postgres://hookwright", ""));
        format!("{user}@{}/{}", forwarder.address(), self.name)
    }

    /// A forwarder to its server.
    pub async fn forwarder(&self) -> Forwarder {
        let server = self.server.rsplit_once('@').map_or(self.server.as_str(), |(_, server)| server);
        Forwarder::to(server).await
    }

    fn run(&self, statement: &str) {
        let output = Command::new("psql").args(["-q", "-X", "-c", statement]).arg(format!("{}/postgres", self.server)).output();
        let output = output.expect("psql runs; Debian has it in postgresql-client");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}
