//! Everything that nftables holds in a namespace, each object with the line that `nft` would write for it.

use std::collections::HashMap;
use std::fmt;

use super::abi::*;
use super::decompile;
use super::element::{ElementData, ElementEntry};
use super::rule::RuleEntry;
use super::set::SetEntry;
use super::socket::{Nfnetlink, Request};
use super::value::{DataType, Value};
use super::{Family, Policy, Table};
use crate::error::{Cause, NetlinkError};
use crate::nl::{Attributes, be32, find, text};

/// `NFTA_HOOK_DEV` of linux/netfilter/nf_tables.h.
const NFTA_HOOK_DEV: u16 = 3;

/// The tables, chains, sets, elements and rules of a namespace, each in the kernel's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// All tables.
    pub tables: Vec<ListedTable>,
    /// All chains.
    pub chains: Vec<ListedChain>,
    /// All sets and maps but those that belong to one rule.
    pub sets: Vec<ListedSet>,
    /// The elements of these sets.
    pub elements: Vec<ListedElement>,
    /// All rules.
    pub rules: Vec<ListedRule>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTable {
    /// Which packets it sees.
    pub family: Family,
    /// Its name.
    pub name: String,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChain {
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// What the kernel calls it for; `None`: it is called by rules alone.
    pub base: Option<ListedHook>,
}

/// Where the kernel calls a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedHook {
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// The hook, as `nft` names it.
    pub hook: &'static str,
    /// Its place among the chains of that hook, lowest first.
    pub priority: i32,
    /// What happens at its end.
    pub policy: Option<Policy>,
    /// The device, for chains of one.
    pub device: Option<String>,
}

/// A set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSet {
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// What it is.
    pub entry: SetEntry,
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedElement {
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its set or map.
    pub set: String,
    /// Its key, as `nft` writes it: `tcp . 8080`; hexadecimal where the types are not known here. The first value behind
    /// a range ends with `(end of range)`.
    pub key: String,
    /// What the map gives for it, as `nft` writes it; `None` in a set.
    pub data: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRule {
    /// The family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// What it is.
    pub entry: RuleEntry,
    /// What it does, nearly as `nft` writes it: a part that is not known here is named in brackets, with a number that
    /// differs where it differs.
    pub text: String,
}

impl Nfnetlink {
    /// All that nftables holds in this namespace (`nft list ruleset`): five dumps, and one for each set. It is read again
    /// where others changed it meanwhile. A kernel without nf_tables holds nothing.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn ruleset(&mut self) -> Result<Ruleset, NetlinkError> {
        /// On a busy node there is always somebody; the last reading is as good as any.
        const ATTEMPTS: u32 = 5;
        let mut ruleset = Ruleset::default();
        for _ in 0..ATTEMPTS {
            let Some(before) = self.generation_if_supported()? else { return Ok(Ruleset::default()) };
            ruleset = self.read_ruleset()?;
            if self.generation_if_supported()? == Some(before) {
                break;
            }
        }
        Ok(ruleset)
    }

    fn generation_if_supported(&mut self) -> Result<Option<u32>, NetlinkError> {
        match self.generation() {
            // nfnetlink is there, nf_tables is not.
            Err(e) if e.is_invalid() || e.is_unsupported_operation() => Ok(None),
            done => done.map(Some),
        }
    }

    fn read_ruleset(&mut self) -> Result<Ruleset, NetlinkError> {
        let mut ruleset = Ruleset {
            tables: self.list("tables", NFT_MSG_GETTABLE, ListedTable::decode)?,
            chains: self.list("chains", NFT_MSG_GETCHAIN, ListedChain::decode)?,
            sets: self.list("sets", NFT_MSG_GETSET, ListedSet::decode)?,
            elements: Vec::new(),
            rules: Vec::new(),
        };
        let mut unnamed = HashMap::new();
        for set in &ruleset.sets {
            let entries = self.elements(Table::new(set.family, &set.table), &set.entry.name)?;
            let elements = entries.iter().map(|entry| set.element(entry));
            if set.entry.is_anonymous {
                let texts: Vec<String> = elements.map(|element| element.body()).collect();
                unnamed.insert((set.family, set.table.clone(), set.entry.name.clone()), texts.join(", "));
            } else {
                ruleset.elements.extend(elements);
            }
        }
        ruleset.sets.retain(|set| !set.entry.is_anonymous);
        let elements_of = |family, table: &str, set: &str| unnamed.get(&(family, table.to_owned(), set.to_owned()));
        ruleset.rules = self.list("rules", NFT_MSG_GETRULE, |family, payload| {
            let (table, entry) = RuleEntry::decode_any(payload)?;
            let text = decompile::rule(family, &entry, &|set| elements_of(family, &table, set).cloned());
            Some(ListedRule { family, table, entry, text })
        })?;
        Ok(ruleset)
    }

    /// The objects of all families.
    fn list<T>(
        &mut self,
        what: &str,
        message: u16,
        decode: impl Fn(Family, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let attributes = Attributes::new();
        let request =
            Request { subsystem: NFNL_SUBSYS_NFTABLES, message, family: 0, version: 0, attributes: &attributes };
        self.dump(&request, |family, payload| decode(Family::of_number(family)?, payload))
            .map_err(|cause: Cause| NetlinkError::new(format!("list all nftables {what}"), cause))
    }
}

impl ListedTable {
    fn decode(family: Family, payload: &[u8]) -> Option<Self> {
        Some(Self { family, name: find(payload, NFTA_TABLE_NAME).map(text)? })
    }
}

impl ListedChain {
    fn decode(family: Family, payload: &[u8]) -> Option<Self> {
        let named = |kind| find(payload, kind).map(text);
        let base = find(payload, NFTA_CHAIN_HOOK).map(|hook| {
            let number = |kind| find(hook, kind).and_then(be32);
            ListedHook {
                kind: named(NFTA_CHAIN_TYPE).unwrap_or_default(),
                hook: hook_name(family, number(NFTA_HOOK_HOOKNUM).unwrap_or_default()),
                priority: number(NFTA_HOOK_PRIORITY).unwrap_or_default().cast_signed(),
                policy: find(payload, NFTA_CHAIN_POLICY).and_then(be32).map(|policy| match policy.cast_signed() {
                    NF_DROP => Policy::Drop,
                    _ => Policy::Accept,
                }),
                device: find(hook, NFTA_HOOK_DEV).map(text),
            }
        });
        Some(Self { family, table: named(NFTA_CHAIN_TABLE)?, name: named(NFTA_CHAIN_NAME)?, base })
    }
}

/// The hook's name, by its number: `NF_INET_*`, `NF_ARP_*` and `NF_NETDEV_*`.
fn hook_name(family: Family, number: u32) -> &'static str {
    match (family, number) {
        (Family::Netdev, 0) => "ingress",
        (Family::Netdev, 1) => "egress",
        (Family::Arp, 0) => "input",
        (Family::Arp, 1) => "output",
        (_, 0) => "prerouting",
        (_, 1) => "input",
        (_, 2) => "forward",
        (_, 3) => "output",
        (_, 4) => "postrouting",
        (_, 5) => "ingress",
        _ => "?",
    }
}

impl ListedSet {
    fn decode(family: Family, payload: &[u8]) -> Option<Self> {
        let (table, entry) = SetEntry::decode_any(payload)?;
        Some(Self { family, table, entry })
    }

    fn element(&self, entry: &ElementEntry) -> ListedElement {
        let key = value(&entry.key, self.entry.key_type);
        let data = match &entry.data {
            ElementData::None => None,
            ElementData::Value(data) => Some(value(data, self.entry.data_type)),
            ElementData::Verdict(verdict) => Some(decompile::verdict(verdict)),
        };
        ListedElement {
            family: self.family,
            table: self.table.clone(),
            set: self.entry.name.clone(),
            key: if entry.ends_range { format!("{key} (end of range)") } else { key },
            data,
            comment: entry.comment.clone(),
        }
    }
}

/// A value as `nft` writes it, if its types are known here.
fn value(value: &Value, type_number: u32) -> String {
    let numbers = components(type_number);
    let kinds: Option<Vec<DataType>> = numbers.iter().map(|number| DataType::of_number(*number)).collect();
    let fields = kinds.and_then(|kinds| value.fields(&kinds));
    match fields {
        Some(fields) => fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(" . "),
        None => value.to_string(),
    }
}

/// The types that a concatenation consists of: six bits each.
fn components(mut number: u32) -> Vec<u32> {
    let mut all = Vec::new();
    while number != 0 {
        all.insert(0, number & 0x3f);
        number >>= 6;
    }
    all
}

/// `nft`'s name of a set's type.
fn type_name(number: u32) -> String {
    if number == NFT_DATA_VERDICT {
        return "verdict".to_owned();
    }
    let name = |number: u32| match DataType::of_number(number) {
        Some(kind) => kind.as_str().to_owned(),
        None => format!("type-{number}"),
    };
    components(number).into_iter().map(name).collect::<Vec<_>>().join(" . ")
}

impl ListedElement {
    /// `tcp . 8080 comment "a" : 10.1.0.2 . 80`.
    fn body(&self) -> String {
        let comment = self.comment.as_ref().map(|comment| format!(" comment \"{comment}\"")).unwrap_or_default();
        let data = self.data.as_ref().map(|data| format!(" : {data}")).unwrap_or_default();
        format!("{}{comment}{data}", self.key)
    }
}

impl fmt::Display for ListedTable {
    /// `inet example`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family.as_str(), self.name)
    }
}

impl fmt::Display for ListedChain {
    /// `inet example forward { type filter hook forward priority 0; policy accept; }`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family.as_str(), self.table, self.name)?;
        let Some(base) = &self.base else { return Ok(()) };
        write!(f, " {{ type {} hook {}", base.kind, base.hook)?;
        base.device.as_ref().map_or(Ok(()), |device| write!(f, " device \"{device}\""))?;
        write!(f, " priority {};", base.priority)?;
        match base.policy {
            Some(Policy::Accept) => f.write_str(" policy accept; }"),
            Some(Policy::Drop) => f.write_str(" policy drop; }"),
            None => f.write_str(" }"),
        }
    }
}

impl fmt::Display for ListedSet {
    /// `inet example published4 { type inet_proto . inet_service : ipv4_addr . inet_service; flags timeout; }`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = &self.entry;
        let noun = if set.is_map { "map" } else { "set" };
        write!(f, "{noun} {} {} {} {{ type {}", self.family.as_str(), self.table, set.name, type_name(set.key_type))?;
        if set.is_map {
            write!(f, " : {}", type_name(set.data_type))?;
        }
        let flags: Vec<&str> =
            [set.intervals.then_some("interval"), set.timeouts.then_some("timeout")].into_iter().flatten().collect();
        if flags.is_empty() { f.write_str("; }") } else { write!(f, "; flags {}; }}", flags.join(",")) }
    }
}

impl fmt::Display for ListedElement {
    /// `inet example published4 { tcp . 8080 comment "a" : 10.1.0.2 . 80 }`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {{ {} }}", self.family.as_str(), self.table, self.set, self.body())
    }
}

impl fmt::Display for ListedRule {
    /// `inet example forward ip saddr 10.1.0.0/16 accept`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.family.as_str(), self.table, self.entry.chain, self.text)
    }
}

impl DataType {
    /// The type with `nft`'s number.
    fn of_number(number: u32) -> Option<Self> {
        let all = [
            Self::Ipv4Addr,
            Self::Ipv6Addr,
            Self::EtherAddr,
            Self::InetProto,
            Self::InetService,
            Self::Mark,
            Self::IfName,
        ];
        all.into_iter().find(|kind| kind.number() == number)
    }

    /// `nft`'s name for it.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4Addr => "ipv4_addr",
            Self::Ipv6Addr => "ipv6_addr",
            Self::EtherAddr => "ether_addr",
            Self::InetProto => "inet_proto",
            Self::InetService => "inet_service",
            Self::Mark => "mark",
            Self::IfName => "ifname",
        }
    }
}

/// The place of a register among the 32-bit words: those of 128 bits have numbers 1 to 4.
pub(super) fn word(register: u32) -> usize {
    let word =
        if register >= NFT_REG32_00 { register - NFT_REG32_00 } else { (register.max(NFT_REG_1) - NFT_REG_1) * 4 };
    usize::try_from(word).unwrap_or_default()
}
