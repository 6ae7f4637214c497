//! The report as JUnit XML, in the form that Jenkins, GitLab and GitHub's actions read.

use std::fmt::Write as _;

use super::{Problem, Status};
use crate::run::{Report, Row};

pub(super) fn of(report: &Report) -> String {
    let mut xml =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"cnitool conformance\">\n");
    let mut groups: Vec<&str> = report.rows.iter().map(|row| row.case.group()).collect();
    groups.dedup();
    for group in groups {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.case.group() == group).collect();
        let count = |status| rows.iter().filter(|row| row.status() == status).count();
        let micros: u64 = rows.iter().map(|row| row.micros()).sum();
        // Writing to a string does not fail.
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\">",
            escaped(group),
            rows.len(),
            count(Status::Fail),
            count(Status::Error),
            count(Status::Skip),
            seconds(micros)
        );
        rows.iter().for_each(|row| test(row, &mut xml));
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn test(row: &Row, xml: &mut String) {
    let class = row.plugin.as_deref().unwrap_or("lists");
    let head = format!(
        "    <testcase name=\"{}\" classname=\"{}\" time=\"{}\"",
        escaped(&row.case.name),
        escaped(class),
        seconds(row.micros())
    );
    xml.push_str(&head);
    if row.status() == Status::Pass {
        xml.push_str("/>\n");
        return;
    }
    xml.push_str(">\n");
    if let Some(reason) = row.skip_reason() {
        let _ = writeln!(xml, "      <skipped message=\"{}\"/>", escaped(reason));
    }
    for (version, firewall, problem) in row.problems() {
        let element = if matches!(problem, Problem::Error(_)) { "error" } else { "failure" };
        let rule = format!("{}, {}", row.case.level.as_str(), row.case.section);
        let message = format!("{version} {}: {problem}", crate::trial::in_words(firewall));
        let _ = writeln!(
            xml,
            "      <{element} type=\"{}\" message=\"{}\">{}</{element}>",
            escaped(&rule),
            escaped(&message),
            escaped(&details(problem))
        );
    }
    xml.push_str("    </testcase>\n");
}

/// Input and output of what failed.
fn details(problem: Problem<'_>) -> String {
    match problem {
        Problem::Error(_) => String::new(),
        Problem::Failure(failure) => serde_json::to_string_pretty(failure).unwrap_or_default(),
    }
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// `text` in XML. Control characters cannot be written there at all.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' => xml.push_str("&#10;"),
            '\t' => xml.push('\t'),
            c if c.is_control() => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
    xml
}
