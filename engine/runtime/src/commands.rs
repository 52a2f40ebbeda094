//! Says in the log which command of a script begins, so that readers fold a long log by command.
//!
//! Before each command of a script with several the shell is made to print a mark, and the supervisor makes a remark `$ npm ci` of it. The marks
//! change nothing else: `$?` reaches the next command as it was, `-e` ends the script as before, lines keep their numbers. A script whose
//! commands cannot be told apart for certain (a document within it, redirected output, unusual quoting) is left as it is, and so is one that the
//! shell would not read with its marks.

use std::process::{Command, Stdio};

/// What a mark begins and ends with: a sequence that terminals skip, and that no program prints by accident.
const BEGIN: &str = "\u{1b}]hookwright;";
const END: &str = "\u{1b}\\";

/// What is shown of a command, in characters.
const SHOWN: usize = 200;

/// Longer scripts are left as they are.
const LONGEST: usize = 64 << 10;

/// Prints a mark and hands `$?` on. In `f && :` a failure neither ends the script nor is lost.
const PROLOGUE: &str = r#"__hookwright() { printf '\033]hookwright;%s\033\\\n' "$1"; return "$2"; }; "#;

/// The script with its marks, or as it is.
pub(crate) fn marked(script: &str) -> String {
    let Some(commands) = commands(script).filter(|commands| commands.len() > 1) else { return script.to_owned() };
    let mut text = PROLOGUE.to_owned();
    let mut at = 0;
    for (start, name) in commands {
        text.push_str(&script[at..start]);
        text.push_str(&format!("__hookwright '{}' \"$?\" && :; ", name.replace('\'', r"'\''")));
        at = start;
    }
    text.push_str(&script[at..]);
    if is_readable(&text) { text } else { script.to_owned() }
}

/// Whether the shell reads it.
fn is_readable(script: &str) -> bool {
    let shell = Command::new("sh").args(["-n", "-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    shell.is_ok_and(|status| status.success())
}

/// What stood before a mark in a line, and the command that it names.
pub(crate) fn unmarked(line: &str) -> Option<(&str, &str)> {
    let (before, rest) = line.split_once(BEGIN)?;
    Some((before, rest.strip_suffix(END)?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Single,
    Double,
    Backtick,
    /// `$( … )` or `( … )`.
    Parentheses,
    /// `${ … }`.
    Parameter,
}

/// Where each command of the outermost level begins, with its first line; `None` when that is not certain.
fn commands(script: &str) -> Option<Vec<(usize, String)>> {
    let risky = ["<<", "$'", "xtrace", "set -x", "set -v", "verbose", "__hookwright", "\0", "\r"];
    if script.len() > LONGEST || risky.iter().any(|word| script.contains(word)) {
        return None;
    }
    // `exec` with a redirection: from there on a mark would go where the output goes.
    let redirects = |at: usize| script[at..].trim_start_matches([' ', '\t']).starts_with(|c: char| c.is_ascii_digit() || "<>&".contains(c));
    if script.match_indices("exec").any(|(at, word)| redirects(at + word.len())) {
        return None;
    }
    let mut scan = Scan::default();
    let mut found = Vec::new();
    let mut start = 0;
    for line in script.split_inclusive('\n') {
        let begins = scan.within.is_empty() && scan.depth == 0 && !scan.joined;
        let text = line.trim();
        if begins && !text.is_empty() && !text.starts_with('#') {
            let name: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
            found.push((start + line.len() - line.trim_start().len(), name));
        }
        scan.line(line)?;
        start += line.len();
    }
    (scan.within.is_empty() && scan.depth == 0).then_some(found)
}

#[derive(Default)]
struct Scan {
    within: Vec<Within>,
    /// How many of `if`, `for`, `while`, `until`, `case` and `{` are open.
    depth: u32,
    /// The next line goes on with the command of this one.
    joined: bool,
    word: String,
    /// Whether a word here would be a command's name or a word of the shell.
    commanding: bool,
}

impl Scan {
    fn line(&mut self, line: &str) -> Option<()> {
        if !self.joined && self.within.is_empty() {
            self.commanding = true;
        }
        let (mut characters, mut escaped, mut last) = (line.trim_end_matches('\n').chars().peekable(), false, ' ');
        while let Some(c) = characters.next() {
            if std::mem::take(&mut escaped) {
                self.word.push(c);
                last = c;
                continue;
            }
            match (self.within.last().copied(), c) {
                (Some(Within::Single), '\'') => drop(self.within.pop()),
                (Some(Within::Single), _) => {}
                (_, '\\') => {
                    escaped = true;
                    self.word.push(c);
                }
                (Some(Within::Double), '"') | (Some(Within::Backtick), '`') | (Some(Within::Parameter), '}') => drop(self.within.pop()),
                (_, '$') if characters.peek() == Some(&'(') => {
                    characters.next();
                    self.within.push(Within::Parentheses);
                    self.word.push('$');
                }
                (_, '$') if characters.peek() == Some(&'{') => {
                    characters.next();
                    self.within.push(Within::Parameter);
                    self.word.push('$');
                }
                (_, '`') => {
                    // Nested without its own way of writing it: which is which is not certain.
                    if self.within.contains(&Within::Backtick) {
                        return None;
                    }
                    self.within.push(Within::Backtick);
                    self.word.push(c);
                }
                (Some(Within::Double), _) => {}
                (_, '"') => {
                    self.within.push(Within::Double);
                    self.word.push(c);
                }
                (Some(Within::Parameter), '\'') => return None,
                (Some(Within::Parameter), _) => {}
                (_, '\'') => {
                    self.within.push(Within::Single);
                    self.word.push(c);
                }
                (_, '#') if self.word.is_empty() && !last.is_alphanumeric() && last != '$' => break,
                (None, '(') if self.word.is_empty() || characters.peek() == Some(&')') => {
                    self.end_word()?;
                    self.within.push(Within::Parentheses);
                }
                (Some(Within::Parentheses | Within::Backtick), '(') => self.within.push(Within::Parentheses),
                (Some(Within::Parentheses), ')') => {
                    self.within.pop();
                    if self.within.is_empty() && self.word.is_empty() {
                        self.commanding = true;
                    }
                }
                (_, '(' | ')') => return None,
                (None, ';' | '&' | '|') => {
                    self.end_word()?;
                    self.commanding = true;
                }
                (None, c) if c.is_whitespace() => self.end_word()?,
                (None, c) => self.word.push(c),
                (Some(_), _) => {}
            }
            last = c;
        }
        if self.within.is_empty() {
            self.end_word()?;
        }
        let code = line.trim_end();
        self.joined = escaped || ["&&", "||", "|"].iter().any(|joint| code.ends_with(joint));
        // A comment behind a joint hides it.
        if !self.joined && code.contains('#') && ["&&", "|"].iter().any(|joint| code.contains(joint)) {
            let before = code.split('#').next().unwrap_or_default().trim_end();
            self.joined = before.ends_with("&&") || before.ends_with('|');
        }
        Some(())
    }

    /// A word has ended; `None` when more is closed than was opened.
    fn end_word(&mut self) -> Option<()> {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() || !self.commanding {
            return Some(());
        }
        match word.as_str() {
            "if" | "while" | "until" | "{" => self.depth += 1,
            "for" | "case" => {
                self.depth += 1;
                self.commanding = false;
            }
            "fi" | "done" | "esac" | "}" => {
                self.depth = self.depth.checked_sub(1)?;
                self.commanding = false;
            }
            "then" | "do" | "else" | "elif" | "!" => {}
            // Before a command and not its name.
            word if word.contains('=') => {}
            _ => self.commanding = false,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(script: &str) -> Option<Vec<String>> {
        commands(script).map(|found| found.into_iter().map(|(_, name)| name).collect())
    }

    fn run(script: &str) -> (Option<i32>, String) {
        let output = Command::new("sh").args(["-ec", script]).output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    /// What a script prints without its marks.
    fn without_marks(text: &str) -> String {
        text.lines().filter(|line| unmarked(line).is_none_or(|(before, _)| !before.is_empty())).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn commands_of_the_outermost_level_are_told_apart() {
        let script = "npm ci\n# don't\n\nif true; then\n  echo a\nfi\nfor x in 1 2; do\n  echo $x # done\ndone\na &&\n  b\nlong \\\n  line\necho 'x\ny' \"$(c\nd)\"\nlast";
        let wanted = ["npm ci", "if true; then", "for x in 1 2; do", "a &&", "long \\", "echo 'x", "last"];
        assert_eq!(names(script).as_deref(), Some(wanted.map(str::to_owned).as_slice()));
        assert_eq!(names("f() {\n  a\n}\nf\n").map(|found| found.len()), Some(2));
    }

    #[test]
    fn what_is_not_certain_is_left_alone() {
        for script in [
            "cat <<X\na\nX\nb",
            "exec >log\na",
            "exec  3>&1\na",
            "case $1 in\na) b;;\nesac\nc",
            "echo 'open\nb",
            "done\na",
            "set -x\na\nb",
            "one",
        ] {
            assert_eq!(marked(script), script);
        }
    }

    #[test]
    fn a_marked_script_does_what_it_did() {
        let scripts = [
            "echo one\necho two >&2\necho three",
            "set +e\nfalse\necho \"was $?\"\ntrue\necho \"was $?\"",
            "test -e /nowhere && echo there\necho \"was $?\"\nfalse\necho never",
            "echo a\n! true\necho \"$?\"\nexit 7",
            "f() {\n  echo \"in $1\"\n  return 3\n}\nf x || echo \"got $?\"\nf y",
            "x=1\nwhile [ $x -lt 3 ]; do\n  echo $x\n  x=$((x + 1))\ndone\necho end\nnosuchcommand",
            "set -u\necho it\\'s\necho \"${HOME:+a # b}\"\necho 'no\nmark'\necho $#",
            "(echo in\necho sub)\necho out; test -e /nowhere && true",
            "printf %s 'without an end'\necho next\nfalse || (exit 4)",
        ];
        for script in scripts {
            let marked = marked(script);
            assert_ne!(marked, script, "{script}");
            let (was, is) = (run(script), run(&marked));
            // A mark ends a line that was open.
            assert_eq!(was.0, is.0, "{script}");
            let plain = without_marks(&is.1);
            let plain: String =
                plain.lines().map(|line| unmarked(line).map_or_else(|| format!("{line}\n"), |(before, _)| before.to_owned())).collect();
            assert_eq!(plain.trim_end(), was.1.trim_end(), "{script}");
        }
    }

    #[test]
    fn a_mark_is_read_back_with_what_stood_before_it() {
        let (_, text) = run(&marked("printf open\necho it\\'s"));
        let found: Vec<(&str, &str)> = text.lines().filter_map(unmarked).collect();
        assert_eq!(found, [("", "printf open"), ("open", "echo it\\'s")]);
    }
}
