//! Watched remotes on this machine and on the network: what is seen, at what cost, and whose fault it is when nothing is.

use std::path::Path;
use std::time::Instant;

use hookwright_core::port::{Location, Revisions, Selection, Tips};
use hookwright_core::{Blame, RemoteCredential, SecretValue};

use crate::{Place, Repo, file_url, location};

fn origin(place: &Place) -> Repo {
    let repo = Repo::bare(place.folder.path().join("origin.git"));
    repo.commit("main", "one");
    repo
}

async fn tips(place: &Place, at: &Location) -> Tips {
    place.source.tips(at).await.expect("readable refs")
}

/// What a source says that never looked before.
async fn anew(at: &Location) -> Tips {
    tips(&Place::new(), at).await
}

/// Makes git refuse the repository, while its refs can still be read.
fn spoil(repo: &Path) {
    std::fs::write(repo.join("config"), "[core\n").expect("a broken config");
}

#[tokio::test]
async fn a_quiet_folder_is_read_without_git_and_one_that_moved_with_it() {
    let place = Place::new();
    let repo = origin(&place);
    let at = location("shop", Some(&file_url(&repo.0)));
    let before = tips(&place, &at).await;
    let moved = repo.blob(b"x");
    spoil(&repo.0);
    assert_eq!(tips(&place, &at).await, before, "git would have refused");
    std::fs::write(repo.0.join("refs/heads/new"), format!("{moved}\n")).expect("a ref");
    assert!(place.source.tips(&at).await.is_err(), "git was asked");
}

#[tokio::test]
async fn every_way_in_which_refs_move_is_seen() {
    let place = Place::new();
    let repo = origin(&place);
    let at = location("shop", Some(&file_url(&repo.0)));
    let hosted = location("shop", None);
    let mut before = tips(&place, &at).await;
    let steps: &[&[&str]] = &[
        &["update-ref", "refs/heads/second", "main"],
        &["pack-refs", "--all"],
        &["update-ref", "refs/heads/feature/deep/er", "main"],
        &["tag", "light", "main"],
        &["tag", "-a", "-m", "An annotated one", "v1", "main"],
        &["pack-refs", "--all"],
        &["commit-tree", "-m", "Another", "main^{tree}"],
        &["update-ref", "-d", "refs/heads/second"],
        &["symbolic-ref", "HEAD", "refs/heads/feature/deep/er"],
        &["symbolic-ref", "refs/heads/alias", "refs/heads/main"],
        &["tag", "-d", "v1"],
        &["pack-refs", "--all", "--prune"],
    ];
    let mut changes = 0;
    for step in steps {
        let said = repo.git(step);
        if step[0] == "commit-tree" {
            repo.git(&["update-ref", "refs/heads/main", &said]);
        }
        let now = tips(&place, &at).await;
        assert_eq!(now, anew(&at).await, "after {step:?}");
        changes += usize::from(now != before);
        before = now;
    }
    assert!(changes >= 8, "{changes} of the steps were seen");
    std::fs::rename(&repo.0, place.hosted("shop")).expect("the same repository, hosted");
    assert_eq!(tips(&place, &hosted).await, before, "a hosted one is read alike");
}

#[tokio::test]
async fn a_folder_with_a_work_tree_or_another_ref_backend_is_read_too() {
    let place = Place::new();
    let bare = origin(&place);
    let plain = Repo(place.folder.path().join("plain"));
    bare.git(&["clone", "--quiet", ".", &plain.0.display().to_string()]);
    let at = location("plain", Some(&file_url(&plain.0)));
    assert_eq!(tips(&place, &at).await.default_branch.as_deref(), Some("main"));
    plain.git(&["commit", "--quiet", "--allow-empty", "-m", "Two"]);
    assert_eq!(tips(&place, &at).await, anew(&at).await);

    let table = Repo(place.folder.path().join("table"));
    std::fs::create_dir_all(&table.0).expect("a folder");
    table.git(&["init", "--quiet", "--bare", "--initial-branch=main", "--ref-format=reftable"]);
    table.commit("main", "one");
    let at = location("table", Some(&file_url(&table.0)));
    for content in ["two", "three"] {
        let commit = table.commit("main", content);
        assert_eq!(tips(&place, &at).await.tips[0].commit.as_str(), commit, "git is asked every time");
    }
}

/// Each is read by git once, which takes far longer than all that follows.
const FOLDERS: usize = 50;

#[tokio::test]
async fn a_thousand_quiet_folders_are_read_in_a_moment() {
    let place = Place::new();
    let first = origin(&place);
    for number in 0..200 {
        first.git(&["update-ref", &format!("refs/heads/branch-{number}"), "main"]);
    }
    first.git(&["pack-refs", "--all"]);
    first.commit("main", "two");
    let mut watched = Vec::new();
    for number in 0..FOLDERS {
        let copy = place.folder.path().join(format!("copy-{number}.git"));
        for folder in ["refs/heads", "refs/tags", "objects"] {
            std::fs::create_dir_all(copy.join(folder)).expect("folders");
        }
        for file in ["HEAD", "config", "packed-refs", "refs/heads/main"] {
            std::fs::copy(first.0.join(file), copy.join(file)).expect("a copy");
        }
        watched.push(location(&format!("copy-{number}"), Some(&file_url(&copy))));
    }
    // The objects are elsewhere: git lists the refs of the first all the same.
    let alternates = format!("{}\n", first.0.join("objects").display());
    for number in 0..FOLDERS {
        let info = place.folder.path().join(format!("copy-{number}.git/objects/info"));
        std::fs::create_dir_all(&info).expect("a folder");
        std::fs::write(info.join("alternates"), &alternates).expect("a file");
    }
    for at in &watched {
        assert_eq!(tips(&place, at).await.tips.len(), 201);
    }
    for number in 0..FOLDERS {
        spoil(&place.folder.path().join(format!("copy-{number}.git")));
    }
    let begun = Instant::now();
    for at in watched.iter().cycle().take(1000) {
        assert_eq!(tips(&place, at).await.tips.len(), 201, "without git");
    }
    println!("1000 quiet folders with 201 refs each: {:?}", begun.elapsed());
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_folder_that_another_user_owns_is_watched() {
    let place = Place::new();
    let repo = origin(&place);
    let given = std::process::Command::new("chown").args(["-R", "12345:12345"]).arg(&repo.0).status().expect("chown runs");
    if !given.success() {
        println!("only root can give a folder away; not tried");
        return;
    }
    let at = location("shop", Some(&file_url(&repo.0)));
    let tip = tips(&place, &at).await.tips.remove(0);
    place.source.fetch(&at, &tip).await.expect("fetched");
    let into = place.folder.path().join("workspace");
    std::fs::create_dir_all(&into).expect("a folder");
    place.source.checkout(&at, &tip.commit, &Selection::default(), &into).await.expect("checked out");
    assert_eq!(std::fs::read_to_string(into.join("file")).expect("a file"), "one");
}

#[tokio::test]
async fn a_folder_that_vanished_is_said_so_and_comes_back() {
    let place = Place::new();
    let repo = origin(&place);
    let at = location("shop", Some(&file_url(&repo.0)));
    let before = tips(&place, &at).await;
    let away = place.folder.path().join("away");
    std::fs::rename(&repo.0, &away).expect("gone");
    let error = place.source.tips(&at).await.expect_err("gone");
    assert_eq!(error.blame, Blame::Failed, "{error}");
    assert!(error.message.contains("does not appear to be a git repository"), "{error}");
    std::fs::rename(&away, &repo.0).expect("back");
    assert_eq!(tips(&place, &at).await, before);
}

#[tokio::test]
async fn a_commit_that_is_here_is_not_fetched_again_and_outlives_a_force_push() {
    let place = Place::new();
    let repo = origin(&place);
    let at = location("shop", Some(&file_url(&repo.0)));
    let first = tips(&place, &at).await.tips.remove(0);
    place.source.fetch(&at, &first).await.expect("fetched");
    repo.commit("main", "forced");
    let second = tips(&place, &at).await.tips.remove(0);
    assert_ne!(first.commit, second.commit);
    place.source.fetch(&at, &second).await.expect("fetched");
    place.source.fetch(&at, &first).await.expect("the first is here still");
    std::fs::remove_dir_all(&repo.0).expect("gone");
    place.source.fetch(&at, &second).await.expect("nobody has to be asked");
    place.source.tree(&at, &first.commit).await.expect("readable");
}

#[tokio::test]
async fn a_network_that_is_down_is_not_the_users_fault() {
    let place = Place::new();
    // A port that was free a moment ago: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    for url in [format!("http://127.0.0.1:{port}/x.git"), format!("ssh://git@127.0.0.1:{port}/x.git")] {
        let error = place.source.tips(&location("shop", Some(&url))).await.expect_err("nobody is there");
        assert_eq!(error.blame, Blame::Errored, "{error}");
    }
}

#[tokio::test]
async fn a_disk_that_refuses_is_not_the_users_fault() {
    let place = Place::new();
    let repo = origin(&place);
    let at = location("shop", Some(&file_url(&repo.0)));
    let tip = tips(&place, &at).await.tips.remove(0);
    // Where the mirror belongs there is a file: whatever git tries there fails, also for root.
    std::fs::write(place.folder.path().join("mirrors").join(at.id.to_string()), "in the way").expect("a file");
    let error = place.source.fetch(&at, &tip).await.expect_err("no mirror can be made");
    assert_eq!(error.blame, Blame::Errored, "{error}");
}

#[tokio::test]
async fn a_credential_is_in_no_file_and_no_error() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // A server that repeats what it was told, as a hostile one may.
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut seen = String::new();
        for stream in listener.incoming().take(2) {
            let mut stream = stream.expect("a connection");
            let mut buffer = [0; 4096];
            let read = stream.read(&mut buffer).expect("a request");
            let request = String::from_utf8_lossy(&buffer[..read]).into_owned();
            let body = "canary-31b7 is your password";
            let status = if request.contains("Authorization: Basic") { "500 No" } else { "401 Who" };
            let head = format!("HTTP/1.1 {status}\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Type: text/plain\r\n");
            write!(stream, "{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).expect("an answer");
            seen.push_str(&request);
        }
        seen
    });
    let password = SecretValue::new("canary-31b7");
    let credential = Some(RemoteCredential::Password { username: "rosa".to_owned(), password });
    let at = Location { credential, ..location("shop", Some(&format!("http://127.0.0.1:{port}/x.git"))) };
    let error = place.source.tips(&at).await.expect_err("refused");
    assert!(!error.to_string().contains("canary-31b7") && !format!("{error:?}").contains("canary-31b7"), "{error:?}");
    assert!(server.join().expect("the server ends").contains("Authorization: Basic"), "the credential was sent to its own remote");
}
