//! Giving an interface its addresses and routes.

use std::time::{Duration, Instant};

use ipnet::IpNet;
use libcni::netns::{Netns, NetnsError};
use libcni::plugin::{Interrupted, interrupted};
use libcni::types::{AddResult, IpConfig};

use crate::addr::{self, Dad};
use crate::error::NetlinkError;
use crate::link::{self, Dev, Ipv6State, Link};
use crate::netlink::{Batch, Netlink};
use crate::route::{self, Filter};
use crate::sysctl::{self, SysctlError};

use super::{Gateways, IndexError, applied, belongs, gateway_routes, resolve};

/// How long duplicate address detection may take; as the reference.
const DAD_TIMEOUT: Duration = Duration::from_secs(5);
/// `RTNLGRP_IPV6_IFADDR` of linux/rtnetlink.h: changes of IPv6 addresses.
const GROUP_IPV6_ADDRESSES: u32 = 9;

/// Why a result cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The result names no interface at all.
    #[error("no interfaces to configure")]
    NoInterfaces,
    /// An address names an interface that is not the one to configure.
    #[error("cannot add address {address} to {ifname}: invalid interface index")]
    Index {
        /// The interface to configure.
        ifname: String,
        /// The address.
        address: IpNet,
        /// What is wrong with it.
        source: IndexError,
    },
    /// IPv6 is disabled on the interface and cannot be enabled, or cannot be set up.
    #[error("cannot enable IPv6 for interface {ifname}")]
    EnableIpv6 {
        /// The interface.
        ifname: String,
        /// Why.
        source: SysctlError,
    },
    /// The container's namespace cannot be entered.
    #[error("cannot set up interface {ifname}")]
    Netns {
        /// The interface.
        ifname: String,
        /// Why.
        source: NetnsError,
    },
    /// Somebody else on the link has the address.
    #[error("address {address} of {ifname} is a duplicate: another host on the link has it")]
    Duplicate {
        /// The interface.
        ifname: String,
        /// The address.
        address: IpNet,
    },
    /// Duplicate address detection did not end.
    #[error("address {address} of {ifname} is still tentative after {} s", DAD_TIMEOUT.as_secs())]
    Tentative {
        /// The interface.
        ifname: String,
        /// The address.
        address: IpNet,
    },
    /// The process was asked to end while it waited.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The kernel refused an address, the link going up, or a route.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// How a result is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether IPv6 addresses are probed for duplicates first, which takes one to two seconds.
    pub dad: Dad,
    /// Whether the interface announces its IPv4 addresses when it comes up, so that neighbours forget who had them
    /// before. On a bridge every port hears it.
    pub arp_notify: bool,
    /// The same for IPv6 (unsolicited neighbour advertisements, sysctl `ndisc_notify`), as far as the kernel lets us.
    pub ndisc_notify: bool,
    /// Whether `lo` is set up too. Runtimes do that by the `loopback` plugin.
    pub loopback_up: bool,
    /// How the subnets of the addresses are reached.
    pub subnets: Subnets,
}

/// How the container reaches the other addresses of its own subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subnets {
    /// They are on the link: the kernel's own route.
    OnLink,
    /// By the gateway, which alone is on the link ([`gateway_routes`]). The subnet of an
    /// address without a gateway is on the link.
    ViaGateway,
}

impl Default for Options {
    fn default() -> Self {
        Self { dad: Dad::Skip, arp_notify: true, ndisc_notify: false, loopback_up: false, subnets: Subnets::OnLink }
    }
}

/// Gives `link`, the container's end, the addresses and routes of `result`, and sets it up. `netlink` is a socket in
/// `netns`, the container's namespace.
///
/// Addresses without an interface index are left alone. Routes without a gateway go by the first gateway of their
/// family. All goes in one send; after a failure some of it may be done, and goes when the link is removed.
///
/// Afterwards the attributes that the result gives its routes (`mtu`, `advmss`, `priority`, `table`, `scope`) are what
/// the kernel has made of them: an IPv6 route with the metric 0 has 1024, an MTU is at most 65520. An attribute
/// that the kernel does not have is taken out, one that nobody asked for is not put in.
///
/// # Errors
/// [`ApplyError`]; the first thing that failed.
pub fn apply(
    netlink: &mut Netlink,
    netns: &Netns,
    link: &Link,
    result: &mut AddResult,
    options: Options,
) -> Result<(), ApplyError> {
    if result.interfaces.is_empty() {
        return Err(ApplyError::NoInterfaces);
    }
    let ips = ips_of(result, &link.name)?;
    if ips.iter().any(|ip| ip.address.addr().is_ipv6()) {
        enable_ipv6(netlink, netns, link, options)?;
    }
    let dev = Dev::from(link);
    batch(dev, &ips, result, options).send(netlink)?;
    if options.dad == Dad::Run {
        wait_for_dad(netlink, dev, &ips)?;
    }
    let gateways = Gateways::of(ips);
    report_attributes(netlink, dev, gateways, &mut result.routes)
}

/// Replaces the attributes of `routes` by the kernel's. Where there are none, as mostly, the kernel is not asked.
fn report_attributes(
    netlink: &mut Netlink,
    dev: Dev<'_>,
    gateways: Gateways,
    routes: &mut [libcni::types::Route],
) -> Result<(), ApplyError> {
    if !routes.iter().any(applied::has_attributes) {
        return Ok(());
    }
    let is = netlink.routes(Filter { link: Some(dev.index), table: None })?;
    for route in routes.iter_mut().filter(|route| applied::has_attributes(route)) {
        // Not there: somebody has removed it since. What was asked for is the last that is known.
        if let Some(is) = applied::find(&resolve(route, gateways), &is) {
            applied::report(route, is);
        }
    }
    Ok(())
}

fn batch(dev: Dev<'_>, ips: &[&IpConfig], result: &AddResult, options: Options) -> Batch {
    let gateways = Gateways::of(ips.iter().copied());
    let mut batch = Batch::new();
    batch.extend(options.loopback_up.then(|| link::set_up(Dev::LOOPBACK)));
    // Before the link comes up, which is when it is looked at.
    batch.extend(options.arp_notify.then(|| link::set_arp_notify(dev)));
    let via_gateway = options.subnets == Subnets::ViaGateway;
    batch.extend(ips.iter().map(|ip| match ip.gateway {
        Some(_) if via_gateway => addr::add_alone(dev, ip.address, options.dad),
        _ => addr::add(dev, ip.address, options.dad),
    }));
    batch.push(link::set_up(dev));
    // The kernel takes routes only by links that are up, to gateways that it has a route to.
    if via_gateway {
        batch.extend(gateway_routes(ips.iter().copied()).iter().map(|route| route::add(dev, route)));
    }
    batch.extend(result.routes.iter().map(|route| route::add(dev, &resolve(route, gateways))));
    batch
}

fn ips_of<'a>(result: &'a AddResult, ifname: &str) -> Result<Vec<&'a IpConfig>, ApplyError> {
    let mut ips = Vec::with_capacity(result.ips.len());
    for ip in &result.ips {
        let fault = |source| ApplyError::Index { ifname: ifname.to_owned(), address: ip.address, source };
        if belongs(result, ip, ifname).map_err(fault)? {
            ips.push(ip);
        }
    }
    Ok(ips)
}

/// Sees to it that `lo` and the link take IPv6 addresses, and that the link keeps them when it goes down. Without
/// duplicate address detection, the link-local address that the kernel adds is there at once, too. What is set is known
/// from netlink; only what must change is written, since /proc/sys may be read-only.
fn enable_ipv6(netlink: &mut Netlink, netns: &Netns, link: &Link, options: Options) -> Result<(), ApplyError> {
    let is_disabled = |state: Option<Ipv6State>| state.is_some_and(|state| state.disabled);
    let lo = netlink.find_link_by_index(Dev::LOOPBACK.index)?;
    let mut settings = Vec::new();
    if is_disabled(lo.and_then(|lo| lo.ipv6)) {
        settings.push(("lo".to_owned(), "disable_ipv6", "0"));
    }
    if is_disabled(link.ipv6) {
        settings.push((link.name.clone(), "disable_ipv6", "0"));
    }
    if link.ipv6.is_some_and(|state| !state.keep_addr_on_down) {
        settings.push((link.name.clone(), "keep_addr_on_down", "1"));
    }
    // What the interface works without, a little later.
    let mut niceties = Vec::new();
    if options.ndisc_notify && link.ipv6.is_some_and(|state| !state.ndisc_notify) {
        niceties.push(("ndisc_notify", "1"));
    }
    if options.dad == Dad::Skip && link.ipv6.is_some_and(|state| state.accept_dad) {
        niceties.push(("accept_dad", "0"));
    }
    if settings.is_empty() && niceties.is_empty() {
        return Ok(());
    }
    let write = |ifname: &str, key, value| sysctl::write(&format!("net/ipv6/conf/{ifname}/{key}"), value);
    let write_all = || {
        for (key, value) in niceties {
            let _ = write(&link.name, key, value);
        }
        settings.into_iter().try_for_each(|(ifname, key, value)| {
            write(&ifname, key, value).map_err(|source| ApplyError::EnableIpv6 { ifname, source })
        })
    };
    netns.within(write_all).map_err(|source| ApplyError::Netns { ifname: link.name.clone(), source })?
}

/// Waits until none of the IPv6 addresses is tentative. The kernel tells when something changes.
fn wait_for_dad(netlink: &mut Netlink, dev: Dev<'_>, ips: &[&IpConfig]) -> Result<(), ApplyError> {
    let ours: Vec<IpNet> = ips.iter().map(|ip| ip.address).filter(|net| net.addr().is_ipv6()).collect();
    if ours.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + DAD_TIMEOUT;
    // Listening comes before looking: nothing can happen unseen between the two.
    netlink.subscribe(GROUP_IPV6_ADDRESSES)?;
    loop {
        interrupted()?;
        let addresses = netlink.addresses(dev)?;
        let mut ours_now = addresses.iter().filter(|address| ours.contains(&address.net));
        let ifname = || dev.name.to_owned();
        if let Some(address) = ours_now.clone().find(|address| address.is_duplicate) {
            return Err(ApplyError::Duplicate { ifname: ifname(), address: address.net });
        }
        let Some(tentative) = ours_now.find(|address| address.is_tentative) else { return Ok(()) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !netlink.wait(left)? {
            // Without a carrier there is nobody to ask, and detection waits for one; it is no fault of the address.
            let is_running = netlink.find_link_by_index(dev.index)?.is_some_and(|link| link.is_running);
            let fault = ApplyError::Tentative { ifname: ifname(), address: tentative.net };
            return if is_running { Err(fault) } else { Ok(()) };
        }
    }
}
