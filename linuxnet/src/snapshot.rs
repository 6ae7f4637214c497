//! What a namespace holds at a moment, as comparable lines: what a trace shows, what a leak is measured by.
//!
//! ```no_run
//! use linuxnet::snapshot::Source;
//! # fn main() -> Result<(), linuxnet::NetlinkError> {
//! let mut host = Source::open()?;
//! let before = host.take()?;
//! // … something is attached …
//! for change in host.take()?.since(&before) {
//!     let _line = change.to_string(); // + address cni0 10.88.0.1/16 brd 10.88.255.255 scope global
//! }
//! # Ok(()) }
//! ```
//!
//! There are links, addresses, routes, rules, neighbours that somebody set, queueing disciplines and their filters, and
//! all of nftables. Counters, lifetimes, carrier and handles are left out, so that what nobody changed is equal.
//!
//! What is not seen: rules of iptables that are not nftables' (`iptables-legacy`), which no netlink socket tells
//! ([`crate::iptables`] runs the program that does); sysctls; connections that are tracked; entries of a bridge's forwarding
//! table and its VLANs; XFRM.

mod diff;
mod link;
mod neighbour;
mod route;
mod rule;
mod tc;

use std::collections::HashMap;
use std::fmt;

use libcni::netns::Netns;
use nix::errno::Errno;

use crate::addr::Address;
use crate::error::NetlinkError;
use crate::link::{Dev, Link};
use crate::neigh::Neighbour;
use crate::netlink::Netlink;
use crate::nft::{ListedChain, ListedElement, ListedRule, ListedSet, ListedTable, Nfnetlink, Ruleset};
use crate::tc::{Filter, Qdisc};

pub use crate::route::{Hop, ListedRoute};
pub use diff::Change;
pub use rule::ListedPolicy;

/// What kind of thing an [`Entry`] is. The order is that of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A link (`ip link`).
    Link,
    /// An address of a link (`ip address`).
    Address,
    /// A route of any table (`ip route show table all`).
    Route,
    /// A rule of policy routing (`ip rule`).
    Rule,
    /// A neighbour that somebody set (`ip neigh show nud permanent`).
    Neighbour,
    /// A queueing discipline (`tc qdisc`).
    Qdisc,
    /// A filter of one (`tc filter`).
    Filter,
    /// A table of nftables.
    NftTable,
    /// A chain of nftables.
    NftChain,
    /// A set or map of nftables.
    NftSet,
    /// An element of one.
    NftElement,
    /// A rule of nftables.
    NftRule,
}

impl Kind {
    /// Its name: one word, the same in every release.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Address => "address",
            Self::Route => "route",
            Self::Rule => "rule",
            Self::Neighbour => "neighbour",
            Self::Qdisc => "qdisc",
            Self::Filter => "filter",
            Self::NftTable => "nft-table",
            Self::NftChain => "nft-chain",
            Self::NftSet => "nft-set",
            Self::NftElement => "nft-element",
            Self::NftRule => "nft-rule",
        }
    }
}

/// The thing itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A link.
    Link(Box<Link>),
    /// An address.
    Address(Address),
    /// A route.
    Route(ListedRoute),
    /// A rule of policy routing.
    Rule(ListedPolicy),
    /// A neighbour.
    Neighbour(Neighbour),
    /// A queueing discipline.
    Qdisc(Qdisc),
    /// A filter.
    Filter(Filter),
    /// A table.
    NftTable(ListedTable),
    /// A chain.
    NftChain(ListedChain),
    /// A set or map.
    NftSet(ListedSet),
    /// An element.
    NftElement(ListedElement),
    /// A rule of nftables.
    NftRule(ListedRule),
}

/// One thing that a namespace holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What kind of thing it is.
    pub kind: Kind,
    /// The link that it is on, by name, if it is on one.
    pub dev: Option<String>,
    /// The kernel made it of itself, because of something else: addresses of `lo`, link-local addresses of IPv6, what is
    /// in the table `local`, routes to link-local and multicast addresses, queueing disciplines that nobody chose.
    pub is_automatic: bool,
    /// It in one line, nearly as `ip`, `tc` or `nft` would write it, without the kind. Two things of a kind that are equal
    /// in what they do have the same.
    pub text: String,
    /// It.
    pub object: Object,
    /// What makes it this one: of two with the same, one is the other changed.
    key: String,
}

impl fmt::Display for Entry {
    /// The kind and the text: `address eth0 10.88.0.2/16 brd 10.88.255.255 scope global`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.text)
    }
}

/// What a namespace held at a moment, ordered by kind, then as the kernel lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    entries: Vec<Entry>,
}

impl Snapshot {
    /// All that there is.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is of this kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }

    /// What became different since `before`: what was removed, then what was changed or added, each ordered.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<Change> {
        diff::diff(&before.entries, &self.entries)
    }
}

/// The sockets of one namespace, for any number of snapshots.
#[derive(Debug)]
pub struct Source {
    netlink: Netlink,
    /// `None`: this kernel has no nftables.
    nft: Option<Nfnetlink>,
}

impl Source {
    /// Of the calling thread's namespace.
    ///
    /// # Errors
    /// If the kernel makes no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { netlink: Netlink::open()?, nft: Nfnetlink::open_if_supported()? })
    }

    /// Of `netns`.
    ///
    /// # Errors
    /// As [`Source::open`], and if the namespace cannot be entered.
    pub fn open_in(netns: &Netns) -> Result<Self, NetlinkError> {
        let doing = || format!("open netlink sockets in network namespace \"{}\"", netns.path().display());
        netns.within(Self::open).map_err(|error| NetlinkError::new(doing(), error))?
    }

    /// What there is now: one dump for each kind, and one for each set of nftables and each queueing discipline with
    /// filters; some milliseconds. The dumps are not of one moment: what changes meanwhile may be seen in part. What this
    /// kernel does not have (IPv6, policy routing, traffic control, nftables) is not there.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn take(&mut self) -> Result<Snapshot, NetlinkError> {
        let links = self.netlink.links()?;
        let names = Names(links.iter().map(|link| (link.index, link.name.clone())).collect());
        let mut entries: Vec<Entry> = links.iter().map(|link| link::entry(link, &names)).collect();
        entries.extend(self.netlink.all_addresses()?.into_iter().map(|address| link::address(address, &names)));
        entries.extend(self.netlink.listed_routes()?.into_iter().map(|route| route::entry(route, &names)));
        let policies = or_none(self.netlink.listed_policies())?;
        entries.extend(policies.into_iter().map(rule::entry));
        let neighbours = self.netlink.all_neighbours()?.into_iter().filter(|neighbour| neighbour.is_permanent);
        entries.extend(neighbours.map(|neighbour| neighbour::entry(neighbour, &names)));
        let qdiscs = or_none(self.netlink.qdiscs())?;
        let filters = self.filters(&qdiscs, &names)?;
        entries.extend(qdiscs.into_iter().map(|qdisc| tc::qdisc(qdisc, &names)));
        entries.extend(filters.into_iter().map(|filter| tc::filter(filter, &names)));
        if let Some(nft) = &mut self.nft {
            entries.extend(nftables(nft.ruleset()?));
        }
        Ok(Snapshot { entries })
    }

    /// The filters of all queueing disciplines that somebody made.
    fn filters(&mut self, qdiscs: &[Qdisc], names: &Names) -> Result<Vec<Filter>, NetlinkError> {
        let mut filters = Vec::new();
        for qdisc in qdiscs.iter().filter(|qdisc| qdisc.handle != 0) {
            let name = names.of(qdisc.link);
            let dev = Dev { index: qdisc.link, name: &name };
            for parent in tc::filter_parents(qdisc) {
                match self.netlink.filters(dev, parent) {
                    Ok(more) => filters.extend(more),
                    // It went away meanwhile, or can have none.
                    Err(e) if e.is_not_found() || e.is_invalid() || e.is_unsupported_operation() => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(filters)
    }
}

/// Nothing, where the kernel has no such thing.
fn or_none<T>(listed: Result<Vec<T>, NetlinkError>) -> Result<Vec<T>, NetlinkError> {
    match listed {
        Err(e) if matches!(e.errno(), Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT)) => Ok(Vec::new()),
        done => done,
    }
}

fn nftables(ruleset: Ruleset) -> impl Iterator<Item = Entry> {
    let Ruleset { tables, chains, sets, elements, rules } = ruleset;
    let entry =
        |kind, key: String, text: String, object| Entry { kind, dev: None, is_automatic: false, text, object, key };
    let tables = tables
        .into_iter()
        .map(move |table| entry(Kind::NftTable, table.to_string(), table.to_string(), Object::NftTable(table)));
    let chains = chains.into_iter().map(move |chain| {
        let key = format!("{} {} {}", chain.family.as_str(), chain.table, chain.name);
        entry(Kind::NftChain, key, chain.to_string(), Object::NftChain(chain))
    });
    let sets = sets.into_iter().map(move |set| {
        let key = format!("{} {} {}", set.family.as_str(), set.table, set.entry.name);
        entry(Kind::NftSet, key, set.to_string(), Object::NftSet(set))
    });
    let elements = elements.into_iter().map(move |element| {
        let key = format!("{} {} {} {}", element.family.as_str(), element.table, element.set, element.key);
        entry(Kind::NftElement, key, element.to_string(), Object::NftElement(element))
    });
    // A rule has no name: it is what it does.
    let rules = rules
        .into_iter()
        .map(move |rule| entry(Kind::NftRule, rule.to_string(), rule.to_string(), Object::NftRule(rule)));
    tables.chain(chains).chain(sets).chain(elements).chain(rules)
}

/// The names of links by index.
struct Names(HashMap<u32, String>);

impl Names {
    /// The name; `if7` for a link that is not in the list.
    fn of(&self, index: u32) -> String {
        self.0.get(&index).cloned().unwrap_or_else(|| format!("if{index}"))
    }
}
