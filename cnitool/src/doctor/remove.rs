//! Removes a single object that is left over, in the way in which the plugins themselves would.

use std::path::Path;

use libcni::error::causes;
use libcni::store::{self, Lock};
use linuxnet::iptables::{Batch, Iptables};
use linuxnet::link::Dev;
use linuxnet::netlink::Netlink;
use linuxnet::nft::{Family, Nfnetlink, Table, Transaction, Verdict};
use linuxnet::tag::Tag;

use crate::node::Owned;
use crate::node::iptables::Place;
use crate::node::owned::{Object, Owner};

/// Removes it, if it is still that of the same owner.
///
/// # Errors
/// Why it stays, in words.
pub(super) fn remove(owned: &Owned) -> Result<(), String> {
    match &owned.object {
        Object::Reservation { path, .. } => reservation(path, &owned.owner),
        Object::File { path, .. } => store::remove_file(path).map_err(|e| causes(Some(&e))),
        Object::Link { name, kind } => link(name, kind, &owned.owner),
        Object::NftElement { family, table, set, .. } => elements(*family, table, set, &owned.owner),
        Object::NftRule { family, table, chain, handle, .. } => {
            changed(Transaction::new(Table::new(*family, table)).remove_rule(chain, *handle))
        }
        Object::NftChain { family, table, chain } => nft_chain(*family, table, chain),
        Object::IptablesChain { place, chain } => in_iptables(place, |table| {
            let mut batch = Batch::default();
            for jump in table.rules().filter(|rule| rule.target() == Some(chain)) {
                batch.delete(jump);
            }
            if table.has_chain(chain) {
                batch.remove_chain(chain);
            }
            batch
        }),
        Object::IptablesRule { place, rule } => in_iptables(place, |table| {
            let mut batch = Batch::default();
            if let Some(found) = table.rules().find(|found| found.to_string() == *rule) {
                batch.delete(found);
            }
            batch
        }),
    }
}

/// Under the lock of the store, as host-local does it.
fn reservation(path: &Path, owner: &Owner) -> Result<(), String> {
    let Some(dir) = path.parent() else { return Ok(()) };
    let fault = |e| causes(Some(&e as &(dyn std::error::Error + 'static)));
    let _lock = Lock::exclusive(&dir.join("lock")).map_err(fault)?;
    let Some(content) = store::read_if_present(path).map_err(fault)? else { return Ok(()) };
    let content = String::from_utf8_lossy(&content);
    let holder = content.lines().map(str::trim).find(|line| !line.is_empty());
    match owner {
        Owner::Named { container, .. } if holder == Some(container) => store::remove_file(path).map_err(fault),
        _ => Err("somebody else has the address by now".to_owned()),
    }
}

fn link(name: &str, kind: &str, owner: &Owner) -> Result<(), String> {
    let removed = Netlink::open().and_then(|mut netlink| match netlink.find_link(name)? {
        Some(link) if link.kind == kind && link.link_netns_id.is_none() && is_owners(link.owner(), owner) => {
            netlink.remove_link(Dev::from(&link))
        }
        _ => Ok(()),
    });
    removed.map_err(|e| causes(Some(&e)))
}

/// Whether a mark is that of `owner`. Links of the Go plugins are known by their names alone.
fn is_owners(tag: Option<Tag>, owner: &Owner) -> bool {
    tag.is_none_or(|tag| Owner::from(&tag) == *owner)
}

/// All elements of the owner in this set.
fn elements(family: Family, table: &str, set: &str, owner: &Owner) -> Result<(), String> {
    let table = Table::new(family, table);
    let mut nft = Nfnetlink::open().map_err(|e| causes(Some(&e)))?;
    let mut transaction = Transaction::new(table);
    for element in nft.elements(table, set).map_err(|e| causes(Some(&e)))? {
        let tag = element.comment.as_deref().and_then(|comment| comment.parse::<Tag>().ok());
        if tag.is_some_and(|tag| Owner::from(&tag) == *owner) {
            transaction.destroy_element(set, &element.key);
        }
    }
    if transaction.is_empty() { Ok(()) } else { nft.commit(&transaction).map_err(|e| causes(Some(&e))) }
}

fn changed(transaction: &Transaction<'_>) -> Result<(), String> {
    Nfnetlink::open().and_then(|mut nft| nft.commit(transaction)).map_err(|e| causes(Some(&e)))
}

/// A chain, with the rules that lead to it.
fn nft_chain(family: Family, table: &str, chain: &str) -> Result<(), String> {
    let table = Table::new(family, table);
    let removed = Nfnetlink::open().and_then(|mut nft| {
        let mut transaction = Transaction::new(table);
        for from in nft.chains(table)? {
            for rule in nft.rules(table, &from.name)? {
                if rule.verdict().as_ref().and_then(Verdict::chain) == Some(chain) {
                    transaction.remove_rule(&from.name, rule.handle);
                }
            }
        }
        nft.commit(transaction.remove_chain(chain))
    });
    removed.map_err(|e| causes(Some(&e)))
}

fn in_iptables(place: &Place, plan: impl FnMut(&linuxnet::iptables::Table) -> Batch) -> Result<(), String> {
    let changed = Iptables::of_host().update(place.variant, place.family, place.table, plan);
    changed.map_err(|e| causes(Some(&e)))
}
