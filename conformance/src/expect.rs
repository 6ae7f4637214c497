//! What a plugin answered, against what it must answer.

use serde_json::Value;

use crate::call::{End, Record};
use crate::keeps::keeps;
use crate::step::{Expect, Outcome, Stdout};

/// Judges one execution. `version` is that of the configuration; a result must have its form.
///
/// # Errors
/// What should be, and what is.
pub(crate) fn judge(record: &Record, expect: &Expect, version: &str, is_add: bool) -> Result<(), String> {
    match record.end {
        End::TimedOut(_) => return Err(format!("the plugin {}", record.end)),
        End::Signal(signal) => return Err(format!("the plugin crashed: it was ended by signal {signal}")),
        End::Exit(_) | End::Killed => {}
    }
    match (record.succeeded(), expect.outcome) {
        (true, Outcome::Failure) => return Err("it must fail, but exits with code 0".to_owned()),
        (false, Outcome::Success) => return Err(format!("it must succeed, but {}", failure_in_words(record))),
        (true, Outcome::Success | Outcome::Any) => {
            if is_add {
                has_the_form_of(version, &only_object(&record.stdout)?)?;
            }
        }
        (false, _) if expect.stdout == Some(Stdout::Any) => {}
        (false, Outcome::Failure | Outcome::Any) => error_object(record, expect)?,
    }
    match expect.stdout {
        Some(Stdout::Empty) if !record.stdout.trim().is_empty() => {
            return Err("stdout must be empty".to_owned());
        }
        Some(Stdout::Object) => drop(only_object(&record.stdout)?),
        Some(Stdout::Empty | Stdout::Any) | None => {}
    }
    if expect.keeps_prev_result && record.succeeded() {
        let sent: Value = serde_json::from_str(&record.stdin).unwrap_or_default();
        keeps(sent.get("prevResult").unwrap_or(&Value::Null), &only_object(&record.stdout)?)?;
    }
    parts(record, expect)
}

fn failure_in_words(record: &Record) -> String {
    match only_object(&record.stdout) {
        Ok(error) => {
            let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let code = error.get("code").map(Value::to_string).unwrap_or_default();
            let details = text("details");
            let details = if details.is_empty() { details } else { format!(": {details}") };
            format!("fails with code {code}: {}{details}", text("msg"))
        }
        Err(_) => format!("{} and no error object", record.end),
    }
}

/// The one JSON object that stdout must be.
pub(crate) fn only_object(stdout: &str) -> Result<Value, String> {
    if stdout.trim().is_empty() {
        return Err("stdout must be one JSON object, but is empty".to_owned());
    }
    match serde_json::from_str(stdout) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("stdout must be one JSON object, but is another JSON value".to_owned()),
        Err(e) => Err(format!("stdout must be one JSON object and nothing else: {e}")),
    }
}

/// The error object of a plugin that failed (specification, "Error").
fn error_object(record: &Record, expect: &Expect) -> Result<(), String> {
    let error = only_object(&record.stdout)?;
    let Some(code) = error.get("code").and_then(Value::as_u64) else {
        return Err("the error object must have a number as \"code\"".to_owned());
    };
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("msg").is_empty() {
        return Err("the error object must have a text as \"msg\"".to_owned());
    }
    if !expect.codes.is_empty() && !expect.codes.contains(&code) {
        let codes: Vec<String> = expect.codes.iter().map(u64::to_string).collect();
        return Err(format!("the code must be {}, but is {code}", codes.join(" or ")));
    }
    let said = format!("{} {}", text("msg"), text("details")).to_lowercase();
    match &expect.says {
        Some(wanted) if !said.contains(&wanted.to_lowercase()) => {
            Err(format!("msg and details must say \"{wanted}\", but say \"{} {}\"", text("msg"), text("details")))
        }
        _ => Ok(()),
    }
}

/// The parts of stdout that the case names.
fn parts(record: &Record, expect: &Expect) -> Result<(), String> {
    if expect.reply.is_empty() && expect.has.is_empty() && expect.lacks.is_empty() && expect.addresses.is_none() {
        return Ok(());
    }
    parts_of(&only_object(&record.stdout)?, expect)
}

/// As [`judge`], of the parts of a reply.
pub(crate) fn parts_of(reply: &Value, expect: &Expect) -> Result<(), String> {
    for (pointer, wanted) in &expect.reply {
        match reply.pointer(pointer) {
            Some(found) if found == wanted => {}
            Some(found) => return Err(format!("{pointer} must be {wanted}, but is {found}")),
            None => return Err(format!("{pointer} must be {wanted}, but is not there")),
        }
    }
    if let Some(missing) = expect.has.iter().find(|pointer| reply.pointer(pointer).is_none()) {
        return Err(format!("{missing} must be there"));
    }
    if let Some(pointer) = expect.lacks.iter().find(|pointer| reply.pointer(pointer).is_some()) {
        return Err(format!("{pointer} must not be there"));
    }
    match &expect.addresses {
        Some(wanted) if *wanted != addresses_of(reply) => {
            Err(format!("the addresses must be {wanted:?}, but are {:?}", addresses_of(reply)))
        }
        _ => Ok(()),
    }
}

/// The addresses of a result of any version, with their prefix lengths.
pub(crate) fn addresses_of(result: &Value) -> Vec<String> {
    let list = result.get("ips").and_then(Value::as_array).into_iter().flatten();
    let new = list.filter_map(|ip| ip.get("address"));
    let old = ["/ip4/ip", "/ip6/ip"].into_iter().filter_map(|pointer| result.pointer(pointer));
    new.chain(old).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Results of each version have keys that the others have not (specification, "Success").
pub(crate) fn has_the_form_of(version: &str, result: &Value) -> Result<(), String> {
    match result.get("cniVersion") {
        Some(Value::String(said)) if said == version => {}
        Some(other) => return Err(format!("the result's cniVersion must be \"{version}\", but is {other}")),
        None => return Err(format!("the result must have \"cniVersion\": \"{version}\"")),
    }
    let ips: Vec<&Value> = result.get("ips").and_then(Value::as_array).into_iter().flatten().collect();
    let has_family = |ip: &&Value| matches!(ip.get("version").and_then(Value::as_str), Some("4" | "6"));
    let fault = |what: &str| Err(format!("a result of version {version} {what}"));
    match version {
        "0.1.0" | "0.2.0" if result.get("ips").is_some() || result.get("interfaces").is_some() => {
            fault("has ip4 and ip6, not ips and interfaces")
        }
        "0.3.0" | "0.3.1" | "0.4.0" if !ips.iter().all(has_family) => {
            fault("must have \"version\": \"4\" or \"6\" in each of ips")
        }
        "1.0.0" | "1.1.0" if ips.iter().any(|ip| ip.get("version").is_some()) => {
            fault("must not have \"version\" in ips")
        }
        _ => Ok(()),
    }
}
