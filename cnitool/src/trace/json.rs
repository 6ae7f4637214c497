//! A trace for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use libcni::plugin::Verb;
use linuxnet::snapshot::{Change, Entry};
use serde_json::{Value, json};

use super::record::{Record, Recorded};

/// The trace; `error` is why the whole failed. Times are in milliseconds.
pub(super) fn value(record: &Record, verb: Verb, network: &str, error: Option<String>) -> Value {
    let calls: Vec<Value> = record.calls.iter().map(|call| of_call(call, verb)).collect();
    json!({
        "verb": verb.as_str(),
        "network": network,
        "calls": calls,
        "milliseconds": milliseconds(record.total),
        "millisecondsForLooking": milliseconds(record.looking),
        "problems": record.problems,
        "error": error,
    })
}

fn of_call(call: &Recorded, verb: Verb) -> Value {
    let environment: BTreeMap<&str, &str> = call.env.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let failure = call.outcome.as_ref().err();
    let error = failure.map(|failure| match &failure.reply {
        Some(reply) => json!({"code": reply.code.0, "msg": reply.msg, "details": reply.details}),
        None => json!({"msg": failure.text}),
    });
    let ipam = call
        .ipam
        .as_ref()
        .map(|ipam| json!({"plugin": ipam.plugin_type, "path": ipam.path, "sameExecutable": ipam.is_same_file}));
    json!({
        "plugin": call.plugin_type,
        "path": call.path,
        "verb": call.verb.as_str(),
        "rollBack": call.verb != verb,
        "start": milliseconds(call.start),
        "milliseconds": milliseconds(call.took),
        "environment": environment,
        "stdin": call.stdin,
        "ipam": ipam,
        "result": call.result(),
        "error": error,
        "stderr": call.stderr,
        "changes": {"host": changes(&call.host), "container": changes(&call.container)},
    })
}

fn changes(changes: &[Change]) -> Vec<Value> {
    changes.iter().map(change).collect()
}

fn change(change: &Change) -> Value {
    let of = |what: &str, entry: &Entry| {
        json!({
            "change": what,
            "kind": entry.kind.as_str(),
            "dev": entry.dev,
            "text": entry.text,
            "automatic": change.is_automatic(),
        })
    };
    match change {
        Change::Added(entry) => of("added", entry),
        Change::Removed(entry) => of("removed", entry),
        Change::Changed(before, now) => {
            let mut value = of("changed", now);
            if let Some(members) = value.as_object_mut() {
                members.insert("before".to_owned(), before.text.as_str().into());
            }
            value
        }
    }
}

/// To the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1000.0
}
