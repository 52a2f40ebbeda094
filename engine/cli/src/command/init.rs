//! `init`: a first webhook.yaml for the files that are there. What is guessed from which file is said in it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::local::FILE;
use crate::output::say;

/// Files of Node.js and of Python that are started, the likeliest first.
const NODE: [&str; 4] = ["server.js", "index.js", "app.js", "main.js"];
const PYTHON: [&str; 4] = ["server.py", "app.py", "main.py", "handler.py"];

/// How a webhook is started, and why that is assumed.
struct Guess {
    command: String,
    why: String,
    /// A preset that the files alone do not call for.
    preset: Option<&'static str>,
}

/// Writes a first webhook.yaml; one that exists is never touched.
pub(crate) fn init(folder: &Path) -> Result<ExitCode> {
    let path = folder.join(FILE);
    if path.exists() {
        bail!("`{}` exists already; `hookwright validate` checks it", path.display());
    }
    let name = folder.canonicalize().ok().and_then(|folder| Some(label(&folder.file_name()?.to_string_lossy()))).unwrap_or_default();
    let name = if name.is_empty() { "my-webhook".to_owned() } else { name };
    std::fs::write(&path, text(&name, &guess(folder))).with_context(|| format!("cannot write `{}`", path.display()))?;
    say!("wrote `{}`; look at it, then `hookwright plan`", path.display());
    Ok(ExitCode::SUCCESS)
}

fn text(name: &str, guess: &Guess) -> String {
    let Guess { command, why, preset } = guess;
    let pipeline = preset.map(|preset| format!("pipeline: {{ uses: {preset} }}\n")).unwrap_or_default();
    format!(
        "version: 1\nname: {name}\n{pipeline}handler:\n  # Assumed, {why}. It listens on 127.0.0.1, port $PORT; its folder is /app.\n  command: {command}\n"
    )
}

/// The DNS label that is nearest to a text.
fn label(text: &str) -> String {
    let text: String = text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let text: String = text.trim_matches('-').chars().take(63).collect();
    text.trim_matches('-').to_owned()
}

fn guess(folder: &Path) -> Guess {
    let has = |file: &str| folder.join(file).is_file();
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    let first = |names: &[&'static str]| names.iter().copied().find(|name| has(name));
    let made = |command: String, why: String| Guess { command, why, preset: None };
    if has("Cargo.toml") {
        let name = value_behind(&read("Cargo.toml"), "name").unwrap_or_else(|| "my-webhook".to_owned());
        return made(format!("[{}]", quoted(&format!("/app/{name}"))), "from the package that `Cargo.toml` names".to_owned());
    }
    if has("go.mod") {
        let module = read("go.mod").lines().find_map(|line| line.strip_prefix("module ").map(|name| name.trim().to_owned()));
        let name = module.and_then(|module| module.rsplit('/').next().map(str::to_owned)).unwrap_or_else(|| "my-webhook".to_owned());
        return made(format!("[{}]", quoted(&format!("/app/{name}"))), "from the module that `go.mod` names".to_owned());
    }
    if has("pom.xml") {
        let pom = read("pom.xml");
        let within = |tag: &str| Some(pom.split_once(&format!("<{tag}>"))?.1.split_once('<')?.0.trim().to_owned());
        let name = within("finalName").or_else(|| within("artifactId")).unwrap_or_else(|| "my-webhook".to_owned());
        return made(format!("[java, -jar, {}]", quoted(&format!("{name}.jar"))), "from what `pom.xml` calls its jar".to_owned());
    }
    if has("package.json") {
        let package: serde_json::Value = serde_json::from_str(&read("package.json")).unwrap_or_default();
        if package["scripts"]["start"].is_string() {
            return made("[npm, start]".to_owned(), "from the script `start` of `package.json`".to_owned());
        }
        let main = package["main"].as_str().filter(|main| has(main)).map(|main| (main.to_owned(), "what `package.json` calls `main`"));
        let main = main.or_else(|| first(&NODE).map(|file| (file.to_owned(), "the file of that name")));
        let (file, why) = main.unwrap_or_else(|| ("server.js".to_owned(), "`package.json`, and no file that could be it"));
        return made(format!("[node, {}]", quoted(&file)), format!("from {why}"));
    }
    if let Some(file) = first(&PYTHON) {
        return made(format!("[python3, {file}]"), format!("from `{file}`"));
    }
    if let Some(file) = first(&NODE) {
        return Guess { preset: Some("node@1"), ..made(format!("[node, {file}]"), format!("from `{file}`")) };
    }
    for (file, place) in [("public/index.html", "public"), ("index.html", ".")] {
        if has(file) {
            let server = format!("[sh, -c, \"exec python3 -m http.server $PORT --bind 127.0.0.1 --directory {place}\"]");
            return made(server, format!("from `{file}`: files that are served as they are"));
        }
    }
    made("[python3, server.py]".to_owned(), "for want of a file that could be started: write `server.py`, or another command".to_owned())
}

/// A word as YAML takes it in a list, whatever stands in it.
fn quoted(word: &str) -> String {
    let begins = word.starts_with(|c: char| c.is_ascii_alphabetic() || "/.".contains(c));
    if begins && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        return word.to_owned();
    }
    serde_json::Value::from(word).to_string()
}

/// The text behind the first `key = "` of a TOML file.
fn value_behind(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, content).expect("writable");
        }
        let text = text("shop", &guess(folder.path()));
        assert!(hookwright_spec::parse(&text, FILE).is_ok(), "{text}");
        text
    }

    #[test]
    fn what_starts_a_webhook_is_read_from_its_files_and_said() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("server.js", "")], "command: [node, server.js]"),
            (&[("app.py", "")], "command: [python3, app.py]"),
            (&[("package.json", r#"{"scripts":{"start":"node x"}}"#)], "command: [npm, start]"),
            (&[("package.json", r#"{"main":"lib/a b.js"}"#), ("lib/a b.js", "")], r#"command: [node, "lib/a b.js"]"#),
            (&[("package.json", "{}"), ("index.js", "")], "command: [node, index.js]"),
            (&[("Cargo.toml", "[package]\nname = \"till\"\n")], "command: [/app/till]"),
            (&[("go.mod", "module example.com/acme/till\n\ngo 1.19\n")], "command: [/app/till]"),
            (&[("pom.xml", "<artifactId>a</artifactId><build><finalName>till</finalName></build>")], "command: [java, -jar, till.jar]"),
            (&[("public/index.html", "")], "--directory public"),
            (&[], "command: [python3, server.py]"),
        ];
        for (files, command) in cases {
            let text = written(files);
            assert!(text.contains(command) && text.contains("# Assumed, f"), "{files:?}: {text}");
        }
        assert!(written(&[("server.js", "")]).contains("uses: node@1"), "without package.json the preset is not found by itself");
    }
}
