//! What came of a run: for people, as JSON, and as JUnit XML for CI.

mod json;
mod junit;
mod text;

use std::fmt;

use crate::case::{Firewall, Level};
use crate::job::{Failure, JobError, Verdict};
use crate::run::{Report, Row};

/// What a row is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Every trial that could be run passed.
    Pass,
    /// One did not.
    Fail,
    /// None could be run.
    Skip,
    /// One could not be finished, by no fault of a plugin.
    Error,
}

impl Status {
    /// As it stands in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Skip => "skip",
            Self::Error => "ERROR",
        }
    }
}

/// A failure, or what kept a trial from being finished.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Problem<'a> {
    Failure(&'a Failure),
    Error(&'a JobError),
}

impl fmt::Display for Problem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(failure) => write!(f, "{}", failure.problem),
            Self::Error(error) => write!(f, "{}", libcni::error::causes(Some(*error))),
        }
    }
}

impl Row {
    /// How the row is counted.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = Status::Skip;
        for (_, _, outcome) in &self.trials {
            match outcome.as_ref().map(|outcome| &outcome.verdict) {
                Err(_) => return Status::Error,
                Ok(Verdict::Fail(_)) => status = Status::Fail,
                Ok(Verdict::Pass) if status == Status::Skip => status = Status::Pass,
                Ok(Verdict::Pass | Verdict::Skip(_)) => {}
            }
        }
        status
    }

    /// `protocol/add-result (bridge)`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.plugin {
            Some(plugin) => format!("{} ({plugin})", self.case.name),
            None => self.case.name.clone(),
        }
    }

    /// The trials that did not pass: version, backend, and what is wrong.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&str, Option<Firewall>, Problem<'_>)> {
        self.trials.iter().filter_map(|(version, firewall, outcome)| match outcome {
            Err(error) => Some((version.as_str(), *firewall, Problem::Error(error))),
            Ok(outcome) => match &outcome.verdict {
                Verdict::Fail(failure) => Some((version.as_str(), *firewall, Problem::Failure(failure))),
                Verdict::Pass | Verdict::Skip(_) => None,
            },
        })
    }

    /// Why it is skipped, if it is.
    pub(crate) fn skip_reason(&self) -> Option<&str> {
        let of_trial = || {
            self.trials.iter().find_map(|(_, _, outcome)| match outcome.as_ref().map(|outcome| &outcome.verdict) {
                Ok(Verdict::Skip(reason)) => Some(reason.as_str()),
                _ => None,
            })
        };
        if self.status() == Status::Skip { self.skip.as_deref().or_else(of_trial) } else { None }
    }

    /// How long all its trials took, in microseconds.
    pub(crate) fn micros(&self) -> u64 {
        self.trials.iter().filter_map(|(_, _, outcome)| outcome.as_ref().ok()).map(|outcome| outcome.micros).sum()
    }
}

impl Report {
    /// Whether a plugin does not do what it must.
    #[must_use]
    pub fn fails_a_must(&self) -> bool {
        self.rows.iter().any(|row| row.case.level == Level::Must && row.status() == Status::Fail)
    }

    /// Whether a trial could not be finished, by no fault of a plugin.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.rows.iter().any(|row| row.status() == Status::Error)
    }

    /// The table for people, at most `width` columns wide where nothing is lost by it.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn write_text(&self, out: &mut dyn std::io::Write, style: Style) -> std::io::Result<()> {
        text::write(self, out, style)
    }

    /// All of it, with every input and output of what failed.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json::of(self)
    }

    /// JUnit XML, as CI systems read it: a suite for each group, a case for each row.
    #[must_use]
    pub fn to_junit(&self) -> String {
        junit::of(self)
    }
}

/// How text is shown.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// How many columns there are.
    pub width: usize,
    /// Whether colours may be used.
    pub colour: bool,
}
