//! The cases and the known plugins, which are files of this crate and part of the program.

use crate::case::Case;
use crate::profile::Profile;

mod embedded;

/// Why a file of cases or plugins cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct CatalogError {
    /// `cases/GROUP/NAME.json`, or the path of a file of the user's.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

/// All cases, in the order of their names.
///
/// # Errors
/// If a file is malformed, which a test of this crate excludes.
pub fn cases() -> Result<Vec<Case>, CatalogError> {
    embedded::CASES.iter().map(|(name, text)| parse(name, text)).collect()
}

/// The case `GROUP/NAME`.
///
/// # Errors
/// If there is none, or the file is malformed.
pub fn case(name: &str) -> Result<Case, CatalogError> {
    match embedded::CASES.iter().find(|(known, _)| *known == name) {
        Some((name, text)) => parse(name, text),
        None => Err(CatalogError { file: format!("cases/{name}.json"), problem: "there is no such case".to_owned() }),
    }
}

fn parse(name: &str, text: &str) -> Result<Case, CatalogError> {
    let mut case: Case = serde_json::from_str(text)
        .map_err(|e| CatalogError { file: format!("cases/{name}.json"), problem: e.to_string() })?;
    name.clone_into(&mut case.name);
    Ok(case)
}

/// The plugins that the suite knows, by type.
///
/// # Errors
/// If the file is malformed, which a test of this crate excludes.
pub fn profiles() -> Result<Vec<Profile>, CatalogError> {
    Profile::all_of("plugins.json", embedded::PLUGINS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_case_is_embedded_and_understood() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let mut files = BTreeSet::new();
        for group in std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap()) {
            for file in std::fs::read_dir(group.path()).unwrap().map(|entry| entry.unwrap().path()) {
                let group = group.file_name().into_string().unwrap();
                files.insert(format!("{group}/{}", file.file_stem().unwrap().to_str().unwrap()));
            }
        }
        let embedded: BTreeSet<String> = embedded::CASES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files, embedded, "src/catalog/embedded.rs lists the files (hint: conformance/list-cases)");
        for case in cases().unwrap() {
            assert!(!case.steps.is_empty(), "{}", case.name);
            let is_for_plugins = !case.classes.is_empty() || !case.types.is_empty();
            assert!(is_for_plugins || case.conflist.is_some(), "{}: neither plugins nor a conflist", case.name);
        }
    }

    #[test]
    fn every_plugin_of_the_table_is_understood() {
        assert!(!profiles().unwrap().is_empty());
    }
}
