//! What an observer is told.

use std::sync::{Arc, Mutex};

use libcni::runtime::{Call, Observer, Outcome};

use crate::bed::{Bed, attachment, network};

/// Notes what it sees, one line for each.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn before(&self, call: &Call<'_>) {
        let note = format!("{} {} {}", call.verb.as_str(), call.plugin_type, call.path.is_some());
        self.0.lock().unwrap().push(note);
    }

    fn after(&self, call: &Call<'_>, outcome: &Outcome<'_>) {
        assert_eq!(call.env.var("CNI_COMMAND"), Some(call.verb.as_str()));
        let said = String::from_utf8_lossy(outcome.stderr).trim().to_owned();
        let note = match outcome.result {
            Ok(stdout) => format!("{} -> {}", call.stdin.len() > 2, String::from_utf8_lossy(stdout).trim()),
            Err(fault) => format!("failed: {fault}"),
        };
        self.0.lock().unwrap().push(format!("{note} [{said}]"));
    }
}

#[test]
fn an_observer_sees_each_call_and_the_roll_back() {
    let mut bed = Bed::new();
    bed.script("first", "ADD", "echo log >&2");
    bed.script("second", "ADD", "echo oops >&2");
    bed.refuse("second", "ADD", 11, "not now");
    let notes = Arc::new(Notes::default());
    bed.runtime.observer = Some(Arc::clone(&notes) as Arc<dyn Observer>);
    bed.runtime.add(&network("1.1.0", &["first", "second"]), &attachment()).unwrap_err();
    let seen = std::mem::take(&mut *notes.0.lock().unwrap());
    let expected = [
        "ADD first true",
        "true -> {} [log]",
        "ADD second true",
        "failed: not now; why [oops]",
        "DEL first true",
        "true ->  []",
    ];
    assert_eq!(seen, expected);
    bed.runtime.add(&network("1.1.0", &["absent"]), &attachment()).unwrap_err();
    let seen = notes.0.lock().unwrap();
    assert_eq!(seen[0], "ADD absent false");
    assert!(seen[1].starts_with("failed: "), "{seen:?}");
}
