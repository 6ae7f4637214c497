//! What differs between two snapshots.

use std::collections::HashMap;
use std::fmt;

use super::{Entry, Kind};

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was there.
    Removed(Entry),
    /// It is there with other properties: before, and now.
    Changed(Box<Entry>, Box<Entry>),
    /// It was not there.
    Added(Entry),
}

impl Change {
    /// It as it is now, or as it was if it is gone.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        match self {
            Self::Removed(entry) | Self::Added(entry) => entry,
            Self::Changed(_, now) => now,
        }
    }

    /// The kernel did it of itself ([`Entry::is_automatic`], before and now).
    #[must_use]
    pub fn is_automatic(&self) -> bool {
        match self {
            Self::Removed(entry) | Self::Added(entry) => entry.is_automatic,
            Self::Changed(before, now) => before.is_automatic && now.is_automatic,
        }
    }
}

impl fmt::Display for Change {
    /// `+ …` for what was added, `- …` for what was removed, `~ … => …` for what was changed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed(entry) => write!(f, "- {entry}"),
            Self::Changed(before, now) => write!(f, "~ {before} => {}", now.text),
            Self::Added(entry) => write!(f, "+ {entry}"),
        }
    }
}

/// What makes an entry this one.
type Key<'a> = (Kind, &'a str);

fn key(entry: &Entry) -> Key<'_> {
    (entry.kind, &entry.key)
}

pub(super) fn diff(before: &[Entry], after: &[Entry]) -> Vec<Change> {
    let mut old: HashMap<Key<'_>, Vec<&Entry>> = HashMap::new();
    for entry in before {
        old.entry(key(entry)).or_default().push(entry);
    }
    // First what stayed as it is, so that of several with one key the right one counts as changed.
    let mut moved: Vec<&Entry> = Vec::new();
    for entry in after {
        let same = old.get_mut(&key(entry)).and_then(|olds| {
            let at = olds.iter().position(|old| old.text == entry.text)?;
            Some(olds.remove(at))
        });
        if same.is_none() {
            moved.push(entry);
        }
    }
    let changes: Vec<Change> = moved
        .into_iter()
        .map(|entry| match old.get_mut(&key(entry)).filter(|olds| !olds.is_empty()).map(|olds| olds.remove(0)) {
            Some(was) => Change::Changed(Box::new(was.clone()), Box::new(entry.clone())),
            None => Change::Added(entry.clone()),
        })
        .collect();
    // What is left is gone, in the order in which it was there.
    let is_left =
        |entry: &&Entry| old.get(&key(entry)).is_some_and(|olds| olds.iter().any(|o| std::ptr::eq(*o, *entry)));
    before.iter().filter(is_left).cloned().map(Change::Removed).chain(changes).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Object;
    use super::*;
    use crate::nft::{Family, ListedTable};

    fn entry(kind: Kind, key: &str, text: &str) -> Entry {
        let object = Object::NftTable(ListedTable { family: Family::Inet, name: key.to_owned() });
        Entry { kind, dev: None, is_automatic: false, text: text.to_owned(), object, key: key.to_owned() }
    }

    fn lines(before: &[Entry], after: &[Entry]) -> Vec<String> {
        diff(before, after).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_the_same_is_no_difference() {
        let all = [entry(Kind::Link, "lo", "lo up"), entry(Kind::Route, "r", "r"), entry(Kind::Route, "r", "r")];
        assert!(diff(&all, &all).is_empty());
        let turned: Vec<Entry> = all.iter().rev().cloned().collect();
        assert!(diff(&all, &turned).is_empty(), "the order is no difference");
    }

    #[test]
    fn removed_then_changed_and_added_each_in_order() {
        let before = [entry(Kind::Link, "a", "a"), entry(Kind::Link, "b", "b down"), entry(Kind::Rule, "a", "a")];
        let after = [entry(Kind::Link, "b", "b up"), entry(Kind::Link, "c", "c")];
        assert_eq!(lines(&before, &after), ["- link a", "- rule a", "~ link b down => b up", "+ link c"]);
    }

    #[test]
    fn of_two_alike_one_may_go() {
        let one = entry(Kind::NftRule, "x accept", "x accept");
        assert_eq!(lines(&[one.clone(), one.clone()], std::slice::from_ref(&one)), ["- nft-rule x accept"]);
        assert_eq!(lines(std::slice::from_ref(&one), &[one.clone(), one.clone()]), ["+ nft-rule x accept"]);
    }

    #[test]
    fn of_two_with_one_key_the_other_one_is_the_changed_one() {
        let before = [entry(Kind::Route, "k", "first"), entry(Kind::Route, "k", "second")];
        let after = [entry(Kind::Route, "k", "second"), entry(Kind::Route, "k", "third")];
        assert_eq!(lines(&before, &after), ["~ route first => third"]);
    }
}
