//! The floor: the kernel's part of an attachment, done by this very process without starting another. No allocator, no
//! JSON, no checks: what no plugin can undercut.

use std::net::Ipv4Addr;

use ferrule_tests::{Container, Place};
use ipnet::{IpNet, Ipv4Net};
use libcni::netns::Netns;
use linuxnet::NetlinkError;
use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Bridge, Dev, Ifb, LinkError, Veth};
use linuxnet::netlink::{Batch, Netlink};
use linuxnet::nft::{DataType, Element, Field, Nfnetlink, Set, Table, Transaction, Value};
use linuxnet::route::{self, Route};
use linuxnet::tc::{self, Tbf};

const TABLE: Table<'static> = Table::inet("floor");
/// What masquerade needs, a published port's two ways back, and passing the firewall.
pub(crate) const MASQUERADED: Set<'static> = Set::of("masqueraded", &[DataType::Ipv4Addr]).with_timeouts();
pub(crate) const HAIRPIN: Set<'static> = Set::of("hairpin", &[DataType::Ipv4Addr]).with_timeouts();
pub(crate) const LOCAL: Set<'static> = Set::of("local", &[DataType::Ipv4Addr]).with_timeouts();
pub(crate) const PASSING: Set<'static> = Set::of("passing", &[DataType::Ipv4Addr]).with_timeouts();
const PUBLISHED: Set<'static> =
    Set::map("published", &[DataType::InetProto, DataType::InetService], &[DataType::Ipv4Addr, DataType::InetService])
        .with_timeouts();

/// An address that the allocators of the benchmark do not reach.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 255, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
const PORT: u16 = 1;
const IFNAME: &str = "eth0";
const IFB: &str = "ifb-floor";
const LIMIT: Tbf = Tbf { rate: 125_000_000, burst: 12_500_000, limit: 15_625_000 };

/// Why the floor could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FloorError {
    /// The namespace cannot be opened.
    #[error("no namespace")]
    Netns(#[from] libcni::netns::NetnsError),
    /// The kernel refused.
    #[error("netlink")]
    Netlink(#[from] NetlinkError),
    /// The kernel refused to make a link.
    #[error("link")]
    Link(#[from] LinkError),
    /// Nothing was attached.
    #[error("no link {0}")]
    NoLink(&'static str),
}

/// How the host's end of the container's veth is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// As a port of a bridge.
    Port,
    /// By a route of the host.
    Routed,
}

/// The kernel's part of one chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    pub(crate) link: Link,
    /// The sets of the firewall that the container's address is an element of.
    pub(crate) sets: &'static [Set<'static>],
    /// With a published port.
    pub(crate) port: bool,
    /// With limits of what the container receives and sends.
    pub(crate) limits: bool,
}

impl Floor {
    /// What is there before the first attachment: the bridge, the table. In the namespace of `host`.
    pub(crate) fn prepare(self, host: &Place) -> Result<(), FloorError> {
        host.run(|| {
            if self.link == Link::Port {
                Netlink::open()?.ensure_bridge(&Bridge::new("cni0"))?;
            }
            if self.sets.is_empty() {
                return Ok(());
            }
            let mut transaction = Transaction::new(TABLE);
            transaction.ensure_table().ensure_set(&PUBLISHED);
            for set in self.sets {
                transaction.ensure_set(set);
            }
            Ok(Nfnetlink::open()?.commit(&transaction)?)
        })
    }

    /// Attaches. The calling thread is in the host's namespace.
    pub(crate) fn add(self, container: &Container) -> Result<(), FloorError> {
        let netns = Netns::open(&container.netns)?;
        let (mut host, mut inside) = (Netlink::open()?, Netlink::open_in(&netns)?);
        let end = self.connect(&mut host, &netns)?;
        let dev = Dev { index: end.peer_index.ok_or(FloorError::NoLink(IFNAME))?, name: IFNAME };
        let net = IpNet::V4(Ipv4Net::new_assert(ADDRESS, 16));
        let gateway = Route { gw: Some(GATEWAY.into()), ..Route::to(Ipv4Net::default().into()) };
        Batch::from_iter([
            link::set_up(Dev::LOOPBACK),
            addr::add(dev, net, Dad::Skip),
            link::set_up(dev),
            route::add(dev, &gateway),
        ])
        .send(&mut inside)?;
        if !self.sets.is_empty() {
            Nfnetlink::open()?.commit(&self.elements())?;
        }
        if self.limits { limit(&mut host, &end) } else { Ok(()) }
    }

    /// Makes the veth, and gives the end on the host.
    fn connect(self, host: &mut Netlink, netns: &Netns) -> Result<link::Link, FloorError> {
        if self.link == Link::Port {
            let bridge = host.find_link("cni0")?.ok_or(FloorError::NoLink("cni0"))?;
            return Ok(host.create_veth(&Veth { bridge: Some(Dev::from(&bridge)), ..Veth::new(IFNAME, netns) })?);
        }
        let end = host.create_veth(&Veth::new(IFNAME, netns))?;
        let dev = Dev::from(&end);
        let gateway = IpNet::from(std::net::IpAddr::from(GATEWAY));
        let to = Route::to(IpNet::from(std::net::IpAddr::from(ADDRESS)));
        Batch::from_iter([addr::add(dev, gateway, Dad::Skip), route::add(dev, &to)]).send(host)?;
        Ok(end)
    }

    fn elements(self) -> Transaction<'static> {
        let mut transaction = Transaction::new(TABLE);
        for set in self.sets {
            transaction.add_element(set.name, &Element::new(ADDRESS));
        }
        if self.port {
            let to = Value::from(ADDRESS).and(Field::InetService(PORT));
            transaction.add_element(PUBLISHED.name, &Element::new(port_key()).data(to));
        }
        transaction
    }

    fn no_elements(self) -> Transaction<'static> {
        let mut transaction = Transaction::new(TABLE);
        for set in self.sets {
            transaction.remove_element(set.name, &Value::from(ADDRESS));
        }
        if self.port {
            transaction.remove_element(PUBLISHED.name, &port_key());
        }
        transaction
    }

    /// Detaches.
    pub(crate) fn del(self, container: &Container) -> Result<(), FloorError> {
        let netns = Netns::open(&container.netns)?;
        if self.limits {
            let mut host = Netlink::open()?;
            let ifb = host.find_link(IFB)?.ok_or(FloorError::NoLink(IFB))?;
            host.remove_link(Dev::from(&ifb))?;
        }
        let mut firewall = None;
        if !self.sets.is_empty() {
            let mut socket = Nfnetlink::open()?;
            socket.commit(&self.no_elements())?;
            // Kept until the link is gone: closing it may wait for the kernel.
            firewall = Some(socket);
        }
        let mut inside = Netlink::open_in(&netns)?;
        let link = inside.find_link(IFNAME)?.ok_or(FloorError::NoLink(IFNAME))?;
        inside.remove_link(Dev::from(&link))?;
        drop(firewall);
        Ok(())
    }
}

/// Limits both directions.
fn limit(host: &mut Netlink, end: &link::Link) -> Result<(), FloorError> {
    let wanted = Ifb { name: IFB, alias: IFB, mac: link::random_mac()?, mtu: end.mtu };
    let ifb = host.create_ifb(&wanted)?;
    let changes = [
        tc::set_tbf(end, &LIMIT),
        tc::set_tbf(&ifb, &LIMIT),
        link::set_up(Dev::from(&ifb)),
        tc::ensure_ingress(Dev::from(end)),
        tc::redirect(Dev::from(end), Dev::from(&ifb)),
    ];
    Ok(Batch::from_iter(changes).send(host)?)
}

fn port_key() -> Value {
    Value::from(Field::TCP).and(Field::InetService(PORT))
}
