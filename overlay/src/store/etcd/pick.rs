//! Which subnets a node gets. A pure function of what is taken.

use ipnet::IpNet;

use crate::network::Network;
use crate::store::allocate::{free_subnet, is_of_pool};

/// The subnets for the node `node`, one of each family, none of which overlaps one of `taken`. Where the search begins
/// depends on the name and on how often it has been tried: nodes that join together do not all want the same.
///
/// `None`: there are no more.
pub(super) fn pick(network: &Network, taken: &[IpNet], node: &str, attempt: u32) -> Option<Vec<IpNet>> {
    let name = if attempt == 0 { node.to_owned() } else { format!("{node} {attempt}") };
    let v4 = network.v4.iter().map(|pool| free_subnet(pool, &name, taken));
    let v6 = network.v6.iter().map(|pool| free_subnet(pool, &name, taken));
    v4.chain(v6).collect()
}

/// Whether a node can have these subnets: one of each family that the network has, as long as a subnet is, and among those
/// that are given out.
pub(super) fn fits(network: &Network, subnets: &[IpNet]) -> bool {
    let v4 = network.v4.iter().map(|pool| subnets.iter().filter(|net| is_of_pool(pool, **net)).count());
    let v6 = network.v6.iter().map(|pool| subnets.iter().filter(|net| is_of_pool(pool, **net)).count());
    let of_pools: Vec<usize> = v4.chain(v6).collect();
    of_pools.iter().all(|count| *count == 1) && of_pools.len() == subnets.len()
}

/// Whether any of `a` overlaps any of `b`.
pub(super) fn overlap(a: &[IpNet], b: &[IpNet]) -> bool {
    a.iter().any(|a| b.iter().any(|b| a.contains(b) || b.contains(a)))
}

/// All the addresses that nodes get, for a message: `10.42.0.0/16, fd00::/48`.
pub(super) fn pool(network: &Network) -> String {
    let v4 = network.v4.iter().map(|pool| pool.network.to_string());
    let v6 = network.v6.iter().map(|pool| pool.network.to_string());
    v4.chain(v6).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUAL: &str = r#"{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48",
                           "SubnetMin": "10.5.1.0", "SubnetMax": "10.5.9.0", "Backend": {"Type": "vxlan"}}"#;
    const V6: &str =
        r#"{"EnableIPv4": false, "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan"}}"#;

    fn network(text: &str) -> Network {
        Network::from_net_conf(text.as_bytes()).expect(text)
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    #[test]
    fn each_family_is_picked_until_one_has_no_more() {
        let network = network(DUAL);
        let mut taken = Vec::new();
        for node in 0..9 {
            let subnets = pick(&network, &taken, &format!("node-{node}"), 0).expect("a free one");
            assert!(fits(&network, &subnets), "{subnets:?}");
            assert!(!overlap(&subnets, &taken), "{subnets:?}");
            taken.extend(subnets);
        }
        assert_eq!(pick(&network, &taken, "one-more", 0), None);
    }

    #[test]
    fn what_fits_has_one_of_each_family() {
        let (dual, v6) = (network(DUAL), network(V6));
        for (network, subnets, fit) in [
            (&dual, nets(&["10.5.1.0/24", "fd00:5:0:9::/64"]), true),
            (&dual, nets(&["10.5.1.0/24"]), false),
            (&dual, nets(&["10.5.1.0/24", "10.5.2.0/24"]), false),
            (&dual, nets(&["10.5.1.0/24", "10.5.2.0/24", "fd00:5:0:9::/64"]), false),
            (&dual, nets(&["10.5.0.0/24", "fd00:5:0:9::/64"]), false),
            (&dual, nets(&["10.5.10.0/24", "fd00:5:0:9::/64"]), false),
            (&dual, nets(&["10.5.1.0/25", "fd00:5:0:9::/64"]), false),
            (&v6, nets(&["fd00:5:0:9::/64"]), true),
            (&v6, nets(&["10.5.1.0/24"]), false),
            (&v6, nets(&[]), false),
        ] {
            assert_eq!(fits(network, &subnets), fit, "{subnets:?}");
        }
    }

    #[test]
    fn nodes_that_collide_want_something_else_each_time() {
        let network = network(V6);
        let mut wanted: Vec<_> = (0..10).map(|attempt| pick(&network, &[], "node", attempt)).collect();
        assert_eq!(wanted[0], pick(&network, &[], "node", 0));
        wanted.sort();
        wanted.dedup();
        assert_eq!(wanted.len(), 10);
    }
}
