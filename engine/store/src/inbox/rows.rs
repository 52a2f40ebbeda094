//! Statements that take several rows at a time: one call of the database for many rows, and few texts to prepare.

use std::fmt::Write as _;

/// A statement for each number of rows, the largest first.
pub(super) type Statements = [(usize, String); 4];

/// How many rows one statement takes.
pub(super) const ROWS: [usize; 4] = [64, 16, 4, 1];

/// The statements `begin (…), (…) end`, with so many placeholders in each row.
pub(super) fn statements(begin: &str, columns: usize, end: &str) -> Statements {
    ROWS.map(|rows| {
        let mut text = begin.to_owned();
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 1..=columns {
                let comma = if column == 1 { "" } else { ", " };
                write!(text, "{comma}${}", row * columns + column).expect("writing to a text does not fail");
            }
            text.push(')');
        }
        text.push_str(end);
        (rows, text)
    })
}

/// The parts of `rows` with the statement for each.
pub(super) fn parts<'a, T>(statements: &'static Statements, rows: &'a [T]) -> impl Iterator<Item = (&'static str, &'a [T])> + use<'a, T> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let (size, text) = statements.iter().find(|(size, _)| *size <= rest.len())?;
        let (part, behind) = rest.split_at(*size);
        rest = behind;
        Some((text.as_str(), part))
    })
}
