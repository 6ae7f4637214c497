//! What of a node's claim is believed without looking at other nodes.

use std::io::{self, Write};
use std::net::IpAddr;

use ipnet::IpNet;
use libcni::base64;
use libcni::json::member;
use libcni::types::MacAddr;
use serde_json::Value;

use crate::claim::Claim;
use crate::network::{Backend, Network};
use crate::roster::Refusal;

use super::{How, Peer, Side};

/// More subnets than any cluster gives to a node; each is a route.
const MAX_SUBNETS: usize = 16;
/// Bytes of `BackendData` as JSON; flannel's have some 100.
const MAX_DATA: usize = 4096;
/// What links accept as MTU, in bytes: the least of IPv4 (RFC 791) to the most of IP.
const MTUS: std::ops::RangeInclusive<u32> = 68..=65535;

impl Peer {
    /// Believes a claim that makes sense in this cluster. Whether it is at odds with another node's is the roster's to
    /// say.
    ///
    /// A family stands for itself: one for which the claim has no subnet or no address is left out, as one that the
    /// cluster does not have.
    ///
    /// # Errors
    /// Why it is not believed: nothing of it, since the rest comes from the same hand.
    pub(crate) fn check(claim: &Claim, network: &Network) -> Result<Self, Refusal> {
        let expected = network.backend.name();
        if claim.backend != expected {
            return Err(Refusal::Backend { found: cut(&claim.backend), expected });
        }
        if claim.subnets.len() > MAX_SUBNETS {
            return Err(Refusal::TooMany(claim.subnets.len()));
        }
        let v4 = network.v4.map(|pool| IpNet::V4(pool.network));
        let v6 = network.v6.map(|pool| IpNet::V6(pool.network));
        let side = |pool: Option<IpNet>, endpoint: Option<IpAddr>, data: Option<&Value>| match (pool, endpoint) {
            (Some(pool), Some(endpoint)) => Side::check(claim, pool, endpoint, data, &network.backend),
            _ => Ok(None),
        };
        let peer = Self {
            v4: side(v4, claim.public_ip.map(IpAddr::V4), claim.v4_data.as_ref())?,
            v6: side(v6, claim.public_ipv6.map(IpAddr::V6), claim.v6_data.as_ref())?,
            mtu: claim.mtu.filter(|mtu| MTUS.contains(mtu)),
        };
        if peer.v4.is_none() && peer.v6.is_none() { Err(Refusal::Nothing) } else { Ok(peer) }
    }
}

impl Side {
    /// `None`: it has no subnets in this family.
    fn check(
        claim: &Claim,
        pool: IpNet,
        endpoint: IpAddr,
        data: Option<&Value>,
        backend: &Backend,
    ) -> Result<Option<Self>, Refusal> {
        let is_v4 = endpoint.is_ipv4();
        let mut subnets: Vec<_> =
            claim.subnets.iter().filter(|net| net.addr().is_ipv4() == is_v4).map(IpNet::trunc).collect();
        if subnets.is_empty() {
            return Ok(None);
        }
        subnets.sort_unstable();
        subnets.dedup();
        if let Some(&subnet) = subnets.iter().find(|subnet| !pool.contains(*subnet)) {
            return Err(Refusal::Outside { subnet, pool });
        }
        // Sorted, one that contains another comes before it, with nothing that it does not contain between them.
        let pairs = subnets.iter().zip(subnets.iter().skip(1));
        if let Some((a, b)) = pairs.into_iter().find(|(a, b)| a.contains(*b)) {
            return Err(Refusal::Twice([*a, *b]));
        }
        check_endpoint(endpoint, &subnets)?;
        Ok(Some(Self { endpoint, subnets, how: How::check(data, backend, is_v4)? }))
    }
}

impl How {
    fn check(data: Option<&Value>, backend: &Backend, is_v4: bool) -> Result<Self, Refusal> {
        if let Some(data) = data
            && serde_json::to_writer(Limit(MAX_DATA), data).is_err()
        {
            return Err(Refusal::Oversized);
        }
        match backend {
            Backend::Vxlan(vxlan) => check_vxlan(data, vxlan.vni),
            Backend::WireGuard(wireguard) => {
                check_wireguard(data, if is_v4 { wireguard.port } else { wireguard.port_v6 })
            }
            _ => Ok(Self::Plain),
        }
    }
}

/// `{"VNI": 1, "VtepMAC": "0a:…"}`. Old flannels did not say the VNI.
fn check_vxlan(data: Option<&Value>, expected: u32) -> Result<How, Refusal> {
    let object = data.and_then(Value::as_object);
    let said = |key| object.and_then(|object| member(object, key)).filter(|value| !value.is_null());
    if let Some(vni) = said("VNI")
        && vni.as_u64() != Some(u64::from(expected))
    {
        return Err(Refusal::Vni { found: cut(&vni.to_string()), expected });
    }
    let text = said("VtepMAC").and_then(Value::as_str).ok_or(Refusal::NoMac)?;
    let mac: MacAddr = text.parse().map_err(|_not_a_mac| Refusal::Mac { mac: cut(text), why: "is not six bytes" })?;
    match mac {
        MacAddr::ZERO => Err(Refusal::Mac { mac: mac.to_string(), why: "is zero" }),
        mac if mac.is_multicast() => Err(Refusal::Mac { mac: mac.to_string(), why: "is a group's" }),
        mac => Ok(How::Vxlan { mac }),
    }
}

/// `{"PublicKey": "TEfL…="}`, and its port where it is not the cluster's, which flannel's nodes never say.
fn check_wireguard(data: Option<&Value>, usual: u16) -> Result<How, Refusal> {
    let object = data.and_then(Value::as_object);
    let said = |key| object.and_then(|object| member(object, key)).filter(|value| !value.is_null());
    let text = said("PublicKey").and_then(Value::as_str).ok_or(Refusal::NoKey)?;
    let bytes = base64::decode(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    // All zero is no key (RFC 7748, section 6.1), which the kernel takes for none.
    let key = bytes.filter(|key| *key != [0; 32]).ok_or_else(|| Refusal::Key(cut(text)))?;
    let port = match said("Port") {
        None => usual,
        Some(port) => {
            let number = port.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
            number.ok_or_else(|| Refusal::Port(cut(&port.to_string())))?
        }
    };
    Ok(How::WireGuard { key, port })
}

/// Where no node can be.
fn check_endpoint(address: IpAddr, subnets: &[IpNet]) -> Result<(), Refusal> {
    let why = match address {
        _ if address.is_unspecified() => "is unspecified",
        _ if address.is_loopback() => "is a loopback address",
        _ if address.is_multicast() => "is a multicast address",
        IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address",
        IpAddr::V4(v4) if v4.is_link_local() => "is a link-local address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "is a link-local address",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "is an IPv4 address",
        _ if subnets.iter().any(|subnet| subnet.contains(&address)) => "is in its own subnet",
        _ => return Ok(()),
    };
    Err(Refusal::Endpoint { address, why })
}

/// What of foreign text is shown.
pub(crate) fn cut(text: &str) -> String {
    const SHOWN: usize = 100;
    text.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

/// Takes so many bytes, and fails when there are more: to measure without a copy.
struct Limit(usize);

impl Write for Limit {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::network::WireGuard;
    use crate::roster::tests::{claim, network};

    use super::*;

    fn refused(change: impl FnOnce(&mut Claim)) -> String {
        let mut claim = claim("10.42.1.0/24", "192.0.2.1", "0a:00:00:00:00:01");
        change(&mut claim);
        Peer::check(&claim, &network()).unwrap_err().to_string()
    }

    #[test]
    fn what_makes_sense_is_believed_and_made_plain() {
        let mut said = claim("10.42.1.9/24", "192.0.2.1", "0a:00:00:00:00:01");
        said.subnets.extend(["10.42.0.0/24", "fd42:1::/64"].map(|net| net.parse::<IpNet>().unwrap()));
        said.v4_data = Some(json!({"vni": 1, "vtepMac": "0a:00:00:00:00:01", "new": [1, 2]}));
        said.mtu = Some(1450);
        let peer = Peer::check(&said, &network()).unwrap();
        let side = peer.v4.unwrap();
        assert_eq!(side.subnets, ["10.42.0.0/24".parse().unwrap(), "10.42.1.0/24".parse().unwrap()]);
        assert_eq!(side.how, How::Vxlan { mac: "0a:00:00:00:00:01".parse().unwrap() });
        // It says no address of IPv6: that family is left out.
        assert_eq!((peer.v6, peer.mtu), (None, Some(1450)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_value() {
        let ip = |text: &str| Some(text.parse().unwrap());
        for (address, why) in [
            ("0.0.0.0", "is unspecified"),
            ("127.0.0.1", "is a loopback address"),
            ("224.0.0.5", "is a multicast address"),
            ("255.255.255.255", "is the broadcast address"),
            ("169.254.1.1", "is a link-local address"),
            ("10.42.1.9", "is in its own subnet"),
        ] {
            assert_eq!(refused(|claim| claim.public_ip = ip(address)), format!("its address {address} {why}"));
        }
        let data = |value| refused(|claim| claim.v4_data = value);
        assert_eq!(data(None), "it says no VtepMAC");
        assert_eq!(data(Some(json!([]))), "it says no VtepMAC");
        assert_eq!(data(Some(json!({"VtepMAC": "x\n"}))), "its hardware address x\\n is not six bytes");
        assert_eq!(
            data(Some(json!({"VtepMAC": "00:00:00:00:00:00"}))),
            "its hardware address 00:00:00:00:00:00 is zero"
        );
        assert_eq!(
            data(Some(json!({"VtepMAC": "01:00:5e:00:00:01"}))),
            "its hardware address 01:00:5e:00:00:01 is a group's"
        );
        assert_eq!(data(Some(json!({"VNI": 7}))), "its VNI is 7, the cluster's 1");
        assert_eq!(data(Some(json!({"VNI": -1}))), "its VNI is -1, the cluster's 1");
        assert_eq!(data(Some(json!({"pad": "x".repeat(10 << 20)}))), "its BackendData has more than 4096 bytes");
        let nets =
            |nets: &[&str]| refused(|claim| claim.subnets = nets.iter().map(|net| net.parse().unwrap()).collect());
        assert_eq!(nets(&[]), "it has no subnet with an address to reach it by");
        assert_eq!(nets(&["10.43.0.0/24"]), "its subnet 10.43.0.0/24 is outside of the cluster's 10.42.0.0/16");
        assert_eq!(nets(&["0.0.0.0/0"]), "its subnet 0.0.0.0/0 is outside of the cluster's 10.42.0.0/16");
        assert_eq!(nets(&["10.42.2.0/24", "10.42.2.128/25"]), "its subnets 10.42.2.0/24 and 10.42.2.128/25 overlap");
        assert_eq!(nets(&["10.42.2.0/24"; 17]), "it has 17 subnets, more than any node");
        assert_eq!(refused(|claim| claim.backend = "udp".into()), "its backend is \"udp\", the cluster's \"vxlan\"");
    }

    #[test]
    fn a_wireguard_node_has_a_key_and_maybe_a_port() {
        let wireguard = WireGuard { port: 51820, port_v6: 51821, psk: None, keepalive: 0, mtu: None };
        let network = Network { backend: Backend::WireGuard(wireguard), ..network() };
        let checked = |data| {
            let mut claim = claim("10.42.1.0/24", "192.0.2.1", "0a:00:00:00:00:01");
            claim.backend = "wireguard".into();
            claim.v4_data = data;
            Peer::check(&claim, &network).map(|peer| peer.v4.unwrap().how).map_err(|why| why.to_string())
        };
        let key = base64::encode(&[7; 32]);
        let how = |port| Ok(How::WireGuard { key: [7; 32], port });
        assert_eq!(checked(Some(json!({"PublicKey": key}))), how(51820));
        assert_eq!(checked(Some(json!({"PublicKey": key, "Port": 7}))), how(7));
        let refused = |data| checked(data).unwrap_err();
        assert_eq!(refused(None), "it says no PublicKey");
        for bad in ["", "AAAA", "x\n", &base64::encode(&[0; 32])] {
            let shown = format!("its PublicKey \"{}\" is no key of 32 bytes in base64", cut(bad));
            assert_eq!(refused(Some(json!({"PublicKey": bad}))), shown);
        }
        for bad in [json!(0), json!(65536), json!(-1), json!("7")] {
            let why = refused(Some(json!({"PublicKey": key, "Port": bad})));
            assert_eq!(why, format!("its UDP port {} is not 1 to 65535", cut(&bad.to_string())));
        }
    }
}
