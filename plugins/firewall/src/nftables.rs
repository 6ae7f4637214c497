//! Attachments in our nftables table, by nfnetlink: each of their addresses is an element of a set, with the attachment's
//! tag as comment. [`layout`] has the tables, [`isolation`] the policies of bridges, [`frames`]
//! what they mean between ports.

mod frames;
mod isolation;
mod layout;

use std::net::IpAddr;

use linuxnet::NetlinkError;
use linuxnet::nft::{Element, ElementEntry, Field, Nfnetlink, Transaction, Value};
use linuxnet::tag::{Tag, Valid};

use crate::container::Container;
use crate::error::FirewallError;
use layout::Version;
pub(crate) use layout::{ATTEMPTS, MARK, TABLE};

/// An address that an attachment has in one of the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    set: &'static str,
    pub(crate) ip: IpAddr,
    /// Whether it says that the address is in a zone of firewalld.
    pub(crate) is_zoned: bool,
}

impl Entry {
    fn host(ip: IpAddr) -> Self {
        Self { set: Version::of(ip).hosts.name, ip, is_zoned: false }
    }

    fn zoned(ip: IpAddr) -> Self {
        Self { set: Version::of(ip).zoned.name, ip, is_zoned: true }
    }
}

fn tag_of(element: &ElementEntry) -> Option<Tag> {
    element.comment.as_deref()?.parse().ok()
}

fn is_of(element: &ElementEntry, tag: &Tag) -> bool {
    tag_of(element).is_some_and(|of| of.is_same_attachment(tag))
}

/// The address that an element's key is.
fn address(key: &Value, version: &Version) -> Option<IpAddr> {
    match key.fields(&[version.key])?.as_slice() {
        [Field::Ip(ip)] => Some(*ip),
        _ => None,
    }
}

/// Whether nftables can be used: the kernel has it, and we may.
pub(crate) fn probe(nft: &mut Nfnetlink) -> Result<(), NetlinkError> {
    nft.table_exists(TABLE).map(drop)
}

/// Lets the container's packets pass, and isolates its bridge as wanted. `zoned`: also notes that its addresses are about
/// to become sources of a zone of firewalld. An address is taken from any former holder.
pub(crate) fn admit(nft: &mut Nfnetlink, container: &Container, zoned: bool) -> Result<(), FirewallError> {
    layout::ensure(nft)?;
    let entries = entries(container, zoned);
    if container.isolation.is_some() || has_former(nft, &entries)? {
        isolation::change(nft, container)?;
    }
    retry(|| {
        let mut t = Transaction::new(TABLE);
        for entry in &entries {
            let key = Value::from(entry.ip);
            match nft.find_element(TABLE, entry.set, &key)? {
                Some(element) if is_of(&element, &container.tag) => continue,
                // The kernel does not change the comment of an element that exists.
                Some(_former) => t.destroy_element(entry.set, &key),
                None => &mut t,
            };
            t.create_element(entry.set, &Element::new(key).comment(container.tag.to_string()));
        }
        nft.commit(&t)
    })?;
    Ok(())
}

fn entries(container: &Container, zoned: bool) -> Vec<Entry> {
    let zoned = container.ips.iter().copied().filter(|_| zoned).map(Entry::zoned);
    container.ips.iter().copied().map(Entry::host).chain(zoned).collect()
}

/// Whether somebody had one of these addresses: then a policy may have been left with it.
fn has_former(nft: &mut Nfnetlink, entries: &[Entry]) -> Result<bool, NetlinkError> {
    for entry in entries {
        if nft.find_element(TABLE, entry.set, &entry.ip.into())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether any of the container's addresses is here under its tag.
pub(crate) fn has_any(nft: &mut Nfnetlink, container: &Container) -> Result<bool, NetlinkError> {
    for ip in &container.ips {
        let element = nft.find_element(TABLE, Entry::host(*ip).set, &(*ip).into())?;
        if element.is_some_and(|element| is_of(&element, &container.tag)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What differs from what [`admit`] made.
pub(crate) fn verify(nft: &mut Nfnetlink, container: &Container) -> Result<Vec<String>, NetlinkError> {
    let mut differences: Vec<String> = layout::missing_rule(nft)?.into_iter().collect();
    for &ip in &container.ips {
        let set = Entry::host(ip).set;
        match nft.find_element(TABLE, set, &ip.into())? {
            None => differences.push(format!("element {ip} of set {set} in table {TABLE} is missing")),
            Some(element) if !is_of(&element, &container.tag) => {
                let owner = element.comment.as_deref().unwrap_or("nobody");
                differences.push(format!("element {ip} of set {set} in table {TABLE} belongs to \"{owner}\""));
            }
            Some(_) => {}
        }
    }
    if let Some(isolation) = &container.isolation {
        differences.extend(isolation::verify(nft, container, isolation)?);
    }
    Ok(differences)
}

/// The container's entries: by its addresses, or where these are unknown or not all are there, by a look at all.
pub(crate) fn of_container(nft: &mut Nfnetlink, container: &Container) -> Result<Vec<Entry>, NetlinkError> {
    let mut found = Vec::new();
    for entry in entries(container, true) {
        let element = nft.find_element(TABLE, entry.set, &entry.ip.into())?;
        found.extend(element.filter(|element| is_of(element, &container.tag)).map(|_| entry));
    }
    if container.ips.is_empty() || found.iter().filter(|entry| !entry.is_zoned).count() < container.ips.len() {
        return by_tag(nft, |tag| tag.is_same_attachment(&container.tag));
    }
    Ok(found)
}

/// The entries of this network's attachments that are not valid.
pub(crate) fn stale(nft: &mut Nfnetlink, valid: &Valid) -> Result<Vec<Entry>, NetlinkError> {
    by_tag(nft, |tag| valid.is_stale(tag))
}

fn by_tag(nft: &mut Nfnetlink, is_meant: impl Fn(&Tag) -> bool) -> Result<Vec<Entry>, NetlinkError> {
    let mut found = Vec::new();
    for version in Version::ALL {
        for (set, entry) in
            [(version.hosts.name, Entry::host as fn(IpAddr) -> Entry), (version.zoned.name, Entry::zoned)]
        {
            let meant = nft.elements(TABLE, set)?.into_iter();
            let meant = meant.filter(|element| tag_of(element).is_some_and(|tag| is_meant(&tag)));
            found.extend(meant.filter_map(|element| address(&element.key, version)).map(entry));
        }
    }
    Ok(found)
}

/// Removes entries.
pub(crate) fn remove(nft: &mut Nfnetlink, entries: &[Entry]) -> Result<(), NetlinkError> {
    let mut t = Transaction::new(TABLE);
    for entry in entries {
        t.remove_element(entry.set, &entry.ip.into());
    }
    nft.commit(&t)
}

/// Removes what the attachment wants of its bridge.
pub(crate) fn release_bridge(nft: &mut Nfnetlink, container: &Container) -> Result<(), FirewallError> {
    isolation::release(nft, |tag| tag.is_same_attachment(&container.tag))
}

/// Removes what this network's attachments that are not valid want of their bridges.
pub(crate) fn release_stale_bridges(nft: &mut Nfnetlink, valid: &Valid) -> Result<(), FirewallError> {
    isolation::release(nft, |tag| valid.is_stale(tag))
}

/// Does `work`, which looks and then changes, again where others changed something in between.
pub(crate) fn retry(mut work: impl FnMut() -> Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    let mut attempt = 1;
    loop {
        match work() {
            Err(e) if attempt < ATTEMPTS && (e.is_exists() || e.is_not_found() || e.is_busy()) => attempt += 1,
            done => return done,
        }
    }
}
