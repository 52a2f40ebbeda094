//! Hides secret values in log text. Invariant: a value is never shown whole, in plain, base64 or shell-quoted form, wherever a read was cut.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

const HIDDEN: &[u8] = b"***";
/// A longer line comes in pieces.
const PIECE: usize = 16 * 1024;

/// Finds the secret values.
#[derive(Debug)]
pub(crate) struct Masks {
    automaton: Option<AhoCorasick>,
    longest: usize,
}

impl Masks {
    pub(crate) fn new(values: &[String]) -> Result<Self, aho_corasick::BuildError> {
        let mut patterns = BTreeSet::new();
        for value in values {
            add_forms(value, &mut patterns);
            for line in value.lines() {
                add_forms(line.trim(), &mut patterns);
            }
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        let automaton =
            if patterns.is_empty() { None } else { Some(AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&patterns)?) };
        Ok(Self { automaton, longest })
    }

    /// Replaces every secret in `text`.
    pub(crate) fn hide(&self, text: &[u8]) -> String {
        let mut masked = Vec::with_capacity(text.len());
        let mut from = 0;
        for (start, end) in self.hits(text) {
            masked.extend_from_slice(&text[from..start]);
            masked.extend_from_slice(HIDDEN);
            from = end;
        }
        masked.extend_from_slice(&text[from..]);
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// Stretches to hide; overlapping secrets become one.
    fn hits(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let mut merged: Vec<(usize, usize)> = Vec::new();
        for hit in self.automaton.iter().flat_map(|automaton| automaton.find_iter(text)) {
            merged.push((hit.start(), hit.end()));
        }
        merged
    }
}

/// Cuts a stream of bytes into masked lines.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    masks: &'a Masks,
    pending: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(masks: &'a Masks) -> Self {
        Self { masks, pending: Vec::new() }
    }

    /// Takes what was read and hands out the lines that are whole.
    pub(crate) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        self.pending.extend_from_slice(bytes);
        let mut from = 0;
        loop {
            let rest = &self.pending[from..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n')
                && end <= PIECE
            {
                let text = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                line(self.masks.hide(text));
                from += end + 1;
                continue;
            }
            // A secret that begins before the cut is wholly in sight, and the cut moves behind it.
            let sight = PIECE + self.masks.longest;
            if rest.len() <= sight {
                break;
            }
            let cut = self.masks.hits(rest).into_iter().find(|(start, end)| *start < PIECE && PIECE < *end).map_or(PIECE, |(_, end)| end);
            line(self.masks.hide(&rest[..cut]));
            from += cut;
        }
        self.pending.drain(..from);
    }

    /// Hands out what is left when the stream ends.
    pub(crate) fn finish(self, mut line: impl FnMut(String)) {
        for text in self.pending.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
            line(self.masks.hide(text));
        }
    }
}

fn add_forms(value: &str, patterns: &mut BTreeSet<Vec<u8>>) {
    if value.len() < 3 {
        return;
    }
    patterns.insert(value.as_bytes().to_vec());
    patterns.insert(value.replace('\'', "'\\''").into_bytes());
    patterns.insert(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into_bytes());
    // Base64 of a text that holds the value depends on the value's offset modulo 3; characters shared with neighbours are left out.
    for lead in 0..3_usize {
        let mut bytes = vec![0; lead];
        bytes.extend_from_slice(value.as_bytes());
        let skip = (lead * 8).div_ceil(6);
        let keep = bytes.len() * 8 / 6;
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes);
            if keep.saturating_sub(skip) >= 4 {
                patterns.insert(text.as_bytes()[skip..keep].to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masks(values: &[&str]) -> Masks {
        Masks::new(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>()).expect("masks build")
    }

    proptest! {
        #[test]
        fn a_secret_is_hidden_wherever_reads_are_cut(before in 0_usize..40_000, cut in 1_usize..9_000) {
            let masks = masks(&["s3cret-value"]);
            let text = format!("{}s3cret-value tail\nnext\n", "x".repeat(before));
            let mut lines = Lines::new(&masks);
            let mut seen = String::new();
            for piece in text.as_bytes().chunks(cut) {
                lines.push(piece, |line| seen.push_str(&line));
            }
            lines.finish(|line| seen.push_str(&line));
            prop_assert_eq!(seen, format!("{}*** tailnext", "x".repeat(before)));
        }

        #[test]
        fn base64_is_hidden_at_every_alignment(lead in "[a-z]{0,7}") {
            let text = base64::engine::general_purpose::STANDARD.encode(format!("{lead}:correct horse:tail"));
            prop_assert!(masks(&["correct horse"]).hide(text.as_bytes()).contains("***"));
        }
    }

    #[test]
    fn a_secret_of_several_lines_is_hidden_line_by_line() {
        let masks = masks(&["first line\nsecond line\n"]);
        assert_eq!(masks.hide(b"see first line"), "see ***");
        assert_eq!(masks.hide(b"second line"), "***");
    }
}
