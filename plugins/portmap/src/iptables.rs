//! Mappings in iptables, in the layout of the Go plugin: its DEL removes ours, and ours its.
//!
//! In the table nat: `CNI-HOSTPORT-DNAT`, which PREROUTING and OUTPUT jump to for packets to the host's own addresses,
//! jumps by port to a chain of the attachment, `CNI-DN-<hash>`, which marks what is to be masqueraded and translates the
//! destination. `CNI-HOSTPORT-MASQ`, which POSTROUTING jumps to, masquerades what is marked.

mod layout;

use ipnet::IpNet;
use libcni::names::{ContainerId, NetworkName};
use linuxnet::NetlinkError;
use linuxnet::iptables::{Batch, Family, Iptables, IptablesError, Table, Variant, has_legacy_nat};
use linuxnet::nft::{self, Nfnetlink};
use linuxnet::tag::{self, Valid};

use crate::conf::Conf;
use crate::container::Container;
use crate::error::PortmapError;
use crate::holder::{Holder, Owner, Place};
use crate::mapping::Binding;
use layout::DNAT;
pub(crate) use layout::Layout;

/// The only table.
const NAT: &str = "nat";

/// `CNI-HOSTPORT-DNAT` is jumped to from PREROUTING and OUTPUT.
const JUMPS: u32 = 2;

/// The chain of a container in a network.
pub(crate) fn chain_of(network: &NetworkName, container_id: &ContainerId) -> String {
    tag::chain_name("DN-", network, container_id)
}

/// As [`chain_of`], of plugin versions before 0.7.
fn legacy_chain_of(network: &NetworkName, container_id: &ContainerId) -> String {
    tag::chain_name("SN-", network, container_id)
}

/// Where iptables may hold something, found without running it.
fn variants(
    nft: Option<&mut Nfnetlink>,
    family: Family,
    is_there: impl FnOnce(&mut Nfnetlink, nft::Table<'static>) -> Result<bool, NetlinkError>,
) -> Result<Vec<Variant>, NetlinkError> {
    let mut variants = Vec::new();
    let table = nft::Table::new(
        match family {
            Family::V4 => nft::Family::Ipv4,
            Family::V6 => nft::Family::Ipv6,
        },
        NAT,
    );
    // iptables-nft keeps its chains as chains of nftables.
    if nft.map_or(Ok(false), |nft| is_there(nft, table))? {
        variants.push(Variant::Default);
    }
    if has_legacy_nat(family) {
        variants.push(Variant::Legacy);
    }
    Ok(variants)
}

/// Whoever has mappings in iptables-nft's tables that `bindings` would be in. One look where there are none.
pub(crate) fn holders(nft: &mut Nfnetlink, bindings: &[Binding]) -> Result<Vec<Holder>, PortmapError> {
    let mut holders = Vec::new();
    for family in Family::ALL {
        if !bindings.iter().any(|binding| Family::of(binding.target.ip()) == family) {
            continue;
        }
        let used = |nft: &mut Nfnetlink, table| {
            nft.find_chain(table, DNAT).map(|chain| chain.is_some_and(|chain| chain.uses > JUMPS))
        };
        if variants(Some(nft), family, used)?.contains(&Variant::Default) {
            let table = Iptables::of_host().list(Variant::Default, family, NAT)?;
            holders.extend(holders_in(&table, family));
        }
    }
    Ok(holders)
}

fn holders_in(table: &Table, family: Family) -> Vec<Holder> {
    let mut holders: Vec<Holder> = Vec::new();
    for jump in table.rules_of(DNAT) {
        let (Some(chain), Some((network, container_id))) =
            (jump.target(), jump.comment().and_then(layout::read_comment))
        else {
            continue;
        };
        for binding in table.rules_of(chain).filter_map(|rule| layout::read_binding(rule, family)) {
            let holder = Holder {
                host: binding.host,
                target: Some(binding.target.ip()),
                owner: Owner::Untagged { network: Some(network.clone()), container_id: container_id.clone() },
                place: Place::Chain { family, name: chain.to_owned() },
            };
            if !holders.contains(&holder) {
                holders.push(holder);
            }
        }
    }
    holders
}

/// Writes the attachment's chains of one family. `give_way` judges those who have mappings: what it returns is removed;
/// if it fails nothing is done.
pub(crate) fn publish(
    container: &Container,
    address: IpNet,
    conf: &Conf,
    bindings: &[Binding],
    mut give_way: impl FnMut(Vec<Holder>) -> Result<Vec<Place>, PortmapError>,
) -> Result<(), PortmapError> {
    let layout = Layout::new(container, address, conf, bindings);
    let family = Family::of(address.addr());
    let mut refusal = None;
    let outcome =
        Iptables::of_host().update(Variant::Default, family, NAT, |table| match give_way(holders_in(table, family)) {
            Ok(places) => {
                let mut batch = layout.batch(table);
                for place in places {
                    match place {
                        Place::Chain { name, .. } if name != layout.chain() => remove_chain(&mut batch, table, &name),
                        Place::Chain { .. } | Place::Element { .. } | Place::Rule { .. } => {}
                    }
                }
                batch
            }
            Err(e) => {
                refusal = Some(e);
                Batch::default()
            }
        });
    match refusal {
        Some(refusal) => Err(refusal),
        None => Ok(outcome?),
    }
}

/// Removes a chain and the rules that lead to it.
fn remove_chain(batch: &mut Batch, table: &Table, chain: &str) {
    for rule in table.rules().filter(|rule| rule.target() == Some(chain) && rule.chain() != chain) {
        batch.delete(rule);
    }
    if table.has_chain(chain) {
        batch.remove_chain(chain);
    }
}

/// Removes chains of other attachments that give way to mappings in nftables.
pub(crate) fn remove_places(places: &[Place]) -> Result<(), IptablesError> {
    for place in places {
        let Place::Chain { family, name } = place else { continue };
        remove_chains(Variant::Default, *family, std::slice::from_ref(name)).map(drop)?;
    }
    Ok(())
}

/// Takes back what an ADD made of one family.
pub(crate) fn take_back(family: Family, chain: String) -> Result<(), IptablesError> {
    remove_chains(Variant::Default, family, &[chain]).map(drop)
}

/// Removes chains that exist, and returns the mappings that were in them.
fn remove_chains(variant: Variant, family: Family, chains: &[String]) -> Result<Vec<Binding>, IptablesError> {
    let mut bindings = Vec::new();
    Iptables::of_host().update(variant, family, NAT, |table| {
        let mut batch = Batch::default();
        bindings.clear();
        for chain in chains {
            bindings.extend(table.rules_of(chain).filter_map(|rule| layout::read_binding(rule, family)));
            remove_chain(&mut batch, table, chain);
        }
        batch
    })?;
    Ok(bindings)
}

/// Removes the attachment's chains of both families, by whichever plugin and iptables they were made, and returns the
/// mappings that were in them. Nothing is run where there can be none.
pub(crate) fn remove(mut nft: Option<&mut Nfnetlink>, container: &Container) -> Result<Vec<Binding>, PortmapError> {
    let id = &container.id.container_id;
    let chains = [chain_of(&container.network, id), legacy_chain_of(&container.network, id)];
    let mut bindings = Vec::new();
    for family in Family::ALL {
        let there = |nft: &mut Nfnetlink, table| {
            Ok(nft.find_chain(table, &chains[0])?.is_some() || nft.find_chain(table, &chains[1])?.is_some())
        };
        for variant in variants(nft.as_deref_mut(), family, there)? {
            bindings.extend(remove_chains(variant, family, &chains)?);
        }
    }
    Ok(bindings)
}

/// Whether the attachment has a chain.
pub(crate) fn has_any(mut nft: Option<&mut Nfnetlink>, container: &Container) -> Result<bool, PortmapError> {
    let chain = chain_of(&container.network, &container.id.container_id);
    for reach in &container.reaches {
        let family = Family::of(reach.ip());
        let there = |nft: &mut Nfnetlink, table| nft.find_chain(table, &chain).map(|found| found.is_some());
        for variant in variants(nft.as_deref_mut(), family, there)? {
            if Iptables::of_host().list(variant, family, NAT)?.has_chain(&chain) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What differs from what ADD made, ours or the Go plugin's.
pub(crate) fn verify(bindings: &[Binding], container: &Container, conf: &Conf) -> Result<Vec<String>, PortmapError> {
    let chain = chain_of(&container.network, &container.id.container_id);
    let mut differences = Vec::new();
    for reach in &container.reaches {
        let family = Family::of(reach.ip());
        let of_family: Vec<Binding> = bindings.iter().filter(|b| b.target.ip() == reach.ip()).copied().collect();
        if of_family.is_empty() {
            continue;
        }
        let iptables = Iptables::of_host();
        let mut table = iptables.list(Variant::Default, family, NAT)?;
        if !table.has_chain(&chain) && has_legacy_nat(family) {
            table = iptables.list(Variant::Legacy, family, NAT)?;
        }
        differences.extend(Layout::new(container, reach.address, conf, &of_family).differences(&table));
    }
    Ok(differences)
}

/// Removes the chains of this network's attachments that are not valid, and returns the mappings that were in them.
pub(crate) fn collect_garbage(mut nft: Option<&mut Nfnetlink>, valid: &Valid) -> Result<Vec<Binding>, PortmapError> {
    let mut bindings = Vec::new();
    for family in Family::ALL {
        let used = |nft: &mut Nfnetlink, table| {
            nft.find_chain(table, DNAT).map(|chain| chain.is_some_and(|chain| chain.uses > JUMPS))
        };
        for variant in variants(nft.as_deref_mut(), family, used)? {
            let stale = layout::stale_chains(&Iptables::of_host().list(variant, family, NAT)?, valid);
            if !stale.is_empty() {
                bindings.extend(remove_chains(variant, family, &stale)?);
            }
        }
    }
    Ok(bindings)
}

/// Whether iptables can be used, for IPv4, which every host has. Runs nothing.
pub(crate) fn status() -> Result<(), IptablesError> {
    if Iptables::of_host().is_installed(Variant::Default, Family::V4) {
        return Ok(());
    }
    Err(IptablesError::Missing { program: "iptables-restore".to_owned() })
}
