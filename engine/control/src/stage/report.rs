//! Counts the tests in JUnit reports. A report is the user's: what cannot be read is left out, it never fails a stage.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde::{Deserialize, Serialize};

/// How many tests a stage's reports name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCounts {
    /// All of them.
    pub tests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Those that broke.
    pub errors: u64,
    /// Those that were left out.
    pub skipped: u64,
}

impl TestCounts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tests: self.tests.saturating_add(other.tests),
            failures: self.failures.saturating_add(other.failures),
            errors: self.errors.saturating_add(other.errors),
            skipped: self.skipped.saturating_add(other.skipped),
        }
    }
}

/// Counts the `testcase` elements and what stands in them. `None` when `text` is no XML with test cases or suites.
pub(crate) fn count(text: &str) -> Option<TestCounts> {
    let mut reader = Reader::from_str(text);
    let mut counts = TestCounts::default();
    let mut case: Option<Ending> = None;
    let mut is_report = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => match name(&element) {
                "testcase" => case = Some(Ending::Passed),
                "testsuite" | "testsuites" => is_report = true,
                other => mark(&mut case, other),
            },
            Event::Empty(element) => match name(&element) {
                "testcase" => counts = counts.plus(Ending::Passed.counts()),
                "testsuite" | "testsuites" => is_report = true,
                other => mark(&mut case, other),
            },
            Event::End(element) if element.local_name().as_ref() == "testcase" => {
                if let Some(ending) = case.take() {
                    counts = counts.plus(ending.counts());
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    (is_report || counts.tests > 0).then_some(counts)
}

/// How one test ended; the worst mark wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Passed,
    Skipped,
    Failed,
    Broken,
}

impl Ending {
    fn counts(self) -> TestCounts {
        TestCounts {
            tests: 1,
            failures: u64::from(self == Self::Failed),
            errors: u64::from(self == Self::Broken),
            skipped: u64::from(self == Self::Skipped),
        }
    }
}

fn name<'a>(element: &'a BytesStart<'_>) -> &'a str {
    element.local_name().into_inner()
}

fn mark(case: &mut Option<Ending>, element: &str) {
    let ending = match element {
        "skipped" => Ending::Skipped,
        "failure" => Ending::Failed,
        "error" => Ending::Broken,
        _ => return,
    };
    if let Some(case) = case {
        *case = (*case).max(ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_cases_are_counted_by_how_they_ended() {
        let text = r#"<?xml version="1.0"?><testsuites><testsuite name="a" tests="99"><testcase name="x"/>
            <testcase name="y"><failure message="no">trace</failure></testcase><testcase name="z"><skipped/></testcase></testsuite></testsuites>"#;
        assert_eq!(count(text), Some(TestCounts { tests: 3, failures: 1, errors: 0, skipped: 1 }));
    }

    #[test]
    fn what_is_no_report_counts_nothing() {
        assert_eq!(count("hello"), None);
        assert_eq!(count("<html><body/></html>"), None);
        assert_eq!(count("<testsuite><broken"), None);
    }
}
