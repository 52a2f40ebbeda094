//! Text that strangers wrote, with everything in it made visible that a screen would hide or obey: control characters and those that turn the
//! direction of writing. Templates escape markup; this is about what markup is not.

use std::fmt::Write;

/// Whether a screen hides it or obeys it.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text, with what is hidden written as `⟨U+202E⟩`. Joiners within words of scripts that need them are kept.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(' '),
            '\u{200c}' | '\u{200d}' => shown.push(c),
            c if is_hidden(c) => write!(shown, "⟨U+{:04X}⟩", u32::from(c)).expect("a String takes everything"),
            c => shown.push(c),
        }
    }
    shown
}

/// The same for a text of several lines, whose ends and indentation are kept.
pub(crate) fn visible_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| visible(&line.trim_end_matches('\r').replace('\t', "    "))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_ends_and_nothing_else_that_a_screen_obeys() {
        assert_eq!(visible_lines("a\r\n\tb\rc\u{2066}"), "a\n    b⟨U+000D⟩c⟨U+2066⟩");
    }

    #[test]
    fn what_turns_the_direction_of_writing_is_shown_and_not_obeyed() {
        assert_eq!(visible("a\u{202e}b\u{1b}[2Jc"), "a⟨U+202E⟩b⟨U+001B⟩[2Jc");
        assert_eq!(visible("Grüße 👩\u{200d}🚀 <b>"), "Grüße 👩\u{200d}🚀 <b>");
    }
}
