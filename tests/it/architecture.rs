//! Holds the dependency edges between the crates against the allowed ones of `engine/README.md`.

use std::collections::BTreeMap;
use std::process::Command;

/// Crate → the crates of ours it may use outside development.
const ALLOWED: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("spec", &["core"]),
    ("store", &["core"]),
    ("source", &["core"]),
    ("image", &["core"]),
    ("runtime", &["core"]),
    ("control", &["core", "spec", "store"]),
    ("trigger", &["core"]),
    ("identity", &["core"]),
    ("gateway", &["core", "spec", "store", "trigger"]),
    ("web", &["core", "spec", "store", "control"]),
    ("cli", &["core", "spec", "store", "source", "image", "runtime", "control", "gateway", "trigger", "identity", "web"]),
    ("testkit", &[]),
    ("bench", &["core", "store", "testkit"]),
];

/// Libraries that belong to one crate alone.
const PRIVATE: &[(&str, &[&str])] = &[
    ("sqlx", &["store"]),
    ("clap", &["cli", "bench"]),
    ("axum", &["gateway", "web", "cli"]),
    ("utoipa", &["web"]),
    ("prometheus", &["web"]),
    ("jsonwebtoken", &["identity"]),
];

fn edges() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let normal = dependencies.iter().filter(|dependency| dependency["kind"].is_null());
            let names = normal.filter_map(|dependency| dependency["name"].as_str()).map(str::to_owned).collect();
            (package["name"].as_str().expect("a name").to_owned(), names)
        })
        .collect()
}

#[test]
fn crates_depend_only_on_the_crates_below_them() {
    let edges = edges();
    for (name, allowed) in ALLOWED {
        let Some(used) = edges.get(&format!("hookwright-{name}")) else { panic!("the crate `{name}` is gone; mend the table") };
        for used in used.iter().filter_map(|used| used.strip_prefix("hookwright-")) {
            assert!(allowed.contains(&used), "`{name}` must not use `{used}`");
        }
    }
    assert_eq!(edges.len(), ALLOWED.len() + 1, "a crate is missing from the table");
}

#[test]
fn heavy_libraries_stay_in_the_crates_that_own_them() {
    for (package, used) in edges() {
        for (library, owners) in PRIVATE {
            if used.iter().any(|name| name == library) {
                assert!(owners.iter().any(|owner| package == format!("hookwright-{owner}")), "`{package}` must not use `{library}`");
            }
        }
    }
}
