//! Elements of sets and maps.

use super::Table;
use super::abi::*;
use super::rule::Verdict;
use super::userdata;
use super::value::Value;
use crate::nl::{Attributes, attributes, be32, be64, find};

/// An element of a shorter lifetime, in ms, was taken away by [`ElementEntry::expiring`]: the kernel rounds the one
/// millisecond up to its tick, at most ten. Nobody gives elements that are to stay such a lifetime.
const LEAVING_MS: u64 = 1000;

/// What a map gives for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementData {
    /// Nothing: it is an element of a set.
    None,
    /// A value.
    Value(Value),
    /// What to do with the packet.
    Verdict(Verdict),
}

impl From<Value> for ElementData {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl From<Verdict> for ElementData {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

/// An element to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    key: Value,
    data: ElementData,
    comment: Option<String>,
    ends_range: bool,
}

impl Element {
    /// An element of a set.
    #[must_use]
    pub fn new(key: impl Into<Value>) -> Self {
        Self { key: key.into(), data: ElementData::None, comment: None, ends_range: false }
    }

    /// The same as an element of a map.
    #[must_use]
    pub fn data(mut self, data: impl Into<ElementData>) -> Self {
        self.data = data.into();
        self
    }

    /// The same with a comment of at most [`COMMENT_BYTES`](super::COMMENT_BYTES), which `nft` shows. The kernel never
    /// changes the comment of an element that exists.
    #[must_use]
    pub fn comment(mut self, text: impl Into<String>) -> Self {
        self.comment = Some(text.into());
        self
    }

    /// The first value behind a range of a set with intervals.
    pub(super) fn end_of_range(key: impl Into<Value>) -> Self {
        Self { ends_range: true, ..Self::new(key) }
    }

    /// For messages: `element tcp . 8080 to map dnat4`.
    pub(super) fn describe(&self, set: &str) -> String {
        let noun = if self.data == ElementData::None { "set" } else { "map" };
        format!("element {} to {noun} {set}", self.key)
    }

    pub(super) fn comment_text(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    pub(super) fn encode(&self, table: Table<'_>, set: &str) -> Attributes {
        list(table, set, |a| {
            encode_key(&self.key, a);
            encode_data(&self.data, a);
            if self.ends_range {
                a.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            }
            if let Some(comment) = &self.comment {
                a.bytes(NFTA_SET_ELEM_USERDATA, &userdata::comment(comment));
            }
        })
    }
}

/// A message's attributes that name an element by its key.
pub(super) fn by_key(table: Table<'_>, set: &str, key: &Value) -> Attributes {
    list(table, set, |a| encode_key(key, a))
}

fn list(table: Table<'_>, set: &str, element: impl FnOnce(&mut Attributes)) -> Attributes {
    let mut a = Attributes::new();
    a.string(NFTA_SET_ELEM_LIST_TABLE, table.name).string(NFTA_SET_ELEM_LIST_SET, set);
    a.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |all| {
        all.nest(NFTA_LIST_ELEM, element);
    });
    a
}

fn encode_key(key: &Value, a: &mut Attributes) {
    a.nest(NFTA_SET_ELEM_KEY, |k| {
        k.bytes(NFTA_DATA_VALUE, key.as_bytes());
    });
}

fn encode_data(data: &ElementData, a: &mut Attributes) {
    match data {
        ElementData::None => {}
        ElementData::Value(value) => {
            a.nest(NFTA_SET_ELEM_DATA, |d| {
                d.bytes(NFTA_DATA_VALUE, value.as_bytes());
            });
        }
        ElementData::Verdict(verdict) => {
            a.nest(NFTA_SET_ELEM_DATA, |d| verdict.encode(d));
        }
    }
}

/// An element of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementEntry {
    /// Its key, to be read with [`Value::fields`].
    pub key: Value,
    /// What the map gives for it.
    pub data: ElementData,
    /// Its comment.
    pub comment: Option<String>,
    /// Whether it is no element but the first value behind a range, in a set with intervals.
    pub ends_range: bool,
    /// Whether it expires within a second: somebody took it away.
    pub(super) leaving: bool,
}

impl ElementEntry {
    /// The value that the map gives, if it gives one.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        match &self.data {
            ElementData::Value(value) => Some(value),
            ElementData::None | ElementData::Verdict(_) => None,
        }
    }

    /// The chain that the map jumps to, if it does.
    #[must_use]
    pub fn jump(&self) -> Option<&str> {
        match &self.data {
            ElementData::Verdict(verdict) => verdict.chain(),
            ElementData::None | ElementData::Value(_) => None,
        }
    }

    /// From the attributes of a NEWSETELEM message, which holds any number of elements. Those with a key or data of a
    /// kind that we do not know are left out; none of our own is.
    pub(super) fn decode_all(payload: &[u8]) -> impl Iterator<Item = Self> {
        let elements = find(payload, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
        attributes(elements).filter_map(|(_, element)| Self::decode(element))
    }

    fn decode(element: &[u8]) -> Option<Self> {
        let key = find(find(element, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
        let data = match find(element, NFTA_SET_ELEM_DATA) {
            None => ElementData::None,
            Some(data) => match find(data, NFTA_DATA_VALUE) {
                Some(value) => ElementData::Value(Value::from_bytes(value)),
                None => ElementData::Verdict(Verdict::decode(data)?),
            },
        };
        let comment = find(element, NFTA_SET_ELEM_USERDATA).and_then(userdata::read_comment);
        let lifetime = find(element, NFTA_SET_ELEM_TIMEOUT).and_then(be64);
        let leaving = lifetime.is_some_and(|milliseconds| (1..LEAVING_MS).contains(&milliseconds));
        let flags = find(element, NFTA_SET_ELEM_FLAGS).and_then(be32).unwrap_or_default();
        let ends_range = flags & NFT_SET_ELEM_INTERVAL_END != 0;
        Some(Self { key: Value::from_bytes(key), data, comment, ends_range, leaving })
    }

    /// A message's attributes that let this very element expire after a millisecond: the shortest time there is.
    pub(super) fn expiring(&self, table: Table<'_>, set: &str) -> Attributes {
        list(table, set, |a| {
            encode_key(&self.key, a);
            encode_data(&self.data, a);
            a.be64(NFTA_SET_ELEM_TIMEOUT, 1);
        })
    }
}
