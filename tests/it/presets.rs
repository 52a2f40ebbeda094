//! The presets with their real toolchains: each example is compiled, tested, packed and answers.

use std::path::Path;

use hookwright_testkit::{Daemon, WorkingCopy};

const BINARY: &str = env!("CARGO_BIN_EXE_hookwright");

/// Where Debian keeps Maven plugins and libraries, so that nothing is downloaded.
const DEBIAN_MAVEN: &str = "/usr/share/maven-repo";

fn example(name: &str) -> WorkingCopy {
    WorkingCopy::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name))
}

fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Pushes it and waits for the answer; `stages` must have run and succeeded.
async fn answers(copy: &WorkingCopy, name: &str, path: &str, needle: &str, stages: &[&str]) {
    let daemon = Daemon::start(BINARY).await;
    copy.push(&daemon, name);
    let run = daemon.run_ended(name, 1).await;
    let id = run["id"].as_str().expect("an id");
    assert_eq!(run["status"], "succeeded", "{run}\n{}", daemon.stage_logs(id).await);
    let run = daemon.get(&format!("/api/v1/runs/{id}")).await;
    for wanted in stages {
        let status = run["stages"].as_array().and_then(|stages| stages.iter().find(|stage| stage["stage"] == *wanted).cloned());
        assert_eq!(status.expect("a row")["status"], "succeeded", "{wanted}: {run}");
    }
    let (status, text) = daemon.call(name, "development", path).await;
    assert!(status == 200 && text.contains(needle), "{status} {text}");
}

#[tokio::test]
async fn a_go_module_is_built_tested_and_answers() {
    if !has("go") {
        eprintln!("skipped: go is not installed");
        return;
    }
    answers(&example("hello-go"), "hello-go", "/", "Hello from Go in development", &["compile", "test", "image"]).await;
}

#[tokio::test]
async fn a_maven_project_is_built_tested_and_answers() {
    if !has("mvn") || !Path::new(DEBIAN_MAVEN).is_dir() {
        eprintln!("skipped: maven is not installed");
        return;
    }
    let copy = example("hello-java");
    let mirror = format!("<mirror><id>debian</id><mirrorOf>*</mirrorOf><url>file://{DEBIAN_MAVEN}</url></mirror>");
    copy.write(".mvn/settings.xml", &format!("<settings><mirrors>{mirror}</mirrors></settings>\n"))
        .write(".mvn/maven.config", "-s\n.mvn/settings.xml\n")
        .commit("Take plugins from this machine");
    answers(&copy, "hello-java", "/", "Hello from Java in development", &["compile", "test", "image"]).await;
}

#[tokio::test]
async fn a_folder_of_files_is_served() {
    answers(&example("hello-static"), "hello-static", "/", "Hello from files alone", &["image"]).await;
}

#[tokio::test]
async fn a_rust_crate_is_built_tested_and_answers() {
    answers(&example("hello-rust"), "hello-rust", "/", "Hello from Rust in development", &["compile", "test", "image"]).await;
}

#[tokio::test]
async fn a_node_project_is_tested_and_answers() {
    if !has("node") || !has("npm") {
        eprintln!("skipped: node is not installed");
        return;
    }
    answers(&example("hello-node"), "hello-node", "/", "Hello from Node in development", &["test", "image"]).await;
}

#[tokio::test]
async fn a_node_project_with_a_dependency_brings_it_along() {
    if !has("node") || !has("npm") {
        eprintln!("skipped: node is not installed");
        return;
    }
    let copy = example("hello-node");
    copy.write("greeter/package.json", "{ \"name\": \"greeter\", \"version\": \"1.0.0\", \"main\": \"index.js\" }\n")
        .write("greeter/index.js", "module.exports = \"a dependency greets\";\n")
        .edit("package.json", "\"private\": true,", "\"private\": true,\n  \"dependencies\": { \"greeter\": \"file:./greeter\" },")
        .edit("server.js", "Hello from Node", "${require(\"greeter\")}: Hello from Node")
        .commit("Use a dependency");
    answers(&copy, "hello-node", "/", "a dependency greets", &["compile", "test", "image"]).await;
}

#[tokio::test]
async fn a_python_project_with_requirements_brings_them_along() {
    let copy = example("hello-python");
    copy.write("requirements.txt", "./greeter\n")
        .write("greeter/pyproject.toml", "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\n[project]\nname = \"greeter\"\nversion = \"1.0.0\"\n")
        .write("greeter/backend.py", BACKEND)
        .edit("server.py", "import os\n", "import os\n\nimport greeter\n")
        .edit("server.py", "Hello from Python", "{greeter.TEXT}: Hello from Python")
        .commit("Use a dependency");
    answers(&copy, "hello-python", "/", "a requirement greets", &["compile", "image"]).await;
}

/// The smallest build backend (PEP 517), so that nothing is downloaded.
const BACKEND: &str = r#"import os
import zipfile


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "greeter-1.0.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("greeter.py", "TEXT = 'a requirement greets'\n")
        wheel.writestr("greeter-1.0.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0.0\n")
        wheel.writestr("greeter-1.0.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("greeter-1.0.0.dist-info/RECORD", "greeter.py,,\n")
    return name
"#;
