use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use libcni::types::{AddResult, Dns, IpConfig, MacAddr, Route};

use super::{Time, is_assignable};
use crate::packet::{Options, classful, classless, code, is_domain, search_list};

/// The duration of a lease that says none (the reference's; the RFC does not allow it).
const DEFAULT_LEASE: Duration = Duration::from_secs(3600);
/// "For ever" (RFC 2131, section 3.3).
const INFINITE: u32 = u32::MAX;
/// No lease is shorter, so that a server cannot keep the client busy.
const LEAST_LEASE: Duration = Duration::from_secs(2);
/// The least MTU of IPv4 (RFC 791), and of the option.
const LEAST_MTU: u16 = 68;

/// A lease, as the server's ACK gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The address.
    pub(crate) address: Ipv4Addr,
    /// The length of its subnet's prefix.
    pub(crate) prefix_len: u8,
    /// Who gave it.
    pub(crate) server: Ipv4Addr,
    /// The frame address that its ACK came from.
    pub(crate) server_mac: Option<MacAddr>,
    /// All that the ACK said.
    pub(crate) options: Options,
    /// When it was asked for: its times count from here.
    pub(crate) since: Time,
    /// When the server is to be asked to prolong it; `None`, as the next two: never.
    pub(crate) t1: Option<Time>,
    /// When any server is to be asked.
    pub(crate) t2: Option<Time>,
    /// When it ends.
    pub(crate) end: Option<Time>,
}

/// Why a lease cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("DHCP option Subnet Mask not found in DHCPACK")]
    NoMask,
    #[error("the subnet mask {0} has holes")]
    Mask(Ipv4Addr),
    #[error("{0} is no address of a host")]
    Address(Ipv4Addr),
    #[error("the server does not say its address")]
    NoServer,
}

impl Grant {
    /// The lease that an ACK gives, which was asked for at `since`.
    ///
    /// # Errors
    /// [`Unusable`]
    pub(crate) fn new(
        address: Ipv4Addr,
        options: Options,
        server_mac: Option<MacAddr>,
        since: Time,
    ) -> Result<Self, Unusable> {
        if !is_assignable(address) {
            return Err(Unusable::Address(address));
        }
        let mask = options.address(code::SUBNET_MASK).ok_or(Unusable::NoMask)?;
        let prefix_len = ipnet::ipv4_mask_to_prefix(mask).map_err(|_holes| Unusable::Mask(mask))?;
        let server = options.address(code::SERVER).ok_or(Unusable::NoServer)?;
        let times = Times::of(&options);
        let at = |after: Duration| Some(since.saturating_add(after));
        let (t1, t2, end) = times.map_or((None, None, None), |times| (at(times.t1), at(times.t2), at(times.lease)));
        Ok(Self { address, prefix_len, server, server_mac, options, since, t1, t2, end })
    }

    /// The address with its prefix length.
    pub(crate) fn net(&self) -> Option<Ipv4Net> {
        Ipv4Net::new(self.address, self.prefix_len).ok()
    }

    /// What the plugin returns.
    pub(crate) fn result(&self) -> AddResult {
        let gateway = self.options.addresses(code::ROUTERS).into_iter().find(|router| is_assignable(*router));
        let ip = self.net().map(|net| IpConfig {
            address: IpNet::V4(net),
            gateway: gateway.map(IpAddr::V4),
            interface: None,
        });
        let mut routes = self.routes(gateway);
        if let Some(mtu) = self.options.short_number(code::MTU).filter(|mtu| *mtu >= LEAST_MTU) {
            routes.iter_mut().for_each(|route| route.mtu = Some(mtu.into()));
        }
        AddResult { interfaces: Vec::new(), ips: ip.into_iter().collect(), routes, dns: self.dns() }
    }

    /// Classless routes replace all others (RFC 3442).
    fn routes(&self, gateway: Option<Ipv4Addr>) -> Vec<Route> {
        let option = self.options.value(code::CLASSLESS_ROUTES).unwrap_or_default();
        if let Some(routes) = classless(option).filter(|routes| !routes.is_empty()) {
            return routes;
        }
        let mut routes = classful(self.options.value(code::STATIC_ROUTES).unwrap_or_default());
        routes.extend(
            gateway.map(|gateway| Route { gw: Some(gateway.into()), ..Route::to(IpNet::V4(Ipv4Net::default())) }),
        );
        routes
    }

    fn dns(&self) -> Dns {
        let nameservers =
            self.options.addresses(code::DNS_SERVERS).into_iter().filter(|server| !server.is_unspecified());
        let domain = self.options.text(code::DOMAIN_NAME).filter(|name| is_domain(name)).unwrap_or_default();
        Dns {
            nameservers: nameservers.map(|server| server.to_string()).collect(),
            domain,
            search: search_list(self.options.value(code::DOMAIN_SEARCH).unwrap_or_default()),
            options: Vec::new(),
        }
    }
}

/// How long a lease is, and after how long it is prolonged.
struct Times {
    t1: Duration,
    t2: Duration,
    lease: Duration,
}

impl Times {
    /// `None`: for ever. T1 and T2 that are not in order are replaced by the RFC's defaults, one half and seven eighths.
    fn of(options: &Options) -> Option<Self> {
        let seconds = |code| options.number(code).map(|seconds| Duration::from_secs(seconds.into()));
        if options.number(code::LEASE_TIME) == Some(INFINITE) {
            return None;
        }
        let lease = seconds(code::LEASE_TIME).unwrap_or(DEFAULT_LEASE).max(LEAST_LEASE);
        let t2 = seconds(code::REBINDING_TIME).filter(|t2| *t2 < lease);
        let t2 = t2.filter(|t2| *t2 >= LEAST_LEASE / 2).unwrap_or(lease * 7 / 8);
        let t1 = seconds(code::RENEWAL_TIME).filter(|t1| *t1 < t2 && *t1 >= LEAST_LEASE / 2);
        Some(Self { t1: t1.unwrap_or((lease / 2).min(t2)), t2, lease })
    }
}
