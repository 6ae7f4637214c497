//! What this node says of itself.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Node, Underlay};
use crate::claim::Claim;
use crate::network::{Backend, Network};
use crate::peer::vtep_mac;
use crate::store::Registration;

impl Registration {
    /// What `node` says of itself in `network`, and the subnets that it would like.
    pub(crate) fn of(node: &Node, network: &Network, wanted: Vec<IpNet>) -> Self {
        let v4 = node.v4.as_ref().and_then(|underlay| match underlay.public {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let v6 = node.v6.as_ref().and_then(|underlay| match underlay.public {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        let claim = Claim {
            subnets: Vec::new(),
            public_ip: v4,
            public_ipv6: v6,
            backend: network.backend.name().to_owned(),
            v4_data: v4.and_then(|_| data(node, &network.backend, false)),
            v6_data: v6.and_then(|_| data(node, &network.backend, true)),
            mtu: Some(node.mtu(&network.backend)),
        };
        Self { name: node.name.clone(), claim, wanted }
    }
}

/// As flannel writes it: `{"VNI": 1, "VtepMAC": "0a:…"}`, `{"PublicKey": "TEfL…="}`.
fn data(node: &Node, backend: &Backend, v6: bool) -> Option<Value> {
    match backend {
        Backend::Vxlan(vxlan) => {
            let mac = vtep_mac(&node.identity, vxlan.vni, v6);
            Some(json!({"VNI": vxlan.vni, "VtepMAC": mac.to_string()}))
        }
        Backend::WireGuard(_) => node.public_key.map(|key| json!({"PublicKey": key.to_string()})),
        Backend::HostGw | Backend::Ipip { .. } | Backend::Udp { .. } | Backend::Bgp => None,
    }
}

impl Node {
    /// What fits through the overlay in bytes: as configured, or what the external interface leaves of itself, in the
    /// family that leaves less.
    pub(crate) fn mtu(&self, backend: &Backend) -> u32 {
        let fits = |underlay: &Underlay| underlay.mtu.saturating_sub(backend.overhead(underlay.address.is_ipv6()));
        let configured = backend.mtu();
        configured.or_else(|| self.v4.iter().chain(&self.v6).map(fits).min()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use linuxnet::wireguard::PublicKey;

    use super::*;
    use crate::network::{Vxlan, WireGuard};

    fn underlay(address: &str, public: &str, mtu: u32) -> Underlay {
        Underlay {
            link: 2,
            name: "eth0".to_owned(),
            address: address.parse().unwrap(),
            public: public.parse().unwrap(),
            on_link: Vec::new(),
            mtu,
        }
    }

    fn node() -> Node {
        Node {
            name: "n1".to_owned(),
            v4: Some(underlay("192.0.2.1", "198.51.100.1", 1500)),
            v6: Some(underlay("2001:db8::1", "2001:db8::1", 1500)),
            identity: [1; 32],
            public_key: None,
        }
    }

    fn network(backend: Backend) -> Network {
        Network { v4: None, v6: None, backend }
    }

    fn vxlan(mtu: Option<u32>) -> Backend {
        Backend::Vxlan(Vxlan { vni: 7, port: 8472, gbp: false, direct_routing: false, mtu })
    }

    #[test]
    fn a_vxlan_node_says_what_flannel_says() {
        let Registration { name, claim, wanted } = Registration::of(&node(), &network(vxlan(None)), Vec::new());
        assert_eq!((name.as_str(), wanted), ("n1", Vec::new()));
        assert_eq!(claim.public_ip, Some("198.51.100.1".parse().unwrap()));
        assert_eq!(claim.public_ipv6, Some("2001:db8::1".parse().unwrap()));
        let mac = |v6| vtep_mac(&[1; 32], 7, v6).to_string();
        assert_eq!(claim.v4_data, Some(json!({"VNI": 7, "VtepMAC": mac(false)})));
        assert_eq!(claim.v6_data, Some(json!({"VNI": 7, "VtepMAC": mac(true)})));
        assert_eq!(claim.backend, "vxlan");
    }

    #[test]
    fn a_wireguard_node_says_its_key_for_both_families() {
        let psk = WireGuard { port: 1, port_v6: 2, psk: None, keepalive: 0, mtu: None };
        let node = Node { public_key: Some(PublicKey([7; 32])), ..node() };
        let claim = Registration::of(&node, &network(Backend::WireGuard(psk)), Vec::new()).claim;
        let expected = Some(json!({"PublicKey": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}));
        assert_eq!((&claim.v4_data, &claim.v6_data), (&expected, &expected));
    }

    #[test]
    fn a_family_without_an_interface_is_not_claimed() {
        let v4_alone = Node { v6: None, ..node() };
        let claim = Registration::of(&v4_alone, &network(vxlan(None)), Vec::new()).claim;
        assert_eq!((claim.public_ipv6, claim.v6_data), (None, None));
    }

    #[test]
    fn the_mtu_is_that_of_the_family_that_leaves_less() {
        let v4_alone = Node { v6: None, ..node() };
        let psk = WireGuard { port: 1, port_v6: 2, psk: None, keepalive: 0, mtu: None };
        for (backend, both, v4) in [
            (vxlan(None), 1430, 1450),
            (vxlan(Some(1400)), 1400, 1400),
            (Backend::HostGw, 1500, 1500),
            (Backend::Bgp, 1500, 1500),
            (Backend::Ipip { direct_routing: false }, 1460, 1480),
            (Backend::WireGuard(psk), 1420, 1420),
            (Backend::Udp { port: 1 }, 1452, 1472),
        ] {
            assert_eq!((node().mtu(&backend), v4_alone.mtu(&backend)), (both, v4), "{backend:?}");
        }
    }
}
