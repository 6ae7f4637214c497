//! What stands in nftables for attachments: elements and rules with our tags, in whatever table; and what the Go plugins
//! left in their own tables.

use std::net::{IpAddr, SocketAddr};

use linuxnet::nft::{Family, ListedElement, ListedRule, Nfnetlink, Ruleset};
use linuxnet::tag::Tag;

use super::owned::{Object, Owned, Owner};
use super::{Binding, Note, PortMapping};

/// The Go plugins' tables: masquerading, published ports, and the check of Ethernet addresses.
const MASQUERADE: &str = "cni_plugins_masquerade";
const HOSTPORT: &str = "cni_hostport";
const SPOOF: (Family, &str) = (Family::Bridge, "nat");
/// How the Go plugins name their chains for the check of Ethernet addresses, and how its comments begin.
const SPOOF_CHAIN: &str = "cni-br-iface-";
const SPOOF_COMMENT: &str = "macspoofchk-";
/// What ports belong to.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
/// Hexadecimal digits of each of the two hashes in a comment of masquerading.
const HASH_DIGITS: usize = 16;

/// What is found: objects, and published ports.
pub(super) fn read(nft: &mut Nfnetlink, notes: &mut Vec<Note>) -> (Vec<Owned>, Vec<Binding>) {
    match nft.ruleset() {
        Ok(ruleset) => (objects(&ruleset), bindings(&ruleset)),
        Err(fault) => {
            notes.push(Note::of("the rules of nftables", &fault));
            Default::default()
        }
    }
}

fn objects(ruleset: &Ruleset) -> Vec<Owned> {
    let elements =
        ruleset.elements.iter().filter_map(|element| Some((element_object(element), owner_of_element(element)?)));
    let rules = ruleset.rules.iter().filter_map(|rule| Some((rule_object(rule), owner_of_rule(rule)?)));
    let chains = ruleset.chains.iter().filter_map(|chain| {
        let rest = chain.name.strip_prefix(SPOOF_CHAIN).filter(|_| (chain.family, chain.table.as_str()) == SPOOF)?;
        let owner = owner_of_spoof(rest.strip_suffix("-mac").unwrap_or(rest))?;
        let object = Object::NftChain { family: chain.family, table: chain.table.clone(), chain: chain.name.clone() };
        Some((object, owner))
    });
    elements
        .chain(rules)
        .chain(chains)
        .map(|(object, owner)| Owned { object, owner, attachments: Vec::new() })
        .collect()
}

fn element_object(element: &ListedElement) -> Object {
    Object::NftElement {
        family: element.family,
        table: element.table.clone(),
        set: element.set.clone(),
        key: element.key.clone(),
        data: element.data.clone(),
    }
}

fn rule_object(rule: &ListedRule) -> Object {
    Object::NftRule {
        family: rule.family,
        table: rule.table.clone(),
        chain: rule.entry.chain.clone(),
        handle: rule.entry.handle,
        text: rule.text.clone(),
    }
}

fn owner_of_element(element: &ListedElement) -> Option<Owner> {
    element.comment.as_deref()?.parse::<Tag>().ok().map(|tag| Owner::from(&tag))
}

/// Whose a rule is, by its comment: in the Go plugins' tables as they write it, elsewhere our tag.
fn owner_of_rule(rule: &ListedRule) -> Option<Owner> {
    let comment = rule.entry.comment.as_deref()?;
    match rule.table.as_str() {
        HOSTPORT => is_container_id(comment).then(|| container(comment, None)),
        MASQUERADE => {
            let (network, rest) = comment.split_once('-')?;
            let attachment = rest.get(..HASH_DIGITS)?;
            (network.len() == HASH_DIGITS).then(|| Owner::Hashes(format!("{network}-{attachment}")))
        }
        // The rules of the chains themselves go with them.
        table if (rule.family, table) == SPOOF && !rule.entry.chain.starts_with(SPOOF_CHAIN) => {
            comment.strip_prefix(SPOOF_COMMENT).and_then(owner_of_spoof)
        }
        _ => comment.parse::<Tag>().ok().map(|tag| Owner::from(&tag)),
    }
}

fn is_container_id(comment: &str) -> bool {
    comment.parse::<libcni::names::ContainerId>().is_ok()
}

fn container(id: &str, ifname: Option<&str>) -> Owner {
    Owner::Named { network: None, container: id.to_owned(), ifname: ifname.map(str::to_owned) }
}

/// `<container ID>-<ifname>`.
fn owner_of_spoof(text: &str) -> Option<Owner> {
    text.rsplit_once('-').map(|(id, ifname)| container(id, Some(ifname)))
}

/// The published ports: elements of our maps from protocol and port to address and port, and the Go plugins' rules.
fn bindings(ruleset: &Ruleset) -> Vec<Binding> {
    let elements = ruleset.elements.iter().filter_map(|element| {
        let (mapping, target) = mapping_of_element(&element.key, element.data.as_deref()?)?;
        Some(Binding { mapping, target, owner: owner_of_element(element)?, attachments: Vec::new() })
    });
    let rules = ruleset.rules.iter().filter(|rule| rule.table == HOSTPORT).filter_map(|rule| {
        let (mapping, target) = mapping_of_rule(&rule.text)?;
        Some(Binding { mapping, target, owner: owner_of_rule(rule)?, attachments: Vec::new() })
    });
    elements.chain(rules).collect()
}

/// `[192.0.2.1 . ]tcp . 8080` and `10.1.0.2 . 80`.
fn mapping_of_element(key: &str, data: &str) -> Option<(PortMapping, IpAddr)> {
    let (rest, port) = key.rsplit_once(" . ")?;
    let (host_ip, protocol) = rest.rsplit_once(" . ").map_or((None, rest), |(ip, protocol)| (Some(ip), protocol));
    let (target, container_port) = data.split_once(" . ")?;
    let mapping = PortMapping {
        protocol: protocol.to_owned(),
        host_ip: host_ip.map(str::parse).transpose().ok()?,
        host_port: port.parse().ok()?,
        container_port: container_port.parse().ok()?,
    };
    Some((mapping, target.parse().ok()?))
}

/// `[ip daddr 192.0.2.1 ]tcp dport 8080 dnat to 10.1.0.2:80`, as the Go plugin gives it to `nft`, or, as it is told in
/// expressions, `meta l4proto tcp th dport 8080 …`.
fn mapping_of_rule(text: &str) -> Option<(PortMapping, IpAddr)> {
    let words: Vec<&str> = text.split(' ').collect();
    let after = |word: &str| words.iter().position(|&other| other == word).and_then(|at| words.get(at + 1)).copied();
    let protocol = words.iter().find(|word| PROTOCOLS.contains(word))?;
    let target: SocketAddr = after("to")?.parse().ok()?;
    let mapping = PortMapping {
        protocol: (*protocol).to_owned(),
        host_ip: after("daddr").map(str::parse).transpose().ok()?,
        host_port: after("dport")?.parse().ok()?,
        container_port: target.port(),
    };
    Some((mapping, target.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: Option<(PortMapping, IpAddr)>) -> String {
        found.map(|(mapping, target)| format!("{mapping} at {target}")).unwrap_or_default()
    }

    #[test]
    fn elements_of_our_maps_are_read() {
        assert_eq!(shown(mapping_of_element("tcp . 8080", "10.1.0.2 . 80")), "8080->80/tcp at 10.1.0.2");
        let specific = mapping_of_element("fd00::1 . udp . 53", "fd00:1::2 . 53");
        assert_eq!(shown(specific), "[fd00::1]:53->53/udp at fd00:1::2");
        for (key, data) in [("10.1.0.2", "jump x"), ("\"cni0\" . \"cni0\"", "drop"), ("tcp . 99999", "10.1.0.2 . 80")] {
            assert_eq!(mapping_of_element(key, data), None, "{key}");
        }
    }

    #[test]
    fn rules_of_the_go_plugin_are_read() {
        for (text, expected) in [
            ("tcp dport 8080 dnat to 10.1.0.2:80 comment \"c1\"", "8080->80/tcp at 10.1.0.2"),
            ("ip daddr 192.0.2.1 udp dport 53 dnat ip to 10.1.0.2:53", "192.0.2.1:53->53/udp at 10.1.0.2"),
            ("tcp dport 8080 dnat to [fd00::2]:80", "8080->80/tcp at fd00::2"),
            ("meta l4proto udp th dport 53 dnat to 10.1.0.2:53", "53->53/udp at 10.1.0.2"),
            ("jump hostports", ""),
        ] {
            assert_eq!(shown(mapping_of_rule(text)), expected, "{text}");
        }
    }

    #[test]
    fn comments_of_the_check_of_addresses_name_container_and_interface() {
        assert_eq!(owner_of_spoof("a-b-eth0"), Some(container("a-b", Some("eth0"))));
    }
}
