//! What is found: a fault of a known kind at a place in a file.

use std::fmt;

pub(crate) use crate::finding::Severity;
use crate::validate::document::Span;

/// A kind of fault. Codes are for ever: one that is no longer found is not given to another.
#[derive(Debug)]
pub(crate) struct Rule {
    /// `CNI0101`: the first two digits are the group, as the modules of [`super::rules`].
    pub(crate) code: &'static str,
    /// The same in words.
    pub(crate) name: &'static str,
    pub(crate) severity: Severity,
    /// What is looked for, in one sentence.
    pub(crate) summary: &'static str,
    /// Why it matters, in one sentence.
    pub(crate) why: &'static str,
    /// What to do, unless the finding knows better.
    pub(crate) cure: &'static str,
}

/// A fault at a place.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) rule: &'static Rule,
    /// The index of the file.
    pub(crate) file: usize,
    pub(crate) span: Span,
    /// What, in one sentence.
    pub(crate) problem: String,
    pub(crate) cure: String,
}

impl Finding {
    pub(crate) fn new(rule: &'static Rule, file: usize, span: &Span, problem: impl fmt::Display) -> Self {
        Self { rule, file, span: span.clone(), problem: problem.to_string(), cure: rule.cure.to_owned() }
    }

    /// With another cure.
    pub(crate) fn cure(mut self, cure: impl fmt::Display) -> Self {
        self.cure = cure.to_string();
        self
    }

    /// With `cure`, where there is one.
    pub(crate) fn perhaps(self, cure: Option<String>) -> Self {
        match cure {
            Some(cure) => self.cure(cure),
            None => self,
        }
    }
}
