//! Three namespaces in a row, for packets: a pod, the host that forwards, and somebody outside.
#![allow(clippy::unwrap_used, dead_code, reason = "a failure here is a failed test; each test uses its part")]

use std::net::SocketAddr;

use libcni::netns::Netns;

use crate::support::{Bed, output};

/// The pod's addresses.
pub(crate) const POD: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
/// The host's, seen from outside.
pub(crate) const HOST: [&str; 2] = ["192.0.2.1", "2001:db8::1"];
/// The outsider's.
pub(crate) const OUTSIDE: [&str; 2] = ["192.0.2.2", "2001:db8::2"];

/// A pod behind a host, and an outsider who has no route to the pod.
pub(crate) struct Router {
    pub(crate) bed: Bed,
    other: Bed,
}

impl Router {
    pub(crate) fn new() -> Option<Self> {
        let (bed, other) = (Bed::new()?, Bed::new()?);
        let router = Self { bed, other };
        let link = |netns: &Netns, name: &str, addresses: [&str; 2]| {
            output(netns, &format!("ip link set {name} up"));
            output(netns, &format!("ip address add {}/24 dev {name}", addresses[0]));
            output(netns, &format!("ip address add {}/64 dev {name} nodad", addresses[1]));
        };
        // Else IPv6 waits a second before it finds neighbours.
        for netns in [router.host(), router.pod(), router.outside()] {
            output(netns, "sysctl -q -w net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0");
        }
        for (name, far, here, there) in
            [("pod", router.pod(), ["10.1.0.1", "fd00:1::1"], POD), ("out", router.outside(), HOST, OUTSIDE)]
        {
            let host = &router.bed.host;
            output(host, &format!("ip link add {name} type veth peer name eth0 netns {}", far.path().display()));
            link(host, name, here);
            link(far, "eth0", there);
        }
        output(router.pod(), "ip route add default via 10.1.0.1");
        output(router.pod(), "ip route add default via fd00:1::1");
        output(&router.bed.host, "sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        Some(router)
    }

    pub(crate) fn host(&self) -> &Netns {
        &self.bed.host
    }

    pub(crate) fn pod(&self) -> &Netns {
        &self.bed.container
    }

    pub(crate) fn outside(&self) -> &Netns {
        &self.other.container
    }
}

pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}
