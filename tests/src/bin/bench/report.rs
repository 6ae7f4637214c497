//! What was measured, as a table and as `bench.json`.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::sample::{Sample, medians};

/// One line: one verb of one work, times in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) verb: &'static str,
    /// Of both sides, unless it says otherwise.
    pub(crate) backend: String,
    /// Attachments that were there before.
    pub(crate) present: usize,
    pub(crate) ours_ms: Option<f64>,
    pub(crate) reference_ms: Option<f64>,
    pub(crate) floor_ms: Option<f64>,
    /// reference / ours
    pub(crate) ratio: Option<f64>,
    pub(crate) ours_cpu_ms: Option<f64>,
    pub(crate) reference_cpu_ms: Option<f64>,
}

/// A number of something else than time.
#[derive(Debug, Serialize)]
pub(crate) struct Quantity {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: u64,
    pub(crate) reference: u64,
}

/// Everything.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) quantities: Vec<Quantity>,
}

/// What a row is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) work: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) present: usize,
}

impl Report {
    /// Adds a row of the medians of `ours`, `reference` and `floor`; whoever did not take part gave no samples.
    pub(crate) fn add(&mut self, subject: Subject<'_>, verb: &'static str, samples: [&[Sample]; 3]) {
        let [ours, reference, floor] = samples.map(medians);
        let wall = |side: Option<(f64, Option<f64>)>| side.map(|(wall, _)| rounded(wall));
        let cpu = |side: Option<(f64, Option<f64>)>| side.and_then(|(_, cpu)| cpu).map(rounded);
        self.rows.push(Row {
            work: subject.work.to_owned(),
            verb,
            backend: subject.backend.to_owned(),
            present: subject.present,
            ours_ms: wall(ours),
            reference_ms: wall(reference),
            floor_ms: wall(floor),
            ratio: ours.zip(reference).map(|(ours, reference)| rounded(reference.0 / ours.0)),
            ours_cpu_ms: cpu(ours),
            reference_cpu_ms: cpu(reference),
        });
    }

    /// Writes `bench.json`: this alone, or with the rows of other work that it has already.
    pub(crate) fn write(&self, path: &Path, adding: bool) {
        let mut report = serde_json::to_value(self).expect("JSON");
        let present = adding.then(|| std::fs::read(path).ok()).flatten();
        if let Some(mut present) = present.and_then(|text| serde_json::from_slice::<Value>(&text).ok()) {
            if let (Some(rows), Some(new)) = (rows_of(&mut present), rows_of(&mut report)) {
                rows.retain(|row| new.iter().all(|new| new.get("work") != row.get("work")));
                rows.append(new);
            }
            report = present;
        }
        let text = serde_json::to_vec_pretty(&report).expect("JSON");
        libcni::store::write_atomic(path, &text, 0o644).expect("bench.json");
    }

    /// The table, for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<52} {:<4} {:<29} {:>7} {:>8} {:>9} {:>7} {:>7} {:>7} {:>8} {:>8}\n",
            "work (medians, ms)",
            "verb",
            "backend",
            "present",
            "ours",
            "reference",
            "ratio",
            "floor",
            "/floor",
            "cpu",
            "ref cpu"
        );
        for row in &self.rows {
            let over_floor = row.ours_ms.zip(row.floor_ms).map(|(ours, floor)| ours / floor);
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{:<52} {:<4} {:<29} {:>7} {:>8} {:>9} {:>7} {:>7} {:>7} {:>8} {:>8}",
                row.work,
                row.verb,
                row.backend,
                row.present,
                number(row.ours_ms),
                number(row.reference_ms),
                number(row.ratio),
                number(row.floor_ms),
                number(over_floor),
                number(row.ours_cpu_ms),
                number(row.reference_cpu_ms)
            );
        }
        for Quantity { what, unit, ours, reference } in &self.quantities {
            let _ = writeln!(text, "{:<87} {:>16} {:>9}   {unit}", what, ours, reference);
        }
        text
    }
}

fn rows_of(report: &mut Value) -> Option<&mut Vec<Value>> {
    report.get_mut("rows")?.as_array_mut()
}

/// To hundredths.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}
