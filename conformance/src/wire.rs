//! What a plugin before a chained one would have made: an interface in the container, and the result that tells of it.

use ipnet::IpNet;
use libcni::convert;
use libcni::types::{AddResult, Interface, IpConfig};
use libcni::version::SpecVersion;
use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Dev, Veth};
use linuxnet::netlink::Netlink;
use linuxnet::route::{self, Route};

use crate::node::{Node, NodeError, find, net};
use crate::trial::TrialError;

/// How the host's ends are called: `wire0`, `wire1`, … They are no plugin's.
pub(crate) const PREFIX: &str = "wire";

/// Gives the container `eth0` with 10.99.N.2/24, and a route through the host's end, which has 10.99.N.1.
pub(crate) fn attach(node: &mut Node, name: &str, version: &str) -> Result<(), TrialError> {
    let netns = node.netns(name)?;
    let Some(container) = node.containers.get_mut(name) else { return Ok(()) };
    let number = container.number;
    let host_name = format!("{PREFIX}{number}");
    let result = connect(&netns, &host_name, number)?;
    let version = SpecVersion::ALL.into_iter().find(|known| known.as_str() == version);
    let version = version.ok_or_else(|| TrialError::Case("an unknown version".to_owned()))?;
    let wire = convert::to_wire(&result, version).map_err(|e| TrialError::Case(e.to_string()))?;
    container.wired = Some(wire.clone());
    container.result = Some(wire);
    Ok(())
}

/// Takes away what [`attach`] made.
pub(crate) fn detach(node: &Node, name: &str) -> Result<(), TrialError> {
    let Some(container) = node.containers.get(name) else { return Ok(()) };
    let mut netlink = Netlink::open().map_err(NodeError::from)?;
    let link = netlink.find_link(&format!("{PREFIX}{}", container.number)).map_err(NodeError::from)?;
    // Nothing is left of it if its container ended.
    link.map_or(Ok(()), |link| netlink.remove_link(Dev::from(&link))).map_err(|e| NodeError::from(e).into())
}

fn connect(netns: &libcni::netns::Netns, host_name: &str, number: usize) -> Result<AddResult, NodeError> {
    let (mut here, mut there) = (Netlink::open()?, Netlink::open_in(netns)?);
    here.create_veth(&Veth { host_name: Some(host_name), queues: Some(1), ..Veth::new("eth0", netns) })?;
    let (host, inside) = (find(&mut here, "the node", host_name)?, find(&mut there, "the container", "eth0")?);
    let (gateway, address) = (format!("10.99.{number}.1/24"), format!("10.99.{number}.2/24"));
    for (netlink, link, address) in [(&mut here, &host, &gateway), (&mut there, &inside, &address)] {
        let dev = Dev::from(link);
        if link.ipv6.is_some() {
            netlink.run(link::set_link_local(dev, false))?;
        }
        netlink.run(addr::add(dev, net(address)?, Dad::Skip))?;
        netlink.run(link::set_up(dev))?;
    }
    let gw = net(&gateway)?.addr();
    let default = Route { gw: Some(gw), ..Route::to(net("0.0.0.0/0")?) };
    there.run(route::add(Dev::from(&inside), &default))?;
    let interface = |link: &link::Link, sandbox: Option<&std::path::Path>| Interface {
        name: link.name.clone(),
        mac: link.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        sandbox: sandbox.map(|path| path.display().to_string()).unwrap_or_default(),
        ..Interface::default()
    };
    let address: IpNet = net(&address)?;
    Ok(AddResult {
        interfaces: vec![interface(&host, None), interface(&inside, Some(netns.path()))],
        ips: vec![IpConfig { interface: Some(1), address, gateway: Some(gw) }],
        routes: vec![libcni::types::Route { gw: Some(gw), ..libcni::types::Route::to(net("0.0.0.0/0")?) }],
        ..AddResult::default()
    })
}
