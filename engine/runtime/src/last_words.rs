//! What of the end of a handler's log tells why it ended: the line that names the error, and the last lines. A stack is longer than what is shown, and
//! some languages write it behind the error, so that the last lines alone are the least that can be said of it.

/// So many lines are looked through.
pub(crate) const LOOKED_THROUGH: usize = 80;
/// So many of them are shown, each cut after so many characters.
const SHOWN_LINES: usize = 5;
const SHOWN_CHARACTERS: usize = 200;

/// The end of a log, oldest line first, as part of a sentence; empty when there is nothing.
pub(crate) fn last_words(lines: &[String]) -> String {
    let error = error(lines);
    let mut shown: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.trim().is_empty()).collect();
    shown.drain(..shown.len().saturating_sub(SHOWN_LINES));
    match error {
        Some(error) => {
            shown.retain(|line| *line != error);
            format!("; its error: {}{}", cut(error), told(&shown))
        }
        None => told(&shown),
    }
}

fn told(lines: &[&str]) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!("; its last lines: {}", lines.iter().map(|line| cut(line)).collect::<Vec<_>>().join(" | "))
    }
}

fn cut(line: &str) -> String {
    line.trim().chars().take(SHOWN_CHARACTERS).collect()
}

/// The last line that names an error.
fn error(lines: &[String]) -> Option<&str> {
    let mut found = None;
    let mut in_traceback = false;
    let mut of_panic = false;
    for line in lines {
        let is_indented = line.starts_with([' ', '\t']);
        if of_panic && !line.trim().is_empty() {
            // Rust writes the place first and what it is behind it.
            (found, of_panic) = (Some(line.as_str()), false);
        } else if line.starts_with("Traceback (most recent call last)") {
            in_traceback = true;
        } else if in_traceback && !is_indented && !line.trim().is_empty() {
            (found, in_traceback) = (Some(line.as_str()), false);
        } else if line.starts_with("thread '") && line.contains(" panicked at ") {
            (found, of_panic) = (Some(line.as_str()), true);
        } else if !is_indented && names_an_error(line) {
            found = Some(line);
        }
    }
    found
}

/// Whether a line begins with the name of an error, as `KeyError: 'PORT'`, `java.lang.IllegalStateException: no` or `panic: no` do.
fn names_an_error(line: &str) -> bool {
    let rest = ["Uncaught ", "Caused by: "].iter().find_map(|before| line.strip_prefix(before)).unwrap_or(line);
    if ["panic: ", "fatal error: ", "Exception in thread "].iter().any(|begin| rest.starts_with(begin)) {
        return true;
    }
    let name = rest.split([':', ' ']).next().unwrap_or_default();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '$'));
    is_name && rest[name.len()..].trim_start().starts_with([':', '[']) && ["Error", "Exception"].iter().any(|end| name.ends_with(end))
        || rest.starts_with("Error: ")
}

#[cfg(test)]
mod tests {
    use super::last_words;

    fn of(text: &str) -> String {
        last_words(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_exception_is_told_wherever_a_language_writes_it() {
        let python = "starting\nTraceback (most recent call last):\n  File \"/app/server.py\", line 3, in <module>\n    import flask\n\
                      ModuleNotFoundError: No module named 'flask'";
        assert!(
            of(python).starts_with("; its error: ModuleNotFoundError: No module named 'flask'; its last lines: starting | Traceback"),
            "{}",
            of(python)
        );
        let custom =
            "Traceback (most recent call last):\n  File \"a.py\", line 1\n    raise Stop\nshop.Stop\n".to_owned() + &"bye\n".repeat(9);
        assert!(of(&custom).starts_with("; its error: shop.Stop; its last lines: bye | "), "{}", of(&custom));
        let node = "/app/server.js:3\nthrow new TypeError(\"boom\")\n^\n\nTypeError: boom\n    at Object.<anonymous> (/app/server.js:3:7)\n"
            .to_owned()
            + &"    at Module._compile (node:internal/modules:1)\n".repeat(8) + "\nNode.js v22.1.0";
        assert!(of(&node).starts_with("; its error: TypeError: boom; its last lines: at Module"), "{}", of(&node));
        assert!(of(&node).ends_with(" | Node.js v22.1.0"), "{}", of(&node));
        let coded = "node:events:498\nError [ERR_X]: listen EADDRINUSE\n".to_owned() + &"    at x\n".repeat(7);
        assert!(of(&coded).starts_with("; its error: Error [ERR_X]: listen EADDRINUSE;"), "{}", of(&coded));
        let java = "Exception in thread \"main\" java.lang.IllegalStateException: no\n".to_owned()
            + &"\tat shop.Main.main(Main.java:7)\n".repeat(9);
        assert!(of(&java).starts_with("; its error: Exception in thread \"main\" java.lang.IllegalStateException: no;"), "{}", of(&java));
        let rust = "thread 'main' (7) panicked at src/main.rs:2:5:\nno port\nnote: run with `RUST_BACKTRACE=1`";
        assert!(of(rust).starts_with("; its error: no port;"), "{}", of(rust));
        let go = "panic: no port\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:5 +0x1d\nexit status 2\nend";
        assert!(of(go).starts_with("; its error: panic: no port;"), "{}", of(go));
    }

    #[test]
    fn without_an_error_the_last_lines_are_told_and_the_last_of_several_errors_counts() {
        assert_eq!(of(""), "");
        assert_eq!(of("a\n\nb"), "; its last lines: a | b");
        assert_eq!(of("KeyError: 'PORT'"), "; its error: KeyError: 'PORT'");
        assert_eq!(of("errors: 0\nError rate is low"), "; its last lines: errors: 0 | Error rate is low");
        assert!(of("ValueError: first\nmore\nKeyError: 'second'\nend").starts_with("; its error: KeyError: 'second';"));
        assert_eq!(of(&"x".repeat(999)).len(), "; its last lines: ".len() + 200);
    }
}
