//! The floor: the kernel's part of an attachment, done by this very process without starting another. No allocator, no
//! JSON, no checks: what no plugin can undercut.

use std::net::Ipv4Addr;

use ferrule_tests::{Container, Place};
use ipnet::{IpNet, Ipv4Net};
use libcni::netns::Netns;
use linuxnet::NetlinkError;
use linuxnet::addr::{self, Dad};
use linuxnet::link::{self, Bridge, Dev, LinkError, Veth};
use linuxnet::netlink::{Batch, Netlink};
use linuxnet::nft::{DataType, Element, Field, Nfnetlink, Set, Table, Transaction, Value};
use linuxnet::route::{self, Route};

const TABLE: Table<'static> = Table::inet("floor");
/// What masquerade, a published port and its two ways back need: four elements.
const MASQUERADED: Set<'static> = Set::of("masqueraded", &[DataType::Ipv4Addr]).with_timeouts();
const HAIRPIN: Set<'static> = Set::of("hairpin", &[DataType::Ipv4Addr]).with_timeouts();
const LOCAL: Set<'static> = Set::of("local", &[DataType::Ipv4Addr]).with_timeouts();
const PUBLISHED: Set<'static> =
    Set::map("published", &[DataType::InetProto, DataType::InetService], &[DataType::Ipv4Addr, DataType::InetService])
        .with_timeouts();

/// An address that the allocators of the benchmark do not reach.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 255, 2);
const PORT: u16 = 1;
const IFNAME: &str = "eth0";
const LO: Dev<'static> = Dev { index: 1, name: "lo" };

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
    #[error("no link {IFNAME}")]
    NoLink,
}

/// The kernel's part of one chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    /// With the firewall's part: masquerade and one published port.
    pub(crate) firewall: bool,
}

impl Floor {
    /// What is there before the first attachment: the bridge, the table. In the namespace of `host`.
    pub(crate) fn prepare(self, host: &Place) -> Result<(), FloorError> {
        host.run(|| {
            Netlink::open()?.ensure_bridge(&Bridge::new("cni0"))?;
            if !self.firewall {
                return Ok(());
            }
            let mut transaction = Transaction::new(TABLE);
            transaction.ensure_table();
            for set in [MASQUERADED, HAIRPIN, LOCAL, PUBLISHED] {
                transaction.ensure_set(&set);
            }
            Ok(Nfnetlink::open()?.commit(&transaction)?)
        })
    }

    /// Attaches. The calling thread is in the host's namespace.
    pub(crate) fn add(self, container: &Container) -> Result<(), FloorError> {
        let netns = Netns::open(&container.netns)?;
        let (mut host, mut inside) = (Netlink::open()?, Netlink::open_in(&netns)?);
        let bridge = host.find_link("cni0")?.ok_or(FloorError::NoLink)?;
        let veth = Veth { bridge: Some(Dev::from(&bridge)), ..Veth::new(IFNAME, &netns) };
        let port = host.create_veth(&veth)?;
        let dev = Dev { index: port.peer_index.ok_or(FloorError::NoLink)?, name: IFNAME };
        let net = IpNet::V4(Ipv4Net::new_assert(ADDRESS, 16));
        let gateway = Route { gw: Some(Ipv4Addr::new(10, 88, 0, 1).into()), ..Route::to(Ipv4Net::default().into()) };
        Batch::from_iter([
            link::set_up(LO),
            addr::add(dev, net, Dad::Skip),
            link::set_up(dev),
            route::add(dev, &gateway),
        ])
        .send(&mut inside)?;
        if self.firewall {
            let to = Value::from(ADDRESS).and(Field::InetService(PORT));
            let mut transaction = Transaction::new(TABLE);
            for set in [MASQUERADED, HAIRPIN, LOCAL] {
                transaction.add_element(set.name, &Element::new(ADDRESS));
            }
            transaction.add_element(PUBLISHED.name, &Element::new(port_key()).data(to));
            Nfnetlink::open()?.commit(&transaction)?;
        }
        Ok(())
    }

    /// Detaches.
    pub(crate) fn del(self, container: &Container) -> Result<(), FloorError> {
        let netns = Netns::open(&container.netns)?;
        let mut firewall = None;
        if self.firewall {
            let mut transaction = Transaction::new(TABLE);
            for set in [MASQUERADED, HAIRPIN, LOCAL] {
                transaction.remove_element(set.name, &Value::from(ADDRESS));
            }
            transaction.remove_element(PUBLISHED.name, &port_key());
            let mut socket = Nfnetlink::open()?;
            socket.commit(&transaction)?;
            // Kept until the link is gone: closing it may wait for the kernel.
            firewall = Some(socket);
        }
        let mut inside = Netlink::open_in(&netns)?;
        let link = inside.find_link(IFNAME)?.ok_or(FloorError::NoLink)?;
        inside.remove_link(Dev::from(&link))?;
        drop(firewall);
        Ok(())
    }
}

fn port_key() -> Value {
    Value::from(Field::TCP).and(Field::InetService(PORT))
}
