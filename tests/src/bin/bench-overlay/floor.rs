//! The floor: the same objects put into the kernel by one process that knows them already.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use ferrule_tests::peers::Peer;
use linuxnet::link::Dev;
use linuxnet::netlink::{Netlink, Request};
use linuxnet::nexthop::{self, Encap, Nexthop};
use linuxnet::route::{self, MarkedRoute, PROTOCOL_OVERLAY, Way};
use linuxnet::{fdb, neigh};

use crate::Programming;

/// Puts `peers` into an empty device, and takes the time.
pub(crate) fn measure(programming: Programming, peers: &[Peer]) -> io::Result<Duration> {
    let made = match programming {
        Programming::Neighbours => "ip link add floor type vxlan id 9 local 198.18.0.2 dstport 4444 nolearning",
        Programming::Nexthops => {
            "ip link add floor type vxlan external vnifilter local 198.18.0.2 dstport 4444 nolearning"
        }
    };
    sh(made)?;
    if programming == Programming::Nexthops {
        sh("bridge vni add vni 9 dev floor")?;
    }
    sh("ip link set floor up")?;
    let took = fill(programming, peers);
    sh("ip link delete floor")?;
    took
}

fn fill(programming: Programming, peers: &[Peer]) -> io::Result<Duration> {
    let mut netlink = Netlink::open().map_err(io::Error::other)?;
    let link = netlink.find_link("floor").map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
    let dev = Dev::from(&link);
    let started = Instant::now();
    let requests: Vec<Request> = peers.iter().flat_map(|peer| objects(programming, dev, peer)).collect();
    let failures = netlink.send_each(&requests).map_err(io::Error::other)?;
    let took = started.elapsed();
    match failures.into_iter().next() {
        Some(failure) => Err(io::Error::other(failure.error)),
        None => Ok(took),
    }
}

/// The three objects of a node.
fn objects(programming: Programming, dev: Dev<'_>, peer: &Peer) -> [Request; 3] {
    let gateway = peer.subnet().network();
    let neighbour = neigh::set(dev, gateway.into(), peer.mac());
    let (object, way) = match programming {
        Programming::Neighbours => {
            let way = Way::Link { link: dev.index, gw: Some(gateway.into()), onlink: true };
            (fdb::set(dev, peer.mac(), peer.endpoint().into()), way)
        }
        Programming::Nexthops => {
            let nexthop = nexthop_of(dev, gateway, peer);
            (nexthop::set(&nexthop), Way::Nexthop(nexthop.id))
        }
    };
    [neighbour, object, route::set_marked(&MarkedRoute::overlay(peer.subnet().into(), way))]
}

fn nexthop_of(dev: Dev<'_>, gateway: Ipv4Addr, peer: &Peer) -> Nexthop {
    Nexthop {
        id: 0x1000_0000 + peer.number,
        link: dev.index,
        gw: gateway.into(),
        onlink: true,
        encap: Some(Encap { id: 9, dst: IpAddr::V4(peer.endpoint()), src: None }),
        protocol: PROTOCOL_OVERLAY,
    }
}

/// Runs a command line, split at white space.
pub(crate) fn sh(line: &str) -> io::Result<()> {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap_or_default()).args(words).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{line}: {}", String::from_utf8_lossy(&output.stderr))))
}
