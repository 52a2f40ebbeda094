//! Statements that take several rows at a time: one call of the database for many rows, and few texts to prepare.

use std::fmt::Write as _;

/// A statement for each number of rows, the largest first.
pub(crate) type Statements = [(usize, Texts); ROWS.len()];

/// How many rows one statement takes.
const ROWS: [usize; 12] = [64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1];

/// A statement as each database reads it fastest: SQLite looks a numbered placeholder up among all others, which takes longer the more there are.
pub(crate) struct Texts {
    sqlite: String,
    postgres: String,
}

impl Texts {
    /// Out of the text that a way to write placeholders makes.
    fn new(text: impl Fn(&dyn Fn(usize) -> String) -> String) -> Self {
        Self { sqlite: text(&|_| "?".to_owned()), postgres: text(&|place| format!("${place}")) }
    }
}

/// The statements `begin (…), (…) end`, with so many placeholders in each row.
pub(super) fn statements(begin: &str, columns: usize, end: &str) -> Statements {
    ROWS.map(|rows| {
        let texts = Texts::new(|placeholder| {
            let mut text = begin.to_owned();
            for row in 0..rows {
                text.push_str(if row == 0 { "(" } else { ", (" });
                for column in 1..=columns {
                    let comma = if column == 1 { "" } else { ", " };
                    write!(text, "{comma}{}", placeholder(row * columns + column)).expect("writing to a text does not fail");
                }
                text.push(')');
            }
            text + end
        });
        (rows, texts)
    })
}

/// The statements `begin (…) end` over so many values.
pub(crate) fn lists(begin: &str, end: &str) -> Statements {
    ROWS.map(|rows| {
        let list = |placeholder: &dyn Fn(usize) -> String| (1..=rows).map(placeholder).collect::<Vec<_>>().join(", ");
        (rows, Texts::new(|placeholder| format!("{begin} ({}) {end}", list(placeholder))))
    })
}

/// The parts of `rows` with the statement for each; `shared` is for PostgreSQL.
pub(crate) fn parts<'a, T>(
    statements: &'static Statements,
    shared: bool,
    mut rows: &'a [T],
) -> impl Iterator<Item = (&'static str, &'a [T])> {
    std::iter::from_fn(move || {
        let (statement, size) = largest(statements, shared, rows.len())?;
        Some((statement, rows.split_off(..size)?))
    })
}

/// The same of rows that are changed on their way.
pub(super) fn parts_mut<'a, T>(
    statements: &'static Statements,
    shared: bool,
    mut rows: &'a mut [T],
) -> impl Iterator<Item = (&'static str, &'a mut [T])> {
    std::iter::from_fn(move || {
        let (statement, size) = largest(statements, shared, rows.len())?;
        Some((statement, rows.split_off_mut(..size)?))
    })
}

fn largest(statements: &'static Statements, shared: bool, rows: usize) -> Option<(&'static str, usize)> {
    let (size, texts) = statements.iter().find(|(size, _)| *size <= rows)?;
    Some((if shared { &texts.postgres } else { &texts.sqlite }, *size))
}
