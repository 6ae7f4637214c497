//! What is done to the machine by other means than the plugins: accidents, operators, and what a case needs.

use libcni::netns::Netns;
use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Bridge, Dev, Upper, Veth};
use linuxnet::netlink::Netlink;
use linuxnet::nft::{Nfnetlink, Transaction};
use linuxnet::route::{self, Route};
use linuxnet::rule;

use crate::node::{Node, NodeError, find, net};
use crate::step::{Change, What};

/// Does it.
pub(crate) fn make(node: &Node, change: &Change) -> Result<(), NodeError> {
    let place = change.place.as_str();
    let netns = node.netns(place)?;
    let mut netlink = Netlink::open_in(&netns)?;
    match &change.what {
        What::AddVeth { name, peer } => {
            netlink.create_veth(&Veth { host_name: Some(name), queues: Some(1), ..Veth::new(peer, &netns) })?;
            let peer = find(&mut netlink, place, peer)?;
            netlink.run(link::set_up(Dev::from(&peer)))?;
        }
        What::AddVlan { name, link, id } => {
            let lower = find(&mut netlink, place, link)?;
            netlink.create_vlan(Upper { name, lower: Dev::from(&lower), netns: None, mtu: None }, *id)?;
            let link = find(&mut netlink, place, name)?;
            netlink.run(link::set_up(Dev::from(&link)))?;
        }
        What::AddBridge(name) => drop(netlink.ensure_bridge(&Bridge::new(name))?),
        What::RemoveLink(name) => {
            let link = find(&mut netlink, place, name)?;
            netlink.remove_link(Dev::from(&link))?;
        }
        What::LinkUp(name) => {
            let link = find(&mut netlink, place, name)?;
            netlink.run(link::set_up(Dev::from(&link)))?;
        }
        What::LinkDown(name) => {
            let link = find(&mut netlink, place, name)?;
            netlink.run(link::set_down(Dev::from(&link)))?;
        }
        What::RenameLink { link, to } => {
            let link = find(&mut netlink, place, link)?;
            // A link that is up keeps its name, with kernels before 6.2.
            netlink.run(link::set_down(Dev::from(&link)))?;
            netlink.run(link::rename(Dev::from(&link), to))?;
            if link.is_up {
                netlink.run(link::set_up(Dev { name: to, ..Dev::from(&link) }))?;
            }
        }
        What::AddAddress { link, address } => {
            let link = find(&mut netlink, place, link)?;
            netlink.run(addr::add(Dev::from(&link), net(address)?, Dad::Skip))?;
        }
        What::RemoveAddress { link, address } => {
            let link = find(&mut netlink, place, link)?;
            let wanted = address.as_deref().map(net).transpose()?;
            let there = netlink.addresses(Dev::from(&link))?;
            for found in there.iter().filter(|found| wanted.is_none_or(|net| net == found.net)) {
                netlink.run(addr::remove(Dev::from(&link), found.net))?;
            }
        }
        What::AddRoute { to, link, via, table } => {
            let link = find(&mut netlink, place, link)?;
            let gw =
                via.as_ref().map(|via| via.parse().map_err(|_invalid| NodeError::Value(via.clone(), "an address")));
            let table = table.unwrap_or(route::MAIN);
            let route = Route { gw: gw.transpose()?, table, ..Route::to(net(to)?) };
            netlink.run(route::add(Dev::from(&link), &route))?;
        }
        What::RemoveRoute { to } => {
            let to = net(to)?;
            let routes = netlink.routes(route::Filter { table: Some(route::MAIN), ..Default::default() })?;
            for found in routes.iter().filter(|found| found.dst == to) {
                let index = found.link.unwrap_or_default();
                netlink.run(route::remove(Dev { index, name: "its link" }, found))?;
            }
        }
        What::FlushFirewall(_) => flush_firewall(&netns)?,
        What::RemoveRules { table } => {
            for found in netlink.rules()?.iter().filter(|rule| rule.table == *table) {
                netlink.run(rule::remove(found))?;
            }
        }
        What::RemoveQdisc(name) => {
            let link = find(&mut netlink, place, name)?;
            netlink.remove_tbf(Dev::from(&link))?;
        }
        What::SetMtu { link, mtu } => {
            let link = find(&mut netlink, place, link)?;
            netlink.run(link::set_mtu(Dev::from(&link), *mtu))?;
        }
        What::SetTxQueueLen { link, packets } => {
            let link = find(&mut netlink, place, link)?;
            netlink.run(link::set_tx_queue_len(Dev::from(&link), *packets))?;
        }
        What::SetMac { link, mac } => {
            let link = find(&mut netlink, place, link)?;
            let mac = mac.parse().map_err(|_invalid| NodeError::Value(mac.clone(), "an Ethernet address"))?;
            netlink.run(link::set_mac(Dev::from(&link), mac))?;
        }
        What::Sysctl { key, value } => netns.run(|| linuxnet::sysctl::write(key, value))??,
    }
    Ok(())
}

/// `nft flush ruleset`.
fn flush_firewall(netns: &Netns) -> Result<(), NodeError> {
    let mut nft = Nfnetlink::open_in(netns)?;
    for table in nft.ruleset()?.tables {
        let mut transaction = Transaction::new(linuxnet::nft::Table::new(table.family, &table.name));
        transaction.remove_table();
        nft.commit(&transaction)?;
    }
    Ok(())
}
