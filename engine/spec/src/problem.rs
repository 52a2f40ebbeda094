//! What is wrong with a spec, as a person would point it out: place, excerpt, what, and what to write instead.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Its line, from 1; 0 when the problem has no place.
    pub line: u32,
    /// Its column in characters, from 1.
    pub column: u32,
    /// How many characters are meant.
    pub length: u32,
    /// The line itself.
    pub excerpt: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
            let number = self.line.to_string();
            let before: String =
                self.excerpt.chars().take(self.column.saturating_sub(1) as usize).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let carets = "^".repeat(self.length.clamp(1, 200) as usize);
            write!(f, "\n  {number} | {}\n  {:width$} | {before}{carets}", self.excerpt, "", width = number.len())?;
        }
        if !self.help.is_empty() {
            write!(f, "\n  help: {}", self.help)?;
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The first line of the first problem, for a commit status.
    pub fn first_line(&self) -> String {
        self.0.first().map_or_else(String::new, |problem| {
            if problem.line == 0 {
                format!("{}: {}", problem.file, problem.message)
            } else {
                format!("{}:{}: {}", problem.file, problem.line, problem.message)
            }
        })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
