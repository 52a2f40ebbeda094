//! The rival of the way from a push to an answer: clone, build and run the same files with docker, as a script on a server would.
//! Its base image is this machine's own python3 with its libraries, imported once before anything is timed, so that nothing is downloaded.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use hookwright_testkit::WorkingCopy;

use super::{Bench, deploy};
use crate::machine;
use crate::sample::Spread;

/// The base image, and the image and container that are built; removed at the end.
const BASE: &str = "hookwright-bench-python";
const BUILT: &str = "hookwright-bench-hello";

const DOCKERFILE: &str = "FROM hookwright-bench-python
WORKDIR /app
ARG COMMIT
COPY . /app
ENV HOOKWRIGHT_ENVIRONMENT=development HOOKWRIGHT_COMMIT=$COMMIT PORT=8080
CMD [\"/usr/bin/python3\", \"server.py\"]
";

/// What docker needs, in milliseconds.
pub(crate) struct Times {
    pub(crate) cold: Spread,
    pub(crate) comment: Spread,
}

/// Times, or why there are none.
pub(crate) enum Rival {
    Measured(Times),
    Missing(String),
}

fn docker(arguments: &[&str]) -> Result<()> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().context("docker cannot be started")?;
    ensure!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Imports python3 and what it links as an image.
fn import_base() -> Result<()> {
    let script = "set -e; python=$(readlink -f \"$(command -v python3)\")
        library=$(\"$python\" -c 'import os; print(os.path.dirname(os.__file__))')
        linked=$(ldd \"$python\" \"$library\"/lib-dynload/*.so | grep -o '/[^ ]*\\.so[^ ]*' | sort -u)
        tar --create --dereference --absolute-names --transform \"s,^$python\\$,/usr/bin/python3,\" \
            --exclude '*/test/*' --exclude '*/__pycache__/*' $linked \"$library\" \"$python\" | docker import - \"$0\"";
    let output = Command::new("sh").args(["-c", script, BASE]).stdin(Stdio::null()).output().context("sh cannot be started")?;
    ensure!(output.status.success(), "python3 cannot be imported as an image: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Clones, builds, runs and asks; the container of the time before is replaced at the moment the new one is started.
async fn once(client: &reqwest::Client, (origin, commit): (&Path, &str), fresh: bool) -> Result<f64> {
    let scratch = tempfile::tempdir().context("cannot make a folder")?;
    let clone = scratch.path().join("clone");
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).context("no free port")?.port();
    let began = Instant::now();
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--depth", "1"]).arg(format!("file://{}", origin.display())).arg(&clone);
    ensure!(git.status().context("git cannot be started")?.success(), "the clone failed");
    std::fs::write(clone.join("Dockerfile"), DOCKERFILE).context("cannot write the Dockerfile")?;
    let mut build = vec!["build", "--quiet", "--tag", BUILT];
    let (argument, folder) = (format!("COMMIT={commit}"), clone.display().to_string());
    build.extend(["--build-arg", &argument]);
    if fresh {
        build.push("--no-cache");
    }
    build.push(&folder);
    docker(&build)?;
    // There is no container before the first time.
    let _ = docker(&["rm", "--force", BUILT]);
    docker(&["run", "--detach", "--name", BUILT, "--network", "host", "--env", &format!("PORT={port}"), BUILT])?;
    deploy::answered(client, &format!("http://127.0.0.1:{port}/"), &commit[..7], began).await
}

/// Measures docker with the example's files.
pub(crate) async fn measure(bench: &Bench, example: &Path) -> Result<Rival> {
    if machine::program("docker").is_none() {
        return Ok(Rival::Missing("docker is not installed".to_owned()));
    }
    if docker(&["version", "--format", "{{.Server.Version}}"]).is_err() {
        return Ok(Rival::Missing("the docker client is installed, but no docker daemon answers".to_owned()));
    }
    if let Err(failure) = import_base() {
        return Ok(Rival::Missing(format!("{failure:#}")));
    }
    let times = times(bench, example).await;
    for leftover in [["rm", "--force", BUILT], ["rmi", "--force", BUILT], ["rmi", "--force", BASE]] {
        // What was never made cannot be removed.
        let _ = docker(&leftover);
    }
    times.map(Rival::Measured)
}

async fn times(bench: &Bench, example: &Path) -> Result<Times> {
    let client = reqwest::Client::new();
    let copy = WorkingCopy::of(example);
    let text = std::fs::read_to_string(copy.path().join("server.py")).context("the example has no server.py")?;
    let (mut cold, mut comment) = (Vec::new(), Vec::new());
    for _ in 0..bench.amount(5) {
        let commit = copy.commit("Begin");
        cold.push(once(&client, (&copy.path(), &commit), true).await?);
    }
    for change in 0..bench.amount(10) {
        let commit = copy.write("server.py", &format!("# Change {change}.\n{text}")).commit("Comment");
        comment.push(once(&client, (&copy.path(), &commit), false).await?);
    }
    Ok(Times { cold: Spread::of(cold), comment: Spread::of(comment) })
}
