//! Masquerading by nftables: one element per address.
//!
//! ```text
//! table inet ferrule_masq {
//!     map sources4 {
//!         type ipv4_addr : verdict
//!         flags timeout
//!         elements = { 10.1.0.5 comment "net c1 eth0" : jump net-10.1.0.0/16 }
//!     }
//!     chain net-10.1.0.0/16 {
//!         ip daddr != 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade
//!     }
//!     chain postrouting {
//!         type nat hook postrouting priority srcnat; policy accept;
//!         ip saddr vmap @sources4
//!         ip6 saddr vmap @sources6
//!     }
//! }
//! ```
//! A packet costs one look-up however many containers there are, an ADD one element. The chain of a subnet comes with
//! its first address and goes with its last. Only where very many leave within a second it may stay, without effect,
//! until the next DEL in that subnet, or GC: an address that was left to expire counts as a user of its chain until
//! the kernel has swept it away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;

use crate::error::NetlinkError;
use crate::nft::{
    BaseChain, ChainKind, DataType, Element, ElementEntry, Hook, Load, Nfnetlink, Policy, Rule, Set, Table,
    Transaction, Value, Verdict, priority,
};
use crate::tag::{Tag, Valid};

const TABLE: Table<'static> = Table::inet("ferrule_masq");
const POSTROUTING: &str = "postrouting";
const SOURCES4: Set<'static> = Set::verdict_map("sources4", &[DataType::Ipv4Addr]).with_timeouts();
const SOURCES6: Set<'static> = Set::verdict_map("sources6", &[DataType::Ipv6Addr]).with_timeouts();

/// How often a change is made anew when others got in between: as many as may start on a fresh host at once.
const ATTEMPTS: u32 = 50;

/// Up to so many addresses in a subnet, one is deleted at once, so that the kernel's count of the chain's users stays
/// exact. With more they expire: deletions queue up behind each other for an RCU grace period, 8 to 16 ms each.
const FEW: u32 = 8;

/// Whether the kernel has nf_tables and lets us use it.
///
/// # Errors
/// If it has it but does not say.
pub(super) fn is_available(nft: &mut Nfnetlink) -> Result<bool, NetlinkError> {
    match nft.table_exists(TABLE) {
        Ok(_) => Ok(true),
        // nfnetlink's answers for a subsystem that is neither there nor can be loaded.
        Err(e) if matches!(e.errno(), Some(Errno::EINVAL | Errno::EOPNOTSUPP)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes `addresses` masqueraded for the owner of `tag`, taking them from any former holder.
pub(super) fn setup(nft: &mut Nfnetlink, tag: &Tag, addresses: &[IpNet]) -> Result<(), NetlinkError> {
    retry(|| {
        let mut transaction = Transaction::new(TABLE);
        add_chains(nft, &mut transaction, addresses)?;
        for &address in addresses {
            add_element(nft, &mut transaction, tag, address)?;
        }
        commit(nft, &transaction)
    })
}

/// Adds to `transaction` the chains that the subnets of `addresses` lack, and the table if it is missing too.
/// Declaring a chain that exists would cost the kernel milliseconds.
fn add_chains(nft: &mut Nfnetlink, transaction: &mut Transaction<'_>, addresses: &[IpNet]) -> Result<(), NetlinkError> {
    let mut missing = BTreeMap::new();
    for &address in addresses {
        let chain = chain_of(address);
        if !missing.contains_key(&chain) && nft.find_chain(TABLE, &chain)?.is_none() {
            missing.insert(chain, address);
        }
    }
    if !missing.is_empty() && nft.find_chain(TABLE, POSTROUTING)?.is_none() {
        create_table(transaction);
    }
    for (chain, address) in missing {
        transaction.create_chain(&chain).add_rule(&chain, &masquerade(address));
    }
    Ok(())
}

/// Adds to `transaction` the element of one address, unless it is as it should be.
fn add_element(
    nft: &mut Nfnetlink,
    transaction: &mut Transaction<'_>,
    tag: &Tag,
    address: IpNet,
) -> Result<(), NetlinkError> {
    let (chain, sources, key) = (chain_of(address), sources(address.addr()), Value::from(address.addr()));
    match nft.find_element(TABLE, sources.name, &key)? {
        Some(entry) if serves(&entry, tag, &chain) => return Ok(()),
        // The kernel changes neither the comment nor the verdict of an element that exists.
        Some(_former) => transaction.destroy_element(sources.name, &key),
        None => transaction,
    };
    let element = Element::new(key).data(Verdict::Jump(chain)).comment(tag.to_string());
    transaction.create_element(sources.name, &element);
    Ok(())
}

/// Whether the kernel has all that masquerades `address` for the owner of `tag`; if not, what is missing.
pub(super) fn verify(nft: &mut Nfnetlink, tag: &Tag, address: IpNet) -> Result<Option<String>, NetlinkError> {
    let (chain, sources) = (chain_of(address), sources(address.addr()));
    let element = nft.find_element(TABLE, sources.name, &Value::from(address.addr()))?;
    if !element.is_some_and(|entry| serves(&entry, tag, &chain)) {
        return Ok(Some(format!(
            "element \"{} comment \"{tag}\" : jump {chain}\" of map {} in table {TABLE}",
            address.addr(),
            sources.name
        )));
    }
    // The element leads to its chain by the kernel's word; what may be gone is a rule that somebody flushed.
    let rules = nft.rules(TABLE, &chain)?;
    if !rules.iter().any(|rule| rule.is_like(TABLE.family, &masquerade(address))) {
        return Ok(Some(format!("the rule \"masquerade\" in chain {chain} of table {TABLE}")));
    }
    let wanted = by_source(&sources);
    let called = nft.rules(TABLE, POSTROUTING)?.iter().any(|rule| rule.is_like(TABLE.family, &wanted));
    Ok((!called).then(|| format!("the rule \"vmap @{}\" in chain {POSTROUTING} of table {TABLE}", sources.name)))
}

/// Removes what carries `tag`. `hint`: where it is likely to be; elsewhere it is sought in the whole maps only if the
/// hint is empty or wrong.
pub(super) fn teardown(nft: &mut Nfnetlink, tag: &Tag, hint: &[IpAddr]) -> Result<(), NetlinkError> {
    retry(|| {
        let mut found = Vec::new();
        for &address in hint {
            let sources = sources(address);
            let entry = nft.find_element(TABLE, sources.name, &Value::from(address))?;
            found.extend(entry.filter(|entry| is_of(entry, tag)).map(|entry| (sources, entry)));
        }
        if hint.is_empty() || found.len() < hint.len() {
            found = elements(nft, |entry| is_of(entry, tag))?;
        }
        remove(nft, &found)
    })
}

/// Removes what attachments of the network of `valid` have that are not valid, and chains without addresses.
pub(super) fn gc(nft: &mut Nfnetlink, valid: &Valid) -> Result<(), NetlinkError> {
    retry(|| {
        let stale = elements(nft, |entry| tag_of(entry).is_some_and(|tag| valid.is_stale(&tag)))?;
        remove(nft, &stale)
    })?;
    retry(|| {
        let mut transaction = Transaction::new(TABLE);
        // One use is its own rule.
        for chain in nft.chains(TABLE)?.iter().filter(|chain| !chain.is_base && chain.uses <= 1) {
            transaction.remove_chain(&chain.name);
        }
        commit(nft, &transaction)
    })
}

/// Removes elements, and the chains that only they lead to.
fn remove(nft: &mut Nfnetlink, found: &[(Set<'static>, ElementEntry)]) -> Result<(), NetlinkError> {
    let mut transaction = Transaction::new(TABLE);
    let chains: BTreeSet<&str> = found.iter().filter_map(|(_, entry)| entry.jump()).collect();
    for chain in chains {
        let of_chain = || found.iter().filter(|(_, entry)| entry.jump() == Some(chain));
        let leaving = u32::try_from(of_chain().count()).unwrap_or(u32::MAX);
        // Besides what leads to it, its own rule uses a chain.
        let uses = nft.find_chain(TABLE, chain)?.map_or(0, |chain| chain.uses.saturating_sub(1));
        for (sources, entry) in of_chain() {
            if uses <= FEW {
                transaction.destroy_element(sources.name, &entry.key);
            } else {
                transaction.remove_element(sources.name, &entry.key);
            }
        }
        if uses <= FEW && uses <= leaving {
            transaction.remove_chain(chain);
        }
    }
    commit(nft, &transaction)
}

/// The elements of both maps that `wanted` chooses.
fn elements(
    nft: &mut Nfnetlink,
    wanted: impl Fn(&ElementEntry) -> bool,
) -> Result<Vec<(Set<'static>, ElementEntry)>, NetlinkError> {
    let mut found = Vec::new();
    for sources in [SOURCES4, SOURCES6] {
        let all = nft.elements(TABLE, sources.name)?;
        found.extend(all.into_iter().filter(|entry| wanted(entry)).map(|entry| (sources, entry)));
    }
    Ok(found)
}

fn create_table(transaction: &mut Transaction<'_>) {
    transaction.ensure_table().ensure_set(&SOURCES4).ensure_set(&SOURCES6).create_base_chain(&BaseChain {
        name: POSTROUTING,
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: priority::SRCNAT,
        policy: Policy::Accept,
    });
    for sources in [SOURCES4, SOURCES6] {
        transaction.add_rule(POSTROUTING, &by_source(&sources));
    }
}

/// `ip saddr vmap @sources4`
fn by_source(sources: &Set<'_>) -> Rule {
    let load = if sources.name == SOURCES4.name { Load::IpSaddr } else { Load::Ip6Saddr };
    Rule::new().verdict_by_map(&[load], sources.name)
}

/// `ip daddr != 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade`
fn masquerade(address: IpNet) -> Rule {
    Rule::new().destination_not_in(address.trunc()).destination_not_in(super::multicast(address)).masquerade()
}

/// The map for addresses of the family of `address`.
fn sources(address: IpAddr) -> Set<'static> {
    if address.is_ipv4() { SOURCES4 } else { SOURCES6 }
}

/// The name of the chain of an address's subnet. `nft` takes no colon in a name.
fn chain_of(address: IpNet) -> String {
    format!("net-{}", address.trunc()).replace(':', "_")
}

/// Whether the element is the one that [`setup`] makes.
fn serves(entry: &ElementEntry, tag: &Tag, chain: &str) -> bool {
    is_of(entry, tag) && entry.jump() == Some(chain)
}

fn tag_of(entry: &ElementEntry) -> Option<Tag> {
    entry.comment.as_ref()?.parse().ok()
}

fn is_of(entry: &ElementEntry, tag: &Tag) -> bool {
    tag_of(entry).is_some_and(|of| of.is_same_attachment(tag))
}

/// Applies a transaction, if it changes anything.
pub(super) fn commit(nft: &mut Nfnetlink, transaction: &Transaction<'_>) -> Result<(), NetlinkError> {
    if transaction.is_empty() { Ok(()) } else { nft.commit(transaction) }
}

/// Does `work`, which looks and then changes, again where others changed something in between.
pub(super) fn retry(mut work: impl FnMut() -> Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    let mut attempt = 1;
    loop {
        match work() {
            Err(e) if attempt < ATTEMPTS && (e.is_exists() || e.is_not_found() || e.is_busy()) => attempt += 1,
            done => return done,
        }
    }
}
