//! Hides secret values in log text. Invariant: a value is never shown whole, in plain, base64, hexadecimal, percent-encoded or quoted form,
//! wherever a read was cut; of a value of several lines no line is. Values and lines shorter than [`SHORTEST_MASK`] are shown: they stand in every
//! other word, and hiding them would tell where.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Values of fewer bytes are not hidden in logs.
pub const SHORTEST_MASK: usize = 3;
/// Of long values every stretch of so many characters of their base64 form is hidden, because `base64` breaks lines.
const BASE64_STRETCH: usize = 20;
/// How far apart these stretches begin: so many characters less one may be left at the ends of a line.
const BASE64_STRIDE: usize = 4;
/// Above this only the whole base64 form is hidden; the patterns would get too many.
const BASE64_LONGEST: usize = 4 * 1024;
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
            for part in std::iter::once(value.as_str()).chain(std::iter::once(value.trim())).chain(value.lines().map(str::trim)) {
                add_forms(part, &mut patterns);
            }
            add_stretches(value, &mut patterns);
        }
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        let automaton =
            if patterns.is_empty() { None } else { Some(AhoCorasick::builder().match_kind(MatchKind::Standard).build(&patterns)?) };
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
        // Hits come in the order of their ends; a longer one swallows those that it covers.
        for hit in self.automaton.iter().flat_map(|automaton| automaton.find_overlapping_iter(text)) {
            let (mut start, end) = (hit.start(), hit.end());
            while let Some((before, _)) = merged.pop_if(|(_, last)| *last > start) {
                start = start.min(before);
            }
            merged.push((start, end));
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
            // A secret that begins before the cut is wholly in sight, and the cut moves behind it and those it overlaps with.
            let sight = PIECE + 4 * self.masks.longest;
            if rest.len() <= sight {
                break;
            }
            let hit = self.masks.hits(&rest[..sight]).into_iter().find(|(start, end)| *start < PIECE && PIECE < *end);
            let cut = hit.map_or_else(|| boundary(rest, PIECE), |(_, end)| end);
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

/// The beginning of the character that `at` stands in.
fn boundary(text: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at).rev().find(|at| text.get(*at).is_none_or(|byte| byte & 0xC0 != 0x80)).unwrap_or(at)
}

fn add_forms(value: &str, patterns: &mut BTreeSet<Vec<u8>>) {
    if value.len() < SHORTEST_MASK {
        return;
    }
    patterns.insert(value.as_bytes().to_vec());
    patterns.insert(value.replace('\'', "'\\''").into_bytes());
    patterns.insert(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into_bytes());
    let hexadecimal: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    patterns.insert(hexadecimal.to_uppercase().into_bytes());
    patterns.insert(hexadecimal.into_bytes());
    let percent = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    let encoded: String = value.bytes().map(percent).collect();
    patterns.insert(encoded.replace("%20", "+").into_bytes());
    patterns.insert(encoded.into_bytes());
    patterns.extend(base64_forms(value).filter(|form| form.len() >= 4));
}

/// Base64 of a text that holds the value depends on the value's offset modulo 3; characters shared with neighbours are left out.
fn base64_forms(value: &str) -> impl Iterator<Item = Vec<u8>> {
    (0..3_usize).flat_map(move |lead| {
        let mut bytes = vec![0; lead];
        bytes.extend_from_slice(value.as_bytes());
        let skip = (lead * 8).div_ceil(6);
        let keep = (bytes.len() * 8 / 6).max(skip);
        [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| engine.encode(&bytes).as_bytes()[skip..keep].to_vec())
    })
}

fn add_stretches(value: &str, patterns: &mut BTreeSet<Vec<u8>>) {
    if value.len() > BASE64_LONGEST {
        return;
    }
    for form in base64_forms(value).filter(|form| form.len() > 2 * BASE64_STRETCH) {
        patterns.extend(form.windows(BASE64_STRETCH).step_by(BASE64_STRIDE).map(<[u8]>::to_vec));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masks(values: &[&str]) -> Masks {
        Masks::new(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>()).expect("masks build")
    }

    /// What a log shows of `text`, read in pieces of these sizes.
    fn shown(masks: &Masks, text: &[u8], cuts: &[usize]) -> Vec<String> {
        let mut lines = Lines::new(masks);
        let mut seen = Vec::new();
        let mut rest = text;
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            lines.push(piece, |line| seen.push(line));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        lines.finish(|line| seen.push(line));
        seen
    }

    proptest! {
        #[test]
        fn a_secret_is_hidden_wherever_reads_are_cut(before in 0_usize..40_000, cut in 1_usize..9_000) {
            let masks = masks(&["s3cret-value"]);
            let text = format!("{}s3cret-value tail\nnext\n", "x".repeat(before));
            let seen = shown(&masks, text.as_bytes(), &[cut]).concat();
            prop_assert_eq!(seen, format!("{}*** tailnext", "x".repeat(before)));
        }

        #[test]
        fn no_form_of_any_secret_is_shown(
            secrets in proptest::collection::vec("[a-cA-Z0-9+/ '\"\\\\%]{3,24}(\n[a-c ]{3,9}){0,3}", 1..5),
            fillers in proptest::collection::vec("[a-c{}= .]{0,300}", 6),
            long in 0_usize..20_000,
            cuts in proptest::collection::vec(1_usize..7_000, 1..9),
        ) {
            let refs: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let masks = masks(&refs);
            let mut text = String::new();
            let standard = base64::engine::general_purpose::STANDARD;
            for (at, secret) in secrets.iter().enumerate() {
                text += &"-".repeat(if at == 0 { long } else { 0 });
                let filler = &fillers[at % fillers.len()];
                let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
                text += &format!("{filler}{secret}{filler}:{}:{hexadecimal}\n", standard.encode(secret));
                text += &secret.replace('\'', "'\\''");
            }
            let seen = shown(&masks, text.as_bytes(), &cuts);
            for secret in &secrets {
                let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
                let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
                let parts = secret.lines().map(|line| line.trim().to_owned()).filter(|line| line.len() >= SHORTEST_MASK);
                for hidden in parts.chain([hexadecimal, encoded]) {
                    // Stars are not part of any secret, so that nothing is put together by hiding.
                    prop_assert!(seen.iter().all(|line| !line.contains(&hidden)), "`{}` is shown in {:?}", hidden, seen);
                }
            }
        }

        #[test]
        fn base64_is_hidden_at_every_alignment(lead in "[a-z]{0,7}") {
            let text = base64::engine::general_purpose::STANDARD.encode(format!("{lead}:correct horse:tail"));
            prop_assert!(masks(&["correct horse"]).hide(text.as_bytes()).contains("***"));
        }

        #[test]
        fn base64_of_a_long_secret_is_hidden_where_lines_are_broken(lead in 0_usize..90, width in 60_usize..90) {
            let secret: String = (0..40_u32).map(|at| format!("{:x}", at.wrapping_mul(2_654_435_761) % 65_521)).collect();
            let text = base64::engine::general_purpose::STANDARD.encode(format!("{}{secret}", "k".repeat(lead)));
            let broken: Vec<&[u8]> = text.as_bytes().chunks(width).collect();
            let masks = masks(&[&secret]);
            let first = lead * 4 / 3 / width + 1;
            for line in &broken[first..broken.len() - 1] {
                let left = masks.hide(line).replace("***", "");
                prop_assert!(left.len() < 2 * BASE64_STRIDE, "`{}` is left", left);
            }
        }
    }

    #[test]
    fn secrets_that_overlap_are_hidden_together() {
        assert_eq!(masks(&["abcdef", "defghi", "efg"]).hide(b"<abcdefghi>"), "<***>");
    }

    #[test]
    fn a_secret_of_two_bytes_is_shown_and_takes_nothing_else_with_it() {
        assert_eq!(masks(&["ab", ""]).hide(b"a cab in the lab"), "a cab in the lab");
    }

    #[test]
    fn a_long_line_is_not_cut_within_a_character() {
        let masks = masks(&["s3cret-value"]);
        let seen = shown(&masks, format!("x{}", "ä".repeat(40_000)).as_bytes(), &[5_000]);
        assert!(seen.len() > 1 && seen.iter().all(|line| !line.contains('\u{FFFD}')));
    }

    #[test]
    fn a_secret_of_several_lines_is_hidden_line_by_line() {
        let masks = masks(&["first line\nsecond line\n"]);
        assert_eq!(masks.hide(b"see first line"), "see ***");
        assert_eq!(masks.hide(b"second line"), "***");
    }
}
