//! The webhook that figures send their load to: a small native handler, which is this very program, deployed by a push as any other.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::json;

use super::{Bench, run_ended};

/// The webhook's name.
pub(super) const NAME: &str = "native";

/// What its triggers' sources sign with.
pub(super) const SECRET: &str = "a-secret-of-the-benchmark";

/// A daemon with the webhook in development.
pub(super) struct Native {
    pub(super) daemon: Daemon,
    /// Where the handler itself listens.
    pub(super) handler: SocketAddr,
    /// Where the daemon does.
    pub(super) gateway: SocketAddr,
    _copy: WorkingCopy,
}

impl Native {
    /// Deploys it; `triggers` is the block of that name, whose secrets are `SIGNING`, and `words` follow the handler's command.
    pub(super) async fn deploy(bench: &Bench, triggers: &str, words: &str) -> Result<Self> {
        let daemon = bench.daemon(&[("HOOKWRIGHT_SANDBOX", "off")]).await;
        let copy = WorkingCopy::new();
        let config = "config:\n  SIGNING: { type: string, secret: true, required: true }\n";
        let spec = format!(
            "version: 1\nname: {NAME}\nhandler: {{ command: [/app/handler, {}{words}] }}\npipeline:\n  uses: static@1\n  stages:\n    compile:\n      \
             needs: [checkout]\n      run: cp '{}' handler\n      outputs: [handler]\n    image:\n      needs: [compile]\n      \
             image: {{ copy: {{ handler: /app/handler }} }}\nenvironments:\n  development: {{ promote: automatic }}\n{config}{triggers}",
            crate::HANDLER,
            bench.own.display()
        );
        copy.write("webhook.yaml", &spec).commit("Begin");
        let secret = format!("/api/v1/webhooks/{NAME}/environments/development/secrets/SIGNING");
        daemon.request(reqwest::Method::PUT, &secret, Some(json!({ "value": SECRET }))).await;
        copy.push(&daemon, NAME);
        run_ended(&daemon, NAME, 1).await?;
        let handler = instance(&daemon).await?;
        let gateway = address(&daemon)?;
        Ok(Self { daemon, handler, gateway, _copy: copy })
    }

    /// Starts the daemon again; its address is another one then.
    pub(super) async fn restart(&mut self) -> Result<()> {
        self.daemon.restart().await;
        self.gateway = address(&self.daemon)?;
        Ok(())
    }

    /// The path at which events of a trigger are received.
    pub(super) async fn trigger(&self, name: &str) -> String {
        let find = async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/triggers").await;
            let found = list["items"].as_array()?.iter().find(|item| item["name"] == name)?;
            found["address"].as_str().map(str::to_owned)
        };
        self.daemon.until("the trigger's address", find).await
    }

    /// How many deliveries wait to be made.
    pub(super) async fn waiting(&self) -> f64 {
        let list = self.daemon.get("/api/v1/triggers").await;
        list["items"].as_array().into_iter().flatten().filter_map(|item| item["waiting"].as_f64()).sum()
    }
}

fn address(daemon: &Daemon) -> Result<SocketAddr> {
    daemon.address().trim_start_matches("http://").parse().context("the daemon's address")
}

async fn instance(daemon: &Daemon) -> Result<SocketAddr> {
    let path = format!("/api/v1/webhooks/{NAME}");
    let find = async |daemon: &Daemon| {
        let webhook = daemon.get(&path).await;
        webhook["environments"][0]["instances"][0]["address"].as_str().map(str::to_owned)
    };
    daemon.until("the handler's address", find).await.parse().context("the handler's address")
}
