//! The table for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Problem, Status, Style};
use crate::case::{Case, Level};
use crate::job::Failure;
use crate::run::{Report, Row};

/// The most of an output that is shown, in bytes; JSON has all of it.
const SHOWN: usize = 2000;

pub(super) fn write(report: &Report, out: &mut dyn Write, style: Style) -> io::Result<()> {
    let cases = by_case(&report.rows);
    table(&cases, out, style)?;
    for (case, rows) in &cases {
        problems(case, rows, out, style)?;
    }
    skips(&report.rows, out)?;
    totals(&report.rows, out)
}

/// The rows of each case, in the order of the cases.
fn by_case(rows: &[Row]) -> Vec<(&Case, Vec<&Row>)> {
    let mut cases: Vec<(&Case, Vec<&Row>)> = Vec::new();
    for row in rows {
        match cases.last_mut() {
            Some((case, rows)) if case.name == row.case.name => rows.push(row),
            _ => cases.push((&row.case, vec![row])),
        }
    }
    cases
}

fn table(cases: &[(&Case, Vec<&Row>)], out: &mut dyn Write, style: Style) -> io::Result<()> {
    let results: Vec<(Status, String)> = cases.iter().map(|(_, rows)| result(rows)).collect();
    let width = |lengths: &mut dyn Iterator<Item = usize>, head: usize| lengths.max().unwrap_or(0).max(head);
    let names = width(&mut cases.iter().map(|(case, _)| case.name.chars().count()), "CASE".len());
    let shown = width(&mut results.iter().map(|(_, text)| text.chars().count()), "RESULT".len());
    writeln!(out, "{:<names$}  {:<6}  {:<shown$}  SECTION", "CASE", "LEVEL", "RESULT")?;
    let left = style.width.saturating_sub(names + shown + 12);
    for ((case, _), (status, text)) in cases.iter().zip(&results) {
        let (on, off) = colour(*status, style);
        let section = cut(&case.section, left);
        let line = format!("{:<names$}  {:<6}  {on}{text:<shown$}{off}  {section}", case.name, case.level.as_str());
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// `pass`, or how many plugins did what.
fn result(rows: &[&Row]) -> (Status, String) {
    let count = |status| rows.iter().filter(|row| row.status() == status).count();
    let (passed, failed, errors) = (count(Status::Pass), count(Status::Fail), count(Status::Error));
    let run = passed + failed + errors;
    match (failed, errors) {
        (0, 0) if run == 0 => (Status::Skip, "skip".to_owned()),
        (0, 0) if rows.len() == 1 => (Status::Pass, "pass".to_owned()),
        (0, 0) => (Status::Pass, format!("pass {run}")),
        (0, errors) => (Status::Error, format!("ERROR {errors} of {run}")),
        _ if rows.len() == 1 => (Status::Fail, "FAIL".to_owned()),
        (failed, _) => (Status::Fail, format!("FAIL {failed} of {run}")),
    }
}

fn colour(status: Status, style: Style) -> (&'static str, &'static str) {
    match status {
        _ if !style.colour => ("", ""),
        Status::Pass => ("\x1b[32m", "\x1b[0m"),
        Status::Fail | Status::Error => ("\x1b[31m", "\x1b[0m"),
        Status::Skip => ("\x1b[33m", "\x1b[0m"),
    }
}

/// `text`, if need be without its end.
fn cut(text: &str, width: usize) -> String {
    // Narrower says nothing: let the terminal wrap it.
    if text.chars().count() <= width || width < 8 {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// What is wrong: each problem of a case once in full, with all plugins and versions that have it.
fn problems(case: &Case, rows: &[&Row], out: &mut dyn Write, style: Style) -> io::Result<()> {
    let mut told: Vec<(String, Problem<'_>, Vec<Place<'_>>)> = Vec::new();
    for row in rows {
        for (version, firewall, problem) in row.problems() {
            let text = problem.to_string();
            let place = Place { plugin: row.plugin.as_deref(), version, firewall: crate::trial::in_words(firewall) };
            match told.iter_mut().find(|(known, ..)| *known == text) {
                Some((_, _, places)) => places.push(place),
                None => told.push((text, problem, vec![place])),
            }
        }
    }
    let (on, off) = colour(Status::Fail, style);
    for (text, problem, places) in told {
        let status = if matches!(problem, Problem::Error(_)) { Status::Error } else { Status::Fail };
        let plugins: Vec<&str> = distinct(places.iter().filter_map(|place| place.plugin));
        writeln!(out, "\n{on}{} {}{off} {}", status.as_str(), case.name, plugins.join(", "))?;
        writeln!(out, "  case:     {}", case.about)?;
        writeln!(out, "  says:     {}, {}", case.level.as_str(), case.section)?;
        writeln!(out, "  version:  {}", distinct(places.iter().map(|place| place.version)).join(", "))?;
        let firewalls = distinct(places.iter().map(|place| place.firewall).filter(|name| !name.is_empty()));
        if !firewalls.is_empty() {
            writeln!(out, "  firewall: {}", firewalls.join(", "))?;
        }
        match problem {
            Problem::Error(_) => writeln!(out, "  problem:  {text}")?,
            Problem::Failure(failure) => describe(failure, out)?,
        }
    }
    Ok(())
}

/// Where a problem was seen.
struct Place<'a> {
    plugin: Option<&'a str>,
    version: &'a str,
    firewall: &'static str,
}

/// The values in their order, each once.
fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut once = Vec::new();
    for value in values {
        if !once.contains(&value) {
            once.push(value);
        }
    }
    once
}

fn describe(failure: &Failure, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  step {:<5}{}", format!("{}:", failure.step), failure.action)?;
    writeln!(out, "  expected: {}", failure.problem)?;
    let Some(record) = failure.calls.last() else { return Ok(()) };
    writeln!(out, "  input:")?;
    for (key, value) in record.env.iter().filter(|(key, _)| *key != "PATH") {
        writeln!(out, "    {key}='{value}'")?;
    }
    writeln!(out, "    {} <<'EOF'", record.program.display())?;
    indented(&record.stdin, out)?;
    writeln!(out, "    EOF")?;
    writeln!(out, "  output:   {}, after {} ms", record.end, record.micros / 1000)?;
    for (name, text) in [("stdout", &record.stdout), ("stderr", &record.stderr)] {
        if text.trim().is_empty() {
            writeln!(out, "    {name}: empty")?;
        } else {
            writeln!(out, "    {name}:")?;
            indented(text, out)?;
        }
    }
    Ok(())
}

fn indented(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let end = text.floor_char_boundary(SHOWN);
    let (shown, rest) = text.split_at(end);
    for line in shown.lines() {
        writeln!(out, "      {line}")?;
    }
    if rest.is_empty() { Ok(()) } else { writeln!(out, "      … {} bytes more", rest.len()) }
}

/// Each reason once, with what it is the reason for.
fn skips(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let Some(reason) = row.skip_reason() {
            let names = reasons.entry(reason).or_default();
            let name = row.plugin.clone().unwrap_or_else(|| row.case.name.clone());
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nskipped:")?;
    reasons.iter().try_for_each(|(reason, names)| writeln!(out, "  {reason}: {}", names.join(", ")))
}

/// How many of each group, and of all.
fn totals(rows: &[Row], out: &mut dyn Write) -> io::Result<()> {
    let mut groups: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
    for row in rows {
        let counts = groups.entry(row.case.group()).or_default();
        let column = match (row.status(), row.case.level) {
            (Status::Pass, _) => 0,
            (Status::Fail, Level::Must) => 1,
            (Status::Fail, Level::Should) => 2,
            (Status::Skip, _) => 3,
            (Status::Error, _) => 4,
        };
        if let Some(count) = counts.get_mut(column) {
            *count += 1;
        }
    }
    writeln!(
        out,
        "\n{:<14} {:>6} {:>11} {:>13} {:>6} {:>6}",
        "GROUP", "PASS", "FAIL (MUST)", "FAIL (SHOULD)", "SKIP", "ERROR"
    )?;
    let mut line = |name: &str, counts: [usize; 5]| {
        let [passed, must, should, skipped, errors] = counts;
        writeln!(out, "{name:<14} {passed:>6} {must:>11} {should:>13} {skipped:>6} {errors:>6}")
    };
    let mut all = [0; 5];
    for counts in groups.values() {
        for (sum, count) in all.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    for (name, counts) in &groups {
        line(name, *counts)?;
    }
    line("total", all)
}
