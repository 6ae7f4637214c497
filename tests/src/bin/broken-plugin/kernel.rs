//! What broken plugins do to links, addresses, routes and files.

use std::path::Path;

use ipnet::IpNet;
use libcni::netns::Netns;
use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Dev, Link, Veth};
use linuxnet::netlink::Netlink;
use linuxnet::route;

use crate::call::Call;

/// Does something to the interface in the container, if it is there.
pub(crate) fn to_interface(call: &Call, action: impl FnOnce(&mut Netlink, &Link)) {
    let Ok(netns) = Netns::open(call.var("CNI_NETNS")) else { return };
    let mut netlink = Netlink::open_in(&netns).expect("netlink");
    if let Some(link) = netlink.find_link(call.var("CNI_IFNAME")).expect("links") {
        action(&mut netlink, &link);
    }
}

pub(crate) fn has_interface(call: &Call) -> bool {
    let mut found = false;
    to_interface(call, |_, _| found = true);
    found
}

pub(crate) fn remove(netlink: &mut Netlink, link: &Link) {
    netlink.remove_link(Dev::from(link)).expect("remove a link");
}

pub(crate) fn set_down(netlink: &mut Netlink, link: &Link) {
    netlink.run(link::set_down(Dev::from(link))).expect("set a link down");
}

pub(crate) fn remove_addresses(netlink: &mut Netlink, link: &Link) {
    for address in netlink.addresses(Dev::from(link)).expect("addresses") {
        netlink.run(addr::remove(Dev::from(link), address.net)).expect("remove an address");
    }
}

pub(crate) fn add_address(netlink: &mut Netlink, link: &Link) {
    let address: IpNet = "10.99.0.1/32".parse().expect("an address");
    // There already is what it should be.
    let _ = netlink.run(addr::add(Dev::from(link), address, Dad::Skip));
}

pub(crate) fn remove_routes(netlink: &mut Netlink, link: &Link) {
    let of_link = route::Filter { table: Some(route::MAIN), link: Some(link.index) };
    for route in netlink.routes(of_link).expect("routes").iter().filter(|route| route.gw.is_some()) {
        netlink.run(route::remove(Dev::from(link), route)).expect("remove a route");
    }
}

/// The veths on the host, but for the link of the node to the world.
pub(crate) fn veths_of_host(netlink: &mut Netlink) -> Vec<Link> {
    let links = netlink.links().expect("links");
    links.into_iter().filter(|link| link.kind == "veth" && link.name != "uplink").collect()
}

/// A link on the host that nobody will remove.
pub(crate) fn leave_link(call: &Call) {
    let host = Netns::current().expect("the host's namespace");
    let id = call.var("CNI_CONTAINERID");
    let (name, peer) = (format!("left{:.8}", id), format!("tfel{:.8}", id));
    let veth = Veth { host_name: Some(&name), queues: Some(1), ..Veth::new(&peer, &host) };
    // There already is what it should be.
    let _ = Netlink::open().expect("netlink").create_veth(&veth);
}

/// A file of the attachment in the directory for plugins' state.
pub(crate) fn leave_file(call: &Call) {
    write(&call.file_in(STATE), b"left");
}

pub(crate) fn remove_file(call: &Call) {
    // Gone already is what it should be.
    let _ = std::fs::remove_file(call.file_in(STATE));
}

/// Where plugins keep state.
const STATE: &str = "/var/lib/cni/broken";

pub(crate) fn write(path: &Path, text: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    libcni::store::write_atomic(path, text, 0o600).expect("a file");
}
