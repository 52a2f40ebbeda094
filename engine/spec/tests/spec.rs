//! What people write, what they mistype, and what nobody should write: parsed and planned through the public functions.

use std::collections::BTreeMap;

use hookwright_core::RevisionEvent;
use hookwright_spec::{Plan, PlanRequest, Problems, Promote, SourceFiles, Spec, StageKind, TreeFile, explain, parse, parse_beside, plan};
use proptest::prelude::*;

const LARGE: &str = include_str!("large.yaml");
const SMALL: &str = "version: 1\nname: hello\nhandler: { command: [python3, server.py] }\n";

fn files(paths: &[&str]) -> Vec<TreeFile> {
    paths.iter().map(|path| TreeFile { path: (*path).to_owned(), object: format!("object of {path}") }).collect()
}

fn spec(text: &str) -> Spec {
    parse(text, "webhook.yaml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn planned_on(event: RevisionEvent, text: &str, paths: &[&str]) -> Result<Plan, Problems> {
    let spec = spec(text);
    let (files, presets) = (files(paths), BTreeMap::new());
    let (branch, tag, changed) = (Some("main"), None, Vec::new());
    let request = PlanRequest {
        spec: &spec,
        file: "webhook.yaml",
        text,
        files: &files,
        event,
        branch,
        tag,
        changed: &changed,
        default_branch: Some("main"),
        presets: &presets,
    };
    plan(request)
}

fn planned(text: &str, paths: &[&str]) -> Plan {
    planned_on(RevisionEvent::Push, text, paths).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(text: &str) -> Problems {
    parse(text, "webhook.yaml").expect_err("the text is wrong")
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.stages.iter().map(|stage| stage.name.as_str()).collect()
}

#[test]
fn the_large_example_has_no_problems_and_survives_storage() {
    let spec = spec(LARGE);
    let stored = serde_json::to_string(&spec).expect("a spec is JSON");
    assert_eq!(serde_json::from_str::<Spec>(&stored).expect("it reads back"), spec);
    let production = &spec.environments[1];
    assert_eq!(production.approvals.as_ref().map(|one| (one.count, one.by_author)), Some((2, Some(false))));
    assert_eq!((production.scale.min, production.scale.max, production.gates.checks.len()), (2, 5, 6));
}

#[test]
fn the_smallest_file_goes_to_development_and_waits_before_production() {
    let spec = spec(SMALL);
    let [development, production] = &spec.environments[..] else { panic!("two environments") };
    assert_eq!((development.promote, production.promote), (Promote::Automatic, Promote::Manual));
    assert_eq!(production.after, vec![development.name.clone()]);
    assert_eq!(production.approvals.as_ref().map(|one| one.count), Some(1));
}

#[test]
fn stages_with_nothing_to_do_are_left_out_and_said_so() {
    let plan = planned(SMALL, &["server.py", "webhook.yaml"]);
    assert_eq!(names(&plan), ["checkout", "image", "deploy"]);
    let text = explain(&plan);
    assert!(text.contains("compile is left out: nothing to do: the folder has no requirements.txt"), "{text}");
}

#[test]
fn built_packages_enter_the_image_beside_the_folder() {
    let plan = planned(SMALL, &["server.py", "requirements.txt", "test_server.py"]);
    assert_eq!(names(&plan), ["checkout", "compile", "test", "image", "deploy"]);
    let StageKind::Image { copy, environment, .. } = &plan.stages[3].kind else { panic!("an image stage") };
    assert_eq!(copy.iter().map(|one| one.destination.as_str()).collect::<Vec<_>>(), ["/app", "/app/.packages"]);
    assert!(environment.contains_key("PYTHONPATH"));
}

#[test]
fn presets_are_found_by_the_files() {
    for (file, preset) in
        [("Cargo.toml", "rust@1"), ("go.mod", "go@1"), ("pom.xml", "java@1"), ("package.json", "node@1"), ("index.html", "static@1")]
    {
        assert_eq!(planned(SMALL, &[file]).preset.as_deref(), Some(preset));
    }
}

#[test]
fn a_matrix_becomes_one_stage_for_each_combination() {
    let text = format!(
        "{SMALL}pipeline:\n  stages:\n    unit:\n      matrix: {{ python: [\"3.11\", 3.10] }}\n      run: ./test $PYTHON\n    image: {{ needs: [unit] }}\n"
    );
    let plan = planned(&text, &["server.py"]);
    assert_eq!(names(&plan), ["checkout", "unit-python-3-11", "unit-python-3-10", "image", "deploy"]);
    assert_eq!(plan.stages[2].env.get("PYTHON").map(String::as_str), Some("3.10"));
    assert_eq!(plan.stages[3].needs.len(), 2);
}

#[test]
fn a_condition_that_is_false_takes_what_builds_on_it_along() {
    let text = format!("{SMALL}pipeline:\n  stages:\n    deploy: {{ when: event != \"pull_request\" }}\n");
    let plan = planned_on(RevisionEvent::PullRequest, &text, &["server.py"]).expect("it can be planned");
    assert_eq!(names(&plan), ["checkout", "image"]);
    assert_eq!(names(&planned(&text, &["server.py"])), ["checkout", "image", "deploy"]);
}

#[test]
fn declared_inputs_alone_decide_the_cache_key() {
    let text = format!("{SMALL}pipeline: {{ stages: {{ unit: {{ run: make, inputs: [\"src/**\"] }} }} }}\n");
    let key = |paths: &[&str]| planned(&text, paths).stages.iter().find(|one| one.name.as_str() == "unit").map(|one| one.cache_material);
    assert_eq!(key(&["server.py", "src/a.py"]), key(&["server.py", "src/a.py", "README.md"]));
    assert_ne!(key(&["server.py", "src/a.py"]), key(&["server.py", "src/a.py", "src/b.py"]));
}

#[test]
fn what_this_version_cannot_do_is_refused_with_what_is_missing() {
    let text = LARGE
        .replace("base: node:22-slim", "dockerfile: Dockerfile")
        .replace("        copy: { dist: /app, package.json: /app/package.json }\n", "");
    let problems = planned_on(RevisionEvent::Push, &text, &["package.json"]).expect_err("a Dockerfile and services");
    let messages: String = problems.0.iter().map(|one| one.message.clone() + "\n").collect();
    assert!(messages.contains("BuildKit") && messages.contains("services"), "{messages}");
    assert!(problems.0.iter().all(|one| one.line > 0), "{problems}");
    let asleep = SMALL.replace("] }", "], scale: { min: 0 } }").to_string();
    assert!(planned_on(RevisionEvent::Push, &asleep, &[]).expect_err("it would sleep").to_string().contains("min: 1"));
    let bare = planned_on(RevisionEvent::Push, "version: 1\nname: hello\n", &["index.html"]).expect_err("nothing to start");
    assert!(bare.to_string().contains("command: [python3, server.py]"), "{bare}");
}

#[test]
fn mistakes_are_pointed_out_as_a_person_would() {
    let cases = [
        ("version: 1\nname: Hello\n", 2, "lower-case"),
        ("version: 1\nname: hello\nhandlr: {}\n", 3, "did you mean `handler`?"),
        ("version: 1\nname: hello\nhandler:\n\tcommand: [a]\n", 4, "spaces"),
        ("version: 1\nname: hello\nhandler: { command: python3 server.py }\n", 3, "[python3, server.py]"),
        ("version: 1\nname: hello\non: push\n", 3, "no field `on`"),
        ("version: 1\nname: hello\nname: again\n", 3, "twice"),
        ("version: 1\nname: 007\nowners: {}\n", 3, "must be a list"),
        ("version: 2\nname: hello\n", 1, "version: 1"),
        ("version: 1\nname: hello\npipeline: { uses: nod@1 }\n", 3, "did you mean `node@1`?"),
        ("version: 1\nname: hello\npipeline: { stages: { unit: { run: a, needs: [chekout] } } }\n", 3, "did you mean `checkout`?"),
        ("version: 1\nname: hello\npipeline: { stages: { a: { run: a, needs: [b] }, b: { run: b, needs: [a] } } }\n", 3, "a → b → a"),
        ("version: 1\nname: hello\npipeline: { stages: { a: { run: a, timeout: 10 } } }\n", 3, "10m"),
        ("version: 1\nname: hello\npipeline: { stages: { a: { run: a, inputs: [../x] } } }\n", 3, "leaves the folder"),
        ("version: 1\nname: hello\npipeline: { stages: { a: { run: a, inputs: [\"[x\"] } } }\n", 3, "not a glob"),
        ("version: 1\nname: hello\npipeline: { stages: { a: { run: a, when: \"event ==\" } } }\n", 3, "not a CEL expression"),
        ("version: 1\nname: hello\npipeline: { stages: { a: { run: a, when: brunch == \"x\" } } }\n", 3, "did you mean `branch`?"),
        ("version: 1\nname: hello\ntriggers: { a: { source: github } }\n", 3, "verify: none"),
        (
            "version: 1\nname: hello\ntriggers: { a: { source: github, verify: none, calendar: primary } }\n",
            3,
            "belongs to `source: google-calendar`",
        ),
        ("version: 1\nname: hello\ntriggers: { a: { source: githup, verify: none } }\n", 3, "did you mean `github`?"),
        ("version: 1\nname: hello\ntriggers: { a: { source: schedule, cron: \"0 25 * * *\" } }\n", 3, "not valid"),
        ("version: 1\nname: hello\ntriggers: { a: { source: schedule, cron: \"0 0 30 2 *\" } }\n", 3, "never fires"),
        ("version: 1\nname: hello\ntriggers: { a: { source: schedule, cron: \"0 2 * * *\", timezone: Paris } }\n", 3, "Europe/Paris"),
        ("version: 1\nname: hello\nconfig: { A: { secret: true, default: x } }\n", 3, "has a default"),
        ("version: 1\nname: hello\nconfig: { A: { type: integer, default: x } }\n", 3, "a whole number"),
        ("version: 1\nname: hello\nhandler: { port: \"80\" }\n", 3, "whole number"),
        ("version: 1\nname: hello\nenvironments: { a: {}, b: { after: c } }\n", 3, "no environment `c`"),
        ("version: 1\nname: hello\nenvironments: { a: { after: b }, b: { after: a } }\n", 3, "circle"),
        ("version: 1\nname: hello\nenvironments: { a: { promote: yes } }\n", 3, "cannot be `yes`"),
        ("version: 1\nname: hello\nhandler: { command: [a }\n", 3, "not valid YAML"),
        ("version: 1\nname: hello\n  title: x\n", 3, "not valid YAML"),
        ("- a\n", 1, "is a map"),
        ("", 0, "empty"),
    ];
    for (text, line, expected) in cases {
        let problems = refused(text);
        let shown = problems.to_string();
        assert!(shown.contains(expected), "{text}\n{shown}");
        assert!(problems.0.iter().any(|one| one.line == line), "{text}\n{shown}");
    }
}

#[test]
fn all_problems_of_a_file_come_at_once_and_are_underlined() {
    let problems = refused("version: 1\nname: Hello World\nhandlr: {}\nconfig: { A: { secret: true, default: x } }\n");
    assert_eq!(problems.0.len(), 3, "{problems}");
    let shown = problems.to_string();
    assert!(shown.contains("3 | handlr: {}\n    | ^^^^^^\n"), "{shown}");
}

#[test]
fn habits_of_other_tools_are_answered_with_our_words() {
    let cases = [
        (
            "pipeline: { stages: { t: { script: npm test, depends_on: [compile] } } }",
            &["it is called `run` here", "it is called `needs` here"][..],
        ),
        ("pipeline: { stages: [ { name: t, run: x } ] }", &["without dashes"]),
        ("pipeline: { stages: { t: { run: [a, b] } } }", &["after `|`"]),
        ("environments: { development: {}, production: { after: development, gates: { approvals: 2 } } }", &["write { count: 2 }"]),
        ("config: { TOKEN: abc }", &["write { default: abc }"]),
        ("config: { 1A: { type: string } }", &["such as `N1A`"]),
        ("on: [push]", &["it is called `triggers` here"]),
        ("triggers: { t: { source: schedule, cron: \"0 2 * * *\", filter: \"payload.x ==\" } }", &["it ends too early"]),
    ];
    for (line, helps) in cases {
        let text = format!("version: 1\nname: hello\nhandler: {{ command: [a] }}\n{line}\n");
        let problems = parse(&text, "webhook.yaml").expect_err(line).to_string();
        for help in helps {
            assert!(problems.contains(help), "{line}:\n{problems}");
        }
    }
}

#[test]
fn on_yes_no_and_off_are_texts() {
    let spec = spec(&format!("{SMALL}config: {{ A: {{ default: on }}, B: {{ default: no }}, C: {{ default: 1.10 }} }}\n"));
    let defaults: Vec<_> = spec.config.values().filter_map(|entry| entry.default.as_deref()).collect();
    assert_eq!(defaults, ["on", "no", "1.10"]);
}

#[test]
fn bombs_and_giants_are_refused() {
    let mut bomb = String::from("version: 1\nname: hello\na0: &a0 [x, x]\n");
    for level in 1..40 {
        bomb.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1));
    }
    refused(&bomb);
    refused(&format!("version: 1\nname: {}", "[".repeat(5000)));
    refused(&format!("version: 1\nname: hello\ntitle: {}", "x".repeat(300_000)));
    refused(&format!("version: 1\nname: hello\nowners: [{}]", "a,".repeat(30_000)));
}

#[test]
fn expressions_are_bounded() {
    for expression in
        ["(".repeat(500), "!".repeat(900), "-".repeat(900), "a.b".repeat(400), "1+".repeat(500), "a?".repeat(400), "a[".repeat(20)]
    {
        refused(&format!("{SMALL}pipeline: {{ stages: {{ a: {{ run: a, when: '{expression}' }} }} }}\n"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutation_of_the_large_example_panics(from in 0_usize..4000, length in 0_usize..40, insert in "[ -~\\n\\t{}\\[\\]&*!|>\"']{0,8}") {
        let characters: Vec<char> = LARGE.chars().collect();
        let from = from.min(characters.len());
        let to = (from + length).min(characters.len());
        let text: String = characters[..from].iter().copied().chain(insert.chars()).chain(characters[to..].iter().copied()).collect();
        if let Err(problems) = parse(&text, "webhook.yaml") {
            prop_assert!(!problems.0.is_empty() && problems.0.len() <= 100);
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn no_generated_text_panics(lines in prop::collection::vec("( {0,6})(version|name|handler|pipeline|stages|needs|run|when|config|environments|after|gates|windows|a|\\*a|&a|<<)?(: |: \\[|: \\{|- |\\}|\\])?([ -~é]{0,12})", 0..20)) {
        let text = lines.join("\n");
        if let Ok(spec) = parse(&text, "webhook.yaml") {
            let (files, changed, presets) = (files(&["server.py"]), Vec::new(), BTreeMap::new());
            let request = PlanRequest { spec: &spec, file: "a/webhook.yaml", text: &text, files: &files, event: RevisionEvent::Tag, branch: None, tag: Some("v1"), changed: &changed, default_branch: None, presets: &presets };
            drop(plan(request));
        }
    }
}

#[test]
fn fields_to_redact_are_named_below_the_payload() {
    let with = |redact: &str| format!("{SMALL}triggers:\n  issues:\n    source: github\n    verify: none\n    redact: {redact}\n");
    let read = spec(&with("[payload.user.email, payload.items.*.card]"));
    let paths: Vec<String> = read.triggers.values().flat_map(|trigger| &trigger.redact).map(ToString::to_string).collect();
    assert_eq!(paths, ["payload.user.email", "payload.items.*.card"]);
    let problems = refused(&with("[user.email, payload..x]"));
    assert_eq!(problems.0.len(), 2, "{problems}");
    assert!(problems.0[0].help.contains("write payload.user.email") && problems.0[0].column == 14, "{problems}");
}

const MINE: &str = r#"name: mine
title: Our shop
verify:
  - hmac: { headers: [X-Shop-Signature], prefix: "v1=", message: "{timestamp}.{body}", timestamps: [X-Shop-Time] }
kind: [{ field: /type }]
id: [{ header: X-Shop-Delivery }]
example_headers: { X-Shop-Delivery: "{id}" }
events:
  order.paid: '{"type":"order.paid","order":{"number":7}}'
  order.sent: '{"type":"order.sent","order":{"number":7}}'
"#;

fn beside(trigger: &str, files: &[(&str, &str)]) -> Result<Spec, Problems> {
    let mut sources = SourceFiles::default();
    let text = format!("{SMALL}config:\n  KEY: {{ type: string, secret: true }}\ntriggers:\n  orders: {{ {trigger} }}\n");
    for (name, content) in files {
        sources.add(&format!("{name}.yaml"));
        if sources.wanted(&text).contains(&(*name).to_owned()) {
            sources.set(name, (*content).to_owned());
        }
    }
    parse_beside(&text, "shop/webhook.yaml", &sources)
}

#[test]
fn a_repository_brings_its_own_event_source_and_it_becomes_part_of_the_spec() {
    let spec = beside("source: mine, secret: KEY, events: [order.paid]", &[("mine", MINE), ("unused", "nonsense: [")]).expect("valid");
    assert_eq!(spec.sources.keys().collect::<Vec<_>>(), ["mine"], "what no trigger names is not even read");
    assert_eq!(spec.sources["mine"]["verify"][0]["hmac"]["timestamps"][0], "X-Shop-Time");
    let stored = serde_json::to_string(&spec).expect("a spec is JSON");
    assert_eq!(serde_json::from_str::<Spec>(&stored).expect("it reads back"), spec);
    for events in ["order", "order.*", "\"*\""] {
        assert!(beside(&format!("source: mine, secret: KEY, events: [{events}]"), &[("mine", MINE)]).is_ok(), "{events}");
    }
}

#[test]
fn a_mistyped_event_is_pointed_at_where_every_event_of_the_source_is_known() {
    let of = |source: &str, events: &str| beside(&format!("source: {source}, verify: none, events: [{events}]"), &[]);
    for (source, events, says) in [
        ("github", "issues.openned", "did you mean `issues.opened`?"),
        ("github", "issues.opened, pul_request", "did you mean `pull_request`?"),
        ("stripe", "invoice.payed", "did you mean `invoice.paid`?"),
        ("google-calendar", "exist", "did you mean `exists`?"),
    ] {
        let problems = of(source, events).expect_err(events).0;
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        let mistyped = events.rsplit(' ').next().unwrap_or(events);
        assert!(problem.message.contains(&format!("no event `{mistyped}`")) && problem.help == says, "{problem}");
        let column = problem.excerpt.find(mistyped).expect("its line") + 1;
        assert_eq!(problem.column as usize, column, "{problem}");
    }
    for (source, events) in [
        ("github", "push, issues, pull_request.*, repository_dispatch.deploy, \"*\""),
        ("slack", "whatever.slack_says"),
        ("gitlab", "work_item"),
        ("cloudevents", "com.example.shop"),
        ("standard-webhooks", "user.created"),
        ("shopify", "orders/create"),
    ] {
        assert!(of(source, events).is_ok(), "{source}: {events}");
    }
}

#[test]
fn what_a_trigger_says_of_its_repositorys_own_source_is_checked_against_it() {
    let said = |trigger: &str, files: &[(&str, &str)]| beside(trigger, files).expect_err(trigger).to_string();
    let text = said("source: mine, secret: KEY, events: [order.payed]", &[("mine", MINE)]);
    assert!(text.contains("no event `order.payed`") && text.contains("did you mean `order.paid`?"), "{text}");
    let text = said("source: mien, secret: KEY", &[("mine", MINE)]);
    assert!(text.contains("did you mean `mine`?"), "{text}");
    let text = said("source: warehouse, secret: KEY", &[]);
    assert!(text.contains("describe your own in triggers/warehouse.yaml"), "{text}");
    let text = said("source: github, secret: KEY", &[("github", MINE)]);
    assert!(text.contains("comes with Hookwright"), "{text}");
    let text = said("source: mine", &[("mine", MINE)]);
    assert!(text.contains("has no `secret`"), "{text}");
    let open = MINE.replace(
        "verify:\n  - hmac: { headers: [X-Shop-Signature], prefix: \"v1=\", message: \"{timestamp}.{body}\", timestamps: [X-Shop-Time] }\n",
        "",
    );
    let text = said("source: mine, secret: KEY", &[("mine", &open)]);
    assert!(text.contains("does not say how its events are verified"), "{text}");
    assert!(beside("source: mine, verify: none", &[("mine", &open)]).is_ok(), "said aloud it may be");
}

#[test]
fn mistakes_in_an_own_source_are_shown_where_they_stand_all_at_once() {
    let wrong = r#"name: other
titel: Our shop
verify:
  - hmac: { headers: X-Signature, message: "{timestamp}", encoding: hexx }
  - hmac: { headers: [X-Sig], message: "{id}.{body}" }
  - hmac: { headers: [X-Sig], timestamps: [X-Time] }
  - token: { heder: "X Token" }
kind: [{ field: type }]
registration: { api: "http://169.254.169.254" }
events:
  order.paid: '{"type":'
"#;
    let problems = beside("source: mine, secret: KEY", &[("mine", wrong)]).expect_err("wrong");
    let text = problems.to_string();
    for expected in [
        "triggers/mine.yaml:1:7: the name is not that of the file",
        "triggers/mine.yaml:2:1: the event source has no field `titel`",
        "did you mean `title`?",
        "must be a list, but this is a text",
        "does not have `{body}` once",
        "`encoding` cannot be `hexx`",
        "nothing says where it stands",
        "whoever repeats an event could change it",
        "has no field `heder`",
        "write /type",
        "triggers/mine.yaml:9:1: a repository's own event source has no `registration`: the daemon calls nobody for it",
        "the example is no JSON",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(problems.0.iter().all(|problem| problem.file == "shop/triggers/mine.yaml" && problem.line > 0), "{text}");
}

#[test]
fn an_own_source_is_small_and_shallow() {
    let large = format!("{MINE}manual: '{}'\n", "x".repeat(70_000));
    assert!(beside("source: mine, secret: KEY", &[("mine", &large)]).expect_err("large").to_string().contains("64 KiB"));
    let deep = format!("{MINE}shapes: {}{}\n", "[".repeat(200), "]".repeat(200));
    assert!(beside("source: mine, secret: KEY", &[("mine", &deep)]).expect_err("deep").to_string().contains("not valid YAML"));
    let bomb = "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d, *d, *d, *d, *d]\n";
    assert!(beside("source: mine, secret: KEY", &[("mine", bomb)]).is_err());
}
