//! Sets and maps: their definition.

use super::abi::*;
use super::userdata;
use super::value::{DataType, REGISTER_BYTES};
use super::{Family, Table};
use crate::nl::{Attributes, attributes, be32, be64, text};

/// What a map gives for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data<'a> {
    None,
    Value(&'a [DataType]),
    Verdict,
}

/// The definition of a set or a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// Its name within the table.
    pub name: &'a str,
    /// The components of its keys.
    pub key: &'a [DataType],
    data: Data<'a>,
    timeouts: bool,
    intervals: bool,
}

impl<'a> Set<'a> {
    /// A set of keys.
    #[must_use]
    pub const fn of(name: &'a str, key: &'a [DataType]) -> Self {
        Self { name, key, data: Data::None, timeouts: false, intervals: false }
    }

    /// A map from keys to values.
    #[must_use]
    pub const fn map(name: &'a str, key: &'a [DataType], data: &'a [DataType]) -> Self {
        Self { name, key, data: Data::Value(data), timeouts: false, intervals: false }
    }

    /// A map from keys to verdicts.
    #[must_use]
    pub const fn verdict_map(name: &'a str, key: &'a [DataType]) -> Self {
        Self { name, key, data: Data::Verdict, timeouts: false, intervals: false }
    }

    /// The same with `flags timeout`, which lets [`Transaction::remove_element`](super::Transaction::remove_element)
    /// work without waiting for the kernel.
    #[must_use]
    pub const fn with_timeouts(mut self) -> Self {
        self.timeouts = true;
        self
    }

    /// The same with `flags interval`: its elements are ranges
    /// ([`Transaction::add_networks`](super::Transaction::add_networks)).
    #[must_use]
    pub const fn with_intervals(mut self) -> Self {
        self.intervals = true;
        self
    }

    /// The components of the data: empty for sets and verdict maps.
    #[must_use]
    pub const fn data(&self) -> &'a [DataType] {
        match self.data {
            Data::Value(types) => types,
            Data::None | Data::Verdict => &[],
        }
    }

    /// "set" or "map".
    pub(super) const fn noun(&self) -> &'static str {
        match self.data {
            Data::None => "set",
            Data::Value(_) | Data::Verdict => "map",
        }
    }

    /// `id` tells the sets of one transaction apart.
    pub(super) fn encode(&self, id: u32, a: &mut Attributes) {
        let mut flags = 0;
        flags |= if self.noun() == "map" { NFT_SET_MAP } else { 0 };
        flags |= if self.timeouts { NFT_SET_TIMEOUT } else { 0 };
        flags |= if self.intervals { NFT_SET_INTERVAL } else { 0 };
        flags |= if self.key.len() > 1 { NFT_SET_CONCAT } else { 0 };
        a.be32(NFTA_SET_FLAGS, flags).be32(NFTA_SET_KEY_TYPE, type_number(self.key));
        a.be32(NFTA_SET_KEY_LEN, length(self.key));
        match self.data {
            Data::None => {}
            Data::Value(types) => {
                a.be32(NFTA_SET_DATA_TYPE, type_number(types)).be32(NFTA_SET_DATA_LEN, length(types));
            }
            Data::Verdict => {
                a.be32(NFTA_SET_DATA_TYPE, NFT_DATA_VERDICT).be32(NFTA_SET_DATA_LEN, 0);
            }
        }
        if self.key.len() > 1 {
            a.nest(NFTA_SET_DESC, |desc| {
                desc.nest(NFTA_SET_DESC_CONCAT, |fields| self.encode_fields(fields));
            });
        }
        a.be32(NFTA_SET_ID, id);
        if matches!(self.key, [DataType::Mark | DataType::IfName]) {
            // Else `nft` would show the bytes of marks in the wrong order, and names as empty.
            a.bytes(NFTA_SET_USERDATA, &userdata::host_byte_order());
        }
    }

    /// The kernel insists on knowing where the components of a concatenated key end.
    fn encode_fields(&self, a: &mut Attributes) {
        for kind in self.key {
            a.nest(NFTA_LIST_ELEM, |field| {
                field.be32(NFTA_SET_FIELD_LEN, u32::try_from(kind.size()).unwrap_or_default());
            });
        }
    }
}

/// `nft`'s number for a type: of a concatenation, six bits for each component.
fn type_number(types: &[DataType]) -> u32 {
    types.iter().fold(0, |number, kind| number << 6 | kind.number())
}

/// The length of a key or of data, in bytes: of a concatenation, every component fills whole registers.
fn length(types: &[DataType]) -> u32 {
    let bytes = match types {
        [only] => only.size(),
        _ => types.iter().map(|kind| kind.size().next_multiple_of(REGISTER_BYTES)).sum(),
    };
    u32::try_from(bytes).unwrap_or_default()
}

/// A set or map of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetEntry {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub handle: u64,
    /// Whether it is a map.
    pub is_map: bool,
    /// Whether elements can expire (`flags timeout`).
    pub timeouts: bool,
    /// Whether elements are ranges (`flags interval`).
    pub intervals: bool,
    /// Whether it belongs to one rule, and has no name that anybody gave it.
    pub(super) is_anonymous: bool,
    pub(super) key_type: u32,
    pub(super) data_type: u32,
}

impl SetEntry {
    /// Whether it has the types and flags of this definition, so that its elements can be used.
    #[must_use]
    pub fn is_like(&self, set: &Set<'_>) -> bool {
        let data = match set.data {
            Data::None => 0,
            Data::Value(types) => type_number(types),
            Data::Verdict => NFT_DATA_VERDICT,
        };
        self.is_map == (set.noun() == "map")
            && self.timeouts == set.timeouts
            && self.intervals == set.intervals
            && self.key_type == type_number(set.key)
            && self.data_type == data
    }

    /// From the attributes of a NEWSET message; `None` if it is of another table or makes no sense.
    pub(super) fn decode(table: Table<'_>, family: u8, payload: &[u8]) -> Option<Self> {
        let (of_table, set) = Self::decode_any(payload)?;
        (of_table == table.name && family == Family::number(table.family)).then_some(set)
    }

    /// From the attributes of a NEWSET message, with the name of its table; `None` if it makes no sense.
    pub(super) fn decode_any(payload: &[u8]) -> Option<(String, Self)> {
        let mut set = Self {
            name: String::new(),
            handle: 0,
            is_map: false,
            timeouts: false,
            intervals: false,
            is_anonymous: false,
            key_type: 0,
            data_type: 0,
        };
        let mut of_table = String::new();
        for (kind, value) in attributes(payload) {
            match kind {
                NFTA_SET_TABLE => of_table = text(value),
                NFTA_SET_NAME => set.name = text(value),
                NFTA_SET_HANDLE => set.handle = be64(value)?,
                NFTA_SET_KEY_TYPE => set.key_type = be32(value)?,
                NFTA_SET_DATA_TYPE => set.data_type = be32(value)?,
                NFTA_SET_FLAGS => {
                    let flags = be32(value)?;
                    set.is_map = flags & NFT_SET_MAP != 0;
                    set.timeouts = flags & NFT_SET_TIMEOUT != 0;
                    set.intervals = flags & NFT_SET_INTERVAL != 0;
                    set.is_anonymous = flags & NFT_SET_ANONYMOUS != 0;
                }
                _ => {}
            }
        }
        (!set.name.is_empty()).then_some((of_table, set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nl::find;

    #[test]
    fn concatenations_describe_their_components() {
        const HAIRPIN: Set<'static> =
            Set::of("h", &[DataType::Ipv4Addr, DataType::IfName, DataType::IfName]).with_timeouts();
        let mut a = Attributes::new();
        HAIRPIN.encode(1, &mut a);
        let number = |kind| find(a.as_bytes(), kind).and_then(be32);
        assert_eq!(number(NFTA_SET_FLAGS), Some(NFT_SET_TIMEOUT | NFT_SET_CONCAT));
        assert_eq!(number(NFTA_SET_KEY_TYPE), Some(7 << 12 | 41 << 6 | 41));
        assert_eq!(number(NFTA_SET_KEY_LEN), Some(36));
        let concat = find(a.as_bytes(), NFTA_SET_DESC).and_then(|d| find(d, NFTA_SET_DESC_CONCAT)).unwrap();
        let lengths: Vec<_> = attributes(concat).map(|(_, f)| find(f, NFTA_SET_FIELD_LEN).and_then(be32)).collect();
        assert_eq!(lengths, [Some(4), Some(16), Some(16)]);
    }

    #[test]
    fn a_lone_component_is_not_padded() {
        let mut a = Attributes::new();
        Set::verdict_map("m", &[DataType::InetService]).encode(1, &mut a);
        assert_eq!(find(a.as_bytes(), NFTA_SET_KEY_LEN).and_then(be32), Some(2));
        assert_eq!(find(a.as_bytes(), NFTA_SET_DATA_TYPE).and_then(be32), Some(NFT_DATA_VERDICT));
        assert_eq!(find(a.as_bytes(), NFTA_SET_DESC), None);
    }
}
