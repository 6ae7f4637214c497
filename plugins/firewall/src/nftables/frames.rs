//! Frames from port to port of a bridge, which tables for packets see only with bridge netfilter: none goes from the
//! port of an isolated container to another, nor back.

use libcni::names::IfName;
use linuxnet::NetlinkError;
use linuxnet::nft::{DataType, Element, ElementEntry, Field, Nfnetlink, Transaction, Value};
use linuxnet::sysctl;
use linuxnet::tag::Tag;

use super::layout::{self, BRIDGE_TABLE, PORTS};
use super::{is_of, tag_of};
use crate::conf::Policy;
use crate::container::Container;
use crate::error::FirewallError;

/// Whether the container is isolated.
fn is_isolated(container: &Container) -> bool {
    container.isolation.as_ref().is_some_and(|isolation| isolation.policy == Policy::Isolated)
}

/// Isolates the ports of the container if that is wanted, and no others of it.
///
/// # Errors
/// [`FirewallError::Frames`] where frames can neither be dropped as such nor are seen as packets.
pub(super) fn change(nft: &mut Nfnetlink, container: &Container) -> Result<(), FirewallError> {
    if is_isolated(container) {
        match layout::ensure_frames(nft) {
            Ok(()) => {}
            Err(_) if are_seen_as_packets() => return Ok(()),
            Err(source) => return Err(FirewallError::Frames(source)),
        }
    }
    super::retry(|| {
        let mut t = Transaction::new(BRIDGE_TABLE);
        for (port, element) in ports(nft)? {
            if container.ports.contains(&port) != is_of(&element, &container.tag) {
                t.destroy_element(PORTS.name, &element.key);
            }
        }
        for port in &container.ports {
            let key = Value::from(port.clone());
            let present = nft.find_element(BRIDGE_TABLE, PORTS.name, &key)?;
            if !present.is_some_and(|element| is_of(&element, &container.tag)) {
                t.create_element(PORTS.name, &Element::new(key).comment(container.tag.to_string()));
            }
        }
        nft.commit(&t)
    })?;
    Ok(())
}

/// The isolated ports.
fn ports(nft: &mut Nfnetlink) -> Result<Vec<(IfName, ElementEntry)>, NetlinkError> {
    let elements = nft.elements(BRIDGE_TABLE, PORTS.name)?.into_iter();
    let port = |element: ElementEntry| match element.key.fields(&[DataType::IfName])?.as_slice() {
        [Field::IfName(port)] => Some((port.clone(), element)),
        _ => None,
    };
    Ok(elements.filter_map(port).collect())
}

/// Removes the ports of those whose tag is meant.
pub(super) fn release(nft: &mut Nfnetlink, is_meant: impl Fn(&Tag) -> bool) -> Result<(), NetlinkError> {
    let mut t = Transaction::new(BRIDGE_TABLE);
    for (_, element) in ports(nft)? {
        if tag_of(&element).is_some_and(|tag| is_meant(&tag)) {
            t.remove_element(PORTS.name, &element.key);
        }
    }
    nft.commit(&t)
}

/// What the container's ports lack.
pub(super) fn verify(nft: &mut Nfnetlink, container: &Container) -> Result<Vec<String>, NetlinkError> {
    if !is_isolated(container) || (!nft.table_exists(BRIDGE_TABLE)? && are_seen_as_packets()) {
        return Ok(Vec::new());
    }
    if !layout::drops_frames(nft)? {
        return Ok(vec![format!("a rule of chain forward in table {BRIDGE_TABLE} is missing")]);
    }
    let mut differences = Vec::new();
    for port in &container.ports {
        let element = nft.find_element(BRIDGE_TABLE, PORTS.name, &port.clone().into())?;
        if !element.is_some_and(|element| is_of(&element, &container.tag)) {
            let set = PORTS.name;
            differences.push(format!("element \"{port}\" of set {set} in table {BRIDGE_TABLE} is missing"));
        }
    }
    Ok(differences)
}

/// Whether bridge netfilter shows frames between ports to tables for packets.
fn are_seen_as_packets() -> bool {
    let keys = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];
    keys.iter().all(|key| sysctl::read(key).is_ok_and(|value| value.trim() == "1"))
}
