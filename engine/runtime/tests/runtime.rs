//! The contract of the runtime, against the real supervisor and real handlers: kept alive, adopted, given up with a reason, forgotten.

mod rig;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookwright_core::port::{DeploymentSpec, ImageConfig, ImageSource, Limits, Observed, Runtime};
use hookwright_core::{
    DeploymentId, Digest, EnvironmentName, Health, InstanceState, LogCursor, PortError, Resources, SecretValue, WebhookName,
};
use hookwright_runtime::{Bubblewrap, Nursery, ProcessRuntime, RuntimeOptions};
use rig::{Hands, Wakes, bubblewrap, kill, until};

/// Serves, one answer at a time; `%s` runs before each answer.
const SERVER: &str = "import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class H(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        body = answer(self).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
def serve(port=None):
    HTTPServer(('127.0.0.1', port or int(os.environ['PORT'])), H).serve_forever()
";

/// Images that are one Python file each, named by the digest of its text.
#[derive(Default)]
struct Images(std::sync::Mutex<BTreeMap<Digest, String>>);

impl Images {
    fn add(&self, code: &str) -> Digest {
        let text = format!("{SERVER}{code}\n");
        let digest = Digest::of(&text);
        self.0.lock().expect("not poisoned").insert(digest, text);
        digest
    }
}

#[async_trait]
impl ImageSource for Images {
    async fn settings(&self, _: &Digest) -> Result<ImageConfig, PortError> {
        let command = ["python3", "/app/main.py"].map(str::to_owned).to_vec();
        Ok(ImageConfig { command, working_directory: "/app".to_owned(), port: 8080, ..ImageConfig::default() })
    }

    async fn unpack(&self, image: &Digest, into: &Path) -> Result<(), PortError> {
        let text = self.0.lock().expect("not poisoned").get(image).cloned().ok_or_else(|| PortError::failed("no such image"))?;
        std::fs::create_dir(into.join("app")).expect("a folder");
        std::fs::write(into.join("app/main.py"), text).expect("a written file");
        std::fs::write(into.join("app/greeting"), "good evening").expect("a written file");
        Ok(())
    }
}

struct House {
    folder: tempfile::TempDir,
    images: Arc<Images>,
    clock: Arc<Hands>,
    runtime: ProcessRuntime,
}

fn runtime(folder: &Path, images: Arc<Images>, clock: Arc<Hands>, sandbox: Option<Arc<Bubblewrap>>) -> ProcessRuntime {
    let (directory, notifier) = (folder.to_owned(), Arc::new(Wakes::default()));
    let nursery = Arc::new(Nursery::new(rig::supervisor(), directory.clone()));
    let options = RuntimeOptions { directory, nursery, images, notifier, clock, sandbox, limits: Limits::default() };
    ProcessRuntime::new(options).expect("a runtime")
}

impl House {
    fn new(sandbox: Option<Arc<Bubblewrap>>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (images, clock) = (Arc::new(Images::default()), Arc::new(Hands::default()));
        let runtime = runtime(folder.path(), images.clone(), clock.clone(), sandbox);
        Self { folder, images, clock, runtime }
    }

    /// A deployment of a handler with this code.
    fn deployment(&self, number: u128, code: &str) -> DeploymentSpec {
        DeploymentSpec {
            id: format!("dep_{number:032x}").parse().unwrap_or_else(|error| panic!("{error}")),
            webhook: WebhookName::new("shop").expect("a name"),
            environment: EnvironmentName::new("production").expect("a name"),
            image: self.images.add(code),
            command: None,
            environment_variables: BTreeMap::new(),
            secrets: BTreeMap::new(),
            port: 8080,
            health: Health { readiness: Some("/".to_owned()), liveness: None, startup: Duration::from_secs(30) },
            resources: Resources::default(),
            instances: 1,
        }
    }

    fn kept(&self, deployment: &DeploymentSpec) -> PathBuf {
        self.folder.path().join("deployments").join(deployment.id.to_string())
    }

    fn image(&self, deployment: &DeploymentSpec) -> PathBuf {
        self.folder.path().join("images").join(deployment.image.hex())
    }

    async fn observed(&self, id: &DeploymentId) -> Observed {
        self.runtime.observe(id).await.expect("an answer").expect("a known deployment")
    }

    /// Waits until its instance is ready, and returns what it answers.
    async fn answer(&self, id: &DeploymentId) -> String {
        let address = until("a ready instance", async || {
            let observed = self.observed(id).await;
            assert_eq!(observed.given_up, None);
            observed.instances.first().filter(|instance| instance.state == InstanceState::Ready)?.address
        })
        .await;
        ask(&format!("{address}")).await.expect("an answer")
    }

    /// Waits until the instance rests and lets the rest be over, until `done`.
    async fn pass_rests<T>(&self, what: &str, id: &DeploymentId, mut done: impl FnMut(&Observed) -> Option<T>) -> T {
        until(what, async || {
            let observed = self.observed(id).await;
            if observed.instances.first().is_some_and(|instance| instance.state == InstanceState::BackingOff) {
                self.clock.forward(Duration::from_secs(1));
            }
            done(&observed)
        })
        .await
    }

    async fn end(&self, deployments: &[&DeploymentSpec]) {
        for deployment in deployments {
            self.runtime.forget(&deployment.id).await.expect("it is forgotten");
        }
    }
}

async fn ask(address: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

#[tokio::test]
async fn absolute_paths_in_the_code_of_a_handler_work_in_a_sandbox() {
    let Some(sandbox) = bubblewrap("the image at its own places") else { return };
    let house = House::new(Some(sandbox));
    let code = "def answer(_): return ' '.join([open('/app/greeting').read(), __file__, os.getcwd(), os.environ['HOME'],
        str(os.path.exists(os.path.expanduser('~root/.ssh'))), str(os.access('/app', os.W_OK) and not os.statvfs('/app').f_flag & 1)])
serve()";
    let deployment = house.deployment(1, code);
    house.runtime.apply(&deployment).await.expect("it is applied");
    assert_eq!(house.answer(&deployment.id).await, "good evening /app/main.py /app /home/hookwright False False");
    house.end(&[&deployment]).await;
}

#[tokio::test]
async fn a_handler_that_listens_elsewhere_is_told_where_it_listens_and_where_it_should() {
    let house = House::new(None);
    let deployment = house.deployment(
        1,
        "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); p = s.getsockname()[1]; s.close()\nprint(p, flush=True)\nserve(p)",
    );
    house.runtime.apply(&deployment).await.expect("it is applied");
    let port = until("the port", async || {
        let log = house.runtime.logs(&deployment.id, LogCursor::default()).await.expect("a log");
        log.lines.first().map(|line| line.text.clone())
    })
    .await;
    let reason = until("the reason", async || {
        house.clock.forward(Duration::from_millis(200));
        house.observed(&deployment.id).await.instances.first()?.reason.clone().filter(|reason| reason.contains("instead of"))
    })
    .await;
    assert!(reason.contains(&format!("listens on port {port} instead of $PORT = ")), "{reason}");
    house.clock.forward(Duration::from_secs(31));
    let given_up = until("the end of patience", async || house.observed(&deployment.id).await.given_up).await;
    assert!(given_up.starts_with("not ready after 30 s: the handler listens on port"), "{given_up}");
    house.end(&[&deployment]).await;
}

#[tokio::test]
async fn a_handler_that_answers_once_and_dies_is_started_again_counted_and_reported_with_its_last_lines() {
    let house = House::new(None);
    let code = "def answer(_):
    print('the token is canary-5e1f', file=sys.stderr, flush=True)
    print('out of ideas', file=sys.stderr, flush=True)
    import threading; threading.Timer(0.05, lambda: os._exit(9)).start()
    return 'once'
serve()";
    let mut deployment = house.deployment(1, code);
    deployment.secrets.insert("TOKEN".to_owned(), SecretValue::new("canary-5e1f"));
    house.runtime.apply(&deployment).await.expect("it is applied");
    let why = house.pass_rests("the report", &deployment.id, |observed| observed.given_up.clone()).await;
    assert!(why.starts_with("the handler keeps ending, 5 times in a row; the last time: the handler ended: exit code 9"), "{why}");
    assert!(why.ends_with("its last lines: the token is *** | out of ideas"), "{why}");
    let restarts = house.pass_rests("a further start", &deployment.id, |observed| {
        observed.instances.first().map(|instance| instance.restarts).filter(|restarts| *restarts > 5)
    });
    restarts.await;
    house.end(&[&deployment]).await;
}

#[tokio::test]
async fn a_handler_that_crashes_is_reported_with_its_exception_whatever_it_writes_behind_it() {
    let house = House::new(None);
    let code = "import atexit
atexit.register(lambda: print('bye\\n' * 9, file=sys.stderr, flush=True))
raise KeyError('SLACK_TOKEN')";
    let deployment = house.deployment(1, code);
    house.runtime.apply(&deployment).await.expect("it is applied");
    let why = house.pass_rests("the report", &deployment.id, |observed| observed.given_up.clone()).await;
    assert!(why.contains("exit code 1; its error: KeyError: 'SLACK_TOKEN'; its last lines: bye | "), "{why}");
    house.end(&[&deployment]).await;
}

#[tokio::test]
async fn a_handler_that_crashed_and_hangs_since_is_reported_with_why_it_crashed() {
    let house = House::new(None);
    let code = "import time
first = os.path.join(os.environ['HOME'], 'first')
if os.path.exists(first):
    print('trying again', flush=True)
    time.sleep(600)
open(first, 'w').close()
raise KeyError('SLACK_TOKEN')";
    let deployment = house.deployment(1, code);
    house.runtime.apply(&deployment).await.expect("it is applied");
    let again = house.pass_rests("a second start", &deployment.id, |observed| {
        observed.instances.first().filter(|one| one.restarts == 1 && one.state == InstanceState::Starting).map(|_| ())
    });
    again.await;
    house.clock.forward(Duration::from_secs(31));
    let why = until("the end of patience", async || house.observed(&deployment.id).await.given_up).await;
    assert!(why.starts_with("not ready after 30 s: ") && why.contains("its error: KeyError: 'SLACK_TOKEN'"), "{why}");
    house.end(&[&deployment]).await;
}

#[tokio::test]
async fn the_pauses_between_starts_grow() {
    let house = House::new(None);
    let deployment = house.deployment(1, "os._exit(1)");
    house.runtime.apply(&deployment).await.expect("it is applied");
    let mut pauses = Vec::new();
    for restarts in 0..3 {
        until("a rest", async || {
            let observed = house.observed(&deployment.id).await;
            observed.instances.first().filter(|one| one.restarts == restarts && one.state == InstanceState::BackingOff).map(|_| ())
        })
        .await;
        let mut pause = 0;
        until("the next start", async || {
            let observed = house.observed(&deployment.id).await;
            if observed.instances.first().is_some_and(|one| one.restarts > restarts) {
                return Some(());
            }
            house.clock.forward(Duration::from_millis(100));
            pause += 100;
            tokio::time::sleep(Duration::from_millis(60)).await;
            None
        })
        .await;
        pauses.push(pause);
    }
    // A look may come a second late, of which the clock makes less than two.
    assert!(pauses[0] >= 1000 && pauses[1] >= 2000 && pauses[2] >= 4000, "{pauses:?}");
    house.end(&[&deployment]).await;
}

async fn a_killed_handler_comes_back(house: House) {
    let deployment =
        house.deployment(1, "def answer(_): return str(os.getpid())\nopen(os.environ['HOME'] + '/up', 'w').write('up')\nserve()");
    house.runtime.apply(&deployment).await.expect("it is applied");
    house.answer(&deployment.id).await;
    for pid in rig::marked(&house.kept(&deployment).join("0/1")) {
        if std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("python")) {
            kill(pid);
        }
    }
    house
        .pass_rests("another start", &deployment.id, |observed| {
            observed.instances.first().filter(|one| one.restarts == 1 && one.state == InstanceState::Ready).map(|_| ())
        })
        .await;
    house.end(&[&deployment]).await;
}

#[tokio::test]
async fn a_killed_handler_is_started_again() {
    a_killed_handler_comes_back(House::new(None)).await;
}

#[tokio::test]
async fn a_killed_handler_in_a_sandbox_is_started_again() {
    let Some(sandbox) = bubblewrap("a killed handler in a sandbox") else { return };
    a_killed_handler_comes_back(House::new(Some(sandbox))).await;
}

#[tokio::test]
async fn a_handler_that_does_not_answer_its_liveness_probe_any_more_is_started_again() {
    let house = House::new(None);
    let code = "def answer(handler):
    if handler.path == '/alive' and os.path.exists(os.environ['HOME'] + '/ill'):
        os.remove(os.environ['HOME'] + '/ill')
        serve.ill = True
    if handler.path == '/alive' and getattr(serve, 'ill', False):
        raise RuntimeError('ill')
    return str(os.getpid())
serve()";
    let mut deployment = house.deployment(1, code);
    deployment.health.liveness = Some("/alive".to_owned());
    house.runtime.apply(&deployment).await.expect("it is applied");
    let before = house.answer(&deployment.id).await;
    std::fs::write(house.kept(&deployment).join("0/home/ill"), "").expect("a written file");
    let why = until("the end of the handler", async || {
        let observed = house.observed(&deployment.id).await;
        observed.instances.first().filter(|one| one.state == InstanceState::BackingOff)?.reason.clone()
    });
    assert_eq!(why.await, "`/alive` failed 3 times in a row");
    house
        .pass_rests("another start", &deployment.id, |observed| {
            observed.instances.first().filter(|one| one.restarts == 1 && one.state == InstanceState::Ready).map(|_| ())
        })
        .await;
    assert_ne!(house.answer(&deployment.id).await, before);
    house.end(&[&deployment]).await;
}

#[test]
fn a_handler_is_adopted_on_its_port_by_the_next_daemon() {
    let house = House::new(None);
    let deployment = house.deployment(1, "def answer(_): return str(os.getpid())\nserve()");
    let first = tokio::runtime::Runtime::new().expect("a runtime");
    let before = first.block_on(async {
        house.runtime.apply(&deployment).await.expect("it is applied");
        (house.answer(&deployment.id).await, house.observed(&deployment.id).await.instances[0].address)
    });
    // The daemon dies: whatever it was doing stops.
    drop(first);
    let second = tokio::runtime::Runtime::new().expect("a runtime");
    second.block_on(async {
        let runtime = runtime(house.folder.path(), house.images.clone(), house.clock.clone(), None);
        let house = House { runtime, ..house };
        house.runtime.apply(&deployment).await.expect("it is applied");
        let after = (house.answer(&deployment.id).await, house.observed(&deployment.id).await.instances[0].address);
        assert_eq!(before, after);
        let pid: i32 = after.0.parse().expect("a pid");
        kill(pid);
        house
            .pass_rests("another start", &deployment.id, |observed| {
                observed.instances.first().filter(|one| one.restarts == 1 && one.state == InstanceState::Ready).map(|_| ())
            })
            .await;
        house.end(&[&deployment]).await;
    });
}

#[tokio::test]
async fn a_forgotten_deployment_leaves_nothing_and_may_be_forgotten_again() {
    let house = House::new(None);
    let (old, new) =
        (house.deployment(1, "def answer(_): return 'old'\nserve()"), house.deployment(2, "def answer(_): return 'new'\nserve()"));
    for deployment in [&old, &new] {
        house.runtime.apply(deployment).await.expect("it is applied");
        house.answer(&deployment.id).await;
    }
    let mut listed = house.runtime.list().await.expect("a list");
    listed.sort();
    assert_eq!(listed, [old.id, new.id]);
    let processes = rig::marked(&house.kept(&old).join("0/1"));
    assert!(!processes.is_empty());

    for _ in 0..2 {
        house.runtime.forget(&old.id).await.expect("it is forgotten");
        assert_eq!(house.runtime.list().await.expect("a list"), [new.id]);
    }
    assert!(processes.iter().all(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists()), "what still ran was ended");
    assert!(!house.image(&old).exists() && house.image(&new).is_dir());
    assert_eq!(house.answer(&new.id).await, "new");
    house.end(&[&new]).await;
    assert_eq!(std::fs::read_dir(house.folder.path().join("images")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_retired_deployment_is_not_started_again() {
    let house = House::new(None);
    let deployment = house.deployment(1, "def answer(_): return 'here'\nserve()");
    house.runtime.apply(&deployment).await.expect("it is applied");
    house.answer(&deployment.id).await;
    until("the end", async || house.runtime.retire(&deployment.id, Duration::from_secs(10)).await.expect("an answer").then_some(())).await;
    assert_eq!(house.runtime.observe(&deployment.id).await.expect("an answer"), None);
    assert_eq!(
        std::fs::read_dir(house.kept(&deployment).join("0"))
            .expect("a folder")
            .flatten()
            .filter(|entry| entry.path().join("port").exists())
            .count(),
        1
    );
    house.end(&[&deployment]).await;
}

#[tokio::test]
async fn the_log_of_a_handler_is_read_on_from_where_it_was_left() {
    let house = House::new(None);
    let deployment = house
        .deployment(1, "for at in range(60000): print('line', at, flush=False)\nsys.stdout.flush()\ndef answer(_): return ''\nserve()");
    house.runtime.apply(&deployment).await.expect("it is applied");
    let (mut cursor, mut seen) = (LogCursor::default(), Vec::new());
    until("all lines", async || {
        let chunk = house.runtime.logs(&deployment.id, cursor).await.expect("a log");
        cursor = chunk.next;
        seen.extend(chunk.lines.into_iter().map(|line| line.text));
        (seen.len() >= 60_000).then_some(())
    })
    .await;
    assert!(seen.iter().enumerate().all(|(at, text)| *text == format!("line {at}")), "{:?}", &seen[..5]);
    house.end(&[&deployment]).await;
}

#[tokio::test]
async fn a_handler_that_takes_too_much_memory_is_ended_with_its_limit_as_the_reason() {
    let house = House::new(None);
    let mut deployment = house.deployment(1, "held = bytearray(200 << 20)\ndef answer(_): return ''\nserve()");
    deployment.resources.memory_bytes = Some(64 << 20);
    house.runtime.apply(&deployment).await.expect("it is applied");
    let why = house.pass_rests("the report", &deployment.id, |observed| observed.given_up.clone()).await;
    assert!(why.contains("the handler ended: it used more than 64 MiB of memory"), "{why}");
    house.end(&[&deployment]).await;
}

/// Where the process that says it listens there stands, as `/proc` and the folder of the groups say it; `None` on a machine without groups to divide.
fn group_of(pid: &str) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().filter_map(|line| line.rsplit_once(':')).map(|(_, path)| path).find(|path| path.contains("/hookwright-"))?;
    let mounts = std::fs::read_dir("/sys/fs/cgroup").ok()?.flatten().map(|entry| entry.path());
    mounts.chain([PathBuf::from("/sys/fs/cgroup")]).map(|mount| mount.join(&path[1..])).find(|folder| folder.join("cpu.stat").exists())
}

#[tokio::test]
async fn a_handler_gets_no_more_of_the_processors_than_its_spec_says() {
    if let Err(why) = hookwright_runtime::try_processor_share() {
        println!("skipped: {why}");
        return;
    }
    let sandboxed = bubblewrap("a share of the processors in a sandbox").map(Some);
    for sandbox in std::iter::once(None).chain(sandboxed) {
        let house = House::new(sandbox);
        let busy = "import os, threading\ndef turn():\n    while True: pass\nthreading.Thread(target=turn, daemon=True).start()\n\
                    def answer(_): return 'well'\nserve()";
        let mut deployment = house.deployment(1, busy);
        deployment.resources.cpu_millis = Some(100);
        house.runtime.apply(&deployment).await.expect("it is applied");
        assert_eq!(house.answer(&deployment.id).await, "well");
        let record = rig::record(&house.kept(&deployment).join("0/1")).expect("a record");
        let (child, supervisor) = (record["child"].to_string(), record["supervisor"].to_string());
        let group = group_of(&child).expect("a group of its own");
        assert_eq!(group_of(&supervisor), None, "whoever ends it does not share its quota");
        until("the kernel to hold it back", async || {
            let text = std::fs::read_to_string(group.join("cpu.stat")).ok()?;
            let times = text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?;
            (times.parse::<u64>().ok()? > 3).then_some(())
        })
        .await;
        house.end(&[&deployment]).await;
        until("the end of its group", async || (!group.exists()).then_some(())).await;
    }
}
