//! Every link between files of the repository leads to a file that is there, and to a heading of it; and every page that
//! a chapter of the book leads to is a chapter, too: otherwise the link is dead in the book. No link is fetched.

use std::path::{Component, Path, PathBuf};

use crate::page::{Link, Page, pages_below};
use crate::root;

/// The chapters of the book.
fn chapters() -> Vec<PathBuf> {
    let summary = Page::read("docs/SUMMARY.md");
    summary.links().iter().filter_map(|link| resolve(&summary, &link.target)).map(|(path, _)| path).collect()
}

/// The file, from the root on, and the heading that a relative link of `page` leads to; `None` for one to elsewhere.
fn resolve(page: &Page, target: &str) -> Option<(PathBuf, Option<String>)> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let folder = page.path.parent().unwrap();
    let whole = if path.is_empty() { page.path.clone() } else { folder.join(path) };
    let mut clean = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                assert!(clean.pop(), "{}: {target} leads out of the repository", page.path.display())
            }
            other => clean.push(other),
        }
    }
    Some((clean, anchor.map(str::to_owned)))
}

/// What is wrong with a link.
fn fault(page: &Page, link: &Link, chapters: &[PathBuf]) -> Option<String> {
    let (path, anchor) = resolve(page, &link.target)?;
    let is_page = path.extension().is_some_and(|extension| extension == "md");
    let in_book = chapters.contains(&page.path);
    if !root().join(&path).exists() {
        Some(format!("{} is not there", path.display()))
    } else if let Some(anchor) = anchor.filter(|_| is_page)
        && !Page::read(&path).anchors().contains(&anchor)
    {
        Some(format!("{} has no heading #{anchor}", path.display()))
    } else if in_book && is_page && !chapters.contains(&path) {
        Some(format!("{} is no chapter of the book (hint: docs/SUMMARY.md)", path.display()))
    } else if in_book && root().join(&path).join("README.md").exists() {
        Some(format!("{} is a folder, which the book does not have (hint: link its README.md)", path.display()))
    } else {
        None
    }
}

#[test]
fn links_lead_somewhere() {
    let chapters = chapters();
    let mut faults = Vec::new();
    for page in pages_below("") {
        for link in page.links() {
            let told = fault(&page, &link, &chapters);
            faults.extend(told.map(|told| format!("{}:{}: {}: {told}", page.path.display(), link.line, link.target)));
        }
        for file in page.includes() {
            let path = root().join(page.path.parent().unwrap()).join(&file);
            assert!(path.exists(), "{}: no file {file} to include", page.path.display());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_page_of_docs_and_every_readme_is_a_chapter_once() {
    let chapters = chapters();
    let folders = ["docs", "plugins", "ipam", "overlay", "cnitool", "conformance", "deploy"];
    let pages = folders.into_iter().flat_map(pages_below).map(|page| page.path);
    let missing: Vec<PathBuf> =
        pages.filter(|path| path != Path::new("docs/SUMMARY.md") && !chapters.contains(path)).collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
    let mut sorted = chapters.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), chapters.len(), "a chapter is twice in docs/SUMMARY.md");
}
