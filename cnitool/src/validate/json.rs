//! Findings for programs.

use serde_json::{Value, json};

use crate::validate::Report;
use crate::validate::finding::{Finding, Severity};
use crate::validate::network::File;

/// `{"files": […], "findings": […], "errors": N, …}`. Lines and columns count from 1, columns in characters; the end is
/// the place behind.
pub(crate) fn of(report: &Report<'_>) -> Value {
    let findings: Vec<Value> =
        report.findings.iter().filter_map(|finding| Some(object(finding, report.files.get(finding.file)?))).collect();
    let networks: Vec<Value> = report
        .networks
        .iter()
        .filter_map(|network| {
            let plugins: Vec<&str> = network.plugins.iter().map(|plugin| plugin.kind()).collect();
            Some(json!({
                "file": report.files.get(network.file)?.path,
                "name": network.name(),
                "cniVersion": network.version(),
                "plugins": plugins,
                "capabilities": network.capabilities(),
            }))
        })
        .collect();
    json!({
        "files": report.files.iter().map(|file| &file.path).collect::<Vec<_>>(),
        "networks": networks,
        "findings": findings,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "notes": report.count(Severity::Note),
    })
}

fn object(finding: &Finding, file: &File) -> Value {
    let (start, end) = (file.lines().place(finding.span.start), file.lines().place(finding.span.end));
    json!({
        "code": finding.rule.code,
        "name": finding.rule.name,
        "severity": finding.rule.severity.as_str(),
        "file": file.path,
        "line": start.line,
        "column": start.column,
        "endLine": end.line,
        "endColumn": end.column,
        "path": file.root().and_then(|root| root.path_to(&finding.span)),
        "seen": finding.problem,
        "why": finding.rule.why,
        "cure": finding.cure,
    })
}
