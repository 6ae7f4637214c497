//! The report as JSON.

use serde_json::{Value, json};

use super::Status;
use crate::job::Verdict;
use crate::run::{Report, Row};

pub(super) fn of(report: &Report) -> Value {
    let count = |status| report.rows.iter().filter(|row| row.status() == status).count();
    json!({
        "binDir": report.bin_dir,
        "conforms": !report.fails_a_must(),
        "totals": {
            "pass": count(Status::Pass),
            "fail": count(Status::Fail),
            "skip": count(Status::Skip),
            "error": count(Status::Error),
        },
        "results": report.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Value {
    let trials: Vec<Value> = row
        .trials
        .iter()
        .map(|(version, firewall, outcome)| match outcome {
            Ok(outcome) => json!({
                "version": version, "firewall": firewall, "micros": outcome.micros,
                "verdict": match &outcome.verdict { Verdict::Pass => "pass", Verdict::Fail(_) => "fail", Verdict::Skip(_) => "skip" },
                "failure": match &outcome.verdict { Verdict::Fail(failure) => json!(failure), _ => Value::Null },
            }),
            Err(error) => json!({
                "version": version, "firewall": firewall, "verdict": "error",
                "error": libcni::error::causes(Some(error)),
            }),
        })
        .collect();
    json!({
        "case": row.case.name,
        "about": row.case.about,
        "section": row.case.section,
        "level": row.case.level,
        "plugin": row.plugin,
        "status": row.status().as_str().to_lowercase(),
        "reason": row.skip_reason(),
        "trials": trials,
    })
}
