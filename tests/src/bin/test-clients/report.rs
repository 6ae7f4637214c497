//! What was checked, and how it went.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::times::milliseconds;

/// Why a check says nothing here.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

/// How a check went: it panics if something is wrong.
pub(crate) type Outcome = Result<(), Skip>;

enum State {
    Ok,
    Skipped(String),
    Failed(String),
}

struct Row {
    name: String,
    state: State,
    ms: f64,
    note: String,
}

/// The checks of one client, in their order.
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new() -> Self {
        // What is wrong is in the table; the place in the source is no help to whoever reads that.
        std::panic::set_hook(Box::new(|_| {}));
        Self { rows: Vec::new() }
    }

    /// Runs a check; what it found, or `None` if it failed or was skipped.
    pub(crate) fn value<T>(&mut self, name: &str, check: impl FnOnce() -> Result<T, Skip>) -> Option<T> {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(check));
        let ms = milliseconds(started);
        let (state, value) = match outcome {
            Ok(Ok(value)) => (State::Ok, Some(value)),
            Ok(Err(Skip(reason))) => (State::Skipped(reason), None),
            Err(panic) => (State::Failed(panic_text(&*panic)), None),
        };
        self.rows.push(Row { name: name.to_owned(), state, ms, note: String::new() });
        value
    }

    /// Runs a check; whether it succeeded.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Outcome) -> bool {
        self.value(name, check).is_some()
    }

    /// Says more about the last check.
    pub(crate) fn note(&mut self, text: &str) {
        if let Some(row) = self.rows.last_mut() {
            text.clone_into(&mut row.note);
        }
    }

    pub(crate) fn failed(&self) -> bool {
        self.rows.iter().any(|row| matches!(row.state, State::Failed(_)))
    }

    /// Whether nothing was checked at all.
    pub(crate) fn all_skipped(&self) -> bool {
        self.rows.iter().all(|row| matches!(row.state, State::Skipped(_)))
    }

    /// The table.
    pub(crate) fn table(&self, client: &str) -> String {
        let mut text = format!("{:<58} {:<8} {:>7}\n", format!("{client}: check"), "", "ms");
        for row in &self.rows {
            let (word, reason) = match &row.state {
                State::Ok => ("ok", ""),
                State::Skipped(reason) => ("SKIP", reason.as_str()),
                State::Failed(reason) => ("FAILED", reason.as_str()),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{:<58} {word:<8} {:>7.0}", row.name, row.ms);
            for line in reason.lines().chain(row.note.lines()) {
                let _ = writeln!(text, "    {line}");
            }
        }
        text
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_else(|| "panic".to_owned())
}
