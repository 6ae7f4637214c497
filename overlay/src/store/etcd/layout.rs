//! Where flannel has the nodes in etcd, and what it writes of them.
//!
//! ```text
//! <prefix>/config                                        the network, as net-conf.json
//! <prefix>/subnets/10.5.52.0-24                          a node; its key is its subnet,
//! <prefix>/subnets/10.5.52.0-24&fd00:0:0:34::-64         or both its subnets
//! <prefix>/subnets/fd00:0:0:34::-64                      IPv6 alone: ours, flannel cannot have it, and passes over it
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claim::Claim;
use crate::store::Record;

/// What a node says of itself, in bytes; flannel's are a few hundred.
const VALUE_MAX: usize = 1 << 20;
/// How much of a value is shown that cannot be read, in characters.
const SHOWN_MAX: usize = 100;

/// The keys below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// `<prefix>/config`.
    pub(super) config: String,
    /// `<prefix>/subnets/`.
    pub(super) subnets: String,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('/');
        Self { config: format!("{prefix}/config"), subnets: format!("{prefix}/subnets/") }
    }

    /// The key of the node that has `subnets`.
    pub(super) fn key(&self, subnets: &[IpNet]) -> String {
        format!("{}{}", self.subnets, name(subnets))
    }

    /// The name of the node with this key: the key without its prefix.
    pub(super) fn name(&self, key: &[u8]) -> String {
        let key = String::from_utf8_lossy(key);
        key.strip_prefix(&self.subnets).unwrap_or(&key).to_owned()
    }

    /// What the node with this key says.
    pub(super) fn record(&self, key: &[u8], value: &[u8]) -> Record {
        let name = self.name(key);
        let claim = claim(&name, value);
        Record { name, claim }
    }
}

/// The node's name of `subnets`: `10.5.52.0-24&fd00:0:0:34::-64`, IPv4 first.
fn name(subnets: &[IpNet]) -> String {
    let part = |net: &IpNet| format!("{}-{}", net.network(), net.prefix_len());
    let v4 = subnets.iter().filter(|net| matches!(net, IpNet::V4(_)));
    let v6 = subnets.iter().filter(|net| matches!(net, IpNet::V6(_)));
    v4.chain(v6).map(part).collect::<Vec<_>>().join("&")
}

/// The subnets of the node that is called `name`.
pub(super) fn subnets(name: &str) -> Option<Vec<IpNet>> {
    let net = |part: &str| {
        let (address, len) = part.rsplit_once('-')?;
        IpNet::new(address.parse::<IpAddr>().ok()?, len.parse().ok()?).ok()
    };
    name.split('&').map(net).collect()
}

/// flannel's `LeaseAttrs`.
#[derive(Serialize, Deserialize)]
struct Attributes {
    /// Always there: 0.0.0.0 for a node without one.
    #[serde(rename = "PublicIP", default = "unspecified")]
    public_ip: Ipv4Addr,
    #[serde(rename = "PublicIPv6", default)]
    public_ipv6: Option<Ipv6Addr>,
    #[serde(rename = "BackendType", default, skip_serializing_if = "String::is_empty")]
    backend: String,
    #[serde(rename = "BackendData", default, skip_serializing_if = "Option::is_none")]
    v4_data: Option<Value>,
    #[serde(rename = "BackendV6Data", default, skip_serializing_if = "Option::is_none")]
    v6_data: Option<Value>,
    /// Ours; flannel reads over it.
    #[serde(rename = "MTU", default, skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
}

fn unspecified() -> Ipv4Addr {
    Ipv4Addr::UNSPECIFIED
}

/// What is written of a node; its subnets are in its key.
pub(super) fn value(claim: &Claim) -> Vec<u8> {
    let attributes = Attributes {
        public_ip: claim.public_ip.unwrap_or(Ipv4Addr::UNSPECIFIED),
        public_ipv6: claim.public_ipv6,
        backend: claim.backend.clone(),
        v4_data: claim.v4_data.clone(),
        v6_data: claim.v6_data.clone(),
        mtu: claim.mtu,
    };
    // It has no maps with keys that are not strings, the one thing that JSON does not take.
    serde_json::to_vec(&attributes).unwrap_or_default()
}

/// What the node that is called `name` says, or why that cannot be read.
fn claim(name: &str, value: &[u8]) -> Result<Claim, String> {
    let subnets = subnets(name).ok_or_else(|| format!("key {name:?} is no subnet (such as 10.5.52.0-24)"))?;
    if value.len() > VALUE_MAX {
        return Err(format!("value of {} bytes (at most {VALUE_MAX} are read): {}", value.len(), shown(value)));
    }
    let attributes: Attributes = serde_json::from_slice(value).map_err(|error| format!("{error}: {}", shown(value)))?;
    Ok(Claim {
        subnets,
        public_ip: Some(attributes.public_ip).filter(|address| !address.is_unspecified()),
        public_ipv6: attributes.public_ipv6.filter(|address| !address.is_unspecified()),
        backend: attributes.backend,
        v4_data: attributes.v4_data,
        v6_data: attributes.v6_data,
        mtu: attributes.mtu,
    })
}

/// The beginning of a value.
fn shown(value: &[u8]) -> String {
    // A character has four bytes at most.
    let beginning = value.get(..SHOWN_MAX * 4).unwrap_or(value);
    String::from_utf8_lossy(beginning).chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    #[test]
    fn keys_are_flannel_s() {
        let layout = Layout::new("/coreos.com/network/");
        assert_eq!(layout.config, "/coreos.com/network/config");
        for (subnets_, name) in [
            (nets(&["10.5.52.0/24"]), "10.5.52.0-24"),
            (nets(&["fd00:0:0:34::/64", "10.5.52.0/24"]), "10.5.52.0-24&fd00:0:0:34::-64"),
            (nets(&["fd00:0:0:34::/64"]), "fd00:0:0:34::-64"),
        ] {
            let key = layout.key(&subnets_);
            assert_eq!(key, format!("/coreos.com/network/subnets/{name}"));
            assert_eq!(layout.name(key.as_bytes()), name);
            let mut read = subnets(name).expect(name);
            read.sort();
            let mut expected = subnets_.clone();
            expected.sort();
            assert_eq!(read, expected);
        }
        for bad in ["", "10.5.52.0", "10.5.52.0-33", "10.5.52.0-24&", "10.5.52-24", "x-24", "10.5.52.0/24"] {
            assert_eq!(subnets(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_value_of_flannel_is_read_and_written_alike() {
        let text = br#"{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:07"}}"#;
        let claim = claim("10.5.52.0-24", text).expect("a claim");
        assert_eq!(claim.public_ip, Some(Ipv4Addr::new(192, 168, 64, 3)));
        assert_eq!(claim.backend, "vxlan");
        assert_eq!(claim.v4_data, Some(json!({"VNI": 1, "VtepMAC": "02:00:00:00:00:07"})));
        assert_eq!(String::from_utf8_lossy(&value(&claim)), String::from_utf8_lossy(text));
    }

    #[test]
    fn both_families_and_an_mtu_survive() {
        let claim_ = Claim {
            subnets: nets(&["10.5.52.0/24", "fd00:0:0:34::/64"]),
            public_ip: None,
            public_ipv6: Some("2001:db8::1".parse().expect("an address")),
            backend: "vxlan".into(),
            v4_data: None,
            v6_data: Some(json!({"VNI": 1})),
            mtu: Some(1430),
        };
        let text = value(&claim_);
        assert!(String::from_utf8_lossy(&text).starts_with(r#"{"PublicIP":"0.0.0.0","PublicIPv6":"2001:db8::1""#));
        assert_eq!(claim("10.5.52.0-24&fd00:0:0:34::-64", &text), Ok(claim_));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_value_cut_short() {
        for (value, expected) in [
            (b"".to_vec(), "EOF"),
            (b"[1]".to_vec(), "[1]"),
            (br#"{"PublicIP":"not an address"}"#.to_vec(), "not an address"),
            (vec![b'x'; VALUE_MAX + 1], "1048577 bytes"),
            (vec![0xff; 900], "expected value"),
        ] {
            let refusal = claim("10.5.52.0-24", &value).expect_err("no claim");
            assert!(refusal.contains(expected), "{refusal}");
            assert!(refusal.len() < 600, "{refusal}");
        }
        assert!(claim("nonsense", b"{}").expect_err("no claim").contains("nonsense"));
    }
}
