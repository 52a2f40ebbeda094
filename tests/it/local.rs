//! `hookwright run`: the pipeline on the working tree, without a daemon.

use std::path::Path;
use std::process::{Command, Output};

use hookwright_testkit::WorkingCopy;

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

const SPEC: &str = "version: 1
name: local
handler: { command: [python3, server.py] }
pipeline:
  stages:
    compile:
      run: cat greeting.txt
";

fn copy() -> WorkingCopy {
    let copy = WorkingCopy::new();
    copy.write("webhook.yaml", SPEC).write("server.py", "").write("greeting.txt", "committed\n").commit("Begin");
    copy
}

fn run(folder: &Path, variables: &[(&str, &str)]) -> (i32, String, String) {
    let output: Output = Command::new(BINARY).arg("run").current_dir(folder).envs(variables.iter().copied()).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_local_run_sees_uncommitted_and_new_files_and_leaves_git_as_it_was() {
    let copy = copy();
    copy.write("greeting.txt", "not committed\n").write("new.txt", "");
    let before = copy.git(&["status", "--porcelain"]).stdout;
    let (code, out, err) = run(&copy.path(), &[]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("compile | not committed"), "{out}");
    assert!(out.contains("deploy skipped: nothing is deployed here"), "{out}");
    assert_eq!(copy.git(&["status", "--porcelain"]).stdout, before);
    let (code, out, _) = run(&copy.path(), &[]);
    assert!(code == 0 && out.contains("compile cached"), "nothing changed: {out}");
}

#[test]
fn a_local_run_of_a_failing_stage_ends_with_1_and_an_invalid_spec_with_2() {
    let copy = copy();
    copy.write("webhook.yaml", &SPEC.replace("cat greeting.txt", "exit 3"));
    let (code, out, _) = run(&copy.path(), &[]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("compile failed") && out.contains('3'), "{out}");
    copy.write("webhook.yaml", &SPEC.replace("handler:", "handlr:"));
    let (code, _, err) = run(&copy.path(), &[]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("handler"), "{err}");
}

#[test]
fn a_local_run_takes_build_secrets_from_the_environment_and_masks_them() {
    let copy = copy();
    let stage = "run: 'echo \"the token is $NPM_TOKEN\"'\n      secrets: [NPM_TOKEN]";
    copy.write("webhook.yaml", &SPEC.replace("run: cat greeting.txt", stage));
    let (code, _, err) = run(&copy.path(), &[]);
    assert!(code != 0 && err.contains("NPM_TOKEN=… hookwright run"), "{err}");
    let (code, out, err) = run(&copy.path(), &[("NPM_TOKEN", "canary-77af31")]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("the token is") && !out.contains("canary-77af31"), "{out}");
}

#[test]
fn a_filter_on_a_field_that_events_hardly_have_is_warned_of_and_no_error() {
    let copy = copy();
    let trigger = |filter: &str| {
        format!("{SPEC}triggers:\n  issues:\n    source: github\n    verify: none\n    events: [issues.opened]\n    filter: {filter}\n")
    };
    for command in ["validate", "plan"] {
        let checked = |filter: &str| {
            copy.write("webhook.yaml", &trigger(filter));
            let output = Command::new(BINARY).arg(command).current_dir(copy.path()).output().expect("it runs");
            assert!(output.status.success(), "{filter}: {output:?}");
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let said = checked("payload.isue.number > 7");
        let expected = "webhook.yaml:13: `filter` of trigger `issues` asks for `payload.isue`, which is not known of its events; did you mean `payload.issue`?";
        assert!(said.contains("warning: ") && said.contains(expected), "{said}");
        for good in
            ["payload.issue.number > 7", "payload.issue.reactions.total_count > 7", "payload.issue.title.contains(\"payload.isue\")"]
        {
            assert_eq!(checked(good), "", "{good}");
        }
    }
}

#[test]
fn an_event_that_a_source_is_not_known_to_send_is_warned_of_where_it_may_send_others() {
    let copy = copy();
    copy.write("webhook.yaml", &format!("{SPEC}triggers:\n  issues: {{ source: gitlab, verify: none, events: [push, issue.opened] }}\n"));
    for command in ["validate", "plan"] {
        let output = Command::new(BINARY).arg(command).current_dir(copy.path()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let expected = ":9: trigger `issues` asks for `issue.opened`, which `gitlab` is not known to send; did you mean `issue.open`?";
        assert!(said.starts_with("warning: ") && said.trim_end().ends_with(expected), "{said}");
    }
}
