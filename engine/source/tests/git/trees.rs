//! Trees that an attacker built: what is refused, and that what is taken does nothing.

use std::path::PathBuf;

use hookwright_core::port::{GitHost, Location, Revisions, Selection};
use hookwright_core::{Blame, CommitSha, PortError, RepoPath};

use crate::{Place, Repo, location};

/// A hosted repository that was written behind the daemon's back, so that no check on arrival saw it.
fn hostile(place: &Place) -> (Repo, Location) {
    (Repo::bare(place.hosted("shop")), location("shop", None))
}

async fn check_out(place: &Place, at: &Location, commit: &str) -> Result<PathBuf, PortError> {
    let into = place.folder.path().join(format!("outer-{commit}")).join("workspace");
    std::fs::create_dir_all(&into).expect("a folder");
    let commit: CommitSha = commit.parse().expect("a commit");
    place.source.checkout(at, &commit, &Selection::default(), &into).await?;
    Ok(into)
}

#[tokio::test]
async fn paths_that_leave_hide_or_confuse_are_refused_and_nothing_is_written() {
    let place = Place::new();
    let (repo, at) = hostile(&place);
    let blob = repo.blob(b"x");
    let inner = repo.tree(&[("100644", b"config", &blob)]);
    let long = vec![b'a'; 300];
    let cases: &[(&str, &[u8], &str)] = &[
        ("40000", b"..", &inner),
        ("40000", b".", &inner),
        ("100644", b"../evil", &blob),
        ("40000", b".git", &inner),
        ("40000", b".GIT", &inner),
        ("40000", b"git~1", &inner),
        ("40000", b".git ", &inner),
        ("40000", ".g\u{200c}it".as_bytes(), &inner),
        ("100644", b".git::$INDEX_ALLOCATION", &blob),
        ("100644", b"a\\..\\b", &blob),
        ("100644", b"line\nbreak", &blob),
        ("100644", b"\x1b[2Jescape", &blob),
        ("100644", b"\xff\xfe", &blob),
        ("100644", &long, &blob),
    ];
    for (mode, entry, object) in cases {
        let shown = String::from_utf8_lossy(entry).into_owned();
        let commit = repo.commit_tree(&repo.tree(&[(mode, entry, object)]), "Hostile");
        let error = check_out(&place, &at, &commit).await.expect_err(&shown);
        assert_eq!(error.blame, Blame::Failed, "{shown}: {error}");
        assert!(!error.message.contains(['\n', '\u{1b}']), "{error}");
        let outer = place.folder.path().join(format!("outer-{commit}"));
        assert_eq!(std::fs::read_dir(&outer).expect("a folder").count(), 1, "{shown}");
        assert_eq!(std::fs::read_dir(outer.join("workspace")).expect("a folder").count(), 0, "{shown}");
    }
}

#[tokio::test]
async fn links_that_lead_out_are_refused() {
    let place = Place::new();
    let (repo, at) = hostile(&place);
    let file = repo.blob(b"x");
    for target in ["/etc/passwd", "../../x", "..", "a/../../x"] {
        let link = repo.blob(target.as_bytes());
        let commit = repo.commit_tree(&repo.tree(&[("100644", b"file", &file), ("120000", b"link", &link)]), target);
        let error = check_out(&place, &at, &commit).await.expect_err(target);
        assert_eq!(error.blame, Blame::Failed, "{target}: {error}");
    }
    let through = repo.blob(b"/tmp");
    let below = repo.tree(&[("100644", b"file", &file)]);
    let commit =
        repo.commit_tree(&repo.tree(&[("120000", b"out", &through), ("40000", b"out", &below)]), "A link and a folder of one name");
    assert!(check_out(&place, &at, &commit).await.is_err());
}

#[tokio::test]
async fn names_that_differ_in_case_stay_apart() {
    let place = Place::new();
    let (repo, at) = hostile(&place);
    let (upper, lower, link) = (repo.blob(b"upper"), repo.blob(b"lower"), repo.blob(b"."));
    let below = repo.tree(&[("100644", b"file", &lower)]);
    let entries: &[(&str, &[u8], &str)] =
        &[("120000", b"A", &link), ("100644", b"README", &upper), ("40000", b"a", &below), ("100644", b"readme", &lower)];
    let commit = repo.commit_tree(&repo.tree(entries), "Collide");
    let workspace = check_out(&place, &at, &commit).await.expect("taken");
    let read = |name: &str| std::fs::read_to_string(workspace.join(name)).expect("a file");
    assert_eq!((read("README"), read("readme"), read("a/file")), ("upper".to_owned(), "lower".to_owned(), "lower".to_owned()));
}

#[tokio::test]
async fn filters_and_submodules_of_a_repository_are_never_executed() {
    let place = Place::new();
    let (repo, at) = hostile(&place);
    let mark = place.folder.path().join("pwned");
    let command = format!("touch '{}'", mark.display());
    for key in [
        "filter.evil.smudge",
        "filter.evil.process",
        "filter.lfs.smudge",
        "core.fsmonitor",
        "core.sshCommand",
        "diff.evil.textconv",
        "core.pager",
    ] {
        repo.git(&["config", key, &command]);
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    let modules = format!("[submodule \"x\"]\n\tpath = module\n\turl = -u./payload\n\tupdate = !{command}\n");
    let (attributes, large, modules) = (
        repo.blob(b"* filter=evil diff=evil ident eol=crlf\n*.bin filter=lfs\n"),
        repo.blob(pointer.as_bytes()),
        repo.blob(modules.as_bytes()),
    );
    let text = repo.blob(b"$Id$\nline\n");
    let elsewhere = "1".repeat(40);
    let tree = repo.tree(&[
        ("100644", b".gitattributes", &attributes),
        ("100644", b".gitmodules", &modules),
        ("100644", b"large.bin", &large),
        ("160000", b"module", &elsewhere),
        ("100755", b"text", &text),
    ]);
    let commit = repo.commit_tree(&tree, "Execute me");
    let workspace = check_out(&place, &at, &commit).await.expect("taken");
    let commit: CommitSha = commit.parse().expect("a commit");
    place.source.commit_info(&at, &commit).await.expect("readable");
    place.source.changed(&at, &commit, &commit).await.expect("comparable");

    assert_eq!(std::fs::read(workspace.join("text")).expect("a file"), b"$Id$\nline\n", "byte for byte");
    assert_eq!(std::fs::read_to_string(workspace.join("large.bin")).expect("a file"), pointer, "a pointer stays one");
    assert_eq!(std::fs::read_dir(workspace.join("module")).expect("a folder").count(), 0, "a submodule stays empty");
    assert!(!mark.exists(), "something ran");
}

#[tokio::test]
async fn a_name_that_git_takes_for_a_pattern_is_a_name() {
    let place = Place::new();
    let (repo, at) = hostile(&place);
    let blob = repo.blob(b"found");
    let commit = repo.commit_tree(&repo.tree(&[("100644", b":(glob)*", &blob), ("100644", b"other", &blob)]), "Magic");
    let commit: CommitSha = commit.parse().expect("a commit");
    let path = RepoPath::new(":(glob)*").expect("a path");
    let read = place.source.read(&at, &commit, &path, 100).await.expect("readable");
    assert_eq!(read.as_deref(), Some(b"found".as_slice()));
    let missing = RepoPath::new(":(glob)o*").expect("a path");
    assert_eq!(place.source.read(&at, &commit, &missing, 100).await.expect("readable"), None);
}

#[tokio::test]
async fn a_large_file_is_not_held_in_memory_and_a_small_repository_that_unfolds_to_gigabytes_is_refused() {
    let place = Place::new();
    let (repo, at) = hostile(&place);
    // 17 names for one file of 250 MiB: more than is taken in all, and a few kilobytes in the repository.
    let zeros = place.folder.path().join("zeros");
    std::fs::File::create(&zeros).and_then(|file| file.set_len(250 << 20)).expect("a sparse file");
    let blob = repo.git(&["hash-object", "-w", &zeros.display().to_string()]);
    let names: Vec<String> = (0..17).map(|number| format!("{number:02}")).collect();
    let entries: Vec<(&str, &[u8], &str)> = names.iter().map(|name| ("100644", name.as_bytes(), blob.as_str())).collect();
    let listed = repo.commit_tree(&repo.tree(&entries), "Unfold");
    let selection = Selection { folder: None, globs: Some(vec!["00".to_owned()]) };
    let into = place.folder.path().join("one");
    std::fs::create_dir_all(&into).expect("a folder");
    place.source.checkout(&at, &listed.parse().expect("a commit"), &selection, &into).await.expect("one of them is taken");
    assert_eq!(std::fs::metadata(into.join("00")).expect("a file").len(), 250 << 20);
    assert!(peak_memory() < 200 << 20, "it was held in memory: {}", peak_memory());

    let error = check_out(&place, &at, &listed).await.expect_err("refused");
    assert_eq!(error.blame, Blame::Failed, "{error}");
    let workspace = place.folder.path().join(format!("outer-{listed}")).join("workspace");
    assert_eq!(std::fs::read_dir(workspace).expect("a folder").count(), 0, "it is refused before anything is written");
}

/// The most memory that this process ever held, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[tokio::test]
async fn the_stages_of_one_run_read_their_tree_once() {
    let place = Place::new();
    let (repo, at) = hostile(&place);
    let inner = repo.tree(&[("100755", b"run.sh", &repo.blob(b"echo run\n")), ("120000", b"link", &repo.blob(b"run.sh"))]);
    let commit =
        repo.commit_tree(&repo.tree(&[("100644", b"webhook.yaml", &repo.blob(b"version: 1\n")), ("40000", b"src", &inner)]), "Once");
    let into = |name: &str| place.folder.path().join(name);
    let source = &place.source;
    let sha: CommitSha = commit.parse().expect("a commit");
    let write = async |selection: Selection, name: &str| {
        std::fs::create_dir_all(into(name)).expect("a folder");
        source.checkout(&at, &sha, &selection, &into(name)).await
    };
    write(Selection::default(), "first").await.expect("a checkout");
    // Whoever asks git now is told nothing.
    std::fs::rename(place.hosted("shop").join("objects"), into("objects")).expect("a moved folder");
    write(Selection::default(), "second").await.expect("the same, from memory");
    let part = Selection { folder: Some(RepoPath::new("src").expect("a path")), globs: None };
    write(part, "third").await.expect("a part of it");
    assert_eq!(std::fs::read_to_string(into("second").join("webhook.yaml")).expect("a file"), "version: 1\n");
    assert_eq!(std::fs::read_to_string(into("third").join("link")).expect("through the link"), "echo run\n");
    std::process::Command::new("test")
        .arg("-x")
        .arg(into("third").join("run.sh"))
        .status()
        .map(|status| assert!(status.success()))
        .expect("`test`");
    // A repository that was removed is not served from memory.
    source.remove(&at.name).await.expect("removed");
    write(Selection::default(), "fourth").await.expect_err("gone");
}
