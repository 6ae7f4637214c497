//! Reading: what is there, by name or by key, and lists.

use std::collections::HashSet;

use super::abi::*;
use super::chain::{BaseChainEntry, Chain};
use super::element::{ElementEntry, by_key};
use super::rule::RuleEntry;
use super::set::SetEntry;
use super::socket::{Nfnetlink, Request};
use super::value::Value;
use super::{Family, Table};
use crate::error::{Cause, NetlinkError};
use crate::nl::{Attributes, DUMP_ATTEMPTS, be32, find};

impl Nfnetlink {
    /// The number of the rule set of this namespace, which every transaction that changes anything anywhere in it raises:
    /// as long as it is the same, nothing changed. About 10 µs.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn generation(&mut self) -> Result<u32, NetlinkError> {
        let a = Attributes::new();
        let request =
            Request { subsystem: NFNL_SUBSYS_NFTABLES, message: NFT_MSG_GETGEN, family: 0, version: 0, attributes: &a };
        self.find(&request, |_, payload| be32(find(payload, NFTA_GEN_ID)?))
            .and_then(|found| found.ok_or(Cause::Answer("no generation")))
            .map_err(|cause| NetlinkError::new("ask for the generation of the netfilter rules", cause))
    }

    /// Whether the table exists. About 10 µs.
    ///
    /// # Errors
    /// Where the kernel lacks nftables, or the privilege is missing. So with all that follow.
    pub fn table_exists(&mut self, table: Table<'_>) -> Result<bool, NetlinkError> {
        let mut a = Attributes::new();
        a.string(NFTA_TABLE_NAME, table.name);
        self.find(&ask(table.family, NFT_MSG_GETTABLE, &a), |_, _| Some(()))
            .map(|found| found.is_some())
            .map_err(|cause| NetlinkError::new(format!("look for table {table}"), cause))
    }

    /// The chain, if it exists. About 10 µs.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn find_chain(&mut self, table: Table<'_>, name: &str) -> Result<Option<Chain>, NetlinkError> {
        let mut a = Attributes::new();
        a.string(NFTA_CHAIN_TABLE, table.name).string(NFTA_CHAIN_NAME, name);
        self.find(&ask(table.family, NFT_MSG_GETCHAIN, &a), |family, payload| Chain::decode(table, family, payload))
            .map_err(|cause| NetlinkError::new(format!("look for chain {name} in table {table}"), cause))
    }

    /// The set or map, if it exists. About 10 µs.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn find_set(&mut self, table: Table<'_>, name: &str) -> Result<Option<SetEntry>, NetlinkError> {
        let mut a = Attributes::new();
        a.string(NFTA_SET_TABLE, table.name).string(NFTA_SET_NAME, name);
        self.find(&ask(table.family, NFT_MSG_GETSET, &a), |family, payload| SetEntry::decode(table, family, payload))
            .map_err(|cause| NetlinkError::new(format!("look for set {name} in table {table}"), cause))
    }

    /// The element with this key, if it exists (and its set, and its table). About 10 µs, however many there are.
    /// One that was left to expire is gone, even if the kernel still has it for a few milliseconds.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`]; `EINVAL` if the key is not of the set's length.
    pub fn find_element(
        &mut self,
        table: Table<'_>,
        set: &str,
        key: &Value,
    ) -> Result<Option<ElementEntry>, NetlinkError> {
        let a = by_key(table, set, key);
        self.find(&ask(table.family, NFT_MSG_GETSETELEM, &a), |_, payload| ElementEntry::decode_all(payload).next())
            .map(|found| found.filter(|element| !element.leaving))
            .map_err(|cause| NetlinkError::new(format!("look for element {key} in {set}"), cause))
    }

    /// All elements of a set or map but those left to expire; none if it does not exist.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn elements(&mut self, table: Table<'_>, set: &str) -> Result<Vec<ElementEntry>, NetlinkError> {
        let mut a = Attributes::new();
        a.string(NFTA_SET_ELEM_LIST_TABLE, table.name).string(NFTA_SET_ELEM_LIST_SET, set);
        let request = ask(table.family, NFT_MSG_GETSETELEM, &a);
        let read = |_, payload: &[u8]| ElementEntry::decode_all(payload).collect::<Vec<_>>();
        let fault = |cause| NetlinkError::new(format!("list the elements of {set}"), cause);
        // A hash table that is growing or shrinking is walked in parts, by position: it shows some elements twice, leaves
        // out as many others, and does not say so. It is read again until nothing is there twice.
        let mut seen = HashSet::new();
        for _ in 0..DUMP_ATTEMPTS {
            let mut elements = self.dump(&request, read).map_err(fault)?;
            let shown = elements.len();
            seen.clear();
            // Where a range ends another may begin.
            elements.retain(|element| seen.insert((element.key.clone(), element.ends_range)));
            if elements.len() == shown {
                elements.retain(|element| !element.leaving);
                return Ok(elements);
            }
        }
        Err(fault(Cause::Unsteady(DUMP_ATTEMPTS)))
    }

    /// All chains of a table; none if it does not exist.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn chains(&mut self, table: Table<'_>) -> Result<Vec<Chain>, NetlinkError> {
        let a = Attributes::new();
        self.dump(&ask(table.family, NFT_MSG_GETCHAIN, &a), |family, payload| Chain::decode(table, family, payload))
            .map_err(|cause| NetlinkError::new(format!("list the chains of table {table}"), cause))
    }

    /// The base chains of all tables of a family.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn base_chains(&mut self, family: Family) -> Result<Vec<BaseChainEntry>, NetlinkError> {
        let a = Attributes::new();
        self.dump(&ask(family, NFT_MSG_GETCHAIN, &a), |of, payload| BaseChainEntry::decode(family, of, payload))
            .map_err(|cause| NetlinkError::new(format!("list the base chains of family {}", family.as_str()), cause))
    }

    /// All sets and maps of a table; none if it does not exist.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn sets(&mut self, table: Table<'_>) -> Result<Vec<SetEntry>, NetlinkError> {
        let mut a = Attributes::new();
        a.string(NFTA_SET_TABLE, table.name);
        self.dump(&ask(table.family, NFT_MSG_GETSET, &a), |family, payload| SetEntry::decode(table, family, payload))
            .map_err(|cause| NetlinkError::new(format!("list the sets of table {table}"), cause))
    }

    /// All rules of a chain, in order; none if it does not exist.
    ///
    /// # Errors
    /// As [`Nfnetlink::table_exists`].
    pub fn rules(&mut self, table: Table<'_>, chain: &str) -> Result<Vec<RuleEntry>, NetlinkError> {
        let mut a = Attributes::new();
        a.string(NFTA_RULE_TABLE, table.name).string(NFTA_RULE_CHAIN, chain);
        self.dump(&ask(table.family, NFT_MSG_GETRULE, &a), |family, payload| {
            RuleEntry::decode(table.name, chain, payload).filter(|_| family == table.family.number())
        })
        .map_err(|cause| NetlinkError::new(format!("list the rules of chain {chain} in table {table}"), cause))
    }
}

fn ask(family: Family, message: u16, attributes: &Attributes) -> Request<'_> {
    Request { subsystem: NFNL_SUBSYS_NFTABLES, message, family: family.number(), version: 0, attributes }
}
