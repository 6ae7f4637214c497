//! nftables by nfnetlink: tables, chains, rules, sets and maps, read and written without executing `nft`.
//!
//! A [`Transaction`] collects changes and [`Nfnetlink::commit`] applies them: all or nothing. What it wrote looks in
//! `nft list ruleset` as if `nft` had written it, comments included. A look at one object costs about 10 µs and a
//! transaction that adds elements as much.
//!
//! ```no_run
//! # use linuxnet::nft::*;
//! # use std::net::Ipv4Addr;
//! const TABLE: Table<'static> = Table::inet("example");
//! const PUBLISHED: Set<'static> = Set::map(
//!     "published4",
//!     &[DataType::InetProto, DataType::InetService],
//!     &[DataType::Ipv4Addr, DataType::InetService],
//! ).with_timeouts();
//! let mut nft = Nfnetlink::open()?;
//! if nft.find_chain(TABLE, "prerouting")?.is_none() {
//!     let mut t = Transaction::new(TABLE);
//!     t.ensure_table().ensure_set(&PUBLISHED).create_base_chain(&BaseChain {
//!         name: "prerouting", kind: ChainKind::Nat, hook: Hook::Prerouting, priority: priority::DSTNAT, policy: Policy::Accept,
//!     });
//!     t.add_rule("prerouting", &Rule::new()
//!         .equals(Load::FibDaddrType, Field::AddrType(AddrType::Local))
//!         .dnat_by_map(Family::Ipv4, &[Load::L4Proto, Load::ThDport], PUBLISHED.name));
//!     nft.commit(&t)?;
//! }
//! let key = Value::from(Field::TCP).and(Field::InetService(8080));
//! let to = Value::from(Ipv4Addr::new(10, 1, 0, 2)).and(Field::InetService(80));
//! nft.commit(Transaction::new(TABLE).create_element(PUBLISHED.name, &Element::new(key).data(to).comment("pod a")))?;
//! # Ok::<(), linuxnet::NetlinkError>(())
//! ```
//!
//! # What costs milliseconds
//! The kernel waits for an RCU grace period (8 to 16 ms) when a transaction fails, and when a socket is closed after a
//! transaction that deleted something or declared a chain that existed. So: look before you write
//! ([`Nfnetlink::find_chain`], [`Nfnetlink::find_element`]); take elements away with [`Transaction::remove_element`],
//! which lets them expire where the kernel can; and keep the socket open until the process ends.

mod abi;
mod chain;
mod changes;
mod commit;
mod decompile;
mod element;
mod encode;
mod listing;
mod load;
mod range;
mod read;
mod removal;
mod rule;
mod set;
mod socket;
mod transaction;
mod userdata;
mod value;

pub use chain::{BaseChain, BaseChainEntry, Chain, ChainKind, Hook, Policy, priority};
pub use changes::Changes;
pub use element::{Element, ElementData, ElementEntry};
pub use listing::{ListedChain, ListedElement, ListedRule, ListedSet, ListedTable, Ruleset};
pub use load::{AddrType, Load};
pub use removal::Removal;
pub use rule::{Expression, Rule, RuleEntry, Verdict};
pub use set::{Set, SetEntry};
pub use socket::Nfnetlink;
pub(crate) use socket::Request;
pub use transaction::Transaction;
pub use value::{DataType, Field, Value};

/// The longest comment, in bytes, that `nft` itself would accept (`NFTNL_UDATA_COMMENT_MAXLEN`).
pub const COMMENT_BYTES: usize = 128;

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and IPv6 (`inet`).
    Inet,
    /// IPv4 (`ip`).
    Ipv4,
    /// IPv6 (`ip6`).
    Ipv6,
    /// Frames that pass a bridge (`bridge`).
    Bridge,
    /// ARP (`arp`).
    Arp,
    /// What devices receive or send (`netdev`).
    Netdev,
}

impl Family {
    /// The `NFPROTO_*` number.
    const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ipv4 => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ipv6 => 10,
        }
    }

    /// Its name, as `nft` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
            Self::Bridge => "bridge",
            Self::Arp => "arp",
            Self::Netdev => "netdev",
        }
    }

    /// The family with this `NFPROTO_*` number.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        let all = [Self::Inet, Self::Ipv4, Self::Ipv6, Self::Bridge, Self::Arp, Self::Netdev];
        all.into_iter().find(|family| family.number() == number)
    }
}

/// The name of a table. It need not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table<'a> {
    /// Which packets it sees.
    pub family: Family,
    /// Its name within the family.
    pub name: &'a str,
}

impl<'a> Table<'a> {
    /// A table of any family.
    #[must_use]
    pub const fn new(family: Family, name: &'a str) -> Self {
        Self { family, name }
    }

    /// A table for both IP families.
    #[must_use]
    pub const fn inet(name: &'a str) -> Self {
        Self::new(Family::Inet, name)
    }
}

impl std::fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.family.as_str(), self.name)
    }
}
