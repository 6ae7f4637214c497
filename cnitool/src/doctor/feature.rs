//! What of the kernel containers' networks may need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use libcni::runtime::NetworkList;

use super::configured::Plugin;

/// Something that a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Feature {
    Veth,
    Bridge,
    BridgeVlans,
    Macvlan,
    Ipvlan,
    Vlan,
    Vrf,
    Dummy,
    Ifb,
    Tap,
    Vxlan,
    Wireguard,
    Ipip,
    TokenBucket,
    Redirection,
    Nftables,
    NftMaps,
    NftFib,
    NftNat,
    NftBridge,
}

impl Feature {
    /// All of them, with the name that people know and the kernel's module.
    pub(super) const ALL: [(Self, &'static str, &'static str); 20] = [
        (Self::Veth, "veth", "veth"),
        (Self::Bridge, "bridge", "bridge"),
        (Self::BridgeVlans, "bridge VLANs", "8021q"),
        (Self::Macvlan, "macvlan", "macvlan"),
        (Self::Ipvlan, "ipvlan", "ipvlan"),
        (Self::Vlan, "vlan", "8021q"),
        (Self::Vrf, "vrf", "vrf"),
        (Self::Dummy, "dummy", "dummy"),
        (Self::Ifb, "ifb", "ifb"),
        (Self::Tap, "tap", "tun"),
        (Self::Vxlan, "vxlan", "vxlan"),
        (Self::Wireguard, "wireguard", "wireguard"),
        (Self::Ipip, "ipip", "ipip"),
        (Self::TokenBucket, "tc tbf", "sch_tbf"),
        (Self::Redirection, "tc mirred", "act_mirred"),
        (Self::Nftables, "nftables", "nf_tables"),
        (Self::NftMaps, "nftables sets and maps", "nf_tables"),
        (Self::NftFib, "nftables fib", "nft_fib_inet"),
        (Self::NftNat, "nftables nat and masquerade", "nft_masq"),
        (Self::NftBridge, "nftables on bridges", "nf_tables"),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(feature, ..)| *feature == self).map_or("", |(_, name, _)| name)
    }

    pub(super) fn module(self) -> &'static str {
        Self::ALL.iter().find(|(feature, ..)| *feature == self).map_or("", |(.., module)| module)
    }

    pub(super) fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(feature, ..)| *feature)
    }
}

/// What the networks need, and which of them.
pub(super) fn needed(lists: &[(PathBuf, NetworkList)]) -> BTreeMap<Feature, BTreeSet<String>> {
    let mut needed: BTreeMap<Feature, BTreeSet<String>> = BTreeMap::new();
    for (_, list) in lists {
        for feature in Plugin::of(list).iter().flat_map(of_plugin) {
            needed.entry(feature).or_default().insert(list.name.to_string());
        }
    }
    needed
}

/// What one plugin needs, as its README says. What another backend than nftables needs is not known here.
fn of_plugin(plugin: &Plugin) -> Vec<Feature> {
    const NAT: [Feature; 4] = [Feature::Nftables, Feature::NftMaps, Feature::NftFib, Feature::NftNat];
    if let Some(delegate) = plugin.delegate() {
        return of_plugin(&delegate);
    }
    let by_nftables = |key| !matches!(plugin.text(key), Some("iptables" | "firewalld"));
    let mut features = match plugin.plugin_type.as_str() {
        "bridge" => vec![Feature::Veth, Feature::Bridge],
        "ptp" => vec![Feature::Veth],
        "macvlan" => vec![Feature::Macvlan],
        "ipvlan" => vec![Feature::Ipvlan],
        "vlan" => vec![Feature::Vlan],
        "vrf" => vec![Feature::Vrf],
        "dummy" => vec![Feature::Dummy],
        "tap" => vec![Feature::Tap],
        "bandwidth" => vec![Feature::Ifb, Feature::TokenBucket, Feature::Redirection],
        "portmap" if by_nftables("backend") => NAT.to_vec(),
        "firewall" if by_nftables("backend") => vec![Feature::Nftables, Feature::NftMaps],
        _ => Vec::new(),
    };
    if plugin.is(&["bridge", "ptp"]) && plugin.flag("ipMasq") && by_nftables("ipMasqBackend") {
        features.extend([Feature::Nftables, Feature::NftMaps, Feature::NftNat]);
    }
    if plugin.is(&["bridge"]) && (plugin.has("vlan") || plugin.has("vlanTrunk")) {
        features.push(Feature::BridgeVlans);
    }
    if plugin.is(&["bridge"]) && plugin.flag("macspoofchk") {
        features.push(Feature::NftBridge);
    }
    features
}
