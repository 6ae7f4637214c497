//! What a file says of a node, and the claim that it stands for.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use libcni::types::MacAddr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

use crate::claim::Claim;
use crate::network::{Backend, Network};
use crate::peer::{identity_of_name, vtep_mac};
use crate::store::Registration;

/// A node in a file.
///
/// ```toml
/// subnets = ["10.42.3.0/24", "fd00:42:0:3::/64"]
/// ipv4 = "192.0.2.7"                # where it is reached
/// ipv6 = "2001:db8::7"
/// mtu = 1450                        # what fits through its end of the overlay
/// backend = "vxlan"                 # default: this network's
/// vni = 1                           # vxlan; default: this network's
/// mac = "0a:58:00:00:00:07"         # of its VXLAN device; default: made of its name, as overlayd does itself
/// mac_v6 = "0a:58:00:00:00:08"      # of the one for IPv6
/// public_key = "TEfL…="             # wireguard
/// port = 51820                      # wireguard; default: this network's
/// port_v6 = 51821
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Entry {
    pub(super) subnets: Vec<Subnet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<Ipv6Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vni: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<MacAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_v6: Option<MacAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port_v6: Option<u16>,
}

/// A subnet, whose error names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subnet(pub(super) IpNet);

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = "a network such as 10.42.3.0/24";
        text.parse().map(Self).map_err(|_syntax| de::Error::invalid_value(de::Unexpected::Str(&text), &expected))
    }
}

impl Serialize for Subnet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Entry {
    /// What a node that claims this writes of itself, with these subnets.
    pub(super) fn of(claim: &Claim, subnets: &[IpNet]) -> Self {
        let (v4, v6) = (claim.v4_data.as_ref(), claim.v6_data.as_ref());
        let number = |data: Option<&Value>, key| data?.get(key)?.as_u64();
        let text = |data: Option<&Value>, key| Some(data?.get(key)?.as_str()?.to_owned());
        let mac = |data| text(data, VTEP_MAC)?.parse().ok();
        let port = |data| number(data, PORT).and_then(|port| u16::try_from(port).ok());
        Self {
            subnets: subnets.iter().copied().map(Subnet).collect(),
            ipv4: claim.public_ip,
            ipv6: claim.public_ipv6,
            mtu: claim.mtu,
            backend: Some(claim.backend.clone()),
            vni: number(v4.or(v6), VNI).and_then(|vni| u32::try_from(vni).ok()),
            mac: mac(v4),
            mac_v6: mac(v6),
            public_key: text(v4.or(v6), PUBLIC_KEY),
            port: port(v4),
            port_v6: port(v6),
        }
    }

    pub(super) fn subnets(&self) -> Vec<IpNet> {
        self.subnets.iter().map(|subnet| subnet.0).collect()
    }

    /// What the node of this name is said to claim. What its file leaves out is as it would be if it ran overlayd with
    /// this network.
    pub(super) fn claim(&self, name: &str, network: &Network) -> Claim {
        Claim {
            subnets: self.subnets(),
            public_ip: self.ipv4,
            public_ipv6: self.ipv6,
            backend: self.backend.clone().unwrap_or_else(|| network.backend.name().to_owned()),
            v4_data: self.ipv4.and_then(|_| self.data(name, network, false)),
            v6_data: self.ipv6.and_then(|_| self.data(name, network, true)),
            mtu: self.mtu,
        }
    }

    /// What others read here of this node that is not as this node says itself.
    pub(super) fn differences(&self, us: &Registration, network: &Network) -> Vec<String> {
        let told = self.claim(&us.name, network);
        let compared = [
            (network.v4.is_some(), "ipv4", debug(&told.public_ip), debug(&us.claim.public_ip)),
            (network.v6.is_some(), "ipv6", debug(&told.public_ipv6), debug(&us.claim.public_ipv6)),
            (network.v4.is_some(), "backend data", debug(&told.v4_data), debug(&us.claim.v4_data)),
            (network.v6.is_some(), "backend data (v6)", debug(&told.v6_data), debug(&us.claim.v6_data)),
            (true, "backend", told.backend, us.claim.backend.clone()),
        ];
        let differ = compared.into_iter().filter(|(matters, _, told, true_)| *matters && told != true_);
        differ.map(|(_, what, told, is)| format!("{what}: told {told}, is {is}")).collect()
    }

    /// What the backend must know of it in one family, in flannel's words.
    fn data(&self, name: &str, network: &Network, v6: bool) -> Option<Value> {
        match &network.backend {
            Backend::Vxlan(vxlan) => {
                let vni = self.vni.unwrap_or(vxlan.vni);
                let mac = if v6 { self.mac_v6 } else { self.mac };
                let mac = mac.unwrap_or_else(|| vtep_mac(&identity_of_name(name), vni, v6));
                Some(json!({ VNI: vni, VTEP_MAC: mac.to_string() }))
            }
            Backend::WireGuard(_) => {
                let mut data = Map::new();
                data.extend(self.public_key.as_ref().map(|key| (PUBLIC_KEY.to_owned(), key.as_str().into())));
                let port = if v6 { self.port_v6 } else { self.port };
                data.extend(port.map(|port| (PORT.to_owned(), port.into())));
                Some(data.into())
            }
            Backend::HostGw | Backend::Ipip { .. } | Backend::Udp { .. } | Backend::Bgp => None,
        }
    }
}

fn debug<T: std::fmt::Debug>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"))
}

/// Keys of flannel's `BackendData`; the port is ours, flannel takes its own for everybody's.
const VNI: &str = "VNI";
const VTEP_MAC: &str = "VtepMAC";
const PUBLIC_KEY: &str = "PublicKey";
const PORT: &str = "Port";
