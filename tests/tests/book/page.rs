//! A page of Markdown: its fences, headings and links.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::root;

/// A page.
pub(crate) struct Page {
    /// Where it lies, from the root of the repository on.
    pub(crate) path: PathBuf,
    text: String,
}

/// A link of a page.
pub(crate) struct Link {
    /// The line on which it begins, from 1 on.
    pub(crate) line: usize,
    /// Where it leads: `page.md#heading`.
    pub(crate) target: String,
}

impl Page {
    /// The page at this path below the root.
    pub(crate) fn read(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { path, text }
    }

    /// The content of each fence that is marked so: "```json".
    pub(crate) fn fences(&self, language: &str) -> Vec<String> {
        let (mut fences, mut open) = (Vec::new(), None);
        for line in self.text.lines() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(mark), None) => open = Some((mark == language, String::new())),
                (Some(_), Some(_)) => fences.extend(open.take().filter(|(wanted, _)| *wanted).map(|(_, text)| text)),
                (None, Some((_, text))) => text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fence without an end", self.path.display());
        fences
    }

    /// The configuration lists of the page, in their order.
    pub(crate) fn conflists(&self) -> Vec<Value> {
        let parse =
            |text: String| serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        self.fences("json").into_iter().map(parse).collect()
    }

    /// The lines outside fences, with their numbers.
    fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut inside = false;
        self.text.lines().enumerate().filter_map(move |(number, line)| {
            let is_fence = line.trim_start().starts_with("```");
            inside ^= is_fence;
            (!inside && !is_fence).then_some((number + 1, line))
        })
    }

    /// The anchors of the headings, as GitHub and mdBook make them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for (_, line) in self.prose() {
            let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim()) else {
                continue;
            };
            let kept = heading.to_lowercase().replace(' ', "-");
            let anchor: String = kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
            let earlier = anchors.iter().filter(|other| **other == anchor).count();
            anchors.push(if earlier == 0 { anchor } else { format!("{anchor}-{earlier}") });
        }
        anchors
    }

    /// The links of the text, `[…](target)`.
    pub(crate) fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for (line, text) in self.prose() {
            // Even pieces are outside `code`.
            for piece in text.split('`').step_by(2) {
                let targets = piece.split("](").skip(1).filter_map(|rest| rest.split(')').next());
                let targets = targets.filter(|target| !target.is_empty());
                links.extend(targets.map(|target| Link { line, target: target.to_owned() }));
            }
        }
        links
    }

    /// What `{{#include …}}` takes in.
    pub(crate) fn includes(&self) -> Vec<String> {
        let marks = self.text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next());
        marks.map(|mark| mark.split(':').next().unwrap_or(mark).to_owned()).collect()
    }

    /// The headings that are `code`.
    pub(crate) fn code_headings(&self) -> Vec<&str> {
        let headings = self.prose().filter_map(|(_, line)| line.strip_prefix("### `"));
        headings.map(|rest| rest.trim_end_matches('`')).collect()
    }
}

/// The pages below a folder.
pub(crate) fn pages_below(folder: &str) -> Vec<Page> {
    let (mut folders, mut pages) = (vec![PathBuf::from(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap().map(Result::unwrap) {
            let path = folder.join(entry.file_name());
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "target" || name.starts_with('.') {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(Page::read(path));
            }
        }
    }
    pages.sort_by(|a, b| a.path.cmp(&b.path));
    pages
}
