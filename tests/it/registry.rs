//! The registry at `/v2/`, with the stock skopeo and by hand.

use std::path::Path;
use std::process::{Command, Output};

use hookwright_testkit::{Daemon, WorkingCopy};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

fn has_skopeo() -> bool {
    let found = Command::new("skopeo").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: skopeo is not installed");
    }
    found
}

/// A daemon on which the Python example was built; and the digest of its image.
async fn built() -> (Daemon, String, String) {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-python"));
    let commit = copy.commit("Build");
    copy.push(&daemon, "hello-python");
    let run = daemon.run_ended("hello-python", 1).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let releases = daemon.get("/api/v1/releases?webhook=hello-python").await;
    let image = releases["items"][0]["image"].as_str().expect("an image").to_owned();
    (daemon, image, commit)
}

fn skopeo(daemon: &Daemon, token: &str, arguments: &[&str]) -> Output {
    let place = format!("docker://{}", daemon.address().trim_start_matches("http://"));
    let arguments = arguments.iter().map(|argument| argument.replace("REGISTRY", &place).replace("CREDS", &format!("any:{token}")));
    Command::new("skopeo").args(["--insecure-policy"]).args(arguments).output().expect("skopeo runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn token(daemon: &Daemon, role: &str, webhook: Option<&str>) -> String {
    let wish = json!({ "user": format!("a-{role}"), "grants": [{ "role": role, "scope": { "webhook": webhook } }] });
    daemon.post("/api/v1/tokens", wish).await["token"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn skopeo_reads_the_image_that_the_pipeline_built_by_commit_and_by_digest() {
    if !has_skopeo() {
        return;
    }
    let (daemon, image, commit) = built().await;
    let viewer = token(&daemon, "viewer", Some("hello-python")).await;
    let tag = format!("REGISTRY/hello-python:{}", &commit[..12]);
    for name in [tag, format!("REGISTRY/hello-python@{image}")] {
        let output = skopeo(&daemon, &viewer, &["inspect", "--tls-verify=false", "--creds", "CREDS", &name]);
        assert!(output.status.success(), "{name}: {}", said(&output));
        let inspected: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(inspected["Digest"], image.as_str(), "{inspected}");
        assert!(inspected["Layers"].as_array().is_some_and(|layers| !layers.is_empty()), "{inspected}");
    }
}

#[tokio::test]
async fn an_image_that_skopeo_took_away_and_brought_back_has_the_same_digest() {
    if !has_skopeo() {
        return;
    }
    let (daemon, image, _) = built().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = format!("dir:{}", folder.path().join("image").display());
    let from = format!("REGISTRY/hello-python@{image}");
    let output = skopeo(&daemon, daemon.token(), &["copy", "--src-tls-verify=false", "--src-creds", "CREDS", &from, &place]);
    assert!(output.status.success(), "{}", said(&output));
    let to = "REGISTRY/hello-python:back";
    let push = ["copy", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", "CREDS", &place, to];
    let viewer = token(&daemon, "viewer", Some("hello-python")).await;
    let refused = skopeo(&daemon, &viewer, &push);
    assert!(!refused.status.success(), "a viewer does not push: {}", said(&refused));
    let output = skopeo(&daemon, daemon.token(), &push);
    assert!(output.status.success(), "{}", said(&output));
    let output = skopeo(&daemon, &viewer, &["inspect", "--tls-verify=false", "--creds", "CREDS", to]);
    let inspected: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!(inspected["Digest"], image.as_str());
}

#[tokio::test]
async fn a_token_reads_images_of_its_own_webhook_alone() {
    let (daemon, image, _) = built().await;
    let foreign = token(&daemon, "admin", Some("another")).await;
    let client = reqwest::Client::new();
    let get = async |path: &str, token: Option<&str>| {
        let request = client.get(format!("{}{path}", daemon.address()));
        let request = match token {
            Some(token) => request.basic_auth("any", Some(token)),
            None => request,
        };
        request.send().await.expect("an answer")
    };
    let manifest = format!("/v2/hello-python/manifests/{image}");
    let unknown = get(&manifest, None).await;
    assert_eq!(unknown.status(), 401);
    assert!(unknown.headers()["www-authenticate"].to_str().is_ok_and(|challenge| challenge.starts_with("Basic")));
    assert_eq!(get(&manifest, Some("wrong")).await.status(), 401);
    assert_eq!(get(&manifest, Some(&foreign)).await.status(), 403);
    let read = get(&manifest, Some(daemon.token())).await;
    assert_eq!(read.headers()["docker-content-digest"], image.as_str());
    let read: Value = read.json().await.expect("a manifest");
    let layer = read["layers"][0]["digest"].as_str().expect("a layer").to_owned();
    assert_eq!(get(&format!("/v2/hello-python/blobs/{layer}"), Some(daemon.token())).await.status(), 200);
    // The blob is on the daemon's disk, and still not in a repository that has nothing to do with it.
    let elsewhere = get(&format!("/v2/another/blobs/{layer}"), Some(&foreign)).await;
    assert_eq!(elsewhere.status(), 404);
    let error: Value = elsewhere.json().await.expect("JSON");
    assert_eq!(error["errors"][0]["code"], "BLOB_UNKNOWN", "{error}");
}

#[tokio::test]
async fn a_blob_comes_in_pieces_and_a_piece_that_does_not_join_is_refused() {
    let (daemon, _, _) = built().await;
    let client = reqwest::Client::new();
    let at = |path: &str| format!("{}{path}", daemon.address());
    let begun = client.post(at("/v2/hello-python/blobs/uploads/")).bearer_auth(daemon.token()).send().await.expect("an answer");
    assert_eq!(begun.status(), 202);
    let place = begun.headers()["location"].to_str().expect("a place").to_owned();
    let place = if place.starts_with('/') { at(&place) } else { place };
    let piece = async |range: &str, text: &'static str| {
        let request = client.patch(&place).bearer_auth(daemon.token()).header("Content-Range", range);
        request.header("Content-Type", "application/octet-stream").body(text).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(piece("0-4", "hello").await, 202);
    assert_eq!(piece("9-13", "world").await, 416, "there is a hole before it");
    assert_eq!(piece("5-9", "world").await, 202);
    let wrong = format!("{place}?digest=sha256:{}", "0".repeat(64));
    let refused = client.put(&wrong).bearer_auth(daemon.token()).send().await.expect("an answer");
    assert_eq!(refused.status(), 400, "{}", refused.text().await.unwrap_or_default());
}
