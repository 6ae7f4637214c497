//! What `doctor` found to be wrong. How bad it is, `validate` says by the same words; its findings have a place in a file.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Good to know; nothing is wrong.
    Note,
    /// Works today, but something is left over, or will fail some day.
    Warning,
    /// Does not work.
    Error,
}

impl Severity {
    /// Its name in the output.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Where in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Its kind, which never changes its name: `leaked-address`, or a code of `validate`.
    pub(crate) code: &'static str,
    /// What was seen.
    pub(crate) seen: String,
    /// Where it stands in a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place>,
    /// Why it matters.
    pub(crate) why: String,
    /// What to do: a sentence, or the very command.
    pub(crate) cure: String,
    /// What it is about, one by one, where `seen` only sums up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<String>,
}

impl Finding {
    /// A finding that says what was seen; why it matters and the cure are still to be said.
    pub(crate) fn new(severity: Severity, code: &'static str, seen: impl Into<String>) -> Self {
        let (why, cure) = (String::new(), String::new());
        Self { severity, code, seen: seen.into(), place: None, why, cure, objects: Vec::new() }
    }

    /// Something that does not work.
    pub(crate) fn error(code: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, seen)
    }

    /// Something that will not work some day, or that is left over.
    pub(crate) fn warning(code: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, seen)
    }

    /// Something to know.
    pub(crate) fn note(code: &'static str, seen: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, seen)
    }

    /// The same with why it matters.
    pub(crate) fn because(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    /// The same with what to do.
    pub(crate) fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: cure.into(), ..self }
    }

    /// The same at a place in a configuration.
    pub(crate) fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// The same about these, one by one.
    pub(crate) fn about(self, objects: impl IntoIterator<Item = String>) -> Self {
        Self { objects: objects.into_iter().collect(), ..self }
    }
}
