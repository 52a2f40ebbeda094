//! Reads JUnit reports: counts their tests when a stage ends, and names them when somebody looks. A report is the user's: what cannot be read is
//! left out, it never fails a stage. No entity of its own is resolved and no other document read.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde::{Deserialize, Serialize};

use self::TestEnding as Ending;

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

/// How many tests of a report are named.
const NAMED: usize = 20_000;

/// What is kept of a name or a message, in characters.
const NAME: usize = 1_000;

/// What is kept of a stack or an output, in characters.
const DETAILS: usize = 16_000;

/// A test in a report. Every text is the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestCase {
    /// What it is called.
    pub name: String,
    /// The class or file it belongs to, or its suite; empty when the report does not say.
    pub class: String,
    /// How long it took, as the report writes it, in seconds.
    pub seconds: Option<String>,
    /// How it ended.
    pub ending: TestEnding,
    /// Why it failed or was left out, in a line.
    pub message: String,
    /// The stack, or whatever else the report says about it.
    pub details: String,
}

/// How one test ended; the worst mark wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TestEnding {
    /// As it should.
    Passed,
    /// Not at all: it was left out.
    Skipped,
    /// What it checks does not hold.
    Failed,
    /// It broke before it could check.
    Broken,
}

/// The tests of a report, those that broke or failed first, otherwise in its order; at most 20,000 of them. Empty when `text` is no report.
pub fn read_report(text: &str) -> Vec<TestCase> {
    let mut reading = Reading::default();
    let mut reader = Reader::from_str(text);
    // What comes before something unreadable is shown all the same.
    while let Ok(event) = reader.read_event() {
        if matches!(event, Event::Eof) || reading.cases.len() >= NAMED {
            break;
        }
        reading.take(&event);
    }
    let mut cases = reading.cases;
    cases.sort_by_key(|case| std::cmp::Reverse(case.ending.max(Ending::Skipped)));
    cases
}

#[derive(Default)]
struct Reading {
    suites: Vec<String>,
    case: Option<TestCase>,
    /// Within `failure`, `error` or `skipped`, whose text is kept.
    within: bool,
    cases: Vec<TestCase>,
}

impl Reading {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Start(element) => {
                if name(element) == "testsuite" {
                    self.suites.push(attribute(element, "name"));
                }
                self.begin(element);
            }
            Event::Empty(element) => {
                self.begin(element);
                self.end(name(element));
            }
            Event::End(element) => {
                let ended = element.local_name();
                if ended.as_ref() == "testsuite" {
                    self.suites.pop();
                }
                self.end(ended.as_ref());
            }
            Event::Text(text) => self.add(&text.xml10_content()),
            Event::CData(text) => self.add(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let known = reference.resolve_char_ref().ok().flatten().map(String::from);
                let content = reference.xml10_content();
                let predefined = || quick_xml::escape::resolve_predefined_entity(&content).map(str::to_owned);
                self.add(&known.or_else(predefined).unwrap_or_else(|| format!("&{content};")));
            }
            _ => {}
        }
    }

    fn begin(&mut self, element: &BytesStart<'_>) {
        let ending = match name(element) {
            "testcase" => {
                let class = [attribute(element, "classname"), attribute(element, "file")].into_iter().find(|text| !text.is_empty());
                let class = class.or_else(|| self.suites.last().cloned()).unwrap_or_default();
                let seconds = Some(attribute(element, "time")).filter(|time| time.parse::<f64>().is_ok());
                let (ending, message, details) = (Ending::Passed, String::new(), String::new());
                self.case = Some(TestCase { name: attribute(element, "name"), class, seconds, ending, message, details });
                return;
            }
            "skipped" => Ending::Skipped,
            "failure" => Ending::Failed,
            "error" => Ending::Broken,
            _ => return,
        };
        let Some(case) = &mut self.case else { return };
        self.within = true;
        if ending >= case.ending {
            case.ending = ending;
            case.message =
                [attribute(element, "message"), attribute(element, "type")].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        }
    }

    fn end(&mut self, element: &str) {
        match element {
            "testcase" => {
                self.within = false;
                if let Some(mut case) = self.case.take() {
                    case.details = case.details.trim_matches(['\n', '\r']).trim_end().to_owned();
                    self.cases.push(case);
                }
            }
            "skipped" | "failure" | "error" => self.within = false,
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        if let Some(case) = self.case.as_mut().filter(|_| self.within) {
            // By bytes, because characters would be counted again for every piece.
            let room = DETAILS.saturating_sub(case.details.len());
            case.details.extend(text.chars().take(room));
        }
    }
}

/// An attribute, without what stands in the way; empty when there is none.
fn attribute(element: &BytesStart<'_>, wanted: &str) -> String {
    let found = element.try_get_attribute(wanted).ok().flatten();
    let value =
        found.and_then(|attribute| attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).ok().map(std::borrow::Cow::into_owned));
    value.unwrap_or_default().chars().take(NAME).collect()
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
    fn tests_are_named_with_failures_first_and_their_message_and_stack() {
        let text = r#"<testsuites><testsuite name="cart"><testcase name="adds" time="0.01"/><testcase name="empties" classname="Cart" time="x">
            <failure message="expected 0 &lt; 1" type="AssertionError">
at cart.py:7 &amp; cart.py:9
<![CDATA[<b>raw</b>]]></failure><system-out>noise</system-out></testcase>
            <testcase name="later"><skipped message="not yet"/></testcase><testcase name="breaks"><error type="IOError"/></testcase></testsuite></testsuites>"#;
        let cases = read_report(text);
        let names: Vec<(&str, &str, TestEnding)> =
            cases.iter().map(|case| (case.name.as_str(), case.class.as_str(), case.ending)).collect();
        let wanted = [
            ("breaks", "cart", TestEnding::Broken),
            ("empties", "Cart", TestEnding::Failed),
            ("adds", "cart", TestEnding::Passed),
            ("later", "cart", TestEnding::Skipped),
        ];
        assert_eq!(names, wanted);
        assert_eq!((cases[0].message.as_str(), cases[3].message.as_str()), ("IOError", "not yet"));
        assert_eq!(cases[1].message, "expected 0 < 1");
        assert_eq!(cases[1].details, "at cart.py:7 & cart.py:9\n<b>raw</b>");
        assert_eq!((cases[2].seconds.as_deref(), cases[1].seconds.as_deref()), (Some("0.01"), None));
    }

    #[test]
    fn a_hostile_report_costs_little_and_reads_nothing_else() {
        let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>
            <testsuite><testcase name="x"><failure message="&b;">&b;&f;</failure></testcase></testsuite>"#;
        let cases = read_report(bomb);
        assert_eq!((cases.len(), cases[0].details.as_str()), (1, "&b;&f;"));
        let long = format!("<testsuite><testcase name='{0}'><failure>{0}{0}</failure></testcase><broken", "é".repeat(20_000));
        let cases = read_report(&long);
        assert_eq!((cases[0].name.chars().count(), cases[0].details.chars().count()), (NAME, DETAILS));
        assert!(read_report(&"<testsuite><testcase/>".repeat(30_000)).len() <= NAMED);
    }

    #[test]
    fn what_is_no_report_counts_nothing() {
        assert_eq!(count("hello"), None);
        assert_eq!(count("<html><body/></html>"), None);
        assert_eq!(count("<testsuite><broken"), None);
    }
}
