//! Pushes and fetches through `git http-backend`, with clients that behave badly.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hookwright_core::port::{GitByteStream, GitHost, GitRequest, GitResponse, Revisions};

use crate::{PATIENCE, Place, Repo, location, name};

fn request(repository: &str, service_path: &str, query: &str, body: GitByteStream) -> GitRequest {
    let posts = query.is_empty();
    GitRequest {
        repository: name(repository),
        service_path: service_path.to_owned(),
        query: query.to_owned(),
        method: if posts { "POST" } else { "GET" }.to_owned(),
        content_type: posts.then(|| format!("application/x-{service_path}-request")),
        content_encoding: None,
        git_protocol: None,
        user: "rosa".to_owned(),
        body,
    }
}

fn packet(text: &str) -> Vec<u8> {
    format!("{:04x}{text}", text.len() + 4).into_bytes()
}

/// What a client sends to make `branch` point to `commit`, which is all of its history.
fn push(repo: &Repo, branch: &str, commit: &str) -> Vec<u8> {
    let mut body = packet(&format!("{} {commit} refs/heads/{branch}\0 report-status\n", "0".repeat(40)));
    body.extend_from_slice(b"0000");
    body.extend(repo.run(&["pack-objects", "--revs", "--stdout", "--quiet"], format!("{commit}\n").as_bytes()));
    body
}

fn whole(body: Vec<u8>) -> GitByteStream {
    Box::pin(stream::iter([Ok(Bytes::from(body))]))
}

fn nothing() -> GitByteStream {
    Box::pin(stream::empty())
}

async fn text(answer: GitResponse) -> String {
    let parts: Vec<_> = tokio::time::timeout(PATIENCE, answer.body.collect()).await.expect("the answer ends");
    let bytes: Vec<u8> = parts.into_iter().flat_map(|part| part.expect("a whole answer")).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn pushed(place: &Place, repository: &str, body: Vec<u8>) -> String {
    let mut answer = place.source.serve(request(repository, "git-receive-pack", "", whole(body))).await.expect("an answer");
    let ended = std::mem::replace(&mut answer.ended, Box::pin(async {}));
    let said = text(answer).await;
    tokio::time::timeout(PATIENCE, ended).await.expect("git ends");
    said
}

async fn branches(place: &Place, repository: &str) -> Vec<String> {
    let tips = place.source.tips(&location(repository, None)).await.expect("readable refs").tips;
    tips.iter().map(|tip| tip.reference.short().to_owned()).collect()
}

#[tokio::test]
async fn a_stalled_pusher_is_cut_off_and_keeps_nobody_waiting_until_then() {
    let place = Place::with_idle(Duration::from_secs(3));
    let origin = Repo::bare(place.folder.path().join("origin"));
    let commit = origin.commit("main", "one");
    let body = push(&origin, "slow", &commit);
    let (start, never) = (Bytes::from(body[..body.len() / 2].to_vec()), stream::pending());
    let stalls: GitByteStream = Box::pin(stream::iter([Ok(start)]).chain(never));
    let stalled = place.source.serve(request("shop", "git-receive-pack", "", stalls)).await.expect("an answer");

    let begun = std::time::Instant::now();
    assert!(pushed(&place, "shop", push(&origin, "quick", &commit)).await.contains("ok refs/heads/quick"));
    let listed = place.source.serve(request("shop", "info/refs", "service=git-upload-pack", nothing())).await.expect("an answer");
    assert!(text(listed).await.contains("refs/heads/quick"));
    assert!(begun.elapsed() < Duration::from_secs(3), "they waited for the stalled one");

    tokio::time::timeout(PATIENCE, stalled.ended).await.expect("the stalled push is ended");
    assert_eq!(branches(&place, "shop").await, ["quick"]);
}

#[tokio::test]
async fn a_push_whose_client_has_gone_is_taken_to_its_end() {
    let place = Place::new();
    let origin = Repo::bare(place.folder.path().join("origin"));
    let commit = origin.commit("main", "one");
    let answer =
        place.source.serve(request("shop", "git-receive-pack", "", whole(push(&origin, "main", &commit)))).await.expect("an answer");
    let GitResponse { body, ended, .. } = answer;
    drop(body);
    tokio::time::timeout(PATIENCE, ended).await.expect("git ends without a reader");
    assert_eq!(branches(&place, "shop").await, ["main"]);
}

#[tokio::test]
async fn a_push_that_breaks_off_moves_nothing() {
    let place = Place::new();
    let origin = Repo::bare(place.folder.path().join("origin"));
    let commit = origin.commit("main", "one");
    let body = push(&origin, "main", &commit);
    let breaks = [Ok(Bytes::from(body[..body.len() - 30].to_vec())), Err(std::io::Error::other("the client is gone"))];
    let answer = place.source.serve(request("shop", "git-receive-pack", "", Box::pin(stream::iter(breaks)))).await.expect("an answer");
    tokio::time::timeout(PATIENCE, answer.ended).await.expect("git ends");
    assert!(branches(&place, "shop").await.is_empty());
    assert!(place.source.remove_if_empty(&name("shop")).await.expect("removed"), "nothing arrived");
}

#[tokio::test]
async fn asking_to_push_creates_nothing_and_the_first_push_does() {
    let place = Place::new();
    let asked = place.source.serve(request("shop", "info/refs", "service=git-receive-pack", nothing())).await.expect("an answer");
    assert_eq!(asked.status, 200);
    assert!(text(asked).await.contains("report-status"), "a client may go on to push");
    assert!(!place.source.exists(&name("shop")).await.expect("an answer"));

    assert!(pushed(&place, "shop", b"0000".to_vec()).await.is_empty(), "a probe");
    assert!(place.source.remove_if_empty(&name("shop")).await.expect("removed"));
    assert!(!place.source.exists(&name("shop")).await.expect("an answer"));

    let origin = Repo::bare(place.folder.path().join("origin"));
    let commit = origin.commit("main", "one");
    assert!(pushed(&place, "shop", push(&origin, "main", &commit)).await.contains("ok refs/heads/main"));
    assert!(!place.source.remove_if_empty(&name("shop")).await.expect("an answer"), "it is not empty");
    assert_eq!(branches(&place, "shop").await, ["main"]);
}

#[tokio::test]
async fn of_two_pushes_that_move_the_same_ref_at_once_one_is_taken() {
    let place = Place::new();
    let origin = Repo::bare(place.folder.path().join("origin"));
    let (one, two) = (origin.commit("one", "one"), origin.commit("two", "two"));
    let (first, second) =
        tokio::join!(pushed(&place, "shop", push(&origin, "main", &one)), pushed(&place, "shop", push(&origin, "main", &two)));
    let taken = [&first, &second].iter().filter(|answer| answer.contains("ok refs/heads/main")).count();
    assert_eq!(taken, 1, "{first}\n{second}");
}

#[tokio::test]
async fn hooks_of_a_hosted_repository_are_never_run() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.source.create(&name("shop")).await.expect("created");
    let (hooks, mark) = (place.hosted("shop").join("hooks"), place.folder.path().join("pwned"));
    std::fs::create_dir_all(&hooks).expect("a folder");
    for hook in ["pre-receive", "update", "post-receive", "post-update", "reference-transaction", "proc-receive"] {
        let path = hooks.join(hook);
        std::fs::write(&path, format!("#!/bin/sh\ntouch '{}'\n", mark.display())).expect("a hook");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }
    let origin = Repo::bare(place.folder.path().join("origin"));
    let commit = origin.commit("main", "one");
    assert!(pushed(&place, "shop", push(&origin, "main", &commit)).await.contains("ok refs/heads/main"));
    assert!(!mark.exists(), "a hook ran");
}

#[tokio::test]
async fn a_push_of_a_hostile_tree_is_refused_in_words() {
    let place = Place::new();
    let origin = Repo::bare(place.folder.path().join("origin"));
    let blob = origin.blob(b"x");
    for (branch, entry) in [("dots", ".."), ("git", ".git"), ("shout", ".GIT"), ("short", "git~1"), ("space", ".git ")] {
        let tree = if branch == "dots" {
            let inner = origin.tree(&[("100644", b"x", &blob)]);
            origin.tree(&[("40000", entry.as_bytes(), &inner)])
        } else {
            origin.tree(&[("100644", entry.as_bytes(), &blob)])
        };
        let commit = origin.commit_tree(&tree, "Hostile");
        let answer = pushed(&place, "shop", push(&origin, branch, &commit)).await;
        assert!(answer.contains("unpack") && !answer.contains("unpack ok"), "{branch}: {answer}");
    }
    assert!(branches(&place, "shop").await.is_empty());
}
