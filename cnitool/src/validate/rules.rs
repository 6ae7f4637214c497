//! What is looked for: a module per group of codes.

mod addresses;
mod capabilities;
mod chain;
mod files;
pub(crate) mod keys;
mod links;
mod network;
mod options;
mod ranges;
mod routes;

use std::path::Path;

pub(crate) use chain::programs;

use crate::validate::finding::{Finding, Rule};
use crate::validate::host::Host;
use crate::validate::network::{File, Network, Plugin};

/// All that there is to look at.
#[derive(Debug)]
pub(crate) struct Survey<'f> {
    pub(crate) files: &'f [File],
    pub(crate) networks: Vec<Network<'f>>,
    pub(crate) host: &'f Host,
}

impl<'f> Survey<'f> {
    /// The networks of all files but those that are drop-ins of another.
    pub(crate) fn new(files: &'f [File], host: &'f Host) -> Self {
        let all: Vec<Network<'f>> = (0..files.len()).filter_map(|index| Network::of(files, index)).collect();
        let is_drop_in = |file: usize| {
            all.iter().any(|other| other.file != file && other.plugins.iter().any(|plugin| plugin.file == file))
        };
        let networks = all.iter().filter(|network| !is_drop_in(network.file)).cloned().collect();
        Self { files, networks, host }
    }

    /// Every plugin of every network.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = (&Network<'f>, Plugin<'f>)> {
        self.networks.iter().flat_map(|network| network.plugins.iter().map(move |plugin| (network, *plugin)))
    }

    /// The directory of a file.
    pub(crate) fn dir(&self, file: usize) -> Option<&'f Path> {
        self.files.get(file).and_then(|file| file.path.parent())
    }

    /// `NAME, line N`, for a reference from another place.
    pub(crate) fn where_is(&self, file: usize, offset: usize) -> String {
        let Some(file) = self.files.get(file) else { return String::new() };
        format!("{}, line {}", file.name(), file.lines().place(offset).line)
    }

    /// Everything that is wrong, by file and place.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        const CHECKS: [fn(&Survey<'_>, &mut Vec<Finding>); 9] = [
            files::check,
            keys::check,
            network::check,
            chain::check,
            capabilities::check,
            addresses::check,
            routes::check,
            links::check,
            options::check,
        ];
        let mut findings = Vec::new();
        CHECKS.iter().for_each(|check| check(self, &mut findings));
        findings.sort_by_key(|finding| (finding.file, finding.span.start, finding.rule.code, finding.problem.clone()));
        findings
    }
}

/// All kinds of findings, by code.
pub(crate) fn all() -> impl Iterator<Item = &'static Rule> {
    let groups: [&[&'static Rule]; 9] = [
        &files::RULES,
        &keys::RULES,
        &network::RULES,
        &chain::RULES,
        &capabilities::RULES,
        &addresses::RULES,
        &routes::RULES,
        &links::RULES,
        &options::RULES,
    ];
    groups.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order_and_texts_are_sentences() {
        let codes: Vec<&str> = all().map(|rule| rule.code).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
        for rule in all() {
            for text in [rule.summary, rule.why, rule.cure] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", rule.code);
            }
            assert!(
                rule.name.chars().all(|c| c == '-' || c.is_ascii_digit() || c.is_ascii_lowercase()),
                "{}",
                rule.name
            );
        }
    }
}
