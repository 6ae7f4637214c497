//! Links and their addresses, as lines.

use std::fmt::Write;
use std::net::IpAddr;

use nix::libc;

use super::{Entry, Kind, Names, Object};
use crate::addr::Address;
use crate::link::{Link, Vnis};

/// `veth1a2b@if2: veth mtu 1500 up qlen 1000 mac 0a:58:0a:58:00:01 master cni0`.
pub(super) fn entry(link: &Link, names: &Names) -> Entry {
    Entry {
        kind: Kind::Link,
        dev: Some(link.name.clone()),
        is_automatic: false,
        text: text(link, names),
        object: Object::Link(Box::new(link.clone())),
        key: link.name.clone(),
    }
}

fn text(link: &Link, names: &Names) -> String {
    let mut text = link.name.clone();
    match (link.peer_index, link.link_netns_id) {
        (Some(peer), None) => text += &format!("@{}", names.of(peer)),
        // The other namespace's number of it.
        (Some(peer), Some(_)) => text += &format!("@if{peer}"),
        (None, _) => {}
    }
    let kind = if link.kind.is_empty() { String::new() } else { format!(" {}", link.kind) };
    let state = if link.is_up { "up" } else { "down" };
    // Writing to a string does not fail.
    let _ = write!(text, ":{kind} mtu {} {state}", link.mtu);
    let mut say = |part: String| text += &format!(" {part}");
    if link.tx_queue_len != 0 {
        say(format!("qlen {}", link.tx_queue_len));
    }
    if let Some(mac) = link.mac {
        say(format!("mac {mac}"));
    }
    if let Some(master) = link.master {
        say(format!("master {}", names.of(master)));
    }
    let flags = [
        (link.is_promiscuous, "promisc"),
        (link.is_all_multicast, "allmulticast"),
        (link.bridge.is_some_and(|bridge| bridge.vlan_filtering), "vlan_filtering"),
        (link.port.is_some_and(|port| port.hairpin), "hairpin"),
        (link.port.is_some_and(|port| port.isolated), "isolated"),
    ];
    flags.into_iter().filter(|(on, _)| *on).for_each(|(_, name)| say(name.to_owned()));
    details(link, &mut say);
    text
}

/// What links of one kind alone have.
fn details(link: &Link, say: &mut impl FnMut(String)) {
    if let Some(mode) = link.macvlan {
        say(format!("mode {mode}"));
    }
    if let Some(mode) = link.ipvlan {
        say(format!("mode {mode}"));
    }
    if let Some(id) = link.vlan {
        say(format!("id {id}"));
    }
    if let Some(table) = link.vrf_table {
        say(format!("table {table}"));
    }
    if let Some(vxlan) = link.vxlan {
        match vxlan.vnis {
            Vnis::One(id) => say(format!("id {id}")),
            Vnis::External { filter } => say(format!("external{}", if filter { " vnifilter" } else { "" })),
        }
        say(format!("dstport {}", vxlan.port));
    }
    if let Some(alias) = &link.alias {
        say(format!("alias \"{alias}\""));
    }
    link.alt_names.iter().for_each(|name| say(format!("altname {name}")));
}

/// `eth0 10.88.0.2/16 brd 10.88.255.255 scope global`.
pub(super) fn address(address: Address, names: &Names) -> Entry {
    let dev = names.of(address.link);
    let mut text = format!("{dev} {}", address.net);
    if let Some(broadcast) = address.broadcast {
        text += &format!(" brd {broadcast}");
    }
    text += &format!(" scope {}", scope(address.scope));
    if address.is_alone {
        text += " noprefixroute";
    }
    if address.is_duplicate {
        text += " dadfailed";
    }
    let is_link_local = matches!(address.net.addr(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    Entry {
        kind: Kind::Address,
        is_automatic: is_link_local || address.net.addr().is_loopback(),
        key: format!("{dev} {}", address.net),
        dev: Some(dev),
        text,
        object: Object::Address(address),
    }
}

/// The name of a scope, as iproute2 has it.
pub(super) fn scope(scope: u8) -> String {
    match scope {
        libc::RT_SCOPE_UNIVERSE => "global".to_owned(),
        libc::RT_SCOPE_LINK => "link".to_owned(),
        libc::RT_SCOPE_HOST => "host".to_owned(),
        libc::RT_SCOPE_NOWHERE => "nowhere".to_owned(),
        other => other.to_string(),
    }
}
