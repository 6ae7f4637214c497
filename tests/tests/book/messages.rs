//! The messages that docs/troubleshooting.md explains are messages of ours.

use std::fs;
use std::path::Path;

use crate::page::Page;
use crate::root;

#[test]
fn each_message_of_the_troubleshooting_page_is_one_of_ours() {
    let page = Page::read("docs/troubleshooting.md");
    let messages = page.code_headings();
    assert!(messages.len() > 20, "only {} messages", messages.len());
    let (golden, source) = (golden(), source());
    let unknown: Vec<&&str> =
        messages.iter().filter(|message| !is_in(message, &golden) && !is_in(message, &source)).collect();
    assert!(unknown.is_empty(), "nobody says: {unknown:#?}");
}

/// Whether `message` occurs in a line of `text`, piece by piece between the `…`s.
fn is_in(message: &str, text: &[String]) -> bool {
    text.iter().any(|line| {
        let mut rest = line.as_str();
        message.split('…').all(|piece| match rest.split_once(piece.trim()) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    })
}

/// The lines of the golden files of `tests/errors.rs`.
fn golden() -> Vec<String> {
    let files = fs::read_dir(root().join("tests/errors")).unwrap().map(|entry| entry.unwrap().path());
    let golden = files.filter(|path| path.extension().is_some_and(|extension| extension == "golden"));
    golden.flat_map(|path| lines(&path)).collect()
}

/// The lines of the sources, with the placeholders of format strings as they stand there.
fn source() -> Vec<String> {
    let mut folders = vec![root()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                if !["target", "tests", "docs"].contains(&name.as_str()) && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(lines(&path));
            }
        }
    }
    found
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(|line| line.replace("\\\"", "\"")).collect()
}

#[test]
fn the_page_of_error_codes_has_each_code() {
    let page = fs::read_to_string(root().join("docs/error-codes.md")).unwrap();
    let source = fs::read_to_string(root().join("libcni/src/error.rs")).unwrap();
    let codes = source.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": Self = Self("));
    let codes: Vec<&str> = codes.map(|(_, number)| number.trim_end_matches(");")).collect();
    assert!(codes.len() > 10, "{codes:?}");
    for code in codes {
        assert!(page.contains(&format!("\n| {code} | ")), "docs/error-codes.md lacks {code}");
    }
}
