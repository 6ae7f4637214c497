//! Chains: what a base chain hooks into, and what the kernel says about one.

use super::abi::*;
use super::{Family, Table};
use crate::nl::{Attributes, attributes, be32, be64, find, text};

/// Priorities of base chains, as `nft` names them.
pub mod priority {
    /// Before the routing decision, where destinations are changed (`dstnat`, not in bridge tables).
    pub const DSTNAT: i32 = -100;
    /// After all others of the hook.
    pub const LAST: i32 = i32::MAX;
    /// Where packets are filtered (`filter`, not in bridge tables).
    pub const FILTER: i32 = 0;
    /// After everything, where sources are changed (`srcnat`, not in bridge tables).
    pub const SRCNAT: i32 = 100;
    /// `dstnat` of bridge tables.
    pub const BRIDGE_DSTNAT: i32 = -300;
    /// `filter` of bridge tables.
    pub const BRIDGE_FILTER: i32 = -200;
}

/// The type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of a connection.
    Nat,
}

/// Where a base chain is called from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// As a packet comes in.
    Prerouting,
    /// Packets for this machine.
    Input,
    /// Packets for others.
    Forward,
    /// Packets of this machine.
    Output,
    /// As a packet leaves.
    Postrouting,
}

impl Hook {
    /// `NF_INET_*`; those of bridges have the same numbers.
    const fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Input => 1,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// What happens to a packet that no rule of a base chain decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It passes.
    Accept,
    /// It is dropped.
    Drop,
}

/// A chain that the kernel calls.
#[derive(Clone, Copy, Debug)]
pub struct BaseChain<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type.
    pub kind: ChainKind,
    /// Where it is called from.
    pub hook: Hook,
    /// Its place among the chains of that hook, lowest first ([`priority`]).
    pub priority: i32,
    /// What happens at its end.
    pub policy: Policy,
}

impl BaseChain<'_> {
    pub(super) fn encode(&self, a: &mut Attributes) {
        a.nest(NFTA_CHAIN_HOOK, |hook| {
            hook.be32(NFTA_HOOK_HOOKNUM, self.hook.number()).be32(NFTA_HOOK_PRIORITY, self.priority.cast_unsigned());
        });
        let policy = match self.policy {
            Policy::Accept => NF_ACCEPT,
            Policy::Drop => NF_DROP,
        };
        a.be32(NFTA_CHAIN_POLICY, policy.cast_unsigned());
        a.string(
            NFTA_CHAIN_TYPE,
            match self.kind {
                ChainKind::Filter => "filter",
                ChainKind::Nat => "nat",
            },
        );
    }
}

/// A base chain of the kernel, of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChainEntry {
    /// The family of its table.
    pub family: Family,
    /// The name of its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// What happens at its end; `None` for one without (those of devices).
    pub policy: Option<Policy>,
    hook: u32,
}

impl BaseChainEntry {
    /// Its table.
    #[must_use]
    pub fn table(&self) -> Table<'_> {
        Table::new(self.family, &self.table)
    }

    /// Whether it is called from `hook`.
    #[must_use]
    pub fn is_at(&self, hook: Hook) -> bool {
        self.hook == hook.number()
    }

    /// From the attributes of a NEWCHAIN message; `None` if it is no base chain, or of another family.
    pub(super) fn decode(wanted: Family, family: u8, payload: &[u8]) -> Option<Self> {
        let hook = find(find(payload, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM).and_then(be32)?;
        let policy = match find(payload, NFTA_CHAIN_POLICY).and_then(be32).map(u32::cast_signed) {
            Some(NF_DROP) => Some(Policy::Drop),
            Some(_) => Some(Policy::Accept),
            None => None,
        };
        let named = |kind| find(payload, kind).map(text);
        (family == wanted.number()).then_some(())?;
        Some(Self { family: wanted, table: named(NFTA_CHAIN_TABLE)?, name: named(NFTA_CHAIN_NAME)?, policy, hook })
    }
}

/// A chain of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub handle: u64,
    /// How many rules it has plus how many rules and elements jump to it. 0: it can be removed. An element that was
    /// left to expire counts until the kernel has swept it away, about a second.
    pub uses: u32,
    /// Whether the kernel calls it (and rules cannot jump to it).
    pub is_base: bool,
}

impl Chain {
    /// From the attributes of a NEWCHAIN message; `None` if it is of another table or makes no sense.
    pub(super) fn decode(table: Table<'_>, family: u8, payload: &[u8]) -> Option<Self> {
        let mut chain = Self { name: String::new(), handle: 0, uses: 0, is_base: false };
        let mut of_table = false;
        for (kind, value) in attributes(payload) {
            match kind {
                NFTA_CHAIN_TABLE => of_table = text(value) == table.name,
                NFTA_CHAIN_NAME => chain.name = text(value),
                NFTA_CHAIN_HANDLE => chain.handle = be64(value)?,
                NFTA_CHAIN_USE => chain.uses = be32(value)?,
                NFTA_CHAIN_HOOK => chain.is_base = true,
                _ => {}
            }
        }
        (of_table && family == Family::number(table.family) && !chain.name.is_empty()).then_some(chain)
    }
}
