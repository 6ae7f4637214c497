//! Taking back what was done: ADD is all or nothing.

use std::error::Error;
use std::fmt;
use std::io::Write;

use libcni::error::causes;
use libcni::plugin::{Interrupted, interrupted};

/// What a step of undoing failed with.
pub type StepError = Box<dyn Error>;

/// A step of undoing that failed: what it would have done is still to be done, by DEL or GC.
#[derive(Debug, thiserror::Error)]
#[error("cannot undo: {what}")]
pub struct UndoError {
    /// What the step would have done, as it was pushed: `remove link veth1a2b3c4d`.
    pub what: String,
    source: StepError,
}

struct Step<'a> {
    what: String,
    run: Box<dyn FnOnce() -> Result<(), StepError> + 'a>,
}

/// Steps that take back what was done so far. Dropped, it runs them, last one first; [`commit`](Self::commit) forgets
/// them. Each step of an ADD pushes its undoing before the next step starts.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (mut file, dir) = (None, tempfile::tempdir()?);
/// use linuxnet::undo::Undo;
///
/// let mut undo = Undo::new();
/// let path = dir.path().join("reservation");
/// file.replace(std::fs::File::create(&path)?);
/// undo.push("remove the reservation", || Ok(std::fs::remove_file(path)?));
/// undo.checkpoint()?;
/// // … the next steps …
/// undo.commit();
/// # Ok(())
/// # }
/// ```
///
/// A step runs long after it was pushed, so it owns what it needs: names and indexes rather than borrowed sockets. It
/// opens a socket of its own; undoing is rare.
pub struct Undo<'a> {
    steps: Vec<Step<'a>>,
    report: Box<dyn FnMut(&UndoError) + 'a>,
}

impl<'a> Undo<'a> {
    /// Nothing to undo yet. A step that fails is told on stderr, one line each.
    #[must_use]
    pub fn new() -> Self {
        Self::reporting(|failure| {
            // Whether the line arrives changes nothing any more.
            let _ = writeln!(std::io::stderr(), "{failure}: {}", causes(failure.source()));
        })
    }

    /// Nothing to undo yet. A step that fails is told to `report`, and the steps before it run all the same.
    pub fn reporting(report: impl FnMut(&UndoError) + 'a) -> Self {
        Self { steps: Vec::new(), report: Box::new(report) }
    }

    /// Adds a step. `what` says what it does: `"remove link veth1a2b3c4d"`.
    pub fn push(&mut self, what: impl Into<String>, run: impl FnOnce() -> Result<(), StepError> + 'a) {
        self.steps.push(Step { what: what.into(), run: Box::new(run) });
    }

    /// To be asked between steps: whether the runtime wants this process to end. The caller returns the error, and
    /// so everything is undone.
    ///
    /// # Errors
    /// [`Interrupted`] after SIGTERM or SIGINT.
    pub fn checkpoint(&self) -> Result<(), Interrupted> {
        interrupted()
    }

    /// All went well: nothing is undone.
    pub fn commit(mut self) {
        self.steps.clear();
    }
}

impl Default for Undo<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        while let Some(Step { what, run }) = self.steps.pop() {
            if let Err(source) = run() {
                (self.report)(&UndoError { what, source });
            }
        }
    }
}

impl fmt::Debug for Undo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| &step.what)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn runs_backwards_and_past_failures() {
        let (done, failed) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let remove = |what| {
            done.borrow_mut().push(what);
            if what == "b" { Err(StepError::from("busy")) } else { Ok(()) }
        };
        {
            let mut undo = Undo::reporting(|e| failed.borrow_mut().push(format!("{e}: {}", e.source().unwrap())));
            for what in ["a", "b", "c"] {
                undo.push(format!("remove {what}"), move || remove(what));
            }
            undo.checkpoint().unwrap();
        }
        assert_eq!(*done.borrow(), ["c", "b", "a"]);
        assert_eq!(*failed.borrow(), ["cannot undo: remove b: busy"]);
    }

    #[test]
    fn commit_forgets() {
        let mut undo = Undo::new();
        undo.push("fail the test", || panic!("an undo ran after commit"));
        assert_eq!(format!("{undo:?}"), "[\"fail the test\"]");
        undo.commit();
    }
}
