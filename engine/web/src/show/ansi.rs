//! Log lines with their colours: the sequences that choose colours and weights become classes, every other sequence is dropped, and what
//! is left goes through the template's escaping. A colour goes on over lines until it is reset, as on a terminal.

use hookwright_core::{LogLine, LogStream};
use serde::Serialize;

use super::visible;

/// The most that a line is cut into; a line of nothing but colours is no way to make a page large.
const PIECES: usize = 500;

/// A piece of a line with one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Piece {
    /// Class names; empty for plain text.
    pub(crate) class: String,
    pub(crate) text: String,
}

/// A line as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LineShown {
    /// The wall clock, `12:04:31.120`.
    pub(crate) at: String,
    /// `out`, `err`, `note`.
    pub(crate) stream: &'static str,
    pub(crate) pieces: Vec<Piece>,
}

/// Paints lines in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Painter {
    look: Look,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    foreground: Option<u8>,
    background: Option<u8>,
}

impl Look {
    fn class(self) -> String {
        let mut names = Vec::new();
        let flags = [(self.bold, "a-b"), (self.dim, "a-d"), (self.italic, "a-i"), (self.underline, "a-u")];
        names.extend(flags.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_owned()));
        names.extend(self.foreground.map(|colour| format!("a-f{colour}")));
        names.extend(self.background.map(|colour| format!("a-k{colour}")));
        names.join(" ")
    }

    /// What [`class`](Self::class) wrote; whatever else stands there is left out.
    fn read(text: &str) -> Self {
        let mut look = Self::default();
        let colour = |name: &str| name.parse::<u8>().ok().filter(|colour| *colour < 16);
        for name in text.split(' ').take(6) {
            match name {
                "a-b" => look.bold = true,
                "a-d" => look.dim = true,
                "a-i" => look.italic = true,
                "a-u" => look.underline = true,
                name => {
                    look.foreground = name.strip_prefix("a-f").and_then(colour).or(look.foreground);
                    look.background = name.strip_prefix("a-k").and_then(colour).or(look.background);
                }
            }
        }
        look
    }

    /// Takes the numbers of one sequence.
    fn apply(&mut self, numbers: &[u16]) {
        let mut numbers = numbers.iter().copied();
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                30..=37 => self.foreground = u8::try_from(number - 30).ok(),
                39 => self.foreground = None,
                40..=47 => self.background = u8::try_from(number - 40).ok(),
                49 => self.background = None,
                90..=97 => self.foreground = u8::try_from(number - 82).ok(),
                100..=107 => self.background = u8::try_from(number - 92).ok(),
                38 | 48 => {
                    let colour = match numbers.next() {
                        Some(5) => numbers.next().and_then(|index| u8::try_from(index).ok()).map(nearest),
                        Some(2) => {
                            let mut part = || u8::try_from(numbers.next().unwrap_or(0)).unwrap_or(u8::MAX);
                            Some(nearest_of(part(), part(), part()))
                        }
                        _ => None,
                    };
                    if number == 38 { self.foreground = colour } else { self.background = colour }
                }
                _ => {}
            }
        }
    }
}

/// The one of the 16 colours that a colour of the 256 looks like.
fn nearest(index: u8) -> u8 {
    match index {
        0..=15 => index,
        16..=231 => {
            let cube = index - 16;
            let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
            nearest_of(level(cube / 36), level(cube / 6 % 6), level(cube % 6))
        }
        232..=243 => 8,
        _ => 7,
    }
}

fn nearest_of(red: u8, green: u8, blue: u8) -> u8 {
    let most = red.max(green).max(blue);
    if most < 64 {
        return 0;
    }
    let on = |part: u8| u8::from(part >= most / 2 + most / 8);
    let base = on(red) | on(green) << 1 | on(blue) << 2;
    if most > 200 && base != 7 { base + 8 } else { base }
}

impl Painter {
    /// Goes on where another one [ended](Self::look): a log is handed out in stretches.
    pub(crate) fn resume(look: &str) -> Self {
        Self { look: Look::read(look) }
    }

    /// How the next line begins.
    pub(crate) fn look(&self) -> String {
        self.look.class()
    }

    /// A line as it is shown.
    pub(crate) fn line(&mut self, line: &LogLine) -> LineShown {
        let stream = match line.stream {
            LogStream::Out => "out",
            LogStream::Err => "err",
            LogStream::Note => "note",
        };
        let at = line.at.to_string();
        let at = at.split_once('T').map_or(at.as_str(), |(_, time)| time).trim_end_matches('Z').to_owned();
        // Remarks are the engine's own: no colour of the job reaches them.
        let pieces = if line.stream == LogStream::Note { Self::default().pieces(&line.text) } else { self.pieces(&line.text) };
        LineShown { at, stream, pieces }
    }

    fn pieces(&mut self, text: &str) -> Vec<Piece> {
        // A carriage return begins the line anew, as progress bars do: what was before it is not seen on a terminal either.
        let text = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
        let mut pieces: Vec<Piece> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, escape) = rest.split_at(rest.find('\u{1b}').unwrap_or(rest.len()));
            self.push(&mut pieces, plain);
            rest = self.sequence(escape);
        }
        pieces
    }

    fn push(&self, pieces: &mut Vec<Piece>, text: &str) {
        if text.is_empty() {
            return;
        }
        let (class, text) = (self.look.class(), visible(&text.replace('\t', "    ")));
        let full = pieces.len() >= PIECES;
        match pieces.last_mut() {
            Some(last) if last.class == class || full => last.text.push_str(&text),
            _ => pieces.push(Piece { class, text }),
        }
    }

    /// Takes the sequence that `text` begins with, and returns what follows it.
    fn sequence<'a>(&mut self, text: &'a str) -> &'a str {
        let Some(rest) = text.strip_prefix('\u{1b}') else { return text };
        if let Some(body) = rest.strip_prefix('[') {
            let Some(end) = body.find(|c: char| ('\u{40}'..='\u{7e}').contains(&c)) else { return "" };
            if body[end..].starts_with('m') {
                let numbers: Vec<u16> = body[..end].split([';', ':']).map(|number| number.parse().unwrap_or(0)).collect();
                self.look.apply(&numbers);
            }
            return &body[end + 1..];
        }
        if let Some(body) = rest.strip_prefix(']') {
            // A title or a link of a terminal: it ends with BEL or ST.
            let bell = body.find('\u{7}').map(|at| (at, 1));
            let terminator = body.find("\u{1b}\\").map(|at| (at, 2));
            return [bell, terminator].into_iter().flatten().min().map_or("", |(at, length)| &body[at + length..]);
        }
        let mut characters = rest.chars();
        characters.next();
        characters.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(String, String)> {
        Painter::default().pieces(text).into_iter().map(|piece| (piece.class, piece.text)).collect()
    }

    fn piece(class: &str, text: &str) -> (String, String) {
        (class.to_owned(), text.to_owned())
    }

    #[test]
    fn colours_become_classes_and_end_with_a_reset() {
        assert_eq!(shown("\u{1b}[1;31mno\u{1b}[0m ok"), [piece("a-b a-f1", "no"), piece("", " ok")]);
        assert_eq!(shown("\u{1b}[38;5;196mred\u{1b}[48;2;0;0;255mon blue"), [piece("a-f9", "red"), piece("a-f9 a-k12", "on blue")]);
    }

    #[test]
    fn a_colour_goes_on_over_lines() {
        let mut painter = Painter::default();
        painter.pieces("\u{1b}[32mgreen");
        assert_eq!(painter.pieces("still")[0].class, "a-f2");
    }

    #[test]
    fn a_colour_goes_on_over_stretches_and_nothing_else_comes_in_that_way() {
        let mut painter = Painter::default();
        painter.pieces("\u{1b}[1;4;92;41mgreen");
        let mut next = Painter::resume(&painter.look());
        assert_eq!(next.pieces("still")[0].class, "a-b a-u a-f10 a-k1");
        assert_eq!(Painter::resume("a-f99 \"><script> a-k-1 evil").look(), "");
    }

    #[test]
    fn tricks_of_terminals_are_dropped_or_shown() {
        assert_eq!(shown("a\u{1b}[2J\u{1b}[1;1Hb"), [piece("", "ab")]);
        assert_eq!(shown("\u{1b}]8;;https://evil.example\u{7}link\u{1b}]8;;\u{1b}\\!"), [piece("", "link!")]);
        assert_eq!(shown("\u{1b}]0;never ended"), []);
        assert_eq!(shown("\u{1b}[31"), []);
        assert_eq!(shown("10%\r100%\r"), [piece("", "100%")]);
        assert_eq!(shown("x\u{202e}y"), [piece("", "x⟨U+202E⟩y")]);
    }

    #[test]
    fn a_line_of_nothing_but_colours_stays_small() {
        let text: String = (0..20_000).map(|index| format!("\u{1b}[3{}mx", index % 8)).collect();
        assert!(Painter::default().pieces(&text).len() <= PIECES);
    }
}
