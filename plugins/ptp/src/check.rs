//! CHECK: whether what ADD made is as it was made, in the container and on the host. Only what `ptp` owns is looked at.

use libcni::plugin::{Attachment, Call};
use libcni::types::IpConfig;
use linuxnet::attach::Found;
use linuxnet::iface;
use linuxnet::link::{Dev, Link};
use linuxnet::netlink::Netlink;
use linuxnet::route::{self, Filter, Route};

use crate::conf::Conf;
use crate::error::PtpError;
use crate::{KIND, host_end};

/// Compares the kernel with `prevResult` and the configuration.
pub(crate) fn check(call: &Call<'_>, attachment: &Attachment) -> Result<(), PtpError> {
    let conf = Conf::load(call)?;
    let mut found = Found::expect(call, attachment, KIND)?;
    found.verify()?;
    let here = found.result.container_interface(attachment.ifname()).map(|(index, _)| index);
    let ips: Vec<IpConfig> = found.result.ips.iter().filter(|ip| ip.interface == here).cloned().collect();
    let wanted = iface::gateway_routes(&ips);
    require_routes(&mut found.sandbox.netlink, &found.link, &wanted, "the container")?;
    let mut host = Netlink::open()?;
    let host_end = find_host_end(&mut host, &found.link)?;
    check_host_end(&mut host, &host_end, &ips)?;
    Ok(conf.masquerade.check(call, attachment, found.result)?)
}

/// The other end of the container's interface.
fn find_host_end(host: &mut Netlink, container: &Link) -> Result<Link, PtpError> {
    let link = container.peer_index.map(|index| host.find_link_by_index(index)).transpose()?.flatten();
    // In the host's namespace the same number may be another link's: its other end tells.
    link.filter(|link| link.kind == KIND && link.peer_index == Some(container.index))
        .ok_or_else(|| PtpError::Differs(format!("the host's end of {} is gone", container.name)))
}

fn check_host_end(host: &mut Netlink, link: &Link, ips: &[IpConfig]) -> Result<(), PtpError> {
    if !link.is_up {
        return Err(PtpError::Differs(format!("the host's end {} is down", link.name)));
    }
    let present: Vec<_> = host.addresses(Dev::from(link))?.into_iter().map(|address| address.net).collect();
    if let Some(missing) = host_end::gateways(ips).into_iter().find(|net| !present.contains(net)) {
        return Err(PtpError::Differs(format!("gateway address {missing} is not on {}", link.name)));
    }
    require_routes(host, link, &host_end::routes(ips), "the host")
}

/// The routes `wanted` by `link`, in any table: plugins further down the chain (`sbr`) move them.
fn require_routes(netlink: &mut Netlink, link: &Link, wanted: &[Route], place: &str) -> Result<(), PtpError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let present = netlink.routes(Filter { link: Some(link.index), table: None })?;
    let is_there = |route: &Route| {
        present.iter().any(|found| found.dst == route.dst && found.gw == route.gw && found.table != route::LOCAL)
    };
    match wanted.iter().find(|route| !is_there(route)) {
        Some(missing) => Err(PtpError::Differs(format!("route {missing} by {} of {place} is missing", link.name))),
        None => Ok(()),
    }
}
