//! The database goes away and returns. On SQLite it cannot, and the test says so by ending at once.

use std::collections::BTreeSet;
use std::time::Duration;

use hookwright_testkit::{Daemon, DaemonOptions, Database, WorkingCopy};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::cluster::{HANDLER, SPEC, leads, received, send};
use crate::events::{SECRET, signed_here};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// A stage that runs over the whole outage.
const SLOW: &str = "pipeline:\n  stages:\n    slow:\n      needs: [checkout]\n      run: for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.7; done; echo done\n    deploy:\n      needs: [slow, image]\n";

/// Processor time that a process has used, in hundredths of a second.
fn processor_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a running process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().filter_map(|place| fields[*place].parse::<u64>().ok()).sum()
}

async fn refused(client: &Client, daemon: &Daemon, path: &str, number: usize) -> Option<()> {
    let body = json!({ "action": "opened", "issue": { "number": number } }).to_string();
    let request = client.post(format!("{}{path}", daemon.address())).header("X-GitHub-Event", "issues");
    let request = request.header("X-GitHub-Delivery", format!("delivery-{number}")).header("X-Hub-Signature-256", signed_here(&body));
    let answer = request.header("Content-Type", "application/json").body(body).send().await.expect("an answer");
    assert!(matches!(answer.status().as_u16(), 200 | 503), "{answer:?}");
    (answer.status() == 503 && answer.headers().contains_key("retry-after")).then_some(())
}

async fn stage(daemon: &Daemon, number: u64) -> Option<Value> {
    let list = daemon.get("/api/v1/runs?webhook=shop").await;
    let run = list["items"].as_array()?.iter().find(|run| run["number"] == number)?.clone();
    let run = daemon.get(&format!("/api/v1/runs/{}", run["id"].as_str()?)).await;
    run["stages"].as_array()?.iter().find(|stage| stage["stage"] == "slow").cloned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_and_returns_loses_nothing_and_everything_goes_on_where_it_was() {
    let Some(database) = Database::of_the_environment() else { return };
    let way = database.forwarder().await;
    let options = DaemonOptions::new(BINARY).variable("HOOKWRIGHT_SANDBOX", "off");
    let mut daemon = Daemon::start_with(options.on_database(&database.url_through(&way))).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secret = "/api/v1/webhooks/shop/environments/development/secrets/SIGNING";
    assert_eq!(daemon.request(Method::PUT, secret, Some(json!({ "value": SECRET }))).await.0, 204);
    let copy = WorkingCopy::new();
    let handler = format!("RECEIVED = {:?}\n{HANDLER}", folder.path().join("received").to_str().expect("a path"));
    copy.write("webhook.yaml", SPEC).write("server.py", &handler).commit("Begin");
    copy.push(&daemon, "shop");
    daemon.answers("shop", "development", "here").await;
    let path = daemon
        .until("an address", async |daemon: &Daemon| {
            let list = daemon.get("/api/v1/triggers").await;
            list["items"].as_array()?.iter().find_map(|item| item["address"].as_str().map(str::to_owned))
        })
        .await;
    copy.write("webhook.yaml", &format!("{SPEC}{SLOW}")).commit("Take a while");
    copy.push(&daemon, "shop");
    let runs = async |daemon: &Daemon| stage(daemon, 2).await.filter(|stage| stage["status"] == "running").map(drop);
    daemon.until("the slow stage to run", runs).await;
    let (client, pid) = (Client::new(), daemon.pid());
    let mut acknowledged = BTreeSet::new();
    acknowledged.insert(send(&client, daemon.address(), &path, 0).await.expect("an acknowledged event"));

    way.cut();
    for number in 1..4 {
        daemon.until("an event to be refused", async |daemon: &Daemon| refused(&client, daemon, &path, number).await).await;
    }
    let before = processor_time(pid);
    for _ in 0..10 {
        daemon.answers("shop", "development", "here").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(processor_time(pid) - before < 200, "it waits and does not spin: {} hundredths in 10 s", processor_time(pid) - before);
    assert!(daemon.is_running(), "it does not end over it:\n{}", daemon.log());

    way.mend();
    leads(&daemon).await;
    for number in 1..4 {
        let sent = async |daemon: &Daemon| send(&client, daemon.address(), &path, number).await;
        acknowledged.insert(daemon.until("an event to be acknowledged", sent).await);
    }
    let all = async |_: &Daemon| acknowledged.iter().all(|body| received(folder.path()).contains_key(body)).then_some(());
    daemon.until("every acknowledged event to be delivered", all).await;
    assert!(received(folder.path()).values().all(|ids| ids.len() == 1), "{:?}", received(folder.path()));
    let run = daemon.run_ended("shop", 2).await;
    assert_eq!(run["status"], "succeeded", "{run}\n{}", daemon.log());
    let slow = stage(&daemon, 2).await.expect("the stage");
    assert!(slow["attempt"] == 1 && slow["status"] == "succeeded", "it ran on and was settled afterwards: {slow}");
    daemon.answers("shop", "development", "here").await;
    assert_eq!(daemon.pid(), pid);
}
