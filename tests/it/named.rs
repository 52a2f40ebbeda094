//! Names and ids that somebody mistyped on the command line: each command says what was looked for and how the right ones are listed.

use std::process::{Command, Stdio};

use hookwright_testkit::{Daemon, WorkingCopy};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

fn hookwright(daemon: &Daemon, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(BINARY);
    command.args(arguments).env("HOOKWRIGHT_SERVER", daemon.address()).env("HOOKWRIGHT_TOKEN", daemon.token());
    let output = command.current_dir(daemon.data()).stdin(Stdio::null()).output().expect("the client runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap_or(-1), text)
}

/// Every command that takes a name or an id, `@` in its place.
const COMMANDS: &[&str] = &[
    "status @",
    "status @ --wait",
    "runs @",
    "logs @",
    "logs --deployment @ production",
    "logs --deployment shop @",
    "retry @",
    "cancel @ 1",
    "promote @ production",
    "approve shop @",
    "reject @ production",
    "rollback @ production",
    "undeploy @ production",
    "webhook remove @",
    "hold end @ production",
    "releases @",
    "triggers @",
    "events @",
    "events show @",
    "events replay @",
    "events replay --webhook @ --dead",
    "events send @ issues",
    "events send shop @",
    "secret list @ production",
    "secret list shop @",
    "secret remove shop production @",
    "repo remove @",
    "repo credential remove @",
    "repo default-branch @ main",
    "user remove @",
    "token revoke @",
];

#[tokio::test]
async fn a_name_that_cannot_be_one_changes_nothing_and_is_told_how_the_right_ones_are_listed() {
    let daemon = Daemon::start(BINARY).await;
    let copy = WorkingCopy::new();
    copy.write("README.md", "Nothing\n").commit("Begin");
    copy.push(&daemon, "shop");
    for command in COMMANDS {
        for bad in ["..", "", "a/b", "a b", "%2f", "../../tokens", "a?limit=1"] {
            let words: Vec<&str> = command.split(' ').map(|word| if word == "@" { bad } else { word }).collect();
            let (code, said) = hookwright(&daemon, &words);
            // A person may be called nearly anything, and is not there then.
            let codes: &[i32] = if command.starts_with("user") { &[1, 2] } else { &[2] };
            assert!(codes.contains(&code), "{words:?}: {code} {said}");
            assert!(!said.contains("Invalid URL") && !said.contains("no such address"), "{words:?}: {said}");
            assert!(said.contains("hookwright "), "{words:?} does not say how they are listed: {said}");
            assert!(bad.is_empty() || said.contains(&format!("`{bad}`")) || said.contains(&format!("'{bad}'")), "{words:?}: {said}");
        }
    }
    assert_eq!(daemon.get("/api/v1/repositories").await["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_name_that_nothing_has_is_told_how_the_right_ones_are_listed() {
    let daemon = Daemon::start(BINARY).await;
    for (command, list) in [
        ("status nosuch", "hookwright status"),
        ("runs nosuch", "hookwright status"),
        ("releases nosuch", "hookwright status"),
        ("triggers nosuch", "hookwright status"),
        ("events nosuch", "hookwright status"),
        ("logs nosuch", "hookwright runs"),
        ("events show evt_0190a0b0c0d0e0f0a0b0c0d0e0f0a0b0", "hookwright events"),
        ("token revoke tok_0190a0b0c0d0e0f0a0b0c0d0e0f0a0b0", "hookwright token list"),
        ("logs run_0190a0b0c0d0e0f0a0b0c0d0e0f0a0b0", "hookwright runs"),
        ("user remove nobody", "hookwright user list"),
        ("repo remove nosuch", "hookwright repo list"),
    ] {
        let (code, said) = hookwright(&daemon, &command.split(' ').collect::<Vec<_>>());
        assert!(matches!(code, 1 | 2), "{command}: {code} {said}");
        let name = command.rsplit(' ').next().unwrap_or_default();
        assert!(said.contains(name) && said.contains(&format!("`{list}")), "{command}: {said}");
    }
}
